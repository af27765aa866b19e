"""Priors of latent variables: a log ratio to N(0, I) that a train step learns."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from nce_jax._bridges import telescoped
from nce_jax._checks import as_samples, check_instance, check_key, check_positive_int
from nce_jax._contracts import (
    check_arrays,
    check_event_shape,
    check_log_density_fn,
    check_optimizer,
    check_params,
    evaluate_model,
)
from nce_jax._distributions import as_noise
from nce_jax._dtypes import compute_dtype, result_dtype
from nce_jax._promotion import standard_promotion
from nce_jax._types import Array, LogRatioFn, Params, PRNGKeyArray
from nce_jax._updates import check_opt_state, init_optimizer, norm, refuse_arguments
from nce_jax.latent._checks import as_data
from nce_jax.samplers import Kernel, sample_chains
from nce_jax.training import TrainState, TrainStep


@dataclass(frozen=True, eq=False)
class ChainStep:
    """A step of maximum likelihood for a log ratio, as an object like `training.TrainStep`.

    `make_chain_step` makes it.

    Attributes:
      model: `model(params, x)`, the log ratio to the noise, (n, ...) -> (n,).
      noise: the density that the log ratio is relative to.
      optimizer: of the parameters.
      kernel: the kernel of the chains.
      num_steps: number of transitions of every chain.
    """

    model: LogRatioFn
    noise: Any
    optimizer: optax.GradientTransformation
    kernel: Kernel
    num_steps: int

    def init(self, params: Params) -> TrainState:
        """The state before the first step; its F is zero and stays so.

        Args:
          params: initial parameters, a pytree of floating arrays.

        Returns:
          A `training.TrainState` of copies.

        Raises:
          TypeError: parameters that are not floating arrays.
          ValueError: an optimizer that needs the loss, such as `optax.lbfgs`.
        """
        check_params(params)
        reason = "the loss of a step of chains has the gradient of the likelihood, not its value"
        refuse_arguments(self.optimizer, params, reason)
        params = jax.tree.map(jnp.copy, params)
        log_partition = jnp.zeros((), compute_dtype(*jax.tree.leaves(params)))
        return TrainState(
            params, log_partition, init_optimizer(self.optimizer, params), jnp.int32(0)
        )

    def __call__(
        self, state: TrainState, batch: Any, key: PRNGKeyArray
    ) -> tuple[TrainState, dict[str, Array]]:
        """Takes one step.

        Args:
          state: what `init` or the step before returned.
          batch: an array of data samples, (n, ...), or a `training.Batch` of data alone.
          key: the same typed key at every step.

        Returns:
          The new state, and the metrics: `loss`, the difference of the mean log ratios of chains
          and data, whose gradient is that of minus the log-likelihood; `gradient_norm`; and
          `num_nonfinite` transitions of the chains.
        """
        check_instance("state", state, TrainState, "train.init(params)")
        check_arrays("state", state)
        check_opt_state(state, self.optimizer)
        check_key(key)
        x = as_data(batch)
        check_event_shape("x_data", x, self.noise)
        count = jax.tree.leaves(x)[0].shape[0]
        chains = self._chains(state, jax.random.fold_in(key, state.step), count)
        drawn = jax.lax.stop_gradient(chains.x)

        def loss_fn(params: Params) -> jax.Array:
            data, model = (
                evaluate_model(self.model, params, y, "log_ratio_fn") for y in (x, drawn)
            )
            with standard_promotion():
                return jnp.mean(model) - jnp.mean(data)

        loss, gradient = jax.value_and_grad(loss_fn)(state.params)
        with standard_promotion():
            updates, opt_state = self.optimizer.update(gradient, state.opt_state, state.params)
            params = optax.apply_updates(state.params, updates)
        new = state._replace(params=params, opt_state=opt_state, step=state.step + 1)
        return new, {
            "loss": loss,
            "gradient_norm": norm(gradient),
            "num_nonfinite": jnp.sum(chains.num_nonfinite),
        }

    def _chains(self, state: TrainState, key: PRNGKeyArray, count: int) -> Any:
        key_start, key_chains = jax.random.split(key)
        with standard_promotion():
            start, _ = self.noise.sample_and_log_prob(seed=key_start, sample_shape=(count,))
        start = start.astype(result_dtype(start, *jax.tree.leaves(state.params)))

        def log_density_fn(x: jax.Array) -> jax.Array:
            log_ratio = evaluate_model(self.model, state.params, x, "log_ratio_fn")
            with standard_promotion():
                return log_ratio + self.noise.log_prob(x)

        return sample_chains(
            key_chains, log_density_fn, start, kernel=self.kernel, num_steps=self.num_steps
        )


def make_chain_step(
    log_ratio_fn: LogRatioFn,
    noise: Any,
    optimizer: optax.GradientTransformation,
    *,
    kernel: Kernel,
    num_steps: int,
) -> ChainStep:
    r"""Composes a step of maximum likelihood for a log ratio, by chains from the noise.

    The model is the noise, tilted: :math:`q(x) e^{s(x)} / Z`. The gradient of its log-likelihood is
    the difference of :math:`\partial s` over data and over samples of the model, for which each
    step runs chains that begin at the noise. It is the reference that noise-contrastive estimation
    is compared with. F is not learned; short chains make it another estimator than maximum
    likelihood.

    Args:
      log_ratio_fn: `log_ratio_fn(params, x)`, the log ratio s of every sample, (n, ...) -> (n,).
      noise: q, a distribution, as in `training.make_train_step`.
      optimizer: an optax transformation that needs no loss, unlike `optax.lbfgs`.
      kernel: such as `samplers.langevin(s**2 / 2)` for the papers' step s.
      num_steps: number of transitions of every chain.

    Returns:
      A `ChainStep`, which goes wherever a `training.TrainStep` goes, `training.fit` included.

    Raises:
      TypeError: an argument of the wrong kind, named together with the likely cure.
      ValueError: `num_steps` below one.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from nce_jax import latent, noise, samplers
      >>> train = latent.make_chain_step(
      ...     lambda theta, x: x @ theta,
      ...     noise.standard_normal(1),
      ...     optax.sgd(0.3),
      ...     kernel=samplers.langevin(0.1),
      ...     num_steps=30,
      ... )
      >>> state, step = train.init(jnp.zeros(1)), jax.jit(train)
      >>> x_data = 2 + jax.random.normal(jax.random.key(0), (512, 1))
      >>> for _ in range(30):
      ...     state, metrics = step(state, x_data, jax.random.key(1))
      >>> print(f"theta {state.params[0]:.1f}")
      theta 2.1

    References:
      Xie et al., A theory of generative ConvNet, 2016.
      Pang et al., Learning latent space energy-based prior model, 2020, algorithm 1.
    """
    check_log_density_fn(log_ratio_fn, "log_ratio_fn")
    noise = as_noise(noise)
    check_optimizer(optimizer)
    check_instance("kernel", kernel, Kernel, "samplers.langevin(0.005)")
    check_positive_int("num_steps", num_steps)
    return ChainStep(log_ratio_fn, noise, optimizer, kernel, num_steps)


def prior_log_ratio(
    prior: TrainStep | ChainStep | None, state: TrainState | None, z: Array
) -> Array:
    """Log ratio of a prior to N(0, I), with the normalizer that the state holds.

    Args:
      prior: a train step of a log ratio, of one or of K stages, or `make_chain_step(...)`, whose F
        is zero; None for N(0, I) itself.
      state: its state.
      z: latent variables, (n, dim).

    Returns:
      s(z) - F, (n,), in nats; of a chain the sum over its stages, all of them at z.

    Raises:
      TypeError: another object, or a train step of a density.

    Examples:
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from nce_jax import latent, noise, training
      >>> prior = training.make_train_step(
      ...     noise=noise.standard_normal(1),
      ...     optimizer=optax.sgd(0.1),
      ...     log_ratio_fn=lambda theta, z: z @ theta,
      ... )
      >>> latent.prior_log_ratio(prior, prior.init(jnp.ones(1)), jnp.array([[2.0]]))
      Array([2.], dtype=float32)
    """
    check_prior(prior)
    if jnp.ndim(z) != 2:
        raise ValueError(f"z: expected shape (n, dim), got shape {jnp.shape(z)}")
    z = as_samples("z", z)
    if prior is None:
        return jnp.zeros(z.shape[0], z.dtype)
    check_instance("state", state, TrainState, "prior.init(params)")
    assert state is not None
    stages = prior.sides.stages if isinstance(prior, TrainStep) else None
    log_ratio_fn: Any = prior.model
    if stages is not None:
        log_ratio_fn = telescoped(prior.model, stages.num_stages)
    values = evaluate_model(log_ratio_fn, state.params, z, "log_ratio_fn")
    with standard_promotion():
        return values - jnp.sum(state.log_partition)


def noise_of(prior: TrainStep | ChainStep) -> Any:
    """What the log ratio of a prior is relative to."""
    return prior.noise if isinstance(prior, ChainStep) else prior.sides.noise


def check_prior(prior: Any) -> None:
    """Raises unless this is a train step of a log ratio, or None."""
    if prior is None or isinstance(prior, ChainStep):
        return
    check_instance("prior", prior, TrainStep, "training.make_stage_step(...)")
    if not prior.sides.is_ratio:
        raise TypeError(
            "prior: expected a train step of a log ratio to N(0, I), got one of a log density; make"
            " it with log_ratio_fn="
        )
