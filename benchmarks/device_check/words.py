"""The step of an output layer of 50,000 words: NCE on sampled rows, and the full softmax."""

import jax

from benchmarks import vocabulary
from benchmarks.device_check.parts import Size
from benchmarks.device_check.timing import measure_warm
from benchmarks.harness import Contender
from benchmarks.rows import Report, compare

SIZES = {"full": 50_000, "small": 200}
# Products on both sides may be of ten bits (TF32), in programs of another shape.
CHECK = vocabulary.CHECK._replace(tolerance=1e-3, is_contest=True)


def run(size: Size) -> Report:
    """512 tokens, 64 shared negatives, 256 dimensions, Adam on the layer; float32."""
    with jax.enable_x64(False):
        problem = vocabulary._problem(SIZES[size])
        contenders = {
            "sampled rows": Contender(vocabulary._by_rows(problem), vocabulary.STEPS),
            "full softmax": Contender(vocabulary._full(problem)),
        }
        timed = measure_warm(contenders, size, repetitions=7, label="output layer")
    row = compare(
        f"output layer, {SIZES[size]:,} words",
        timed,
        ours="sampled rows",
        against=["full softmax"],
        check=CHECK,
        unit="step",
    )
    return Report([row])
