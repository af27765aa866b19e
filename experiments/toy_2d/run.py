"""Trains every treatment on every toy, and measures the models by step.

Run it with `python -m experiments.toy_2d.run`.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common import cli, progress, results
from experiments.toy_2d.config import PRESETS, Config
from experiments.toy_2d.measures import Measures, Square, make_square, measure
from experiments.toy_2d.statistics import COMPARED, headline, resized_name
from experiments.toy_2d.train import Path, checkpoints, make_model, noise, train, treatments
from nce_jax.toys import TOYS, Toy

Arrays = dict[str, np.ndarray]


def experiment(config: Config, key: jax.Array) -> results.Result:
    """Arrays named <toy>_<reading>_<field>, (method, seed, checkpoint).

    The fields are those of `Measures`, the loss of the batches and the F in use; `map` is (method,
    map step, cell, cell) of the first seed. Measures of the data's own density are
    <toy>_truth_<field>. starts_<field> is of the first cell, with the other F0 in place of methods.
    """
    keys, toys, cells = jax.random.split(key, config.num_seeds), _toys(config), _cells(config)
    squares = {name: _square(config, toy) for name, toy in toys.items()}
    measurers = {
        cell: _measurer(config, toys[cell[0]], cell[1], squares[cell[0]]) for cell in cells
    }
    arrays = _settings(config)
    for name, toy in toys.items():
        arrays |= {
            f"{name}_truth_{field}": value for field, value in _truth(toy, squares[name]).items()
        }
    runs = [(cell, method, 0.0) for cell, methods in cells.items() for method in methods]
    runs += [(next(iter(cells)), "NCE", start) for start in config.starts]
    results_by_name: dict[str, list[Arrays]] = {}

    def train_and_measure(cell: tuple[str, str], method: str, start: float) -> Arrays:
        toy, reading = cell
        return measurers[cell](
            train(config, toys[toy], reading, treatments(config, reading)[method], keys, start)
        )

    # Lanes of such a small network occupy one core, so that as many runs as cores are concurrent.
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 4)) as pool:
        futures = [pool.submit(train_and_measure, *run) for run in runs]
        for (cell, _, start), future in progress.track(
            list(zip(runs, futures, strict=True)), "toy_2d"
        ):
            results_by_name.setdefault("starts" if start else "_".join(cell), []).append(
                future.result()
            )
    for name, entries in results_by_name.items():
        arrays |= {
            f"{name}_{field}": np.stack([entry[field] for entry in entries]) for field in entries[0]
        }
    return results.Result(arrays, headline(arrays), _failed(cells, arrays))


def _toys(config: Config) -> dict[str, Toy]:
    """The paper's toys, and the first one in other sizes."""
    first = config.toys[0]
    resized = {resized_name(first, size): resize(TOYS[first], size) for size in config.sizes}
    return {name: TOYS[name] for name in config.toys} | resized


def _cells(config: Config) -> dict[tuple[str, str], list[str]]:
    """Toy and reading -> methods."""
    cells = {
        cell: list(treatments(config, cell[1])) for cell in product(config.toys, config.readings)
    }
    return cells | {
        (resized_name(config.toys[0], size), "energy"): list(COMPARED) for size in config.sizes
    }


def resize(toy: Toy, size: float) -> Toy:
    assert toy.log_density is not None
    return Toy(
        resized_name(toy.name, size),
        lambda key, num_samples: size * toy.sample(key, num_samples),
        lambda x: toy.log_density(x / size) - 2 * np.log(size),
        size * toy.centers,
    )


def map_steps(config: Config) -> tuple[int, ...]:
    """First, third and further reported steps, at which maps are drawn."""
    return (config.reported_steps[0], *config.reported_steps[2:])


def _settings(config: Config) -> Arrays:
    return {
        "toys": np.array(config.toys),
        "readings": np.array(config.readings),
        **{
            f"{reading}_methods": np.array(list(treatments(config, reading)))
            for reading in config.readings
        },
        "steps": checkpoints(config),
        "reported_steps": np.array(config.reported_steps),
        "map_steps": np.array(map_steps(config)),
        "starts": np.array(config.starts),
        "sizes": np.array(config.sizes),
        "half_width": np.array(config.half_width),
    }


def _square(config: Config, toy: Toy) -> Square:
    assert toy.log_density is not None  # measuring needs an exact density
    return make_square(toy.log_density, noise(config).log_prob, config.half_width, config.num_cells)


def _measurer(config: Config, toy: Toy, reading: str, square: Square) -> Callable[[Path], Arrays]:
    """Function of a path: measures (seed, checkpoint), and maps of the first seed's phi - F*.

    It is compiled once.
    """
    _, log_density_fn = make_model(config, reading, jax.random.key(0))
    centers = jnp.asarray(toy.centers, jnp.float32)
    index = np.searchsorted(checkpoints(config), map_steps(config))
    side = (len(index), config.num_cells, config.num_cells)

    def of_checkpoint(path: Path) -> Measures:
        phi, phi_at_modes = (log_density_fn(path.params, x) for x in (square.x, centers))
        return measure(square, phi, phi_at_modes, path.log_partition)

    @jax.jit
    def of_path(path: Path) -> tuple[Measures, jax.Array]:
        # One model at a time, since the hidden layers of all models would not fit in memory.
        measures = jax.lax.map(lambda seed: jax.lax.map(of_checkpoint, seed), path)
        mapped = jax.tree.map(lambda leaf: leaf[0, index], path.params)
        phi = jax.lax.map(lambda params: log_density_fn(params, square.x), mapped)
        return measures, (phi - measures.profiled[0, index, None]).reshape(side)

    def measures_of(path: Path) -> Arrays:
        measures, maps = of_path(path)
        fields = {
            "batch_loss": path.loss,
            "in_use": path.log_partition,
            "map": maps,
            **measures._asdict(),
        }
        return {name: np.asarray(value) for name, value in fields.items()}

    return measures_of


def _truth(toy: Toy, square: Square) -> Arrays:
    """Measures of the data's own density: its map, its loss (the minimum) and its heights."""
    measures = measure(
        square,
        square.log_data,
        toy.log_density(jnp.asarray(toy.centers, jnp.float32)),
        jnp.zeros(()),
    )
    side = int(np.sqrt(square.x.shape[0]))
    truth_map = np.asarray(square.log_data).reshape(side, side)
    return {
        "map": truth_map,
        "loss": np.asarray(measures.loss),
        "heights": np.asarray(measures.heights),
    }


def _failed(cells: dict[tuple[str, str], list[str]], arrays: Arrays) -> Arrays:
    """Seeds without a finite final result, by toy, reading and method."""
    return {
        f"{toy}, {reading}, {method}": lanes
        for (toy, reading), methods in cells.items()
        for method, last in zip(methods, arrays[f"{toy}_{reading}_loss"][..., -1], strict=True)
        if len(lanes := np.argwhere(~np.isfinite(last)))
    }


if __name__ == "__main__":
    cli.main("toy_2d", PRESETS, experiment)
