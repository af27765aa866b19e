"""Cost of the first call in a new process: tracing, compilation and the run."""

from collections.abc import Sequence

import numpy as np

from benchmarks import fresh
from benchmarks.rows import Amount, Report, Spread, spread
from experiments.common.progress import track

BATCH = 512
PROGRAMS = {
    "solve_log_partition, 2 x 512, float32": (("solve", BATCH, "float32"), 0.4),
    "solve_log_partition, 2 x 512, float64": (("solve", BATCH, "float64"), 0.4),
    "nce_loss and its gradient, 2 x 512, float32": (("loss", BATCH, "float32"), None),
    "train step, perceptron 128-64, batch 512, F solved, float32": (
        ("train_step", BATCH, "float32"),
        1.0,
    ),
    "mbar, 16 states, 4,000 samples, float64": (("mbar", 4_000, "float64"), None),
}


def run(quick: bool) -> Report:
    """Programs in turn, in `repetitions` processes each; imports have rows of their own."""
    repetitions = 1 if quick else 5
    rounds = [
        {name: fresh.ask(*map(str, arguments)) for name, (arguments, _) in PROGRAMS.items()}
        for _ in track(range(repetitions), "first calls")
    ]
    imports = [answer for answers in rounds for answer in answers.values()]
    amounts = [
        _amount(name, target, [answers[name] for answers in rounds])
        for name, (_, target) in PROGRAMS.items()
    ]
    jax_seconds = float(np.median([answer["import_jax"] for answer in imports]))
    ours = _spread([answer["import_nce_jax"] for answer in imports])
    return Report(
        amounts=[
            *amounts,
            Amount("import nce_jax, after jax", "s", ours, beside={"import jax": jax_seconds}),
        ]
    )


def _amount(name: str, target: float | None, answers: Sequence[dict[str, float]]) -> Amount:
    """Seconds of a first call, with the processor time, which machine load affects less."""
    processor_time = {
        "processor time": float(np.median([answer["processor_seconds"] for answer in answers]))
    }
    return Amount(
        name, "s", _spread([answer["seconds"] for answer in answers]), target, processor_time
    )


def _spread(values: Sequence[float]) -> Spread:
    return spread(np.array(values))
