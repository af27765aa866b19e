"""A plugin of pytest that writes a line of JSON for every test, as soon as it has ended.

What was run is then known even where the time was up in the midst. Files take turns between rooms,
so that every room has its share of what fits.
"""

import itertools
import json
import os
from pathlib import PurePosixPath
from typing import Any

VARIABLE = "NCE_JAX_TEST_RECORD"
"""Environment variable with the file that the lines are appended to."""
LONGEST_MESSAGE = 300


def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Takes a file of every room in turn; the tests of a file stay together."""
    files = [(name, list(tests)) for name, tests in itertools.groupby(items, _file)]
    rooms: dict[str, list[list[Any]]] = {}
    for name, tests in files:
        rooms.setdefault(str(PurePosixPath(name).parent), []).append(tests)
    turns = itertools.zip_longest(*rooms.values(), fillvalue=[])
    items[:] = [test for turn in turns for tests in turn for test in tests]


def _file(item: Any) -> str:
    return item.nodeid.partition("::")[0]


def pytest_runtest_logreport(report: Any) -> None:
    """Writes the outcome of a test; of set-up and teardown only what did not pass."""
    if "PYTEST_XDIST_WORKER" in os.environ:  # the process that started this one writes
        return
    if report.when == "call" or not report.passed:
        line = {"test": report.nodeid, "outcome": report.outcome, "message": _message(report)}
        with open(os.environ[VARIABLE], "a") as lines:
            lines.write(json.dumps(line) + "\n")


def _message(report: Any) -> str:
    """First line of the error of a failed test."""
    if not report.failed:
        return ""
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash is not None else str(report.longrepr)
    return " ".join(text.split())[:LONGEST_MESSAGE]
