"""The masks of coupling layers, and the networks that give the parameters of their splines."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike

from nce_jax._types import Array, PRNGKeyArray


def coupling_masks(dim: int, num_layers: int) -> np.ndarray:
    """Returns the dimensions that each layer leaves unchanged, (num_layers, dim), Boolean.

    Layers come in pairs that exchange roles. Pair k splits the dimensions by bit k of their index,
    so that any two dimensions are in different halves within log2(dim) pairs (Müller et al., Neural
    importance sampling, 2019). A single dimension is always transformed, by a spline without
    conditioner input.
    """
    num_bits = max(1, (dim - 1).bit_length())
    layers, index = np.arange(num_layers)[:, None], np.arange(dim)[None]
    masks = ((index >> (layers // 2 % num_bits)) & 1) == layers % 2
    return masks & (dim > 1)


class Conditioners(nnx.Module):
    """One perceptron per layer, from the unchanged dimensions to the spline parameters of all.

    The last layer starts at zero, and zero spline parameters are the identity.
    """

    def __init__(
        self,
        key: PRNGKeyArray,
        dim: int,
        num_layers: int,
        hidden: Sequence[int],
        num_params: int,
        dtype: DTypeLike,
    ) -> None:
        rngs = nnx.Rngs(key)
        for index in range(num_layers):
            setattr(self, f"layer_{index}", _Conditioner(rngs, (dim, *hidden), num_params, dtype))


class _Conditioner(nnx.Module):
    def __init__(
        self, rngs: nnx.Rngs, widths: tuple[int, ...], num_params: int, dtype: DTypeLike
    ) -> None:
        self.num_hidden, self.num_params = len(widths) - 1, num_params
        for index, (width_in, width_out) in enumerate(pairwise(widths)):
            setattr(
                self,
                f"hidden_{index}",
                nnx.Linear(width_in, width_out, param_dtype=dtype, rngs=rngs),
            )
        zeros = nnx.initializers.zeros_init()
        num_out = widths[0] * num_params
        self.output = nnx.Linear(
            widths[-1], num_out, param_dtype=dtype, kernel_init=zeros, rngs=rngs
        )

    def __call__(self, z: Array) -> Array:
        activation: Any = z
        for index in range(self.num_hidden):
            # Smooth, so that the density of the noise is as smooth as its splines.
            activation = jax.nn.silu(getattr(self, f"hidden_{index}")(activation))
        return jnp.reshape(self.output(activation), (*z.shape, self.num_params))
