"""JAX's default rules of promotion, for calls of other packages."""

import contextlib
from collections.abc import Iterator

import jax


@contextlib.contextmanager
def standard_promotion() -> Iterator[None]:
    """Computes under JAX's default rules, whatever the user has set.

    The library itself works under `jax_numpy_dtype_promotion="strict"` and
    `jax_numpy_rank_promotion="raise"`. Optimizers of optax and distributions of distrax do not, and
    a user who has set these flags could not train otherwise.
    """
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield
