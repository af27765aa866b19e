"""Metrics of a run: gathered on the device, checked, and averaged over steps."""

import itertools
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._checks import describe
from nce_jax.log_partition import Status
from nce_jax.training._faults import NUM_COLUMNS, SampleFaults, explain

_CURE = (
    "fit(..., resume=True, allow_changes=('optimizer',)) goes on from it with a lower learning rate"
    " or with clipping (('step',) in fit_log_ratio, in fit_flow and with a step of your own),"
    " ('key',) with other batches and draws, and training.load_checkpoint reads it or an earlier"
    " one for a new run"
)
_NO_CHECKPOINT = "there is no good checkpoint; a lower learning rate or clipping would help"


_ZERO_BY_ZERO = (
    "; neither helps against 0/0, as in the gradient of x / norm(x) at a row of zeros, also one of"
    " weight zero: x * rsqrt(maximum(sum(x**2), 1e-12)) has none"
)


class NonFiniteError(FloatingPointError):
    """A metric or parameter became NaN or infinite.

    Attributes:
      step: the step at which it did.
      metric: its name.
      checkpoint: path of the last good checkpoint, one whose metrics at the next step were finite,
        or None.
    """

    def __init__(
        self,
        step: int,
        metric: str,
        value: float,
        status: int | None,
        checkpoint: Path | None,
        cause: str = "",
    ) -> None:
        has_failed = status is not None and status in (Status.NONFINITE, Status.MAX_STEPS)
        why = f" (solver status {Status(status or 0).name})" if has_failed else ""
        why += f": {cause}" if cause else ""
        last = f"last good checkpoint: {checkpoint}; {_CURE}" if checkpoint else _NO_CHECKPOINT
        hint = _ZERO_BY_ZERO if np.isnan(value) and not why else ""
        super().__init__(f"step {step}: {metric} is {value}{why}; {last}{hint}")
        self.step, self.metric, self.checkpoint = step, metric, checkpoint
        self._arguments = step, metric, value, status, checkpoint, cause

    def __reduce__(self) -> tuple[Any, ...]:
        """Made anew of its arguments, so that it comes out of a pool of processes."""
        return type(self), self._arguments


_FAULT = "faults."
"""Prefix of the counts of faults among the columns of a window; they are no part of a record."""


class LowOverlapWarning(UserWarning):
    """Data and noise overlap so little that few samples carry the gradient."""


class FailedSolvesWarning(UserWarning):
    """F was not solved at many steps, in which the parameters did not move."""


@partial(jax.tree_util.register_dataclass, data_fields=["arrays"], meta_fields=["names", "order"])
@dataclass(frozen=True)
class Packed:
    """Metrics of one step as one array per dtype.

    Fetching six scalars per step from the device takes a small model some percent of its time. The
    names are no arrays: steps with weights have metrics that others lack.
    """

    arrays: dict[str, Any]
    names: tuple[tuple[str, tuple[str, ...]], ...]
    order: tuple[str, ...]

    @classmethod
    def of(cls, metrics: Any) -> "Packed":
        """Packs named scalars, while the step is traced."""
        scalars = metrics._asdict() if hasattr(metrics, "_asdict") else metrics
        if not isinstance(scalars, Mapping) or "step" in scalars:
            got = list(scalars) if isinstance(scalars, Mapping) else describe(metrics)
            raise ValueError(
                "step: expected metrics as a NamedTuple or a dictionary without the name 'step',"
                f" got {got}"
            )
        # None stands for a metric that this step does not have.
        scalars = {name: value for name, value in scalars.items() if value is not None}
        faults = scalars.pop("faults", None)
        if isinstance(faults, SampleFaults):
            scalars |= {
                f"{_FAULT}{side}.{column}": numbers[column]
                for side, numbers in faults._asdict().items()
                for column in range(NUM_COLUMNS)
            }
        wrong = {
            name: jnp.shape(value) for name, value in scalars.items() if jnp.shape(value) != ()
        }
        if wrong:
            raise ValueError(f"step: expected scalar metrics, got shapes {wrong}")
        names: dict[str, list[str]] = {}
        for name, value in scalars.items():
            names.setdefault(str(jnp.result_type(value)), []).append(name)
        arrays = {dtype: jnp.stack([scalars[n] for n in group]) for dtype, group in names.items()}
        return cls(arrays, tuple((k, tuple(group)) for k, group in names.items()), tuple(scalars))


