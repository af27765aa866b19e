"""Two-dimensional toys: samples by key, and the exact log density where there is one.

Shapes and constants are by default those of the FFJORD code (Grathwohl et al., FFJORD: free-form
continuous dynamics for scalable reversible generative models, 2019,
https://github.com/rtqichen/ffjord), which most published pictures share. Unlike there, every sample
draws its component independently, so that samples are independent and identically distributed.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common import pinwheels


class Toy(NamedTuple):
    """A distribution on the plane.

    Attributes:
        name: its name in `TOYS`, in results and in figures.
        sample: `sample(key, num_samples)` gives independent samples, (num_samples, 2), in the
            default floating dtype; `num_samples` is static under jit.
        log_density: `log_density(x)` of points x (n, 2) gives their normalized log densities (n,)
            in nats; None where there is no exact one.
        centers: the modes, or the middles of the petals, (num_modes, 2); None where the toy has
          none.
    """

    name: str
    sample: Callable[[jax.Array, int], jax.Array]
    log_density: Callable[[jax.Array], jax.Array] | None = None
    centers: np.ndarray | None = None


def gaussians(
    num_modes: int = 8, *, radius: float = 4 / math.sqrt(2), std: float = 0.5 / math.sqrt(2)
) -> Toy:
    """Equal Gaussians of standard deviation `std` on a circle, the first at (radius, 0).

    The defaults, radius 2.83 and standard deviation 0.354, are FFJORD's (4 and 0.5, divided by
    1.414). The other usual setting, of the improved Wasserstein GAN (Gulrajani et al., 2017), is
    radius sqrt(2) and standard deviation 0.02 / sqrt(2): the modes are then 54 standard deviations
    apart.
    """
    angles = 2 * np.pi * np.arange(num_modes) / num_modes
    centers = radius * np.stack([np.cos(angles), np.sin(angles)], axis=-1)

    def sample(key, num_samples):
        key_mode, key_normal = jax.random.split(key)
        mode = jax.random.randint(key_mode, (num_samples,), 0, num_modes)
        return jnp.asarray(centers)[mode] + std * jax.random.normal(key_normal, (num_samples, 2))

    def log_density(x):
        _check_points(x)
        square_distance = jnp.sum(
            jnp.square(x[:, None] - jnp.asarray(centers, x.dtype)[None]), axis=-1
        )
        log_constant = math.log(2 * math.pi * std**2 * num_modes)
        return jax.nn.logsumexp(-square_distance / (2 * std**2), axis=-1) - log_constant

    return Toy(f"{num_modes}-gaussians", sample, log_density, centers)


def pinwheel(
    petals: int = 5,
    *,
    radial_std: float = 0.3,
    tangential_std: float = 0.1,
    rate: float = 0.25,
    scale: float = 2.0,
) -> Toy:
    """Gaussian petals bent by a rotation that grows with the radius; see `pinwheels.Pinwheel`.

    The defaults are FFJORD's; Johnson et al. (2016) have tangential_std = 0.05 and scale = 10.
    """
    shape = pinwheels.Pinwheel(petals, radial_std, tangential_std, rate, scale)

    def log_density(x):
        _check_points(x)
        return pinwheels.log_density(shape, x)

    return Toy(
        "pinwheel",
        lambda key, num_samples: pinwheels.sample(shape, key, num_samples),
        log_density,
        pinwheels.centers(shape),
    )


def rings(radii: tuple[float, ...] = (0.75, 1.5, 2.25, 3.0), *, std: float = 0.08) -> Toy:
    """Equally likely circles about the origin, blurred by Gaussian noise.

    A blurred circle of radius R has the density exp(-(r - R)^2 / 2 std^2) I0e(r R / std^2) / (2 pi
    std^2), r = |x|, with the exponentially scaled Bessel function I0e.
    """

    def sample(key, num_samples):
        key_ring, key_angle, key_normal = jax.random.split(key, 3)
        radius = jnp.asarray(radii, float)[
            jax.random.randint(key_ring, (num_samples,), 0, len(radii))
        ]
        angle = jax.random.uniform(key_angle, (num_samples,), maxval=2 * jnp.pi)
        circle = radius[:, None] * jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1)
        return circle + std * jax.random.normal(key_normal, (num_samples, 2))

    def log_density(x):
        _check_points(x)
        square = jnp.sum(jnp.square(x), axis=-1)
        # The square root has no derivative at the origin; the density's is zero there by symmetry.
        is_origin = square == 0
        distance = jnp.where(is_origin, 0, jnp.sqrt(jnp.where(is_origin, 1, square)))[:, None]
        radius = jnp.asarray(radii, x.dtype)[None]
        log_terms = jnp.log(jax.lax.bessel_i0e(distance * radius / std**2)) - jnp.square(
            distance - radius
        ) / (2 * std**2)
        return jax.nn.logsumexp(log_terms, axis=-1) - math.log(2 * math.pi * std**2 * len(radii))

    return Toy("rings", sample, log_density)


def checkerboard(width: float = 2.0) -> Toy:
    """Uniform on half of the 16 squares of side `width` around the origin, in alternation.

    The density is 1 / (8 width^2) on these squares and zero elsewhere, where its logarithm is -inf.
    """

    def sample(key, num_samples):
        key_column, key_row, key_offset = jax.random.split(key, 3)
        column = jax.random.randint(key_column, (num_samples,), -2, 2)
        row = 2 * jax.random.randint(key_row, (num_samples,), -1, 1) + column % 2
        return width * (
            jnp.stack([column, row], axis=-1) + jax.random.uniform(key_offset, (num_samples, 2))
        )

    def log_density(x):
        _check_points(x)
        cell = jnp.floor(x / width)
        is_inside = jnp.all((cell >= -2) & (cell < 2), axis=-1) & (jnp.sum(cell, axis=-1) % 2 == 0)
        return jnp.where(is_inside, jnp.asarray(-math.log(8 * width**2), x.dtype), -jnp.inf)

    return Toy("checkerboard", sample, log_density)


def two_spirals(*, std: float = 0.1) -> Toy:
    """Two spiral arms of one and a half turns, half a turn apart; no exact density.

    x = +-(b - a cos a, c + a sin a) / 3 + `std` e, with a = 3 pi sqrt(u), u uniform on [0, 1], b
    and c uniform on [0, 1/2], and e standard normal.
    """

    def sample(key, num_samples):
        keys = jax.random.split(key, 4)
        angle = 3 * jnp.pi * jnp.sqrt(jax.random.uniform(keys[0], (num_samples, 1)))
        arm = angle * jnp.concatenate([-jnp.cos(angle), jnp.sin(angle)], axis=-1)
        arm += 0.5 * jax.random.uniform(keys[1], (num_samples, 2))
        sign = jax.random.rademacher(keys[2], (num_samples, 1), arm.dtype)
        return sign * arm / 3 + std * jax.random.normal(keys[3], (num_samples, 2))

    return Toy("two-spirals", sample)


def swiss_roll(*, std: float = 0.2) -> Toy:
    """A spiral from three quarters of a turn to two and a quarter; no exact density.

    x = a (cos a, sin a) / 5 + `std` e, with a uniform on [3 pi / 2, 9 pi / 2] and e standard
    normal: scikit-learn's `make_swiss_roll` with noise 1, seen from above and divided by five.
    """

    def sample(key, num_samples):
        key_angle, key_normal = jax.random.split(key)
        angle = jax.random.uniform(
            key_angle, (num_samples, 1), minval=1.5 * jnp.pi, maxval=4.5 * jnp.pi
        )
        roll = angle * jnp.concatenate([jnp.cos(angle), jnp.sin(angle)], axis=-1)
        return roll / 5 + std * jax.random.normal(key_normal, (num_samples, 2))

    return Toy("swiss-roll", sample)


TOYS: dict[str, Toy] = {
    toy.name: toy
    for toy in (gaussians(), pinwheel(), rings(), checkerboard(), two_spirals(), swiss_roll())
}
"""Every toy with its default constants, by name."""


def _check_points(x: jax.Array) -> None:
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"x: expected a floating array, got dtype {x.dtype}")
    if x.ndim != 2 or x.shape[1] != 2:
        raise ValueError(f"x: expected shape (n, 2), got shape {x.shape}")
