"""Trains every treatment at every distance, then asks which open setting the outcome hangs on."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common import cli, results
from experiments.gaussian_1d.config import PRESETS, Config
from experiments.gaussian_1d.lanes import Case, Trace, kept_steps, parameter_distance, train
from experiments.gaussian_1d.statistics import headline
from experiments.gaussian_1d.treatments import compared, gradient_elsewhere, treatments


def open_settings(config: Config) -> dict[str, Case]:
    """Other readings of what the paper leaves open, one at a time, and the two that matter
    together.
    """
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
    """(method, case, key, step)."""
    return np.stack([parameter_distance(trace, cases) for trace in traces.values()])


def _figures(config: Config, keys: jax.Array) -> tuple[dict, dict]:
    """Figures 2, 8, 9, 10 as (method, distance, run, step), and per method the lanes without a
    finite answer.
    """
    named = treatments(config.raised_factor)
    cases = _base(config)
    kept = kept_steps(config.num_steps)
    traces = train(named | gradient_elsewhere(), cases, keys, config.num_steps, config.batch_size)
    distance = _distances(traces, cases)
    shown = {
        name: jax.tree.map(lambda leaf: leaf[:, : config.num_runs], traces[name]) for name in named
    }
    arrays = {
        "methods": np.array(list(named)),
        "distances": np.array(config.distances),
        "kept_steps": kept,
        "run_loss": np.stack([trace.loss for trace in shown.values()]),
        "run_theta": np.stack([trace.theta for trace in shown.values()]),
        "run_log_partition": np.stack([trace.log_partition for trace in shown.values()]),
        "parameter_distance": distance[: len(named)][..., kept],
        "no_overlap": np.stack([(traces[name].status != 0).mean(axis=(1, 2)) for name in named]),
        "elsewhere": np.array(list(gradient_elsewhere())),
        "elsewhere_distance": distance[len(named) :, ..., -1],
    }
    lasts = zip(traces, distance[..., -1], strict=True)
    return arrays, {name: np.argwhere(~np.isfinite(last)) for name, last in lasts}


def _magnified(config: Config, keys: jax.Array) -> dict:
    """(method, distance, M, seed, kept step), the draws of a seed shared by all M and all
    distances.
    """
    cases = [
        case._replace(magnification=m) for case in _base(config) for m in config.magnifications
    ]
    traces = train(
        compared(), cases, keys[: config.num_seeds_magnified], config.num_steps, config.batch_size
    )
    distance = _distances(traces, cases)[..., kept_steps(config.num_steps)]
    shape = (len(traces), len(config.distances), len(config.magnifications), *distance.shape[2:])
    return {
        "magnifications": np.array(config.magnifications),
        "magnified_distance": distance.reshape(shape),
    }


def _open_settings(config: Config, keys: jax.Array) -> dict:
    """(method, setting, seed) at the largest distance, after the last step."""
    named = open_settings(config)
    cases = list(named.values())
    traces = train(compared(), cases, keys, config.num_steps, config.batch_size)
    return {
        "settings": np.array(list(named)),
        "setting_distance": _distances(traces, cases)[..., -1],
    }


def _other_sizes(config: Config, keys: jax.Array) -> dict:
    """(size, method, distance, seed): other batch sizes and numbers of steps."""
    cases, keys = _base(config), keys[: config.num_seeds_other]
    seen = [
        _distances(train(compared(), cases, keys, *size), cases)[..., -1]
        for size in config.other_sizes
    ]
    return {"sizes": np.array(config.other_sizes), "size_distance": np.stack(seen)}


if __name__ == "__main__":
    cli.main("gaussian_1d", PRESETS, experiment)
