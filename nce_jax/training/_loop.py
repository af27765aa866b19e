"""`fit`: the training loop, with progress, metrics, checkpoints and resumption around a pure train step."""

import functools
import math
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from nce_jax._checks import check_positive_int
from nce_jax._types import PRNGKeyArray
from nce_jax.training._batches import make_source
from nce_jax.training._checkpoints import Checkpoints, Loaded
from nce_jax.training._records import MetricsFile, NonFiniteError, Packing, Window, history

_FLUSH = 64
"""Steps that may be in flight: reading metrics off the device waits for it, and so happens rarely."""


class FitResult(NamedTuple):
    """What `fit` returns.

    Attributes:
      state: after the last step.
      history: metrics by name, one entry per record (means over `log_every` steps; "step" is the last of them).
      evaluations: what `evaluate` returned, by name, with its "step".
    """

    state: Any
    history: dict[str, np.ndarray]
    evaluations: dict[str, np.ndarray]


def fit(
    step: Callable[[Any, Any, PRNGKeyArray], tuple[Any, Any]],
    state: Any,
    batches: Any,
    key: PRNGKeyArray,
    *,
    num_steps: int,
    batch_size: int | None = None,
    folder: str | PathLike[str] | None = None,
    resume: bool = False,
    checkpoint_every: int = 1000,
    keep: int = 3,
    log_every: int = 100,
    evaluate: Callable[[Any], Mapping[str, Any]] | None = None,
    evaluate_every: int | None = None,
    low_overlap: float = 0.01,
    progress: bool = True,
) -> FitResult:
    """Runs a train step over batches, and looks after everything around it.

    The step is compiled here, with its state donated. Metrics stay on the device for some dozens of steps, so that no step
    waits for the host. A run that was killed at any moment and resumed ends, on CPU, in the same parameters, bit for bit, as
    one that was left alone: the batch and the draws of a step depend on its number and the key alone.

    Args:
      step: what `make_train_step` returns, or any `step(state, batch, key) -> (state, metrics)` with scalar metrics.
      state: what `init_train_state` returns.
      batches: an array of data samples, or a `Batch` of arrays, shuffled anew in every pass and cut into batches of
        `batch_size` (data and fixed noise samples each by a shuffle of their own; an incomplete last batch is left out). Or
        a function `batches(step)`, the first step being 0. Or an iterable of batches, gone through again when it ends; to be
        resumed, it has to repeat itself: the batches that were seen are drawn and dropped.
      key: typed key for shuffling and for the step's own draws.
      num_steps: steps in all, those before a resumption included.
      batch_size: for arrays; None gives all samples at every step.
      folder: where to keep `metrics.jsonl` and `checkpoints/`; None keeps nothing.
      resume: go on from the newest whole checkpoint in `folder`, or from the beginning if it has none. A damaged or
        unfinished checkpoint is passed over with a `CheckpointWarning` that names it and the one used instead.
      checkpoint_every: steps between checkpoints, a multiple of `log_every`.
      keep: how many checkpoints to keep.
      log_every: steps that one record of metrics is the mean of.
      evaluate: `evaluate(state)` returns a dictionary of numbers; it must not keep the state, whose memory is reused.
      evaluate_every: steps between evaluations, a multiple of `log_every`; None evaluates after the last step only.
      low_overlap: an overlap below this counts as low; where most steps of a record have it, a `LowOverlapWarning` is
        given, once. The value is our choice: at 0.01 about one sample in a hundred carries the gradient.
      progress: whether to show a progress bar, on stderr.

    Returns:
      A `FitResult`.

    Raises:
      NonFiniteError: a metric or a parameter is NaN or infinite; it names the step, the metric and the last good checkpoint.
      FileExistsError: `folder` holds a run already, and `resume` is False.
      ValueError: the run in `folder` had another key, other sizes or another state; batches ran out; numbers out of range.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from nce_jax import models, noise, training
      >>> params, log_density_fn = models.exponential_family(
      ...     models.linear_statistics, jnp.zeros(1), log_base_measure=noise.standard_normal(1).log_prob
      ... )
      >>> optimizer = optax.sgd(0.5)
      >>> step = training.make_train_step(log_density_fn, noise.standard_normal(1), optimizer)
      >>> state = training.init_train_state(params, optimizer)
      >>> x_data = 2 + jax.random.normal(jax.random.key(0), (4096, 1))
      >>> result = training.fit(step, state, x_data, jax.random.key(1), num_steps=200, batch_size=512, progress=False)
      >>> print(f"theta {result.state.params[0]:.1f}, overlap {result.history['overlap'][-1]:.1f}")
      theta 1.9, overlap 0.5

    References:
      Sevekari et al., Accelerating NCE Convergence with Adaptive Normalizing Constant Computation, 2024, algorithm 1.
    """
    for name, value in (("num_steps", num_steps), ("log_every", log_every), ("keep", keep)):
        check_positive_int(name, value)
    _check_multiple("checkpoint_every", checkpoint_every if folder is not None else None, log_every)
    _check_multiple("evaluate_every", evaluate_every, log_every)
    key_step, key_shuffle = jax.random.split(key)
    files = _Files(folder, keep)
    start = files.open(state, key, resume)
    source = make_source(batches, batch_size, key_shuffle, start.step)
    files.check_context(start.context, source.context)
    packing = Packing()

    @functools.partial(jax.jit, donate_argnums=0)
    def advance(state, arguments):
        state, metrics = step(state, source.batch(*arguments), key_step)
        return state, packing.pack(metrics)

    due = _Due(num_steps, log_every, checkpoint_every if files.checkpoints else None, evaluate_every if evaluate else None)
    window, state = Window(packing, log_every, low_overlap), start.tree["state"]
    with tqdm(total=num_steps, initial=start.step, disable=not progress, unit="step", dynamic_ncols=True) as bar:
        for number in range(start.step + 1, num_steps + 1):
            arguments = source.arguments(number - 1)
            state, metrics = advance(state, arguments)
            window.add(number, metrics, source.num_examples or _num_examples(arguments))
            if due.flush(number):
                _show(bar, number, files.record(window))
            if evaluate is not None and due.evaluation(number):
                files.evaluations.append([{"step": number, **_numbers(evaluate(state))}])
            if due.checkpoint(number):
                files.save(number, state, key, source.context)
    files.finish()
    return FitResult(state, history(files.metrics.records), history(files.evaluations.records))


