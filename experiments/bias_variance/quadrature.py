"""Bias and variance without sampling: integrals over the line through noise and data.

theta lies on this line. For theta = c mu 1 the log ratio depends on t = <x, 1> / sqrt(dim) alone,
and across the line data and noise are the same standard normal. With w = kappa / (kappa + r) and r
the ratio, the ascent direction is E_data[w (x - c)] - E_noise[r w (x - c)]. Treatments of F differ
in two numbers only: in F, and in the center c = dF/dtheta (theta if the model is normalized, 0 if F
is a parameter, a weighted mean if F is solved for). The variance is exact except with F solved,
where it is the leading order in 1 / n.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import nce_jax

TREATMENTS = ("fixed", "joint", "solved")
"""Treatments of F: F = log Z(theta), differentiated with the model; F a parameter, held at log
Z(theta) here; F solved for on the sample."""


class Line(NamedTuple):
    """Quadrature on t: points, and density times cell width of data and noise."""

    t: jax.Array
    weights_data: jax.Array
    weights_noise: jax.Array

    @property
    def weights(self) -> dict[str, jax.Array]:
        return {"weights_data": self.weights_data, "weights_noise": self.weights_noise}


class Exact(NamedTuple):
    """Exact results per treatment (leading axis, as in TREATMENTS)."""

    squared_bias: jax.Array
    """Squared bias of the gradient, at the population."""
    variance: jax.Array
    """n times the variance of the gradient."""
    estimator: jax.Array
    """n times the mean squared error of the M-estimator; valid only at the truth."""
    log_partition: jax.Array
    """F minus log Z(theta)."""


def line(distance: float, reach: float, spacing: float = 0.02) -> Line:
    """Quadrature points for data at `distance` from the noise, to 12 beyond twice `reach`.

    The integrand of E_noise[r^2] is concentrated around 2 theta.
    """
    t = spacing * jnp.arange(round(-12 / spacing), round((2 * reach + 12) / spacing) + 1)
    scale = spacing / np.sqrt(2 * np.pi)
    return Line(t, scale * jnp.exp(-((t - distance) ** 2) / 2), scale * jnp.exp(-(t**2) / 2))


def exact(
    dim: int, distance: float, rule: Line, point: jax.Array, magnification: jax.Array
) -> Exact:
    """Results of all treatments at theta = point * truth; `distance` is between the means."""
    theta = point * distance
    s, normal = theta * rule.t, theta**2 / 2
    root = nce_jax.solve_log_partition(
        s, s, magnification=magnification, **rule.weights
    ).log_partition
    results = []
    for name in TREATMENTS:
        log_partition = root if name == "solved" else normal
        w, rw, curve = _weights(s, rule, log_partition, magnification)
        solved_center = jnp.sum(curve * rule.t) / jnp.sum(curve)
        center = {"fixed": theta, "joint": 0.0, "solved": solved_center}[name]
        # A joint gradient converges to the F that the other treatment solves for.
        final = solved_center if name == "joint" else center
        gradient, along, across = _moments(rule, w, rw, center)
        bias = gradient - (distance - theta)
        _, along_final, across_final = _moments(rule, w, rw, final)
        curved = jnp.sum(curve * (rule.t - final) ** 2)
        error = along_final / curved**2 + (dim - 1) * across_final / jnp.sum(curve) ** 2
        results.append(Exact(bias**2, along + (dim - 1) * across, error, log_partition - normal))
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *results)


def _weights(s: jax.Array, rule: Line, log_partition: jax.Array, magnification: jax.Array):
    """Weights w of data and r w of noise, and the curvature of the loss in s with its measure.

    They are derivatives of the library's own loss.
    """
    options = {"log_partition": log_partition, "magnification": magnification}

    def slopes(s):
        terms = jax.grad(
            lambda data, noise: sum(
                map(jnp.sum, nce_jax.losses.nce_loss_terms(data, noise, **options))
            ),
            argnums=(0, 1),
        )
        return terms(s, s)

    (data, noise), (curve_data, curve_noise) = jax.jvp(slopes, (s,), (jnp.ones_like(s),))
    return -data, noise, rule.weights_data * curve_data + rule.weights_noise * curve_noise


def _moments(
    rule: Line, w: jax.Array, rw: jax.Array, center
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The ascent direction along the line, and n times its variance along and across it."""
    mean, variance, across = [], 0.0, 0.0
    for weights, factor in ((rule.weights_data, w), (rule.weights_noise, rw)):
        mean.append(jnp.sum(weights * factor * (rule.t - center)))
        variance += jnp.sum(weights * (factor * (rule.t - center)) ** 2) - mean[-1] ** 2
        across += jnp.sum(weights * factor**2)
    return mean[0] - mean[1], variance, across


def study(
    dim: int, means: tuple[float, ...], points: tuple[float, ...], magnifications: jax.Array
) -> dict[str, np.ndarray]:
    """Fields of `Exact` by name, (treatment, mean, point, M), and the `overlap` of data and model.

    The overlap is at M = 1, (mean, point).
    """
    reach = float(np.sqrt(dim) * max(means))

    @jax.jit
    def evaluate(rule, distance, points, magnifications):
        def overlap(point):
            s = point * distance * rule.t
            return nce_jax.overlap(s, s, **rule.weights)

        def grid(point):
            return jax.vmap(lambda m: exact(dim, distance, rule, point, m))(magnifications)

        return jax.vmap(grid)(points), jax.vmap(overlap)(points)

    results, overlaps = [], []
    for mean in means:
        distance = float(np.sqrt(dim) * mean)
        fields, overlap = evaluate(
            line(distance, reach), distance, jnp.asarray(points), magnifications
        )
        results.append(jax.tree.map(np.asarray, fields))
        overlaps.append(np.asarray(overlap))
    stacked = jax.tree.map(lambda *leaves: np.moveaxis(np.stack(leaves), -1, 0), *results)
    return stacked._asdict() | {"overlap": np.stack(overlaps)}
