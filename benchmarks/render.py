"""Renders the benchmarks' page and figure from the JSON file: `python -m benchmarks.render`."""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import figure, tables
from experiments.common import results
from experiments.common.endings import one_line
from nce_jax._disk import write_atomic

COMMAND = "python -m benchmarks.run"


class Output(NamedTuple):
    """Paths of the JSON file, the page and the figure."""

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

| command | what it does |
| --- | --- |
| `make bench` | installs the packages to compare with, runs everything below, writes this page |
| `make bench ARGS="--only bar"` | repeats one topic and keeps the others |
| `make bench ARGS="--quick"` | tries everything in short form, into `build/benchmarks` only |
| `make bench-check` | repeats the shorter topics, and fails where a ratio has become worse |

`make bench-check` counts a ratio as worse where it differs from the one below by more than the
spread of both measurements.

## How it is measured

- **In turn.** All contenders of a topic run in one process, in a new random order at every
  repetition. Short calls are repeated until a block lasts 50 ms, and every call is waited for.
- **Ratios.** A *ratio* is taken within each repetition, between blocks that ran moments apart, so
  that other work on the machine affects both sides. The tables give the median and, in brackets,
  the quartiles. Ratios with a target "≥" are other / ours, those with "≤" ours / other.
- **Compilation.** The first call of everything, with its compilation, is not timed. Whole fits are
  the exception: they compile at every call.
- **Checks.** Every row first checks its answers. A row that fails its check is an error, not a
  number. Where both sides estimate from samples, a row that loses has the verdict `less accurate`.
- **Peers.** Where a peer offers several methods, all are timed and the table has the fastest.
- **Processor time.** Its ratio counts the work of all threads, and shows what a busy machine, or a
  single core, would take.

**The floor** is the least time that the work of our side can take on this machine, and *over the
floor* is our time divided by it. A factor below 1 is noise.

- For solvers: every evaluation has to take the logistic function of all log ratios, its sum and
  that of its squares, which is measured on arrays of the same size and dtype. Large sets in float64
  are evaluated once in float32, and at least once in float64.
- For training steps: the step's own matrix products and convolutions are found in its program and
  run alone with the same shapes.
