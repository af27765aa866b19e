"""MBAR on oscillators against pymbar and FastMBAR: free energies, errors, bootstrap replicates."""

from collections.abc import Callable, Mapping
from functools import partial
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import nce_jax
from benchmarks.harness import Contender, Timed, measure
from benchmarks.peers import peer, pymbar_in_numpy
from benchmarks.rows import Check, Report, Row, compare

SETTINGS = {(16, 4_000): 20.0, (5, 20_000): 10.0}
"""Numbers of states and of samples of each, with the smallest ratio that is aimed at."""
REPLICATES, TARGET_REPLICATE, TARGET_FAST_MBAR = 20, 100.0, 3.0
OURS = "nce_jax, float64"


def oscillators(num_states: int, size: int) -> np.ndarray:
    """Reduced potentials k (x - mu)^2 / 2, (K, N), of a row of states one apart."""
    rng = np.random.default_rng(0)
    stiffness, centers = np.linspace(1, 3, num_states), np.arange(num_states)[:, None]
    x = centers + rng.normal(size=(num_states, size)) / np.sqrt(stiffness[:, None])
    return stiffness[:, None] / 2 * (x.ravel() - centers) ** 2


def run(quick: bool) -> Report:
    """Both settings in float64, and bootstrap replicates of the first."""
    peer("pymbar"), peer("FastMBAR")
    with jax.enable_x64(True):
        rows = [row for setting in SETTINGS for row in _rows(*setting, quick)]
        return Report([*rows, _replicates(quick)])


def _rows(num_states: int, size: int, quick: bool) -> list[Row]:
    potentials, counts = oscillators(num_states, size), np.full(num_states, size)
    contenders = {
        OURS: _solve(potentials, counts),
        "pymbar, NumPy": partial(pymbar_mbar, pymbar_in_numpy(), potentials, counts),
        "pymbar, JAX": partial(pymbar_mbar, peer("pymbar"), potentials, counts),
        "FastMBAR": partial(fast_mbar, potentials, counts),
    }
    what = f"MBAR, {num_states} states x {size:,}, with errors"
    timed = measure(contenders, repetitions=3 if quick else 9, label=what)
    target = SETTINGS[num_states, size]
    return [
        _against("pymbar", what, timed, target),
        _against("FastMBAR", f"{what}, FastMBAR", timed, TARGET_FAST_MBAR),
    ]


def _against(name: str, what: str, timed: Mapping[str, Timed], target: float) -> Row:
    tolerance = 1e-9 if name == "pymbar" else 1e-6
    check = Check(f"difference from {name} in kT", _difference, tolerance)
    against = [contender for contender in timed if contender.startswith(name)]
    return compare(
        what, timed, ours=OURS, against=against, check=check, at_least=target, unit="solve"
    )


def _solve(potentials: np.ndarray, counts: np.ndarray) -> Callable[[], Any]:
    program = jax.jit(lambda u: nce_jax.mbar(u, counts)[:3])
    return partial(program, jnp.asarray(potentials))


def pymbar_mbar(pymbar: ModuleType, potentials: np.ndarray, counts: np.ndarray) -> Any:
    """f, differences and errors by pymbar's default solver."""
    result = pymbar.MBAR(potentials, counts).compute_free_energy_differences()
    return result["Delta_f"][0], result["Delta_f"], result["dDelta_f"]


def fast_mbar(potentials: np.ndarray, counts: np.ndarray) -> Any:
    """f, differences and errors by FastMBAR's Newton method."""
    result = peer("FastMBAR").FastMBAR(potentials, counts, method="Newton")
    return result.DeltaF[0], result.DeltaF, result.DeltaF_std


def _replicates(quick: bool) -> Row:
    """Seconds per replicate; pymbar solves each from the first guess, as its bootstrap does."""
    num_states, size = 16, 4_000
    potentials, counts = oscillators(num_states, size), np.full(num_states, size)
    on_device = jnp.asarray(potentials)

    def ours() -> Any:
        result = nce_jax.free_energy.bootstrap_mbar(
            jax.random.key(0), on_device, counts, num_replicates=REPLICATES
        )
        return result.delta_f

    def theirs() -> Any:
        fit = pymbar_in_numpy().MBAR(potentials, counts, n_bootstraps=1)
        return fit.f_k - fit.f_k[0]

    what = f"Bootstrap of MBAR, {num_states} states x {size:,}"
    contenders = {OURS: Contender(ours, REPLICATES), "pymbar, NumPy": Contender(theirs, 2)}
    timed = measure(contenders, repetitions=3 if quick else 5, block=0.0, label=what)
    check = Check("difference of f in kT", _difference, 1e-9)
    return compare(
        what,
        timed,
        ours=OURS,
        against=["pymbar, NumPy"],
        check=check,
        at_least=TARGET_REPLICATE,
        unit="replicate",
    )


def _difference(ours: Any, theirs: Any) -> float:
    pairs = zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True)
    return float(max(np.max(np.abs(np.asarray(a) - np.asarray(b))) for a, b in pairs))
