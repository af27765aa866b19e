"""The influences of the samples of all bridges on the normalizers, and their covariance by row."""

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._laplacian import solve_laplacian
from nce_jax._numerics import block_sums, effective_samples, jackknife_correction, sample_count
from nce_jax.free_energy import StateFreeEnergies
from nce_jax.telescoping._influences import side_influences, solved_stages


def joint_influences(
    potentials: jax.Array, weights: jax.Array, states: StateFreeEnergies
) -> jax.Array:
    """The influences of all samples on every F_k, (K, K + 1, n), those of a bridge of mean zero.

    A sample moves f by the generalized inverse of the Laplacian of the network times the deviation
    of its probabilities from the mean of its bridge.
    """
    is_sampled = jnp.any(weights > 0, axis=-1)
    counts = _counts(weights)
    shares = weights * (counts / jnp.where(is_sampled, jnp.sum(weights, axis=-1), 1))[:, None]
    is_linked = states.components[:, None] == states.components[None]
    f = jnp.nan_to_num(states.delta_f[states.components, jnp.arange(len(counts))])
    is_own = jnp.eye(len(counts), dtype=bool)
    is_candidate = is_own | (is_linked & is_sampled[:, None])
    offsets = jnp.where(is_candidate, (f + jnp.log(counts))[:, None], -jnp.inf)
    posterior = jax.nn.softmax(offsets[..., None] - potentials, axis=0)
    # The own probability is one less those of the others, which keep their digits where it rounds.
    others = jnp.where(is_own[..., None], 0, posterior)
    weighted = shares[None] * others
    deviations = weighted - shares[None] * (jnp.sum(weighted, axis=-1) / counts[None])[..., None]
    own = -jnp.sum(deviations, axis=0, keepdims=True)
    deviations = jnp.where(is_own[..., None], own, deviations)
    couplings = jnp.einsum("kbn,lbn,bn->kl", posterior, posterior, shares, precision="highest")
    inverse = solve_laplacian(couplings, jnp.eye(len(counts), dtype=counts.dtype))
    return jnp.einsum("kj,jbn->kbn", inverse[:-1] - inverse[1:], deviations, precision="highest")


def _counts(weights: jax.Array) -> jax.Array:
    """The effective number of samples of every bridge; one for a bridge without samples."""
    is_sampled = jnp.any(weights > 0, axis=-1)
    return jnp.where(is_sampled, sample_count(weights, weights), 1)


def adjacent_pairs(log_ratios: jax.Array, weights: jax.Array) -> tuple[jax.Array, jax.Array]:
    """F_k from the two bridges of a stage alone, (K,), and the influences, (K, K + 1, n)."""
    stages = np.arange(len(log_ratios))
    counts = _counts(weights)
    problem, roots = solved_stages(
        log_ratios[stages, stages],
        log_ratios[stages, stages + 1],
        weights[:-1],
        weights[1:],
        log_partition=None,
        magnification=1.0,
        noise_ratio=counts[1:] / counts[:-1],
    )
    data, noise = side_influences(problem, roots)
    influences = jnp.zeros_like(log_ratios)
    influences = influences.at[stages, stages].set(data).at[stages, stages + 1].set(noise)
    return roots, influences


def row_covariance(
    influences: jax.Array, weights: jax.Array, shared_samples: bool, block_size: int
) -> tuple[jax.Array, jax.Array]:
    """Covariance of quantities from the influences (Q, K + 1, n), and the rows behind each, (Q,).

    The mean is fitted on every bridge; with rows in common, the correction is that of the shortest.
    """
    is_sampled = jnp.any(weights > 0, axis=-1)
    if shared_samples:
        influences = jnp.sum(influences, axis=1, keepdims=True)
        counts = jnp.where(is_sampled, sample_count(weights, weights), jnp.inf)
        index = jnp.arange(weights.shape[-1], dtype=weights.dtype)
        weights = (index < jnp.min(counts)).astype(weights.dtype)[None]
    else:
        weights = jnp.where(is_sampled[:, None], weights, 1)
    correction = jackknife_correction(weights, block_size)
    blocks = block_sums(influences, block_size)
    # A single row or block has no scatter.
    scaled = blocks / jnp.sqrt(jnp.where(correction == 0, 1, correction))[None, :, None]
    covariance = jnp.einsum("pbi,qbi->pq", scaled, scaled, precision="highest")
    sides = [
        (influences[:, side], jnp.broadcast_to(weights[side], influences[:, side].shape))
        for side in range(len(weights))
    ]
    number = effective_samples(*sides, block_size=block_size)
    return jnp.where(jnp.any(correction == 0), jnp.inf, covariance), number
