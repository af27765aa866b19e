"""Trains on the grid of magnification x noise ratio x seed, and for three comparisons."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import nce_jax
from experiments.common import cli, progress, results
from experiments.digits import data
from experiments.digits.config import PRESETS, Config
from experiments.digits.statistics import headline
from experiments.digits.train import Lane, train_lane
from nce_jax import training

Fn = Callable[..., Lane]


def experiment(config: Config, key: jax.Array) -> results.Result:
    """Runs the grid (F solved) and its variations; arrays are named after them.

    The variations are `joint` (F by gradient, at the grid's corners), `study` (more noise samples)
    and `unbounded` (no bound on f, at noise ratio one).

    The first axes of the arrays are (magnification, noise ratio, seed), (corner, seed), (kappa,
    seed) and (kappa, seed), in this order; the checkpoint follows. `test_log_ratio` holds the
    reported checkpoints only, then images.
    """
    key_data, key_run = jax.random.split(key)
    digits = data.load(config, key_data)
    arrays, failed = _shared_arrays(config, digits, key_data), {}
    for name, run in progress.track(list(SWEEPS.items()), "digits"):
        lanes = run(config, digits, key_run)
        arrays |= {f"{name}_{field}": value for field, value in _lane_arrays(config, lanes).items()}
        failed_indices = np.argwhere(np.asarray(lanes.num_failed).sum(axis=-1) > 0).tolist()
        failed |= {name: failed_indices} if failed_indices else {}
    return results.Result(arrays, headline(arrays), failed)


def corners(config: Config) -> np.ndarray:
    """The four corners of the grid, rows of (magnification, noise ratio)."""
    ends = [(values[0], values[-1]) for values in (config.magnifications, config.noise_ratios)]
    return np.array(
        [(magnification, ratio) for magnification in ends[0] for ratio in ends[1]], np.float32
    )


def _grid(config: Config, digits: data.Digits, key: jax.Array) -> Lane:
    lane = _lane_fn(config, digits, key, training.solved(nce_jax.newton()))
    magnifications, noise_ratios = jnp.array(config.magnifications), jnp.array(config.noise_ratios)
    seeds = jnp.arange(config.num_seeds)
    return nce_jax.sweep(
        lane, axes={"magnification": magnifications, "noise_ratio": noise_ratios, "seed": seeds}
    ).values


def _joint(config: Config, digits: data.Digits, key: jax.Array) -> Lane:
    lane = _lane_fn(config, digits, key, training.joint_gradient())

    def at_corner(corner: jax.Array, seed: jax.Array) -> Lane:
        return lane(corner[0], corner[1], seed)

    return nce_jax.sweep(
        at_corner, axes={"corner": jnp.array(corners(config)), "seed": jnp.arange(config.num_seeds)}
    ).values


def _study(config: Config, digits: data.Digits, key: jax.Array) -> Lane:
    """The study of Gutmann and Hyvärinen's noise ratio, with magnification on top.

    The prior odds are the odds of the actual samples.
    """
    ratio = config.study_noise_per_image
    lane = _lane_fn(
        config, digits, key, training.solved(nce_jax.newton()), num_noise=ratio * config.batch_size
    )

    def at_kappa(kappa: jax.Array, seed: jax.Array) -> Lane:
        return lane(kappa / ratio, float(ratio), seed)

    return nce_jax.sweep(
        at_kappa,
        axes={"kappa": jnp.array(config.study_kappas), "seed": jnp.arange(config.num_seeds)},
    ).values


def _unbounded(config: Config, digits: data.Digits, key: jax.Array) -> Lane:
    config = dataclasses.replace(config, log_ratio_bound=None)
    lane = _lane_fn(config, digits, key, training.solved(nce_jax.newton()))

    def at_kappa(kappa: jax.Array, seed: jax.Array) -> Lane:
        return lane(kappa, 1.0, seed)

    return nce_jax.sweep(
        at_kappa,
        axes={"kappa": jnp.array(config.magnifications), "seed": jnp.arange(config.num_seeds)},
    ).values


SWEEPS = {"grid": _grid, "joint": _joint, "study": _study, "unbounded": _unbounded}


def _lane_fn(
    config: Config,
    digits: data.Digits,
    key: jax.Array,
    treatment: training.Treatment,
    num_noise: int | None = None,
) -> Fn:
    """A lane as a function of what the sweeps vary.

    Every sweep gives seed s the same weights, batches and evaluations.
    """

    def lane(magnification: jax.Array, noise_ratio: jax.Array | float, seed: jax.Array) -> Lane:
        options = {
            "magnification": magnification,
            "noise_ratio": noise_ratio,
            "num_noise": num_noise,
        }
        return train_lane(config, digits, treatment, jax.random.fold_in(key, seed), **options)

    return lane


def _shared_arrays(config: Config, digits: data.Digits, key: jax.Array) -> dict[str, Any]:
    x_noise = digits.noise.sample(seed=jax.random.fold_in(key, 1), sample_shape=(8,))
    return {
        "magnifications": np.array(config.magnifications),
        "noise_ratios": np.array(config.noise_ratios),
        "corners": corners(config),
        "study_kappas": np.array(config.study_kappas),
        "study_noise_per_image": np.array(config.study_noise_per_image),
        "steps": np.arange(1, config.num_checkpoints + 1)
        * (config.num_steps // config.num_checkpoints),
        "reported_steps": np.array(config.reported_steps),
        "least_effective_samples": np.array(least_effective_samples(config)),
        "num_evaluation_noise": np.array(config.num_evaluation_noise),
        "test_images": np.asarray(data.gray_levels(digits.x_test, config.logit_margin)),
        "noise_images": np.asarray(data.gray_levels(x_noise, config.logit_margin)),
        "test_log_noise": np.asarray(digits.noise.log_prob(digits.x_test)),
    }


def least_effective_samples(config: Config) -> float:
    """Effective sample size below which log Z and the log-likelihood are withheld."""
    return max(
        config.min_effective_samples, config.min_effective_fraction * config.num_evaluation_noise
    )


def _lane_arrays(config: Config, lanes: Lane) -> dict[str, np.ndarray]:
    """Arrays of one sweep; `gain` is NaN where it is withheld, `gain_unscreened` never."""
    arrays = {name: np.asarray(value) for name, value in lanes.evaluation._asdict().items()}
    arrays |= {
        "train_loss": np.asarray(lanes.train_loss),
        "num_no_overlap": np.asarray(lanes.num_no_overlap),
    }
    gain = arrays["test_log_ratio"].mean(axis=-1) - arrays["log_partition"]
    is_trusted = arrays["effective_samples"] >= least_effective_samples(config)
    deviation = arrays["test_log_ratio"].std(axis=-1, ddof=1)
    arrays |= {
        "gain_unscreened": gain,
        "gain": np.where(is_trusted, gain, np.nan),
        "gain_error_images": deviation / np.sqrt(config.num_held_out),
    }
    interval = config.num_steps // config.num_checkpoints
    reported = [step // interval - 1 for step in config.reported_steps]
    return {**arrays, "test_log_ratio": arrays["test_log_ratio"][..., reported, :]}


if __name__ == "__main__":
    cli.main("digits", PRESETS, experiment)
