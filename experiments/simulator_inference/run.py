"""Trains every loss at every budget, and measures its posteriors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common import cli, results
from experiments.common.progress import track
from experiments.simulator_inference import simulator
from experiments.simulator_inference.config import PRESETS, Config
from experiments.simulator_inference.measures import Measures, classified, exact_mass, measure
from experiments.simulator_inference.statistics import headline
from experiments.simulator_inference.train import losses, make_network, train


def experiment(config: Config, key: jax.Array) -> results.Result:
    key_test, key_train = jax.random.split(key)
    test = simulator.simulate(key_test, config.num_test, config.noise_scale)
    methods, shape = losses(config), (len(config.budgets), config.num_seeds)
    measures, accuracies = {}, {}
    work = [(budget, name) for budget in config.budgets for name in methods]
    for budget, name in track(work, "simulator_inference"):
        keys = jax.random.split(jax.random.fold_in(key_train, budget), config.num_seeds)
        of_grid, of_pairs = _log_ratios(config, name, budget, keys, test)
        measures[budget, name] = [
            measure(config, *of_seed, test) for of_seed in zip(of_grid, of_pairs, strict=True)
        ]
        observations = range(config.num_classified)
        accuracies[budget, name] = [
            classified(config, of_grid[0, i], np.asarray(test.x[i]), config.seed + i)
            for i in observations
        ]
    arrays = {"methods": np.array(list(methods)), "budgets": np.array(config.budgets)}
    arrays["exact_mass"] = exact_mass(config, test)
    for field in Measures._fields:
        table = [
            [getattr(of_seed, field) for of_seed in measures[budget, name]]
            for name in methods
            for budget in config.budgets
        ]
        arrays[field] = np.stack(table).reshape(len(methods), *shape, config.num_test)
    table = [accuracies[budget, name] for name in methods for budget in config.budgets]
    arrays["classified"] = np.array(table).reshape(
        len(methods), len(config.budgets), config.num_classified
    )
    return results.Result(arrays, headline(arrays))


def _log_ratios(
    config: Config, name: str, budget: int, keys: jax.Array, test: simulator.Pairs
) -> tuple[np.ndarray, np.ndarray]:
    """Log ratios on the grid and at the pairs' own parameters.

    The shapes are (seeds, observations, cells) and (seeds, observations).
    """
    points, _ = simulator.grid(config.num_cells, config.half_width)
    _, log_ratio_fn = make_network(config, keys[0])

    def of_seed(key):
        key_pairs, key_train = jax.random.split(key)
        pairs = simulator.simulate(key_pairs, budget, config.noise_scale)
        params = train(config, losses(config)[name], pairs, key_train)
        theta = jnp.asarray(points, pairs.theta.dtype)
        on_grid = jax.lax.map(
            lambda x: log_ratio_fn(params, theta, jnp.tile(x, (len(theta), 1))), test.x
        )
        return on_grid, log_ratio_fn(params, *test)

    return jax.tree.map(
        functools.partial(np.asarray, dtype=np.float64), jax.jit(jax.vmap(of_seed))(keys)
    )


if __name__ == "__main__":
    cli.main("simulator_inference", PRESETS, experiment)
