"""A grid of M x seeds in one sweep, against its lanes in sequence; cost of a lane by number."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import nce_jax
from benchmarks.harness import Contender, Timed, measure
from benchmarks.rows import Check, Report, Row, compare, spread
from nce_jax import models, noise, sweeps, training

DISTANCE, BATCH, STEPS, SIDE = 4.0, 512, 200, 32
TREATMENTS = {
    "NCE": training.joint_gradient(),
    "BAR": training.bar_step(),
    "Newton": training.solved(),
}
NAMES = {"NCE": "joint gradient", "BAR": "one BAR step", "Newton": "solved, Newton"}
TARGETS = {"NCE": 10.0, "BAR": 10.0, "Newton": 3.0}

Train = Callable[[Any, Any], tuple[jax.Array, jax.Array]]


class Grid(NamedTuple):
    """Values of the two axes."""

    magnification: jax.Array
    seed: jax.Array


def gaussian_1d(treatment: training.Treatment, steps: int) -> Train:
    """Trains the mean of a unit Gaussian from fresh samples; returns the final F and theta."""
    reference, optimizer = noise.standard_normal(1), optax.sgd(0.1)

    def run(magnification, seed):
        key_params, key_data, key_noise = jax.random.split(jax.random.key(seed), 3)
        params, log_density_fn = models.exponential_family(
            models.linear_statistics,
            jax.random.normal(key_params, (1,)),
            log_base_measure=reference.log_prob,
        )
        criterion = nce_jax.criteria.nce(magnification=magnification)
        step = training.make_train_step(
            log_density_fn, reference, optimizer, criterion=criterion, treatment=treatment
        )

        def body(state, _):
            key = jax.random.fold_in(key_data, state.step)
            x_data = sweeps.shared(
                lambda key: DISTANCE + jax.random.normal(key, (BATCH, 1)), key, step=state.step
            )
            return step(state, x_data, key_noise)[0], None

        state = step.init(params)
        state, _ = jax.lax.scan(body, state, None, length=steps)
        return state.log_partition, state.params[0]

    return run


def grid(side: int) -> Grid:
    """`side` values of M from 1 to 100 and as many seeds."""
    return Grid(jnp.geomspace(1.0, 100.0, side), jnp.arange(side))


def run(quick: bool) -> Report:
    """The 32 x 32 grid of every treatment, then grids of 1 to 4,096 lanes."""
    steps = 50 if quick else STEPS
    with jax.enable_x64(False):
        rows = [_row(name, steps, quick) for name in TREATMENTS]
        lanes = _cost_of_a_lane(steps, quick)
    return Report(rows, {"lanes": lanes, "steps": steps})


def _row(name: str, steps: int, quick: bool) -> Row:
    train, points = gaussian_1d(TREATMENTS[name], steps), grid(SIDE)
    one_lane = jax.jit(train)
    # Every M once, each with another seed: the cost of a lane depends on M if F is solved for.
    seeds = np.random.default_rng(0).permutation(SIDE)
    lanes = [(points.magnification[i], points.seed[j]) for i, j in enumerate(seeds)]
    contenders = {
        "one sweep": Contender(lambda: nce_jax.sweep(train, axes=points._asdict()).values, SIDE**2),
        "lane after lane": Contender(
            lambda: [jax.block_until_ready(one_lane(*lane)) for lane in lanes], SIDE
        ),
    }
    timed = measure(contenders, repetitions=2 if quick else 7, label=f"32 x 32, {name}")

    def difference(swept: Any, single: Any) -> float:
        ours = np.stack(swept)[:, np.arange(SIDE), seeds]
        return float(np.max(np.abs(ours - np.array(single).T)))

    return compare(
        f"{SIDE} M x {SIDE} seeds, {NAMES[name]}",
        timed,
        ours="one sweep",
        against=["lane after lane"],
        unit="lane",
        check=Check("difference of the lanes' F and theta", difference, 1e-3),
        at_least=TARGETS[name],
        note=(
            f"{steps:,} steps of batch {BATCH}; of the {SIDE**2:,} single lanes {SIDE} are timed,"
            " one for every M"
        ),
    )


def _cost_of_a_lane(steps: int, quick: bool) -> dict[str, list[dict[str, Any]]]:
    """Seconds per lane of square grids, measured separately per size.

    Large grids thus do not wait for small ones.
    """
    sides = (1, 2, 4, 8) if quick else (1, 2, 4, 8, 16, 32, 64)
    trains = {name: gaussian_1d(treatment, steps) for name, treatment in TREATMENTS.items()}
    lanes: dict[str, list[dict[str, Any]]] = {name: [] for name in trains}
    for side in sides:
        points = grid(side)
        contenders = {
            name: Contender(
                lambda train=train, points=points: (
                    nce_jax.sweep(train, axes=points._asdict()).values
                ),
                side**2,
            )
            for name, train in trains.items()
        }
        timed = measure(contenders, repetitions=3, label=f"{side**2:,} lanes")
        for name in trains:
            lanes[name].append(_point(side**2, timed[name]))
    return lanes


def _point(num_lanes: int, timed: Timed) -> dict[str, Any]:
    return {"lanes": num_lanes, "seconds_per_lane": spread(timed.seconds)._asdict()}
