"""The dtypes in which the library computes, and those that it refuses."""

from typing import Any

import jax
import jax.numpy as jnp


def result_dtype(*arrays: Any) -> Any:
    """The dtype that JAX's default rules give for these arrays or dtypes together."""
    with jax.numpy_dtype_promotion("standard"):
        return jnp.result_type(*arrays)


def compute_dtype(*arrays: Any) -> Any:
    """The dtype that losses and solvers compute in: that of the inputs, but at least float32."""
    # Of the inputs first: JAX would let a plain number of float64 follow the float32.
    return result_dtype(result_dtype(*arrays), jnp.float32)


def float_cure(dtype: Any) -> str:
    """How an array of this dtype becomes a floating one, for messages."""
    if jnp.issubdtype(dtype, jnp.integer) or jnp.issubdtype(dtype, jnp.bool_):
        return "; .astype(float) converts it"
    if jnp.issubdtype(dtype, jnp.complexfloating):
        return "; jnp.real takes the real part"
    return "; .astype(jnp.float32) converts it" if is_narrow(dtype) else ""


def is_narrow(dtype: Any) -> bool:
    """Whether it is one of the floating types of 4 to 8 bits, which JAX does not promote."""
    return jnp.issubdtype(dtype, jnp.floating) and jnp.finfo(dtype).bits < 16
