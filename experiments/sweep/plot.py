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

BAND = (0.16, 0.84)
STYLES = {"joint": "NCE", "raised": "NCE, raised rate", "bar": "BAR", "solved": "Newton"}
FAILURE_MARK = {"marker": "x", "linestyle": "", "markersize": 7, "markeredgewidth": 2, "zorder": 3}


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
    medians = []
    for row, (value, color) in enumerate(
        zip(values, plotting.graded_colors(len(values)), strict=True)
    ):
        line = part if value is None else part.sel({selection.lines: value})
        medians.append(_line(axis, line, selection, _style(selection.lines, value, color), row))
    x, is_number = _positions(part, selection.x)
    if not is_number:
        axis.set_xticks(x, [str(value) for value in part[selection.x].values])
    elif x.max() > 8 * x.min():
        axis.set_xscale("log")
    finite = np.concatenate(medians)
    finite = finite[np.isfinite(finite)]
    if finite.size and (finite > 0).all():
        axis.set_yscale("log")
    axis.set_xlabel(selection.x.replace("_", " "))


def _positions(part: xarray.Dataset, x: str) -> tuple[np.ndarray, bool]:
    """Positions of an axis's values, and whether they are positive numbers or words."""
    is_number = np.issubdtype(part[x].dtype, np.number)
    return (part[x].values if is_number else np.arange(part.sizes[x])), is_number


def _line(
    axis: Axes, line: xarray.Dataset, selection: Selection, style: dict[str, Any], row: int
) -> np.ndarray:
    x, _ = _positions(line, selection.x)
    median, low, high, num_failed, num_lanes = summary(line, selection.value, selection.x)
    axis.plot(x, median, **style)
    axis.fill_between(x, low, high, color=style["color"], alpha=0.15, linewidth=0)
    failed_positions = np.flatnonzero(num_failed)
    # Along the steps one mark is enough.
    for index in failed_positions if selection.x in line["failed"].dims else failed_positions[-1:]:
        # Without a remaining lane there is no median: the marks are stacked at the bottom.
        has_none_left = num_failed[index] == num_lanes
        transform = axis.get_xaxis_transform() if has_none_left else axis.transData
        position = (x[index], 0.03 + 0.06 * row if has_none_left else median[index])
        axis.plot(*position, transform=transform, color=style["color"], **FAILURE_MARK)
        text = f"{num_failed[index]}/{num_lanes} failed"
        axis.annotate(
            text,
            position,
            xycoords=transform,
            xytext=(-5, -2),
            textcoords="offset points",
            size=7,
            ha="right",
        )
    return median


def summary(
    line: xarray.Dataset, value: str, x: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
    """Median, band and number of failed lanes per value of x.

    Quantiles are over the lanes that did not fail, and NaN where all failed.
    """
    failed = line["failed"]
    numbers = line[value].where(~failed).transpose("seed", x).values
    has_values = ~np.isnan(numbers).all(axis=0)
    low, median, high = np.full((3, numbers.shape[1]), np.nan)
    if has_values.any():
        low[has_values], median[has_values], high[has_values] = np.nanquantile(
            numbers[:, has_values], (BAND[0], 0.5, BAND[1]), axis=0
        )
    # A lane fails as a whole, so that its count is the same at all steps.
    num_failed = np.broadcast_to(failed.sum("seed").values, median.shape)
    return median, low, high, num_failed, line.sizes["seed"]


def _style(axis: str | None, value: Any, color: Any) -> dict[str, Any]:
    if axis == "treatment":
        return {**plotting.method_style(STYLES[str(value)], marker=True), "label": str(value)}
    return {"color": color, "marker": "o", "label": None if axis is None else _text(value)}


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float | np.number) else str(value)
