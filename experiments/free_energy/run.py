"""Tests BAR's estimates and error bars: `python -m experiments.free_energy.run`."""

import sys

import jax
import jax.numpy as jnp
import numpy as np

import nce_jax
from experiments.common import cli
from experiments.common.progress import track
from experiments.common.results import Result
from experiments.free_energy import benzene_states, data, many_states, statistics
from experiments.free_energy.config import PRESETS, Config

Arrays = dict[str, np.ndarray]


def experiment(config: Config, key: jax.Array) -> Result:
    """States of known free energy, two and many, and benzene where its data are; float64."""
    benzene = data.load_benzene()  # first, so that a wrong folder fails at once
    with jax.enable_x64(True):  # the published numbers have more digits than float32
        arrays = _oscillators(config, jax.random.fold_in(key, 0)) | _unequal(
            config, jax.random.fold_in(key, 1)
        )
        arrays |= many_states.run(config, jax.random.fold_in(key, 3))
        if benzene is None:
            print(f"  benzene left out: {data.VARIABLE} is not set", file=sys.stderr)
        else:
            arrays |= _benzene(benzene[0], config, jax.random.fold_in(key, 2))
            arrays |= benzene_states.run(benzene[1], config, jax.random.fold_in(key, 4))
    return Result(
        arrays, statistics.headline(arrays, config), statistics.failed_lanes(arrays, config)
    )


def work(
    key: jax.Array,
    spring_constant: jax.Array,
    separation: jax.Array,
    num_forward: int,
    num_reverse: int,
) -> tuple[jax.Array, jax.Array]:
    """Equilibrium work in kT: u_1 - u_0 sampled in state 0, and u_0 - u_1 sampled in state 1."""
    keys = jax.random.split(key)
    initial = jax.random.normal(keys[0], (num_forward,))
    final = separation + jax.random.normal(keys[1], (num_reverse,)) / jnp.sqrt(spring_constant)

    def energy_difference(x: jax.Array) -> jax.Array:
        return spring_constant / 2 * jnp.square(x - separation) - jnp.square(x) / 2

    return energy_difference(initial), -energy_difference(final)


def _oscillators(config: Config, key: jax.Array) -> Arrays:
    """BAR for every pair of states and seed, (spring constant, separation, seed).

    Each has draws of its own.
    """
    springs, separations = jnp.asarray(config.spring_constants), jnp.asarray(config.separations)

    def estimate(
        spring: jax.Array, separation: jax.Array, key: jax.Array
    ) -> tuple[nce_jax.free_energy.FreeEnergy, jax.Array]:
        key = jax.random.fold_in(jax.random.fold_in(key, spring), separation)
        pair = work(key, springs[spring], separations[separation], config.num_work, config.num_work)
        # The solver's root regardless of its status, which shows what the status guards against.
        unguarded = -nce_jax.solve_log_partition(pair[1], -pair[0]).log_partition
        return nce_jax.bar(*pair), unguarded

    keys = jax.random.split(key, config.num_seeds)
    axes = {"spring": jnp.arange(springs.size), "separation": jnp.arange(separations.size)}
    estimates, unguarded = nce_jax.sweep(estimate, axes={**axes, "key": keys}).values
    return {
        "spring_constants": np.asarray(springs),
        "separations": np.asarray(separations),
        "exact": np.asarray(jnp.log(springs) / 2),
        **{f"oscillators_{name}": np.asarray(value) for name, value in estimates._asdict().items()},
        "oscillators_unguarded": np.asarray(unguarded),
    }


def _unequal(config: Config, key: jax.Array) -> Arrays:
    """Many forward and few reverse work values, delta_f = 0, with two values of kappa, (seed,).

    kappa = m / n, as in `bar`, is compared with kappa = 1.
    """

    def estimate(key: jax.Array) -> dict[str, jax.Array]:
        unit_spring = jnp.asarray(1.0)
        forward, reverse = work(
            key,
            unit_spring,
            config.unequal_separation * unit_spring,
            config.num_forward,
            config.num_reverse,
        )
        free_energy = nce_jax.bar(forward, reverse)
        at_one = nce_jax.diagnostics.estimate_log_partition(reverse, -forward)
        return {
            "unequal_delta_f": free_energy.delta_f,
            "unequal_standard_error": free_energy.standard_error,
            "unequal_delta_f_at_one": -at_one.log_partition,
            "unequal_standard_error_at_one": at_one.standard_error,
        }

    keys = jax.random.split(key, config.num_unequal_seeds)
    values = nce_jax.sweep(
        estimate, axes={"key": keys}, max_lanes=min(200, config.num_unequal_seeds)
    ).values
    return jax.tree.map(np.asarray, values)


def _benzene(benzene: data.Benzene, config: Config, key: jax.Array) -> Arrays:
    """BAR per pair of states, (pair,), and its standard error from blocks, (block size, pair).

    The error of the sum is that of pairs that share states, and that of a bootstrap of the states.
    """
    forward, reverse = jnp.asarray(benzene.work_forward), jnp.asarray(benzene.work_reverse)
    free_energy = nce_jax.bar(forward, reverse)
    chain = nce_jax.free_energy.bar_chain(forward, reverse)
    bootstrap = nce_jax.free_energy.bootstrap_bar_chain(
        key, forward, reverse, num_replicates=config.num_replicates
    )
    noise_ratio = forward.shape[-1] / reverse.shape[-1]
    blocks = [
        nce_jax.diagnostics.estimate_log_partition(
            reverse, -forward, block_size=size, noise_ratio=noise_ratio
        ).standard_error
        for size in track(config.block_sizes, "benzene")
    ]
    return {
        **{f"benzene_{name}": np.asarray(value) for name, value in free_energy._asdict().items()},
        "benzene_sum": np.asarray(chain.total),
        "benzene_sum_standard_error": np.asarray(chain.total_standard_error),
        "benzene_sum_bootstrap_error": np.asarray(bootstrap.standard_error),
        "benzene_reference": benzene.reference,
        "benzene_block_sizes": np.asarray(config.block_sizes),
        "benzene_block_standard_error": np.stack([np.asarray(block) for block in blocks]),
    }


if __name__ == "__main__":
    cli.main("free_energy", PRESETS, experiment)
