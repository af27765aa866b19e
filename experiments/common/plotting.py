"""Common style of all figures, and the command line of an experiment's `plot.py`.

A `plot.py` is one function from stored results to named figures, and one call:

    def draw(stored: Stored) -> dict[str, Figure]: ...

    if __name__ == "__main__":
        plotting.main("topic", draw)
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")  # before pyplot is imported: figures are written to files without a display

import matplotlib.pyplot as plt
import tyro
from matplotlib.figure import Figure

from experiments.common import endings, results
from nce_jax._disk import errors_name, write_atomic

STYLE = {
    "figure.figsize": (6.0, 3.7),
    "figure.constrained_layout.use": True,
    "savefig.dpi": 180,
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "lines.markersize": 4,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "pdf.fonttype": 42,  # embeds text as text, not as outlines
}

# Okabe and Ito's palette, whose colors can be told apart without color vision.
BLACK = "#000000"
ORANGE = "#E69F00"
SKY_BLUE = "#56B4E9"
GREEN = "#009E73"
YELLOW = "#F0E442"
BLUE = "#0072B2"
VERMILION = "#D55E00"
PURPLE = "#CC79A7"
NEUTRAL = "#999999"
"""Gray of a reference that is not one of the methods compared."""

CATEGORICAL = (BLACK, BLUE, ORANGE, VERMILION, GREEN)
"""Colors of up to five unordered categories, such as losses, in this order."""

# A method looks the same in every figure. Line styles differ as well, for black-and-white print.
METHODS: dict[str, dict[str, Any]] = {
    "NCE": {"color": BLACK, "linestyle": "-", "marker": "o"},
    "NCE, raised rate": {"color": ORANGE, "linestyle": "--", "marker": "s"},
    "BAR": {"color": BLUE, "linestyle": "-", "marker": "^"},
    "binary search": {"color": VERMILION, "linestyle": "-.", "marker": "v"},
    "Newton": {"color": GREEN, "linestyle": ":", "marker": "D"},
}
UNDATED = ({"Software": None}, {"CreationDate": None, "Creator": None, "Producer": None})
"""Metadata left out of PNG and PDF, so that a file changes only when its figure does."""

OTHER_COLORS = (PURPLE, SKY_BLUE, YELLOW)
"""Colors that no method uses, for data, noise and the true value."""


def method_style(name: str, *, marker: bool = False) -> dict[str, Any]:
    """Keywords for `Axes.plot` that identify a method, including its label."""
    if name not in METHODS:
        raise KeyError(f"no method {name!r}: expected one of {', '.join(METHODS)}")
    style = {**METHODS[name], "label": name}
    if not marker:
        del style["marker"]
    return style


def graded_colors(count: int) -> list[tuple[float, ...]]:
    """Colors for ordered values such as a grid of M, dark to light, without the palest end."""
    return [mpl.colormaps["viridis"](0.9 * index / max(count - 1, 1)) for index in range(count)]


def save_figure(figure: Figure, name: str, folder: Path = Path("build/figures")) -> list[Path]:
    """Writes `<name>.png` and `<name>.pdf`, reproducible byte for byte, and closes the figure."""
    paths = [folder / f"{name}.png", folder / f"{name}.pdf"]
    for path, metadata in zip(paths, UNDATED, strict=True):
        options = {"format": path.suffix[1:], "metadata": metadata}
        with errors_name(folder, "output"), mpl.rc_context(STYLE):
            write_atomic(path, partial(figure.savefig, **options))
    plt.close(figure)
    return paths


@dataclass(frozen=True)
class Arguments:
    """What is drawn, and where to."""

    preset: str | None = None
    """Preset whose results are drawn [the first of the experiment]."""
    results: Path | None = None
    """Folder of the results [build/results/<topic>/<preset>]."""
    output: Path | None = None
    """Folder to draw into [build/figures, or build/<preset>]."""


def main(
    topic: str,
    draw: Callable[[results.Stored], Mapping[str, Figure]],
    argv: Sequence[str] | None = None,
) -> None:
    """Draws a topic's figures from its stored results and lists their files in `<topic>.list`."""
    arguments = tyro.cli(
        Arguments,
        args=argv,
        prog=f"python -m experiments.{topic}.plot",
        description=f"Draw the figures of experiments/{topic}.",
    )
    with endings.one_line():
        _draw(topic, draw, arguments)


def _chosen(topic: str, preset: str | None) -> str:
    """The preset that was asked for, if the experiment has it, or its first."""
    presets = list(importlib.import_module(f"experiments.{topic}.config").PRESETS)
    if preset is not None and preset not in presets:
        raise endings.CommandError(f"preset: expected one of {', '.join(presets)}, got {preset!r}")
    return preset or presets[0]


def _draw(
    topic: str, draw: Callable[[results.Stored], Mapping[str, Figure]], arguments: Arguments
) -> None:
    preset = _chosen(topic, arguments.preset)
    folder = arguments.output or Path("build") / ("figures" if preset == "paper" else preset)
    stored_in = arguments.results or results.default_folder(topic, preset)
    stored = results.load(stored_in, f"python -m experiments.{topic}.run --preset {preset}")
    with mpl.rc_context(STYLE):
        figures = draw(stored)
    paths = [path for name, figure in figures.items() for path in save_figure(figure, name, folder)]
    with errors_name(folder, "output"):
        write_atomic(folder / f"{topic}.list", "".join(f"{path}\n" for path in paths))
    print(f"{topic}: {len(paths)} files in {folder}")
