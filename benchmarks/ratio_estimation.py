"""Density ratios from samples: `fit_log_ratio` against densratio's methods, whole fits.

The methods are uLSIF, RuLSIF and KLIEP.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import logsumexp

import nce_jax
from benchmarks.harness import Timed, measure
from benchmarks.peers import peer
from benchmarks.rows import Check, Report, Row, compare

METHODS = ("uLSIF", "RuLSIF", "KLIEP")
SIZE, HELD_OUT, ALPHA = 1_000, 20_000, 0.1
LOWEST = 1e-6
"""Ratios of a peer below this, zero among them, are taken to be this: their logarithm would know no
bounds."""
LOG_ERROR = "r.m.s. error of the log ratio on held-out samples of the numerator"
SQUARE_ERROR = "r.m.s. error of the ratio on held-out samples of the denominator, over its r.m.s."


class Problem(NamedTuple):
    """Samples of numerator and denominator, (size, dim), held-out ones, and the true log ratio."""

    x: np.ndarray
    y: np.ndarray
    held_out_x: np.ndarray
    held_out_y: np.ndarray
    log_ratio: Callable[[np.ndarray], np.ndarray]


class Fit(NamedTuple):
    """Two errors of an estimate: of the log ratio, and uLSIF's least-squares error of the ratio."""

    log_error: float
    square_error: float


def gaussians(dim: int) -> Problem:
    """Unit Gaussians at a distance of one."""
    shift = np.full(dim, dim**-0.5)
    rng = np.random.default_rng(dim)
    x, held_out_x = (rng.normal(size=(size, dim)) + shift for size in (SIZE, HELD_OUT))
    y, held_out_y = (rng.normal(size=(size, dim)) for size in (SIZE, HELD_OUT))
    return Problem(x, y, held_out_x, held_out_y, lambda z: z @ shift - 0.5)


def bump() -> Problem:
    """The example of densratio's documentation: N(1, 1/8^2) over N(1, 1/2^2).

    The ratio is a Gaussian bump like its kernels.
    """
    rng = np.random.default_rng(0)
    x, held_out_x = (rng.normal(1, 1 / 8, (size, 1)) for size in (SIZE, HELD_OUT))
    y, held_out_y = (rng.normal(1, 1 / 2, (size, 1)) for size in (SIZE, HELD_OUT))
    return Problem(x, y, held_out_x, held_out_y, lambda z: np.log(4) - 30 * (z[:, 0] - 1) ** 2)


def mixture() -> Problem:
    """Four Gaussians in the plane over N(0, 1.5^2 I), which suit a few kernels.

    Their spread is 1/2, and they lie 1.2 from the center.
    """
    rng, spread, wide = np.random.default_rng(4), 0.5, 1.5
    centers = 1.2 * np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])

    def draw(size: int) -> np.ndarray:
        return centers[rng.integers(0, 4, size)] + spread * rng.normal(size=(size, 2))

    def log_ratio(z: np.ndarray) -> np.ndarray:
        squares = ((z[:, None] - centers) ** 2).sum(-1)
        numerator = logsumexp(-squares / (2 * spread**2), axis=1) - np.log(4) - 2 * np.log(spread)
        return numerator + (z**2).sum(-1) / (2 * wide**2) + 2 * np.log(wide)

    x, held_out_x = draw(SIZE), draw(HELD_OUT)
    y, held_out_y = (wide * rng.normal(size=(size, 2)) for size in (SIZE, HELD_OUT))
    return Problem(x, y, held_out_x, held_out_y, log_ratio)


PROBLEMS: dict[str, Callable[[], Problem]] = {
    "Gaussians, 1-D": lambda: gaussians(1),
    "Gaussians, 5-D": lambda: gaussians(5),
    "Gaussian bump, 1-D": bump,
    "four Gaussians, 2-D": mixture,
}
OURS = "nce_jax"


def run(quick: bool) -> Report:
    """A row per problem and method; the details have both errors of all methods."""
    peer("densratio")
    rows: list[Row] = []
    details = []
    for name, make in PROBLEMS.items():
        problem = make()
        contenders = {
            method: _peer(problem, method) for method in (METHODS[-1:] if quick else METHODS)
        }
        with jax.enable_x64(False):
            contenders[OURS] = _ours(problem)
            timed = measure(contenders, repetitions=1 if quick else 3, block=0, label=name)
        rows += [_row(name, timed, method) for method in timed if method in METHODS]
        details.append(
            {"problem": name, "fits": [_line(method, fit) for method, fit in timed.items()]}
        )
    measures = {"log_error": LOG_ERROR, "square_error": SQUARE_ERROR}
    return Report(
        rows, {"measures": measures, "size": SIZE, "held_out": HELD_OUT, "problems": details}
    )


def _row(name: str, timed: dict[str, Timed], method: str) -> Row:
    def worse(mine: Fit, theirs: Fit) -> float:
        return mine.log_error / theirs.log_error

    check = Check(f"our {LOG_ERROR} over theirs", worse, 1.0, is_contest=True)
    note = (
        f"2 x {SIZE:,} samples; our time includes the choice of the model and the assessment,"
        " theirs the search for the kernel width"
    )
    return compare(
        f"{name}, {method}", timed, ours=OURS, against=[method], check=check, unit="fit", note=note
    )


def _line(method: str, timed: Timed) -> dict[str, Any]:
    return {"method": method, "seconds": float(np.median(timed.seconds)), **timed.value._asdict()}


def _ours(problem: Problem) -> Callable[[], Fit]:
    """Our fit with its default settings, which choose the model."""
    x, y = (np.asarray(side, np.float32) for side in (problem.x, problem.y))

    def fit() -> Fit:
        estimate = nce_jax.fit_log_ratio(jax.random.key(0), x, y, progress=False)
        return _errors(
            problem,
            lambda z: np.asarray(estimate.log_ratio(jnp.asarray(z, jnp.float32)), np.float64),
        )

    return fit


def _peer(problem: Problem, method: str) -> Callable[[], Fit]:
    """densratio's fit with cross-validation over its own grid of 81 widths and penalties.

    KLIEP has a line search instead.
    """
    densratio = peer("densratio").densratio

    def log_ratio(result: Any, z: np.ndarray) -> np.ndarray:
        ratio = np.asarray(result.compute_density_ratio(z), np.float64).ravel()
        # It estimates p / (alpha p + (1 - alpha) q), which is below 1 / alpha.
        if method == "RuLSIF":
            ratio = (1 - ALPHA) * ratio / np.maximum(1 - ALPHA * ratio, LOWEST)
        return np.log(np.maximum(ratio, LOWEST))

    def fit() -> Fit:
        np.random.seed(0)  # it draws its kernels' centers from numpy's global generator  # noqa: NPY002
        result = densratio(problem.x, problem.y, method, alpha=ALPHA, verbose=False)
        return _errors(problem, lambda z: log_ratio(result, z))

    return fit


def _errors(problem: Problem, estimate: Callable[[np.ndarray], np.ndarray]) -> Fit:
    """Both errors; they are a part of every fit's time, equally small for all."""
    log_errors = estimate(problem.held_out_x) - problem.log_ratio(problem.held_out_x)
    truth = np.exp(problem.log_ratio(problem.held_out_y))
    ratio_errors = np.exp(estimate(problem.held_out_y)) - truth
    return Fit(
        float(np.sqrt(np.mean(log_errors**2))),
        float(np.sqrt(np.mean(ratio_errors**2) / np.mean(truth**2))),
    )
