"""Errors of F by step, and where BAR oscillates or stalls.

Run it with `python -m experiments.log_partition_convergence.run`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import nce_jax
from experiments.common import cli
from experiments.common.progress import track
from experiments.common.results import Result
from experiments.log_partition_convergence import iterations, problems, statistics
from experiments.log_partition_convergence.config import PRESETS, Config
from experiments.log_partition_convergence.problems import Ratios

Arrays = dict[str, np.ndarray]

SOLVERS = {
    "bar": nce_jax.fixed_point(),
    "bisection": nce_jax.bisection(),
    "newton": nce_jax.newton(),
}


def gradient_methods(config: Config) -> dict[str, iterations.Iteration]:
    """NCE at both rates, by the names in the stored arrays."""
    raised = config.learning_rate * config.raised_factor
    return {
        "nce": iterations.gradient_descent(config.learning_rate),
        "nce_raised": iterations.gradient_descent(raised),
    }


class Batches(NamedTuple):
    """Log ratios of many batches, (*lanes, batch_size), and the F* of each, (*lanes)."""

    ratios: Ratios
    root: np.ndarray


def experiment(config: Config, key: jax.Array) -> Result:
    """Both figures, in float64 except where float32 is the subject."""
    with jax.enable_x64(True):  # 1e-6 in F is below what float32 resolves
        ring, pairs = _draw(config, key)
        arrays = _paths_of_solvers({"ring": ring, "pairs": pairs}, config)
        arrays |= _figure_1(ring, config) | _figure_7(pairs, config)
    return Result(arrays, statistics.headline(arrays), statistics.failed_lanes(arrays))


def _draw(config: Config, key: jax.Array) -> tuple[Batches, Batches]:
    """Batches of figure 1, (run,), and of figure 7, (separation, batch)."""
    runs = jax.random.split(jax.random.fold_in(key, 1), config.num_runs)
    ring = nce_jax.sweep(lambda key: problems.ring(key, config), axes={"key": runs}).values
    batches = jax.random.split(jax.random.fold_in(key, 7), config.num_pairs)
    separations = jnp.asarray(config.separations)
    pairs = nce_jax.sweep(
        lambda separation, key: problems.gaussian_pair(key, separation, config),
        axes={"separation": separations, "key": batches},
    ).values
    return Batches(ring, problems.reference_root(ring)), Batches(
        pairs, problems.reference_root(pairs)
    )


def _paths_of_solvers(sets: dict[str, Batches], config: Config) -> Arrays:
    """BAR, binary search and Newton on the batches of both figures, one compilation each."""
    all_ratios = jax.tree.map(
        lambda *sides: jnp.concatenate([_flat(side) for side in sides]),
        *(b.ratios for b in sets.values()),
    )
    arrays: Arrays = {}
    for name, solver in track(SOLVERS.items(), "solvers, step by step"):
        values = _trajectories(
            iterations.from_solver(solver), all_ratios, config.num_solver_steps, config
        )
        parts = np.split(values, np.cumsum([batches.root.size for batches in sets.values()])[:-1])
        for (label, batches), part in zip(sets.items(), parts, strict=True):
            arrays |= _settled(f"{label}_{name}", part, batches.root, config)
    return arrays


def _figure_1(ring: Batches, config: Config) -> Arrays:
    """Trajectories of NCE at both rates, and F* and overlap of the batches."""
    overlap = nce_jax.overlap(*ring.ratios, log_partition=ring.root)
    arrays = {"ring_root": ring.root, "ring_overlap": np.asarray(overlap)}
    for name, iteration in track(gradient_methods(config).items(), "figure 1"):
        values = _trajectories(iteration, ring.ratios, config.num_gradient_steps, config)
        arrays |= _settled(f"ring_{name}", values, ring.root, config)
    return arrays


def _figure_7(pairs: Batches, config: Config) -> Arrays:
    """Steps and final errors of the slower methods, and the results of `solve_log_partition`."""
    ratios, root = pairs
    slope = problems.bar_slope(ratios, root)
    arrays = {
        "separations": np.asarray(config.separations),
        "pairs_root": root,
        "pairs_bar_slope": slope,
    }
    for name, solver in SOLVERS.items():
        arrays |= _solve(name, solver, pairs, config)
    slow = gradient_methods(config) | {"bar": iterations.from_solver(SOLVERS["bar"])}
    for name, iteration in track(slow.items(), "figure 7"):
        # For BAR, these replace the arrays of the short run.
        arrays |= _arrivals(f"pairs_{name}", iteration, pairs, config)
    single = jax.tree.map(lambda side: side.astype(jnp.float32), ratios)
    batches = Batches(single, problems.reference_root(single))
    return arrays | _arrivals("pairs_bar_float32", slow["bar"], batches, config)


def _flat(side: jax.Array) -> jax.Array:
    return side.reshape(-1, side.shape[-1])


def _trajectories(
    iteration: iterations.Iteration, ratios: Ratios, num_steps: int, config: Config
) -> np.ndarray:
    """F before the first step and after each, (batch, num_steps + 1)."""

    def run(batch: jax.Array) -> jax.Array:
        lane = jax.tree.map(lambda side: side[batch], ratios)
        return iterations.trajectory(iteration, lane, jnp.asarray(config.initial), num_steps)

    return np.asarray(nce_jax.sweep(run, axes={"batch": jnp.arange(ratios.data.shape[0])}).values)


def _settled(name: str, estimates: np.ndarray, root: np.ndarray, config: Config) -> Arrays:
    """Trajectories, the steps after which F stays within the tolerance, and the error then.

    Where F does not settle, the error is that at the end.
    """
    estimates = estimates.reshape(*root.shape, -1)
    error = np.abs(estimates - root[..., None])
    steps = statistics.settled_after(error, config.tolerance)
    index = np.minimum(steps, error.shape[-1] - 1).astype(int)[..., None]
    return {
        name: estimates,
        f"{name}_steps": steps,
        f"{name}_error": np.take_along_axis(error, index, axis=-1)[..., 0],
    }


def _arrivals(
    name: str, iteration: iterations.Iteration, batches: Batches, config: Config
) -> Arrays:
    """Steps to the tolerance, the final error, and the largest growth of the error in a step."""
    ratios, root = batches

    def run(separation: jax.Array, batch: jax.Array) -> iterations.Arrival:
        lane = jax.tree.map(lambda side: side[separation, batch], ratios)
        initial = jnp.asarray(config.initial, lane.data.dtype)
        target = jnp.asarray(root)[separation, batch]
        return iterations.run_until(
            iteration, lane, initial, target, config.tolerance, config.max_steps
        )

    # One separation at a time, since a batch of lanes takes as long as its slowest lane.
    indices = jnp.arange(root.shape[1])
    parts = [
        nce_jax.sweep(run, axes={"separation": jnp.array([i]), "batch": indices}).values
        for i in range(root.shape[0])
    ]
    arrival = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
    return {f"{name}_{field}": value for field, value in arrival._asdict().items()}


def _solve(
    name: str, solver: nce_jax.log_partition.Solver, batches: Batches, config: Config
) -> Arrays:
    """Status, evaluations and error of `solve_log_partition` on the same batches."""
    options = {"tolerance": config.tolerance, "max_steps": config.solve_max_steps}
    solution = nce_jax.solve_log_partition(
        *batches.ratios, solver=solver, initial=config.initial, **options
    )
    return {
        f"solve_{name}_status": np.asarray(solution.status),
        f"solve_{name}_steps": np.asarray(solution.num_evaluations),
        f"solve_{name}_error": np.abs(np.asarray(solution.log_partition) - batches.root),
    }


if __name__ == "__main__":
    cli.main("log_partition_convergence", PRESETS, experiment)
