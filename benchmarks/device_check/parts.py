"""The parts of the check, in the order in which they run, and what they take."""

from typing import Literal, NamedTuple

Size = Literal["full", "small"]
SMALL_SECONDS = 2.0
"""A part at its smallest, on a CPU."""


class Skipped(Exception):
    """A part cannot run here, which is no failure; the text says why."""


class Part(NamedTuple):
    """One part.

    Attributes:
      name: its name in the table and in the file.
      module: the module whose function `run(size)` returns the part's report.
      seconds: what it is expected to take on a GPU, with compilation. It is not begun where less
        time is left, and is ended after three times as long.
      is_alone: whether it needs a process that nothing ran in before.
    """

    name: str
    module: str
    seconds: float
    is_alone: bool = False

    def expected(self, size: Size) -> float:
        """Seconds without which the part is not begun."""
        return self.seconds if size == "full" else min(self.seconds, SMALL_SECONDS)

    def most(self, size: Size) -> float:
        """Seconds after which the part is ended; a small one has what is left in total."""
        return 3 * self.seconds if size == "full" else float("inf")


def _part(name: str, seconds: float, is_alone: bool = False) -> Part:
    return Part(name, f"benchmarks.device_check.{name}", seconds, is_alone)


DEVICES = _part("devices", 10)
PARTS = (
    DEVICES,
    _part("ceilings", 10),
    _part("solver", 30),
    _part("train_steps", 40),
    _part("round_trips", 20, is_alone=True),  # a profiler may end the process
    # Its own limit is 120 s: its processes share the device, and none of ours may hold it then.
    _part("fast_tests", 125, is_alone=True),
    _part("pairs", 40),
    _part("grid", 30),
    _part("words", 20),
    _part("half_precision", 40),
    _part("peak_memory", 30, is_alone=True),  # peaks only grow within a process
    _part("mnist_epoch", 60),
)
