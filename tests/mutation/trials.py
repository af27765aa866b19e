"""One trial: the tests of a fault on a copy of the repository that has it, and the kept result."""

import dataclasses
import hashlib
import importlib.metadata
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

from tests.mutation.fault import Fault

CODE = ("nce_jax", "experiments", "benchmarks")
COPIED = (*CODE, "tests", "docs", "pyproject.toml", "README.md")
MAX_SECONDS = 3600  # a fault may leave a loop without an end
FAILED = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", re.MULTILINE)


class Result(NamedTuple):
    """What the tests said.

    Attributes:
      noticed_by: the first test that failed; empty where all passed.
      seconds: how long the trial took.
    """

    noticed_by: str
    seconds: float


@dataclasses.dataclass(frozen=True)
class Trials:
    """Runs tests on copies of a snapshot, and keeps the results by all that they depend on.

    Attributes:
      snapshot: a copy of the repository, so that the files may change during a run.
      kept: folder of the results; a run that was interrupted continues from them.
      marks: which tests run, as pytest's expressions of marks.
      is_stopped: set where the run is interrupted. What ends from then on is not kept, since the
        signal reaches the tests as well, and may be why one fails.
    """

    snapshot: pathlib.Path
    kept: pathlib.Path
    marks: tuple[str, ...] = ("not slow",)
    is_stopped: threading.Event = dataclasses.field(default_factory=threading.Event)

    def result(self, tests: tuple[str, ...], fault: Fault | None = None) -> Result:
        """The kept result, or that of running the tests, with the fault or as the files are."""
        path = self.kept / f"{self._digest(tests, fault)}.json"
        if path.exists():
            return Result(**json.loads(path.read_text()))
        result = self._run(tests, fault)
        if self.is_stopped.is_set():
            raise RuntimeError("the run was stopped")
        self.kept.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(result._asdict()))
        unfinished.replace(path)
        return result

    def _digest(self, tests: tuple[str, ...], fault: Fault | None) -> str:
        setting = [fault, tests, self.marks, sys.version, importlib.metadata.version("jax")]
        digest = hashlib.sha256(repr([*setting, os.environ.get("XLA_FLAGS")]).encode())
        for path in self._dependencies(tests):
            digest.update(str(path.relative_to(self.snapshot)).encode() + b"\0")
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()[:32]

    def _dependencies(self, tests: tuple[str, ...]) -> Iterator[pathlib.Path]:
        """All code, what is shared between tests, and the tests themselves."""
        shared = self.snapshot / "tests"
        named = {test.split("::")[0] for test in tests}
        for path in sorted(self.snapshot.rglob("*.py")):
            is_shared = path.is_relative_to(shared) and not path.name.startswith("test_")
            is_fault = path.is_relative_to(shared / "mutation")
            is_code = any(path.is_relative_to(self.snapshot / name) for name in CODE)
            is_named = any(path.is_relative_to(self.snapshot / name) for name in named)
            if is_code or is_named or (is_shared and not is_fault):
                yield path
        yield self.snapshot / "pyproject.toml"

    def _run(self, tests: tuple[str, ...], fault: Fault | None) -> Result:
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            copy_repository(self.snapshot, root)
            if fault is not None:
                target = root / fault.path
                target.write_text(target.read_text().replace(fault.before, fault.after))
            noticed = (_first_failure(root, tests, mark) for mark in self.marks)
            noticed_by = next((failure for failure in noticed if failure), "")
        return Result(noticed_by, round(time.monotonic() - start, 1))


def copy_repository(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copies what the tests need."""
    for name in COPIED:
        if (source / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source / name, target / name, ignore=ignored)
        else:
            shutil.copy(source / name, target / name)


def _first_failure(root: pathlib.Path, tests: tuple[str, ...], mark: str) -> str:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", mark]
    # The copy comes first on the path, before the installed checkout.
    environment = os.environ | {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            [*command, *tests],
            cwd=root,
            env=environment,
            capture_output=True,
            text=True,
            timeout=MAX_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"no end after {MAX_SECONDS} s"
    if done.returncode in (0, 5):  # 5: none of the tests has this mark
        return ""
    failed = FAILED.search(done.stdout)
    if done.returncode not in (1, 2) or failed is None:
        raise RuntimeError(
            f"{tests}: pytest ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
    return failed[1]
