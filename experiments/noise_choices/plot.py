"""Draws the stored results: `python -m experiments.noise_choices.plot`."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common import plotting, results
from experiments.noise_choices import statistics

COLORS = (
    plotting.BLACK,
    plotting.ORANGE,
    plotting.BLUE,
    plotting.VERMILION,
    plotting.GREEN,
    plotting.SKY_BLUE,
    plotting.PURPLE,
)
LINES = ("-", "--", "-.", ":", "-", "--", "-.")


def draw(stored: results.Stored) -> dict[str, Figure]:
    arrays = stored.arrays
    return {"noise_choices_plane": _plane(arrays), "noise_choices_digits": _digits(arrays)}


def _styles(arrays) -> dict[str, dict[str, Any]]:
    """Style of every noise, the same in all panels."""
    names = map(str, arrays["noises"])
    return {
        name: {"color": color, "linestyle": line, "label": name}
        for name, color, line in zip(names, COLORS, LINES, strict=False)
    }


def _plane(arrays) -> Figure:
    """Divergence at every magnification, overlap, and F - log Z, by step."""
    magnifications = arrays["magnifications"]
    figure, grid = plt.subplots(2, 2, figsize=(8.6, 6.4), sharex=True)
    axes, steps = grid.ravel(), arrays["plane_steps"]
    error = arrays["plane_in_use"] - arrays["plane_log_partition"]
    # A second magnification is shown in the second panel, which is otherwise empty.
    shown = [arrays["plane_divergence"][:, row] for row in range(min(2, len(magnifications)))]
    panels = [
        *zip(axes, shown, strict=False),
        (axes[2], arrays["plane_overlap"][:, 0]),
        (axes[3], error[:, 0]),
    ]
    for axis, values in panels:
        for lanes, style in zip(values, _styles(arrays).values(), strict=True):
            _band(axis, steps, lanes, style)
    for axis, kappa in zip(axes, magnifications, strict=False):
        axis.set(yscale="log", ylabel=rf"KL$(p_* \| p_\theta)$ [nats], $\kappa = {kappa:g}$")
    axes[1].set_visible(len(magnifications) > 1)
    axes[2].set(
        ylabel=r"overlap of data and noise, $\kappa = 1$", ylim=(0, None), xlabel="training step"
    )
    axes[3].set(ylabel=r"F in use $- \log Z$ [nats], $\kappa = 1$", xlabel="training step")
    axes[3].set_yscale("symlog", linthresh=0.1)
    axes[3].axhline(0, color="0.4", lw=1, linestyle=":")
    axes[0].set_xscale("log")
    figure.suptitle(f"8 Gaussians in the plane: mean and s.d. of {error.shape[2]} seeds", size=10)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=7)
    return figure


def _digits(arrays) -> Figure:
    """Overlap by step, gain compared with the noise's own, and the cost of a step."""
    figure, axes = plt.subplots(1, 3, figsize=(10.4, 3.9))
    gains, base = statistics.gain(arrays)[:, 0], arrays["digits_log_gaussian"].mean()
    names = list(_styles(arrays))
    for index, style in enumerate(_styles(arrays).values()):
        _band(axes[0], arrays["digits_steps"], arrays["digits_overlap"][index, 0], style)
        mean, error = statistics.mean_and_error(gains[index])
        if np.isfinite(mean):
            axes[1].errorbar(index, mean, error, fmt="o", color=style["color"], capsize=3)
        else:
            axes[1].text(
                index,
                0.2,
                "withheld",
                transform=axes[1].get_xaxis_transform(),
                rotation=90,
                ha="center",
                size=8,
            )
        if names[index] == "flow":
            flow_gain = arrays["digits_log_noise"][index] - base
            axes[1].plot(index, flow_gain, "_", color=style["color"], ms=16)
            axes[1].annotate(
                "the flow itself",
                (index, flow_gain),
                textcoords="offset points",
                xytext=(-6, 5),
                ha="right",
                size=8,
            )
    width, positions = 0.38, np.arange(len(names))
    for offset, problem, color in ((-width / 2, "plane", "0.65"), (width / 2, "digits", "0.25")):
        axes[2].bar(
            positions + offset,
            1e3 * arrays[f"{problem}_seconds"],
            width,
            color=color,
            label=problem,
        )
    for axis in axes[1:]:
        axis.set_xticks(positions, names, rotation=40, ha="right")
    axes[0].set(
        xscale="log", xlabel="training step", ylabel="overlap of data and noise", ylim=(0, None)
    )
    axes[1].axhline(0, color="0.4", lw=1, linestyle=":")
    axes[1].set(ylabel="test log-likelihood\nminus the Gaussian's [nats]")
    axes[2].set(ylabel="processor time per step [ms]", yscale="log")
    axes[2].legend()
    figure.suptitle(
        f"digits: mean and standard error of {gains.shape[1]} seeds; time per step of both"
        " problems",
        size=10,
    )
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=7)
    return figure


def _band(axes: Axes, steps: np.ndarray, lanes: np.ndarray, style: dict[str, Any]) -> None:
    mean, spread = lanes.mean(axis=0), lanes.std(axis=0, ddof=1)
    axes.plot(steps, mean, **style)
    # On a logarithmic axis the band must stay positive.
    low = np.maximum(mean - spread, lanes.min(axis=0))
    axes.fill_between(steps, low, mean + spread, color=style["color"], alpha=0.13, lw=0)


if __name__ == "__main__":
    plotting.main("noise_choices", draw)
