"""Checks of the command line, made before a device is used or anything large is imported."""

import math
import os

from experiments.common.endings import CommandError
from experiments.sweep.arguments import Sweep, Toy2d

COUNTS = {
    "seeds": 2**31 - 1,
    "num_steps": 2**31 - 2,
    "batch_size": 2**24,
    "num_records": 2**20,
    "devices": 2**12,
    "max_lanes": 2**63 - 1,
    "memory_limit": 2**63 - 1,
    "dim": 2**14,
    "num_cells": 2**14,
}
"""Counts, and the largest of each: seeds and steps are int32, and more of the others would end in
the compiler or in the memory of any machine."""
BYTES_PER_RECORD = 5 * 4
"""Memory of the result per lane and record: at most five float32 variables."""


class UsageError(CommandError):
    """An argument is invalid; the message names it, the expected values and the value given."""


def check(sweep: Sweep) -> None:
    """Raises a `UsageError` for the first invalid argument."""
    for name in sweep.axes:
        values = getattr(sweep, name)
        if not values or not all(0 < value < math.inf for value in values):
            raise UsageError(f"{name}: expected finite positive numbers, got {list(values)}")
        _check_distinct(name, values)
    if not sweep.treatment:
        raise UsageError("treatment: expected at least one, got none")
    _check_distinct("treatment", sweep.treatment)
    for name, most in COUNTS.items():
        value = getattr(sweep, name, None)
        if value is not None and value < 1:
            raise UsageError(f"{name}: expected at least 1, got {value}")
        if value is not None and value > most:
            raise UsageError(f"{name}: expected at most {most}, got {value}")
    _check_size(sweep)
    if not 0 < sweep.raised_rate < math.inf:
        raise UsageError(f"raised_rate: expected a finite positive number, got {sweep.raised_rate}")
    if isinstance(sweep, Toy2d) and not all(width > 0 for width in sweep.hidden):
        raise UsageError(f"hidden: expected widths of at least 1, got {list(sweep.hidden)}")


def _check_size(sweep: Sweep) -> None:
    """Raises a `UsageError` if the result alone would not fit into this machine's memory."""
    lanes = math.prod(len(getattr(sweep, name)) for name in (*sweep.axes, "treatment"))
    num_bytes = lanes * sweep.seeds * min(sweep.num_records, sweep.num_steps) * BYTES_PER_RECORD
    memory = memory_of_this_machine()
    if num_bytes > memory:
        raise UsageError(
            f"seeds: expected a grid whose result fits into memory ({memory / 1e9:.0f} GB), got"
            f" {lanes * sweep.seeds:,} lanes ({num_bytes / 1e9:,.0f} GB)"
        )


def memory_of_this_machine() -> float:
    """Returns the bytes of its main memory; infinity if the system does not tell."""
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return math.inf


def _check_distinct(name: str, values: tuple) -> None:
    if len(set(values)) < len(values):
        raise UsageError(f"{name}: expected distinct values, got {list(values)}")