class _Due(NamedTuple):
    """Which steps are followed by what; the last one by everything."""

    num_steps: int
    log_every: int
    checkpoint_every: int | None
    evaluate_every: int | None

    def flush(self, number: int) -> bool:
        every = self.log_every * math.ceil(_FLUSH / self.log_every)
        return number % every == 0 or self.evaluation(number) or self.checkpoint(number)

    def evaluation(self, number: int) -> bool:
        return number == self.num_steps or self._is_multiple(number, self.evaluate_every)

    def checkpoint(self, number: int) -> bool:
        return self.checkpoint_every is not None and (
            number == self.num_steps or self._is_multiple(number, self.checkpoint_every)
        )

    def _is_multiple(self, number: int, every: int | None) -> bool:
        return every is not None and number % every == 0


class _Files:
    """What a run leaves on disk: metrics, evaluations, checkpoints; without a folder, the records alone, in memory."""

    def __init__(self, folder: str | PathLike[str] | None, keep: int) -> None:
        self.folder = None if folder is None else Path(folder)
        self.checkpoints = None if self.folder is None else Checkpoints(self.folder / "checkpoints", keep)
        self.metrics, self.evaluations = (
            MetricsFile(self.folder and self.folder / f"{name}.jsonl") for name in ("metrics", "evaluations")
        )

    def open(self, state: Any, key: jax.Array, resume: bool) -> Loaded:
        """Where the run starts: from the newest whole checkpoint, or from a copy of `state`, for the loop to donate."""
        fresh = Loaded(0, {"state": jax.tree.map(jnp.copy, state), "key": key}, {})
        if self.checkpoints is None or self.folder is None:
            return fresh
        if not resume and (self.checkpoints.steps() or (self.metrics.path and self.metrics.path.exists())):
            raise FileExistsError(f"folder: {self.folder} holds a run already; resume=True goes on with it")
        start = self.checkpoints.load(fresh.tree) or fresh
        if (jax.random.key_data(start.tree["key"]) != jax.random.key_data(key)).any():
            raise ValueError(f"key: the run in {self.folder} was begun with another key; give that one, or another folder")
        for file in (self.metrics, self.evaluations):
            file.keep_until(start.step)
        return start

    def check_context(self, saved: Mapping[str, Any], given: Mapping[str, Any]) -> None:
        for name in saved:
            if saved[name] != given.get(name):
                raise ValueError(f"{name}: expected {saved[name]} as in the run in {self.folder}, got {given.get(name)}")

    def record(self, window: Window) -> dict[str, Any]:
        """Writes the records of a window; the last of them is returned for the progress bar."""
        records = window.close(self.last_checkpoint)
        self.metrics.append(records)
        return records[-1] if records else {}

    def save(self, number: int, state: Any, key: jax.Array, context: Mapping[str, Any]) -> None:
        assert self.checkpoints is not None
        bad = _first_non_finite(getattr(state, "params", state))
        if bad is not None:
            raise NonFiniteError(number, f"parameter {bad}", math.nan, None, self.last_checkpoint())
        self.checkpoints.save(number, {"state": state, "key": key}, dict(context))

    def last_checkpoint(self) -> Path | None:
        if self.checkpoints is None:
            return None
        self.checkpoints.finish()
        return self.checkpoints.newest()

    def finish(self) -> None:
        if self.checkpoints is not None:
            self.checkpoints.finish()


def _check_multiple(name: str, value: int | None, log_every: int) -> None:
    if value is None:
        return
    check_positive_int(name, value)
    if value % log_every:
        raise ValueError(f"{name}: expected a multiple of log_every = {log_every}, got {value}")


def _num_examples(arguments: tuple[Any, ...]) -> int:
    """Data samples in a batch that the caller made: the length of its first array."""
    return jax.tree.leaves(arguments)[0].shape[0]


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items()}


def _show(bar: tqdm, number: int, record: Mapping[str, Any]) -> None:
    shown = {"loss": "loss", "log_partition": "F", "overlap": "overlap", "examples_per_second": "examples/s"}
    bar.set_postfix({label: f"{record[name]:.4g}" for name, label in shown.items() if name in record}, refresh=False)
    bar.update(number - bar.n)


def _first_non_finite(params: Any) -> str | None:
    floating = [
        (jax.tree_util.keystr(path), leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
        if jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)
    ]
    is_finite = jax.device_get(_all_finite([leaf for _, leaf in floating]))
    return next((name for (name, _), fine in zip(floating, is_finite, strict=True) if not fine), None)


@jax.jit
def _all_finite(leaves: list[jax.Array]) -> list[jax.Array]:
    return [jnp.isfinite(leaf).all() for leaf in leaves]
