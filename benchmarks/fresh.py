"""Measurements that need a new process: the first call of a program, and the peak memory.

Nothing of ours or of JAX is imported above: imports are on the clock.

`python -m benchmarks.fresh PROGRAM [SIZE DTYPE]` runs one program once and prints what it took, as
JSON; `ask` starts that.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def ask(*arguments: str) -> dict[str, float]:
    """Runs a program in a process of its own, without compiled programs of others."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("JAX_COMPILATION_CACHE")
    }
    command = [sys.executable, "-m", "benchmarks.fresh", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=clean, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(
            f"{' '.join(command)} ended with status {done.returncode}:\n{done.stderr[-2000:]}"
        )
    return json.loads(done.stdout.splitlines()[-1])


def main(program: str, size: str = "0", dtype: str = "float32") -> None:
    """Times every import, then runs the program; pymbar's process imports nothing of ours."""
    imports = {} if program == "pymbar" else _imports(dtype)
    print(json.dumps({**imports, **PROGRAMS[program](int(size), dtype)}))


def _imports(dtype: str) -> dict[str, float]:
    import_jax = _seconds(lambda: __import__("jax"))
    import jax

    jax.config.update("jax_enable_x64", dtype == "float64")
    return {"import_jax": import_jax, "import_nce_jax": _seconds(lambda: __import__("nce_jax"))}


def peak_bytes() -> float:
    """Largest resident set so far; NaN where it is not available.

    Linux's getrusage would include the parent's memory at the fork.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return float("nan")
    lines = status.read_text().splitlines()
    return 1024.0 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def _seconds(fn: Callable[[], Any]) -> float:
    start = time.perf_counter()
    fn()
    return time.perf_counter() - start


def _first_call(program: Callable[..., Any], *arguments: Any) -> dict[str, float]:
    """Tracing, compilation and the run, from arguments on the device, and the compiler's memory.

    The peak before holds the imports and the arguments.
    """
    import jax

    arguments = jax.block_until_ready(arguments)
    before, compiled = peak_bytes(), jax.jit(program)
    processor = time.process_time()
    seconds = _seconds(lambda: jax.block_until_ready(compiled(*arguments)))
    processor = time.process_time() - processor
    after, memory = peak_bytes(), compiled.lower(*arguments).compile().memory_analysis()
    parts = {
        name: float(getattr(memory, f"{name}_size_in_bytes"))
        for name in ("temp", "output", "argument")
    }
    times = {"seconds": seconds, "processor_seconds": processor}
    return {**times, "peak_before": before, "peak": after, **parts, "program": sum(parts.values())}


def _log_ratios(size: int, dtype: str) -> list[Any]:
    """Log ratios of unit Gaussians two standard deviations apart.

    NumPy makes them, so that nothing is compiled for them.
    """
    import jax.numpy as jnp
    import numpy as np

    x = np.random.default_rng(0).normal(size=(2, size)).astype(dtype)
    return [jnp.asarray(side) for side in (2 * x[0] + 2, 2 * x[1] - 2)]


def _solve(size: int, dtype: str) -> dict[str, float]:
    import nce_jax

    return _first_call(nce_jax.solve_log_partition, *_log_ratios(size, dtype))


def _mbar(size: int, dtype: str) -> dict[str, float]:
    """MBAR of 16 states with `size` samples in all, 10,000 of them in work at once."""
    import functools

    import jax.numpy as jnp

    import nce_jax
    from benchmarks.many_states import oscillators

    potentials = jnp.asarray(oscillators(16, size // 16).astype(dtype))
    return _first_call(
        functools.partial(
            nce_jax.mbar, num_samples=[size // 16] * 16, chunk_size=min(size, 10_000)
        ),
        potentials,
    )


def _loss(size: int, dtype: str) -> dict[str, float]:
    import jax

    import nce_jax

    return _first_call(
        jax.value_and_grad(nce_jax.nce_loss, argnums=(0, 1)), *_log_ratios(size, dtype)
    )


def _info_nce(size: int, dtype: str) -> dict[str, float]:
    """InfoNCE of `size` pairs in 512 dimensions, in blocks, with its gradient."""
    import functools

    import jax
    import jax.numpy as jnp
    import numpy as np

    import nce_jax

    sides = [
        jnp.asarray(np.random.default_rng(k).normal(size=(size, 512)).astype(dtype))
        for k in range(2)
    ]
    loss = functools.partial(nce_jax.losses.info_nce_loss, temperature=512.0, chunk_size=1_024)
    return _first_call(jax.value_and_grad(loss, (0, 1)), *sides)


def _train_step(size: int, dtype: str) -> dict[str, float]:
    """The step of the `train_step` benchmark with F solved; its state is made before the timing."""
    from benchmarks import train_step
    from nce_jax import training

    step, state, _, key = train_step._program(training.solved(), train_step.BATCH)
    from jax import numpy as jnp

    return _first_call(step, state, jnp.zeros((size, 2), dtype), key)


def _pymbar(size: int, dtype: str) -> dict[str, float]:
    """The same solve as `_solve`, by pymbar on numpy arrays and in float64 as always."""
    import numpy as np
    import pymbar

    x = np.random.default_rng(0).normal(size=(2, size))
    work = -(2 * x[1] - 2), 2 * x[0] + 2
    before = peak_bytes()
    seconds = _seconds(
        lambda: pymbar.bar(*work, method="false-position", compute_uncertainty=False)
    )
    return {"seconds": seconds, "peak_before": before, "peak": peak_bytes()}


PROGRAMS: dict[str, Callable[[int, str], dict[str, float]]] = {
    "solve": _solve,
    "mbar": _mbar,
    "loss": _loss,
    "info_nce": _info_nce,
    "train_step": _train_step,
    "pymbar": _pymbar,
}

if __name__ == "__main__":
    main(*sys.argv[1:])
