"""Mutual information on ten tasks of bmi: joint against shuffled samples, and bmi's estimators."""

import dataclasses
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.special import ndtri
from scipy.stats import rankdata

import nce_jax
from benchmarks.bmi_peer import Bmi
from benchmarks.harness import Timed, measure, once
from benchmarks.rows import Check, Report, Row, compare
from nce_jax import models

TASKS = (
    "1v1-normal-0.75",
    "1v1-additive-0.1",
    "wiggly-1v1-normal-0.75",
    "half_cube-1v1-normal-0.75",
    "swissroll_x-normal_cdf-1v1-normal-0.75",
    "student-identity-5-5-2",
    "multinormal-dense-5-5-0.5",
    "multinormal-dense-25-25-0.5",
    "multinormal-sparse-5-5-2-2.0",
    "spiral-multinormal-sparse-3-3-2-2.0",
)
SIZE, TRAIN_SHARE, SHUFFLES, STEPS = 5_000, 0.7, 10, 2_000
PEERS = {"KSG": "KSGEnsembleFirstEstimator", "CCA": "CCAMutualInformationEstimator"}
NEURAL = "InfoNCE"
NEURAL_STEPS = 1_000
"""Steps of bmi's estimator, whose default of 10,000, with tests on all pairs, takes minutes."""
REPETITIONS = 3
OURS, WITHIN_NATS, WITHIN_SHARE = "nce_jax", 0.05, 0.1


class Estimate(NamedTuple):
    """Estimate in nats with its standard error at a fixed log ratio, and the chosen model."""

    value: float
    standard_error: float | None = None
    model: str = ""


class Fitted(NamedTuple):
    """A candidate with its loss on held-out samples."""

    model: str
    loss: float
    log_ratio_fn: Callable[[Any], jax.Array]


def run(quick: bool) -> Report:
    """A row per task, against the fastest of bmi's estimators within the tolerance."""
    tasks = TASKS[:2] if quick else TASKS
    with Bmi() as bmi, tempfile.TemporaryDirectory() as folder, jax.enable_x64(False):
        rows_and_lines = [_task(bmi, task, Path(folder) / f"{task}.npz", quick) for task in tasks]
        versions = bmi.versions
    setting = {
        "size": SIZE,
        "neural_steps": NEURAL_STEPS,
        "repetitions": 1 if quick else REPETITIONS,
        "versions": versions,
    }
    return Report(
        [row for row, _ in rows_and_lines],
        {"setting": setting, "lines": [line for _, line in rows_and_lines]},
    )


