"""A train step with F solved, by a BAR step and by a joint gradient, as in `train_step`."""

import jax

from benchmarks import train_step
from benchmarks.device_check.parts import Size
from benchmarks.device_check.timing import measure_warm
from benchmarks.harness import Contender
from benchmarks.rows import Check, Report, Row, compare

BATCHES = {"full": (512, 8_192), "small": (64,)}
JOINT = "joint gradient"
AIMS = {
    "joint gradient, again (noise floor)": None,
    "one BAR step": 1.05,
    "solved, Newton": 1.05,
    "solved, 4 fixed steps": 1.05,
}


def run(size: Size) -> Report:
    """Every treatment, relative to the joint gradient within one repetition."""
    with jax.enable_x64(False):
        races = {batch: _race(batch, size) for batch in BATCHES[size]}
    return Report(
        [row for rows, _ in races.values() for row in rows],
        {f"evaluations, batch {batch:,}": counts for batch, (_, counts) in races.items()},
    )


def _race(batch: int, size: Size) -> tuple[list[Row], dict[str, int]]:
    names = (JOINT, *AIMS) if size == "full" else (JOINT, "one BAR step", "solved, Newton")
    contenders = {
        name: Contender(train_step._trainer(train_step.TREATMENTS[name], batch), train_step.STEPS)
        for name in names
    }
    timed = measure_warm(contenders, size, repetitions=25, label=f"train step, batch {batch:,}")
    # A device may round the network's products to ten bits (TF32), unlike the same network alone.
    check = Check(
        "F of the first step, from a root found in float64",
        train_step._difference,
        2e-5 if jax.default_backend() == "cpu" else 2e-3,
        is_contest=True,
    )
    rows = [
        compare(
            f"train step, batch {batch:,}, {name}",
            timed,
            ours=name,
            against=[JOINT],
            check=check,
            at_most=AIMS[name],
            is_cost=True,
            unit="step",
        )
        for name in names[1:]
    ]
    counts = {name: int(timed[name].value.metrics.num_evaluations) for name in names}
    return rows, counts
