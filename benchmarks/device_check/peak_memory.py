"""Memory: what the compiler plans for a program, and the device's peak after it ran.

A device counts its peak since the process began, so that programs run from the smallest to the
largest, in a process of their own.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

import nce_jax
from benchmarks import fresh, train_step
from benchmarks.device_check.pairs import LOSSES, _embeddings
from benchmarks.device_check.parts import Size
from benchmarks.rows import Amount, Report, spread
from nce_jax import training

BATCH = {"full": 8_192, "small": 64}
SAMPLES = {"full": 10_000_000, "small": 1_000}
PAIRS, BLOCK = {"full": (32_768, 512), "small": (128, 16)}, {"full": 1_024, "small": 32}


def run(size: Size) -> Report:
    """Train step, solve, and InfoNCE in blocks with its gradient; float32."""
    with jax.enable_x64(False):
        return Report(amounts=[_amount(*program) for program in _programs(size)])


def _programs(size: Size) -> Iterator[tuple[str, Callable[..., Any], Any]]:
    step, *arguments = train_step._program(training.solved(), BATCH[size])
    yield f"train step, batch {BATCH[size]:,}", step, arguments
    sides = fresh._log_ratios(SAMPLES[size], "float32")
    yield f"solve, 2 x {SAMPLES[size]:,}", nce_jax.solve_log_partition, sides
    loss = functools.partial(LOSSES["info_nce_loss"], chunk_size=BLOCK[size])
    name = "info_nce_loss and gradient, {:,} x {}".format(*PAIRS[size])
    yield name, jax.value_and_grad(loss, (0, 1)), _embeddings(*PAIRS[size])


def _amount(name: str, program: Callable[..., Any], arguments: Any) -> Amount:
    """Bytes of the program, beside those of its arguments and the peak of the device."""
    compiled = jax.jit(program).lower(*arguments).compile()
    jax.block_until_ready(compiled(*arguments))
    planned = compiled.memory_analysis()
    parts = {
        part: float(getattr(planned, f"{part}_size_in_bytes"))
        for part in ("temp", "output", "argument")
    }
    stats = jax.devices()[0].memory_stats() or {}
    peak = {"peak of the device": stats["peak_bytes_in_use"]} if stats else {}
    whole = spread(np.array([sum(parts.values())]))
    return Amount(name, "B", whole, beside={"arguments": parts["argument"], **peak})