"""

SECTIONS = {
    "bar": (
        "BAR",
        (
            "Gaussian work values that obey Crooks' theorem, with a free energy difference of 1"
            " kT and a standard deviation of 2 kT. Our side is `jax.jit` of `nce_jax.bar`, on"
            " arrays that are on the device. pymbar and FastMBAR always compute in float64."
            " FastMBAR starts from the energies of two states and uses L-BFGS-B; its Newton method"
            " took five times as long and was accurate to 5e-9 only."
        ),
    ),
    "many_states": (
        "Many states",
        (
            "Oscillators one apart, of which the free energies are known, with equal numbers of"
            " samples, in float64. Our side is `jax.jit` of `nce_jax.mbar` with the errors of all"
            " differences, as the peers': pymbar's default or its robust solvers, in NumPy or in"
            " JAX; FastMBAR's Newton or L-BFGS-B method. Of each peer the table has the fastest"
            " mode that is accurate to the tolerance. A replicate of the bootstrap is one solve"
            " with its errors; pymbar's time is half of that of an object with one replicate. One"
            " replicate is compared with pymbar's solution for the same draws."
        ),
    ),
    "many_problems": (
        "Many problems at once",
        (
            "A vmapped loop runs until its worst lane is done, so that every lane pays for the"
            " largest number of steps."
        ),
    ),
    "bootstrap": (
        "Bootstrap",
        (
            "FastMBAR with `bootstrap=True` and its default settings (blocks of three samples,"
            " Newton's method), compared with `nce_jax.bootstrap_log_partition`."
        ),
    ),
    "train_step": (
        "Training step",
        (
            "Eight Gaussians on a ring in 2-D, noise N(0, 2 I), perceptron 128-64, batches of 512"
            " and of 8,192, Adam, float32. Every treatment continues training while it is timed."
            " Four fixed steps are the mode for accelerators, without a loop or a branch."
        ),
    ),
    "torch_step": (
        "Training step compared with PyTorch",
        (
            "The energy 2-128-128-1 on one batch of 1,000 + 1,000, with F a parameter, Adam,"
            " float32, from the same weights. PyTorch runs in its fastest eager form (one forward"
            " pass of both sets together, fused Adam) and under `torch.compile`."
        ),
    ),
    "fit_loop": (
        "The training loop",
        (
            "`training.fit`, with metrics file, progress bar and a checkpoint every 1,000 steps,"
            " compared with a plain Python loop over the compiled step and batches made"
            " beforehand; the energy 2-128-128-1, batch 1,000 + 1,000. On arrays, `fit` also"
            " shuffles and gathers the batches, which the plain loop does not. Blocks of 100 steps"
            " alternate within one run."
        ),
    ),
    "resnet_step": (
        "ResNet-18",
        (
            "A step of the full ResNet-18 energy (width 64, 28 x 28 images, 8 + 8 samples,"
            " float32): F solved for, compared with F as a parameter."
        ),
    ),
    "contrastive": (
        "Contrastive losses",
        (
            "Value and gradient, float32. The timed part includes the division of vectors by"
            " their norms. `optax.losses.ntxent` is NT-Xent of the same views; the loss of"
            " info-nce-pytorch is InfoNCE with in-batch negatives. In blocks, the logits are"
            " computed twice and never stored, which takes four matrix products instead of three."
        ),
    ),
    "vocabulary": (
        "A vocabulary's output layer",
        (
            "512 tokens, 64 shared negatives, 256 dimensions, Adam on the layer, gradients in the"
            " hidden states too, float32. Our side is `vocabulary_nce_loss` on the rows that the"
            " batch touches (`training.update_rows`), with new targets and negatives at every"
            " step; the other side is `full_softmax_loss` with the dense step. The operations and"
            " the memory of our step do not depend on the size of the vocabulary, but rows that"
            " are not in the cache take longer to load. The logits of a million words would take 2"
            " GB, and that step of the other side is not run."
        ),
    ),
    "latent": (
        "Latent energies",
        (
            "Networks and batches of the preset `cpu` of experiments/latent_energy: an encoder"
            " 784-256-256-16 and a generator 8-256-256-784 on batches of 256, Adam, float32, with"
            " priors 8-128-128-1 whose F is solved for, M = 100, compared with the prior N(0, I);"
            " a grid of such priors in one `nce_jax.sweep`, compared with the same priors one"
            " after another in one compiled program; and `samplers.resample` compared with"
            " Langevin chains, for a log ratio of the same size. A stage is evaluated at both ends"
            " of its bridge for its own loss and at z for the bound, so that three stages need"
            " 1.29 times the multiplications of the step without a prior. A prior of this width is"
            " bound by arithmetic, of which one program for a grid saves nothing. A transition"
            " takes a gradient, about 3 evaluations, and a resampled sample 20 evaluations, so that"
            " arithmetic alone makes 60 transitions at most 9 times as slow."
        ),
    ),
    "sweep_lanes": (
        "Sweeps",
        (
            "Training the mean of a Gaussian, 4 standard deviations from the noise, over M x"
            " seeds (float32): one `nce_jax.sweep`, which draws the samples of a seed once for all"
            " M, compared with the same lanes one after another in one compiled program."
        ),
    ),
    "solver_steps": ("Steps of the solvers", ""),
    "ratio_estimation": (
        "Density ratios",
        (
            "`fit_log_ratio` compared with the three methods of densratio, all with their default"
            " settings. uLSIF and RuLSIF choose width and penalty from a grid of 81 pairs by"
            " leave-one-out cross-validation, KLIEP its width by 5-fold cross-validation; this is"
            " most of their time. Ours chooses among a constant, a linear and a quadratic log ratio"
            " and one with Gaussian kernels, and their penalties, by 5-fold cross-validation."
            " `less accurate` means that our error of the log ratio is the larger one. A third of"
            " uLSIF's error is out of reach on the last two problems: maximum likelihood in the"
            " true family has 0.065 on the bump (two Gaussians, means and variances free; a third"
            " of uLSIF's is 0.018) and 0.112 on the four Gaussians (weights, centers and spreads"
            " free; 0.113), and the best of our candidate models in hindsight is the chosen one on"
            " all four."
        ),
    ),
    "mutual_information": (
        "Mutual information",
        (
            "Ten tasks of bmi (PyPI: benchmark-mi) and its estimators with their default"
            " settings, in a separate environment, because bmi needs JAX below 0.4.34. Ours is"
            " `mutual_information` with its default settings, which sees ranks alone. Normal,"
            " Wiggly and Half-cube are thus the same task for it, and the Gaussian copula is the"
            " truth of six of the ten, the t copula of another. The recipe was settled on other"
            " tasks of the same families (other dimensions, degrees of freedom, noises and"
            " mixtures) and on other seeds; these ten were looked at last. The estimators of bmi"
            " were not tuned."
        ),
    ),
    "first_call": (
        "First calls",
        (
            "Tracing, compilation and the run of a program, in a process of its own and without a"
            " cache of compiled programs: median and quartiles of five. Imports and the"
            " construction of the arguments are not timed."
        ),
    ),
    "memory": (
        "Memory",
        (
            "The memory of a compiled program is the sum of its arguments, outputs and"
            " temporaries, as reported by the compiler. The memory of a process is the amount by"
            " which the first call raises the peak of its resident set, compilation included (for"
            " pymbar: its only call)."
        ),
    ),
}


def render(output: Output) -> None:
    """Draws the figure and writes the page."""
    stored = results.load_json(output.json, COMMAND)
    if "sweep_lanes" in stored:
        figure.draw(stored["sweep_lanes"]["details"], output.image, output.figures)
    write_atomic(output.page, page(stored))


def page(stored: Mapping[str, Any]) -> str:
    """The page, with its sections in order."""
    sections = [_section(topic, stored[topic]) for topic in SECTIONS if topic in stored]
    return _wrapped("\n".join([HEAD, *sections, tables.provenance(stored)]))


def _wrapped(text: str) -> str:
    """Prose in lines of at most 100 columns; tables, images and comments as they are."""
    return "\n".join(
        line
        if line.startswith(("|", "!", "<"))
        else textwrap.fill(line, 100, break_long_words=False, break_on_hyphens=False)
        for line in text.split("\n")
    )


def summary(stored: Mapping[str, Any]) -> str:
    """The summary table for the terminal."""
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
    with one_line():
        render(COMMITTED)
