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
from nce_jax.free_energy._bootstrap_mbar import redraw
from nce_jax.free_energy._network import make_network

SETTINGS = {(16, 64_000): 20.0, (5, 20_000): 10.0, (5, 100_000): 10.0}
"""Numbers of states and of samples in all, with the smallest ratio that is aimed at."""
REPLICATES, TARGET_REPLICATE, TARGET_FAST_MBAR = 20, 100.0, 3.0
PROTOCOLS, METHODS = ("default", "robust"), ("Newton", "L-BFGS-B")
"""The solvers that pymbar and FastMBAR offer."""
TOLERANCES = {"pymbar": 1e-9, "FastMBAR": 1e-6}
OURS = "nce_jax, float64"


def oscillators(num_states: int, size: int) -> np.ndarray:
    """Reduced potentials k (x - mu)^2 / 2, (K, N), of a row of states one apart."""
    rng = np.random.default_rng(0)
    stiffness, centers = np.linspace(1, 3, num_states), np.arange(num_states)[:, None]
    x = centers + rng.normal(size=(num_states, size)) / np.sqrt(stiffness[:, None])
    return stiffness[:, None] / 2 * (x.ravel() - centers) ** 2


def run(quick: bool) -> Report:
    """All settings in float64, and bootstrap replicates of the first."""
    peer("pymbar"), peer("FastMBAR")
    with jax.enable_x64(True):
        rows = [row for setting in SETTINGS for row in _rows(*setting, quick)]
        return Report([*rows, _replicates(quick)])


def _rows(num_states: int, total: int, quick: bool) -> list[Row]:
    size = total // num_states
    potentials, counts = oscillators(num_states, size), np.full(num_states, size)
    contenders = {OURS: _solve(potentials, counts)}
    contenders |= {
        f"pymbar, {name}, {protocol}": partial(pymbar_mbar, module, potentials, counts, protocol)
        for name, module in (("NumPy", pymbar_in_numpy()), ("JAX", peer("pymbar")))
        for protocol in PROTOCOLS
    }
    contenders |= {
        f"FastMBAR, {method}": partial(fast_mbar, potentials, counts, method) for method in METHODS
    }
    what = f"MBAR, {num_states} states, {total:,} samples"
    timed = measure(contenders, repetitions=2 if quick else 7, label=what)
    target = SETTINGS[num_states, total]
    return [
        _against("pymbar", what, timed, target),
        _against("FastMBAR", f"{what}, FastMBAR", timed, TARGET_FAST_MBAR),
    ]


def _against(name: str, what: str, timed: Mapping[str, Timed], target: float) -> Row:
    """A row against the fastest mode of a peer among those that are as accurate as asked for."""
    check = Check(f"difference from {name} in kT", _difference, TOLERANCES[name])
    modes = [contender for contender in timed if contender.startswith(name)]
    errors = {mode: _difference(timed[OURS].value, timed[mode].value) for mode in modes}
    # Where none is, the check says so.
    against = [mode for mode in modes if errors[mode] <= TOLERANCES[name]] or modes
    return compare(
        what, timed, ours=OURS, against=against, check=check, at_least=target, unit="solve"
    )


def _solve(potentials: np.ndarray, counts: np.ndarray) -> Callable[[], Any]:
    program = jax.jit(lambda u: nce_jax.mbar(u, counts)[:3])
    return partial(program, jnp.asarray(potentials))


def pymbar_mbar(
    pymbar: ModuleType, potentials: np.ndarray, counts: np.ndarray, protocol: str = "default"
) -> Any:
    """f, differences and errors by one of pymbar's protocols of solvers."""
    fit = pymbar.MBAR(potentials, counts, solver_protocol=protocol)
    result = fit.compute_free_energy_differences()
    return result["Delta_f"][0], result["Delta_f"], result["dDelta_f"]


def fast_mbar(potentials: np.ndarray, counts: np.ndarray, method: str) -> Any:
    """f, differences and errors by one of FastMBAR's methods."""
    result = peer("FastMBAR").FastMBAR(potentials, counts, method=method)
    return result.DeltaF[0], result.DeltaF, result.DeltaF_std


def _replicates(quick: bool) -> Row:
    """Seconds per replicate; pymbar solves each from the first guess, as its bootstrap does."""
    num_states, total = next(iter(SETTINGS))
    size, key = total // num_states, jax.random.key(0)
    potentials, counts = oscillators(num_states, size), np.full(num_states, size)
    on_device = jnp.asarray(potentials)

    def ours() -> Any:
        result = nce_jax.free_energy.bootstrap_mbar(
            key, on_device, counts, num_replicates=REPLICATES
        )
        return result.delta_f, result.replicates[-1]

    def theirs() -> Any:
        fit = pymbar_in_numpy().MBAR(potentials, counts, n_bootstraps=1)
        return fit.f_k - fit.f_k[0]

    what = f"Bootstrap of MBAR, {num_states} states, {total:,} samples"
    contenders = {OURS: Contender(ours, REPLICATES), "pymbar, NumPy": Contender(theirs, 2)}
    timed = measure(contenders, repetitions=3 if quick else 5, block=0.0, label=what)
    times = drawn_times(jax.random.split(key, REPLICATES)[-1], on_device, counts)
    redrawn = pymbar_mbar(pymbar_in_numpy(), np.repeat(potentials, times, axis=1), counts)[0]
    check = Check(
        "difference of f, and of a replicate, in kT",
        lambda ours, theirs: _difference(ours, (theirs, redrawn)),
        1e-9,
    )
    return compare(
        what,
        timed,
        ours=OURS,
        against=["pymbar, NumPy"],
        check=check,
        at_least=TARGET_REPLICATE,
        unit="replicate",
    )


def drawn_times(key: jax.Array, potentials: jax.Array, counts: np.ndarray) -> np.ndarray:
    """How often `bootstrap_mbar` draws each sample for the replicate of a key, (N,)."""
    network = make_network(potentials, jnp.asarray(counts), None, 1.0)
    return np.asarray(redraw(key, network, 1)).astype(int)


def _difference(ours: Any, theirs: Any) -> float:
    pairs = zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True)
    return float(max(np.max(np.abs(np.asarray(a) - np.asarray(b))) for a, b in pairs))
