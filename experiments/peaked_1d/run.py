"""Runs every method at every n and spread; all methods share the samples of a seed."""

import jax
import numpy as np

from experiments.common import cli, results, settings
from experiments.peaked_1d.config import PRESETS, Config
from experiments.peaked_1d.methods import Estimate, estimate, methods
from experiments.peaked_1d.statistics import headline


def experiment(config: Config, key: jax.Array) -> results.Result:
    settings.check_lengths(config, "num_samples", "num_seeds")
    named, most_seeds = methods(config), max(config.num_seeds)
    shape = len(named), len(config.spreads), len(config.num_samples), most_seeds
    table = np.full((*shape, len(Estimate._fields)), np.nan)
    for column, (num_samples, count) in enumerate(
        zip(config.num_samples, config.num_seeds, strict=True)
    ):
        for row, arguments in enumerate(named.values()):
            for spread_index, spread in enumerate(config.spreads):
                for seed in range(count):
                    run = estimate(
                        config,
                        arguments,
                        spread,
                        num_samples,
                        jax.random.fold_in(key, 1000 * column + seed),
                    )
                    table[row, spread_index, column, seed] = run
    arrays = {name: table[..., index] for index, name in enumerate(Estimate._fields)}
    arrays |= {
        "methods": np.array(list(named)),
        "spreads": np.array(config.spreads),
        "num_samples": np.array(config.num_samples),
        "num_seeds": np.array(config.num_seeds),
    }
    failed = {
        str(name): np.argwhere(
            ~np.isfinite(arrays["standard_error"][row]) & (arrays["num_stages"][row] >= 0)
        )
        for row, name in enumerate(named)
    }
    return results.Result(arrays, headline(arrays), failed)


if __name__ == "__main__":
    cli.main("peaked_1d", PRESETS, experiment)
