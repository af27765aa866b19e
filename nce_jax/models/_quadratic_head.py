"""A quadratic form of features as a log density."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from nce_jax._checks import check_key, check_positive, check_positive_int, compute_dtype, describe
from nce_jax._types import Array, Float, LogDensityFn, Params, PRNGKeyArray, Real
from nce_jax.models._checks import check_dtypes, check_inputs
from nce_jax.models._module import split_module

_INITIAL_SCALE = 0.1
"""Norm of L' f at the start, for features of mean square one: phi starts at about its square times
the mean squared feature."""


class QuadraticHead(nnx.Module):
    r"""A positive definite quadratic form of features, the last layer of an energy.

    .. math:: \varphi(f) = f^\top W f + b^\top f, \qquad W = L L^\top + e I

    Here f is `features`, the square matrix L and the vector b are the parameters `factor` and
    `bias`, and e is `min_eigenvalue`. W is positive definite for every L. The form is evaluated
    without W, as :math:`|L^\top f|^2 + e |f|^2 + b^\top f`, in which rounding cannot make the
    quadratic part negative. The initial L is small and random, and the initial b zero, so that
    :math:`\varphi` starts near zero, but not at the saddle point L = 0, where the gradient with
    respect to L vanishes.

    :math:`\varphi` has no upper bound in f; its lower bound is
    :math:`-\frac{1}{4} b^\top W^{-1} b`.

    Args:
      num_features: number of features of a sample.
      min_eigenvalue: lower bound on the eigenvalues of W, a plain number.
      param_dtype: dtype of the parameters.
      rngs: random streams of flax, for the initial L.

    Raises:
      TypeError: `num_features` is not an integer.
      ValueError: `num_features` is less than one or `min_eigenvalue` is not positive; when called:
        `features` is not (samples, num_features).

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from nce_jax import models
      >>> head = models.QuadraticHead(2, rngs=nnx.Rngs(jax.random.key(0)))
      >>> head.factor[...], head.bias[...] = (
      ...     jnp.array([[1.0, 0.0], [2.0, 1.0]]),
      ...     jnp.array([1.0, 0.0]),
      ... )
      >>> [round(value, 4) for value in head(jnp.array([[1.0, 0.0], [1.0, 1.0]])).tolist()]
      [2.0, 11.0]

    References:
      Sevekari et al., Accelerating NCE convergence with adaptive normalizing constant computation,
        2024 (the MNIST experiment: a log ratio f' W f + b' f + c, where c is minus the normalizer
        F, which is not a parameter here).
    """

    def __init__(
        self,
        num_features: int,
        *,
        min_eigenvalue: float = 1e-6,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        check_positive_int("num_features", num_features)
        check_positive("min_eigenvalue", min_eigenvalue)
        check_dtypes(param_dtype)
        self.num_features, self.min_eigenvalue = num_features, min_eigenvalue
        initial = nnx.initializers.normal(_INITIAL_SCALE / num_features)
        self.factor = nnx.Param(initial(rngs.params(), (num_features, num_features), param_dtype))
        self.bias = nnx.Param(jnp.zeros(num_features, param_dtype))

    def __call__(self, features: Real[Array, "samples num_features"]) -> Float[Array, " samples"]:
        """Returns phi, one number per sample, in float32 or wider."""
        if jnp.ndim(features) != 2 or features.shape[1] != self.num_features:
            raise ValueError(
                f"features: expected shape (samples, {self.num_features}), got shape"
                f" {jnp.shape(features)}"
            )
        factor, bias = self.factor[...], self.bias[...]
        dtype = compute_dtype(features, factor, bias)
        features, factor, bias = features.astype(dtype), factor.astype(dtype), bias.astype(dtype)
        # Full precision: phi is a sum over many features, and the rounding errors of ten bits
        # would amount to nats.
        rotated = jnp.matmul(features, factor, precision=jax.lax.Precision.HIGHEST)
        squares = jnp.sum(rotated**2, axis=-1) + self.min_eigenvalue * jnp.sum(features**2, axis=-1)
        return squares + jnp.matmul(features, bias, precision=jax.lax.Precision.HIGHEST)

    def matrix(self) -> Float[Array, "num_features num_features"]:
        """Returns W, for inspection: rounding can hide eigenvalues far below the largest one."""
        factor = self.factor[...]
        squares = jnp.matmul(factor, factor.T, precision=jax.lax.Precision.HIGHEST)
        return squares + self.min_eigenvalue * jnp.eye(self.num_features, dtype=factor.dtype)


def quadratic_energy(
    key: PRNGKeyArray,
    features: nnx.Module | Callable[[Array], Array],
    num_features: int,
    *,
    min_eigenvalue: float = 1e-6,
    param_dtype: DTypeLike = jnp.float32,
) -> tuple[Params, LogDensityFn]:
    """Energy given by a positive definite quadratic form of the features of any network.

    phi(x) = f(x)' W f(x) + b' f(x) with W = L L' + e I, f = `features` and e = `min_eigenvalue`. L
    and b are among `params`, and so are the parameters of f if it is a flax module. Their initial
    values are described under `QuadraticHead`.

    Sevekari et al. add a constant c, which is minus the normalizer F. It is not among `params`: F
    is solved for, or learned as a separate parameter. Their phi is moreover a log ratio relative to
    the noise, log p - log q + F, and not log p: a log density would be phi plus the log density of
    the noise.

    Args:
      key: typed key (`jax.random.key`) for the initial L.
      features: f, from samples (samples, dim) to features (samples, num_features): a flax nnx
        module, whose parameters are trained too, or a fixed function.
      num_features: number of features of a sample.
      min_eigenvalue: lower bound on the eigenvalues of W, a plain number.
      param_dtype: dtype of L and b.

    Returns:
      `(params, log_density_fn)`: nested dictionaries `{"head": {"factor": L, "bias": b},
      "features": ...}` of arrays (`"features"` only for a module), and phi as a function
      `log_density_fn(params, x)` of samples (samples, dim), with values (samples,), float32 or
      wider.

    Raises:
      TypeError: `key` is not a typed key, `features` cannot be called, or `num_features` is not an
        integer.
      ValueError: `key` is not a single key, `num_features` is less than one or `min_eigenvalue` is
        not positive; when `log_density_fn` is called: `x` is not (samples, dim), or the features
        have another shape.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from nce_jax import models
      >>> params, log_density_fn = models.quadratic_energy(jax.random.key(0), jnp.tanh, 3)
      >>> jax.tree.map(jnp.shape, params)
      {'head': {'bias': (3,), 'factor': (3, 3)}}
      >>> log_density_fn(params, jnp.zeros((2, 3))).tolist()
      [0.0, 0.0]

    References:
      Sevekari et al., Accelerating NCE convergence with adaptive normalizing constant computation,
        2024 (the MNIST experiment).
    """
    check_key(key)
    if not callable(features) or isinstance(features, type):
        raise TypeError(
            f"features: expected a flax nnx.Module or a function, got {describe(features)}"
        )
    head = QuadraticHead(
        num_features, min_eigenvalue=min_eigenvalue, param_dtype=param_dtype, rngs=nnx.Rngs(key)
    )
    return split_module(_QuadraticEnergy(features, head))


class _QuadraticEnergy(nnx.Module):
    def __init__(self, features: Callable[[Array], Array], head: QuadraticHead) -> None:
        self.features, self.head = features, head

    def __call__(self, x: Array) -> Array:
        check_inputs(x)
        features, expected = self.features(x), (jnp.shape(x)[0], self.head.num_features)
        if jnp.shape(features) != expected:
            raise ValueError(
                "features: expected an output of shape (samples, num_features), in this call"
                f" {expected}, got shape {jnp.shape(features)}"
            )
        return self.head(features)
