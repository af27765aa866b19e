"""Trains every treatment, counts the steps each needs, and measures the overlap by step."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import nce_jax
from experiments.common import cli, results
from experiments.gaussian_16d.config import PRESETS, Config
from experiments.gaussian_16d.lanes import Trace, errors, overlap_at, train, treatments
from experiments.gaussian_16d.problem import Problem, make_problem, model_log_partition, starts
from experiments.gaussian_16d.statistics import headline
from nce_jax import training

FOLLOWED = ("NCE", "BAR", "Newton")
"""Treatments whose overlap is measured by step."""


def experiment(config: Config, key: jax.Array) -> results.Result:
    key_problem, key_runs, key_overlap = jax.random.split(key, 3)
    problem = make_problem(config, key_problem)
    keys = jax.vmap(lambda index: jax.random.fold_in(key_runs, index))(jnp.arange(config.num_seeds))
    arrays, checkpoints, failed = _figure(config, problem, keys)
    arrays |= _starts(config, problem, keys[: config.num_runs])
    arrays |= _overlap(
        config, problem, checkpoints, jax.random.split(key_overlap, config.num_batches)
    )
    return results.Result(arrays, headline(arrays), failed)


def _figure(config: Config, problem: Problem, keys: jax.Array) -> tuple[dict, dict, dict]:
    """Errors and losses (method, seed, step), params at checkpoints, and failed lanes."""
    named = treatments(config.raised_rate)
    rates = {
        f"F rate {rate:g}": training.joint_gradient(optax.sgd(rate / 2))
        for rate in config.raised_rates
    }
    start = [next(iter(starts(config).values()))]
    traces = train(named | rates, problem, config, config.num_steps, start, keys)
    theta, log_partition = (
        np.stack(part)[:, 0]
        for part in zip(*(errors(t, problem) for t in traces.values()), strict=True)
    )
    count = len(named)
    arrays = {
        "variances": np.asarray(problem.variances),
        "methods": np.array(list(named)),
        "theta_distance": theta[:count],
        "log_partition_error": log_partition[:count],
        "loss": np.stack([traces[name].loss[0] for name in named]),
        "no_overlap": np.stack([(traces[name].status != 0).mean() for name in named]),
        "rates": np.array(config.raised_rates),
        "rate_distance": np.hypot(theta, log_partition)[count:, : config.num_runs],
    }
    checkpoints = {name: traces[name].params[0, 0] for name in FOLLOWED}
    final_distances = np.hypot(theta, log_partition)[..., -1]
    return (
        arrays,
        checkpoints,
        {
            name: np.argwhere(~np.isfinite(last))
            for name, last in zip(traces, final_distances, strict=True)
        },
    )


def _errors(traces: dict[str, Trace], problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Distance of theta and error of F, (method, start, seed, step)."""
    by_method = [errors(trace, problem) for trace in traces.values()]
    return np.stack([theta for theta, _ in by_method]), np.stack([error for _, error in by_method])


def _starts(config: Config, problem: Problem, keys: jax.Array) -> dict:
    """Errors (method, start, run, step) from every start, and whether log Z is infinite there."""
    named = treatments(config.raised_rate)
    del named["binary search"]  # it finds the same root as Newton's method
    named_starts = starts(config)
    traces = train(
        named, problem, config, config.num_steps_starts, list(named_starts.values()), keys
    )
    theta, log_partition = _errors(traces, problem)
    unbounded = [np.any(trace.params[..., : config.dim] >= 0, axis=-1) for trace in traces.values()]
    return {
        "starts": np.array(list(named_starts)),
        "start_methods": np.array(list(named)),
        "start_theta_distance": theta,
        "start_log_partition_error": log_partition,
        "start_unnormalizable": np.stack(unbounded),
    }


def _overlap(config: Config, problem: Problem, checkpoints: dict, keys: jax.Array) -> dict:
    """Overlap on fresh batches of the first run, (method or truth, checkpoint, batch).

    The last row is the data's own model.
    """
    steps = np.unique(
        np.concatenate([[0], np.geomspace(1, config.num_steps, 30).round().astype(int)])
    )
    params = np.stack(
        [*(path[steps] for path in checkpoints.values()), np.tile(problem.params, (steps.size, 1))]
    )

    def measure(params, key):
        return overlap_at(params, problem, config.batch_size, key)

    flat = jnp.asarray(params.reshape(-1, params.shape[-1]))
    measured = jax.tree.map(
        np.asarray, nce_jax.sweep(measure, axes={"params": flat, "key": keys}).values
    )
    shape = (*params.shape[:2], -1)
    named = {f"checkpoint_{name}": leaf.reshape(shape) for name, leaf in measured.items()}
    log_z = np.asarray(model_log_partition(jnp.asarray(params)))
    return {
        "checkpoint_steps": steps,
        "checkpoint_methods": np.array(FOLLOWED),
        "checkpoint_log_z": log_z,
    } | named


if __name__ == "__main__":
    cli.main("gaussian_16d", PRESETS, experiment)
