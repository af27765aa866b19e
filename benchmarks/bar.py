"""BAR on Gaussian work values against every method of pymbar's `bar`, and against FastMBAR."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import nce_jax
from benchmarks import floors
from benchmarks.harness import Timed, measure
from benchmarks.peers import PYMBAR_METHODS, peer, pymbar_bar
from benchmarks.rows import Check, Report, Row, compare

TOLERANCES = {"float64": 1e-9, "float32": 1e-5}
FAST = "FastMBAR, L-BFGS-B"
TARGETS = {"float64": 25.0, "float32": 50.0}


def gaussian_work(
    size: int, delta_f: float = 1.0, sigma: float = 2.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Forward and reverse work in kT that obey Crooks' theorem.

    Both are normal, with means +-delta_f + sigma^2 / 2.
    """
    forward, reverse = np.random.default_rng(seed).normal(sigma**2 / 2, sigma, (2, size))
    return forward + delta_f, reverse - delta_f


def run(quick: bool) -> Report:
    """Two sizes, with and without error bar, in float64 and float32."""
    peer("pymbar"), peer("FastMBAR")
    with jax.enable_x64(True):
        settings = [(size, error_bar) for size in (100_000, 1_000) for error_bar in (False, True)]
        return Report([row for setting in settings for row in _rows(*setting, quick)])


def _rows(size: int, error_bar: bool, quick: bool) -> list[Row]:
    work = gaussian_work(size)
    contenders = {
        f"pymbar, {method}": partial(pymbar_bar, *work, method=method, error_bar=error_bar)
        for method in PYMBAR_METHODS
    }
    contenders |= {f"nce_jax, {dtype}": _solve(work, dtype, error_bar) for dtype in TOLERANCES}
    contenders |= {} if error_bar else {FAST: partial(fast_mbar, *work)}
    what = f"BAR, 2 x {size:,}" + (", with error bar" if error_bar else "")
    ceilings = {dtype: floors.evaluations(2 * size, dtype) for dtype in TOLERANCES}
    floor_contenders = ceilings["float64"].contenders | ceilings["float32"].contenders
    timed = measure(contenders | floor_contenders, repetitions=3 if quick else 25, label=what)
    fast_mbar_rows = [] if error_bar else [_against_fast_mbar(what, timed)]
    return fast_mbar_rows + [
        compare(
            f"{what}, {dtype}",
            timed,
            ours=f"nce_jax, {dtype}",
            against=[name for name in contenders if name.startswith("pymbar")],
            check=Check("difference from pymbar in kT", _difference, tolerance),
            at_least=TARGETS[dtype] if size == 100_000 and not error_bar else None,
            unit="solve",
            floor=_floor(work, dtype, ceilings, error_bar),
        )
        for dtype, tolerance in TOLERANCES.items()
    ]


def _against_fast_mbar(what: str, timed: Mapping[str, Timed]) -> Row:
    check = Check("difference in kT", _difference, TOLERANCES["float64"])
    name = f"{what}, float64, FastMBAR"
    return compare(name, timed, ours="nce_jax, float64", against=[FAST], check=check, unit="solve")


def fast_mbar(forward: np.ndarray, reverse: np.ndarray) -> float:
    """FastMBAR's free energy difference, by the faster and more accurate of its two methods."""
    size = len(forward)
    energy = np.stack([np.zeros(2 * size), np.concatenate([forward, -reverse])])
    result = peer("FastMBAR").FastMBAR(energy, np.array([size, size]), method="L-BFGS-B")
    return float(result.DeltaF[0, 1])


def _solve(work: tuple[np.ndarray, np.ndarray], dtype: str, error_bar: bool) -> Callable[[], Any]:
    """Our solve as a program in `dtype` alone, on arrays on the device."""

    def solve(forward, reverse):
        result = nce_jax.bar(forward, reverse)
        return (result.delta_f, result.standard_error) if error_bar else result.delta_f

    program, arrays = jax.jit(solve), [jnp.asarray(side, dtype) for side in work]
    if dtype == "float32" and "f64" in program.lower(*arrays).compile().as_text():
        raise TypeError("the float32 program computes in float64 somewhere")
    assert all(leaf.dtype == dtype for leaf in jax.tree.leaves(program(*arrays)))
    return partial(program, *arrays)


def _floor(
    work: tuple[np.ndarray, np.ndarray],
    dtype: str,
    ceilings: Mapping[str, floors.Evaluations],
    error_bar: bool,
) -> floors.Floor:
    """The passes of the solver over the samples; an error bar takes one more.

    Large sets in float64 are evaluated in float32 once.
    """
    forward, reverse = (jnp.asarray(side, dtype) for side in work)
    count = int(nce_jax.solve_log_partition(reverse, -forward).num_evaluations) + error_bar
    num_short = int(dtype == "float64" and len(forward) > 10_000)
    return floors.together(
        ceilings["float32"].floor(num_short), ceilings[dtype].floor(count - num_short)
    )


def _difference(ours: Any, theirs: Any) -> float:
    return float(np.max(np.abs(np.subtract(ours, theirs))))
