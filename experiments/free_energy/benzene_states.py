"""MBAR of benzene's Coulomb leg, from the potentials of all samples in all states."""

import jax
import jax.numpy as jnp
import numpy as np

import nce_jax
from experiments.common.progress import track
from experiments.free_energy.config import Config
from experiments.free_energy.data import BenzeneStates


def run(benzene: BenzeneStates, config: Config, key: jax.Array) -> dict[str, np.ndarray]:
    """Differences, (state, state), and bootstrap errors of f, (block size, state)."""
    potentials, num_samples = jnp.asarray(benzene.potentials), benzene.num_samples
    result = nce_jax.mbar(potentials, num_samples)
    errors = [
        nce_jax.free_energy.bootstrap_mbar(
            jax.random.fold_in(key, size),
            potentials,
            num_samples,
            num_replicates=config.num_mbar_replicates,
            block_size=size,
        ).standard_error
        for size in track(config.state_block_sizes, "bootstrap of benzene's states")
    ]
    arrays = {
        "delta_f": result.delta_f,
        "standard_error": result.standard_error,
        "sandwich_covariance": result.sandwich_covariance,
        "overlap": result.overlap,
        "gap": result.gap,
        "bootstrap_error": jnp.stack(errors),
        "block_sizes": config.state_block_sizes,
        "reference": benzene.reference,
        "reference_error": benzene.reference_error,
    }
    return {f"benzene_states_{name}": np.asarray(value) for name, value in arrays.items()}


def numbers(arrays: dict[str, np.ndarray]) -> dict[str, float]:
    """Headline numbers of benzene by MBAR."""
    if "benzene_states_delta_f" not in arrays:
        return {}
    delta_f, error, sandwich, bootstrap, reference, reference_error = (
        arrays[f"benzene_states_{name}"]
        for name in (
            "delta_f",
            "standard_error",
            "sandwich_covariance",
            "bootstrap_error",
            "reference",
            "reference_error",
        )
    )
    neighbors = np.diagonal(delta_f, offset=1)
    return {
        "benzene_mbar": delta_f[0, -1],
        "benzene_mbar_error": error[0, -1],
        "benzene_mbar_sandwich_error": np.sqrt(sandwich[-1, -1]),
        "benzene_mbar_largest_deviation": np.max(np.abs(delta_f - reference)),
        "benzene_mbar_largest_deviation_of_error": np.max(np.abs(error - reference_error)),
        "benzene_mbar_from_bar": np.max(np.abs(neighbors - arrays["benzene_delta_f"])),
        "benzene_mbar_gap": arrays["benzene_states_gap"],
        **{
            f"benzene_mbar_bootstrap_error_{size}": row[-1]
            for size, row in zip(arrays["benzene_states_block_sizes"], bootstrap, strict=True)
        },
    }
