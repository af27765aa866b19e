"""Fits a flow by maximum likelihood, with a choice of the best parameters by held-out data."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from os import PathLike
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from nce_jax._checks import as_floating, check_key, check_positive_int
from nce_jax._contracts import check_optimizer
from nce_jax._dependence import signs_without_groups, warn_of_dependence
from nce_jax._folds import hold_out_groups
from nce_jax._options import as_folder, check_changes, check_flag, check_fraction, check_resume
from nce_jax._promotion import standard_promotion
from nce_jax._samples import HoldOut, check_wide_samples, hold_out
from nce_jax._types import Array, ArrayLike, Float, Params, PRNGKeyArray, Real, Shaped
from nce_jax._updates import norm, update_fn, with_present
from nce_jax.adaptive_noise._flow import FlowNoise, flow
from nce_jax.likelihood import log_likelihood
from nce_jax.training import Batch, fit

_ADAM = optax.adam(1e-3)

_CURE = (
    "copies of training samples may be held out, and a flow that memorized them be chosen: pass"
    " groups_data; if the samples were only sorted, shuffle them"
)


class FlowFit(NamedTuple):
    """A fitted flow, with its held-out log likelihood and the history of its training.

    Attributes:
      noise: the flow of the best evaluation.
      best_step: the step of that evaluation; 0 if training never improved on the fitted Gaussian.
      log_likelihood: mean held-out log likelihood of `noise`, in nats per sample. As the best of
        several evaluations it is slightly too high. Where the number itself matters, compute it
        from data that were used neither for training nor for the choice.
      standard_error: standard error of that mean over the held-out samples, in nats.
      history: columns `step`, `loss` (minus the log likelihood of the training batches),
        `gradient_norm`, and others of `training.fit`.
      evaluations: columns `step` and `log_likelihood`, the held-out mean at every evaluation.
    """

    noise: FlowNoise
    best_step: int
    log_likelihood: float
    standard_error: float
    history: dict[str, np.ndarray]
    evaluations: dict[str, np.ndarray]


class _State(NamedTuple):
    """The state of a run, with the best parameters so far.

    With these in the state, a resumed run chooses as an uninterrupted one would have.
    """

    params: Params
    opt_state: Any
    step: Real[Array, ""]
    log_likelihood: Float[Array, ""]
    best_params: Params
    best_step: Real[Array, ""]
    best_log_likelihood: Float[Array, ""]


def fit_flow(
    key: PRNGKeyArray,
    x_data: Float[ArrayLike, "samples dim"],
    *,
    num_steps: int = 2000,
    batch_size: int = 256,
    optimizer: optax.GradientTransformation | None = None,
    held_out: float = 0.1,
    groups_data: Shaped[ArrayLike, " samples"] | None = None,
    evaluate_every: int = 100,
    folder: str | PathLike[str] | None = None,
    resume: bool = False,
    allow_changes: Collection[str] = (),
    progress: bool = True,
    **options: Any,
) -> FlowFit:
    """Fits a flow to data by maximum likelihood, and selects its parameters by held-out data.

    The loss is -mean_i log q(x_i) over batches of the training part. The held-out part is evaluated
    before the first step and every `evaluate_every` steps, and the parameters of the best
    evaluation are returned, so that a flow that overfits, or never learns, is no worse on held-out
    data than the fitted Gaussian. Do not pass test data to this function: the choice would depend
    on them.

    Where samples depend on one another (repeated measurements, chains), copies of training samples
    would be held out, and a flow that has memorized them be chosen: a warning says so, and
    `groups_data` holds groups out whole.

    Args:
      key: typed key for the split, the initial weights and the batches.
      x_data: data, (samples, dim).
      num_steps: total number of steps. There is no early stopping: the best parameters are chosen
        after the last step.
      batch_size: number of training samples per step; all samples where there are fewer.
      optimizer: an optax transformation, as in `training.make_train_step`; None takes Adam with a
        rate of 1e-3.
      held_out: fraction of samples that are held out, between 0 and 1.
      groups_data: labels of the samples, (samples,), where they depend on one another: a person's
        visits, or the number of each block of a chain. Samples of one label are held out together;
        `standard_error` is that of independent samples all the same. None takes all samples to be
        independent.
      evaluate_every: number of steps between evaluations, and of steps averaged into one record of
        the history.
      folder: where `training.fit` writes metrics and checkpoints; None writes nothing.
      resume: whether to continue from the newest checkpoint in `folder`, as in `training.fit`.
      allow_changes: what may differ from the run in `folder`, as in `training.fit`: a tuple of
        "batches", "batch_size", "key", "state" and "step". The step is compared as a whole, so that
        another optimizer, or another held-out part, is a change of "step".
      progress: whether to show a progress bar.
      **options: options of `flow`: `num_layers`, `hidden`, `num_bins`, `bound`, `ridge`.

    Returns:
      A `FlowFit`; its `noise` can be used like any noise of the library.

    Raises:
      NonFiniteError: from `training.fit`, where the likelihood is no longer finite.
      TypeError: `key` is not a typed key, or `x_data` is not floating.
      ValueError: NaN or infinity in the data, too few samples for the split, or arguments out of
        their range.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from nce_jax import adaptive_noise
      >>> angle = 2 * jnp.pi * jax.random.uniform(jax.random.key(0), (500, 1))
      >>> x_data = jnp.concatenate([jnp.cos(angle), jnp.sin(angle)], axis=-1)  # on a circle
      >>> result = adaptive_noise.fit_flow(
      ...     jax.random.key(1),
      ...     x_data,
      ...     num_steps=20,
      ...     num_layers=2,
      ...     hidden=(8,),
      ...     num_bins=4,
      ...     progress=False,
      ... )
      >>> result.noise.event_shape, result.best_step
      ((2,), 20)

    References:
      Durkan, Bekasov, Murray and Papamakarios, Neural spline flows, 2019, section 5.
    """
    check_key(key)
    optimizer = _ADAM if optimizer is None else optimizer
    check_optimizer(optimizer)
    check_positive_int("num_steps", num_steps)
    check_positive_int("batch_size", batch_size)
    check_positive_int("evaluate_every", evaluate_every)
    check_resume(resume, folder)
    check_changes(allow_changes)
    check_flag("progress", progress)
    folder = as_folder(folder)
    key_split, key_init, key_fit = jax.random.split(key, 3)
    points = _points(x_data)
    x_train, x_held_out = _split(key_split, points, held_out, groups_data)
    signs = signs_without_groups({"x_data": points}, {"x_data": groups_data is not None})
    warn_of_dependence(signs, caller="fit_flow", cure=_CURE)
    params, noise_fn = flow(key_init, x_train, **options)

    # Compiled, since a single evaluation of a flow operation by operation takes longer than the
    # compilation.
    log_prob = jax.jit(lambda params: noise_fn(params).log_prob(x_held_out))
    train = _FlowStep(noise_fn, log_prob, optimizer, evaluate_every)
    result = fit(
        train,
        train.init(params),
        x_train,
        key_fit,
        num_steps=num_steps,
        batch_size=min(batch_size, len(x_train)),
        folder=folder,
        resume=resume,
        allow_changes=allow_changes,
        progress=progress,
        log_every=evaluate_every,
        checkpoint_every=10 * evaluate_every,
        evaluate=lambda state: {"log_likelihood": train.evaluated(state).log_likelihood},
        evaluate_every=evaluate_every,
    )
    state = train.evaluated(result.state)
    noise = noise_fn(state.best_params)
    mean, error = log_likelihood(log_prob(noise.params))
    return FlowFit(
        noise, int(state.best_step), float(mean), float(error), result.history, result.evaluations
    )


def _points(x_data: Any) -> jax.Array:
    check_wide_samples("x_data", x_data)
    x_data = as_floating("x_data", x_data)
    if x_data.ndim != 2:
        raise ValueError(f"x_data: expected shape (samples, dim), got shape {x_data.shape}")
    # In the held-out part a NaN would look like a flow that never improves.
    if not bool(jnp.isfinite(x_data).all()):
        raise ValueError("x_data: expected finite samples, got NaN or infinity in some")
    return x_data


def _split(key: PRNGKeyArray, x_data: jax.Array, held_out: float, groups: Any = None) -> HoldOut:
    check_fraction("held_out", held_out)
    num_held_out = round(held_out * len(x_data))
    if min(num_held_out, len(x_data) - num_held_out) < 2:
        raise ValueError(
            f"x_data: expected at least 2 samples on each side of the split, got {len(x_data)}"
            " in all"
        )
    if groups is None:
        return hold_out(key, x_data, num_held_out)
    return hold_out_groups(key, (x_data, x_data), (groups, groups), held_out)[0]


@dataclass(frozen=True, eq=False)
class _FlowStep:
    """A step of maximum likelihood as an object like `training.TrainStep`."""

    noise_fn: Callable[[Params], FlowNoise]
    held_out_log_prob: Callable[[Params], jax.Array]
    optimizer: optax.GradientTransformation
    evaluate_every: int

    def init(self, params: Params) -> _State:
        opt_state, value = self.optimizer.init(params), jnp.mean(self.held_out_log_prob(params))
        return _State(params, opt_state, jnp.int32(0), value, params, jnp.int32(0), value)

    def __call__(
        self, state: _State, batch: Batch, key: PRNGKeyArray
    ) -> tuple[_State, dict[str, jax.Array]]:
        loss, gradient = jax.value_and_grad(self.loss)(state.params, batch.x_data)
        value_fn = partial(self.loss, x=batch.x_data)
        with standard_promotion():
            move = update_fn(self.optimizer)
            updates, opt_state = move(
                gradient, state.opt_state, state.params,
                value=loss, grad=gradient, value_fn=with_present(value_fn, state.params),
            )  # fmt: skip
            params = optax.apply_updates(state.params, updates)
        state = state._replace(params=params, opt_state=opt_state, step=state.step + 1)
        is_due = state.step % self.evaluate_every == 0
        state = jax.lax.cond(is_due, self.choose, lambda state: state, state)
        return state, {"loss": loss, "gradient_norm": norm(gradient)}

    def loss(self, params: Params, x: jax.Array) -> jax.Array:
        return -jnp.mean(self.noise_fn(params).log_prob(x))

    def evaluated(self, state: _State) -> _State:
        """Returns the state with an evaluation of its last step, where that was not due.

        The step does not depend on the number of steps, so that a run can be resumed with more.
        """
        return self.choose(state) if state.step % self.evaluate_every else state

    def choose(self, state: _State) -> _State:
        """Returns the better one of the present parameters and the best so far.

        NaN is never better.
        """
        state = state._replace(log_likelihood=jnp.mean(self.held_out_log_prob(state.params)))
        better = state._replace(
            best_params=state.params, best_step=state.step, best_log_likelihood=state.log_likelihood
        )
        is_better = state.log_likelihood > state.best_log_likelihood
        return jax.tree.map(lambda new, old: jnp.where(is_better, new, old), better, state)
