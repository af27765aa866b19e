"""The page of the benchmarks and its figure, from the JSON file alone: `python -m
benchmarks.render`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import figure, tables
from experiments.common import results

COMMAND = "python -m benchmarks.run"


class Output(NamedTuple):
    """Where the numbers are, and where page and figure go."""

    json: Path
    page: Path
    image: Path
    figures: Path


def _output(*paths: str) -> Output:
    return Output(*(results.ROOT / path for path in paths))


COMMITTED = _output(
    "benchmarks/results.json", "docs/benchmarks.md", "docs/images/lanes.png", "build/figures"
)
TRIAL = _output(
    *(
        f"build/benchmarks/{name}"
        for name in ("results.json", "benchmarks.md", "images/lanes.png", "figures")
    )
)

HEAD = """\
# Benchmarks

<!-- Written by `python -m benchmarks.run` from benchmarks/results.json: edit benchmarks/render.py
instead. -->

`make bench` installs the packages to compare with, runs everything below and writes this page;
`make bench ARGS="--only bar"` runs one topic anew and keeps the others, `ARGS="--quick"` tries
everything in short and writes to `build/benchmarks` only. `make bench-check` runs the shorter
topics anew and fails where a ratio is worse than here by more than the spread of both measurements.

**How it is measured.** All contenders of a topic run in one process, in turn and in a new random
order at every repetition; short calls are repeated until a block lasts 50 ms, and every call is
waited for. A *ratio* is taken within each repetition, between blocks that ran moments apart, so
that other work on the machine hits both sides. Given are the median and, in brackets, the
quartiles. Ratios with a target "≥" are other / ours, those with "≤" ours / other. The first call of
everything, with its compilation, is not timed, but where whole fits are, which compile at every
call. Every row first checks its answers, and a row that fails its check is an error, not a number;
where both sides estimate from samples, a row that loses says `less accurate`. Where a peer offers
several methods, all are timed and the fastest is the one in the table. The ratio of processor time
counts the work of all threads: it says what a loaded machine, or one core, would show.

