"""Python blocks of pages, run in the order of the page.

A block that begins with "```python no-run" is not run, and one with "```python needs=a,b" is run
where the packages a and b can be imported. With NCE_JAX_ALL_PAGES=1 (`make migration`) they have to
be there. A page has a process of its own, since some packages change JAX's precision for all.
"""

import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import types
from pathlib import Path
from typing import NamedTuple

import numpy as np

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^```python(?: ([^\n]*))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """One block of a page, and the packages that it needs."""

    code: str
    needs: tuple[str, ...]
    line: int


def blocks(text: str) -> list[Block]:
    """The blocks of a page that are to be run."""
    found = []
    for match in FENCE.finditer(text):
        options = (match[1] or "").split()
        if "no-run" in options:
            continue
        needs = [name for option in options for name in _needs(option)]
        found.append(Block(match[2], tuple(needs), text[: match.start()].count("\n") + 1))
    return found


def _needs(option: str) -> list[str]:
    if not option.startswith("needs="):
        raise ValueError(f"block: expected the option no-run or needs=..., got {option!r}")
    return option.removeprefix("needs=").split(",")


def missing(needs: tuple[str, ...]) -> list[str]:
    """The packages that cannot be imported here."""
    return [name for name in needs if importlib.util.find_spec(name) is None]


def is_complete() -> bool:
    """Whether every package of every page has to be there."""
    return os.environ.get("NCE_JAX_ALL_PAGES") == "1"


def run(page: str, expressions: list[str] | None = None) -> list[float | list]:
    """The values of `expressions` after the blocks of docs/`page`, each in a new process."""
    program = [sys.executable, "-m", "tests.pages", page, *(expressions or [])]
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            "MPLBACKEND": "agg",
            "JAX_PLATFORMS": "cpu",
            # Eight devices, as in the tests.
            "JAX_NUM_CPU_DEVICES": "8",
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "PAGE_FOLDER": folder,
        }
        done = subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(f"{page}\n{done.stdout[-2000:]}\n{done.stderr[-6000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _main(page: str, *expressions: str) -> None:
    text = (ROOT / "docs" / page).read_text()
    os.chdir(os.environ["PAGE_FOLDER"])
    module = types.ModuleType("page")  # classes look for the module that they were defined in
    sys.modules["page"] = module
    found = blocks(text)
    if not any("tensorflow" in block.needs for block in found):
        # Others import it where it is installed, and it may crash a process that has torch.
        sys.modules["tensorflow"] = None  # type: ignore[assignment]
    for block in found:
        if not missing(block.needs) or is_complete():
            code = compile("\n" * block.line + block.code, page, "exec")
            exec(code, vars(module))
    values = [np.asarray(eval(each, vars(module)), np.float64).tolist() for each in expressions]
    print("\n" + json.dumps(values))


if __name__ == "__main__":
    _main(*sys.argv[1:])
