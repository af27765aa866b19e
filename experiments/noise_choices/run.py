"""Trains one energy against every noise, in the plane and on digits.

Run it with `python -m experiments.noise_choices.run`.
"""

from typing import Any

import jax
import numpy as np

from experiments.common import cli, progress, results
from experiments.noise_choices import measures, noises, statistics, train
from experiments.noise_choices.config import PRESETS, Config
from experiments.noise_choices.problems import Problem, digits, plane

Arrays = dict[str, np.ndarray]


def experiment(config: Config, key: jax.Array) -> results.Result:
    """Arrays named <problem>_<field> with the noise as the first axis.

    Fields of a training run are (noise, magnification, seed, ...), on digits at the first
    magnification only. Fields of a noise's construction are (noise,).
    """
    keys = jax.random.split(key, 4)
    problems = {"plane": plane(config, keys[0]), "digits": digits(config, keys[1])}
    work = [(name, noise) for name in problems for noise in config.noises]
    rows: dict[str, list[Arrays]] = {name: [] for name in problems}
    measurers = {
        "plane": _plane_fields(config, problems["plane"]),
        "digits": _digits_fields(config, problems["digits"]),
    }
    flows: dict[str, noises.Made] = {}
    for name, noise in progress.track(work, "noise_choices"):
        made = noises.make(config, problems[name], noise, keys[2], flows.get(name))
        flows |= {name: made} if noise == "flow" else {}
        rows[name].append(_train_against(config, problems[name], made, measurers[name], keys[3]))
    arrays = _settings(config, problems)
    for name, entries in rows.items():
        arrays |= {
            f"{name}_{field}": np.stack([entry[field] for entry in entries]) for field in entries[0]
        }
    return results.Result(arrays, statistics.headline(arrays), _failed(arrays))


def _train_against(
    config: Config, problem: Problem, made: noises.Made, measure, key_runs: jax.Array
) -> Arrays:
    """Trains with every magnification and seed against one noise, and measures."""
    run = train.make_runner(config, problem, made.noise)
    magnifications = (
        config.magnifications if problem.log_density is not None else config.magnifications[:1]
    )
    keys = [jax.random.fold_in(key_runs, seed) for seed in range(config.num_seeds)]
    lanes = [
        [_lane(run(key, magnification), measure, key) for key in keys]
        for magnification in magnifications
    ]
    fields = {
        field: np.stack([[lane[field] for lane in row] for row in lanes]) for field in lanes[0][0]
    }
    fields["seconds"] = np.median(fields["seconds"])
    return fields | {"setup_seconds": np.array(made.seconds)} | _noise_fields(problem, made)


def _lane(run: train.Run, measure, key: jax.Array) -> Arrays:
    """One training run as arrays, with the diagnostics of a self-noise, or NaN.

    They are the acceptance rate and the error of log Z.
    """
    noise_fields = {
        f"noise_{field}": np.asarray(getattr(run.noise, field, np.nan))
        for field in ("acceptance_rate", "standard_error", "log_partition")
    }
    fields = {
        "in_use": run.log_partition,
        "overlap": run.overlap,
        "unsolved": run.unsolved,
        "seconds": run.seconds,
    }
    return (
        fields
        | noise_fields
        | {name: np.asarray(value) for name, value in measure(run, key).items()}
    )


def _noise_fields(problem: Problem, made: noises.Made) -> Arrays:
    """The noise's mean log-likelihood of test images in its support, and their fraction."""
    fields = {
        f"flow_{name}": np.array(made.record.get(f"flow_{name}", np.nan))
        for name in ("best_step", "held_out")
    }
    if problem.x_test is None:
        return fields
    noise = problem.gaussian if made.noise is None else made.noise
    log_noise = np.asarray(jax.jit(noise.log_prob)(problem.x_test))
    is_inside = np.isfinite(log_noise)
    mean = log_noise[is_inside].mean() if is_inside.any() else np.nan
    return fields | {"log_noise": np.array(mean), "inside": np.array(is_inside.mean())}


def _plane_fields(config: Config, problem: Problem):
    measure = measures.plane_measurer(config, problem)

    def fields(run: train.Run, key: jax.Array) -> dict[str, Any]:
        divergence, log_partition = measure(run.params)
        return {"divergence": divergence, "log_partition": log_partition}

    return fields


def _digits_fields(config: Config, problem: Problem):
    evaluate = measures.digits_evaluator(config, problem)

    def fields(run: train.Run, key: jax.Array) -> dict[str, Any]:
        last = jax.tree.map(lambda leaf: leaf[-1], run.params)
        return evaluate(last, jax.random.fold_in(key, 1))._asdict()

    return fields


def _settings(config: Config, problems: dict[str, Problem]) -> Arrays:
    digits_test = problems["digits"].gaussian.log_prob(problems["digits"].x_test)
    return {
        "noises": np.array(config.noises),
        "magnifications": np.array(config.magnifications),
        "min_effective_samples": np.array(config.min_effective_samples),
        "digits_log_gaussian": np.asarray(digits_test),
        **{
            f"{name}_steps": train.checkpoints(config, problem)
            for name, problem in problems.items()
        },
    }


def _failed(arrays: Arrays) -> dict[str, Any]:
    """Lanes without a finite final result, by problem and noise."""
    failed = {}
    for name, field in (("plane", "divergence"), ("digits", "log_partition")):
        for noise, lanes in zip(arrays["noises"], arrays[f"{name}_{field}"], strict=True):
            last = lanes[..., -1] if name == "plane" else lanes
            if len(failed_indices := np.argwhere(~np.isfinite(last))):
                failed[f"{name}, {noise}"] = failed_indices
    return failed


if __name__ == "__main__":
    cli.main("noise_choices", PRESETS, experiment)