def columns_of(packed: list[Packed]) -> dict[str, np.ndarray]:
    """Unpacks the metrics of several steps into one column per name."""
    columns: dict[str, np.ndarray] = {}
    for _, alike in itertools.groupby(packed, lambda row: (row.names, row.order)):
        rows = list(alike)
        columns = joined(columns, _unpacked(rows), len(rows))
    return columns


def _unpacked(rows: list[Packed]) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for dtype, names in rows[0].names:
        table = np.stack([np.asarray(row.arrays[dtype]) for row in rows])
        found |= {name: table[:, i] for i, name in enumerate(names)}
    return {name: found[name] for name in rows[0].order}


def joined(
    before: dict[str, np.ndarray], new: dict[str, np.ndarray], num_new: int
) -> dict[str, np.ndarray]:
    """Columns of earlier and of new steps; what only batches with weights have is else zero."""
    if not before:
        return new
    lengths = len(next(iter(before.values()))), num_new
    for name in set(before) ^ set(new):
        if name != "is_empty" and not name.startswith(_FAULT):
            raise ValueError(
                f"step: expected the same metrics at every step, got {name!r} at some alone"
            )
    return {
        name: np.append(
            before.get(name, np.zeros(lengths[0], new[name].dtype if name in new else None)),
            new.get(name, np.zeros(lengths[1], before[name].dtype if name in before else None)),
        )
        for name in before | new
    }


