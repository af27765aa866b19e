"""Draws the overlap of model and noise by step, and the batch's F relative to log Z."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common import plotting


def draw_overlap(arrays) -> Figure:
    """Overlap, effective sample size and F* - log Z of fresh batches.

    Medians are shown with the middle 80 % over batches.
    """
    figure, axes = plt.subplots(1, 3, figsize=(10.0, 3.8))
    with np.errstate(invalid="ignore"):
        excess = arrays["checkpoint_root"] - arrays["checkpoint_log_z"][..., None]
    for index, method in enumerate(arrays["checkpoint_methods"]):
        for panel, values in zip(
            axes, (arrays["checkpoint_overlap"], _kish(arrays), excess), strict=True
        ):
            _quantiles(
                panel,
                arrays["checkpoint_steps"],
                values[index],
                **plotting.method_style(str(method)),
            )
    for panel, values in zip(
        axes, (arrays["checkpoint_overlap"], _kish(arrays), excess), strict=True
    ):
        panel.axhline(
            np.median(values[-1]),
            color=plotting.OTHER_COLORS[0],
            lw=1.2,
            label="the data's own parameters",
        )
        panel.set_xscale("symlog", linthresh=1, linscale=0.3)
        panel.set(xlim=(0, arrays["checkpoint_steps"][-1]), xlabel="training step")
    axes[0].set(ylabel="overlap of model and noise", yscale="log")
    axes[1].set(ylabel="effective noise samples for the model's Z", yscale="log")
    axes[2].set(ylabel=r"$F$ of a batch $-$ $\log Z(\theta)$ [nats]")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def _kish(arrays) -> np.ndarray:
    return arrays["checkpoint_effective_sample_size"]


def _quantiles(axes: Axes, steps, values: np.ndarray, **style) -> None:
    low, middle, high = np.quantile(values, [0.1, 0.5, 0.9], axis=-1)
    axes.plot(steps, middle, **style)
    axes.fill_between(steps, low, high, color=style["color"], alpha=0.15, lw=0)
