"""Every solver, criterion, dtype and mode of solving on random problems, each answer judged.

The one verdict that must not occur is *wrong*: an F that is reported as solved, CONVERGED or
NO_OVERLAP, and is not the root. A solve may fail, as long as it says so.
"""

import functools
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import nce_jax
from nce_jax import criteria
from tests.hostile.judge import Line, is_root
from tests.hostile.problems import Problems, draw_problems

SIZES = ((1, 1), (7, 5), (40, 60), (200, 150))
LANES = 256
DTYPES = ("float32", "float64", "bfloat16")
WEIGHTINGS = ("none", "outside", "padded", "random", "scaled", "wide", "lost", "unused")
MODES = (None, 4, 40)
"""The number of fixed steps; None stops at the tolerance."""
SOLVERS = {
    "newton": nce_jax.newton(),
    "bisection": nce_jax.bisection(),
    "fixed_point": nce_jax.fixed_point(),
    "fixed_point(0.5)": nce_jax.fixed_point(0.5),
    "fixed_point(1.9)": nce_jax.fixed_point(1.9),
    "fixed_point(5.0)": nce_jax.fixed_point(5.0),
}
STRENGTHS = (1e-3, 1.0, 1e5)
_KEPT = 50
"""Configurations whose compiled programs are kept: all of them would take more memory maps than a
process may have."""


class Configuration(NamedTuple):
    """One program: everything but the numbers. A strength of None stands for NCE itself."""

    solver: str
    dtype: str
    fixed_steps: int | None
    weighting: str
    strength: float | None


class Tally(NamedTuple):
    """What became of the lanes of a configuration."""

    configuration: Configuration
    num_lanes: int
    num_failed: int
    num_wrong: int
    example: dict | None


def configurations() -> list[Configuration]:
    """All programs: NCE in every combination, the regularized criterion with every solver."""
    of_nce = itertools.product(SOLVERS, DTYPES, MODES, WEIGHTINGS, [None])
    regularized = itertools.product(SOLVERS, DTYPES[:2], [None, 40], ["none", "random"], STRENGTHS)
    return [Configuration(*values) for values in itertools.chain(of_nce, regularized)]


def run(
    num_solves: int,
    *,
    seed: int = 0,
    limit: int | None = None,
    chosen: list[Configuration] | None = None,
) -> Iterator[Tally]:
    """Solves random problems of every configuration, and judges each answer.

    Args:
      num_solves: about how many in all, at least one batch per configuration.
      seed: of the problems.
      limit: the number of configurations tried, spread over all of them; None tries all.
      chosen: the configurations; None takes all of `configurations()`.
    """
    chosen = configurations() if chosen is None else chosen
    if limit is not None:
        order = np.random.default_rng(seed).permutation(len(chosen))[:limit]
        chosen = [chosen[i] for i in sorted(order)]
    rounds = max(1, round(num_solves / (LANES * len(chosen))))
    for index, configuration in enumerate(chosen):
        generator = np.random.default_rng([seed, index])
        tallies = [_try_batch(configuration, generator, index + r) for r in range(rounds)]
        yield _added(tallies)
        if index % _KEPT == _KEPT - 1:
            jax.clear_caches()


def _try_batch(configuration: Configuration, generator: np.random.Generator, turn: int) -> Tally:
    size = SIZES[turn % len(SIZES)]
    problems = draw_problems(
        generator, LANES, *size, dtype=configuration.dtype, weighting=configuration.weighting
    )
    with jax.enable_x64(configuration.dtype == "float64"):
        log_partition, status = _solve(configuration, problems)
    is_solved = np.isin(status, (nce_jax.Status.CONVERGED, nce_jax.Status.NO_OVERLAP))
    eps = float(np.finfo(problems.data.dtype).eps)
    line = _line(configuration, problems)
    is_wrong = is_solved & ~is_root(problems, log_partition, eps=eps, line=line)
    first = int(np.argmax(is_wrong)) if is_wrong.any() else None
    return Tally(
        configuration,
        LANES,
        int((~is_solved).sum()),
        int(is_wrong.sum()),
        None if first is None else _example(problems, first, log_partition, status),
    )


def _solve(configuration: Configuration, problems: Problems) -> tuple[np.ndarray, np.ndarray]:
    arrays = [None if a is None else jnp.asarray(a) for a in problems]
    if configuration.dtype == "bfloat16":
        arrays[:2] = [a.astype(jnp.bfloat16) for a in arrays[:2]]
    solve = _compiled
    if configuration.weighting == "lost":  # a share is solved as it is called outside jit
        solve = _solved
    solution = solve(*arrays, configuration=configuration._replace(weighting=""))
    return np.asarray(solution.log_partition), np.asarray(solution.status)


def _solved(data, noise, weights_data, weights_noise, kappa, *, configuration: Configuration):
    criterion = criteria.nce(magnification=kappa)
    if configuration.strength is not None:
        criterion = criteria.ratio_regularized(criterion, configuration.strength)
    return criterion.profile(
        data,
        noise,
        weights_data=weights_data,
        weights_noise=weights_noise,
        solver=SOLVERS[configuration.solver],
        fixed_steps=configuration.fixed_steps,
    )


_compiled = functools.partial(jax.jit, static_argnames="configuration")(_solved)


def _line(configuration: Configuration, problems: Problems) -> Line | None:
    """2 strength (2 F - E_data[s] - E_noise[s]), as the derivative of the penalty."""
    if configuration.strength is None:
        return None
    means = []
    for values, weights in zip(problems[:2], problems[2:4], strict=True):
        weights = np.ones_like(values) if weights is None else weights
        total = (weights * values.astype(np.longdouble)).sum(-1)
        means.append(total / weights.astype(np.longdouble).sum(-1))
    strength = float(np.dtype(configuration.dtype).type(configuration.strength))
    return Line(4 * strength, (means[0] + means[1]) / 2)


def _example(problems: Problems, lane: int, log_partition: np.ndarray, status: np.ndarray) -> dict:
    """The problem of one lane with its wrong answer, to be solved again by hand."""
    arrays = {name: None if a is None else a[lane] for name, a in problems._asdict().items()}
    return {
        **arrays,
        "log_partition": log_partition[lane],
        "status": nce_jax.Status(int(status[lane])).name,
    }


def _added(tallies: list[Tally]) -> Tally:
    examples = [tally.example for tally in tallies if tally.example is not None]
    counts = [sum(tally[i] for tally in tallies) for i in (1, 2, 3)]
    return Tally(tallies[0].configuration, *counts, examples[0] if examples else None)
