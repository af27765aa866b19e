"""How the latent variables of data are inferred: by an encoder, or by short chains."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._checks import as_floating, check_instance, check_positive_int, describe
from nce_jax._contracts import check_log_density_fn
from nce_jax._dtypes import compute_dtype
from nce_jax._partial import EqualPartial, compared_by_parts
from nce_jax._types import Params, PRNGKeyArray
from nce_jax.samplers import Kernel, sample_chains

LogJointFn = Callable[[jax.Array, Any], jax.Array]
"""`log_joint_fn(z, x)`: log p(x, z) of pairs, (n, dim) and (n, ...) -> (n,)."""


class Inferred(NamedTuple):
    """Latent variables of a batch.

    Attributes:
      z: one draw per datum, (n, dim).
      log_q: log density of each draw under the inference itself, (n,), with z as a differentiable
        function of the encoder's parameters; None for chains, whose density is not known.
    """

    z: jax.Array
    log_q: jax.Array | None


@compared_by_parts
class Inference(NamedTuple):
    """A way to infer latent variables.

    Attributes:
      name: what error messages call it.
      infer: `infer(params, key, x, log_joint_fn) -> Inferred`, with the parameters of the encoder.
    """

    name: str
    infer: Callable[[Params, PRNGKeyArray, Any, LogJointFn], Inferred]

    def __repr__(self) -> str:
        """The name alone: signatures with an inference stay readable."""
        return f"Inference({self.name!r})"


def amortized(encode_fn: Callable[[Params, Any], tuple[jax.Array, jax.Array]]) -> Inference:
    """Inference by an encoder, a diagonal Gaussian whose moments are functions of the datum.

    Args:
      encode_fn: `encode_fn(params, x)`, which returns mean and log standard deviation of z, (n,
        dim) each, for data x, (n, ...).

    Returns:
      An `Inference` for `make_latent_step`: the loss is minus the evidence lower bound (ELBO), and
      its gradient passes through the draws.

    Raises:
      TypeError: `encode_fn` is no function of parameters and data.

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import latent
      >>> latent.amortized(lambda params, x: (params * x, jnp.zeros_like(x))).name
      'amortized'

    References:
      Kingma and Welling, Auto-encoding variational Bayes, 2014.
    """
    check_log_density_fn(encode_fn, "encode_fn", arguments="parameters and data")
    return Inference("amortized", EqualPartial(_encode, encode_fn))


def _encode(encode_fn: Any, params: Params, key: PRNGKeyArray, x: Any, log_joint_fn: Any):
    mean, log_scale = _moments(encode_fn(params, x), x)
    draw = jax.random.normal(key, mean.shape, mean.dtype)
    log_q = -jnp.sum(log_scale + (draw**2 + jnp.log(2 * jnp.pi)) / 2, axis=-1)
    return Inferred(mean + jnp.exp(log_scale) * draw, log_q)


def _moments(moments: Any, x: Any) -> tuple[jax.Array, jax.Array]:
    """Raises unless an encoder has returned two arrays (n, dim)."""
    if not isinstance(moments, tuple | list) or len(moments) != 2:
        raise TypeError(
            "encode_fn: expected a pair (mean, log_scale) of arrays (n, dim), got"
            f" {describe(moments)}"
        )
    count = jnp.shape(jax.tree.leaves(x)[0])[0]
    shapes = [jnp.shape(moment) for moment in moments]
    if shapes[0] != shapes[1] or len(shapes[0]) != 2 or shapes[0][0] != count:
        raise ValueError(
            f"encode_fn: expected a pair (mean, log_scale) of arrays (n, dim) with n = {count}, got"
            f" shapes {shapes[0]} and {shapes[1]}"
        )
    mean, log_scale = (as_floating("encode_fn", moment) for moment in moments)
    dtype = compute_dtype(mean, log_scale)  # a scale of 1e-3 is lost in bfloat16
    return mean.astype(dtype), log_scale.astype(dtype)


def short_run(kernel: Kernel, *, num_steps: int, dim: int) -> Inference:
    """Inference by short chains for the posterior, each conditioned on its own datum.

    The chains of every step begin at draws of N(0, I). Short chains do not reach the posterior: the
    result is what these chains give, which is the definition in the papers that train with them.

    Args:
      kernel: `samplers.langevin(s**2 / 2)` for the papers' step s, or another kernel.
      num_steps: number of transitions.
      dim: dimension of z.

    Returns:
      An `Inference` for `make_latent_step`. The loss is minus the mean log joint density, which has
      no draw to differentiate, so that only the generator follows it.

    Raises:
      TypeError: an argument of the wrong kind.
      ValueError: counts below one.

    Examples:
      >>> from nce_jax import latent, samplers
      >>> latent.short_run(samplers.langevin(0.005), num_steps=20, dim=8).name
      'short_run'

    References:
      Nijkamp et al., Learning non-convergent non-persistent short-run MCMC toward energy-based
        model, 2019.
      Pang et al., Learning latent space energy-based prior model, 2020.
    """
    check_instance("kernel", kernel, Kernel, "samplers.langevin(0.005)")
    check_positive_int("num_steps", num_steps)
    check_positive_int("dim", dim)
    return Inference("short_run", EqualPartial(_run_chains, kernel, num_steps, dim))


def _run_chains(
    kernel: Kernel,
    num_steps: int,
    dim: int,
    params: Params,
    key: PRNGKeyArray,
    x: Any,
    log_joint_fn,
) -> Inferred:
    del params
    key_start, key_chains = jax.random.split(key)
    leaf = jax.tree.leaves(x)[0]
    dtype = compute_dtype(leaf)
    start = jax.random.normal(key_start, (leaf.shape[0], dim), dtype)
    chains = sample_chains(
        key_chains, log_joint_fn, start, kernel=kernel, num_steps=num_steps, context=x
    )
    return Inferred(jax.lax.stop_gradient(chains.x), None)
