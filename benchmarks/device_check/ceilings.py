"""Peak rates of the device, measured on it: of matrix products by precision, and of a copy.

They are what the other parts' floors are made of. A table of the manufacturer would do for one
device, and says nothing of what a program reaches there.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.device_check.parts import Size
from benchmarks.device_check.timing import measure_warm
from benchmarks.harness import Contender, Timed
from benchmarks.rows import Amount, Floor, Report, spread

CALLS = 5
SIDE = {"full": 8_192, "small": 256}
COPIED = {"full": 1 << 28, "small": 1 << 20}
"""Elements, 1 GiB in float32: far more than a cache holds."""
PRECISIONS = {
    "float32": (jnp.float32, None),
    "float32, highest": (jnp.float32, "highest"),
    "bfloat16": (jnp.bfloat16, None),
}
COPY = "copy"


class Peaks(NamedTuple):
    """FLOP/s of matrix products by precision, and bytes/s read and written by a copy."""

    flops: dict[str, np.ndarray]
    bandwidth: np.ndarray

    def floor(self, *, flops: float = 0.0, num_bytes: float = 0.0, of: str = "float32") -> Floor:
        """The roofline: the longer of the work at the peak rate and of the bytes moved."""
        seconds = max(
            flops / np.median(self.flops[of]), num_bytes / float(np.median(self.bandwidth))
        )
        work = [f"{flops / 1e9:.3g} Gflop"] * (flops > 0) + [f"{num_bytes / 1e9:.3g} GB"]
        what = f"the roofline ({', '.join(work)})"

        def per_repetition(timed: dict[str, Timed]) -> np.ndarray:
            return np.full(len(next(iter(timed.values())).seconds), seconds)

        return Floor(what, per_repetition)


def run(size: Size) -> Report:
    """Peaks as amounts."""
    found = peaks(size)
    amounts = [
        Amount(f"matrix product, {SIDE[size]:,}^2, {name}", "FLOP/s", spread(rates))
        for name, rates in found.flops.items()
    ]
    what = f"copy of {4 * COPIED[size] / 2**20:,.0f} MiB, read and written"
    return Report(amounts=[*amounts, Amount(what, "B/s", spread(found.bandwidth))])


@functools.cache
def peaks(size: Size) -> Peaks:
    """Measured once in a process; in each, as another may have run on a hotter device."""
    with jax.enable_x64(False):
        contenders = {name: _product(SIDE[size], *kind) for name, kind in PRECISIONS.items()}
        contenders[COPY] = _copy(COPIED[size])
        timed = measure_warm(contenders, size, repetitions=7, label="ceilings")
    operations = 2.0 * SIDE[size] ** 3
    rates = {name: operations / timed[name].seconds for name in PRECISIONS}
    return Peaks(rates, 2 * 4 * COPIED[size] / timed[COPY].seconds)


def _product(side: int, dtype: Any, precision: str | None) -> Contender:
    # Random operands: a device takes less power, and is faster, on zeros.
    left, right = jax.random.normal(jax.random.key(0), (2, side, side), dtype)
    return _repeated(jax.jit(functools.partial(jnp.matmul, precision=precision)), left, right)


def _copy(size: int) -> Contender:
    return _repeated(jax.jit(lambda x: x + 1), jnp.ones(size, jnp.float32))


def _repeated(program: Callable[..., jax.Array], *arguments: jax.Array) -> Contender:
    """Several calls in flight, so that dispatching one overlaps with the one before."""

    def calls() -> jax.Array:
        for _ in range(CALLS):
            output = program(*arguments)
        return output

    return Contender(calls, CALLS)
