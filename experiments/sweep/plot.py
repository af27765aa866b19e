"""Draws a stored sweep against one axis, with lines for a second and panels for a third."""

import textwrap
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import xarray
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common import plotting
from experiments.sweep import files
from experiments.sweep.arguments import Plot
from experiments.sweep.select import Selection, select
from nce_jax import plots

BAND = (0.16, 0.84)
STYLES = {"joint": "NCE", "raised": "NCE, raised rate", "bar": "BAR", "solved": "Newton"}


def main(arguments: Plot) -> None:
    """Draws the figure of the command line and prints its files."""
    dataset = files.load(arguments.file)
    selection = select(dataset, arguments)
    figure = draw(dataset, selection)
    experiment = dataset.attrs["experiment"].replace("-", "_")
    name = f"sweep_{experiment}_{selection.value}_against_{selection.x}"
    for path in plotting.save_figure(figure, name, arguments.output):
        print(path)


def draw(dataset: xarray.Dataset, selection: Selection) -> Figure:
    """Draws the median and band over seeds; failed lanes are excluded, marked and counted."""
    part = dataset[[selection.value, "failed"]].sel(selection.fixed)
    panels = [None] if selection.panels is None else list(part[selection.panels].values)
    width = 3.4 * len(panels) + 1.4
    with mpl.rc_context(plotting.STYLE):
        figure, axes = plt.subplots(
            1, len(panels), sharey=True, squeeze=False, figsize=(width, 3.9)
        )
        for axis, panel in zip(axes[0], panels, strict=True):
            _panel(axis, part if panel is None else part.sel({selection.panels: panel}), selection)
            axis.set_title("" if panel is None else f"{selection.panels} = {_text(panel)}")
        axes[0, 0].set_ylabel(selection.value.replace("_", " "))
        if selection.lines is not None:
            axes[0, -1].legend(title=selection.lines, loc="best")
        fixed = [f"{name} {_text(value)}" for name, value in selection.fixed.items()]
        spread = f"median and {BAND[0]:.0%} to {BAND[1]:.0%} of {dataset.sizes['seed']} seeds"
        title = ", ".join([dataset.attrs["experiment"], *fixed, spread])
        figure.suptitle(textwrap.fill(title, round(14 * width)), fontsize=9)
    return figure


def _panel(axis: Axes, part: xarray.Dataset, selection: Selection) -> None:
    values = [None] if selection.lines is None else list(part[selection.lines].values)
    for value, color in zip(values, plotting.graded_colors(len(values)), strict=True):
        line = part if value is None else part.sel({selection.lines: value})
        style = _style(selection.lines, value, color)
        plots.sweep_lines(line, selection.value, selection.x, band=BAND, ax=axis, **style)
    x = part[selection.x].values
    if np.issubdtype(x.dtype, np.number) and x.max() > 8 * x.min():
        axis.set_xscale("log")
    medians = [line.get_ydata() for line in axis.get_lines() if line.get_marker() != "x"]
    finite = np.concatenate(medians)[np.isfinite(np.concatenate(medians))]
    if finite.size and (finite > 0).all():
        axis.set_yscale("log")
    axis.set_ylabel("")


def _style(axis: str | None, value: Any, color: Any) -> dict[str, Any]:
    if axis == "treatment":
        return {**plotting.method_style(STYLES[str(value)], marker=True), "label": str(value)}
    return {"color": color, "marker": "o", "label": None if axis is None else _text(value)}


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float | np.number) else str(value)
