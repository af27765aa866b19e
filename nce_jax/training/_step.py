"""The train step: noise, log-ratios, normalizer, gradient, update; one pure function."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from nce_jax._checks import check_positive_int
from nce_jax._shared import shared
from nce_jax._types import Array, Float, LogDensityFn, Params, PRNGKeyArray, Real, Scalars
from nce_jax.criteria import Criterion, nce
from nce_jax.log_partition.equation import log_overlap_bound
from nce_jax.log_partition.problem import make_problem
from nce_jax.magnification import Choice, MagnificationRule
from nce_jax.training._composition import check_composition, check_rule, check_same_rule
from nce_jax.training._mesh import check_mesh
from nce_jax.training._momentum import pending, response
from nce_jax.training._sharding import gather, split, where_they_are
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
      magnification_state: what a magnification rule remembers; () without one.
    """

    params: Params
    log_partition: Float[Array, ""]
    opt_state: Any
    step: Real[Array, ""]
    magnification_state: Any = ()


class Batch(NamedTuple):
    """A batch with more than data: `x_noise` in place of fresh draws, and sample weights (zero for
    padding).

    `x_data` is (n, ...), `x_noise` (m, ...) or None, the weights (n,) and (m,) or None.
    """

    x_data: Any
    x_noise: Any = None
    weights_data: Real[Array, " n"] | None = None
    weights_noise: Real[Array, " m"] | None = None


class Metrics(NamedTuple):
    """What a step saw; scalars. `loss` and `log_partition` belong to the parameters *before* the
    update.

    Attributes:
      loss: of the batch, in nats.
      log_partition: the F at which loss and gradient were taken.
      gradient_norm: of the parameters' gradient.
      num_evaluations: evaluations spent on F.
      status: a `Status`, int32.
      overlap: of model and noise at the loss's own kappa (at kappa = 1 for criteria without one):
        the `overlap` of the diagnostics where F is solved for, and a lower bound on it at any other
        F.
      magnification: M of the step where it adapts, else None.
    """

    loss: Float[Array, ""]
    log_partition: Float[Array, ""]
    gradient_norm: Float[Array, ""]
    num_evaluations: Real[Array, ""]
    status: Real[Array, ""]
    overlap: Float[Array, ""]
    magnification: Float[Array, ""] | None = None


TrainStep = Callable[[TrainState, Any, PRNGKeyArray], tuple[TrainState, Metrics]]


def init_train_state(
    params: Params,
    optimizer: optax.GradientTransformation,
    *,
    treatment: Treatment = _SOLVED,
    log_partition: Scalars = 0.0,
    magnification_rule: MagnificationRule | None = None,
) -> TrainState:
    """The state before the first step.

    Args:
      params: initial parameters, a pytree of arrays.
      optimizer: the one given to `make_train_step`.
      treatment: the one given to `make_train_step`.
      log_partition: initial F.
      magnification_rule: the one given to `make_train_step`.

    Returns:
      A `TrainState`, of copies: a compiled step that donates it leaves `params` alone.

    Raises:
      TypeError: `magnification_rule` is no rule.

    Examples:
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from nce_jax import training
      >>> training.init_train_state(jnp.zeros(2), optax.sgd(1.0)).params.shape
      (2,)

    References:
      Sevekari et al., Accelerating NCE Convergence with Adaptive Normalizing Constant Computation,
        2024, algorithm 1.
    """
    check_rule(magnification_rule)
    params = jax.tree.map(jnp.copy, params)
    dtype = jnp.promote_types(jnp.result_type(*jax.tree.leaves(params)), jnp.float32)
    log_partition = jnp.asarray(log_partition, dtype)
    opt_state = _optimizer(optimizer, treatment).init((params, log_partition))
    remembered = () if magnification_rule is None else magnification_rule.init(params, dtype)
    # A state that is donated must hold no array twice.
    remembered = jax.tree.map(jnp.copy, remembered)
    return TrainState(params, log_partition, opt_state, jnp.int32(0), remembered)


