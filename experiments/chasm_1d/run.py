"""Trains the single-stage methods and the chain at every separation."""

import jax
import numpy as np

from experiments.chasm_1d.config import PRESETS, Config
from experiments.chasm_1d.single_stage import train
from experiments.chasm_1d.stages import Run, run
from experiments.chasm_1d.statistics import headline
from experiments.common import cli, results, settings


def experiment(config: Config, key: jax.Array) -> results.Result:
    settings.check_includes(config, "separations", 16)
    traces = train(config, jax.random.split(key, config.num_runs))
    arrays = {"separations": np.array(config.separations), "methods": np.array(list(traces))}
    for name in next(iter(traces.values()))._fields:
        arrays[f"single_{name}"] = np.stack([getattr(trace, name) for trace in traces.values()])
    arrays |= _chains(config, key)
    failed = {"stages": np.argwhere(np.isinf(arrays["stages_fixed_error"]))}
    return results.Result(arrays, headline(arrays), failed)


def _chains(config: Config, key: jax.Array) -> dict[str, np.ndarray]:
    """Fields of all runs, (separation, seed, ...), padded with NaN.

    Separations differ in the number of seeds, and runs in the number of stages.
    """
    runs = [
        [
            run(config, separation, jax.random.fold_in(key, 1000 * row + seed))
            for seed in range(count)
        ]
        for row, (separation, count) in enumerate(
            zip(config.separations, config.num_seeds, strict=True)
        )
    ]
    return {
        f"stages_{name}": _padded([[getattr(chain, name) for chain in row] for row in runs])
        for name in Run._fields
    }


def _padded(rows: list[list]) -> np.ndarray:
    parts = [[np.asarray(value, np.float64) for value in row] for row in rows]
    num_columns, longest = max(map(len, parts)), max(value.size for row in parts for value in row)
    is_scalar = parts[0][0].ndim == 0
    table = np.full((len(parts), num_columns, longest), np.nan)
    for row, values in enumerate(parts):
        for column, value in enumerate(values):
            table[row, column, : value.size] = value
    return table[..., 0] if is_scalar else table


if __name__ == "__main__":
    cli.main("chasm_1d", PRESETS, experiment)
