"""Bias and variance by quadrature and on samples, and the best M in three settings."""

import jax
import numpy as np

from experiments.bias_variance import descent, estimators, gradients, quadrature
from experiments.bias_variance.config import PRESETS, Config
from experiments.bias_variance.fits import fitted, variance_slopes
from experiments.bias_variance.problem import Problem, grid
from experiments.bias_variance.statistics import headline
from experiments.common import cli, results
from experiments.common.progress import track


def experiment(config: Config, key: jax.Array) -> results.Result:
    arrays = _exact(config)
    arrays |= {
        "sample_sizes": np.array(config.sample_sizes),
        "budgets": np.array(config.budgets),
        "gradient_magnifications": np.asarray(grid(config.gradient_per_decade, 5)),
        "descent_magnifications": np.asarray(grid(config.descent_per_decade, 5)),
        "estimator_magnifications": np.asarray(grid(config.estimator_per_decade, 3)),
    }
    failed = {}
    for index, num_samples in track(enumerate(config.sample_sizes), "sample sizes"):
        squared_errors = _sampled(config, jax.random.fold_in(key, index), index)
        arrays |= {f"{name}_{num_samples}": value for name, value in squared_errors.items()}
        failed |= _failed(squared_errors, num_samples)
    arrays |= _best(config, arrays) | _slopes(config, arrays)
    return results.Result(arrays, headline(arrays), failed)


def _exact(config: Config) -> dict[str, np.ndarray]:
    """Fields of `quadrature.Exact`, (treatment, mean, point, M)."""
    with jax.enable_x64(True):  # squared biases down to 1e-10
        magnifications = grid(config.exact_per_decade, 7)
        fields = quadrature.study(config.dim, config.means, config.points, magnifications)
        values = {"magnifications": np.asarray(magnifications)} | fields
    arrays = {f"exact_{name}": value for name, value in values.items()}
    return arrays | {
        "means": np.array(config.means),
        "points": np.array(config.points),
        "mean": np.array(config.mean),
    }


def _sampled(config: Config, key: jax.Array, index: int) -> dict[str, np.ndarray]:
    """Squared errors by seed in the three settings at one n.

    All settings use the same draws, as far as their numbers of seeds reach.
    """
    problem = Problem(config.dim, config.mean)
    seeds = config.gradient_seeds[index], config.descent_seeds[index], config.estimator_seeds[index]
    draws = problem.draw(key, max(seeds), config.sample_sizes[index])
    errors = gradients.squared_errors(
        problem, config.points, grid(config.gradient_per_decade, 5), draws[: seeds[0]]
    )
    arrays = {f"gradient_{name}": value for name, value in errors.items()}
    options = config.rate, config.budgets
    arrays["descent_errors"] = descent.squared_errors(
        problem, grid(config.descent_per_decade, 5), draws[: seeds[1]], *options
    )
    arrays["estimator_errors"] = estimators.squared_errors(
        problem, grid(config.estimator_per_decade, 3), draws[: seeds[2]], config.newton_steps
    )
    return {name: value.astype(np.float32) for name, value in arrays.items()}


def _failed(squared_errors: dict[str, np.ndarray], num_samples: int) -> dict[str, np.ndarray]:
    """Number of lanes without a finite result: (treatment, budget, M) and (treatment, M).

    The first axes are those of descent, and the second those of Newton's method.
    """
    counts = {
        f"{name}, n = {num_samples}": (~np.isfinite(squared_errors[f"{name}_errors"])).sum(-1)
        for name in ("descent", "estimator")
    }
    return {name: count for name, count in counts.items() if count.any()}


def _best(config: Config, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Best M (..., n, 3) and exponents (..., 3): estimate and 95 % interval.

    Leading axes are those of the errors.
    """
    best = {}
    for name, measure in (("gradient", "mean"), ("descent", "median"), ("estimator", "median")):
        errors = [arrays[f"{name}_errors_{n}"] for n in config.sample_sizes]
        magnifications, cases = arrays[f"{name}_magnifications"], errors[0].shape[:-2]
        fits = [
            fitted(
                magnifications,
                config.sample_sizes,
                [e[case] for e in errors],
                measure,
                config.resamples,
            )
            for case in np.ndindex(*cases)
        ]
        for field in ("best", "exponent"):
            stacked = np.stack([fit[field] for fit in fits])
            best[f"{name}_{field}"] = stacked.reshape(*cases, *stacked.shape[1:])
    return best


def _slopes(config: Config, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Slopes of the sampled variance against n and against M, (treatment, point, ..., 3).

    The first are at each of `slope_magnifications`, and the second between them at each n.
    """
    magnifications = arrays["gradient_magnifications"]
    nodes = [
        int(np.argmin(np.abs(np.log(magnifications / m)))) for m in config.slope_magnifications
    ]
    deviations = [arrays[f"gradient_deviations_{n}"] for n in config.sample_sizes]
    cases, sizes = deviations[0].shape[:2], np.array(config.sample_sizes, float)
    slopes = [
        variance_slopes(
            magnifications, sizes, [d[case] for d in deviations], nodes, config.resamples
        )
        for case in np.ndindex(*cases)
    ]
    stacked = [
        np.stack(part).reshape(*cases, *np.shape(part)[1:]) for part in zip(*slopes, strict=True)
    ]
    return dict(zip(("variance_slope_in_n", "variance_slope_in_m"), stacked, strict=True))


if __name__ == "__main__":
    cli.main("bias_variance", PRESETS, experiment)
