"""How often a program makes the host wait, from a trace of one call.

A loop whose end depends on data reads its condition from the device before every turn, unless the
device decides by itself; each such copy to the host is an event of the trace. A CPU has none.
"""

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

import nce_jax
from benchmarks import fresh, train_step
from benchmarks.device_check.parts import Size
from benchmarks.device_check.solver import _estimate
from benchmarks.rows import Amount, Report, spread
from nce_jax import training

SAMPLES = {"full": 100_000, "small": 500}
COPY_TO_HOST = "memcpyd2h"
TREATMENTS = {
    "joint gradient": training.joint_gradient(),
    "solved": training.solved(),
    "4 fixed steps": training.solved(fixed_steps=4),
}


def run(size: Size) -> Report:
    """Copies to the host in a solve and in a train step, by how F is found."""
    with jax.enable_x64(False):
        counts = {name: count(program) for name, program in _programs(size)}
    seen = {name: found for name, found in counts.items() if found["events"]}
    amounts = [
        Amount(f"copies to the host, {name}", "copies", spread(np.array([found["to_host"]])))
        for name, found in seen.items()
    ]
    is_blind = jax.default_backend() != "cpu" and len(seen) < len(counts)
    failures = ["a trace has no event of the device"] if is_blind else []
    return Report(details={**counts, "failures": failures}, amounts=amounts)


def _programs(size: Size) -> list[tuple[str, Callable[[], Any]]]:
    sides = fresh._log_ratios(SAMPLES[size], "float32")
    steps = int(nce_jax.solve_log_partition(*sides).num_evaluations)
    solves = {"while-loop": {}, f"fixed steps ({steps})": {"fixed_steps": steps}}
    found = [
        (f"solve, {name}", functools.partial(jax.jit(functools.partial(_estimate, **kw)), *sides))
        for name, kw in solves.items()
    ]
    for name, treatment in TREATMENTS.items():
        step, *arguments = train_step._program(treatment, train_step.BATCH)
        found.append((f"train step, {name}", functools.partial(jax.jit(step), *arguments)))
    return found


def count(program: Callable[[], Any]) -> dict[str, Any]:
    """Events of one warm call on the devices: copies to the host, and all."""
    jax.block_until_ready(program())
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            jax.block_until_ready(program())
        (trace,) = Path(folder).rglob("*.xplane.pb")
        return count_events(jax.profiler.ProfileData.from_file(str(trace)))


def count_events(trace: Any) -> dict[str, Any]:
    """Events on the streams of devices; their other lines repeat these by name or module."""
    planes = [plane for plane in trace.planes if plane.name.startswith("/device:")]
    lines = [line for plane in planes for line in plane.lines]
    names = [
        event.name.lower()
        for line in lines
        if line.name.lower().startswith("stream")
        for event in line.events
    ]
    return {
        "to_host": sum(COPY_TO_HOST in name for name in names),
        "events": len(names),
        "lines": sorted({line.name for line in lines}),
    }
