"""Trains every treatment at every distance, and varies the settings that the paper leaves open."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common import cli, results, settings
from experiments.gaussian_1d.config import PRESETS, Config
from experiments.gaussian_1d.lanes import Case, Trace, parameter_distance, stored_steps, train
from experiments.gaussian_1d.statistics import headline
from experiments.gaussian_1d.treatments import compared, gradient_elsewhere, treatments


def open_settings(config: Config) -> dict[str, Case]:
    """Other readings of the paper's open settings, one at a time, and two of them together."""
    farthest, rate = config.distances[-1], config.learning_rate / 2
    return {
        "as in the figure": Case(farthest, rate=rate),
        "F0 = log Z(theta0)": Case(farthest, rate=rate, share=1.0),
        "theta0 = 0": Case(farthest, rate=rate, scale=0.0),
        "theta0 = 1": Case(farthest, rate=rate, shift=1.0, scale=0.0),
        "theta0 = -1": Case(farthest, rate=rate, shift=-1.0, scale=0.0),
        "loss without its 1/2": Case(farthest, rate=2 * rate),
        "without 1/2, theta0 = 0": Case(farthest, rate=2 * rate, scale=0.0),
        "without 1/2, theta0 = 1": Case(farthest, rate=2 * rate, shift=1.0, scale=0.0),
        "without 1/2, theta0 = -1": Case(farthest, rate=2 * rate, shift=-1.0, scale=0.0),
    }


def experiment(config: Config, key: jax.Array) -> results.Result:
    settings.check_includes(config, "magnifications", 1, 100)
    settings.check_includes(config, "distances", 4, 16)
    keys = jax.vmap(lambda index: jax.random.fold_in(key, index))(jnp.arange(config.num_seeds))
    figures, failed = _figures(config, keys)
    arrays = (
        figures
        | _magnified(config, keys)
        | _open_settings(config, keys)
        | _other_sizes(config, keys)
    )
    return results.Result(arrays, headline(arrays), failed)


def _base(config: Config) -> list[Case]:
    return [Case(distance, rate=config.learning_rate / 2) for distance in config.distances]


def _distances(traces: Mapping[str, Trace], cases: list[Case]) -> np.ndarray:
    """Parameter distances, (method, case, key, step)."""
    return np.stack([parameter_distance(trace, cases) for trace in traces.values()])


def _figures(config: Config, keys: jax.Array) -> tuple[dict, dict]:
    """Arrays of figures 2, 8, 9, 10, (method, distance, run, step), and the failed lanes."""
    named = treatments(config.raised_factor)
    cases = _base(config)
    step_indices = stored_steps(config.num_steps)
    traces = train(named | gradient_elsewhere(), cases, keys, config.num_steps, config.batch_size)
    distance = _distances(traces, cases)
    shown = {
        name: jax.tree.map(lambda leaf: leaf[:, : config.num_runs], traces[name]) for name in named
    }
    arrays = {
        "methods": np.array(list(named)),
        "distances": np.array(config.distances),
        "kept_steps": step_indices,
        "run_loss": np.stack([trace.loss for trace in shown.values()]),
        "run_theta": np.stack([trace.theta for trace in shown.values()]),
        "run_log_partition": np.stack([trace.log_partition for trace in shown.values()]),
        "parameter_distance": distance[: len(named)][..., step_indices],
        "no_overlap": np.stack([(traces[name].status != 0).mean(axis=(1, 2)) for name in named]),
        "elsewhere": np.array(list(gradient_elsewhere())),
        "elsewhere_distance": distance[len(named) :, ..., -1],
    }
    final_distances = zip(traces, distance[..., -1], strict=True)
    return arrays, {name: np.argwhere(~np.isfinite(last)) for name, last in final_distances}


def _magnified(config: Config, keys: jax.Array) -> dict:
    """Distances (method, distance, M, seed, stored step); all M and distances share draws."""
    cases = [
        case._replace(magnification=m) for case in _base(config) for m in config.magnifications
    ]
    traces = train(
        compared(), cases, keys[: config.num_seeds_magnified], config.num_steps, config.batch_size
    )
    distance = _distances(traces, cases)[..., stored_steps(config.num_steps)]
    shape = (len(traces), len(config.distances), len(config.magnifications), *distance.shape[2:])
    return {
        "magnifications": np.array(config.magnifications),
        "magnified_distance": distance.reshape(shape),
    }


def _open_settings(config: Config, keys: jax.Array) -> dict:
    """Final distances at the largest separation, (method, setting, seed)."""
    named = open_settings(config)
    cases = list(named.values())
    traces = train(compared(), cases, keys, config.num_steps, config.batch_size)
    return {
        "settings": np.array(list(named)),
        "setting_distance": _distances(traces, cases)[..., -1],
    }


def _other_sizes(config: Config, keys: jax.Array) -> dict:
    """Distances for other batch sizes and numbers of steps, (size, method, distance, seed)."""
    cases, keys = _base(config), keys[: config.num_seeds_other]
    distances = [
        _distances(train(compared(), cases, keys, *size), cases)[..., -1]
        for size in config.other_sizes
    ]
    return {"sizes": np.array(config.other_sizes), "size_distance": np.stack(distances)}


if __name__ == "__main__":
    cli.main("gaussian_1d", PRESETS, experiment)
