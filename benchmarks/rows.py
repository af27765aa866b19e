"""One line of the benchmarks' table: ours against the fastest peer, checked for accuracy first."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from benchmarks.harness import Timed


class AccuracyError(AssertionError):
    """A contender's result is not accurate, so that its time must not be reported."""


class Spread(NamedTuple):
    """Median and quartiles."""

    median: float
    lower: float
    upper: float


class Check(NamedTuple):
    """An accuracy check: the quantity, its error from our value and the peer's, and the tolerance.

    Exact answers are either right or wrong, and a wrong one is an AccuracyError. Of statistical
    estimates one may be worse than another without being wrong: with `is_contest` that is a row
    whose verdict says so.
    """

    what: str
    error: Callable[[Any, Any], float]
    tolerance: float
    is_contest: bool = False


class Floor(NamedTuple):
    """Lower bound on the time of some work: seconds per unit at every repetition."""

    what: str
    seconds: Callable[[Mapping[str, Timed]], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table, with times per `unit`.

    Ratios are peer / ours under "at least", and ours / peer under "at most".
    """

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
    floor_seconds: Spread | None = None
    over_floor: Spread | None = None
    floor_what: str = ""

    @property
    def verdict(self) -> str:
        """`less accurate` before all else; `met`, `missed`, or nothing where no target was set."""
        if not self.error <= self.tolerance:
            return "less accurate"
        if self.target is None:
            return ""
        is_met = (
            self.ratio.median >= self.target
            if self.direction == "at least"
            else self.ratio.median <= self.target
        )
        return "met" if is_met else "missed"

    def to_json(self) -> dict[str, Any]:
        """The row in JSON's own types, verdict included."""
        spreads = {
            name: value._asdict() for name, value in vars(self).items() if isinstance(value, Spread)
        }
        return {**vars(self), **spreads, "verdict": self.verdict}


@dataclasses.dataclass(frozen=True)
class Amount:
    """One line of a table without a comparison: seconds or bytes of ours, and a target.

    `beside` has values to compare with.
    """

    name: str
    unit: str
    value: Spread
    target: float | None = None
    beside: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """`met`, `missed`, or nothing where no target was set."""
        return (
            "" if self.target is None else "met" if self.value.median <= self.target else "missed"
        )

    def to_json(self) -> dict[str, Any]:
        """The amount in JSON's own types, verdict included."""
        return {
            **vars(self),
            "value": self.value._asdict(),
            "beside": dict(self.beside),
            "verdict": self.verdict,
        }


class Report(NamedTuple):
    """Result of a topic: its rows, amounts, and details of its section of the page."""

    rows: Sequence[Row] = ()
    details: Mapping[str, Any] = {}
    amounts: Sequence[Amount] = ()


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
    floor: Floor | None = None,
) -> Row:
    """A row of ours against the fastest of `against`, checked for accuracy first.

    `at_least` is a target for peer / ours, `at_most` one for ours / peer; with neither, `is_cost`
    says which ratio to show. `floor` is the least time that our side's work can take, from ceilings
    measured in the same repetitions.
    """
    peer = min(against, key=lambda candidate: np.median(timed[candidate].seconds))
    mine, theirs = timed[ours], timed[peer]
    error = float(check.error(mine.value, theirs.value))
    # NaN fails as well.
    if not (check.is_contest and np.isfinite(error)) and not error <= check.tolerance:
        raise AccuracyError(
            f"{name}: {check.what}: {error:.3g} where at most {check.tolerance:.3g} is admitted"
        )
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
        processor_ratio=float(
            np.median(above.processor_seconds / np.maximum(below.processor_seconds, 1e-12))
        ),
        direction=direction,
        target=target,
        checked=check.what,
        error=error,
        tolerance=check.tolerance,
        note=note,
        floor_seconds=spread(floor.seconds(timed)) if floor else None,
        over_floor=spread(mine.seconds / floor.seconds(timed)) if floor else None,
        floor_what=floor.what if floor else "",
    )
