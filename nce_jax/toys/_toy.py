"""What a toy is, and the checks of its functions."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._checks import as_floating, check_key, check_positive_int
from nce_jax._describe import describe
from nce_jax._dtypes import compute_dtype
from nce_jax._options import check_number
from nce_jax._types import Array, Float, PRNGKeyArray


class Toy(NamedTuple):
    """A distribution on the plane.

    Attributes:
      name: its name in `TOYS`, in results and in figures.
      sample: `sample(key, num_samples)` gives independent samples, (num_samples, 2), in the default
        floating dtype; `num_samples` is static under jit.
      log_density: `log_density(x)` of points x (n, 2) gives their normalized log densities (n,) in
        nats, in the dtype of x but at least float32, and NaN where x is; None where there is no
        exact one.
      centers: the modes, or the middles of the petals, (num_modes, 2); None where the toy has none.
    """

    name: str
    sample: Callable[[PRNGKeyArray, int], Float[Array, "samples 2"]]
    log_density: Callable[[Float[Array, "n 2"]], Float[Array, " n"]] | None = None
    centers: np.ndarray | None = None


def make_toy(
    name: str, draw: Any, log_density: Any = None, centers: np.ndarray | None = None
) -> Toy:
    """A toy whose functions check their arguments."""

    def sample(key: PRNGKeyArray, num_samples: int) -> Float[Array, "samples 2"]:
        check_key(key)
        check_positive_int("num_samples", num_samples)
        return draw(key, num_samples)

    def checked(x: Float[Array, "n 2"]) -> Float[Array, " n"]:
        points = _as_points(x)
        # A comparison with NaN is false, and the point would count as one outside of the support.
        is_nan = jnp.isnan(points).any(axis=-1)
        return jnp.where(is_nan, jnp.nan, log_density(points))

    return Toy(name, sample, None if log_density is None else checked, centers)


def check_sizes(**sizes: Any) -> None:
    """Raises a ValueError that names the first constant of a toy which is not positive."""
    for name, value in sizes.items():
        expected = "a finite positive number, from 1e-12 to 1e12"
        check_number(name, value, expected, lambda size: 1e-12 <= size <= 1e12)


def _as_points(x: jax.Array) -> jax.Array:
    """Checked points as an array of JAX, in the dtype of the computation."""
    if not isinstance(x, jax.Array | np.ndarray):
        raise TypeError(f"x: expected an array of shape (n, 2), got {describe(x)}")
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"x: expected a floating array, got dtype {x.dtype}")
    if x.ndim != 2 or x.shape[1] != 2:
        raise ValueError(f"x: expected shape (n, 2), got shape {x.shape}")
    points = as_floating("x", x)
    return points.astype(compute_dtype(points))
