"""Draws the stored results: `python -m experiments.anomaly.plot`."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.anomaly import contrasts, statistics
from experiments.common import plotting, results

LEARNED = ("ratio", "K = ")
"""Beginnings of the names of methods that learn a density ratio."""


LONGER = 6
"""Place of N2CE with K = 3 and F solved among the priors."""


def draw(stored: results.Stored) -> dict[str, Figure]:
    arrays = stored.arrays
    figures = {"anomaly_digits": _digits(arrays), "anomaly_contrasts": _contrasts(arrays)}
    if len(arrays["tables"]):
        figures["anomaly_tables"] = _tables(arrays)
    return figures


def _tables(arrays) -> Figure:
    """Area by table, and the mean rank of every method."""
    methods, areas = list(map(str, arrays["table_methods"])), arrays["table_areas"].mean(axis=1)
    figure, axes = plt.subplots(1, 2, figsize=(10.0, 4.6), width_ratios=(3, 2), sharey=True)
    places, order = np.arange(len(methods)), np.argsort(areas.mean(axis=0))
    for row, name in enumerate(np.array(methods)[order]):
        color = plotting.BLUE if name.startswith(LEARNED) else plotting.ORANGE
        axes[0].plot(areas[:, order[row]], np.full(len(areas), row), "o", color=color, alpha=0.5)
        axes[0].plot(areas[:, order[row]].mean(), row, "|", color=plotting.BLACK, ms=18, mew=2)
        axes[1].plot(
            statistics.ranks(arrays["table_areas"])[:, order[row]].mean(), row, "D", color=color
        )
    axes[0].set_yticks(places, np.array(methods)[order])
    axes[0].set(xlabel="area under the precision-recall curve, by table; bar: mean")
    axes[1].set(xlabel="mean rank (1 is best)")
    figure.suptitle(
        f"{len(areas)} tables, {arrays['table_areas'].shape[1]} seeds; blue: a density ratio is"
        " learned",
        size=10,
    )
    return figure


def _digits(arrays) -> Figure:
    """Area by digit: simple scores, rules without and with energies, and published rows."""
    digits = arrays["digits"]
    figure, axes = plt.subplots(1, 2, figsize=(11.0, 4.8), sharey=True)
    places = [list(arrays["simple_digits"]).index(digit) for digit in digits]
    ink = arrays["simple_areas"][places][..., 0]
    rows = [(ink, "little ink", {"color": plotting.NEUTRAL, "marker": "v"})]
    colors = (plotting.GREEN, plotting.VERMILION), (plotting.SKY_BLUE, plotting.BLUE)
    for block, rule, pair in zip(statistics.BLOCKS, arrays["chosen"], colors, strict=True):
        name = str(arrays["rules"][rule])
        rows.append((arrays[f"{block}_without"], f"{name}: no energy", {"color": pair[0]}))
        rows.append((arrays[block][..., LONGER], f"{name}: K = 3", {"color": pair[1]}))
    for place, (values, label, style) in enumerate(rows):
        _points(axes[0], values, (place - 2) / 8, label, style)
    for (name, row), marker in zip(contrasts.PUBLISHED.items(), "_+x", strict=True):
        heights = [row.get(int(digit), np.nan) for digit in digits]
        axes[0].plot(
            range(len(digits)), heights, marker, color="k", ms=9, label=f"published {name}"
        )
    axes[0].set(title="scores", ylabel="area under the precision-recall curve")
    shades = plotting.graded_colors(3)
    colors = (plotting.VERMILION, *shades, *shades, plotting.NEUTRAL)
    for index, (prior, color) in enumerate(zip(arrays["priors"], colors, strict=True)):
        style = {"color": color, "mfc": "w" if "joint" in str(prior) else color}
        _points(axes[1], arrays["energy"][..., index], (index - 3.5) / 10, str(prior), style)
    axes[1].set(title="energies alone")
    for axis in axes:
        axis.set_xticks(range(len(digits)), digits)
        axis.set(xlabel="digit held out", ylim=(0, 1))
        axis.legend(fontsize=7, ncols=2, loc="lower center")
    return figure


def _points(axis: Axes, values: np.ndarray, offset: float, label: str, style) -> None:
    """Mean and standard deviation over seeds, (digit, seed)."""
    positions = np.arange(len(values)) + offset
    spread = values.std(axis=1, ddof=1) if values.shape[1] > 1 else None
    axis.errorbar(
        positions,
        values.mean(axis=1),
        spread,
        **{"marker": "o", "ls": "none", "elinewidth": 1} | style,
        label=label,
    )


def _contrasts(arrays) -> Figure:
    """What M, K, F and the energy contribute, with intervals over seeds."""
    named = zip(statistics.BLOCKS, arrays["chosen"], strict=True)
    titles = {"energy": "energies alone"} | {b: str(arrays["rules"][rule]) for b, rule in named}
    figure, axes = plt.subplots(1, 3, figsize=(12.0, 3.8), sharey=True)
    for axis, (block, title) in zip(axes, titles.items(), strict=True):
        rows = contrasts.differences(arrays[block])
        if block != "energy":
            rows["with an energy minus without"] = contrasts.of_energy(arrays, block)
        for place, values in enumerate(rows.values()):
            mean, half = contrasts.interval(values.mean(axis=0))
            half = half if np.isfinite(half) else None
            axis.errorbar(mean, place, xerr=half, fmt="D", color=plotting.BLUE, capsize=3)
            axis.plot(values.mean(axis=1), np.full(len(values), place), "|", color="k", ms=9)
        axis.axvline(0, color=plotting.NEUTRAL, lw=1)
        axis.set(title=title, xlabel="difference of areas")
    axes[0].set_yticks(range(len(rows)), list(rows))
    axes[0].invert_yaxis()
    figure.suptitle("mean of digits with 95 % interval over seeds; bars: single digits", size=10)
    return figure


if __name__ == "__main__":
    plotting.main("anomaly", draw)
