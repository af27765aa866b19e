"""Static checks of the inputs and outputs of models."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from nce_jax._checks import compute_dtype, describe
from nce_jax._contracts import as_values
from nce_jax._options import check_float_dtype


def check_inputs(x: Any, *, dim: int | None = None, name: str = "x") -> None:
    """Raises unless `x` is an array of shape (samples, dim)."""
    check_not_params(x, name=name)
    shape = jnp.shape(x)
    if len(shape) != 2 or (dim is not None and shape[1] != dim):
        expected = "dim" if dim is None else dim
        is_other_dim = dim is not None and len(shape) == 2
        cure = f"; the model was made for samples of {dim} dimensions" if is_other_dim else ""
        raise ValueError(f"{name}: expected shape (samples, {expected}), got shape {shape}{cure}")


def check_not_params(x: Any, *, name: str = "x") -> None:
    """Raises TypeError if `x` is a dictionary, as the parameters of most models are."""
    if isinstance(x, Mapping):
        raise TypeError(
            f"{name}: expected an array of samples, got {describe(x)}; the arguments of a model are"
            " parameters and samples, in this order"
        )


def check_dtypes(param_dtype: Any, compute_dtype: Any = None) -> None:
    """Raises TypeError unless both are floating dtypes; the second may be None."""
    check_float_dtype("param_dtype", param_dtype)
    if compute_dtype is not None:
        check_float_dtype("compute_dtype", compute_dtype)


def as_module_values(name: str, values: Any, x: Any) -> jax.Array:
    """Returns values (samples,) or (samples, 1) as (samples,), float32 or wider, or raises."""
    values = as_values(name, values, x, allow_column=True)
    return values.astype(compute_dtype(values))
