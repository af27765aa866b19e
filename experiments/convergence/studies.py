"""Every method on every problem: steps to given distances, and curves."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import nce_jax
from experiments.convergence import descent
from experiments.convergence.config import Config
from experiments.convergence.problems import Problem, mean_problem, precision_problem


class Study(NamedTuple):
    """A method on a family: normalized or plain gradient descent."""

    family: str
    treatment: str
    loss: str
    is_normalized: bool = True

    @property
    def name(self) -> str:
        return "_".join(
            [self.family, self.treatment, self.loss, "ngd" if self.is_normalized else "gd"]
        )


STUDIES = (
    Study("mean", "joint", "nce"),
    Study("mean", "joint", "nce", is_normalized=False),
    Study("mean", "joint", "nwj"),
    Study("mean", "joint", "ence"),
    Study("mean", "solved", "nce"),
    Study("mean", "solved", "ence"),
    Study("precision", "solved", "nce"),
    Study("precision", "solved", "nce", is_normalized=False),
    Study("precision", "solved", "nwj"),
    Study("precision", "solved", "ence"),
    Study("precision", "joint", "nce"),
    Study("precision", "joint", "nwj"),
)
"""All studies. NWJ is magnified NCE with infinite M; with F solved, its gradient is the
likelihood's."""


def problem_of(family: str, config: Config) -> tuple[Callable[[jax.Array], Problem], jax.Array]:
    """The problem as a function of the separation, and the separations."""
    if family == "mean":
        return lambda separation: mean_problem(separation, config.num_points), jnp.array(
            config.separations
        )
    make = lambda separation: precision_problem(separation, config.variance, config.num_points)
    return make, jnp.array(config.precision_separations)


def num_steps_of(study: Study, config: Config) -> int:
    if study.treatment == "joint":
        return config.joint_steps
    return config.line_steps if study.family == "mean" else config.solved_steps


def run(study: Study, config: Config) -> dict[str, np.ndarray]:
    """First steps within each distance, and curves at `curve_steps`.

    Steps are (separation, M, rate, distance), infinite if the distance is never reached.
    """
    make, separations = problem_of(study.family, config)
    rates = config.joint_rates if study.treatment == "joint" else config.solved_rates
    num_steps = num_steps_of(study, config)
    criteria = {"nwj": nce_jax.criteria.nwj(), "ence": nce_jax.criteria.exponential_nce()}
    magnifications = config.magnifications if study.loss == "nce" else (1.0,)

    def lane(separation, magnification, rate):
        criterion = criteria.get(study.loss) or nce_jax.criteria.nce(magnification=magnification)
        optimizer = descent.normalized(rate) if study.is_normalized else optax.sgd(rate)
        return descent.descend(make(separation), criterion, study.treatment, optimizer, num_steps)

    axes = {
        "separation": separations,
        "magnification": jnp.array(magnifications),
        "rate": jnp.array(rates),
    }
    trace = nce_jax.sweep(lane, axes=axes).values
    distance = np.asarray(trace.pair if study.treatment == "joint" else trace.theta)
    return {
        "hits": first_hits(distance, config.distances),
        "curves": distance[..., curve_steps(num_steps)],
        "curve_steps": curve_steps(num_steps),
        "start": distance[:, 0, 0, 0],
        "rates": np.array(rates),
    }


def newton(family: str, config: Config) -> np.ndarray:
    """Distance of theta by Newton's method with F solved, (separation, M, step)."""
    make, separations = problem_of(family, config)

    def lane(separation, magnification):
        return descent.newton(
            make(separation), magnification, config.newton_radius, config.newton_steps
        ).theta

    axes = {"separation": separations, "magnification": jnp.array(config.magnifications)}
    return np.asarray(nce_jax.sweep(lane, axes=axes).values)


def first_hits(distance: np.ndarray, targets: tuple[float, ...]) -> np.ndarray:
    """First step at or below each target, (..., target), which the theorem counts.

    A later overshoot does not matter.
    """
    reached = distance[..., None, :] <= np.asarray(targets)[:, None]
    return np.where(reached.any(-1), reached.argmax(-1), np.inf)


def curve_steps(num_steps: int) -> np.ndarray:
    return np.unique(np.concatenate([[0], np.geomspace(1, num_steps, 120).round().astype(int)]))
