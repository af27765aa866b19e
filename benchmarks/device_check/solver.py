"""A solve with its while-loop against as many fixed steps, and against reading the samples."""

import functools
from typing import Any

import jax
import numpy as np
from scipy.special import expit

import nce_jax
from benchmarks import fresh
from benchmarks.device_check import ceilings
from benchmarks.device_check.parts import Size
from benchmarks.device_check.timing import measure_warm
from benchmarks.rows import Check, Report, Row, compare

SIZES = {"full": (100_000, 10_000_000), "small": (1_000,)}
DTYPES = ("float32", "float64")
# Twice the tolerance of the solver, eps^(3/4): its own error, and that of the device's exponential.
TOLERANCES = {dtype: 2 * float(np.finfo(dtype).eps) ** 0.75 for dtype in DTYPES}
LOOP = "while-loop"


def run(size: Size) -> Report:
    """Both dtypes at every size."""
    rows, details = [], {}
    for samples in SIZES[size]:
        for dtype in DTYPES:
            with jax.enable_x64(dtype == "float64"):
                row, detail = _race(samples, dtype, size)
            rows.append(row)
            details[row.name] = detail
    return Report(rows, details)


def _race(samples: int, dtype: str, size: Size) -> tuple[Row, dict[str, Any]]:
    sides = jax.block_until_ready(fresh._log_ratios(samples, dtype))
    solution = nce_jax.solve_log_partition(*sides)
    steps, root = int(solution.num_evaluations), root_in_float64(sides, solution.log_partition)
    fixed = f"fixed steps ({steps})"
    programs = {LOOP: jax.jit(_estimate), fixed: functools.partial(_fixed, steps=steps)}
    programs[fixed] = jax.jit(programs[fixed])
    timed = measure_warm(
        {name: functools.partial(program, *sides) for name, program in programs.items()},
        size,
        repetitions=11,
        block=0.02,
        label=f"solve, 2 x {samples:,}, {dtype}",
    )
    itemsize = np.dtype(dtype).itemsize
    row = compare(
        f"solve, 2 x {samples:,}, {dtype}",
        timed,
        ours=LOOP,
        against=[fixed],
        check=Check(
            "difference of both from a root in float64, in nats",
            lambda *both: max(abs(float(each) - root) for each in both),
            TOLERANCES[dtype],
            is_contest=True,
        ),
        is_cost=True,
        unit="solve",
        floor=ceilings.peaks(size).floor(num_bytes=2.0 * samples * itemsize * steps),
    )
    # The loop's condition is read before each evaluation, and once more to end.
    return row, {"evaluations": steps, "reads_of_the_condition": steps + 1, "root": root}


def _estimate(s_data: jax.Array, s_noise: jax.Array, **options: Any) -> jax.Array:
    return nce_jax.solve_log_partition(s_data, s_noise, **options).log_partition


def _fixed(s_data: jax.Array, s_noise: jax.Array, *, steps: int) -> jax.Array:
    return _estimate(s_data, s_noise, fixed_steps=steps)


def root_in_float64(sides: list[jax.Array], start: Any) -> float:
    """F of these very samples by NumPy in float64: two Newton steps from a good start."""
    s_data, s_noise = (np.asarray(side, np.float64) for side in sides)
    f = float(start)
    for _ in range(2):
        p_data, p_noise = expit(f - s_data), expit(s_noise - f)
        slope = np.mean(p_data * (1 - p_data)) + np.mean(p_noise * (1 - p_noise))
        f -= (p_data.mean() - p_noise.mean()) / slope
    return float(f)
