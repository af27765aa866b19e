"""A multilayer perceptron as an energy."""

import math
from collections.abc import Sequence
from itertools import pairwise

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from nce_jax._checks import check_key, check_positive_int
from nce_jax._options import as_sizes, check_number
from nce_jax._types import Array, LogDensityFn, Params, PRNGKeyArray
from nce_jax.models._checks import check_dtypes, check_inputs
from nce_jax.models._module import split_module


def mlp_energy(
    key: PRNGKeyArray,
    dim: int,
    *,
    hidden: Sequence[int] = (128, 64),
    negative_slope: float = 0.2,
    param_dtype: DTypeLike = jnp.float32,
    compute_dtype: DTypeLike | None = None,
) -> tuple[Params, LogDensityFn]:
    r"""Energy given by a multilayer perceptron with leaky rectifiers.

    .. math::

       \varphi(x) = W_L a_{L-1} + b_L, \qquad a_l = \max(z_l, c z_l), \qquad
       z_l = W_l a_{l-1} + b_l, \qquad a_0 = x.

    The widths of :math:`a_1, \dots, a_{L-1}` are `hidden`, c is `negative_slope`, and all W and b
    are `params`. The energy is -phi.

    Args:
      key: typed key (`jax.random.key`) for the initial weights; `jax.vmap` over keys stacks the
        parameters of many seeds.
      dim: number of dimensions of a sample.
      hidden: widths of the hidden layers; empty gives a linear phi.
      negative_slope: slope of the rectifier below zero, a plain number.
      param_dtype: dtype of the parameters.
      compute_dtype: dtype that the hidden layers compute in, such as bfloat16; None promotes
        parameters and samples. The last layer computes in the parameters' dtype or wider.

    Returns:
      `(params, log_density_fn)`: nested dictionaries `{"hidden_0": {"kernel", "bias"}, ...,
      "output": ...}` of arrays, and phi as a function `log_density_fn(params, x)` of samples
      (samples, dim), with values (samples,).

    Raises:
      TypeError: `key` is not a typed key, or `dim` or a width is not an integer.
      ValueError: `key` is not a single key, or `dim` or a width is less than one; when
        `log_density_fn` is called: `x` is not (samples, dim).

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from nce_jax import models
      >>> params, log_density_fn = models.mlp_energy(jax.random.key(0), 2, hidden=(8,))
      >>> jax.tree.map(jnp.shape, params["hidden_0"])
      {'bias': (8,), 'kernel': (2, 8)}
      >>> log_density_fn(params, jnp.zeros((3, 2))).tolist()
      [0.0, 0.0, 0.0]

      Four seeds at once:

      >>> keys = jax.random.split(jax.random.key(0), 4)
      >>> stacked = jax.vmap(lambda key: models.mlp_energy(key, 2, hidden=(8,))[0])(keys)
      >>> jax.vmap(log_density_fn, in_axes=(0, None))(stacked, jnp.zeros((3, 2))).shape
      (4, 3)
    """
    check_key(key)
    check_positive_int("dim", dim)
    widths = as_sizes("hidden", hidden)
    check_number("negative_slope", negative_slope, "a finite number", math.isfinite)
    check_dtypes(param_dtype, compute_dtype)
    return split_module(_MLP(key, (dim, *widths), negative_slope, param_dtype, compute_dtype))


class _MLP(nnx.Module):
    """Leaky-ReLU layers with names, so that the parameters are nested dictionaries of strings."""

    def __init__(
        self,
        key: PRNGKeyArray,
        widths: tuple[int, ...],
        negative_slope: float,
        param_dtype: DTypeLike,
        compute_dtype: DTypeLike | None,
    ) -> None:
        rngs = nnx.Rngs(key)
        self.dim, self.num_hidden, self.negative_slope = widths[0], len(widths) - 1, negative_slope
        for index, (width_in, width_out) in enumerate(pairwise(widths)):
            layer = nnx.Linear(
                width_in, width_out, dtype=compute_dtype, param_dtype=param_dtype, rngs=rngs
            )
            setattr(self, f"hidden_{index}", layer)
        self.output = nnx.Linear(widths[-1], 1, param_dtype=param_dtype, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        check_inputs(x, dim=self.dim)
        for index in range(self.num_hidden):
            x = jax.nn.leaky_relu(getattr(self, f"hidden_{index}")(x), self.negative_slope)
        return self.output(x)
