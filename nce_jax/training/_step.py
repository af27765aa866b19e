"""The train step: noise, log ratios, normalizer, gradient, update, as one pure object."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from nce_jax._checks import check_positive_int, compute_dtype
from nce_jax._contracts import check_params
from nce_jax._promotion import standard_promotion
from nce_jax._types import Array, LogDensityFn, Params, PRNGKeyArray, Scalars
from nce_jax._updates import init_optimizer, norm, refuse_arguments, update_fn, with_present
from nce_jax.criteria import Criterion, nce
from nce_jax.log_partition.equation import log_overlap_bound
from nce_jax.log_partition.problem import Status, make_problem
from nce_jax.magnification import Choice, MagnificationRule
from nce_jax.training import _magnify
from nce_jax.training._composition import (
    as_initial,
    as_model,
    as_source,
    check_arguments,
    check_composition,
    check_state,
    check_update,
)
from nce_jax.training._faults import find_faults
from nce_jax.training._mesh import check_mesh
from nce_jax.training._objective import batch_loss, value_of_pair
from nce_jax.training._optimizers import as_optimizer
from nce_jax.training._penalty import Penalty, PenaltyFn, add_gradient, penalty_at, with_penalty
from nce_jax.training._settle import is_without_samples, settle, zero_if
from nce_jax.training._sharding import gather, split
from nce_jax.training._sides import Model, Sides, log_ratios, model_log_ratio, weights_of_places
from nce_jax.training._stages import of_all_stages, pair_weights
from nce_jax.training._state import Batch, Metrics, TrainState
from nce_jax.training._treatments import LogPartitionUpdate, Treatment, solved


@dataclass(frozen=True, eq=False)
class TrainStep:
    """A train step as one object: `init` makes the first state, a call advances it.

    It is frozen and hashable, so that `jax.jit(train, donate_argnums=0)` takes it as it is, and
    pure: wrap it in `jit`, `vmap` or `scan` as you like. `make_train_step` makes it.

    Attributes:
      model: `model(params, x)`, the log density or, where `sides.is_ratio`, the log ratio; with
        stages, that of all of them, (K, n, ...) -> (K, n).
      sides: noise, number of noise samples, mesh, and stages, None for one log ratio.
      optimizer: of the pair (params, log_partition).
      criterion: the loss and its way to profile F.
      treatment: what happens to F in a step.
      magnification_rule: adapts M at every step; None leaves the criterion's own.
      penalty_fn: what is added to the loss; None for nothing.
    """

    model: Model
    sides: Sides
    optimizer: optax.GradientTransformation
    criterion: Criterion
    treatment: Treatment
    magnification_rule: MagnificationRule | None
    penalty_fn: PenaltyFn | None = None

    def init(self, params: Params, *, log_partition: Scalars = 0.0) -> TrainState:
        """The state before the first step.

        Args:
          params: initial parameters, a pytree of floating arrays.
          log_partition: initial F, in nats; of stages one for all, or (K,).

        Returns:
          A `TrainState` of copies: a compiled step that donates its state leaves `params` intact.

        Raises:
          TypeError: parameters that are not floating arrays, or an F that is no number.
          ValueError: an F of another shape; an optimizer that keeps two sets of parameters, or one
            that needs the loss, with a rule that adapts M.
        """
        check_params(params)
        params = jax.tree.map(jnp.copy, params)
        dtype = compute_dtype(*jax.tree.leaves(params))
        stages = self.sides.stages
        shape = () if stages is None else (stages.num_stages,)
        log_partition = as_initial(log_partition, dtype, shape)
        if self.magnification_rule is not None:
            reason = "with a magnification_rule the loss changes with M from step to step"
            refuse_arguments(self.optimizer, (params, log_partition), reason)
        opt_state = init_optimizer(self.optimizer, (params, log_partition))
        remembered = _magnify.init_rule(self.magnification_rule, params, dtype, stages)
        return TrainState(params, log_partition, opt_state, jnp.int32(0), remembered)

    def __call__(
        self, state: TrainState, batch: Any, key: PRNGKeyArray
    ) -> tuple[TrainState, Metrics]:
        """Takes one step.

        Args:
          state: what `init` or the step before returned.
          batch: an array of data samples, (n, ...), or a `Batch`.
          key: the same typed key at every step: the step folds in its own number, so that a resumed
            run repeats the same draws.

        Returns:
          The new state, and the `Metrics` of the step.
        """
        check_arguments(state, batch, key)
        check_state(state, self.init)
        batch, weights = self._split(batch)
        samples = self.sides.of_batch(batch, key, state.step)
        forward = partial(log_ratios, self.model, samples=samples, sides=self.sides)
        ratios, pull_back = jax.vjp(forward, state.params)
        weights = weights_of_places(weights, ratios) if self.sides.is_spatial else weights
        fixed = jax.lax.stop_gradient({**ratios, **weights})
        choice, criterion = self._magnify(state, fixed, forward)
        update = self.treatment.update(criterion, fixed, state.log_partition)
        check_update(self.treatment, update)
        # Log noise densities stay on the devices of their samples.
        is_known = self.sides.mesh is None
        log_noise = (samples[0].log_noise, samples[1].log_noise) if is_known else (None, None)
        has_stages = self.sides.stages is not None
        faults, is_uncovered = find_faults(self.sides.rows(fixed, samples), log_noise)
        is_empty = is_without_samples(fixed)
        update = settle(
            of_all_stages(update) if has_stages else update, state, is_uncovered, is_empty
        )
        update = jax.lax.stop_gradient(update)
        at_f = update.log_partition
        loss_and_slopes = jax.value_and_grad(batch_loss, argnums=(0, 1))
        loss, slopes = loss_and_slopes(ratios, at_f, criterion, weights)
        gradient = pull_back(slopes[0])[0], slopes[1].astype(state.log_partition.dtype)
        value_fn: Any = partial(
            value_of_pair, forward=forward, treatment=self.treatment, criterion=criterion,
            weights=weights,
        )  # fmt: skip
        penalty, value_fn = self._penalty(state, batch, samples, key, value_fn)
        value_fn = with_present(value_fn, (state.params, at_f))
        loss = loss if penalty is None else loss + penalty.value.astype(loss.dtype)
        total = add_gradient(gradient[0], penalty), gradient[1]
        objective = {"value": loss, "grad": total, "value_fn": value_fn}
        moved = self._descend(state, gradient, objective, choice, slopes[0], pull_back, penalty)
        new = self._move_log_partition(state, moved, update)
        numbers = {
            "loss": loss,
            "gradient_norm": norm(total[0]),
            "overlap": jnp.min(_overlap(criterion, fixed, at_f)),
        }
        return new, Metrics(
            **jax.tree.map(partial(zero_if, is_empty), numbers),
            log_partition=jnp.sum(at_f),
            num_evaluations=update.num_evaluations,
            status=update.status,
            magnification=_magnify.mean_magnification(choice),
            faults=faults,
            is_empty=None if is_empty is None else is_empty.astype(jnp.int32),
        )

    def log_ratio(self, params: Params, x: Any) -> Array:
        """The log ratio s of samples, as the step sees it.

        Args:
          params: parameters of the model.
          x: samples, (n, ...).

        Returns:
          s in nats, (n,); of a spatial critic for all places, (n h w,), those of a sample together.

        Raises:
          TypeError: the step of a log density, which has no log ratio without its noise.
          ValueError: the step of several stages, or a model with results of another shape.
        """
        return model_log_ratio(self.model, params, x, self.sides)

    def _split(self, batch: Any) -> tuple[Batch, dict[str, Any]]:
        """The batch, over the devices of the mesh, and its weights, on every device."""
        mesh = self.sides.mesh
        batch = batch if isinstance(batch, Batch) else Batch(batch)
        self.sides.check(batch)
        batch = batch if self.sides.stages is None else pair_weights(batch)
        batch = Batch(*(split(part, mesh, name) for name, part in batch._asdict().items()))
        weights = {"weights_data": batch.weights_data, "weights_noise": batch.weights_noise}
        return self.sides.fill(batch), gather(weights, mesh)

    def _magnify(self, state: TrainState, fixed, forward) -> tuple[Choice | None, Criterion]:
        """The rule's choice of M, and the criterion at it."""
        if self.magnification_rule is None:
            return None, self.criterion
        choice = _magnify.choose(
            self.magnification_rule, self.criterion, state, fixed, forward, self.sides.stages
        )
        make_criterion: Any = self.criterion.at_magnification
        return choice, make_criterion(choice.magnification)

    def _penalty(self, state: TrainState, batch: Batch, samples, key, value_fn):
        """The penalty at this step, and the loss with it for a line search."""
        if self.penalty_fn is None:
            return None, value_fn
        seen = batch._replace(x_data=samples[0].x, x_noise=samples[1].x)
        key = jax.random.fold_in(jax.random.fold_in(key, state.step), 1)
        return penalty_at(self.penalty_fn, state.params, seen, key), with_penalty(
            value_fn, self.penalty_fn, seen, key
        )

    def _descend(
        self, state: TrainState, gradient, objective, choice: Choice | None, slopes, pull_back,
        penalty: Penalty | None,
    ) -> TrainState:  # fmt: skip
        """The state after the update; a rule for M sees the loss without its penalty."""
        pair = state.params, state.log_partition
        if choice is not None:
            choice = _magnify.respond(choice, self.optimizer, state, gradient)
            gradient = _magnify.rescale(choice, gradient, slopes, pull_back, self.sides.stages)
        gradient = add_gradient(gradient[0], penalty), gradient[1]
        with standard_promotion():
            move = update_fn(self.optimizer)
            updates, opt_state = move(gradient, state.opt_state, pair, **objective)
            params, log_partition = optax.apply_updates(pair, updates)
        new = TrainState(params, log_partition, opt_state, state.step + 1)
        rule, stages = self.magnification_rule, self.sides.stages
        if rule is None or choice is None:
            return new
        remembered = _magnify.follow(rule, self.optimizer, choice, updates[0], new, stages)
        return new._replace(magnification_state=remembered)

    def _move_log_partition(
        self, state: TrainState, new: TrainState, update: LogPartitionUpdate
    ) -> TrainState:
        """The new state with the F of the treatment; only F moves where the parameters wait.

        The parameters are NaN after a failed solve. Its gradient is not: a NaN in it would reach
        what this step shares with others in a batch of them.
        """
        waiting_f = state.log_partition
        if not self.treatment.follows_gradient:
            waiting_f = update.next_log_partition.astype(state.log_partition.dtype)
            new = new._replace(log_partition=waiting_f)
        has_failed = (update.status == Status.NONFINITE) | (update.status == Status.MAX_STEPS)
        params = jax.tree.map(lambda leaf: jnp.where(has_failed, jnp.nan, leaf), new.params)
        new = new._replace(params=params)
        if update.params_wait is None:
            return new
        waiting = state._replace(log_partition=waiting_f, step=new.step)
        return jax.tree.map(partial(jnp.where, update.params_wait), waiting, new)


