"""Draws the overlap matrix of benzene's states, and the error of the difference of its ends."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common import plotting
from experiments.free_energy import statistics
from nce_jax import plots


def draw_benzene_states(arrays: dict[str, np.ndarray]) -> Figure:
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(9.0, 3.7), gridspec_kw={"width_ratios": (1, 1.5)}
    )
    plots.overlap_matrix(arrays["benzene_states_overlap"], ax=left)
    left.set_title(f"(a) overlap, gap {arrays['benzene_states_gap']:.3f}")
    _ends(right, arrays)
    right.set_title("(b) f of the last state, 95 % intervals")
    return figure


def _ends(axes: Axes, arrays: dict[str, np.ndarray]) -> None:
    """Value and interval by every way to compute it."""
    value = arrays["benzene_states_delta_f"][0, -1]
    sandwich = np.sqrt(arrays["benzene_states_sandwich_covariance"][-1, -1])
    total = arrays["benzene_sum"]
    independent = np.linalg.norm(arrays["benzene_standard_error"])
    rows = [
        (
            "pymbar, stored",
            arrays["benzene_states_reference"][0, -1],
            arrays["benzene_states_reference_error"][0, -1],
            plotting.NEUTRAL,
        ),
        ("mbar", value, arrays["benzene_states_standard_error"][0, -1], plotting.GREEN),
        ("mbar, sandwich error", value, sandwich, plotting.GREEN),
        *(
            (f"mbar, bootstrap in blocks of {size}", value, errors[-1], plotting.GREEN)
            for size, errors in zip(
                arrays["benzene_states_block_sizes"],
                arrays["benzene_states_bootstrap_error"],
                strict=True,
            )
        ),
        ("bar_chain", total, arrays["benzene_sum_standard_error"], plotting.BLUE),
        ("bar, as if independent", total, independent, plotting.VERMILION),
    ]
    for position, (_, center, error, color) in enumerate(rows):
        width = statistics.QUANTILE * error
        axes.errorbar(center, position, xerr=width, color=color, marker="o", capsize=3)
        axes.text(center + width, position - 0.12, f"  {error:.4f}", va="center", fontsize=8)
    axes.set_yticks(np.arange(len(rows)), [row[0] for row in rows])
    axes.set(xlabel="kT", ylim=(len(rows) - 0.5, -0.5))
    axes.margins(x=0.2)
