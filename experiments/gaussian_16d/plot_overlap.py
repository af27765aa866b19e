"""Draws the overlap of model and noise by step, and the batch's F relative to log Z."""

import matplotlib.pyplot as plt
import numpy as np
import xarray
from matplotlib.figure import Figure

from experiments.common import plotting
from nce_jax import plots


def draw_overlap(arrays) -> Figure:
    """Overlap, effective sample size and F* - log Z of fresh batches.

    Medians are shown with the middle 80 % over batches.
    """
    figure, axes = plt.subplots(1, 3, figsize=(10.0, 3.8))
    with np.errstate(invalid="ignore"):
        excess = arrays["checkpoint_root"] - arrays["checkpoint_log_z"][..., None]
    shown = {
        "overlap": arrays["checkpoint_overlap"],
        "effective_sample_size": arrays["checkpoint_effective_sample_size"],
        "excess": excess,
    }
    for panel, (name, values) in zip(axes, shown.items(), strict=True):
        for method, batches in zip(arrays["checkpoint_methods"], values[:-1], strict=True):
            part = xarray.Dataset(
                {name: (("step", "batch"), batches)}, {"step": arrays["checkpoint_steps"]}
            )
            style = plotting.method_style(str(method))
            options = {"over": "batch", "band": (0.1, 0.9), "ax": panel, "marker": ""}
            plots.sweep_lines(part, name, "step", **options, **style)
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
