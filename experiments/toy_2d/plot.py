"""Draws figures 4, 5, 11 and 12 of the paper, and the measures that quantify them."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common import plotting
from experiments.common.results import Stored
from experiments.toy_2d.measures import imbalance
from experiments.toy_2d.plot_maps import READINGS, draw_maps
from experiments.toy_2d.statistics import COMPARED, excess_loss, resized_name

FIGURES = {"8-gaussians": ("4", "5"), "pinwheel": ("11", "12")}
"""The paper's figures of a toy: loss, and map of the learned energy."""

LOSS_TICKS = (0.6, 0.8, 1, 2, 3)


def draw(stored: Stored) -> dict[str, Figure]:
    arrays, figures = stored.arrays, {}
    for toy in map(str, arrays["toys"]):
        loss, energy = FIGURES[toy]
        figures[f"toy_2d_figure_{loss}"] = _losses(arrays, toy)
        figures[f"toy_2d_figure_{energy}"] = draw_maps(arrays, toy, "energy")
        figures[f"toy_2d_figure_{energy}_ratio"] = draw_maps(arrays, toy, "ratio")
        figures[f"toy_2d_measures_{toy}"] = _measures(arrays, toy)
    figures["toy_2d_starts"] = _starts(arrays)
    figures["toy_2d_sizes"] = _sizes(arrays)
    return figures


def _losses(arrays, toy: str) -> Figure:
    """The loss as the paper shows it, and its excess over the data's own density, by quadrature."""
    figure, axes = plt.subplots(2, 2, figsize=(8.6, 6.2), sharex=True, sharey="row")
    for column, reading in zip(axes.T, READINGS, strict=True):
        cell = f"{toy}_{reading}"
        _bands(column[0], arrays, reading, arrays[f"{cell}_batch_loss"])
        column[0].axhline(arrays[f"{toy}_truth_loss"], color="0.4", lw=1, linestyle=":")
        _bands(column[1], arrays, reading, excess_loss(arrays, cell))
        column[0].set(
            title=READINGS[reading],
            yscale="log",
            yticks=LOSS_TICKS,
            yticklabels=map(str, LOSS_TICKS),
        )
        column[0].yaxis.set_minor_formatter("")
        column[1].set(xlabel="training step", yscale="log")
    axes[0, 0].set_ylabel("loss of the batches [nats]\n(dotted: of the data's own density)")
    axes[1, 0].set_ylabel("excess loss by quadrature [nats]")
    return _finished(figure, axes, arrays, toy)


def _measures(arrays, toy: str) -> Figure:
    figure, axes = plt.subplots(4, 2, figsize=(8.6, 10.5), sharex=True, sharey="row")
    for column, reading in zip(axes.T, READINGS, strict=True):
        cell = f"{toy}_{reading}"
        in_use = arrays[f"{cell}_in_use"]
        rows = (
            arrays[f"{cell}_divergence"],
            imbalance(arrays[f"{cell}_heights"]),
            in_use - arrays[f"{cell}_log_partition"],
            in_use - arrays[f"{cell}_profiled"],
        )
        for axis, values in zip(column, rows, strict=True):
            _bands(axis, arrays, reading, values)
        column[0].set(title=READINGS[reading], yscale="log")
        for axis in column[2:]:
            axis.axhline(0, color="0.4", lw=1, linestyle=":")
        column[3].set(xlabel="training step", ylim=(-1.2, 0.6))
    labels = (
        r"KL$(p_* \| p_\theta)$ [nats]",
        "depth imbalance of the modes\n(s.d. over modes) [nats]",
    )
    labels += (r"$F - \log Z$ [nats]", r"$F - F^*$ of the loss [nats]")
    for axis, label in zip(axes[:, 0], labels, strict=True):
        axis.set_ylabel(label)
    return _finished(figure, axes, arrays, toy)


