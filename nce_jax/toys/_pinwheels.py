"""The pinwheel and its exact density, a change of variables that is inverted numerically."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

MAX_WINDING_RADIUS = 10.0
"""Radius beyond which the density no longer increases the winding: float32 resolves phases of
exp(10) only just."""


class Pinwheel(NamedTuple):
    """Parameters of the pinwheel: a feature f, turned clockwise and scaled.

    x = scale R(-a) f with f = (1 + radial_std e_1, tangential_std e_2) and e standard normal.

    The angle is a = 2 pi k / petals + rate exp(f_1) for petal k, and all petals are equally likely.

    References:
        Johnson, Duvenaud, Wiltschko, Datta and Adams, Composing graphical models with neural
          networks for structured representations and fast inference, 2016 (the code with it).
    """

    petals: int = 5
    radial_std: float = 0.3
    tangential_std: float = 0.1
    rate: float = 0.25
    scale: float = 2.0


def centers(shape: Pinwheel) -> np.ndarray:
    """Image of the mean feature in every petal, (petals, 2)."""
    angles = 2 * np.pi * np.arange(shape.petals) / shape.petals + shape.rate * np.e
    return shape.scale * np.stack([np.cos(angles), -np.sin(angles)], axis=-1)


def sample(shape: Pinwheel, key: jax.Array, num_samples: int) -> jax.Array:
    """Draws independent samples, (num_samples, 2)."""
    key_petal, key_feature = jax.random.split(key)
    petal = jax.random.randint(key_petal, (num_samples,), 0, shape.petals)
    normal = jax.random.normal(key_feature, (2, num_samples))
    radial, tangential = 1 + shape.radial_std * normal[0], shape.tangential_std * normal[1]
    angle = 2 * jnp.pi * petal.astype(radial.dtype) / shape.petals + shape.rate * jnp.exp(radial)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return shape.scale * jnp.stack(
        [cos * radial + sin * tangential, cos * tangential - sin * radial], axis=-1
    )


def log_density(shape: Pinwheel, x: jax.Array) -> jax.Array:
    """Normalized log density, in nats, of points (n, 2).

    The rotation preserves the radius r = |f| = |x| / scale. A feature with polar angle t is mapped,
    in some petal, to the point with polar angle theta exactly if the phase
    g(t) = t - rate exp(r cos t) is theta plus a multiple of 2 pi / petals. So

        p(x) = 1 / (petals scale^2) sum_t N(r cos t; 1, radial_std) N(r sin t; 0, tangential_std) /
        |g'(t)|

    over all such t in (-pi, pi]. Far out (|x| > 3.4 by default) the phase has two turning points:
    the map folds, a petal has three or more features for a point, and the density is infinite
    along the fold. The sum includes all features up to r = 1 + 6 radial_std, or 10 if that is
    less, and beyond that only those near the petal's axis.

    First derivatives with respect to x are exact; second derivatives are not. Where r > 10, many
    standard deviations out, the phase of r = 10 is used: the value is finite, but only its Gaussian
    factors are exact.
    """
    radius, theta = _polar(x / shape.scale)
    winding = jnp.minimum(radius, MAX_WINDING_RADIUS)
    phases = _phases(shape, winding, theta)
    angle, is_root = _roots(shape, winding, phases)
    # A Newton step of value zero carries the derivative of the root, which bisection does not have.
    newton = (_phase(shape, winding, angle) - phases) / jnp.where(
        is_root, _slope(shape, winding, angle), 1
    )
    angle = angle - (newton - jax.lax.stop_gradient(newton))
    radial = (radius * jnp.cos(angle) - 1) / shape.radial_std
    tangential = radius * jnp.sin(angle) / shape.tangential_std
    slope = jnp.where(is_root, _slope(shape, winding, angle), 1)
    log_terms = -0.5 * (jnp.square(radial) + jnp.square(tangential)) - jnp.log(jnp.abs(slope))
    log_sum = jax.nn.logsumexp(jnp.where(is_root, log_terms, -jnp.inf), axis=(0, 2))
    log_constant = math.log(
        2 * math.pi * shape.radial_std * shape.tangential_std * shape.petals * shape.scale**2
    )
    return log_sum - log_constant


def _polar(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Radius and angle, (1, n, 1) each; derivatives are zero at the origin, by symmetry."""
    x = x[None]
    is_origin = jnp.sum(jnp.square(x), axis=-1, keepdims=True) == 0
    x = jnp.where(is_origin, 1, x)
    radius = jnp.sqrt(jnp.sum(jnp.square(x), axis=-1, keepdims=True))
    return jnp.where(is_origin, 0, radius), jnp.arctan2(x[..., 1:], x[..., :1])


