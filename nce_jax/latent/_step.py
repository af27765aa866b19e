"""The joint train step of a generator, its inference, and an energy-based prior."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from nce_jax._checks import as_floating, check_instance, check_key, check_positive_values, describe
from nce_jax._contracts import (
    as_values,
    check_arrays,
    check_event_shape,
    check_log_density_fn,
    check_optimizer,
    check_params,
)
from nce_jax._dtypes import compute_dtype
from nce_jax._partial import EqualPartial
from nce_jax._promotion import standard_promotion
from nce_jax._types import Array, Params, PRNGKeyArray, Scalars
from nce_jax._updates import check_opt_state, init_optimizer, norm, update_fn, with_present
from nce_jax.latent._checks import (
    as_data,
    check_prior_state,
    check_same_count,
    check_standard_normal,
)
from nce_jax.latent._inference import Inference
from nce_jax.latent._prior import ChainStep, check_prior, noise_of, prior_log_ratio
from nce_jax.training import TrainState, TrainStep


class LatentState(NamedTuple):
    """The state of a joint training: a pytree of arrays.

    Attributes:
      params: parameters of generator and encoder.
      opt_state: the state of their optimizer.
      prior: the state of the prior; () for N(0, I).
      step: number of steps taken, int32.
    """

    params: Params
    opt_state: Any
    prior: TrainState | tuple[()]
    step: Array


@dataclass(frozen=True, eq=False)
class LatentStep:
    """A joint train step as one object: `init` makes the first state, a call advances it.

    It is frozen and hashable, and pure, like `training.TrainStep`. `make_latent_step` makes it.

    Attributes:
      log_likelihood_fn: `log_likelihood_fn(params, z, x)`, (n, dim) and (n, ...) -> (n,).
      inference: how z is inferred.
      prior: the train step of the prior's log ratio to N(0, I); None for N(0, I) itself.
      optimizer: of generator and encoder.
    """

    log_likelihood_fn: Callable[[Params, Array, Any], Array]
    inference: Inference
    prior: TrainStep | ChainStep | None
    optimizer: optax.GradientTransformation

    def init(self, params: Params, prior_params: Params | None = None) -> LatentState:
        """The state before the first step.

        Args:
          params: initial parameters of generator and encoder, a pytree of floating arrays.
          prior_params: initial parameters of the prior; None for N(0, I).

        Returns:
          A `LatentState` of copies.

        Raises:
          TypeError: parameters that are not floating arrays, or those of a prior without one.
        """
        check_params(params)
        if (prior_params is None) != (self.prior is None):
            expected = "None for the prior N(0, I)" if self.prior is None else "parameters"
            raise TypeError(f"prior_params: expected {expected}, got {describe(prior_params)}")
        params = jax.tree.map(jnp.copy, params)
        prior = () if self.prior is None else self.prior.init(prior_params)
        return LatentState(params, init_optimizer(self.optimizer, params), prior, jnp.int32(0))

    def __call__(
        self, state: LatentState, batch: Any, key: PRNGKeyArray
    ) -> tuple[LatentState, dict[str, Array]]:
        """Takes one step of generator and encoder, and one of the prior on the inferred z.

        Args:
          state: what `init` or the step before returned.
          batch: an array of data, (n, ...), or a `training.Batch` of data alone.
          key: the same typed key at every step: the step folds in its own number.

        Returns:
          The new state, and the metrics: `loss`, minus the mean evidence lower bound in nats (for
          chains minus the mean log joint density); `reconstruction`, minus the mean log-likelihood;
          `gradient_norm`; those of the prior's step under their own names, but for its loss,
          `prior_loss`, and gradient, `prior_gradient_norm`.
        """
        check_instance("state", state, LatentState, "train.init(params, prior_params)")
        check_arrays("state", state)
        check_opt_state(state, self.optimizer)
        check_prior_state(self.prior, state.prior)
        check_key(key)
        x = as_data(batch)
        key_infer, key_prior = jax.random.split(key)
        key_infer = jax.random.fold_in(key_infer, state.step)
        (loss, (z, reconstruction)), gradient = jax.value_and_grad(self._loss, has_aux=True)(
            state.params, state.prior, x, key_infer
        )

        def value_fn(params: Params) -> Array:
            return self._loss(params, state.prior, x, key_infer)[0]

        objective: dict[str, Any] = {"value": loss, "grad": gradient}
        objective["value_fn"] = with_present(value_fn, state.params)
        with standard_promotion():
            move = update_fn(self.optimizer)
            updates, opt_state = move(gradient, state.opt_state, state.params, **objective)
            params = optax.apply_updates(state.params, updates)
        metrics = {"loss": loss, "reconstruction": reconstruction, "gradient_norm": norm(gradient)}
        prior, more = self._move_prior(state.prior, jax.lax.stop_gradient(z), key_prior)
        return LatentState(params, opt_state, prior, state.step + 1), metrics | more

    def infer(self, state: LatentState, x: Any, key: PRNGKeyArray) -> Array:
        """Draws the latent variables of data.

        Args:
          state: a state of the training.
          x: data, (n, ...).
          key: a typed key.

        Returns:
          One draw per datum, (n, dim).
        """
        check_instance("state", state, LatentState, "train.init(params, prior_params)")
        check_key(key)
        check_same_count("x", x)
        joint = self._log_joint_fn(state.params, state.prior)
        return self.inference.infer(state.params, key, x, joint).z

    def _log_joint_fn(self, params: Params, prior: Any) -> Callable[[Array, Any], Array]:
        def log_joint_fn(z: Array, x: Any) -> Array:
            return self._log_densities(params, prior, z, x)[1]

        return log_joint_fn

    def _log_densities(self, params: Params, prior: Any, z: Array, x: Any) -> tuple[Array, Array]:
        """Log-likelihoods and log joint densities, (n,) each."""
        if self.prior is not None:
            check_event_shape("z", z, noise_of(self.prior))
        log_likelihood = self.log_likelihood_fn(params, z, x)
        log_likelihood = as_values("log_likelihood_fn", log_likelihood, z)
        standard = -jnp.sum(z**2 + jnp.log(2 * jnp.pi), axis=-1) / 2
        log_ratio = prior_log_ratio(self.prior, prior or None, z)
        with standard_promotion():
            return log_likelihood, log_likelihood + standard + log_ratio

    def _loss(self, params: Params, prior: Any, x: Any, key: PRNGKeyArray) -> tuple[Array, Any]:
        prior = jax.lax.stop_gradient(prior)
        # Chains take the parameters as they are: their draws have no gradient.
        fixed = self._log_joint_fn(jax.lax.stop_gradient(params), prior)
        z, log_q = self.inference.infer(params, key, x, fixed)
        log_likelihood, value = self._log_densities(params, prior, z, x)
        with standard_promotion():
            bound = value if log_q is None else value - log_q
        return -jnp.mean(bound), (z, -jnp.mean(log_likelihood))

    def _move_prior(self, prior: Any, z: Array, key: PRNGKeyArray) -> tuple[Any, dict[str, Any]]:
        if self.prior is None:
            return prior, {}
        prior, metrics = self.prior(prior, z, key)
        metrics = metrics if isinstance(metrics, dict) else metrics._asdict()
        renamed = ("loss", "gradient_norm")
        return prior, {
            f"prior_{name}" if name in renamed else name: value for name, value in metrics.items()
        }


def make_latent_step(
    log_likelihood_fn: Callable[[Params, Array, Any], Array],
    inference: Inference,
    optimizer: optax.GradientTransformation,
    *,
    prior: TrainStep | ChainStep | None = None,
) -> LatentStep:
    r"""Composes a generator, its inference and an energy-based prior into one train step.

    The model is :math:`p(x, z) = p(x | z)\, N(z; 0, I)\, e^{s(z) - F}`. A step moves generator and
    encoder up the evidence lower bound at the present prior, and the prior's log ratio s by one
    step of its own on the inferred z, against draws of N(0, I). Any train step of a log ratio is a
    prior: one stage or several, any criterion, M and treatment of F, or `make_chain_step` for
    maximum likelihood.

    Args:
      log_likelihood_fn: `log_likelihood_fn(params, z, x)`, log p(x | z) of pairs in nats, (n, dim)
        and (n, ...) -> (n,); `gaussian_likelihood` makes one of a generator.
      inference: `amortized(encode_fn)` or `short_run(kernel, num_steps=..., dim=...)`. It receives
        the same parameters as the likelihood.
      optimizer: of generator and encoder, as in `training.make_train_step`.
      prior: `training.make_stage_step(...)`, `training.make_train_step(log_ratio_fn=...)` or
        `make_chain_step(...)`, with the noise N(0, I); None leaves the prior at N(0, I).

    Returns:
      A `LatentStep`: `state = train.init(params, prior_params)` is the first state, and `state,
      metrics = train(state, batch, key)` takes a step; `training.fit` runs it as it is. With
      `samplers.resample` and `prior_log_ratio` z are drawn from the prior without a chain. Over a
      mesh the prior is made with `mesh=`, the state lies there by `training.shard_state`, and the
      samples of a batch in parts.

    Raises:
      TypeError: an argument of the wrong kind, named together with the likely cure.
      ValueError: a prior whose noise is known not to be N(0, I).

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from nce_jax import latent, noise, training
      >>> prior = training.make_train_step(
      ...     noise=noise.standard_normal(1),
      ...     optimizer=optax.adam(0.03),
      ...     log_ratio_fn=lambda theta, z: z @ theta,
      ... )
      >>> likelihood = latent.gaussian_likelihood(lambda params, z: z, scale=0.5)
      >>> encoder = latent.amortized(lambda a, x: (a[0] + a[1] * x, 0 * x + a[2]))
      >>> train = latent.make_latent_step(likelihood, encoder, optax.adam(0.03), prior=prior)
      >>> state, step = train.init(jnp.zeros(3), jnp.zeros(1)), jax.jit(train)
      >>> x_data = 1 + jnp.sqrt(1.25) * jax.random.normal(jax.random.key(0), (512, 1))
      >>> for _ in range(200):
      ...     state, metrics = step(state, x_data, jax.random.key(1))
      >>> print(f"mean of the prior {state.prior.params[0]:.1f}")
      mean of the prior 1.0

    References:
      Pang et al., Learning latent space energy-based prior model, 2020.
      Yu et al., "Noisier" Noise Contrastive Estimation is (Almost) Maximum Likelihood, 2026
        (priors by N2CE, with K stages).
    """
    check_log_density_fn(
        log_likelihood_fn,
        "log_likelihood_fn",
        arguments="parameters, latent variables and data",
        num_arguments=3,
    )
    check_instance("inference", inference, Inference, "amortized(encode_fn)")
    check_optimizer(optimizer)
    check_prior(prior)
    if prior is not None:
        check_standard_normal(noise_of(prior))
    return LatentStep(log_likelihood_fn, inference, prior, optimizer)


def gaussian_likelihood(
    generate_fn: Callable[[Params, Array], Array], *, scale: Scalars
) -> Callable[[Params, Array, Any], Array]:
    r"""Log-likelihood of a generator with Gaussian errors, :math:`\log N(x; g(z), \sigma^2 I)`.

    Args:
      generate_fn: `generate_fn(params, z)`, the mean of x, (n, dim) -> (n, ...).
      scale: sigma > 0, in units of x; it may be traced. It sets the weight of the reconstruction
        beside the prior: with a scale far above the errors, posterior and prior hardly differ.

    Returns:
      `log_likelihood_fn(params, z, x)`, for `make_latent_step`.

    Raises:
      TypeError: `generate_fn` is no function of parameters and latent variables.
      ValueError: a `scale` that is not one number, finite and positive; with a traced one that is
        not positive the result is NaN.

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import latent
      >>> log_likelihood_fn = latent.gaussian_likelihood(lambda params, z: params * z, scale=1.0)
      >>> log_likelihood_fn(2.0, jnp.ones((1, 1)), jnp.full((1, 1), 2.0))
      Array([-0.9189385], dtype=float32)
    """
    check_log_density_fn(generate_fn, "generate_fn", arguments="parameters and latent variables")
    check_positive_values("scale", scale)
    if np.shape(scale) != ():
        raise ValueError(f"scale: expected one number, got shape {np.shape(scale)}")
    return EqualPartial(_gaussian, generate_fn, scale)


def _gaussian(generate_fn: Any, scale: Any, params: Params, z: Array, x: Array) -> Array:
    if not isinstance(x, jax.Array | np.ndarray):
        raise TypeError(
            f"x: expected one array, got {describe(x)}; for other data write a log_likelihood_fn"
        )
    mean = as_floating("generate_fn", generate_fn(params, z))
    if jnp.shape(mean) != jnp.shape(x):
        raise ValueError(
            f"generate_fn: expected the shape of x, {jnp.shape(x)}, got shape {jnp.shape(mean)}"
        )
    dtype = compute_dtype(mean, x)
    # A traced scale may have any value; below zero the square would hide it.
    scale = jnp.where(jnp.asarray(scale) > 0, jnp.asarray(scale, dtype), jnp.nan)
    errors = ((x.astype(dtype) - mean.astype(dtype)) / scale).reshape(x.shape[0], -1)
    size = errors.shape[1]
    constant = size * (jnp.log(scale) + jnp.log(2 * jnp.pi) / 2)
    return -jnp.sum(errors**2, axis=1) / 2 - constant