def _starts(arrays) -> Figure:
    """NCE from several F0, which tests whether its lead is due to F0."""
    toy = str(arrays["toys"][0])
    figure, axes = plt.subplots(1, 2, figsize=(8.6, 3.7))
    values = {name: arrays[f"{toy}_energy_{name}"] for name in ("loss", "outside")}
    methods = list(arrays["energy_methods"])
    for axis, name, baseline in zip(axes, values, (arrays[f"{toy}_truth_loss"], 0), strict=True):
        shown = {0.0: values[name][methods.index("NCE")]} | dict(
            zip(arrays["starts"], arrays[f"starts_{name}"], strict=True)
        )
        for color, (start, runs) in zip(
            plotting.graded_colors(len(shown)), shown.items(), strict=True
        ):
            _band(
                axis, arrays["steps"], runs - baseline, color=color, label=f"NCE, $F_0 = {start:g}$"
            )
        _band(
            axis,
            arrays["steps"],
            values[name][methods.index("BAR")] - baseline,
            **plotting.method_style("BAR"),
        )
        axis.set_xlabel("training step")
    axes[0].set(ylabel="excess loss by quadrature [nats]", yscale="log")
    axes[1].set(ylabel="mass of the model beyond 6", ylim=(0, 1))
    figure.suptitle(
        f"{toy}, {READINGS['energy']}: mean and s.d. of {values['loss'].shape[1]} seeds",
        fontsize=10,
    )
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def _sizes(arrays) -> Figure:
    """The first toy in its original size and in others."""
    toy, sizes = str(arrays["toys"][0]), arrays["sizes"]
    figure, axes = plt.subplots(
        2, 1 + len(sizes), figsize=(8.6, 5.6), sharex=True, sharey="row", squeeze=False
    )
    cells = {f"{toy}_energy": "the size of the other figures"}
    cells |= {f"{resized_name(toy, size)}_energy": f"times {size:g}" for size in sizes}
    for column, (cell, title) in zip(axes.T, cells.items(), strict=True):
        methods = list(arrays["energy_methods"]) if cell == f"{toy}_energy" else list(COMPARED)
        for axis, values in zip(
            column, (excess_loss(arrays, cell), arrays[f"{cell}_divergence"]), strict=True
        ):
            for method in COMPARED:
                _band(
                    axis,
                    arrays["steps"],
                    values[methods.index(method)],
                    **plotting.method_style(method),
                )
            axis.set_yscale("log")
        column[0].set_title(title)
        column[1].set_xlabel("training step")
    axes[0, 0].set_ylabel("excess loss by quadrature [nats]")
    axes[1, 0].set_ylabel(r"KL$(p_* \| p_\theta)$ [nats]")
    return _finished(figure, axes, arrays, toy)


def _finished(figure: Figure, axes, arrays, toy: str) -> Figure:
    num_seeds = arrays[f"{toy}_energy_loss"].shape[1]
    figure.suptitle(f"{toy}: mean and s.d. of {num_seeds} seeds", fontsize=10)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure


def _bands(axes: Axes, arrays, reading: str, values: np.ndarray) -> None:
    """Mean and s.d. over seeds of (method, seed, checkpoint)."""
    for method, runs in zip(arrays[f"{reading}_methods"], values, strict=True):
        _band(axes, arrays["steps"], runs, **plotting.method_style(str(method)))


def _band(axes: Axes, steps: np.ndarray, runs: np.ndarray, **style: Any) -> None:
    mean, spread = runs.mean(0), runs.std(0, ddof=1)
    axes.plot(steps, mean, **style)
    low = np.maximum(mean - spread, runs.min(0))  # stays positive on a log axis
    axes.fill_between(steps, low, mean + spread, color=style["color"], alpha=0.13, lw=0)
    axes.set_xscale("symlog", linthresh=1, linscale=0.3)
    axes.set_xlim(0, steps[-1])


if __name__ == "__main__":
    plotting.main("toy_2d", draw)
