"""One harness for all benchmarks: interleaved repetitions in one process, a ratio per repetition, median and quartiles.

On a machine with other work a time means little and a ratio of neighbours in time means much: contenders run in turn, in a
new order at every repetition, and only what ran within the same repetition is divided by one another.

    timed = measure({"ours": solve, "peer": Contender(peer_solve)}, repetitions=15)
    row = compare("BAR, 2 x 1,000", timed, ours="ours", against=["peer"], check=check, at_least=10)
"""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.common.progress import track


class AccuracyError(AssertionError):
    """A contender's answer is not the expected one, so that its time is no number to show."""


class Contender(NamedTuple):
    """What is timed: a callable, and how many units of work (replicates, steps, lanes) one call does."""

    fn: Callable[[], Any]
    units: int = 1


class Timed(NamedTuple):
    """Seconds per unit at every repetition, and what the last call returned."""

    seconds: np.ndarray
    value: Any


class Spread(NamedTuple):
    """Median and quartiles."""

    median: float
    lower: float
    upper: float


class Check(NamedTuple):
    """An accuracy check: what is compared, how its error follows from our value and the peer's, and what is admitted."""

    what: str
    error: Callable[[Any, Any], float]
    tolerance: float


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table. `ratio` is peer / ours under "at least", ours / peer under "at most"; times are per `unit`."""

    name: str
    ours: str
    peer: str
    unit: str
    our_seconds: Spread
    peer_seconds: Spread
    ratio: Spread
    direction: str
    target: float | None
    checked: str
    error: float
    tolerance: float
    note: str = ""

    @property
    def verdict(self) -> str:
        """`met`, `missed`, or nothing where no target was set."""
        if self.target is None:
            return ""
        is_met = self.ratio.median >= self.target if self.direction == "at least" else self.ratio.median <= self.target
        return "met" if is_met else "missed"

    def to_json(self) -> dict[str, Any]:
        """The row in JSON's own types, verdict included."""
        spreads = {name: value._asdict() for name, value in vars(self).items() if isinstance(value, Spread)}
        return {**vars(self), **spreads, "verdict": self.verdict}


class Report(NamedTuple):
    """What a topic returns: its rows, and whatever else its section of the page shows."""

    rows: Sequence[Row]
    details: Mapping[str, Any] = {}


def measure(
    contenders: Mapping[str, Callable[[], Any] | Contender],
    *,
    repetitions: int,
    block: float = 0.02,
    label: str = "timing",
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Timed]:
    """Times all contenders in turn; each block repeats one of them until it lasts at least `block` seconds, or nearly.

    The first call of each is not timed: it compiles and fills caches. Every call is waited for.
    """
    entries = {name: entry if isinstance(entry, Contender) else Contender(entry) for name, entry in contenders.items()}
    counts = {name: _calibrate(entry.fn, block, clock) for name, entry in entries.items()}
    seconds: dict[str, list[float]] = {name: [] for name in entries}
    values: dict[str, Any] = {}
    order = np.random.default_rng(0)
    for _ in track(range(repetitions), label):
        for name in order.permutation(list(entries)).tolist():
            elapsed, values[name] = _time_block(entries[name].fn, counts[name], clock)
            seconds[name].append(elapsed / counts[name] / entries[name].units)
    return {name: Timed(np.array(seconds[name]), values[name]) for name in entries}


def _calibrate(fn: Callable[[], Any], block: float, clock: Callable[[], float]) -> int:
    """Calls per block, from one timed call after the first."""
    jax.block_until_ready(fn())
    elapsed, _ = _time_block(fn, 1, clock)
    return max(1, math.ceil(block / elapsed)) if elapsed > 0 else 1


def _time_block(fn: Callable[[], Any], count: int, clock: Callable[[], float]) -> tuple[float, Any]:
    start = clock()
    for _ in range(count):
        value = jax.block_until_ready(fn())
    return clock() - start, value


def spread(values: np.ndarray) -> Spread:
    """Median and quartiles of repetitions."""
    return Spread(*(float(value) for value in np.quantile(values, [0.5, 0.25, 0.75])))


def compare(
    name: str,
    timed: Mapping[str, Timed],
    *,
    ours: str,
    against: Sequence[str],
    check: Check,
    at_least: float | None = None,
    at_most: float | None = None,
    is_cost: bool = False,
    unit: str = "call",
    note: str = "",
) -> Row:
    """A row: ours against the fastest of `against`, checked before it counts.

    `at_least` is a target for peer / ours, `at_most` one for ours / peer; with neither, `is_cost` says which ratio to show.
    """
    peer = min(against, key=lambda candidate: np.median(timed[candidate].seconds))
    mine, theirs = timed[ours], timed[peer]
    error = float(check.error(mine.value, theirs.value))
    if not error <= check.tolerance:  # NaN fails too
        raise AccuracyError(f"{name}: {check.what}: {error:.3g} where at most {check.tolerance:.3g} is admitted")
    is_cost = is_cost or at_most is not None
    ratio = mine.seconds / theirs.seconds if is_cost else theirs.seconds / mine.seconds
    times = spread(mine.seconds), spread(theirs.seconds)
    direction, target = ("at most", at_most) if is_cost else ("at least", at_least)
    return Row(name, ours, peer, unit, *times, spread(ratio), direction, target, check.what, error, check.tolerance, note)
