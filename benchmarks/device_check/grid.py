"""Training runs over a grid of M and noise ratio as one program, against one run."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import nce_jax
from benchmarks.device_check.parts import Size
from benchmarks.device_check.timing import measure_warm
from benchmarks.harness import Contender
from benchmarks.rows import Check, Report, Row, compare
from benchmarks.sweep_lanes import BATCH, DISTANCE, TREATMENTS, Train
from nce_jax import models, noise, sweeps, training

SIDES, STEPS = {"full": 32, "small": 3}, {"full": 200, "small": 5}
CHECKED = 4
"""Lanes, along the diagonal, that are run alone."""


def run(size: Size) -> Report:
    """Every treatment of F."""
    with jax.enable_x64(False):
        return Report([_row(name, size) for name in TREATMENTS])


def gaussian_mean(treatment: training.Treatment, steps: int) -> Train:
    """Trains the mean of a unit Gaussian at an M and a noise ratio; returns F and the mean."""
    reference, optimizer = noise.standard_normal(1), optax.sgd(0.1)

    def run(magnification, noise_ratio):
        params, log_density_fn = models.exponential_family(
            models.linear_statistics, jnp.zeros(1), log_base_measure=reference.log_prob
        )
        step = training.make_train_step(
            log_density_fn,
            reference,
            optimizer,
            criterion=nce_jax.criteria.nce(magnification=magnification, noise_ratio=noise_ratio),
            treatment=treatment,
        )

        def body(state, _):
            key = jax.random.fold_in(jax.random.key(0), state.step)
            x_data = sweeps.shared(
                lambda key: DISTANCE + jax.random.normal(key, (BATCH, 1)), key, step=state.step
            )
            return step(state, x_data, jax.random.key(1))[0], None

        state, _ = jax.lax.scan(body, step.init(params), None, length=steps)
        return state.log_partition, state.params[0]

    return run


def _row(name: str, size: Size) -> Row:
    train, side = gaussian_mean(TREATMENTS[name], STEPS[size]), SIDES[size]
    axes = {
        "magnification": jnp.geomspace(1.0, 100.0, side),
        "noise_ratio": jnp.geomspace(0.1, 10.0, side),
    }
    one, places = jax.jit(train), np.linspace(0, side - 1, min(CHECKED, side)).astype(int)

    def single() -> list[Any]:
        return [
            jax.block_until_ready(one(axes["magnification"][i], axes["noise_ratio"][i]))
            for i in places.tolist()
        ]

    contenders = {
        "one sweep": Contender(lambda: nce_jax.sweep(train, axes=axes).values, side**2),
        "run after run": Contender(single, len(places)),
    }
    timed = measure_warm(contenders, size, repetitions=5, label=f"grid, {name}")

    def difference(swept: Any, runs: Any) -> float:
        return float(np.max(np.abs(np.stack(swept)[:, places, places] - np.array(runs).T)))

    return compare(
        f"{side} M x {side} noise ratios, {STEPS[size]} steps, {name}",
        timed,
        ours="one sweep",
        against=["run after run"],
        check=Check("difference of the runs' F and mean", difference, 1e-3, is_contest=True),
        unit="run",
    )
