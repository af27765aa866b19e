"""Peak memory of compiled programs, and of a process that runs one of them once."""

from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks import fresh
from benchmarks.peers import peer
from benchmarks.rows import Amount, Report, Spread, spread
from experiments.common.progress import track

SOLVES = (
    (100_000, "float32"),
    (100_000, "float64"),
    (1_000_000, "float32"),
    (1_000_000, "float64"),
)
BATCH = 512
MANY_STATES, LARGEST = 1_000_000, 1e9
"""Samples of 16 states in all, and the bytes that their program and its process may take."""


def run(quick: bool) -> Report:
    """Solvers compared with pymbar on the same problem, then many states and the train step."""
    peer("pymbar")
    repetitions = 1 if quick else 3
    amounts: list[Amount] = []
    for size, dtype in SOLVES[:2] if quick else SOLVES:
        what = f"solve_log_partition, 2 x {size:,}, {dtype}"
        ours = _ask("solve", size, dtype, repetitions)
        amounts += _amounts(what, ours, _ask("pymbar", size, "float64", repetitions))
    size = MANY_STATES // (10 if quick else 1)
    what = f"mbar, 16 states, {size:,} samples, chunks of 10,000, float64"
    amounts += _whole(what, _ask("mbar", size, "float64", repetitions))
    amounts += _amounts(
        f"train step, perceptron 128-64, batch {BATCH}",
        _ask("train_step", BATCH, "float32", repetitions),
        [],
    )
    return Report(amounts=amounts)


def _ask(program: str, size: int, dtype: str, repetitions: int) -> list[dict[str, float]]:
    return [
        fresh.ask(program, str(size), dtype)
        for _ in track(range(repetitions), f"memory of {program}, {size:,}")
    ]


def _amounts(
    what: str, ours: Sequence[dict[str, float]], theirs: Sequence[dict[str, float]]
) -> Iterator[Amount]:
    """Memory of the program, and what its first call adds to the process.

    That of the program counts arguments, outputs and temporaries.
    """
    inputs = {"inputs": ours[0]["argument"]}
    yield Amount(
        f"{what}: program", "B", _spread([answer["program"] for answer in ours]), beside=inputs
    )
    compared_with = {"process before": float(np.median([answer["peak_before"] for answer in ours]))}
    if theirs:
        compared_with |= {"pymbar adds": _spread([_added(answer) for answer in theirs]).median}
        compared_with |= {
            "pymbar before": float(np.median([answer["peak_before"] for answer in theirs]))
        }
    yield Amount(
        f"{what}: the first call adds to the process",
        "B",
        _spread([_added(answer) for answer in ours]),
        beside=compared_with,
    )


def _whole(what: str, answers: Sequence[dict[str, float]]) -> Iterator[Amount]:
    """Memory of a program, and the peak of its process from the imports to the result."""
    inputs = {"inputs": answers[0]["argument"]}
    for name, key in (("program", "program"), ("peak of the process", "peak")):
        values = _spread([answer[key] for answer in answers])
        yield Amount(f"{what}: {name}", "B", values, LARGEST, inputs)


def _added(answer: dict[str, float]) -> float:
    return answer["peak"] - answer["peak_before"]


def _spread(values: Sequence[float]) -> Spread:
    return spread(np.array(values))
