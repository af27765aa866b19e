"""Draws the parameter distance against steps and separations, its errors, and the stages."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.chasm_1d.statistics import distances, scores_of
from experiments.common import plotting
from experiments.common.results import Stored

CHAIN = {"color": plotting.METHODS["Newton"]["color"], "label": "chain of log ratios"}
N2CE = {"color": plotting.OTHER_COLORS[0], "linestyle": "--", "label": "N2CE, F solved"}


def draw(stored: Stored) -> dict[str, Figure]:
    arrays = stored.arrays
    return {
        "chasm_1d_figure_2": _figure_2(arrays),
        "chasm_1d_separations": _separations(arrays),
        "chasm_1d_stages": _stages(arrays),
    }


def _style(name: str) -> dict:
    return N2CE if name == "N2CE" else plotting.method_style(name)


def _figure_2(arrays) -> Figure:
    """Mean and s.d. over runs at the paper's separation; the chain starts after its pilots."""
    figure, axes = plt.subplots(figsize=(6.2, 4.2))
    paper, num_runs = list(arrays["separations"]).index(16.0), arrays["single_theta"].shape[1]
    for index, name in enumerate(arrays["methods"]):
        paths = arrays["single_theta"][index], arrays["single_log_partition"][index]
        distance = distances(*(path[None] for path in paths), np.array([16.0]))[0]
        _band(axes, np.arange(1, distance.shape[1] + 1), distance, **_style(str(name)))
    chain_paths = [
        arrays[f"stages_path_{name}"][paper, :num_runs]
        for name in ("steps", "theta", "log_partition")
    ]
    for run, (steps, theta, log_partition) in enumerate(zip(*chain_paths, strict=True)):
        distance = distances(theta[None], log_partition[None], np.array([16.0]))[0]
        label = CHAIN["label"] + f" ({num_runs} runs)" if run == 0 else None
        axes.plot(steps, distance, ".-", ms=3, lw=0.9, color=CHAIN["color"], label=label)
    axes.axhline(0.4, color="0.4", lw=0.8, ls=":", label="distance 0.4")
    axes.set(xscale="log", yscale="log", xlabel="training steps, pilots included", xlim=(1, None))
    axes.set(ylabel=r"parameter distance $\|(\theta, F) - (16, 128)\|$")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _band(axes: Axes, steps: np.ndarray, values: np.ndarray, **style) -> None:
    mean, spread = values.mean(0), values.std(0, ddof=1)
    axes.plot(steps, mean, **style)
    axes.fill_between(steps, mean - spread, mean + spread, color=style["color"], alpha=0.15, lw=0)


def _separations(arrays) -> Figure:
    """Final distance and its predicted error by separation, and deviations over their errors."""
    figure, axes = plt.subplots(1, 2, figsize=(8.5, 3.8))
    separations = arrays["separations"]
    ends = distances(arrays["stages_theta"], arrays["stages_log_partition"], separations)
    columns = np.broadcast_to(separations[:, None], ends.shape)
    axes[0].plot(
        columns.ravel(),
        ends.ravel(),
        ".",
        color=CHAIN["color"],
        label="a run of the chain (8, 16, 32, 64 apart: the same call)",
    )
    predicted = np.sqrt(2 / np.pi) * np.nanmean(arrays["stages_log_partition_error"], axis=1)
    axes[0].plot(separations, predicted, "k:", lw=1.2, label="mean expected from the joint error")
    for index, name in enumerate(arrays["methods"]):
        last = (arrays[f"single_{part}"][None, index, :, -1] for part in ("theta", "log_partition"))
        style = {**_style(str(name)), "linestyle": "none", "marker": "_", "ms": 12, "mew": 2}
        axes[0].plot(16.0, distances(*last, np.array([16.0])).mean(), **style)
    axes[0].set(
        xscale="log",
        yscale="log",
        xlabel="separation of the means",
        ylabel="parameter distance at the end",
    )
    axes[0].set_xticks(separations, [f"{separation:g}" for separation in separations], minor=False)
    axes[0].minorticks_off()
    target = separations[:, None] ** 2 / 2
    scores = scores_of(arrays["stages_log_partition"], target, arrays["stages_log_partition_error"])
    axes[1].hist(scores, np.linspace(-4, 4, 17), density=True, color=CHAIN["color"], alpha=0.5)
    grid = np.linspace(-4, 4, 201)
    axes[1].plot(grid, np.exp(-0.5 * grid**2) / np.sqrt(2 * np.pi), "k", lw=1.2)
    axes[1].set(
        xlabel="(F - truth) / its joint standard error",
        ylabel=f"density, {scores.size} runs; line: N(0, 1)",
    )
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _stages(arrays) -> Figure:
    """Schedules of the search, as the bridges' means, and the overlap of every stage.

    The first run of each separation is shown.
    """
    figure, axes = plt.subplots(1, 2, figsize=(8.5, 3.6))
    for color, index in zip(
        plotting.graded_colors(4), range(len(arrays["separations"])), strict=False
    ):
        schedule, overlap = arrays["stages_schedule"][index, 0], arrays["stages_overlap"][index, 0]
        schedule, overlap = schedule[np.isfinite(schedule)], overlap[np.isfinite(overlap)]
        progress = np.linspace(0, 1, schedule.size)
        label = f"{arrays['separations'][index]:g} apart: {overlap.size} stages"
        axes[0].plot(
            progress, np.sqrt((1 - schedule) * (1 + schedule)), ".-", color=color, label=label
        )
        axes[1].plot((progress[1:] + progress[:-1]) / 2, overlap, ".-", color=color)
    axes[0].set(xlabel="k / K", ylabel="mean of bridge k over that of the data")
    axes[1].set(xlabel="(k + 1/2) / K", ylabel="overlap of stage k", ylim=(0, 1))
    axes[1].axhline(0.4, color="0.4", lw=0.8, ls=":")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


if __name__ == "__main__":
    plotting.main("chasm_1d", draw)
