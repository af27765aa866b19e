"""Overhead of `training.fit` over the bare compiled step.

It includes progress, the metrics file, checkpoints and shuffling.
"""

import contextlib
import io
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from benchmarks.harness import Timed
from benchmarks.rows import Check, Report, Row, compare
from nce_jax import models, noise, training

BATCH, BLOCK = 1000, 100


class _Clock(NamedTuple):
    """Wall and processor seconds per step, block by block."""

    wall: list[float]
    processor: list[float]

    def add(self, start: tuple[float, float]) -> None:
        wall, processor = _now()
        self.wall.append((wall - start[0]) / BLOCK)
        self.processor.append((processor - start[1]) / BLOCK)


def run(quick: bool) -> Report:
    """Alternating blocks of 100 steps; bare steps run in the evaluation hook of `fit`.

    The clock of `fit` is stopped meanwhile.
    """
    with jax.enable_x64(False):
        rows = [
            _row(what, num_blocks=6 if quick else 80)
            for what in ("batches made beforehand", "arrays, shuffled")
        ]
    return Report(rows, {"checkpoint_every": 10 * BLOCK, "batch": BATCH})


def _row(what: str, num_blocks: int) -> Row:
    return compare(
        f"fit over the bare step, {what}",
        _measure(what, num_blocks),
        ours="fit",
        against=["bare step"],
        check=Check("steps counted", lambda ours, theirs: abs(ours - theirs), 0.5),
        at_most=1.03,
        is_cost=True,
        unit="step",
    )


def _measure(what: str, num_blocks: int) -> dict[str, Timed]:
    params, log_density_fn = models.mlp_energy(jax.random.key(0), 2, hidden=(128, 128))
    optimizer, key = optax.adam(1e-3), jax.random.key(1)
    step = training.make_train_step(log_density_fn, noise.standard_normal(2), optimizer)
    x_data = 1 + jax.random.normal(jax.random.key(2), (50 * BATCH, 2))
    bare_step = jax.jit(step, donate_argnums=0)
    bare_state = step.init(params)
    batches = list(x_data.reshape(50, BATCH, 2))
    bare, fit, resumed = _Clock([], []), _Clock([], []), [_now()]

    def hook(state: Any) -> dict[str, float]:
        nonlocal bare_state
        fit.add(resumed[0])
        start = _now()
        for number in range(BLOCK):
            bare_state, _ = bare_step(bare_state, batches[number % 50], key)
        jax.block_until_ready(bare_state)
        bare.add(start)
        resumed[0] = _now()
        return {}

    given = (
        {"batches": x_data, "batch_size": BATCH}
        if what.startswith("arrays")
        else {"batches": batches}
    )
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        options = {
            "folder": Path(folder) / "run",
            "checkpoint_every": 10 * BLOCK,
            "evaluate": hook,
            "evaluate_every": BLOCK,
        }
        state = step.init(params)
        result = training.fit(
            step, state, **given, key=key, num_steps=num_blocks * BLOCK, **options
        )
    clocks = {"fit": fit, "bare step": bare}
    steps = {"fit": int(result.state.step), "bare step": int(bare_state.step)}
    return {  # the first blocks include compilation
        name: Timed(np.array(clock.wall[1:]), np.array(clock.processor[1:]), steps[name])
        for name, clock in clocks.items()
    }


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()
