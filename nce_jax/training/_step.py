"""The train step: noise, log-ratios, normaliser, gradient, update; one pure function."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from nce_jax._checks import check_positive_int
from nce_jax._types import Array, Float, LogDensityFn, Params, PRNGKeyArray, Real, Scalars
from nce_jax.criteria import Criterion, nce
from nce_jax.log_partition._equations import log_overlap_bound
from nce_jax.log_partition._types import make_problem
from nce_jax.sweeps import shared
from nce_jax.training._treatments import LogPartitionUpdate, Treatment, finite_status, solved

_NCE = nce()
_SOLVED = solved()


class TrainState(NamedTuple):
    """Everything a step needs to go on: a pytree of arrays.

    Attributes:
      params: the model's parameters.
      log_partition: F, a scalar.
      opt_state: the optimizer's state.
      step: steps taken, int32.
    """

    params: Params
    log_partition: Float[Array, ""]
    opt_state: Any
    step: Real[Array, ""]


class Batch(NamedTuple):
    """A batch with more than data: `x_noise` in place of fresh draws, and sample weights (zero for padding).

    `x_data` is (n, ...), `x_noise` (m, ...) or None, the weights (n,) and (m,) or None.
    """

    x_data: Any
    x_noise: Any = None
    weights_data: Real[Array, " n"] | None = None
    weights_noise: Real[Array, " m"] | None = None


class Metrics(NamedTuple):
    """What a step saw; scalars. `loss` and `log_partition` belong to the parameters *before* the update.

    Attributes:
      loss: of the batch, in nats.
      log_partition: the F at which loss and gradient were taken.
      gradient_norm: of the parameters' gradient.
      num_steps: solver evaluations spent on F.
      status: a `Status`, int32.
      overlap: of model and noise at the loss's own kappa (at kappa = 1 for criteria without one): the `overlap` of the
        diagnostics where F is solved for, and a lower bound on it at any other F.
    """

    loss: Float[Array, ""]
    log_partition: Float[Array, ""]
    gradient_norm: Float[Array, ""]
    num_steps: Real[Array, ""]
    status: Real[Array, ""]
    overlap: Float[Array, ""]


TrainStep = Callable[[TrainState, Any, PRNGKeyArray], tuple[TrainState, Metrics]]


def init_train_state(
    params: Params,
    optimizer: optax.GradientTransformation,
    *,
    treatment: Treatment = _SOLVED,
    log_partition: Scalars = 0.0,
) -> TrainState:
    """The state before the first step.

    Args:
      params: initial parameters, a pytree of arrays.
      optimizer: the one given to `make_train_step`.
      treatment: the one given to `make_train_step`.
      log_partition: initial F.

    Returns:
      A `TrainState`.

    Examples:
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from nce_jax import training
      >>> training.init_train_state(jnp.zeros(2), optax.sgd(1.0)).params.shape
      (2,)

    References:
      Sevekari et al., Accelerating NCE Convergence with Adaptive Normalizing Constant Computation, 2024, algorithm 1.
    """
    dtype = jnp.promote_types(jnp.result_type(*jax.tree.leaves(params)), jnp.float32)
    log_partition = jnp.asarray(log_partition, dtype)
    opt_state = _optimizer(optimizer, treatment).init((params, log_partition))
    return TrainState(params, log_partition, opt_state, jnp.int32(0))


def make_train_step(
    log_density_fn: LogDensityFn,
    noise: Any,
    optimizer: optax.GradientTransformation,
    *,
    criterion: Criterion = _NCE,
    treatment: Treatment = _SOLVED,
    num_noise: int | None = None,
    relative_to_noise: bool = False,
) -> TrainStep:
    """Composes a model, a noise, a criterion, a treatment of F and an optimizer into one pure train step.

    Every treatment costs one forward and one backward pass of the model over data and noise: the log-ratios are computed
    once, F moves on them alone, and the loss's cotangents are pulled back through the same pass.

    Args:
      log_density_fn: `log_density_fn(params, x)`, the unnormalised log density of every sample of x, (n, ...) -> (n,).
      noise: a distrax distribution, or any object with `log_prob(x)` and `sample_and_log_prob(seed=key, sample_shape=(m,))`.
      optimizer: any optax transformation.
      criterion: `nce(magnification=..., noise_ratio=...)`, `exponential_nce()`, or one of your own.
      treatment: `joint_gradient()`, `joint_gradient(optimizer)`, `bar_step()`, `solved()` or `held()`.
      num_noise: noise samples drawn per step; None draws as many as there are data samples.
      relative_to_noise: `log_density_fn` gives the log-ratio s itself, the log density over that of the noise: the model
        is the noise, tilted. The noise density is then never evaluated, and `noise` may be None if every `Batch` brings
        samples of it.

    Returns:
      `step(state, batch, key) -> (state, metrics)`. `batch` is an array of data samples or a `Batch`. Pass the same typed
      key at every step: the step folds in its own number, so that a resumed run repeats the same draws. The step is not
      jitted: wrap it in `jax.jit`, with donation and shardings as you like.

    Raises:
      ValueError: the criterion does not support the treatment (both are named).
      TypeError: `num_noise` is not an integer, or there is no noise to draw from.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from nce_jax import models, noise, training
      >>> params, log_density_fn = models.exponential_family(
      ...     models.linear_statistics, jnp.zeros(1), log_base_measure=noise.standard_normal(1).log_prob
      ... )
      >>> optimizer = optax.sgd(0.5)
      >>> step = jax.jit(training.make_train_step(log_density_fn, noise.standard_normal(1), optimizer))
      >>> state = training.init_train_state(params, optimizer)
      >>> x_data = 2 + jax.random.normal(jax.random.key(0), (512, 1))
      >>> for _ in range(100):
      ...     state, metrics = step(state, x_data, jax.random.key(1))
      >>> print(f"theta {state.params[0]:.1f}, F {state.log_partition:.1f}")
      theta 2.0, F 2.1

    References:
      Sevekari et al., Accelerating NCE Convergence with Adaptive Normalizing Constant Computation, 2024, algorithm 1.
      Yu et al., "Noisier" Noise Contrastive Estimation is (Almost) Maximum Likelihood, 2026 (magnification).
    """
    reason = treatment.refuses(criterion)
    if reason is not None:
        raise ValueError(f"treatment {treatment.name} does not support criterion {criterion.name}: {reason}")
    if num_noise is not None:
        check_positive_int("num_noise", num_noise)
    if noise is None and not relative_to_noise:
        raise TypeError("noise: expected a distribution (None goes with relative_to_noise=True), got None")
    pair_optimizer = _optimizer(optimizer, treatment)

    def step(state: TrainState, batch: Any, key: PRNGKeyArray) -> tuple[TrainState, Metrics]:
        batch = batch if isinstance(batch, Batch) else Batch(batch)
        weights = {"weights_data": batch.weights_data, "weights_noise": batch.weights_noise}
        draws = _draws(noise, batch, num_noise, key, state.step, relative_to_noise)
        ratios, pull_back = jax.vjp(lambda params: _log_ratios(log_density_fn, params, *draws), state.params)
        inputs = {**ratios, **weights}
        update = _treat(treatment, criterion, inputs, state.log_partition)
        loss, slopes = jax.value_and_grad(_loss, argnums=(0, 1))(ratios, update.used, criterion, weights)
        gradient = (pull_back(slopes[0])[0], slopes[1].astype(state.log_partition.dtype))
        new = _descend(pair_optimizer, state, gradient)
        if treatment.update is not None:
            new = new._replace(log_partition=update.kept.astype(state.log_partition.dtype))
        overlap = _overlap(criterion, inputs, update.used)
        metrics = Metrics(loss, update.used, optax.tree.norm(gradient[0]), update.num_steps, update.status, overlap)
        return new, metrics

    return step


class _Draw(NamedTuple):
    """Samples of one side and their log noise density: None where the model is relative to the noise."""

    x: Any
    log_q: jax.Array | None


def _draws(noise: Any, batch: Batch, num_noise: int | None, key, step: jax.Array, relative: bool) -> tuple[_Draw, _Draw]:
    if batch.x_noise is None:
        count = num_noise or jax.tree.leaves(batch.x_data)[0].shape[0]
        draw = _draw(noise, count, key, step, relative)
    else:
        draw = _Draw(batch.x_noise, None if relative else noise.log_prob(batch.x_noise))
    return _Draw(batch.x_data, None if relative else noise.log_prob(batch.x_data)), draw


def _draw(noise: Any, count: int, key: PRNGKeyArray, step: jax.Array, relative: bool) -> _Draw:
    if noise is None:
        raise TypeError("noise: expected a distribution, or a Batch with x_noise, got None and a batch without")

    def draw(key: PRNGKeyArray) -> _Draw:
        x, log_q = noise.sample_and_log_prob(seed=key, sample_shape=(count,))
        return _Draw(x, None if relative else log_q)

    # Lanes of a sweep that differ in M or a rate alone use the same draws: keep them from being repeated in each.
    return shared(draw, jax.random.fold_in(key, step), step=step)


def _log_ratios(log_density_fn, params, data: _Draw, noise: _Draw) -> dict[str, jax.Array]:
    return {
        "log_ratio_data": _log_ratio(log_density_fn(params, data.x), data),
        "log_ratio_noise": _log_ratio(log_density_fn(params, noise.x), noise),
    }


def _log_ratio(log_density: jax.Array, draw: _Draw) -> jax.Array:
    expected = jax.tree.leaves(draw.x)[0].shape[:1] if draw.log_q is None else draw.log_q.shape
    if log_density.shape != expected:
        raise ValueError(f"log_density_fn: expected one value per sample, shape {expected}, got shape {log_density.shape}")
    return log_density if draw.log_q is None else log_density - draw.log_q


def _overlap(criterion: Criterion, inputs: dict[str, Any], log_partition: jax.Array) -> jax.Array:
    problem = (criterion.equation or make_problem)(**jax.lax.stop_gradient(inputs))
    return jnp.exp(log_overlap_bound(problem, log_partition))


def _treat(treatment: Treatment, criterion: Criterion, log_ratios, log_partition: jax.Array) -> LogPartitionUpdate:
    if treatment.update is None:
        return LogPartitionUpdate(log_partition, log_partition, jnp.int32(0), finite_status(log_partition))
    update = treatment.update(criterion, jax.lax.stop_gradient(log_ratios), log_partition)
    return jax.lax.stop_gradient(update)


def _loss(ratios: dict[str, jax.Array], log_partition: jax.Array, criterion: Criterion, weights) -> jax.Array:
    return criterion.loss(ratios["log_ratio_data"], ratios["log_ratio_noise"], log_partition=log_partition, **weights)


def _optimizer(optimizer: optax.GradientTransformation, treatment: Treatment) -> optax.GradientTransformation:
    """The optimizer of the pair (params, log_partition)."""
    if treatment.update is None and treatment.optimizer is None:
        return optimizer
    own = optax.set_to_zero() if treatment.optimizer is None else treatment.optimizer
    return optax.partition({"params": optimizer, "log_partition": own}, ("params", "log_partition"))


def _descend(optimizer: optax.GradientTransformation, state: TrainState, gradient) -> TrainState:
    pair = state.params, state.log_partition
    updates, opt_state = optimizer.update(gradient, state.opt_state, pair)
    params, log_partition = optax.apply_updates(pair, updates)
    return TrainState(params, log_partition, opt_state, state.step + 1)
