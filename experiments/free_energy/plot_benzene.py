"""Draws the estimates of benzene's work values, and their correlation."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from experiments.common import plotting
from experiments.free_energy import statistics
from experiments.free_energy.plot_separation import BAR


def draw_benzene(arrays: dict[str, np.ndarray]) -> Figure:
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.0, 3.5))
    values, errors, reference = (
        arrays[f"benzene_{name}"] for name in ("delta_f", "standard_error", "reference")
    )
    x = np.arange(len(values))
    left.bar(
        x - 0.2,
        values,
        0.38,
        yerr=statistics.QUANTILE * errors,
        color=BAR,
        alpha=0.8,
        label="nce_jax.bar",
    )
    left.bar(
        x + 0.2,
        reference[:, 0],
        0.38,
        yerr=statistics.QUANTILE * reference[:, 1],
        color="0.65",
        label="pymbar, stored",
    )
    left.set_xticks(x, [f"{pair} to {pair + 1}" for pair in x])
    left.set(xlabel="pair of states", ylabel="free energy difference (kT)")
    total, error = arrays["benzene_sum"], arrays["benzene_sum_standard_error"]
    left.set_title(f"(a) sum {total:.4f} $\\pm$ {error:.4f} kT")
    left.legend(loc="upper right")
    sizes, blocks = arrays["benzene_block_sizes"], arrays["benzene_block_standard_error"]
    for pair, color in enumerate(plotting.graded_colors(len(values))):
        right.plot(
            sizes,
            blocks[:, pair] / errors[pair],
            color=color,
            marker="o",
            label=f"{pair} to {pair + 1}",
        )
    right.axhline(1, color="0.4", linewidth=0.8)
    right.set(
        xscale="log",
        ylim=(0.7, 1.5),
        xlabel="work values per block",
        ylabel="error from blocks / independent",
    )
    right.set_title("(b) correlation between work values")
    right.legend(title="pair", ncols=2, loc="upper left")
    return figure
