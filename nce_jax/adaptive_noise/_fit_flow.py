"""Fitting a flow by maximum likelihood, chosen by held-out data."""

from collections.abc import Callable
from os import PathLike
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from nce_jax._checks import as_floating, check_key, check_positive_int
from nce_jax._samples import HoldOut, check_fraction, hold_out
from nce_jax._types import Array, ArrayLike, Float, Params, PRNGKeyArray, Real
from nce_jax.adaptive_noise._flow import FlowNoise, flow
from nce_jax.likelihood import log_likelihood
from nce_jax.training import Batch, fit

_ADAM = optax.adam(1e-3)


class FlowFit(NamedTuple):
    """What `fit_flow` returns.

    Attributes:
      noise: the flow of the best evaluation.
      best_step: the step of that evaluation; 0 where training never improved on the fitted
        Gaussian.
      log_likelihood: mean held-out log likelihood of `noise`, in nats per sample. As the best of
        several evaluations it is a little too high: take it from data that neither trained nor
        chose the flow where the number itself matters.
      standard_error: of that mean over the held-out samples, in nats.
      history: columns `step`, `loss` (minus the log likelihood of the training batches),
        `gradient_norm`, and so on.
      evaluations: columns `step` and `log_likelihood`, the held-out mean at every evaluation.
    """

    noise: FlowNoise
    best_step: int
    log_likelihood: float
    standard_error: float
    history: dict[str, np.ndarray]
    evaluations: dict[str, np.ndarray]


class _State(NamedTuple):
    """The run, and the best of it: within the state, a resumed run chooses as an uninterrupted one
    would have.
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
    optimizer: optax.GradientTransformation = _ADAM,
    held_out: float = 0.1,
    evaluate_every: int = 100,
    folder: str | PathLike[str] | None = None,
    resume: bool = False,
    progress: bool = True,
    **options: Any,
) -> FlowFit:
    """Fits a flow to data by maximum likelihood, and keeps the parameters that held-out data like
    best.

    Minimizes -mean_i log q(x_i) over batches of the training part. The held-out part is evaluated
    before the first step and every `evaluate_every` steps, and the best evaluation wins: a flow
    that overfits, or never learns, is no worse on it than the fitted Gaussian. Never hand test data
    to this function: they would take part in the choice.

    Args:
      key: typed key for the split, the initial weights and the batches.
      x_data: data, (samples, dim).
      num_steps: steps in all. There is no early stop: the run goes to its end, and the choice looks
        back.
      batch_size: training samples per step; all of them where there are fewer.
      optimizer: an optax transformation.
      held_out: the share of samples held out, between 0 and 1.
      evaluate_every: steps between evaluations; also what a record of the history is the mean of.
      folder: where `training.fit` keeps metrics and checkpoints; None keeps nothing.
      resume: go on from the newest checkpoint in `folder`, as in `training.fit`.
      progress: whether to show a progress bar.
      **options: of `flow`: `num_layers`, `hidden`, `num_bins`, `bound`, `ridge`.

    Returns:
      A `FlowFit`; its `noise` goes where any noise goes.

    Raises:
      NonFiniteError: from `training.fit`, where the likelihood stops being finite.
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
    check_positive_int("num_steps", num_steps)
    check_positive_int("batch_size", batch_size)
    check_positive_int("evaluate_every", evaluate_every)
    key_split, key_init, key_fit = jax.random.split(key, 3)
    x_train, x_held_out = _split(key_split, _points(x_data), held_out)
    params, noise_fn = flow(key_init, x_train, **options)

    # Compiled: op by op, a flow takes longer to evaluate once than its training does to compile.
    log_prob = jax.jit(lambda params: noise_fn(params).log_prob(x_held_out))
    run = _Run(noise_fn, log_prob, optimizer, evaluate_every, num_steps)
    step: Any = run.step
    start: Any = run.start(params)
    result = fit(
        step,
        start,
        x_train,
        key_fit,
        num_steps=num_steps,
        batch_size=min(batch_size, len(x_train)),
        folder=folder,
        resume=resume,
        progress=progress,
        log_every=evaluate_every,
        checkpoint_every=10 * evaluate_every,
        evaluate=lambda state: {"log_likelihood": state.log_likelihood},
        evaluate_every=evaluate_every,
    )
    noise = noise_fn(result.state.best_params)
    mean, error = log_likelihood(log_prob(noise.params))
    return FlowFit(
        noise,
        int(result.state.best_step),
        float(mean),
        float(error),
        result.history,
        result.evaluations,
    )


def _points(x_data: Any) -> jax.Array:
    x_data = as_floating("x_data", x_data)
    if x_data.ndim != 2:
        raise ValueError(f"x_data: expected shape (samples, dim), got shape {x_data.shape}")
    # In the held-out part a NaN would look like a flow that never improves.
    if not bool(jnp.isfinite(x_data).all()):
        raise ValueError("x_data: expected finite samples, got NaN or infinity in some")
    return x_data


def _split(key: PRNGKeyArray, x_data: jax.Array, held_out: float) -> HoldOut:
    check_fraction("held_out", held_out)
    num_held_out = round(held_out * len(x_data))
    if min(num_held_out, len(x_data) - num_held_out) < 2:
        raise ValueError(
            f"x_data: expected at least 2 samples on each side of the split, got {len(x_data)}"
            " in all"
        )
    return hold_out(key, x_data, num_held_out)


class _Run(NamedTuple):
    """Maximum likelihood as a pure step for `fit`."""

    noise_fn: Callable[[Params], FlowNoise]
    held_out_log_prob: Callable[[Params], jax.Array]
    optimizer: optax.GradientTransformation
    evaluate_every: int
    num_steps: int

    def start(self, params: Params) -> _State:
        opt_state, value = self.optimizer.init(params), jnp.mean(self.held_out_log_prob(params))
        return _State(params, opt_state, jnp.int32(0), value, params, jnp.int32(0), value)

    def step(
        self, state: _State, batch: Batch, key: PRNGKeyArray
    ) -> tuple[_State, dict[str, jax.Array]]:
        loss, gradient = jax.value_and_grad(self.loss)(state.params, batch.x_data)
        updates, opt_state = self.optimizer.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        state = state._replace(params=params, opt_state=opt_state, step=state.step + 1)
        is_due = (state.step % self.evaluate_every == 0) | (state.step == self.num_steps)
        state = jax.lax.cond(is_due, self.choose, lambda state: state, state)
        return state, {"loss": loss, "gradient_norm": optax.tree.norm(gradient)}

    def loss(self, params: Params, x: jax.Array) -> jax.Array:
        return -jnp.mean(self.noise_fn(params).log_prob(x))

    def choose(self, state: _State) -> _State:
        """The better of the present parameters and the best so far; NaN is never better."""
        state = state._replace(log_likelihood=jnp.mean(self.held_out_log_prob(state.params)))
        better = state._replace(
            best_params=state.params, best_step=state.step, best_log_likelihood=state.log_likelihood
        )
        is_better = state.log_likelihood > state.best_log_likelihood
        return jax.tree.map(lambda new, old: jnp.where(is_better, new, old), better, state)
