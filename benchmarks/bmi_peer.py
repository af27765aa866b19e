"""bmi (PyPI: benchmark-mi) as a peer: a process in its own environment, asked through a pipe.

Its release 0.1.3 requires jax < 0.5 and numpy < 2, and equinox 0.10.11, the newest it allows, does
not import with jax >= 0.4.34: no one environment holds it and us. `make bench` makes `.venv-bmi`
from requirements-bmi.lock for it.
"""

import json
import os
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.peers import MissingPeerError
from experiments.common import results

INTERPRETER = "BMI_PYTHON"
"""Environment variable: another interpreter than that of .venv-bmi."""


class Bmi:
    """The process, as a context manager; every request waits for its answer."""

    def __enter__(self) -> "Bmi":
        python = os.environ.get(INTERPRETER) or str(results.ROOT / ".venv-bmi/bin/python")
        worker = Path(__file__).with_name("bmi_worker.py")
        # The process must inherit neither the path of our packages nor our XLA flags.
        clean = {
            name: value
            for name, value in os.environ.items()
            if name not in ("PYTHONPATH", "XLA_FLAGS")
        }
        self.processor_seconds = 0.0
        try:
            self._process = subprocess.Popen(
                [python, str(worker)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=clean,
            )
            self.versions = self._answer()["versions"]
        except (OSError, RuntimeError) as error:
            hint = (
                "needs benchmark-mi in an environment of its own, .venv-bmi: run `make bench`"
                f" ({error})"
            )
            raise MissingPeerError(hint) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()

    def draw(self, task: str, size: int, path: Path) -> dict[str, Any]:
        """Draws samples x and y into an npz file.

        Returns the task's `name` and its mutual information, `truth`.
        """
        return self._ask(do="draw", task=task, size=size, seed=0, path=str(path))

    def estimate(self, method: str, path: Path, **options: Any) -> float:
        """Estimate in nats by one of bmi's estimators."""
        return self._ask(do="estimate", method=method, path=str(path), options=options)["value"]

    def processor_clock(self) -> float:
        """Processor time of this process and of bmi's."""
        return time.process_time() + self.processor_seconds

    def _ask(self, **request: Any) -> dict[str, Any]:
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        self.processor_seconds = answer["processor_seconds"]
        return answer

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"its process ended with status {self._close()}")
        return json.loads(line)

    def _close(self) -> int:
        self._process.stdin.close()
        self._process.stdout.close()
        return self._process.wait()
