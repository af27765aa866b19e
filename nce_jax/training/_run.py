"""One run of `fit`: what happens at a step, and after which steps the host acts."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from tqdm import tqdm

from nce_jax._options import check_function, other_parameters
from nce_jax.training import _callbacks
from nce_jax.training._batches import Source
from nce_jax.training._files import Files
from nce_jax.training._mesh import shares_threads
from nce_jax.training._processes import check_same
from nce_jax.training._records import Window

_FLUSH = 128
"""Number of steps that may be in flight. Reading metrics off the device waits for it, so it happens
rarely."""

_LOCAL_DATA_CURE = (
    "; each one's own samples become a part of global arrays by"
    " jax.make_array_from_process_local_data"
)


Evaluate = Callable[..., Mapping[str, Any]]


class Run(NamedTuple):
    """The loop: what happens at a step, and after which steps the host writes."""

    advance: Callable[..., Any]
    source: Source
    window: Window
    files: Files
    due: "Due"
    evaluate: Evaluate | None
    callbacks: tuple[_callbacks.Callback, ...]
    key: jax.Array

    def steps(self, num_done: int, state: Any, first: Any, bar: tqdm) -> Any:
        """The state after the last step; `first` are the arguments of the first one."""
        must_wait = shares_threads(state)
        before = self.files.metrics.records, self.files.evaluations.records
        last = num_done if _callbacks.resume(self.callbacks, *before) else self.due.num_steps
        for number in range(num_done + 1, last + 1):
            is_first = number == num_done + 1
            arguments = first if is_first else self.source.arguments(number - 1)
            if is_first:
                check_same("batches", arguments, _LOCAL_DATA_CURE)
            num_examples = self.source.num_examples or count_examples(arguments)
            state, metrics = self.advance(state, arguments)
            if must_wait:
                jax.block_until_ready(metrics)
            self.window.add(number, metrics, num_examples)
            if self.due.flush(number) and self._write(number, state, arguments, bar):
                last = number
                break
        self.files.check_finite(last, state)
        # A run that was complete before this call has not taken a step.
        if not self.files.has_evaluated(last):
            self._evaluate(last, state)
        return state

    def _write(self, number: int, state: Any, arguments: Any, bar: tqdm) -> bool:
        """Records, evaluation, callbacks and checkpoint, as far as they are due after this step.

        Returns whether a callback wants to stop here.
        """
        is_last = number == self.due.num_steps
        record = self.files.record(self.window, is_last)
        _show(bar, number, record)
        evaluation = self._evaluate(number, state) if self.due.evaluation(number) else {}
        is_stopped = False
        if self.callbacks and record.get("step") == number:
            is_stopped = _callbacks.call(self.callbacks, record, evaluation, state)
        if is_stopped and not evaluation:
            self._evaluate(number, state)
        if self.due.checkpoint(number) or (is_stopped and self.files.checkpoints is not None):
            self.files.save(number, state, self.key, self.source.last(arguments))
        # What the host did here does not count as training time.
        self.window.restart_clock()
        return is_stopped

    def _evaluate(self, number: int, state: Any) -> dict[str, Any]:
        """What the caller's function returns, with its step; nothing without one."""
        if self.evaluate is None:
            return {}
        return self.files.evaluate(number, self.evaluate, state)


class Due(NamedTuple):
    """After which steps the host reads metrics, evaluates and saves; after the last one, all.

    `record_every` is None unless each record is read as soon as it is complete.
    """

    num_steps: int
    checkpoint_every: int | None
    evaluate_every: int | None
    record_every: int | None

    def flush(self, number: int) -> bool:
        is_due = self.evaluation(number) or self.checkpoint(number)
        return number % _FLUSH == 0 or is_due or self._is_multiple(number, self.record_every)

    def evaluation(self, number: int) -> bool:
        return number == self.num_steps or self._is_multiple(number, self.evaluate_every)

    def checkpoint(self, number: int) -> bool:
        return self.checkpoint_every is not None and (
            number == self.num_steps or self._is_multiple(number, self.checkpoint_every)
        )

    def _is_multiple(self, number: int, every: int | None) -> bool:
        return every is not None and number % every == 0


def count_examples(arguments: tuple[Any, ...]) -> int:
    """Number of data samples in a batch that the caller made: the length of its first array."""
    shape = next((jnp.shape(leaf) for leaf in jax.tree.leaves(arguments)), ())
    if not shape:
        raise TypeError(
            "batches: expected batches of arrays with samples on the first axis, got one without"
        )
    return shape[0]


def _show(bar: tqdm, number: int, record: Mapping[str, Any]) -> None:
    shown = {
        "loss": "loss",
        "log_partition": "F",
        "overlap": "overlap",
        "examples_per_second": "examples/s",
    }
    bar.set_postfix(
        {label: f"{record[name]:.4g}" for name, label in shown.items() if name in record},
        refresh=False,
    )
    bar.update(number - bar.n)


def progress_bar(num_steps: int, num_done: int, is_shown: bool) -> tqdm:
    """The bar of a run of which the first steps may be done."""
    return tqdm(
        total=num_steps, initial=num_done, disable=not is_shown, unit="step", dynamic_ncols=True
    )


def as_evaluate(evaluate: Any) -> Evaluate | None:
    """The caller's function as one of state and record, whichever of the two it is."""
    if evaluate is None:
        return None
    is_of_both = other_parameters(evaluate, 1) and other_parameters(evaluate, 2) is None
    if is_of_both and callable(evaluate) and not isinstance(evaluate, type):
        return evaluate
    check_function("evaluate", evaluate, "the state")
    return lambda state, record: evaluate(state)
