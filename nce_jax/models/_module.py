"""Converts a flax module into its parameters and a pure function of them."""

from flax import nnx

from nce_jax._checks import describe
from nce_jax._promotion import standard_promotion
from nce_jax._types import Array, LogDensityFn, Params
from nce_jax.models._checks import as_module_values, check_inputs


def split_module(module: nnx.Module) -> tuple[Params, LogDensityFn]:
    """Splits a flax nnx module into its parameters and a pure log density function.

    phi(x) = module(x), with `params` as the values of the module's `nnx.Param` variables.

    All other variables of the module (running averages, random streams) are fixed at their present
    values, and changes to them are dropped. Call `module.eval()` first if the module has dropout or
    batch normalization, which would also couple the samples of a batch.

    Args:
      module: a module that is called as `module(x)` and maps samples (samples, dim) to (samples,)
        or (samples, 1).

    Returns:
      `(params, log_density_fn)`: nested dictionaries of arrays, named as in the module, and phi as
      a function `log_density_fn(params, x)` with values (samples,), float32 or wider.

    Raises:
      TypeError: `module` is not an `nnx.Module`.
      ValueError: when `log_density_fn` is called: `x` is not (samples, dim), or the module returns
        another shape.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from nce_jax import models
      >>> params, log_density_fn = models.split_module(
      ...     nnx.Linear(3, 1, rngs=nnx.Rngs(jax.random.key(0)))
      ... )
      >>> jax.tree.map(jnp.shape, params)
      {'bias': (1,), 'kernel': (3, 1)}
      >>> log_density_fn(params, jnp.zeros((5, 3))).shape
      (5,)
    """
    if not isinstance(module, nnx.Module):
        raise TypeError(f"module: expected a flax nnx.Module, got {describe(module)}")
    graphdef, variables, *others = nnx.split(module, nnx.Param, ...)
    # Plain dictionaries on both sides, since every later call would share and change variables.
    params, *rest = (nnx.to_pure_dict(state) for state in (variables, *others))

    def log_density_fn(params: Params, x: Array) -> Array:
        check_inputs(x)
        with standard_promotion():
            values = nnx.merge(graphdef, params, *rest)(x)
        return as_module_values("module", values, x)

    return params, log_density_fn
