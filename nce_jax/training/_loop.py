"""`fit`: the training loop around a pure train step."""

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from os import PathLike
from typing import Any, NamedTuple

import jax
import numpy as np

from nce_jax._checks import check_positive_int
from nce_jax._options import as_folder, check_changes, check_flag, check_number, check_resume
from nce_jax._types import PRNGKeyArray
from nce_jax.training._batches import Source, make_source
from nce_jax.training._callbacks import Callback, as_callbacks, check_evaluated
from nce_jax.training._composition import check_arguments, check_step
from nce_jax.training._description import Description, describe_run
from nce_jax.training._files import Files, same_kind, strongly_typed
from nce_jax.training._lines import history
from nce_jax.training._mesh import output_shardings
from nce_jax.training._processes import check_same, is_writer
from nce_jax.training._records import Packed, Window
from nce_jax.training._run import Due, Run, as_evaluate, count_examples, progress_bar


class FitResult(NamedTuple):
    """What `fit` returns.

    Attributes:
      state: after the last step.
      history: metrics by name, one entry per record (means over `log_every` steps; "step" is the
        last of them).
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
    batch_size: int | tuple[int, int] | None = None,
    folder: str | PathLike[str] | None = None,
    resume: bool = False,
    checkpoint_every: int = 1000,
    keep: int = 3,
    log_every: int = 100,
    evaluate: Callable[..., Mapping[str, Any]] | None = None,
    evaluate_every: int | None = None,
    callbacks: Sequence[Callback] = (),
    low_overlap: float = 0.01,
    allow_changes: Collection[str] = (),
    progress: bool = True,
) -> FitResult:
    """Runs the training loop: batches, metrics, evaluations, checkpoints, resumption.

    The step is compiled here, with its state donated. Metrics stay on the device for some dozens of
    steps, so that no step waits for the host. The batch and the draws of a step depend only on its
    number and the key: a run that was killed at any moment and resumed ends, on CPU, in the same
    parameters, bit for bit, as one that was never interrupted.

    Args:
      step: what `make_train_step` returns, or any `step(state, batch, key) -> (state, metrics)`
        with scalar metrics. It receives a `Batch` (its samples are `batch.x_data`) where `batches`
        is an array or a `Batch`, and otherwise a tuple or dict, as `batches` is, or what it yields.
      state: what `train.init(params)` returns.
      batches: one of five. An array of data samples, or a `Batch` of arrays, is shuffled in every
        pass and cut into batches of `batch_size` (data and fixed noise samples each by a shuffle of
        their own; an incomplete last batch is left out). So is a dict of arrays or, with
        `batch_size`, a tuple of them, whose rows stay together. A function is called as
        `batches(step)`, from step 0 on. An iterable of batches is started again when it ends; to be
        resumed it has to repeat itself, since the batches that were used are drawn and dropped.
      key: typed key for shuffling and for the draws of the step.
      num_steps: total number of steps, including those before a resumption.
      batch_size: for arrays: a number, or a pair for data and the noise samples of a `Batch`. None
        uses the whole data set at every step.
      folder: where to write `metrics.jsonl`, `evaluations.jsonl` and `checkpoints/`; None writes
        nothing. No other run can use the folder at the same time. A complete run can be read again
        from a read-only disk.
      resume: continues from the newest good checkpoint in `folder`, or from the beginning if it has
        none. A checkpoint that is damaged or unfinished, or at whose parameters the loss of the
        next step was not finite, is passed over with a `CheckpointWarning` that names it and the
        one used instead. Damaged lines of metrics or evaluations are moved to a file beside them,
        with a `RecordWarning`.
      checkpoint_every: number of steps between checkpoints, a multiple of `log_every`.
      keep: number of checkpoints to keep. At least two are, since the loss may diverge right after
        the newest.
      log_every: number of steps averaged into one record of metrics.
      evaluate: `evaluate(state)`, or `evaluate(state, record)` with the last record of metrics,
        returns a dictionary of numbers. It must not keep the state, whose memory is reused.
      evaluate_every: number of steps between evaluations, a multiple of `log_every`; None evaluates
        after the last step only.
      callbacks: functions that are called as `callback(step, record, state)` after every record,
        in order: to log it, or to stop the run by returning True. `record` is a dictionary of the
        metrics and of what `evaluate` returned after this step, the latter by names with
        "evaluate/" before them. The state must not be kept. A run that is stopped is evaluated and
        saved like one that is complete. A callback with a memory has a method `resume(records)`,
        which is called with the records so far when a run begins or is resumed, and which returns
        True where the run is to stop at once; that of `early_stopping` does. With several
        processes every one calls its callbacks, since the state may be spread over them (log on
        process 0 alone), and the decision of process 0 holds for all. With callbacks the host
        waits for the device at every record.
      low_overlap: overlaps below this count as low. A `LowOverlapWarning` is given once, where most
        steps of a record have one. The default is our choice: at 0.01 about one sample in a hundred
        carries the gradient. A `FailedSolvesWarning` is given where F is not solved at more than a
        fifth of the steps of a record, or half of those of the first one.
      allow_changes: what may differ from the run in `folder`, a tuple of "batches", "batch_size",
        "key", "state", "model", "noise", "optimizer", "criterion", "treatment", "stages",
        "penalty", "magnification_rule" and "step" (of any step that is no `TrainStep`, as a
        whole). A resumed run goes on as if nothing had changed, so that a change is refused unless
        it is named here. Samples are compared bit for bit, functions by the operations that they
        consist of and their constants, of batches from an iterable or a function the last one, and
        the initial state up to rounding (16 units in the last place of an entry, and 8 of one).
        Code that is called back on the host and parts of the state that are spread over processes
        are not compared. A step of your own over several devices is compared on the same number of
        them, and with a `CheckpointWarning` not on another. An optimizer's state that does not fit
        a changed optimizer begins anew.
      progress: whether to show a progress bar, on stderr.

    Returns:
      A `FitResult`. Where batches have weights, its history has a column `empty_batches`, the
        number of steps whose batch was padding throughout: they change nothing but `state.step`,
        and are left out of the means.

    Raises:
      NonFiniteError: a metric is NaN or infinite, or a parameter or F is when it is to be saved;
        the error names the step, the metric, the cause as far as it lies in the samples (which
        side, how many, log density or log noise) and the last good checkpoint.
      FileExistsError: `folder` holds a run already, and `resume` is False.
      BlockingIOError: another run is using `folder`.
      OSError: `folder` cannot be written to, or the disk is full; it is tested before the first
        step. (The two errors above are kinds of this one.)
      TypeError: `step`, `state`, `batches` or `key` is of the wrong kind.
      ValueError: the run in `folder` began with other samples, another key, state or step, and the
        change is not allowed; it had more steps; a pipe or device is in the place of a file;
        batches ran out; numbers out of range; metrics that are not scalars; a step that changes
        shapes or dtypes of its state; processes with different keys, numbers of steps, or samples
        where they have to share them.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from nce_jax import models, noise, training
      >>> params, log_density_fn = models.exponential_family(
      ...     models.linear_statistics,
      ...     jnp.zeros(1),
      ...     log_base_measure=noise.standard_normal(1).log_prob,
      ... )
      >>> train = training.make_train_step(log_density_fn, noise.standard_normal(1), optax.sgd(0.5))
      >>> state = train.init(params)
      >>> x_data = 2 + jax.random.normal(jax.random.key(0), (4096, 1))
      >>> result = training.fit(
      ...     train, state, x_data, jax.random.key(1), num_steps=200, batch_size=512, progress=False
      ... )
      >>> print(f"theta {result.state.params[0]:.1f}, overlap {result.history['overlap'][-1]:.1f}")
      theta 1.9, overlap 0.5

    References:
      Sevekari et al., Accelerating NCE Convergence with Adaptive Normalizing Constant Computation,
        2024, algorithm 1.
    """
    check_step(step)
    check_arguments(state, batches, key)
    check_changes(allow_changes)
    check_resume(resume, folder)
    folder = as_folder(folder)
    check_flag("progress", progress)
    check_number("low_overlap", low_overlap, "a number from 0 to 1", lambda x: 0 <= x <= 1)
    of_both, callbacks = as_evaluate(evaluate), as_callbacks(callbacks)
    counts = {"num_steps": num_steps, "log_every": log_every, "keep": keep}
    for name, value in {**counts, "checkpoint_every": checkpoint_every}.items():
        check_positive_int(name, value)
    num_steps, log_every, keep = map(int, counts.values())  # those of NumPy are no JSON
    _check_multiple("checkpoint_every", checkpoint_every if folder is not None else None, log_every)
    _check_multiple("evaluate_every", evaluate_every, log_every)
    check_evaluated(callbacks, evaluate, evaluate_every)
    key_step, key_shuffle = jax.random.split(key)
    check_same("key, num_steps, checkpoint_every", [key, num_steps, checkpoint_every])
    with Files(folder, keep, allow_changes) as files:
        start = files.start(state, key, resume, num_steps)
        source = make_source(batches, batch_size, key_shuffle)
        first = source.first(start.step, num_steps)
        advance = _compile(step, source, key_step, start.tree["state"])
        if first is not None:
            source.num_examples or count_examples(first)
            # What does not fit the step is named by its own checks; traced for the first step too.
            jax.eval_shape(advance, start.tree["state"], first)
        if folder is not None:
            run = _description(step, state, key, source, first, start.step)
            files.open(start, run, num_steps)
        loop = Run(
            advance=advance,
            source=source,
            window=Window(log_every, low_overlap),
            files=files,
            due=Due(
                num_steps,
                checkpoint_every if files.checkpoints else None,
                evaluate_every if evaluate else None,
                log_every if callbacks else None,
            ),
            evaluate=of_both,
            callbacks=callbacks,
            key=key,
        )
        with progress_bar(num_steps, start.step, progress and is_writer()) as bar:
            state = loop.steps(start.step, start.tree["state"], first, bar)
    return FitResult(state, history(files.metrics.records), history(files.evaluations.records))


def _description(
    step: Callable[..., Any], state: Any, key: jax.Array, source: Source, first: Any, start: int
) -> Description:
    """What a run is made of, to be compared when it is resumed."""
    last = source.previous(start) if start > 0 else None
    example = first if first is not None else last
    batch = None if example is None else jax.eval_shape(source.batch, *example)
    run = describe_run(step, strongly_typed(state), batch, key)
    of_batches = {"samples": source.samples(), "last_batch": source.last(last)}
    return run._replace(values=of_batches | run.values)


def _compile(
    step: Callable[..., Any], source: Source, key: jax.Array, state: Any
) -> Callable[..., Any]:
    """Compiles one step of the loop, with the gathering of its batch and packed metrics."""

    @functools.partial(jax.jit, donate_argnums=0, out_shardings=output_shardings(state))
    def advance(state, arguments):
        new, metrics = step(state, source.batch(*arguments), key)
        return same_kind(strongly_typed(new), state), Packed.of(metrics)

    return advance


def _check_multiple(name: str, value: int | None, log_every: int) -> None:
    if value is None:
        return
    check_positive_int(name, value)
    if value % log_every:
        raise ValueError(f"{name}: expected a multiple of log_every = {log_every}, got {value}")
