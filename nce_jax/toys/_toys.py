"""Two-dimensional toys: samples by key, and the exact log density where there is one.

Shapes and constants are by default those of the FFJORD code (Grathwohl et al., FFJORD: free-form
continuous dynamics for scalable reversible generative models, 2019,
https://github.com/rtqichen/ffjord), which most published pictures share. Unlike there, every sample
draws its component independently, so that samples are independent and identically distributed.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._checks import check_positive_int
from nce_jax._describe import describe
from nce_jax.toys import _pinwheels
from nce_jax.toys._toy import Toy, check_sizes, make_toy


def gaussians(
    num_modes: int = 8, *, radius: float = 4 / math.sqrt(2), std: float = 0.5 / math.sqrt(2)
) -> Toy:
    """Equal Gaussians of standard deviation `std` on a circle, the first at (radius, 0).

    The defaults, radius 2.83 and standard deviation 0.354, are FFJORD's (4 and 0.5, divided by
    1.414). The other usual setting, of the improved Wasserstein GAN (Gulrajani et al., 2017), is
    radius sqrt(2) and standard deviation 0.02 / sqrt(2): the modes are then 54 standard deviations
    apart.

    Args:
      num_modes: number of Gaussians.
      radius: of the circle.
      std: standard deviation of each.

    Returns:
      A `Toy`.

    Raises:
      TypeError: a number of another type.
      ValueError: one that is not positive and finite.

    Examples:
      >>> import jax
      >>> from nce_jax import toys
      >>> toy = toys.gaussians(8)
      >>> x = toy.sample(jax.random.key(0), 20_000)
      >>> print(x.shape, f"entropy {-toy.log_density(x).mean():.1f}")
      (20000, 2) entropy 2.8

    References:
      Grathwohl et al., FFJORD: free-form continuous dynamics for scalable reversible generative
        models, 2019 (the code with it).
      Gulrajani et al., Improved training of Wasserstein GANs, 2017.
    """
    check_positive_int("num_modes", num_modes)
    check_sizes(radius=radius, std=std)
    angles = 2 * np.pi * np.arange(num_modes) / num_modes
    centers = radius * np.stack([np.cos(angles), np.sin(angles)], axis=-1)

    def sample(key, num_samples):
        key_mode, key_normal = jax.random.split(key)
        mode = jax.random.randint(key_mode, (num_samples,), 0, num_modes)
        return jnp.asarray(centers)[mode] + std * jax.random.normal(key_normal, (num_samples, 2))

    def log_density(x):
        square_distance = jnp.sum(
            jnp.square(x[:, None] - jnp.asarray(centers, x.dtype)[None]), axis=-1
        )
        log_constant = math.log(2 * math.pi * std**2 * num_modes)
        return jax.nn.logsumexp(-square_distance / (2 * std**2), axis=-1) - log_constant

    return make_toy(f"{num_modes}-gaussians", sample, log_density, centers)


def pinwheel(
    num_petals: int = 5,
    *,
    radial_std: float = 0.3,
    tangential_std: float = 0.1,
    rate: float = 0.25,
    scale: float = 2.0,
) -> Toy:
    """Gaussian petals bent by a rotation that grows with the radius.

    x = c R(-a) f with the feature f = (1 + s_r e_1, s_t e_2), e standard normal, and the angle a =
    2 pi k / K + w exp(f_1) of petal k of K, all equally likely; c is `scale`, s_r `radial_std`, s_t
    `tangential_std` and w `rate`. The density is exact, by a numerical inversion of the map; where
    the map folds, far out, it is infinite along the fold. Second derivatives of it are not exact.
    The defaults are FFJORD's; Johnson et al. (2016) have tangential_std = 0.05 and scale = 10.

    Args:
      num_petals: number of petals.
      radial_std: standard deviation along a petal, before the rotation.
      tangential_std: the one across it.
      rate: by how much the rotation grows.
      scale: factor of the whole.

    Returns:
      A `Toy`.

    Raises:
      TypeError: a number of another type.
      ValueError: one that is not positive and finite.

    Examples:
      >>> import jax
      >>> from nce_jax import toys
      >>> toy = toys.pinwheel()
      >>> print(toy.sample(jax.random.key(0), 1000).shape, toy.centers.shape)
      (1000, 2) (5, 2)

    References:
      Johnson et al., Composing graphical models with neural networks for structured representations
        and fast inference, 2016 (the code with it).
    """
    check_positive_int("num_petals", num_petals)
    check_sizes(radial_std=radial_std, tangential_std=tangential_std, rate=rate, scale=scale)
    shape = _pinwheels.Pinwheel(num_petals, radial_std, tangential_std, rate, scale)

    return make_toy(
        "pinwheel",
        lambda key, num_samples: _pinwheels.sample(shape, key, num_samples),
        lambda x: _pinwheels.log_density(shape, x),
        _pinwheels.centers(shape),
    )


def rings(radii: tuple[float, ...] = (0.75, 1.5, 2.25, 3.0), *, std: float = 0.08) -> Toy:
    """Equally likely circles about the origin, blurred by Gaussian noise.

    A blurred circle of radius R has the density exp(-(r - R)^2 / 2 std^2) I0e(r R / std^2) / (2 pi
    std^2), r = |x|, with the exponentially scaled Bessel function I0e.

    Args:
      radii: of the circles, one or more.
      std: standard deviation of the blur.

    Returns:
      A `Toy`.

    Raises:
      TypeError: a number of another type.
      ValueError: one that is not positive and finite.

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import toys
      >>> print(f"{toys.rings((1.0,)).log_density(jnp.array([[1.0, 0.0]]))[0]:.2f}")
      -0.23

    References:
      Grathwohl et al., FFJORD: free-form continuous dynamics for scalable reversible generative
        models, 2019 (the code with it).
    """
    if not isinstance(radii, tuple | list) or not radii:
        raise TypeError(f"radii: expected a tuple of numbers, got {describe(radii)}")
    check_sizes(**{f"radii[{index}]": radius for index, radius in enumerate(radii)}, std=std)

    def sample(key, num_samples):
        key_ring, key_angle, key_normal = jax.random.split(key, 3)
        radius = jnp.asarray(radii, float)[
            jax.random.randint(key_ring, (num_samples,), 0, len(radii))
        ]
        angle = jax.random.uniform(key_angle, (num_samples,), maxval=2 * jnp.pi)
        circle = radius[:, None] * jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1)
        return circle + std * jax.random.normal(key_normal, (num_samples, 2))

    def log_density(x):
        square = jnp.sum(jnp.square(x), axis=-1)
        # The square root has no derivative at the origin; the density's is zero there by symmetry.
        is_origin = square == 0
        distance = jnp.where(is_origin, 0, jnp.sqrt(jnp.where(is_origin, 1, square)))[:, None]
        radius = jnp.asarray(radii, x.dtype)[None]
        log_terms = jnp.log(jax.lax.bessel_i0e(distance * radius / std**2)) - jnp.square(
            distance - radius
        ) / (2 * std**2)
        return jax.nn.logsumexp(log_terms, axis=-1) - math.log(2 * math.pi * std**2 * len(radii))

    return make_toy("rings", sample, log_density)


def checkerboard(width: float = 2.0) -> Toy:
    """Uniform on half of the 16 squares of side `width` around the origin, in alternation.

    The density is 1 / (8 width^2) on these squares and zero elsewhere, where its logarithm is -inf.

    Args:
      width: side of a square.

    Returns:
      A `Toy`.

    Raises:
      TypeError: a number of another type.
      ValueError: one that is not positive and finite.

    Examples:
      >>> import jax
      >>> from nce_jax import toys
      >>> toy = toys.checkerboard()
      >>> x = toy.sample(jax.random.key(0), 1000)
      >>> print(f"{toy.log_density(x).min():.2f}")  # - log 32: half of a square of side 8
      -3.47

    References:
      Grathwohl et al., FFJORD: free-form continuous dynamics for scalable reversible generative
        models, 2019 (the code with it).
    """
    check_sizes(width=width)

    def sample(key, num_samples):
        key_column, key_row, key_offset = jax.random.split(key, 3)
        column = jax.random.randint(key_column, (num_samples,), -2, 2)
        row = 2 * jax.random.randint(key_row, (num_samples,), -1, 1) + column % 2
        offset = jax.random.uniform(key_offset, (num_samples, 2))
        return width * (jnp.stack([column, row], axis=-1).astype(offset.dtype) + offset)

    def log_density(x):
        cell = jnp.floor(x / width)
        is_inside = jnp.all((cell >= -2) & (cell < 2), axis=-1) & (jnp.sum(cell, axis=-1) % 2 == 0)
        return jnp.where(is_inside, jnp.asarray(-math.log(8 * width**2), x.dtype), -jnp.inf)

    return make_toy("checkerboard", sample, log_density)


def two_spirals(*, std: float = 0.1) -> Toy:
    """Two spiral arms of one and a half turns, half a turn apart; no exact density.

    x = +-(b - a cos a, c + a sin a) / 3 + `std` e, with a = 3 pi sqrt(u), u uniform on [0, 1], b
    and c uniform on [0, 1/2], and e standard normal.

    Args:
      std: standard deviation of the blur.

    Returns:
      A `Toy`.

    Raises:
      TypeError: a number of another type.
      ValueError: one that is not positive and finite.

    Examples:
      >>> import jax
      >>> from nce_jax import toys
      >>> toys.two_spirals().sample(jax.random.key(0), 10).shape
      (10, 2)

    References:
      Grathwohl et al., FFJORD: free-form continuous dynamics for scalable reversible generative
        models, 2019 (the code with it).
    """
    check_sizes(std=std)

    def sample(key, num_samples):
        keys = jax.random.split(key, 4)
        angle = 3 * jnp.pi * jnp.sqrt(jax.random.uniform(keys[0], (num_samples, 1)))
        arm = angle * jnp.concatenate([-jnp.cos(angle), jnp.sin(angle)], axis=-1)
        arm += 0.5 * jax.random.uniform(keys[1], (num_samples, 2))
        sign = jax.random.rademacher(keys[2], (num_samples, 1), arm.dtype)
        return sign * arm / 3 + std * jax.random.normal(keys[3], (num_samples, 2))

    return make_toy("two-spirals", sample)


def swiss_roll(*, std: float = 0.2) -> Toy:
    """A spiral from three quarters of a turn to two and a quarter; no exact density.

    x = a (cos a, sin a) / 5 + `std` e, with a uniform on [3 pi / 2, 9 pi / 2] and e standard
    normal: scikit-learn's `make_swiss_roll` with noise 1, seen from above and divided by five.

    Args:
      std: standard deviation of the blur.

    Returns:
      A `Toy`.

    Raises:
      TypeError: a number of another type.
      ValueError: one that is not positive and finite.

    Examples:
      >>> import jax
      >>> from nce_jax import toys
      >>> toys.swiss_roll().sample(jax.random.key(0), 10).shape
      (10, 2)

    References:
      Grathwohl et al., FFJORD: free-form continuous dynamics for scalable reversible generative
        models, 2019 (the code with it).
    """
    check_sizes(std=std)

    def sample(key, num_samples):
        key_angle, key_normal = jax.random.split(key)
        angle = jax.random.uniform(
            key_angle, (num_samples, 1), minval=1.5 * jnp.pi, maxval=4.5 * jnp.pi
        )
        roll = angle * jnp.concatenate([jnp.cos(angle), jnp.sin(angle)], axis=-1)
        return roll / 5 + std * jax.random.normal(key_normal, (num_samples, 2))

    return make_toy("swiss-roll", sample)


TOYS: dict[str, Toy] = {
    toy.name: toy
    for toy in (gaussians(), pinwheel(), rings(), checkerboard(), two_spirals(), swiss_roll())
}
"""Every toy with its default constants, by name."""
