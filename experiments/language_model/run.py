"""Trains every method with every seed, and resumes from finished trainings.

The results are the perplexity of the test text, log Z and seconds.
"""

from pathlib import Path

import jax
import numpy as np

from experiments.common import cli, pieces, results
from experiments.common.progress import track
from experiments.common.settings import check_includes
from experiments.language_model import config as settings
from experiments.language_model import losses, measures, network, steps, text, train
from experiments.language_model.config import PRESETS, Config
from experiments.language_model.statistics import headline

COMPUTING = tuple(
    Path(module.__file__) for module in (settings, losses, measures, network, steps, text, train)
)


def experiment(config: Config, key: jax.Array) -> results.Result:
    check_includes(config, "magnifications", 1)
    corpus = text.load(config)
    grid = train.methods(config)
    seeds = jax.random.split(key, config.num_seeds)
    folder = pieces.folder("language_model", config, COMPUTING)
    cells = [(row, column) for column in range(config.num_seeds) for row in range(len(grid))]

    def cell(row: int, column: int) -> dict[str, np.ndarray]:
        path = folder / f"{row}-{column}.npz"
        return pieces.load_or_compute(path, lambda: _cell(config, corpus, grid[row], seeds[column]))

    arrays_by_cell = {pair: cell(*pair) for pair in track(cells, "language_model")}
    names = next(iter(arrays_by_cell.values()))
    tables = {
        name: np.array(
            [
                [arrays_by_cell[row, column][name] for column in range(config.num_seeds)]
                for row in range(len(grid))
            ]
        )
        for name in names
    }
    arrays = {
        **{
            name: np.array(values)
            for name, values in zip(train.Method._fields, zip(*grid, strict=True), strict=True)
        },
        "middle": np.array(config.middle),
        "num_words": np.array(len(corpus.words)),
        "num_tokens": np.array([len(corpus.train), len(corpus.test)]),
        "unigram_perplexity": np.array(_unigram_perplexity(corpus)),
        **tables,
    }
    failed_seeds = {
        name: np.flatnonzero(~np.isfinite(row))
        for name, row in zip(_labels(grid), tables["perplexity"], strict=True)
    }
    return results.Result(
        arrays,
        headline(arrays),
        {name: lanes for name, lanes in failed_seeds.items() if len(lanes)},
    )


def _cell(
    config: Config, corpus: text.Corpus, method: train.Method, seed: jax.Array
) -> dict[str, np.ndarray]:
    trained = train.train(config, corpus, method, seed)
    measurements = {
        **measures.evaluate(config, trained, corpus.test),
        "seconds": trained.seconds,
        "f": trained.log_partition,
    }
    return {name: np.array(value) for name, value in measurements.items()}


def _labels(grid: list[train.Method]) -> list[str]:
    return [f"{m.loss}, K = {m.num_noise}, M = {m.magnification:g}, start {m.start}" for m in grid]


def _unigram_perplexity(corpus: text.Corpus) -> float:
    """Perplexity of a model of word frequencies alone."""
    log_p = np.log(corpus.counts / corpus.counts.sum())
    return float(np.exp(-log_p[corpus.test].mean()))


if __name__ == "__main__":
    cli.main("language_model", PRESETS, experiment)
