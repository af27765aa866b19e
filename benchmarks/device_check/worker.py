"""Runs parts in a process of its own, one for each line on stdin; see `runner`.

Nothing but the standard library is imported above, since a part may end in the import of a package.
"""

import importlib
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from benchmarks.device_check.parts import Skipped


def main() -> None:
    """Answers every request {"module", "size", "answer"} with a JSON file at `answer`."""
    for line in sys.stdin:
        request = json.loads(line)
        answer = Path(request["answer"])
        temporary = answer.with_suffix(".tmp")
        entry = run_part(request["module"], request["size"])
        temporary.write_text(json.dumps(entry, default=_as_json))
        os.replace(temporary, answer)


def run_part(module: str, size: str) -> dict[str, Any]:
    """The part's entry in the JSON file; errors are part of it."""
    start = time.perf_counter()
    try:
        entry = _entry(importlib.import_module(module).run(size))
    except Skipped as reason:
        entry = {"status": "skipped", "error": str(reason)}
    except Exception as error:
        traceback.print_exc()
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        entry = {"status": "failed", "error": f"{type(error).__name__}: {error} ({where})"[:2000]}
    return {**entry, "seconds": round(time.perf_counter() - start, 1), "peak_bytes": peak_bytes()}


def _entry(report: Any) -> dict[str, Any]:
    """A report as JSON; what is less accurate than it has to be, or listed as such, has failed."""
    rows = [row.to_json() for row in report.rows]
    details = dict(report.details)
    failures = [
        f"{row['name']}: {row['checked']}: {row['error']:.3g}, at most {row['tolerance']:.3g}"
        for row in rows
        if row["verdict"] == "less accurate"
    ] + list(details.pop("failures", []))
    return {
        "status": "failed" if failures else "ok",
        "error": "; ".join(failures) or None,
        "rows": rows,
        "amounts": [amount.to_json() for amount in report.amounts],
        "details": details,
    }


def _as_json(value: Any) -> Any:
    """Numbers and arrays of NumPy and JAX as Python's; anything else as text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def peak_bytes() -> int | None:
    """Largest number of bytes in use on the first device since the process began, if it counts."""
    if (jax := sys.modules.get("jax")) is None:
        return None
    try:
        stats = jax.devices()[0].memory_stats() or {}
    except Exception:  # the device may be what has failed
        return None
    return stats.get("peak_bytes_in_use")


if __name__ == "__main__":
    main()
