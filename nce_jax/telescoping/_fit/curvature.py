r"""Gradient and curvature of every stage's loss, which Newton's method and the errors share.

A stage has log ratios :math:`s_\theta`, a normalizer F and the loss

.. math::
    L(\theta, F) = \operatorname{mean}_i \operatorname{softplus}(\log\kappa - u(x_i))
      + \kappa \operatorname{mean}_j \operatorname{softplus}(u(y_j) - \log\kappa),
    \qquad u = s_\theta - F.

With :math:`P = \sigma(\log\kappa - u)` of the data, :math:`Q = \sigma(u - \log\kappa)` of the noise
and :math:`J = \partial s / \partial\theta`,

.. math::
    \frac{\partial L}{\partial F} = \operatorname{mean} P - \kappa \operatorname{mean} Q, \qquad
    \frac{\partial L}{\partial\theta}
      = \kappa \operatorname{mean} Q J - \operatorname{mean} P J.

The second derivatives weight every sample by the slope of its sigmoid, :math:`w = P (1 - P)` of the
data and :math:`w = \kappa Q (1 - Q)` of the noise. With :math:`E_w` for the sum of the two weighted
means,

.. math::
    H = \frac{\partial^2 L}{\partial F^2} = E_w[1], \qquad
    \bar J = \frac{E_w[J]}{H} = \frac{dF_*}{d\theta}, \qquad
    C = E_w[(J - \bar J)(J - \bar J)^\top].

C is the Gauss-Newton matrix of the profiled loss :math:`\min_F L(\theta, F)`. It is positive
semi-definite, and for exponential families it is the Hessian itself.

Arrays have the stages on their first axis: K stages, n pairs, P parameters of a stage.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from nce_jax._types import Params
from nce_jax.telescoping._fit.stage_model import StageModel

StageArrays = tuple[jax.Array, jax.Array]
"""Log ratios, (K, n), and their derivatives in theta, (K, n, P), of one of the two sides."""


class Curvature(NamedTuple):
    """Second derivatives of every stage's loss, and the spread of the model's derivatives.

    Attributes:
      slope: H, (K,).
      first: E_w[J], (K, P).
      second: E_w[J J'], (K, P, P).
      covariance: covariance of J over data and noise together, without weights, (K, P, P).
    """

    slope: jax.Array
    first: jax.Array
    second: jax.Array
    covariance: jax.Array

    @property
    def mean_jacobian(self) -> jax.Array:
        """dF*/dtheta, (K, P)."""
        return self.first / jnp.maximum(self.slope, jnp.finfo(self.slope.dtype).tiny)[:, None]

    def solve(self, vectors: jax.Array) -> jax.Array:
        """Solves C z = v for several vectors v at once, (K, P, number of vectors)."""
        mean = self.mean_jacobian
        matrix = self.second - self.slope[:, None, None] * mean[:, :, None] * mean[:, None, :]
        # Scaled to a unit diagonal, so that the units of the parameters do not matter. A stage
        # without any overlap has neither curvature nor gradient.
        scale = jnp.sqrt(jnp.diagonal(matrix, axis1=1, axis2=2))
        scale = jnp.where(scale > 0, scale, 1)
        # A ridge of a few rounding errors: along a direction without curvature, Newton's step would
        # be rounding over rounding.
        ridge = 8 * jnp.finfo(matrix.dtype).eps * jnp.eye(matrix.shape[-1], dtype=matrix.dtype)
        scaled = matrix / (scale[:, :, None] * scale[:, None, :]) + ridge[None]
        return jnp.linalg.solve(scaled, vectors / scale[..., None]) / scale[..., None]

    def newton_step(self, gradient: jax.Array) -> jax.Array:
        """-C^-1 g of one gradient per stage, (K, P)."""
        return -self.solve(gradient[..., None])[..., 0]

    def log_ratio_change(self, step: jax.Array) -> jax.Array:
        """Standard deviation, (K,), of the changes that a step of theta makes to the log ratios."""
        variance = jnp.einsum("kp,kpq,kq->k", step, self.covariance, step, precision="highest")
        return jnp.sqrt(jnp.maximum(variance, 0))


def num_params(template: Params) -> int:
    """P, the number of parameters of one stage."""
    return sum(jnp.size(leaf) for leaf in jax.tree.leaves(template))


def unravelled(template: Params, theta: jax.Array) -> Params:
    """The parameters of all stages as the model takes them, from (K, P)."""
    return jax.vmap(ravel_pytree(template)[1])(theta)


def stage_arrays(
    model: StageModel, template: Params, theta: jax.Array, z: jax.Array
) -> StageArrays:
    """Log ratios and their derivatives in theta, of standardized samples (K, n, ...)."""
    unravel = ravel_pytree(template)[1]

    def log_ratio(theta: jax.Array, z: jax.Array) -> jax.Array:
        return model.log_ratio(unravel(theta), z)

    return jax.vmap(log_ratio)(theta, z), jax.vmap(jax.jacfwd(log_ratio))(theta, z)


def sigmoid_arguments(
    data: jax.Array, noise: jax.Array, roots: jax.Array, log_kappa: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """log kappa - u of the data and u - log kappa of the noise: P and Q are their sigmoids."""
    shift = (roots + log_kappa)[:, None]
    return shift - data, noise - shift


def curvature_of(
    arrays: tuple[StageArrays, StageArrays], roots: jax.Array, log_kappa: jax.Array
) -> Curvature:
    """The curvature of all stages, from the arrays of data and of noise."""
    (data, jacobian_data), (noise, jacobian_noise) = arrays
    num_pairs = data.shape[-1]
    slope_data, slope_noise = (
        jax.nn.sigmoid(argument) * jax.nn.sigmoid(-argument) / num_pairs
        for argument in sigmoid_arguments(data, noise, roots, log_kappa)
    )
    weights = jnp.concatenate([slope_data, jnp.exp(log_kappa)[:, None] * slope_noise], axis=-1)
    jacobian = jnp.concatenate([jacobian_data, jacobian_noise], axis=1)
    centered = jacobian - jnp.mean(jacobian, axis=1, keepdims=True)
    squares = jnp.einsum("knp,knq->kpq", centered, centered, precision="highest")
    return Curvature(
        slope=jnp.sum(weights, axis=-1),
        first=jnp.einsum("kn,knp->kp", weights, jacobian, precision="highest"),
        second=jnp.einsum("kn,knp,knq->kpq", weights, jacobian, jacobian, precision="highest"),
        covariance=squares / (2 * num_pairs),
    )


def loss_gradients(
    arrays: tuple[StageArrays, StageArrays], roots: jax.Array, log_kappa: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """dL/dtheta, (K, P), and dL/dF, (K,), of the loss in both."""
    (data, jacobian_data), (noise, jacobian_noise) = arrays
    p, q = (jax.nn.sigmoid(a) for a in sigmoid_arguments(data, noise, roots, log_kappa))
    q = jnp.exp(log_kappa)[:, None] * q
    mean_data, mean_noise = (
        jnp.einsum("kn,knp->kp", weights, jacobian, precision="highest")
        for weights, jacobian in ((p, jacobian_data), (q, jacobian_noise))
    )
    num_pairs = data.shape[-1]
    return (mean_noise - mean_data) / num_pairs, jnp.sum(p - q, axis=-1) / num_pairs