def _task(bmi: Bmi, task: str, path: Path, quick: bool) -> tuple[Row, dict[str, Any]]:
    about = bmi.draw(task, SIZE // 5 if quick else SIZE, path)
    contenders = {name: partial(_peer, bmi, method, path) for name, method in PEERS.items()}
    with np.load(path) as samples:
        contenders[OURS] = partial(
            estimate, samples["x"], samples["y"], num_steps=STEPS // 10 if quick else STEPS
        )
    clock = {"processor_clock": bmi.processor_clock}
    timed = measure(
        contenders, repetitions=1 if quick else REPETITIONS, block=0, label=about["name"], **clock
    )
    # Every call trains and compiles anew, so that a warm-up call would save nothing.
    options = {"max_n_steps": NEURAL_STEPS // 2 if quick else NEURAL_STEPS, "verbose": False}
    timed[NEURAL] = once(partial(_peer, bmi, f"{NEURAL}Estimator", path, **options), **clock)
    return _row(about, timed), _line(about, timed)


def _row(about: Mapping[str, Any], timed: dict[str, Timed]) -> Row:
    truth = about["truth"]

    def error(answer: Estimate) -> float:
        return abs(answer.value - truth) if np.isfinite(answer.value) else float("inf")

    tolerance = max(WITHIN_NATS, WITHIN_SHARE * truth)
    peers = [*PEERS, NEURAL]
    right = [name for name in peers if error(timed[name].value) <= tolerance]
    best = min(peers, key=lambda name: error(timed[name].value))
    what = "distance of our estimate from the truth in nats, within 0.05 or a tenth of it"
    check = Check(what, lambda ours, _: error(ours), tolerance, is_contest=True)
    note = (
        "the other side is the fastest estimator of bmi within the same bounds, or the most"
        " accurate one (*) where none is within them"
    )
    row = compare(
        about["name"],
        timed,
        ours=OURS,
        against=right or [best],
        check=check,
        unit="estimate",
        note=note,
    )
    return row if right else dataclasses.replace(row, peer=f"{row.peer} *")


def _line(about: Mapping[str, Any], timed: Mapping[str, Timed]) -> dict[str, Any]:
    def cell(name: str) -> dict[str, Any]:
        return {"seconds": float(np.median(timed[name].seconds)), **timed[name].value._asdict()}

    return {
        "task": about["name"],
        "truth": about["truth"],
        **{name: cell(name) for name in (OURS, *PEERS, NEURAL)},
    }


def _peer(bmi: Bmi, method: str, path: Path, **options: Any) -> Estimate:
    return Estimate(bmi.estimate(method, path, **options))


def estimate(x: np.ndarray, y: np.ndarray, *, num_steps: int) -> Estimate:
    """Fits two log ratios of joint over shuffled pairs, and averages the better one.

    The better one has the lower held-out loss.
    """
    x, y = _normal_scores(x), _normal_scores(y)
    count = int(TRAIN_SHARE * len(x))
    fits = [
        _fit(name, *_pairs(x[:count], y[:count]), num_steps) for name in ("quadratic", "automatic")
    ]
    best = min(fits, key=lambda fit: fit.loss)
    joint, shuffled = (
        best.log_ratio_fn(jnp.asarray(pairs)) for pairs in _pairs(x[count:], y[count:])
    )
    log_partition = nce_jax.solve_log_partition(joint, shuffled).log_partition
    # Further shifts add no independent samples: the error counts the first shift alone.
    error = nce_jax.log_partition_standard_error(
        joint, shuffled[: len(joint)], log_partition=log_partition
    )
    return Estimate(
        float(jnp.mean(joint) - log_partition),
        float(jnp.hypot(jnp.std(joint) / len(joint) ** 0.5, error)),
        best.model,
    )


def _normal_scores(x: np.ndarray) -> np.ndarray:
    return ndtri((rankdata(x, axis=0) - 0.5) / len(x)).astype(np.float32)


def _pairs(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The joint samples, and samples of the product of marginals: y shifted against x.

    There are `SHUFFLES` shifts.
    """
    shifts = 1 + len(x) // (SHUFFLES + 1) * np.arange(SHUFFLES)
    shuffled = [np.concatenate([x, np.roll(y, shift, axis=0)], axis=1) for shift in shifts]
    return np.concatenate([x, y], axis=1), np.concatenate(shuffled)


def _fit(name: str, joint: np.ndarray, shuffled: np.ndarray, num_steps: int) -> Fitted:
    options: dict[str, Any] = {}
    if name == "quadratic":
        dim = joint.shape[1]
        num_steps //= 4  # a convex problem needs fewer steps
        options["model"] = models.exponential_family(_quadratic, jnp.zeros(dim * (dim + 3) // 2))
        options["optimizer"] = optax.adam(optax.cosine_decay_schedule(0.03, num_steps))
    fit = nce_jax.fit_log_ratio(
        jax.random.key(0), joint, shuffled, num_steps=num_steps, progress=False, **options
    )
    return Fitted("quadratic" if options else fit.model, fit.held_out_loss, fit.log_ratio)


def _quadratic(x: jax.Array) -> jax.Array:
    rows, columns = np.triu_indices(x.shape[1])
    return jnp.concatenate([x, x[:, rows] * x[:, columns]], axis=-1)
