"""Bootstrap of BAR, resampling included, against FastMBAR's own."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

import nce_jax
from benchmarks.bar import gaussian_work
from benchmarks.harness import Contender, measure
from benchmarks.peers import peer
from benchmarks.rows import Check, Report, compare

SIZE, OUR_REPLICATES, PEER_REPLICATES = 100_000, 200, 4
TARGETS = {"float64": 50.0, "float32": None}


def run(quick: bool) -> Report:
    """Both resample both sides and solve anew for every replicate; times are per replicate."""
    work = gaussian_work(SIZE)
    fastmbar = FastMBARBootstrap(*work)
    with jax.enable_x64(True):
        contenders = {"FastMBAR": Contender(fastmbar, PEER_REPLICATES)}
        contenders |= {
            f"nce_jax, {dtype}": Contender(_ours(work, dtype), OUR_REPLICATES) for dtype in TARGETS
        }
        timed = measure(contenders, repetitions=2 if quick else 7, label="bootstrap")
    check = Check(
        "log of the ratio of standard errors, within three standard deviations",
        lambda ours, _: abs(float(jnp.log(ours.standard_error)) - np.log(fastmbar.standard_error)),
        3 * np.sqrt(0.5 / (OUR_REPLICATES - 1) + 0.5 / fastmbar.degrees_of_freedom),
    )
    note = (
        f"resampling is included; {OUR_REPLICATES} replicates of ours, {PEER_REPLICATES} per call"
        " of FastMBAR (float64)"
    )
    return Report(
        [
            compare(
                f"Bootstrap, 2 x {SIZE:,}, {dtype}",
                timed,
                ours=f"nce_jax, {dtype}",
                against=["FastMBAR"],
                check=check,
                at_least=target,
                unit="replicate",
                note=note,
            )
            for dtype, target in TARGETS.items()
        ]
    )


class FastMBARBootstrap:
    """FastMBAR as in its documentation, where the constructor does all the work.

    It pools the variances of all calls.
    """

    def __init__(self, forward: np.ndarray, reverse: np.ndarray) -> None:
        self.constructor = peer("FastMBAR").FastMBAR
        peer("torch").manual_seed(0)
        # Energies of two states, up to a constant per sample: 0, and the work between the states.
        self.energy = np.stack([np.zeros(2 * SIZE), np.concatenate([forward, -reverse])])
        self.counts = np.array([SIZE, SIZE])
        self.variances: list[float] = []

    def __call__(self) -> float:
        result = self.constructor(
            self.energy, self.counts, bootstrap=True, bootstrap_num_rep=PEER_REPLICATES
        )
        self.variances.append(float(result.DeltaF_std[0, 1]) ** 2)
        return float(result.DeltaF[0, 1])

    @property
    def standard_error(self) -> float:
        """Standard error from the pooled variance of all calls so far."""
        return float(np.sqrt(np.mean(self.variances)))

    @property
    def degrees_of_freedom(self) -> int:
        """Degrees of freedom of the pooled variance."""
        return len(self.variances) * (PEER_REPLICATES - 1)


def _ours(
    work: tuple[np.ndarray, np.ndarray], dtype: str
) -> Callable[[], nce_jax.diagnostics.Bootstrap]:
    forward, reverse = (jnp.asarray(side, dtype) for side in work)
    program = jax.jit(
        lambda key: nce_jax.bootstrap_log_partition(
            key, reverse, -forward, num_replicates=OUR_REPLICATES
        )
    )
    key = jax.random.key(0)
    assert program(key).standard_error.dtype == dtype
    return lambda: program(key)
