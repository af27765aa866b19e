"""Times of programs that are compiled and have run before."""

from collections.abc import Callable, Mapping
from typing import Any

import jax

from benchmarks.device_check.parts import Size
from benchmarks.harness import Contender, Timed, measure

Contenders = Mapping[str, Callable[[], Any] | Contender]


def measure_warm(
    contenders: Contenders, size: Size, *, repetitions: int, label: str, block: float = 0.0
) -> dict[str, Timed]:
    """`harness.measure` after a first call of each; three repetitions where all is small."""
    for entry in contenders.values():
        jax.block_until_ready((entry.fn if isinstance(entry, Contender) else entry)())
    is_full = size == "full"
    return measure(
        contenders,
        repetitions=repetitions if is_full else 3,
        block=block if is_full else 0.0,
        label=label,
    )
