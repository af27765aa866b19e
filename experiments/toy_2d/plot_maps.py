"""Draws maps of the learned log densities at several steps."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

READINGS = {"energy": "network = log density", "ratio": "network = log ratio to the noise"}
MAPPED = ("NCE", "NCE, raised rate", "BAR", "binary search")
LOWEST, SHOWN = -9.0, 5.0
"""Lower end, in nats, of a map's colors, and half width of its region."""


def draw_maps(arrays, toy: str, reading: str) -> Figure:
    """Log density of the first seed at the best-fitting F, and the data's, with one color scale."""
    methods = list(arrays[f"{reading}_methods"])
    truth = arrays[f"{toy}_truth_map"]
    steps = arrays["map_steps"]
    maps = arrays[f"{toy}_{reading}_map"]
    figure, axes = plt.subplots(len(steps), len(MAPPED) + 1, figsize=(9.4, 1.75 * len(steps) + 0.4))
    for row, step in enumerate(steps):
        shown = {name: maps[methods.index(name), row] for name in MAPPED} | {"data": truth}
        for axis, (name, values) in zip(axes[row], shown.items(), strict=True):
            image = _map(axis, values, arrays["half_width"], truth.max())
            axis.set_title(name if row == 0 else "")
        axes[row, 0].set_ylabel(f"step {step:,}")
    figure.colorbar(image, ax=axes, label=r"$\phi - F^*$ [nats]", shrink=0.7, extend="both")
    figure.suptitle(f"{toy}, {READINGS[reading]}, first seed", fontsize=10)
    return figure


def _map(axes: Axes, values: np.ndarray, half_width: Any, highest: float):
    extent = [-half_width, half_width, -half_width, half_width]
    image = axes.imshow(
        values.T, origin="lower", extent=extent, vmin=LOWEST, vmax=highest, cmap="viridis"
    )
    axes.set(xlim=(-SHOWN, SHOWN), ylim=(-SHOWN, SHOWN), xticks=[], yticks=[])
    axes.grid(False)
    return image