def make_train_step(
    log_density_fn: LogDensityFn,
    noise: Any,
    optimizer: optax.GradientTransformation,
    *,
    criterion: Criterion = _NCE,
    treatment: Treatment = _SOLVED,
    num_noise: int | None = None,
    relative_to_noise: bool = False,
    magnification_rule: MagnificationRule | None = None,
    mesh: Mesh | None = None,
) -> TrainStep:
    """Composes a model, a noise, a criterion, a treatment of F and an optimizer into one pure train
    step.

    Every treatment costs one forward and one backward pass of the model over data and noise: the
    log-ratios are computed once, F moves on them alone, and the loss's cotangents are pulled back
    through the same pass.

    Args:
      log_density_fn: `log_density_fn(params, x)`, the unnormalized log density of every sample of
        x, (n, ...) -> (n,).
      noise: a distrax distribution, or any object with `log_prob(x)` and
        `sample_and_log_prob(seed=key, sample_shape=(m,))`.
      optimizer: any optax transformation.
      criterion: `nce(magnification=..., noise_ratio=...)`, `exponential_nce()`, or one of your own.
      treatment: `joint_gradient()`, `joint_gradient(optimizer)`, `bar_step()`, `solved()` or
        `held()`.
      num_noise: noise samples drawn per step; None draws as many as there are data samples.
      relative_to_noise: `log_density_fn` gives the log-ratio s itself, the log density over that of
        the noise: the model is the noise, tilted. The noise density is then never evaluated, and
        `noise` may be None if every `Batch` brings samples of it.
      magnification_rule: `adaptive_magnification()` chooses M anew at every step, in place of the
        criterion's own; give it to `init_train_state` as well. It needs a criterion with a
        magnification and a solved F.
      mesh: what `make_mesh` returns: data and noise samples are split over its data axis, the noise
        is drawn where it is used, and F is solved on the global batch. The numbers do not depend on
        how many devices there are, but for rounding. Put the state there with `shard_state`, and
        compile with `jit_train_step` (`fit` does).

    Returns:
      `step(state, batch, key) -> (state, metrics)`. `batch` is an array of data samples or a
      `Batch`. Pass the same typed key at every step: the step folds in its own number, so that a
      resumed run repeats the same draws. The step is not jitted: wrap it in `jax.jit`, with
      donation and shardings as you like.

    Raises:
      ValueError: the criterion does not support the treatment, or one of them an adaptive M (all
        are named).
      TypeError: `num_noise` is not an integer, `mesh` is none, or there is no noise to draw from.

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
      >>> optimizer = optax.sgd(0.5)
      >>> step = jax.jit(
      ...     training.make_train_step(log_density_fn, noise.standard_normal(1), optimizer)
      ... )
      >>> state = training.init_train_state(params, optimizer)
      >>> x_data = 2 + jax.random.normal(jax.random.key(0), (512, 1))
      >>> for _ in range(100):
      ...     state, metrics = step(state, x_data, jax.random.key(1))
      >>> print(f"theta {state.params[0]:.1f}, F {state.log_partition:.1f}")
      theta 2.0, F 2.1

    References:
      Sevekari et al., Accelerating NCE Convergence with Adaptive Normalizing Constant Computation,
        2024, algorithm 1.
      Yu et al., "Noisier" Noise Contrastive Estimation is (Almost) Maximum Likelihood, 2026
        (magnification).
    """
    check_composition(criterion, treatment, magnification_rule)
    if num_noise is not None:
        check_positive_int("num_noise", num_noise)
    if noise is None and not relative_to_noise:
        raise TypeError(
            "noise: expected a distribution (None goes with relative_to_noise=True), got None"
        )
    check_mesh(mesh)
    pair_optimizer = _optimizer(optimizer, treatment)

    def step(state: TrainState, batch: Any, key: PRNGKeyArray) -> tuple[TrainState, Metrics]:
        check_same_rule(magnification_rule, state.magnification_state)
        batch = batch if isinstance(batch, Batch) else Batch(batch)
        batch = Batch(*(split(part, mesh, name) for name, part in batch._asdict().items()))
        weights = gather(
            {"weights_data": batch.weights_data, "weights_noise": batch.weights_noise}, mesh
        )
        draws = _draws(noise, batch, num_noise, key, state.step, relative_to_noise, mesh)
        forward = partial(_log_ratios, log_density_fn, data=draws[0], noise=draws[1], mesh=mesh)
        ratios, pull_back = jax.vjp(forward, state.params)
        inputs = {**ratios, **weights}
        choice, used = _magnify(magnification_rule, criterion, state, inputs, forward)
        update = _treat(treatment, used, inputs, state.log_partition)
        loss, slopes = jax.value_and_grad(_loss, argnums=(0, 1))(ratios, update.used, used, weights)
        gradient = (pull_back(slopes[0])[0], slopes[1].astype(state.log_partition.dtype))
        new = _descend(pair_optimizer, state, gradient, magnification_rule, choice)
        if treatment.update is not None:
            new = new._replace(log_partition=update.kept.astype(state.log_partition.dtype))
        if update.waits is not None:
            kept = state._replace(log_partition=new.log_partition, step=new.step)
            new = jax.tree.map(partial(jnp.where, update.waits), kept, new)
        overlap, norm = _overlap(used, inputs, update.used), optax.tree.norm(gradient[0])
        chosen = None if choice is None else choice.magnification
        return new, Metrics(
            loss, update.used, norm, update.num_evaluations, update.status, overlap, chosen
        )

    return step


class _Draw(NamedTuple):
    """Samples of one side and their log noise density: None where the model is relative to the
    noise.
    """

    x: Any
    log_q: jax.Array | None


def _draws(
    noise: Any, batch: Batch, num_noise: int | None, key, step, relative: bool, mesh
) -> tuple[_Draw, _Draw]:
    def given(x: Any) -> _Draw:
        return _Draw(x, None if relative else where_they_are(noise.log_prob, mesh)(x))

    if batch.x_noise is not None:
        return given(batch.x_data), given(batch.x_noise)
    count = num_noise or jax.tree.leaves(batch.x_data)[0].shape[0]
    return given(batch.x_data), _draw(noise, count, key, step, relative, mesh)


