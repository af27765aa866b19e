"""Mutual information on ten tasks of bmi: `mutual_information`, and bmi's estimators."""

import dataclasses
import tempfile
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import nce_jax
from benchmarks.bmi_peer import Bmi
from benchmarks.harness import Timed, measure, once
from benchmarks.rows import Check, Report, Row, compare
from nce_jax.ratio_estimation import UnreliableRatioWarning

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
SIZE = 5_000
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
        contenders[OURS] = partial(estimate, samples["x"], samples["y"])
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


def estimate(x: np.ndarray, y: np.ndarray) -> Estimate:
    """The library's estimate with its default settings."""
    with warnings.catch_warnings():
        # The row says what the estimate is worth.
        warnings.simplefilter("ignore", UnreliableRatioWarning)
        found = nce_jax.mutual_information(jax.random.key(0), x, y)
    return Estimate(found.value, found.standard_error, found.model)
