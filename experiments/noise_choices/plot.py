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
    """Overlap by step, gain compared with the noise alone, and the cost of a step."""
    figure, axes = plt.subplots(1, 3, figsize=(10.4, 3.9))
    gains, base = statistics.gain(arrays)[:, 0], arrays["digits_log_gaussian"].mean()
    names = list(_styles(arrays))
    for index, style in enumerate(_styles(arrays).values()):
        _band(axes[0], arrays["digits_steps"], arrays["digits_overlap"][index, 0], style)
        _mark_gain(axes[1], index, gains[index], style["color"])
        if names[index] == "flow":
            _mark_flow(axes[1], index, arrays["digits_log_noise"][index] - base, style["color"])
    width, positions = 0.38, np.arange(len(names))
    for offset, problem, color in ((-width / 2, "plane", "0.65"), (width / 2, "digits", "0.25")):
        milliseconds = 1e3 * arrays[f"{problem}_seconds"]
        axes[2].bar(positions + offset, milliseconds, width, color=color, label=problem)
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


def _mark_gain(axes: Axes, index: int, gains: np.ndarray, color: str) -> None:
    """Mean and standard error of a noise's gains, or a note where they are withheld."""
    mean, error = statistics.mean_and_error(gains)
    if np.isfinite(mean):
        axes.errorbar(index, mean, error, fmt="o", color=color, capsize=3)
        return
    on_axis = axes.get_xaxis_transform()
    axes.text(index, 0.2, "withheld", transform=on_axis, rotation=90, ha="center", size=8)


def _mark_flow(axes: Axes, index: int, gain: float, color: str) -> None:
    """The gain of the flow alone, without an energy on top of it."""
    axes.plot(index, gain, "_", color=color, ms=16)
    options: dict[str, Any] = {"textcoords": "offset points", "xytext": (-6, 5), "ha": "right"}
    axes.annotate("the flow itself", (index, gain), size=8, **options)


def _band(axes: Axes, steps: np.ndarray, lanes: np.ndarray, style: dict[str, Any]) -> None:
    mean, spread = lanes.mean(axis=0), lanes.std(axis=0, ddof=1)
    axes.plot(steps, mean, **style)
    # On a logarithmic axis the band must stay positive.
    low = np.maximum(mean - spread, lanes.min(axis=0))
    axes.fill_between(steps, low, mean + spread, color=style["color"], alpha=0.13, lw=0)


if __name__ == "__main__":
    plotting.main("noise_choices", draw)