class Window:
    """Metrics between device and records; they stay on the device, so that no step waits."""

    def __init__(self, log_every: int, low_overlap: float) -> None:
        self._every, self._low_overlap = log_every, low_overlap
        self._steps: list[int] = []
        self._metrics: list[Packed] = []
        self._columns: dict[str, np.ndarray] = {}
        self._examples, self._seconds, self._since = 0, 0.0, time.perf_counter()
        self._warned: set[type[UserWarning]] = set()

    def add(self, step: int, metrics: Packed, num_examples: int) -> None:
        self._steps.append(step)
        self._metrics.append(metrics)
        self._examples += num_examples

    def restart_clock(self) -> None:
        """Excludes the time since `collect` from the examples per second."""
        self._since = time.perf_counter()

    def collect(
        self, last_good: Callable[[int, str], Path | None], is_last: bool
    ) -> list[dict[str, Any]]:
        """Fetches metrics and returns the complete records, or all of them after the last step.

        Raises NonFiniteError at the first bad step, with the checkpoint that `last_good(step,
        reason)` finds before the step whose parameters are bad. Records end at multiples of
        `log_every`, wherever the run started.
        """
        new, count = columns_of(self._metrics), len(self._metrics)
        _check_finite(self._steps[-count:], new, last_good)
        self._metrics = []
        self._columns = joined(self._columns, new, count)
        self._seconds += time.perf_counter() - self._since
        numbers = (np.asarray(self._steps) - 1) // self._every
        is_complete = self._steps[-1] % self._every == 0
        complete = [
            number
            for number in np.unique(numbers)
            if is_last or is_complete or number < numbers[-1]
        ]
        rate = self._examples / max(self._seconds, 1e-9)
        records = [
            self._record(self._columns, np.flatnonzero(numbers == number), rate)
            for number in complete
        ]
        if records:
            self._drop(int(np.isin(numbers, complete).sum()))
            # A record at the end of a run may be of fewer steps than the others.
            self._warn(records, [int(np.sum(numbers == number)) for number in complete])
        return records

    def _drop(self, count: int) -> None:
        self._examples, self._seconds = 0, 0.0
        self._steps = self._steps[count:]
        self._columns = {name: values[count:] for name, values in self._columns.items()}

    def _record(
        self, columns: dict[str, np.ndarray], window: np.ndarray, rate: float
    ) -> dict[str, Any]:
        record: dict[str, Any] = {"step": self._steps[window[-1]]}
        if "is_empty" in columns:
            is_empty = columns["is_empty"][window] != 0
            record["empty_batches"] = int(is_empty.sum())
            # Batches of padding are left out of the means, unless there are no others.
            window = window if is_empty.all() else window[~is_empty]
        for name, values in columns.items():
            if name.startswith(_FAULT) or name == "is_empty":
                continue
            if name == "status":
                failed = ~np.isin(values[window], (Status.CONVERGED, Status.NO_OVERLAP))
                record["failed_solves"] = int(failed.sum())
            else:
                record[name] = float(np.mean(values[window], dtype=np.float64))
        if "overlap" in columns:
            is_low = columns["overlap"][window] < self._low_overlap
            if "is_empty" in columns:
                is_low &= columns["is_empty"][window] == 0
            record["low_overlap"] = float(np.mean(is_low))
        return record | {"examples_per_second": rate}

    def _warn(self, records: list[dict[str, Any]], sizes: list[int]) -> None:
        for record, size in zip(records, sizes, strict=True):
            if record.get("low_overlap", 0) > 0.5:
                self._warn_once(
                    LowOverlapWarning,
                    f"step {record['step']}: the overlap was below {self._low_overlap:g} in"
                    f" {record['low_overlap']:.0%} of the last steps ({record['overlap']:.2g} on"
                    f" average): {_cures('critic_loss' in record)}",
                )
            # Solves of a few fixed steps may fail in the beginning.
            share = 0.5 if record["step"] <= self._every else 0.2
            if record.get("failed_solves", 0) > share * size:
                self._warn_once(
                    FailedSolvesWarning,
                    f"step {record['step']}: F was not solved at {record['failed_solves']} of"
                    f" {size} steps, and the parameters waited. More fixed_steps, a solver"
                    " with more steps, or a smaller learning rate would help.",
                )

    def _warn_once(self, kind: type[UserWarning], message: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            warnings.warn(message, kind, stacklevel=5)


def _cures(has_generator: bool) -> str:
    """What a low overlap means, and what would help."""
    if has_generator:
        return (
            "the critic tells data and generated samples apart, and has little to teach. A penalty"
            " on its gradient (nce_jax.critics.gradient_penalty), noise on both sides (augment_fn)"
            " or a slower critic would help."
        )
    return (
        "few samples carry the gradient (a density chasm), or F is far from its root. Noise nearer"
        " to the data would help, or a chain of ratios between them, as nce_jax.fit_telescope"
        " trains it."
    )


def _check_finite(steps: list[int], columns: dict[str, np.ndarray], last_good) -> None:
    floating = {
        name: values
        for name, values in columns.items()
        if not np.issubdtype(values.dtype, np.integer)
    }
    bad = {
        name: int(np.argmin(np.isfinite(v)))
        for name, v in floating.items()
        if not np.isfinite(v).all()
    }
    if bad:
        # The earliest, and of several at one step the first in the order of the metrics.
        metric = min(bad, key=bad.__getitem__)
        row = bad[metric]
        status = columns["status"][row].item() if "status" in columns else None
        step, value = steps[row], float(columns[metric][row])
        # The metrics of a step are those of the parameters before it.
        checkpoint = last_good(step - 1, f"{metric} was {value} at step {step}")
        cause = _explain_faults(columns, row)
        raise NonFiniteError(step, metric, value, status, checkpoint, cause)


def _explain_faults(columns: dict[str, np.ndarray], row: int) -> str:
    """The causes in the samples of one step, in words; nothing for steps without `faults`."""
    sides = (
        [columns.get(f"{_FAULT}{side}.{column}") for column in range(NUM_COLUMNS)]
        for side in SampleFaults._fields
    )
    counts = [[int(values[row]) for values in side if values is not None] for side in sides]
    return explain(*counts) if all(counts) else ""
