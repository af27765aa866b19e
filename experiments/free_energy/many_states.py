"""MBAR and BAR along a chain of K states whose free energies are known, over many repetitions."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import nce_jax
from experiments.common.progress import track
from experiments.free_energy.config import Config
from experiments.free_energy.many_statistics import LEVELS

Arrays = dict[str, np.ndarray]


class System(NamedTuple):
    """Energies u_k(x) = rate_k x + stiffness_k / 2 (x - center_k)^2 in kT, one entry per state.

    An oscillator has no rate. An exponential has no stiffness, and is confined to x >= 0.
    """

    rate: jax.Array
    stiffness: jax.Array
    center: jax.Array
    exact: jax.Array
    """Free energies relative to state 0: those of exp(-u), whose integral is sqrt(2 pi / stiffness)
    or 1 / rate."""


def oscillators(num_states: int, spacing: float, last_stiffness: float) -> System:
    """Neighbors that are `spacing` means of their standard deviations apart."""
    stiffness = last_stiffness ** jnp.linspace(0.0, 1.0, num_states)
    width = 1 / jnp.sqrt(stiffness)
    steps = spacing * (width[1:] + width[:-1]) / 2
    center = jnp.concatenate([jnp.zeros(1), jnp.cumsum(steps)])
    return System(jnp.zeros(num_states), stiffness, center, jnp.log(stiffness) / 2)


def exponentials(num_states: int, ratio: float) -> System:
    """Rates that grow from 1 by the same factor at every step."""
    rate = ratio ** jnp.arange(num_states, dtype=float)
    return System(rate, jnp.zeros(num_states), jnp.zeros(num_states), jnp.log(rate))


def systems(config: Config, num_states: int) -> list[System]:
    """In the order of `many_statistics.SYSTEMS`."""
    return [
        *(oscillators(num_states, spacing, config.last_stiffness) for spacing in config.spacings),
        *(exponentials(num_states, ratio) for ratio in config.decay_ratios),
    ]


def potentials(system: System, key: jax.Array, num_samples: int) -> jax.Array:
    """Potentials in all states of exact samples of each, (state, state of the sample, sample)."""
    shape = (system.rate.size, num_samples)
    is_exponential = (system.stiffness == 0)[:, None]
    width = jnp.where(is_exponential[:, 0], 1 / system.rate, 1 / jnp.sqrt(system.stiffness))
    unit = jnp.where(
        is_exponential, jax.random.exponential(key, shape), jax.random.normal(key, shape)
    )
    x = (system.center[:, None] + width[:, None] * unit)[None]
    rate, stiffness, center = (part[:, None, None] for part in system[:3])
    return rate * x + stiffness / 2 * jnp.square(x - center)


def estimate(system: System, key: jax.Array, num_samples: int) -> dict[str, jax.Array]:
    """f of the last state relative to the first, by MBAR and by BAR of every two neighbors."""
    values = potentials(system, key, num_samples)
    states = nce_jax.mbar(values.reshape(len(values), -1), [num_samples] * len(values))
    first, second = jnp.arange(len(values) - 1), jnp.arange(1, len(values))
    chain = nce_jax.free_energy.bar_chain(
        values[second, first] - values[first, first], values[first, second] - values[second, second]
    )
    return {
        "delta_f": states.f[-1],
        "standard_error": states.standard_error[0, -1],
        "sandwich_error": jnp.sqrt(states.sandwich_covariance[-1, -1]),
        "status": states.status[-1],
        "effective_samples": states.effective_samples[-1],
        "gap": states.gap,
        "chain_delta_f": chain.total,
        "chain_error": chain.total_standard_error,
        "chain_error_if_independent": jnp.linalg.norm(chain.standard_error),
        "chain_status": jnp.max(chain.status),
    }


def bootstrap(
    system: System, key: jax.Array, num_samples: int, num_replicates: int
) -> dict[str, jax.Array]:
    """Bootstrap intervals of f of the last state, (level, end), from the samples of `estimate`."""
    values = potentials(system, key, num_samples)
    replicated = nce_jax.free_energy.bootstrap_mbar(
        jax.random.fold_in(key, 1),
        values.reshape(len(values), -1),
        [num_samples] * len(values),
        num_replicates=num_replicates,
    )
    last = jax.tree.map(lambda part: part[..., -1], replicated)
    kinds = {
        "percentile": nce_jax.free_energy.percentile_interval,
        "studentized": nce_jax.free_energy.studentized_interval,
    }
    return {
        "bootstrap_error": last.standard_error,
        **{
            name: jnp.stack([jnp.stack(interval(last, level=level)) for level in LEVELS])
            for name, interval in kinds.items()
        },
    }


def run(config: Config, key: jax.Array) -> Arrays:
    """Arrays (number of states, system, repetition).

    The intervals of the bootstrap, of the fewest states, are (system, repetition, level, end).
    """
    rows = [
        _over_systems(
            partial(estimate, num_samples=config.num_samples),
            systems(config, num_states),
            jax.random.split(jax.random.fold_in(key, num_states), config.num_repetitions),
            f"{num_states} states",
        )
        for num_states in config.num_states
    ]
    arrays = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    exact = [[system.exact[-1] for system in systems(config, k)] for k in config.num_states]
    few = config.num_states[0]
    keys = jax.random.split(jax.random.fold_in(key, few), config.num_repetitions)
    intervals = _over_systems(
        partial(
            bootstrap, num_samples=config.num_samples, num_replicates=config.num_state_replicates
        ),
        systems(config, few),
        keys[: config.num_bootstrapped],
        f"bootstrap of {few} states",
    )
    arrays |= {"exact": np.asarray(exact)} | intervals
    return {f"states_{name}": value for name, value in arrays.items()}


def _over_systems(function, systems: list[System], keys: jax.Array, label: str) -> Arrays:
    """Values of all repetitions, with an axis for the systems in front: one program for all.

    One repetition after the other, so that none waits for the slowest solve of a batch.
    """

    @jax.jit
    def repeat(system: System, keys: jax.Array) -> dict[str, jax.Array]:
        return jax.lax.map(lambda key: function(system, key), keys)

    rows = [
        jax.tree.map(np.asarray, repeat(system, jax.vmap(jax.random.fold_in, (0, None))(keys, row)))
        for row, system in enumerate(track(systems, label))
    ]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}
