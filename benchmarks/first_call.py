"""What the first call costs: tracing, compilation and the run, in a process of its own that finds
nothing compiled.
"""

from collections.abc import Sequence

import numpy as np

from benchmarks import fresh
from benchmarks.rows import Amount, Report, Spread, spread
from experiments.common.progress import track

BATCH = 512
PROGRAMS = {
    "solve_log_partition, 2 x 512, float32": (("solve", BATCH, "float32"), 1.5),
    "solve_log_partition, 2 x 512, float64": (("solve", BATCH, "float64"), 1.5),
    "nce_loss and its gradient, 2 x 512, float32": (("loss", BATCH, "float32"), None),
    "train step, perceptron 128-64, batch 512, F solved, float32": (
        ("train_step", BATCH, "float32"),
        5.0,
    ),
}


def run(quick: bool) -> Report:
    """Programs in turn, `repetitions` processes each; imports are rows of their own, over all of
    them.
    """
    repetitions = 1 if quick else 5
    found = [
        {name: fresh.ask(*map(str, arguments)) for name, (arguments, _) in PROGRAMS.items()}
        for _ in track(range(repetitions), "first calls")
    ]
    imports = [each for of_round in found for each in of_round.values()]
    amounts = [
        _amount(name, target, [of_round[name] for of_round in found])
        for name, (_, target) in PROGRAMS.items()
    ]
    jax_seconds = float(np.median([each["import_jax"] for each in imports]))
    ours = _spread([each["import_nce_jax"] for each in imports])
    return Report(
        amounts=[
            *amounts,
            Amount("import nce_jax, after jax", "s", ours, beside={"import jax": jax_seconds}),
        ]
    )


def _amount(name: str, target: float | None, found: Sequence[dict[str, float]]) -> Amount:
    """Processor time beside: of all threads, and what a loaded machine does not stretch."""
    beside = {"processor time": float(np.median([each["processor_seconds"] for each in found]))}
    return Amount(name, "s", _spread([each["seconds"] for each in found]), target, beside)


def _spread(values: Sequence[float]) -> Spread:
    return spread(np.array(values))
