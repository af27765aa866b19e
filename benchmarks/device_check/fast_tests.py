"""The fast tests of some rooms on the default device, and what differs from a CPU.

As many as fit into the time. What fails is tried again on the CPU, which tells whether the device
makes the difference, and on the device with exact matrix products, which tells whether their
rounding does.
"""

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.device_check.parts import Size
from benchmarks.device_check.record import VARIABLE
from benchmarks.device_check.runner import ROOT
from benchmarks.rows import Amount, Report, spread

PATHS = {
    "full": ("tests/losses", "tests/log_partition", "tests/criteria", "tests/training"),
    "small": ("tests/criteria/test_profiled.py",),
}
SECONDS = {"full": (80.0, 20.0), "small": (25.0, 25.0)}
"""Of the tests, and of each second trial of those that failed."""
MOST_TRIED_AGAIN = 200
MARKS = "not slow and not costly"
PROCESSES = 8
PATIENCE = 5.0
"""Seconds that pytest has to end after an interrupt."""
CPU = "on the CPU"
ON_CPU = {"JAX_PLATFORMS": "cpu"}
EXACT = {"JAX_DEFAULT_MATMUL_PRECISION": "highest"}
DTYPES = ("float32", "float64")


class Run(NamedTuple):
    """Outcome and message of every test that has ended, by name, and whether all have."""

    tests: dict[str, tuple[str, str]]
    is_complete: bool

    @property
    def failed(self) -> list[str]:
        """Names of the tests that failed."""
        return [name for name, (outcome, _) in self.tests.items() if outcome == "failed"]


def run(size: Size) -> Report:
    """Counts by room and dtype, and the tests that fail, with their first line of error."""
    first, again = SECONDS[size]
    found = run_tests(PATHS[size], first, {})
    tried = found.failed[:MOST_TRIED_AGAIN]
    trials = {
        name: _again(tried, again, environment)
        for name, environment in {CPU: ON_CPU, "with exact products": EXACT}.items()
    }
    return _report(found, trials)


def _again(tests: Sequence[str], seconds: float, environment: Mapping[str, str]) -> dict:
    """Outcomes of a second trial; none where it fails as a whole, which spoils nothing else."""
    try:
        return run_tests(tests, seconds, environment).tests if tests else {}
    except RuntimeError:
        return {}


def _report(found: Run, trials: Mapping[str, Mapping[str, tuple[str, str]]]) -> Report:
    differ = [
        {
            "test": name,
            "message": found.tests[name][1],
            **{what: tests.get(name, ("not run", ""))[0] for what, tests in trials.items()},
        }
        for name in found.failed
    ]
    counts: dict[str, Counter] = {}
    for name, (outcome, _) in found.tests.items():
        for group in (_room(name), *(dtype for dtype in DTYPES if dtype in name)):
            counts.setdefault(group, Counter())[outcome] += 1
    amounts = [
        Amount(f"{group}: tests that fail", "tests", _number(count["failed"]), 0.0, dict(count))
        for group, count in sorted(counts.items())
    ]
    of_device = [item["test"] for item in differ if item[CPU] == "passed"]
    text = f"{len(differ)} tests fail, of {len(found.tests)}; not on the CPU: "
    failures = [text + (", ".join(of_device) or "none")] if differ else []
    details = {"is_complete": found.is_complete, "differ": differ, "failures": failures}
    return Report(details=details, amounts=amounts)


def _room(name: str) -> str:
    return name.split("/")[1]


def _number(value: int) -> Any:
    return spread(np.array([float(value)]))


def run_tests(tests: Sequence[str], seconds: float, environment: Mapping[str, str]) -> Run:
    """Runs tests in a process, which is ended when the time is up."""
    with tempfile.TemporaryDirectory() as folder:
        record, names = Path(folder) / "record", Path(folder) / "names"
        record.touch()
        names.write_text("\n".join(tests))
        own = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
        process = subprocess.Popen(
            [*_command(), f"@{names}"], cwd=ROOT, env={**own, VARIABLE: str(record), **environment}
        )
        status = _wait(process, seconds)
        outcomes = _read(record)
    if not outcomes:
        what = "ended without a test" if status is not None else f"none ended in {seconds:.0f} s"
        raise RuntimeError(f"pytest, status {status}: {what}; the log of the check has its output")
    return Run(outcomes, status in (0, 1))


def _wait(process: subprocess.Popen, seconds: float) -> int | None:
    """The exit status, or None where the time was up; pytest then ends its processes itself."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(PATIENCE)
    process.kill()
    process.wait()
    return None


def _command() -> list[str]:
    options = ["-q", "-m", MARKS, "-p", "benchmarks.device_check.record", "--tb=short"]
    processes = min(PROCESSES, (os.cpu_count() or 1) // 2)
    if processes > 1 and importlib.util.find_spec("xdist") is not None:
        options += ["-n", str(processes)]
    return [sys.executable, "-m", "pytest", *options]


def _read(record: Path) -> dict[str, tuple[str, str]]:
    """Outcomes by test; a test that passed and then failed in its teardown has failed."""
    outcomes: dict[str, tuple[str, str]] = {}
    for text in record.read_text().splitlines():
        try:
            line = json.loads(text)
        except json.JSONDecodeError:  # it was being written
            continue
        if outcomes.get(line["test"], ("", ""))[0] != "failed":
            outcomes[line["test"]] = line["outcome"], line["message"]
    return outcomes
