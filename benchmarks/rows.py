"""One line of the benchmarks' table: ours against the fastest peer, checked before it counts."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from benchmarks.harness import Timed


class AccuracyError(AssertionError):
    """A contender's answer is not the expected one, so that its time is no number to show."""


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
    """One line of the table. Ratios are peer / ours under "at least", ours / peer under "at most"; times are per `unit`."""

    name: str
    ours: str
    peer: str
    unit: str
    our_seconds: Spread
    peer_seconds: Spread
    ratio: Spread
    processor_ratio: float
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
    above, below = (mine, theirs) if is_cost else (theirs, mine)
    direction, target = ("at most", at_most) if is_cost else ("at least", at_least)
    return Row(
        name=name,
        ours=ours,
        peer=peer,
        unit=unit,
        our_seconds=spread(mine.seconds),
        peer_seconds=spread(theirs.seconds),
        ratio=spread(above.seconds / below.seconds),
        processor_ratio=float(np.median(above.processor_seconds / np.maximum(below.processor_seconds, 1e-12))),
        direction=direction,
        target=target,
        checked=check.what,
        error=error,
        tolerance=check.tolerance,
        note=note,
    )
