"""Bias and variance against M, U-curves in the three settings, and the best M against n."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from experiments.bias_variance.quadrature import TREATMENTS
from experiments.bias_variance.statistics import exact_best, exact_curves, sampled_mean
from experiments.common import plotting

COLORS = {"fixed": plotting.PURPLE, "joint": plotting.BLACK, "solved": plotting.GREEN}
LABELS = {"fixed": r"$F = \log Z(\theta)$", "joint": "joint", "solved": "F solved"}
LINES = {"fixed": "-", "joint": ":", "solved": "--"}


def draw(stored) -> dict[str, Figure]:
    arrays = stored.arrays
    return {
        "bias_variance_slopes": _slopes(arrays),
        "bias_variance_curves": _curves(arrays),
        "bias_variance_best": _best(arrays),
    }


def _slopes(arrays) -> Figure:
    """Exact squared bias and n times variance, a column per distance of data and noise."""
    means, points, m = arrays["means"], arrays["points"], arrays["exact_magnifications"]
    figure, axes = plt.subplots(
        2, len(means), figsize=(3.4 * len(means), 6.4), sharex=True, squeeze=False
    )
    colors = plotting.graded_colors(len(points))
    for column, mean in enumerate(means):
        for row, field in enumerate(("squared_bias", "variance")):
            panel = axes[row, column]
            for (p, point), name in (
                (item, name) for item in enumerate(points) for name in TREATMENTS
            ):
                curve = arrays[f"exact_{field}"][TREATMENTS.index(name), column, p]
                if row == 0 and point == 1:
                    continue  # no bias at the truth
                panel.loglog(m, curve, color=colors[p], linestyle=LINES[name], linewidth=1.3)
            top = arrays[f"exact_{field}"][0, column].max()
            for power in (-2,) if row == 0 else (1, 2):
                start = m[-1] if row == 0 else m[0]
                anchor = arrays[f"exact_{field}"][
                    0, column, 0 if row == 0 else -1, -1 if row == 0 else 0
                ] * (4 if row == 0 else 2)
                panel.loglog(m, anchor * (m / start) ** power, color="0.6", linewidth=0.9)
            panel.set_ylim(*((1e-10, 20) if row == 0 else (5e-3, 30 * top)))
        axes[0, column].set_title(f"KL(data : noise) = {2.5 * mean**2:.3g} nats")
        axes[1, column].set_xlabel("M")
    axes[0, 0].set_ylabel("squared bias\n(gray: slope −2)")
    axes[1, 0].set_ylabel("n × variance\n(gray: slopes 1 and 2)")
    handles = [
        plt.Line2D([], [], color=c, label=rf"$\theta$ = {p:g} $\mu$")
        for c, p in zip(colors, points, strict=True)
    ]
    handles += [
        plt.Line2D([], [], color="0.3", linestyle=LINES[name], label=LABELS[name])
        for name in TREATMENTS
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=6)
    return figure


def _panels(arrays) -> list[tuple[str, str, tuple[int, ...]]]:
    """Title, setting and case of each column: points except the truth, budgets, convergence."""
    gradient = [
        (rf"(a) gradient at {p:g} $\mu$", "gradient", (i,))
        for i, p in enumerate(arrays["points"][:-1])
    ]
    descent = [(f"(b) after {b} steps", "descent", (i,)) for i, b in enumerate(arrays["budgets"])]
    return [*gradient, *descent, ("(c) at convergence", "estimator", ())]


def _row(name: str, setting: str) -> int:
    """Row of a treatment in a setting's arrays: joint and solved converge to the same point."""
    return (
        {"fixed": 0, "joint": 1, "solved": 1}[name]
        if setting == "estimator"
        else TREATMENTS.index(name)
    )


