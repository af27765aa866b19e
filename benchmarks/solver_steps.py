"""Steps of every solver against the separation of data and noise: a table, without times."""

import jax
import jax.numpy as jnp
import numpy as np

import nce_jax
from benchmarks.rows import Report

SEPARATIONS = (0.0, 0.5, 1.0, 2.0, 4.0, 6.0, 8.0, 12.0, 16.0, -1.0, -4.0, -8.0, -16.0)
SIZE, OFFSET, MAX_STEPS = 512, 3.0, 1_000
SOLVERS = {
    "Newton": nce_jax.newton(),
    "bisection": nce_jax.bisection(),
    "fixed point": nce_jax.fixed_point(),
}


def run(quick: bool) -> Report:
    """Unit Gaussians at various distances, 2 x 512 samples, s offset by 3.

    A negative separation inverts the ratios.
    """
    num_draws = 10 if quick else 100
    tables = []
    for dtype in ("float64", "float32"):
        with jax.enable_x64(dtype == "float64"):
            tables += [_line(separation, dtype, num_draws) for separation in SEPARATIONS]
    setting = {"size": SIZE, "offset": OFFSET, "draws": num_draws, "max_steps": MAX_STEPS}
    return Report([], {"setting": setting, "lines": tables})


def draw(separation: float, num_draws: int) -> tuple[np.ndarray, np.ndarray]:
    """Log ratios s = +-(d x - d^2 / 2) + offset of data and noise, (draws, size).

    x is from N(d, 1) for data and from N(0, 1) for noise.
    """
    distance, sign = abs(separation), np.sign(separation) or 1.0
    x_data, x_noise = np.random.default_rng(0).normal(size=(2, num_draws, SIZE))
    return tuple(
        sign * (distance * x - distance**2 / 2) + OFFSET for x in (x_data + distance, x_noise)
    )


def _line(separation: float, dtype: str, num_draws: int) -> dict:
    s_data, s_noise = (jnp.asarray(side, dtype) for side in draw(separation, num_draws))
    line = {"separation": separation, "dtype": dtype}
    for name, solver in SOLVERS.items():
        solution = nce_jax.solve_log_partition(s_data, s_noise, solver=solver, max_steps=MAX_STEPS)
        line[name] = _steps(solution)
    return line


def _steps(solution: nce_jax.Solution) -> dict:
    """Smallest, median and largest number of steps, and the number of lanes that failed."""
    steps, status = np.asarray(solution.num_evaluations), np.asarray(solution.status)
    unsolved = int(np.sum(~np.isin(status, (nce_jax.Status.CONVERGED, nce_jax.Status.NO_OVERLAP))))
    return {
        "min": int(steps.min()),
        "median": float(np.median(steps)),
        "max": int(steps.max()),
        "unsolved": unsolved,
    }
