"""Bounds by quadrature at true and wrong ratios, and estimates from samples with their errors."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

import nce_jax
from experiments.divergence_family.pairs import Quadrature

Arrays = dict[str, np.ndarray]
bound = jax.jit(nce_jax.divergence)

TREATMENTS = ("held", "solved")
"""F held at its true value, zero, or solved for on the same samples at the same kappa."""


def bounds(
    quadrature: Quadrature, kappas: jax.Array, scales: Sequence[float], offsets: Sequence[float]
) -> Arrays:
    """D_kappa at scaled log ratios with F solved, and at wrong values of F.

    The shapes are (1 + scale, kappa) and (1 + offset, kappa).
    """

    def bound_at(count: int, factor: jax.Array, **options) -> nce_jax.diagnostics.Divergence:
        shape = (count, kappas.size, quadrature.p.size)
        ratio = jnp.broadcast_to(factor[:, None, None] * quadrature.log_ratio[None, None], shape)
        weights = {
            "weights_data": quadrature.p[None, None],
            "weights_noise": quadrature.q[None, None],
        }
        return bound(ratio, ratio, magnification=kappas[None], **weights, **options)

    log_partitions = jnp.array([0.0, *offsets])
    solved = bound_at(1 + len(scales), jnp.array([1.0, *scales]))
    shifted = bound_at(
        log_partitions.size, jnp.ones(log_partitions.size), log_partition=log_partitions[:, None]
    )
    return {
        "scaled": np.asarray(solved.value),
        "scaled_status": np.asarray(solved.status),
        "shifted": np.asarray(shifted.value),
    }


@jax.jit
def _estimates_at(data: jax.Array, noise: jax.Array, kappa: jax.Array) -> dict[str, jax.Array]:
    at_truth = nce_jax.divergence(data, noise, log_partition=0.0, magnification=kappa)
    solved = nce_jax.divergence(data, noise, magnification=kappa)
    # Weights of samples in the gradient: 1 / (kappa + r) of data, r / (kappa + r) of noise.
    weights = -jax.nn.softplus(data - jnp.log(kappa)), -jax.nn.softplus(jnp.log(kappa) - noise)
    return {
        "value": jnp.stack([at_truth.value, solved.value]),
        "error": jnp.stack([at_truth.standard_error, solved.standard_error]),
        "status": solved.status,
        "effective": jnp.minimum(
            *(nce_jax.diagnostics.effective_sample_size(side) for side in weights)
        ),
    }


def sampled(data: jax.Array, noise: jax.Array, kappas: jax.Array) -> Arrays:
    """Value, error, status and effective sample size of D_kappa from log ratios (..., n).

    Value and error are (kappa, treatment, ...).
    """
    parts = [jax.tree.map(np.asarray, _estimates_at(data, noise, kappa)) for kappa in kappas]
    return {name: np.stack([part[name] for part in parts]) for name in parts[0]}


@jax.jit
def _limits(data: jax.Array, noise: jax.Array) -> dict[str, jax.Array]:
    log_mean = nce_jax.diagnostics.importance_log_partition(noise).log_partition
    shifts = jnp.stack([jnp.zeros_like(log_mean), log_mean])[..., None]
    variance = jnp.var(data, axis=-1, ddof=1)[None] / data.shape[-1]
    variance += jnp.var(jnp.exp(noise[None] - shifts), axis=-1, ddof=1) / noise.shape[-1]
    value = jnp.stack(
        [-nce_jax.losses.nwj_loss(data, noise), -nce_jax.losses.donsker_varadhan_loss(data, noise)]
    )
    return {"value": value, "error": jnp.sqrt(variance)}


def limits(data: jax.Array, noise: jax.Array) -> Arrays:
    """NWJ and Donsker-Varadhan estimates with standard errors, (limit, ...), on the same samples.

    The error of Donsker and Varadhan's F is of first order.
    """
    return jax.tree.map(np.asarray, _limits(data, noise))