def _curves(arrays) -> Figure:
    """Rows are treatments of F, columns settings; a color per n."""
    columns, sizes = _panels(arrays), arrays["sample_sizes"]
    figure, axes = plt.subplots(3, len(columns), figsize=(2.35 * len(columns), 7.6), sharey="col")
    colors, mean_index = plotting.graded_colors(len(sizes)), sampled_mean(arrays)
    for row, name in enumerate(TREATMENTS):
        for column, (title, setting, case) in enumerate(columns):
            panel, index = axes[row, column], _row(name, setting)
            for n, color in zip(sizes, colors, strict=True):
                errors = arrays[f"{setting}_errors_{n}"][(index, *case)]
                error = errors.mean(-1) if setting == "gradient" else np.median(errors, axis=-1)
                style = {
                    "linestyle": "none" if setting == "gradient" else "-",
                    "marker": ".",
                    "linewidth": 1,
                }
                panel.loglog(
                    arrays[f"{setting}_magnifications"],
                    error,
                    color=color,
                    label=f"n = {n:,}",
                    **style,
                )
                if setting == "gradient":
                    curve = exact_curves(arrays, [n])[(row, mean_index, *case, 0)]
                    panel.loglog(arrays["exact_magnifications"], curve, color=color, linewidth=1)
                    panel.set_xlim(0.07, 1.5e5)
            if row == 0:
                panel.set_title(title)
        axes[row, 0].set_ylabel(f"{LABELS[name]}\nsquared error")
    for panel in axes.flat:
        panel.yaxis.set_minor_formatter(NullFormatter())
        low, high = panel.get_ylim()
        # Two labeled decades at least.
        panel.set_ylim(min(low, 10 ** np.floor(np.log10(high) - 1) * 0.9), high)
    for panel in axes[-1]:
        panel.set_xlabel("M")
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(sizes)
    )
    return figure


def _best(arrays) -> Figure:
    """Best M by n: dots with 95 % intervals from samples, exact lines, and the rule.

    The rule is the gray band between sqrt(n) and 10 sqrt(n).
    """
    columns, sizes = _panels(arrays), arrays["sample_sizes"].astype(float)
    width = -(-len(columns) // 2)
    figure, grid = plt.subplots(
        2, width, figsize=(3.5 * width, 6.8), sharex=True, sharey=True, squeeze=False
    )
    mean_index = sampled_mean(arrays)
    exact = exact_best(arrays, sizes)
    for panel, (title, setting, case) in zip(grid.flat, columns, strict=False):
        panel.fill_between(sizes, np.sqrt(sizes), 10 * np.sqrt(sizes), color="0.85", lw=0)
        for shift, name in enumerate(TREATMENTS):
            if setting == "estimator" and name == "joint":
                continue
            index = (_row(name, setting), *case)
            best, power = arrays[f"{setting}_best"][index], arrays[f"{setting}_exponent"][index]
            x, error = sizes * 1.09 ** (shift - 1), np.abs(best[:, 1:] - best[:, :1]).T
            # No −0.00.
            label = "{:.2f} [{:.2f}, {:.2f}]".format(*(np.round(power, 2) + 0.0)).replace("-", "−")
            style = {"color": COLORS[name], "marker": "o", "capsize": 2}
            panel.errorbar(x, best[:, 0], yerr=error, linestyle="none", label=label, **style)
            if setting == "gradient":
                panel.plot(
                    sizes, exact[(index[0], mean_index, *case)], color=COLORS[name], linewidth=1
                )
        panel.set(xscale="log", yscale="log", title=title, ylim=(0.07, 3e5))
        is_high = arrays[f"{setting}_best"][(slice(None), *case)][..., 0].min() > 100
        panel.legend(loc="lower left" if is_high else "upper left", fontsize=8, handletextpad=0.2)
    for panel in grid[-1]:
        panel.set_xlabel("n")
    for panel in grid[:, 0]:
        panel.set_ylabel("best M")
    for panel in list(grid.flat)[len(columns) :]:
        panel.set_visible(False)
    handles = [
        plt.Line2D([], [], color=COLORS[name], marker="o", label=LABELS[name])
        for name in TREATMENTS
    ]
    handles.append(plt.Rectangle((0, 0), 1, 1, color="0.85", label=r"$\sqrt{n}$ to $10 \sqrt{n}$"))
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=4,
        title="in the panels: exponents with 95 % intervals",
    )
    return figure


if __name__ == "__main__":
    plotting.main("bias_variance", draw)
