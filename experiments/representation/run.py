"""Trains every loss at every batch size and temperature, and probes the features.

Features without training are probed as well.
"""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common import cli, results, settings
from experiments.common.progress import track
from experiments.representation import images
from experiments.representation.config import PRESETS, Config
from experiments.representation.measures import accuracy, picture
from experiments.representation.statistics import headline
from experiments.representation.train import features, init, losses, train


def experiment(config: Config, key: jax.Array) -> results.Result:
    settings.check_includes(config, "batch_sizes", config.shown[0])
    settings.check_includes(config, "temperatures", config.shown[1])
    arrays = {
        "images": np.array(config.images),
        "losses": np.array(list(losses(config))),
        "batch_sizes": np.array(config.batch_sizes),
        "temperatures": np.array(config.temperatures),
    }
    for name in config.images:
        arrays_of_set = _probe_set(config, images.load(config, name), key, name)
        arrays |= {f"{name}_{field}": value for field, value in arrays_of_set.items()}
    return results.Result(arrays, headline(config, arrays))


def _probe_set(
    config: Config, split: images.Split, key: jax.Array, label: str
) -> dict[str, np.ndarray]:
    """Accuracies of one data set, and its pictures.

    `accuracy` has the axes loss, batch size, temperature and seed, `untrained` the axis seed, and
    `pixels` none.
    """
    sides = [jnp.asarray(side, jnp.float32) for side in (split.x_train, split.x_test)]
    seeds = jax.random.split(key, config.num_seeds)

    def probe(params) -> float:
        return accuracy(*(np.asarray(features(params, side)) for side in sides), split)

    grid = [(loss, size) for loss in losses(config) for size in config.batch_sizes]
    trained = {
        pair: _trained(config, *pair, sides[0], seeds)
        for pair in track(grid, f"representation, {label}")
    }
    lanes = [(t, s) for t in range(len(config.temperatures)) for s in range(config.num_seeds)]
    table = [
        [probe(_lane(trained[pair], lane)) for lane in lanes]
        for pair in track(grid, f"probes, {label}")
    ]
    shape = len(losses(config)), len(config.batch_sizes), len(config.temperatures), config.num_seeds
    size, temperature = config.shown
    shown = _lane(trained["InfoNCE", size], (config.temperatures.index(temperature), 0))
    flat = [side.reshape(len(side), -1) for side in (split.x_train, split.x_test)]
    return {
        "accuracy": np.array(table).reshape(shape),
        "untrained": np.array([probe(init(config, seed, sides[0][0].size)) for seed in seeds]),
        "pixels": np.array(accuracy(*flat, split)),
        "picture": picture(config, np.asarray(features(shown, sides[1]))),
        "picture_pixels": picture(config, flat[1]),
        "classes": split.y_test[: config.num_shown],
    }


def _trained(config: Config, loss: str, batch_size: int, x_train: jax.Array, seeds: jax.Array):
    """Parameters with the axes temperature and seed."""

    def train_lane(seed, temperature):
        return train(config, loss, batch_size, x_train, seed, temperature)

    lanes = jax.vmap(jax.vmap(train_lane, (0, None)), (None, 0))
    return jax.block_until_ready(jax.jit(lanes)(seeds, jnp.asarray(config.temperatures)))


def _lane(params, lane: tuple[int, int]):
    return jax.tree.map(lambda leaf: leaf[lane], params)


if __name__ == "__main__":
    cli.main("representation", PRESETS, experiment)