def _draw(
    noise: Any, count: int, key: PRNGKeyArray, step: jax.Array, relative: bool, mesh: Mesh | None
) -> _Draw:
    if noise is None:
        raise TypeError(
            "noise: expected a distribution, or a Batch with x_noise, got None and a batch without"
        )

    def draw(key: PRNGKeyArray) -> _Draw:
        x, log_q = noise.sample_and_log_prob(seed=key, sample_shape=(count,))
        return _Draw(
            split(x, mesh, "num_noise"), None if relative else split(log_q, mesh, "num_noise")
        )

    # Lanes of a sweep that differ in M or a rate alone use the same draws: keep them from being
    # repeated in each.
    return shared(draw, jax.random.fold_in(key, step), step=step)


def _magnify(
    rule: MagnificationRule | None, criterion: Criterion, state: TrainState, inputs, forward
):
    """The choice of M, and the criterion at it."""
    if rule is None:
        return None, criterion

    at: Any = criterion.at_magnification  # `_check_composition` has seen to it that there is one
    fixed = jax.lax.stop_gradient(inputs)

    def look(offset: Params):
        ratios, push = jax.linearize(forward, optax.apply_updates(state.params, offset))
        return lambda m: at(m).equation(**{**fixed, **ratios}), lambda direction: tuple(
            push(direction).values()
        )

    choice = rule.choose(
        state.magnification_state, state.step, lambda m: at(m).equation(**fixed), look
    )
    return choice, at(choice.magnification)


def _log_ratios(
    log_density_fn, params, data: _Draw, noise: _Draw, mesh: Mesh | None
) -> dict[str, jax.Array]:
    own = {
        "log_ratio_data": _log_ratio(log_density_fn(params, data.x), data),
        "log_ratio_noise": _log_ratio(log_density_fn(params, noise.x), noise),
    }
    return gather(own, mesh)


def _log_ratio(log_density: jax.Array, draw: _Draw) -> jax.Array:
    expected = jax.tree.leaves(draw.x)[0].shape[:1] if draw.log_q is None else draw.log_q.shape
    if log_density.shape != expected:
        raise ValueError(
            f"log_density_fn: expected one value per sample, shape {expected}, got shape"
            f" {log_density.shape}"
        )
    return log_density if draw.log_q is None else log_density - draw.log_q


def _overlap(criterion: Criterion, inputs: dict[str, Any], log_partition: jax.Array) -> jax.Array:
    problem = (criterion.equation or make_problem)(**jax.lax.stop_gradient(inputs))
    return jnp.exp(log_overlap_bound(problem, log_partition))


def _treat(
    treatment: Treatment, criterion: Criterion, log_ratios, log_partition: jax.Array
) -> LogPartitionUpdate:
    if treatment.update is None:
        return LogPartitionUpdate(
            log_partition, log_partition, jnp.int32(0), finite_status(log_partition)
        )
    update = treatment.update(criterion, jax.lax.stop_gradient(log_ratios), log_partition)
    return jax.lax.stop_gradient(update)


def _loss(
    ratios: dict[str, jax.Array], log_partition: jax.Array, criterion: Criterion, weights
) -> jax.Array:
    return criterion.loss(
        ratios["log_ratio_data"], ratios["log_ratio_noise"], log_partition=log_partition, **weights
    )


def _optimizer(
    optimizer: optax.GradientTransformation, treatment: Treatment
) -> optax.GradientTransformation:
    """The optimizer of the pair (params, log_partition)."""
    if treatment.update is None and treatment.optimizer is None:
        return optimizer
    own = optax.set_to_zero() if treatment.optimizer is None else treatment.optimizer
    return optax.partition({"params": optimizer, "log_partition": own}, ("params", "log_partition"))


def _descend(
    optimizer, state: TrainState, gradient, rule: MagnificationRule | None, choice: Choice | None
):
    pair = state.params, state.log_partition
    remembered = state.magnification_state
    if choice is not None:
        remembered = choice.state._replace(response=_response(optimizer, state, gradient))
        scale = choice.target_acceptance ** (remembered.response - 1)
        gradient = jax.tree.map(lambda leaf: (scale * leaf).astype(leaf.dtype), gradient)
    updates, opt_state = optimizer.update(gradient, state.opt_state, pair)
    params, log_partition = optax.apply_updates(pair, updates)
    if rule is not None and choice is not None:
        ahead = pending(optimizer, opt_state, (params, log_partition))[0]
        remembered = rule.follow(choice._replace(state=remembered), updates[0], ahead, state.step)
    return TrainState(params, log_partition, opt_state, state.step + 1, remembered)


def _response(optimizer: optax.GradientTransformation, state: TrainState, gradient) -> jax.Array:
    """Tried out where it is not known, at the first step, and then remembered."""
    known = state.magnification_state.response

    def attempt() -> jax.Array:
        return response(
            optimizer, state.opt_state, (state.params, state.log_partition), gradient
        ).astype(known.dtype)

    return jax.lax.cond(jnp.isnan(known), attempt, lambda: known)
