"""What a caller does at every record of a run: logging, pruning, and stopping early."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from nce_jax._checks import check_positive_int, describe
from nce_jax._options import check_function, check_number
from nce_jax.training._processes import agreed

EVALUATION = "evaluate/"
"""Prefix of what `evaluate` returned, in the records that callbacks get."""

Callback = Callable[[int, dict[str, float], Any], bool | None]
Records = Sequence[Mapping[str, Any]]


@dataclass(eq=False)
class EarlyStopping:
    """A callback of `fit` that stops a run whose metric no longer improves.

    It remembers nothing that the records of the run do not hold: a run that was killed and resumed
    stops at the same step as one that was not. `fit` resets it at the beginning of every run.

    Attributes:
      metric: the name of the metric in the record.
      patience: number of records without an improvement after which the run stops.
      min_delta: by how much a value has to be better than the best one to be an improvement.
      mode: "min" where small values are good, "max" where large ones are.
      best: the best value so far; NaN before the first one.
      best_step: its step; 0 before the first one.
      num_waited: number of records since the best one.
    """

    metric: str
    patience: int
    min_delta: float = 0.0
    mode: Literal["min", "max"] = "min"
    best: float = field(default=math.nan, init=False)
    best_step: int = field(default=0, init=False)
    num_waited: int = field(default=0, init=False)

    def __call__(self, step: int, record: Mapping[str, float], state: Any) -> bool:
        """Takes one record, and returns whether the run is to stop."""
        del state
        if self.metric not in record:
            self._check_metric(record)
            return False
        value = float(record[self.metric])
        # The file of a run holds no infinities, and a resumed run has to stop where this one does.
        value = value if math.isfinite(value) else math.nan
        if self._is_better(value):
            self.best, self.best_step, self.num_waited = value, step, 0
        else:
            self.num_waited += 1
        return self.num_waited >= self.patience

    def resume(self, records: Records) -> bool:
        """Begins anew with the records of a run so far; returns whether it had stopped there."""
        self.best, self.best_step, self.num_waited = math.nan, 0, 0
        return [self(record["step"], record, None) for record in records][-1:] == [True]

    def _is_better(self, value: float) -> bool:
        if math.isnan(value) or math.isnan(self.best):
            return not math.isnan(value)
        gain = self.best - value if self.mode == "min" else value - self.best
        return gain > self.min_delta

    def _check_metric(self, record: Mapping[str, float]) -> None:
        """Raises where the metric will never come: evaluations are not in every record."""
        has_evaluation = any(name.startswith(EVALUATION) for name in record)
        if has_evaluation or not self.metric.startswith(EVALUATION):
            raise ValueError(
                f"metric: expected one of {', '.join(record)}, got {self.metric!r}; what `evaluate`"
                f" returns has the prefix {EVALUATION!r}"
            )


def early_stopping(
    metric: str, *, patience: int, min_delta: float = 0.0, mode: Literal["min", "max"] = "min"
) -> EarlyStopping:
    """Makes a callback that stops a run of `fit` whose metric no longer improves.

    A record counts as an improvement if its value is better than the best one before by more than
    `min_delta`. Records without the metric, as those between two evaluations, are not counted, and
    NaN or an infinity is never an improvement. The parameters are not set back: `best_step` of the
    result names the step of the best value, and `load_checkpoint` reads its checkpoint, if it was
    kept.

    Args:
      metric: the name of a metric, such as "loss", or of a number that `evaluate` returns, with
        "evaluate/" before it. The loss of training records does not rise when a model overfits: to
        stop there, evaluate on held-out samples.
      patience: number of records (with this metric) without an improvement after which the run
        stops.
      min_delta: smallest difference that is an improvement, >= 0.
      mode: "min" where small values are good, "max" where large ones are.

    Returns:
      An `EarlyStopping`, for the `callbacks` of `fit`. One object serves one run at a time.

    Raises:
      TypeError: `metric` is no text, or `patience` no integer.
      ValueError: `patience` below one, a negative `min_delta`, or another `mode`. When it runs: the
        metric is not in the record.

    Examples:
      >>> from nce_jax import training
      >>> stopping = training.early_stopping("loss", patience=2)
      >>> losses = [1.0, 0.5, 0.6, 0.7]
      >>> [stopping(step, {"loss": loss}, None) for step, loss in enumerate(losses, 1)]
      [False, False, False, True]
      >>> stopping.best, stopping.best_step
      (0.5, 2)

    References:
      Prechelt, Early stopping - but when?, 1998.
    """
    if not isinstance(metric, str):
        raise TypeError(f"metric: expected a name such as 'loss', got {describe(metric)}")
    check_positive_int("patience", patience)
    check_number("min_delta", min_delta, "a number >= 0", lambda delta: 0 <= delta < math.inf)
    if not isinstance(mode, str) or mode not in ("min", "max"):
        raise ValueError(f"mode: expected 'min' or 'max', got {mode!r}")
    return EarlyStopping(metric, patience, float(min_delta), mode)


def check_evaluated(callbacks: Sequence[Callback], evaluate: Any, every: int | None) -> None:
    """Raises where a callback waits for evaluations that will not come."""
    for callback in callbacks:
        if not isinstance(callback, EarlyStopping):
            continue
        if callback.metric.startswith(EVALUATION) and (evaluate is None or every is None):
            missing = "evaluate" if evaluate is None else "evaluate_every"
            raise ValueError(
                f"{missing}: expected one for early stopping on {callback.metric!r}, got None;"
                " without it there is no evaluation before the end of the run"
            )


def as_callbacks(callbacks: Any) -> tuple[Callback, ...]:
    """The callbacks as a tuple; raises unless each is a function of step, record and state."""
    is_list = isinstance(callbacks, Iterable) and not hasattr(callbacks, "dtype")
    if not is_list or isinstance(callbacks, str | bytes | Mapping):
        cure = "; a single one goes into a list, [callback]" if callable(callbacks) else ""
        raise TypeError(f"callbacks: expected a list of functions, got {describe(callbacks)}{cure}")
    callbacks = tuple(callbacks)
    for index, callback in enumerate(callbacks):
        check_function(f"callbacks[{index}]", callback, "step, record and state", num_arguments=3)
    return callbacks


def resume(callbacks: Sequence[Callback], metrics: Records, evaluations: Records) -> bool:
    """Tells the callbacks that remember something what came before; whether to stop at once."""
    by_step = {record["step"]: record for record in evaluations}
    records = [with_evaluation(record, by_step.get(record["step"], {})) for record in metrics]
    answers = [callback.resume(records) for callback in callbacks if hasattr(callback, "resume")]
    return bool(agreed(any(answer is True for answer in answers)))


def call(
    callbacks: Sequence[Callback], metrics: Mapping[str, Any], evaluation: Mapping[str, Any], state
) -> bool:
    """Calls all of them with one record; whether one of the first process's wants to stop."""
    record = with_evaluation(metrics, evaluation)
    answers = [
        _as_answer(index, callback(int(record["step"]), dict(record), state))
        for index, callback in enumerate(callbacks)
    ]
    return bool(agreed(any(answers)))


def with_evaluation(metrics: Mapping[str, Any], evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """One record of both, with NaN for the nulls of a file."""
    prefixed = {f"{EVALUATION}{k}": v for k, v in evaluation.items() if k != "step"}
    return {k: math.nan if v is None else v for k, v in {**metrics, **prefixed}.items()}


def _as_answer(index: int, answer: Any) -> bool:
    is_flag = isinstance(answer, bool) or getattr(answer, "dtype", None) == np.bool_
    if answer is not None and not (is_flag and np.shape(answer) == ()):
        raise TypeError(
            f"callbacks[{index}]: expected it to return True to stop, or None, got"
            f" {describe(answer)}"
        )
    return bool(answer)
