"""Bias of the gradient: that of the magnified loss minus that of the likelihood."""

import jax
import jax.numpy as jnp
import numpy as np

import nce_jax
from experiments.gradient_alignment.families import Family, Gaussian
from experiments.gradient_alignment.quadrature import Rule

TREATMENTS = ("fixed", "solved", "joint")
"""F = log Z(theta) with its derivative; F solved; F = log Z(theta) + an offset, held as a
number."""


def loss(
    family: Family,
    rule: Rule,
    name: str,
    params: jax.Array,
    magnification: jax.Array,
    offset: jax.Array,
):
    """Loss whose gradient in the parameters is that of the treatment.

    Only "joint" has an offset.
    """
    options = {"magnification": magnification, **rule.weights}
    s = family.log_ratio(params, rule.x)
    if name == "solved":
        return nce_jax.profiled_nce_loss(s, s, **options)
    log_partition = family.log_partition(params)
    if name == "joint":
        log_partition = jax.lax.stop_gradient(log_partition) + offset
    return nce_jax.nce_loss(s, s, log_partition=log_partition, **options)


def squared_bias(
    family: Family, rule: Rule, data: Gaussian, name: str, points, magnifications, offsets
) -> np.ndarray:
    """|gradient - likelihood's gradient|^2, (offset, point, M), in one compilation."""

    def bias_at(rule, params, magnification, offset):
        gradient = jax.grad(lambda params: loss(family, rule, name, params, magnification, offset))(
            params
        )
        return jnp.sum((gradient - family.likelihood_gradient(params, data)) ** 2)

    for axes in ((None, None, 0, None), (None, 0, None, None), (None, None, None, 0)):
        bias_at = jax.vmap(bias_at, in_axes=axes)
    return np.asarray(
        jax.jit(bias_at)(
            rule, jnp.asarray(points), jnp.asarray(magnifications), jnp.asarray(offsets)
        )
    )


def quadrature_error(family: Family, rule: Rule, data: Gaussian, points) -> float:
    """Largest difference from closed forms: of the gradient at infinite M, and of log Z."""

    def difference(params):
        def limit(params):
            s = family.log_ratio(params, rule.x)
            return nce_jax.losses.donsker_varadhan_loss(s, s, **rule.weights)

        s = family.log_ratio(params, rule.x)
        log_z = nce_jax.criteria.nwj().profile(
            s, s, **rule.weights
        ).log_partition - family.log_partition(params)
        gradient = jax.grad(limit)(params) - family.likelihood_gradient(params, data)
        return jnp.maximum(jnp.max(jnp.abs(gradient)), jnp.abs(log_z))

    return float(jnp.max(jax.jit(jax.vmap(difference))(jnp.asarray(points))))