def make_train_step(
    log_density_fn: LogDensityFn | None = None,
    noise: Any = None,
    optimizer: optax.GradientTransformation | None = None,
    *,
    log_ratio_fn: LogDensityFn | None = None,
    criterion: Criterion = nce(),
    treatment: Treatment = solved(),
    num_noise: int | None = None,
    magnification_rule: MagnificationRule | None = None,
    mesh: Mesh | None = None,
) -> TrainStep:
    """Composes model, noise, criterion, treatment of F and optimizer into one pure train step.

    Every treatment costs one forward and one backward pass of the model over data and noise: the
    log ratios are computed once, F moves on them alone, and the loss's cotangents are pulled back
    through the same pass.

    Args:
      log_density_fn: `log_density_fn(params, x)`, the unnormalized log density of every sample of
        x, (n, ...) -> (n,).
      noise: a distribution of distrax, numpyro, TFP or flowjax (`nce_jax.noise.as_noise`), or any
        object with `log_prob(x)` and `sample_and_log_prob(seed=key, sample_shape=(m,))`.
      optimizer: any optax transformation that keeps one set of parameters, unlike
        `optax.lookahead`, and needs no function but the loss. Those that need more than the
        gradient, such as `optax.lbfgs`, get `value`, `grad` and `value_fn`: the loss of the step's
        own batch, with its draws and weights, where a solved F is solved for again at every
        parameter that a line search tries.
      log_ratio_fn: `log_ratio_fn(params, x)`, the log ratio s of every sample, in the place of
        `log_density_fn`: the model is then the noise, tilted by exp(s). The density of the noise is
        never evaluated, and `noise` may be None if every `Batch` brings noise samples.
      criterion: `nce(magnification=..., noise_ratio=...)`, `exponential_nce()`, or one of your own.
      treatment: `joint_gradient()`, `joint_gradient(optimizer)`, `bar_step()`, `solved()` or
        `held()`.
      num_noise: noise samples drawn per step; None draws as many as there are data samples.
      magnification_rule: `adaptive_magnification()` chooses M at every step, in the place of the
        criterion's own. It needs a criterion with a magnification, and a solved F.
      mesh: what `make_mesh` returns: data and noise samples are split over its data axis, the noise
        is drawn where it is used, and F is solved on the global batch. The numbers depend on the
        number of devices only by rounding. Put the state on the mesh with `shard_state`, and
        compile with `jit_train_step` (`fit` does).

    Returns:
      A `TrainStep`: `state = train.init(params)` is the first state, and `state, metrics =
      train(state, batch, key)` takes a step. It is not jitted: wrap it in `jax.jit`, with donation
      and shardings as you like.

    Raises:
      TypeError: an argument of the wrong kind, named together with the likely cure.
      ValueError: the criterion does not support the treatment, or one of them not an adaptive M
        (all are named).

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
      >>> state, step = train.init(params), jax.jit(train)
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
    model, is_ratio = as_model(log_density_fn, log_ratio_fn)
    noise = as_source(noise, is_ratio)
    check_composition(criterion, treatment, magnification_rule)
    if num_noise is not None:
        check_positive_int("num_noise", num_noise)
    check_mesh(mesh)
    return TrainStep(
        model=model,
        sides=Sides(noise, num_noise, is_ratio, mesh),
        optimizer=treatment.pair_optimizer(as_optimizer("optimizer", optimizer)),
        criterion=criterion,
        treatment=treatment,
        magnification_rule=magnification_rule,
    )


def _overlap(criterion: Criterion, inputs: dict[str, Any], log_partition: jax.Array) -> jax.Array:
    problem = (criterion.equation or make_problem)(**inputs)
    return jnp.exp(log_overlap_bound(problem, log_partition))
