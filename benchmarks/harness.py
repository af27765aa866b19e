"""One harness for all benchmarks: interleaved repetitions and a ratio per repetition.

On a machine with other work a time means little and a ratio of neighbors in time means much:
contenders run in turn, in a new order at every repetition, and only what ran within the same
repetition is divided by one another. Processor time, of all threads, is kept as well: it separates
waiting from work where other programs use the machine.

    timed = measure({"ours": solve, "peer": Contender(peer_solve)}, repetitions=15)
    row = compare("BAR, 2 x 1,000", timed, ours="ours", against=["peer"], check=check, at_least=10)
"""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.common.progress import track


class Contender(NamedTuple):
    """A timed callable, and the units of work (replicates, steps, lanes) of one call."""

    fn: Callable[[], Any]
    units: int = 1


class Timed(NamedTuple):
    """Seconds per unit by repetition, wall and processor time, and the value of the last call."""

    seconds: np.ndarray
    processor_seconds: np.ndarray
    value: Any


def measure(
    contenders: Mapping[str, Callable[[], Any] | Contender],
    *,
    repetitions: int,
    block: float = 0.05,
    label: str = "timing",
    clock: Callable[[], float] = time.perf_counter,
    processor_clock: Callable[[], float] = time.process_time,
) -> dict[str, Timed]:
    """Times all contenders in turn, in blocks of repeated calls.

    A block repeats one contender for at least about `block` seconds; with `block` zero it is a
    single call.
    """
    entries = {
        name: entry if isinstance(entry, Contender) else Contender(entry)
        for name, entry in contenders.items()
    }
    clocks = clock, processor_clock
    counts = {name: _calibrate(entry.fn, block, clocks) for name, entry in entries.items()}
    elapsed: dict[str, list[np.ndarray]] = {name: [] for name in entries}
    values: dict[str, Any] = {}
    order = np.random.default_rng(0)
    for _ in track(range(repetitions), label):
        for name in order.permutation(list(entries)).tolist():
            durations, values[name] = _time_block(entries[name].fn, counts[name], clocks)
            elapsed[name].append(durations / counts[name] / entries[name].units)
    return {name: Timed(*np.transpose(elapsed[name]), values[name]) for name in entries}


def once(
    fn: Callable[[], Any],
    clock: Callable[[], float] = time.perf_counter,
    processor_clock: Callable[[], float] = time.process_time,
) -> Timed:
    """Times the first call only, for contenders that are too slow to repeat."""
    durations, value = _time_block(fn, 1, (clock, processor_clock))
    return Timed(*durations[:, None], value)


def _calibrate(fn: Callable[[], Any], block: float, clocks: tuple[Callable[[], float], ...]) -> int:
    """Number of calls per block, from one timed call after the first."""
    if block <= 0:
        return 1
    jax.block_until_ready(fn())
    (elapsed, _), _ = _time_block(fn, 1, clocks)
    return max(1, math.ceil(block / elapsed)) if elapsed > 0 else 1


def _time_block(
    fn: Callable[[], Any], count: int, clocks: tuple[Callable[[], float], ...]
) -> tuple[np.ndarray, Any]:
    start = np.array([clock() for clock in clocks])
    for _ in range(count):
        value = jax.block_until_ready(fn())
    return np.array([clock() for clock in clocks]) - start, value
