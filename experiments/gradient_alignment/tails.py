"""Bias where ratios are unbounded: isotropic Gaussians in the plane with closed forms.

The variances are v (model), w (data) and 1 (noise). With e = |x|^2 / 2 all are exponential, of
means v, w and 1, and r = exp(c e) / v, c = 1 - 1 / v. The gradient differs from the likelihood's by
the weight r / (kappa + r), whose mean has a closed form up to O(kappa^-2): with b = 1 / (w c),

    E_w[r / (kappa + r)] = b (v kappa)^-b pi / sin(pi b) + E_w[r] / kappa,

E_w[r] = (1 / v) (1 / w) / (1 / w - c), by continuation where it is infinite (b < 1). In this case
the first term dominates: it is of the size of P(r > kappa). With e - v in the mean it gains a
factor log(v kappa) / c.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import nce_jax
from experiments.gradient_alignment.quadrature import half_line
from nce_jax import models

TREATMENTS = ("fixed", "solved", "joint")


class Tail(NamedTuple):
    model: float
    data: float

    @property
    def growth(self) -> float:
        """c: log r grows as c e."""
        return 1 - 1 / self.model

    @property
    def exponent(self) -> float:
        """min(1, b) over model and data: the bias falls as kappa^-exponent, up to a logarithm.

        Bounded ratios give 1.
        """
        if self.growth <= 0:
            return 1.0
        return min(1.0, 1 / (self.growth * max(self.model, self.data)))


def predicted_bias(tail: Tail, magnifications: np.ndarray) -> np.ndarray:
    """Bias of the gradient in theta = -1 / v with F = log Z(theta); NaN for v <= 1.

    It is E_w - E_v of r / (kappa + r) (e - v).
    """
    if tail.growth <= 0:
        return np.full(np.shape(magnifications), np.nan)
    return _clipped_mean(tail, tail.data, magnifications) - _clipped_mean(
        tail, tail.model, magnifications
    )


def _clipped_mean(tail: Tail, variance: float, magnifications: np.ndarray) -> np.ndarray:
    """E[r / (kappa + r) (e - v)] for data of this variance, up to O(kappa^-2)."""
    c, v = tail.growth, tail.model
    b = 1 / (variance * c)
    angle, scale = np.pi * b, v * magnifications
    near = (
        b
        * scale**-b
        * (
            (np.log(scale) / c - v) * np.pi / np.sin(angle)
            + np.pi**2 * np.cos(angle) / np.sin(angle) ** 2 / c
        )
    )
    gap = 1 / variance - c
    return near + (1 / gap - v) / (v * variance * gap) / magnifications


def measured_bias(pairs: np.ndarray, name: str, magnifications: np.ndarray) -> np.ndarray:
    """The same by quadrature and the library's losses: (tail, M), `pairs` being (tail, 2)."""

    def loss(theta, data_variance, magnification):
        rule = half_line(data_variance)
        s = (
            models.exponential_family(models.linear_statistics, theta)[1](theta, rule.x[:, None])
            + rule.x
        )
        options = {"magnification": magnification, **rule.weights}
        if name == "solved":
            return nce_jax.profiled_nce_loss(s, s, **options)
        log_z = -jnp.log(-theta[0])
        log_z = log_z if name == "fixed" else jax.lax.stop_gradient(log_z)
        return nce_jax.nce_loss(s, s, log_partition=log_z, **options)

    over_both = jax.vmap(jax.vmap(jax.grad(loss), in_axes=(None, None, 0)), in_axes=(0, 0, None))
    model, data = jnp.asarray(pairs).T
    gradient = jax.jit(over_both)(-1 / model[:, None], data, jnp.asarray(magnifications))
    # The likelihood's gradient is v - w.
    return np.asarray(gradient)[..., 0] - (pairs[:, :1] - pairs[:, 1:])
