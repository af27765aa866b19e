"""Paths, their distances from the likelihood's, and the gradient's bias, by float64 quadrature."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common import cli, results
from experiments.common.progress import track
from experiments.gradient_alignment import bias, paths, statistics, tails
from experiments.gradient_alignment.config import PRESETS, Config
from experiments.gradient_alignment.families import (
    Family,
    data_and_start,
    mean_and_covariance,
    mean_only,
)
from experiments.gradient_alignment.quadrature import square_grid

FAMILIES = ("mean", "covariance")


def experiment(config: Config, key: jax.Array) -> results.Result:
    del key  # nothing is random
    with jax.enable_x64(True):  # the bias at M = 1e8 is below float32
        data, _ = data_and_start(config)
        arrays = {
            "magnifications": np.array(config.magnifications),
            "data_mean": np.array(config.data_mean),
        }
        families = dict(
            zip(FAMILIES, (mean_only(data.covariance), mean_and_covariance()), strict=True)
        )
        for index, (name, family) in track(enumerate(families.items()), "families"):
            fields = _family(config, family, config.rates[index], config.steps[index])
            arrays |= {f"{name}_{field}": value for field, value in fields.items()}
        arrays |= _tails(config)
    return results.Result(arrays, statistics.headline(arrays), _failed(arrays))


def _family(config: Config, family: Family, rate: float, num_steps: int) -> dict[str, np.ndarray]:
    data, start_gaussian = data_and_start(config)
    start = family.params_of(start_gaussian)
    rule = square_grid(data, config.half_width, config.spacing)
    exact = paths.likelihood_path(family, data, start, rate, num_steps)
    arrays = {"exact_path": exact, "exact_mean": _means(family, exact)}
    for name in paths.TREATMENTS:
        magnified = paths.magnified_paths(
            family, rule, start, name, config.magnifications, rate, num_steps
        )
        arrays |= {
            f"{name}_path": magnified.params,
            f"{name}_mean": _means(family, magnified.params),
        }
        log_z = jax.jit(jax.vmap(jax.vmap(family.log_partition)))(magnified.params)
        arrays[f"{name}_log_partition_error"] = magnified.log_partition - np.asarray(log_z)
        arrays[f"{name}_stray"] = np.array(
            [statistics.stray(path, exact) for path in magnified.params]
        )
        arrays[f"{name}_lag"] = np.array([statistics.lag(path, exact) for path in magnified.params])
    return arrays | _bias(config, family, rule, exact)


def _means(family: Family, params: np.ndarray) -> np.ndarray:
    mean = jax.jit(jax.vmap(lambda params: family.gaussian_of(params).mean))
    return np.asarray(mean(jnp.asarray(params.reshape(-1, params.shape[-1])))).reshape(
        *params.shape[:-1], 2
    )


def _bias(config: Config, family: Family, rule, exact: np.ndarray) -> dict[str, np.ndarray]:
    """Squared bias (point, M) by treatment, at steps of the likelihood's path."""
    data, _ = data_and_start(config)
    points = exact[list(config.bias_steps)]
    values = np.geomspace(1, 1e8, config.bias_magnifications)
    covariances = jax.vmap(lambda params: family.gaussian_of(params).covariance)(jnp.asarray(exact))
    arrays = {
        "bias_steps": np.array(config.bias_steps),
        "bias_magnifications": values,
        "largest_variance": np.linalg.eigvalsh(np.asarray(covariances)).max(axis=-1),
        "quadrature_error": np.array(
            bias.quadrature_error(family, rule, data, exact[:: max(len(exact) // 20, 1)])
        ),
    }
    for name in bias.TREATMENTS:
        offsets = (0.0, config.offset) if name == "joint" else (0.0,)
        biases = bias.squared_bias(family, rule, data, name, points, values, offsets)
        arrays |= {f"{name}_bias": biases[0]} | (
            {f"{name}_off_bias": biases[1]} if name == "joint" else {}
        )
    return arrays


def _tails(config: Config) -> dict[str, np.ndarray]:
    """Squared bias (treatment, tail, M), its closed form (tail, M), and the exponents."""
    values = np.geomspace(1, 1e8, config.tail_magnifications)
    cases = [tails.Tail(*pair) for pair in config.tails]
    measured = [
        tails.measured_bias(np.array(config.tails), name, values) ** 2 for name in tails.TREATMENTS
    ]
    return {
        "tails": np.array(config.tails),
        "tail_magnifications": values,
        "tail_bias": np.array(measured),
        "tail_predicted": np.array([tails.predicted_bias(tail, values) ** 2 for tail in cases]),
        "tail_exponents": np.array([tail.exponent for tail in cases]),
    }


def _failed(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Values of M whose path diverged."""
    paths_of = {
        name: value
        for name, value in arrays.items()
        if name.endswith(("fixed_path", "solved_path", "joint_path"))
    }
    return {
        name: np.flatnonzero(~np.isfinite(value).all(axis=(1, 2)))
        for name, value in paths_of.items()
    }


if __name__ == "__main__":
    cli.main("gradient_alignment", PRESETS, experiment)