**The floor** is the least time that the work of our side can take here, and *over the floor* our
time divided by it. For solvers: every evaluation has to read all log ratios and to take one
exponential of each; what the slower of the two costs is measured beside, on arrays of the same size
and dtype. For training steps: the step's own matrix products and convolutions, found in its program
and run alone with the same shapes. Factors below 1 are noise.
"""

SECTIONS = {
    "bar": (
        "BAR",
        (
            "Gaussian work values that obey Crooks' theorem, free energy difference 1 kT, standard"
            " deviation 2 kT. Our side is `jax.jit` of `nce_jax.bar`, on arrays that are on the"
            " device; pymbar and FastMBAR compute in float64 always, the latter from the energies"
            " of two states, by L-BFGS-B (its Newton took five times as long and was right to 5e-9"
            " only)."
        ),
    ),
    "many_problems": (
        "Many problems at once",
        (
            "A vmapped loop runs until its worst lane is done, so that the largest number of steps"
            " is what every lane pays."
        ),
    ),
    "bootstrap": (
        "Bootstrap",
        (
            "FastMBAR with `bootstrap=True` and its default settings (blocks of three samples,"
            " Newton), against `nce_jax.bootstrap_log_partition`."
        ),
    ),
    "train_step": (
        "Training step",
        (
            "Eight Gaussians on a ring in 2-D, noise N(0, 2 I), perceptron 128-64, batches of 512"
            " and of 8,192, Adam, float32. Every treatment goes on training while it is timed. Four"
            " fixed steps are the mode for accelerators, without a loop or a branch."
        ),
    ),
    "torch_step": (
        "Training step beside PyTorch",
        (
            "The energy 2-128-128-1 on one batch of 1,000 + 1,000, F a parameter, Adam, float32,"
            " from the same weights. PyTorch in its best eager form (one forward pass of both sets"
            " together, fused Adam) and under `torch.compile`."
        ),
    ),
    "fit_loop": (
        "The training loop",
        (
            "`training.fit`, with metrics file, progress bar and a checkpoint every 1,000 steps,"
            " against a plain Python loop over the compiled step and batches made beforehand; the"
            " energy 2-128-128-1, batch 1,000 + 1,000. On arrays `fit` also shuffles and gathers"
            " the batches, which the plain loop is spared. Blocks of 100 steps in turn, within one"
            " run."
        ),
    ),
    "resnet_step": (
        "ResNet-18",
        (
            "A step of the full ResNet-18 energy (width 64, 28 x 28 images, 8 + 8 samples,"
            " float32), F solved for against F a parameter."
        ),
    ),
    "contrastive": (
        "Contrastive losses",
        (
            "Value and gradient, float32; vectors are divided by their norms within what is timed."
            " `optax.losses.ntxent` is NT-Xent of the same views; info-nce-pytorch's loss is"
            " InfoNCE with in-batch negatives. In blocks the logits are made twice and never"
            " stored: four matrix products in the place of three."
        ),
    ),
    "vocabulary": (
        "A vocabulary's output layer",
        (
            "512 tokens, 64 shared negatives, 256 dimensions, Adam on the layer, gradients in the"
            " hidden states too, float32. Ours draws new targets and negatives at every step;"
            " operations and memory of a step do not depend on V, rows that are not in the cache"
            " take longer to come. Ours is `vocabulary_nce_loss` on the rows that the batch touches"
            " (`training.update_rows`); the other side `full_softmax_loss` with the dense step."
            " Logits of a million words would take 2 GB, and that step is not run."
        ),
    ),
    "sweep_lanes": (
        "Sweeps",
        (
            "Training the mean of a Gaussian, 4 standard deviations from the noise, over M x seeds"
            " (float32): one `nce_jax.sweep`, which draws the samples of a seed once for all M,"
            " against the same lanes one after another in one compiled program."
        ),
    ),
    "solver_steps": ("Steps of the solvers", ""),
    "ratio_estimation": (
        "Density ratios",
        (
            "`fit_log_ratio` against the three methods of densratio, all with their default"
            " settings: uLSIF and RuLSIF choose width and penalty from a grid of 81 pairs by"
            " leave-one-out cross-validation, KLIEP its width by 5-fold cross-validation, and that"
            " is most of their time. Ours trains 600 steps: a full quadratic form of the samples on"
            " Gaussians, which contains their log ratio, and the default perceptron elsewhere; most"
            " of its time is compilation. `less accurate` means that our error of the log ratio is"
            " the larger one. We picked the model of the rows for the problem, knowing the truth,"
            " which a kernel method is not told."
        ),
    ),
    "mutual_information": (
        "Mutual information",
        (
            "Ten tasks of bmi (PyPI: benchmark-mi) and its estimators with their default settings,"
            " in an environment of its own: it needs JAX below 0.4.34. Ours fits two log ratios of"
            " joint over shuffled samples by `fit_log_ratio`, a quadratic form and a perceptron, on"
            " normal scores of every coordinate, takes the one with the smaller held-out loss and"
            " averages it over samples that neither fit has seen. Normal scores undo what Wiggly"
            " and Half-cube do to the bivariate normal: for ours these three tasks are one and the"
            " same. The recipe was settled on samples of these ten tasks, seed 0 as here; bmi's"
            " estimators were not tuned."
        ),
    ),
    "first_call": (
        "First calls",
        (
            "Tracing, compilation and the run of a program, in a process of its own and without a"
            " cache of compiled programs: median and quartiles of five. Imports, and making the"
            " arguments, come before the clock."
        ),
    ),
    "memory": (
        "Memory",
        (
            "Of a compiled program: its arguments, outputs and temporaries together, as the"
            " compiler says. Of a process: by how much the first call raises the peak of its"
            " resident set, compilation included (pymbar: its one call)."
        ),
    ),
}


def render(output: Output) -> None:
    """Draws the figure and writes the page."""
    stored = results.load_json(output.json, COMMAND)
    if "sweep_lanes" in stored:
        figure.draw(stored["sweep_lanes"]["details"], output.image, output.figures)
    with results.atomic(output.page) as temporary:
        temporary.write_text(page(stored))


def page(stored: Mapping[str, Any]) -> str:
    """The page, in the order of the sections."""
    sections = [_section(topic, stored[topic]) for topic in SECTIONS if topic in stored]
    return "\n".join([HEAD, *sections, tables.provenance(stored)])


def summary(stored: Mapping[str, Any]) -> str:
    """The table for the terminal."""
    entries = [stored[topic] for topic in SECTIONS if topic in stored]
    rows = [
        (row, tables.ratio(row), tables.target(row)) for entry in entries for row in entry["rows"]
    ]
    rows += [
        (amount, *tables.amount(amount)) for entry in entries for amount in entry.get("amounts", ())
    ]
    width = max([len(row["name"]) for row, *_ in rows], default=0)
    lines = (
        f"{row['name']:<{width}}  {value:<24} {target:<8} {row['verdict']}"
        for row, value, target in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def _section(topic: str, entry: Mapping[str, Any]) -> str:
    title, text = SECTIONS[topic]
    parts = [f"## {title}\n"]
    if text:
        parts.append(f"{text}\n")
    if entry["rows"]:
        parts.append(tables.rows(entry["rows"]))
    if entry.get("amounts"):
        parts.append(tables.amounts(entry["amounts"]))
    details = tables.DETAILS.get(topic)
    return "\n".join([*parts, details(entry["details"])] if details else parts)


if __name__ == "__main__":
    render(COMMITTED)