def _phase(shape: Pinwheel, radius: jax.Array, angle: jax.Array) -> jax.Array:
    """g(t) = t - rate exp(r cos t)."""
    return angle - shape.rate * jnp.exp(radius * jnp.cos(angle))


def _slope(shape: Pinwheel, radius: jax.Array, angle: jax.Array) -> jax.Array:
    """g'(t) = 1 + rate r sin(t) exp(r cos t), the determinant of the change of variables."""
    return 1 + shape.rate * radius * jnp.sin(angle) * jnp.exp(radius * jnp.cos(angle))


def _phases(shape: Pinwheel, radius: jax.Array, theta: jax.Array) -> jax.Array:
    """The phases theta + 2 pi j / petals nearest to g(0), the likeliest ones, (1, n, phases)."""
    spacing = 2 * math.pi / shape.petals
    # The circle's phases differ from g(0) by at most pi + rate exp(r), with r the winding's radius.
    largest = min(1 + 6 * shape.radial_std, MAX_WINDING_RADIUS)
    num_each_side = math.ceil((math.pi + shape.rate * math.exp(largest)) / spacing)
    nearest = jnp.round((_phase(shape, radius, jnp.zeros_like(radius)) - theta) / spacing)
    offsets = jnp.arange(-num_each_side, num_each_side + 1, dtype=radius.dtype)[None, None]
    return theta + spacing * (jax.lax.stop_gradient(nearest) + offsets)


def _roots(shape: Pinwheel, radius: jax.Array, phases: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Angle t of every phase on every branch, (branch, n, phases), and whether it exists.

    No derivatives are propagated.
    """
    radius, phases = jax.lax.stop_gradient((radius, phases))
    ends = _branch_ends(shape, radius)
    ends_phase = _phase(shape, radius, ends)
    # Half-open intervals with identical shared ends: no feature is missed or counted twice where
    # branches meet.
    is_root = jnp.minimum(ends_phase[:-1], ends_phase[1:]) < phases
    is_root &= phases <= jnp.maximum(ends_phase[:-1], ends_phase[1:])
    sign = jnp.asarray([1, -1, 1], radius.dtype)[:, None, None]
    low, high, _ = jnp.broadcast_arrays(ends[:-1], ends[1:], phases)
    return _bisect(lambda t: sign * (_phase(shape, radius, t) - phases) < 0, low, high), is_root


def _branch_ends(shape: Pinwheel, radius: jax.Array) -> jax.Array:
    """Ends of the branches of g: -pi, its two turning points, and pi, (4, n, 1).

    g rises, falls and rises again. Where it has no turning points, its flattest point stands for
    both.
    """
    # sin(t) exp(r cos t) is least where r cos^2 t + cos t - r = 0, written without cancellation at
    # small r.
    flattest = -jnp.arccos(2 * radius / (1 + jnp.sqrt(1 + 4 * jnp.square(radius))))
    end, sign = jnp.full_like(radius, math.pi), jnp.asarray([1, -1], radius.dtype)[:, None, None]
    low, high = jnp.concatenate([-end, flattest]), jnp.concatenate([flattest, jnp.zeros_like(end)])
    turns = _bisect(lambda t: sign * _slope(shape, radius, t) > 0, low, high)
    turns = jnp.where(_slope(shape, radius, flattest) < 0, turns, flattest)
    return jnp.concatenate([-end, turns, end])


def _bisect(
    is_below: Callable[[jax.Array], jax.Array], low: jax.Array, high: jax.Array
) -> jax.Array:
    """Where `is_below` turns from true to false, to the last bit of a number of order one."""

    def halve(_, bounds):
        low, high = bounds
        middle = (low + high) / 2
        below = is_below(middle)
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    low, high = jax.lax.fori_loop(0, jnp.finfo(low.dtype).nmant + 4, halve, (low, high))
    return (low + high) / 2
