"""64 problems in one vmapped solve against a loop over pymbar."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import nce_jax
from benchmarks import floors
from benchmarks.harness import Contender, measure
from benchmarks.peers import PYMBAR_METHODS, peer, pymbar_bar
from benchmarks.rows import Check, Report, compare

NUM_PROBLEMS, SIZE = 64, 10_000
NOTE = (
    "separations 0.2 to 6, offsets up to 1e3, half of the ratios inverted; for these"
    " pymbar takes the sides exchanged"
)


class Problems(NamedTuple):
    """Log ratios (problems, samples) of data and noise, and which problems are inverted.

    In an inverted problem the data lie below the noise.
    """

    data: np.ndarray
    noise: np.ndarray
    is_inverted: np.ndarray


def draw(num_problems: int = NUM_PROBLEMS, size: int = SIZE, seed: int = 0) -> Problems:
    """Log ratios of unit Gaussians at various distances: s = +-(d x - d^2 / 2) + offset.

    x is from N(d, 1) for data and from N(0, 1) for noise.
    """
    rng = np.random.default_rng(seed)
    distance = rng.uniform(0.2, 6, (num_problems, 1))
    offset = rng.uniform(-1e3, 1e3, (num_problems, 1))
    is_inverted = rng.permutation(num_problems) < num_problems // 2
    sign = np.where(is_inverted, -1, 1)[:, None]
    x_data, x_noise = rng.normal(size=(2, num_problems, size))
    data, noise = (
        sign * (distance * x - distance**2 / 2) + offset for x in (x_data + distance, x_noise)
    )
    return Problems(data, noise, is_inverted)


def pymbar_loop(problems: Problems, method: str) -> np.ndarray:
    """F* of every problem by pymbar.

    Inverted ratios break the inequality that its bracket rests on. With as many noise as data
    samples, exchanging the two leaves the equation as it is and makes the problem an ordinary one:
    that is what pymbar gets.
    """
    sides = zip(*problems, strict=True)
    ordered = (
        (noise, data) if is_inverted else (data, noise) for data, noise, is_inverted in sides
    )
    return np.array([-pymbar_bar(-lower, upper, method) for upper, lower in ordered])


def run(quick: bool) -> Report:
    """One row, and the steps of every lane: a vmapped loop runs until its slowest lane is done."""
    peer("pymbar")
    problems = draw()
    with jax.enable_x64(True):
        solve = jax.jit(jax.vmap(nce_jax.solve_log_partition))
        arrays = jnp.asarray(problems.data), jnp.asarray(problems.noise)
        loops = {
            f"loop over pymbar, {method}": Contender(
                partial(pymbar_loop, problems, method), NUM_PROBLEMS
            )
            for method in _methods_that_solve(problems)
        }
        ours = {"nce_jax, vmap": Contender(lambda: solve(*arrays), NUM_PROBLEMS)}
        ceilings = floors.evaluations(2 * SIZE, "float64")
        timed = measure(
            ours | loops | ceilings.contenders, repetitions=2 if quick else 9, label="64 problems"
        )
    steps = np.asarray(timed["nce_jax, vmap"].value.num_evaluations)
    check = Check("largest difference of a lane, relative to max(1, |F|)", _difference, 1e-9)
    row = compare(
        "64 problems of 2 x 10,000, float64",
        timed,
        ours="nce_jax, vmap",
        against=list(loops),
        check=check,
        at_least=10,
        unit="problem",
        note=NOTE,
        floor=ceilings.floor(float(steps.mean())),
    )
    return Report([row], {"steps_per_lane": steps.tolist()})


def _methods_that_solve(problems: Problems) -> list[str]:
    """Methods of pymbar that solve every problem; some diverge at the largest separations."""
    solving = []
    for method in PYMBAR_METHODS:
        try:
            pymbar_loop(problems, method)
        except peer("pymbar").utils.ConvergenceError:
            continue
        solving.append(method)
    return solving


def _difference(ours: nce_jax.Solution, theirs: np.ndarray) -> float:
    nce_jax.check_solution(ours)
    return float(
        np.max(np.abs(np.asarray(ours.log_partition) - theirs) / np.maximum(1, np.abs(theirs)))
    )
