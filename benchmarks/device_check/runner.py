"""Gives parts to a worker, one at a time, within a time in total.

A worker that died, hangs or had a part fail is replaced: after an error a device may refuse
whatever its process asks of it.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.device_check.parts import Part, Size

ROOT = Path(__file__).parents[2]
PAUSE = 0.02
# XLA would take most of a GPU's memory at once, and leave none to the processes of the fast tests.
ENVIRONMENT = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "PYTHONUNBUFFERED": "1"}
ENDED = 2.0
"""Seconds that a worker has to end by itself once it is asked for nothing more."""

Entry = dict[str, Any]


def run_parts(
    parts: Sequence[Part],
    size: Size | Callable[[], Size],
    *,
    deadline: float,
    log: Path,
    report: Callable[[Part, Entry], None],
) -> None:
    """Runs every part for which there is time, and reports each entry as it comes.

    Args:
      parts: in the order in which they run.
      size: of every part; a function is asked before each, since the first part may tell.
      deadline: of `time.monotonic`.
      log: file to which the parts' own output is appended.
      report: called with every part and its entry.
    """
    with _Worker(log) as worker:
        for part in parts:
            now = size() if callable(size) else size
            left = deadline - time.monotonic()
            if left < (least := part.expected(now)):
                text = f"{max(left, 0):.0f} s of the limit were left, and it takes about {least:g}"
                report(part, {"status": "skipped", "error": text, "seconds": 0.0})
                continue
            report(part, worker.run(part, now, min(part.most(now), left)))


class _Worker(contextlib.AbstractContextManager):
    """The process that runs the parts; it is started when there is none."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._process: subprocess.Popen | None = None
        self._answers = tempfile.TemporaryDirectory()
        self._has_run = False

    def run(self, part: Part, size: Size, seconds: float) -> Entry:
        """The part's entry, after at most about that many seconds."""
        if part.is_alone and self._has_run:
            self._end()
        process, start = self._started(), time.monotonic()
        answer = Path(self._answers.name) / f"{part.name}.json"
        self._has_run = True
        request = {"module": part.module, "size": size, "answer": str(answer)}
        with self._log.open("rb") as written:
            written.seek(0, os.SEEK_END)  # before it is asked: it may fail at once
            with contextlib.suppress(BrokenPipeError):  # it has died: seen below
                process.stdin.write(json.dumps(request) + "\n")
                process.stdin.flush()
            entry, patience = self._wait(process, answer, start + seconds), ENDED
            if entry is None:
                is_dead = process.poll() is not None
                last = _last_line(written.read())
                what = f"its process died with status {process.returncode}" if is_dead else (
                    f"it was ended after {seconds:.0f} s"
                )  # fmt: skip
                entry = {"status": "failed", "error": what + (f": {last}" if last else "")}
                entry["seconds"], patience = round(time.monotonic() - start, 1), 0.0
        if part.is_alone or entry["status"] == "failed":
            self._end(patience)
        return entry

    def _wait(self, process: subprocess.Popen, answer: Path, until: float) -> Entry | None:
        while time.monotonic() < until:
            is_dead = process.poll() is not None  # asked first: an answer may be its last act
            if answer.exists():
                return json.loads(answer.read_text())
            if is_dead:
                return None
            time.sleep(PAUSE)
        return None

    def _started(self) -> subprocess.Popen:
        if self._process is None:
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "benchmarks.device_check.worker"],
                    cwd=ROOT,
                    env={**os.environ, **ENVIRONMENT},
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    text=True,
                    start_new_session=True,  # it is ended with the processes that it started
                )
            self._has_run = False
        return self._process

    def _end(self, patience: float = ENDED) -> None:
        """Ends the process, with those that it started, and waits until it holds no device."""
        if (process := self._process) is None:
            return
        self._process = None
        with contextlib.suppress(OSError):
            process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def __exit__(self, *_: object) -> None:
        self._end()
        self._answers.cleanup()


def _last_line(output: bytes) -> str:
    lines = [line.strip() for line in output.decode(errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line), "")[-300:]
