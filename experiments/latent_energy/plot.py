"""Draws the stored results: `python -m experiments.latent_energy.plot`."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from experiments.common import plotting, results
from experiments.latent_energy import statistics

FLOORS = (statistics.REAL, statistics.POSTERIOR)
FITTED = ("N(0, I)", "Gaussian", "Gaussian mixture")


def draw(stored: results.Stored) -> dict[str, Figure]:
    arrays = stored.arrays
    names = statistics.names(arrays)
    figures = {"latent_energy": _distances(arrays, names)}
    for name in names:
        figures[f"latent_energy_samples_{statistics.slug(name)}"] = _samples(arrays, name)
    return figures


def _distances(arrays, names: list[str]) -> Figure:
    """Frechet distance and held-out log ratio of every method and seed."""
    starts = [statistics.slug(name) for name in names]
    most = max((arrays[f"{start}_methods"] for start in starts), key=len)
    figure, axes = plt.subplots(
        2,
        len(names),
        figsize=(2.6 + 2.9 * len(names), 1.6 + 0.4 * len(most)),
        squeeze=False,
        layout="constrained",
    )
    for column, (name, start) in enumerate(zip(names, starts, strict=True)):
        methods = [str(method) for method in arrays[f"{start}_methods"]]
        titles = ("Frechet distance", "log ratio of held-out draws, nats")
        for axis, field, title in zip(
            axes[:, column], ("frechet", "log_ratio"), titles, strict=True
        ):
            _rows(axis, methods, arrays[f"{start}_{field}"])
            axis.set_xlabel(title)
            if column and methods == [str(method) for method in arrays[f"{starts[0]}_methods"]]:
                axis.set_yticklabels([])
        axes[0, column].set(xlim=(0, None), title=f"{name}, N = {arrays[f'{start}_num_samples']:,}")
    return figure


def _rows(axis, methods: list[str], values: np.ndarray) -> None:
    """A row for each method that has values: a point for each seed, a bar for the mean."""
    for row, (method, of_seeds) in enumerate(zip(methods, values, strict=True)):
        color = _color(method)
        axis.plot(of_seeds, np.full(len(of_seeds), row), "o", color=color, alpha=0.6)
        axis.plot(np.mean(of_seeds), row, "|", color=color, ms=13, mew=2)
    axis.set_yticks(range(len(methods)), methods)
    axis.set_ylim(len(methods) - 0.5, -0.5)


def _color(method: str) -> str:
    if method in FLOORS:
        return plotting.NEUTRAL
    if method in FITTED:
        return plotting.ORANGE
    if method.startswith("MLE"):
        return plotting.GREEN
    return plotting.BLUE if "K = " in method else plotting.BLACK


def _samples(arrays, name: str) -> Figure:
    """A row of images for each method, of the first seed."""
    start = statistics.slug(name)
    methods, pictures = arrays[f"{start}_methods"], arrays[f"{start}_pictures"]
    height = pictures.shape[2]
    gap = max(1, height // 14)
    frame = ((0, 0), (0, 0), (gap, gap), (gap, gap), (0, 0))
    tiles = np.pad(pictures, frame, constant_values=255)
    sheet = np.concatenate(np.concatenate(tiles.swapaxes(0, 1), axis=2), axis=0)
    count = pictures.shape[1]
    side, margin = 0.5, 2.2  # of a tile, and of the names, in inches
    size = margin + side * count, side * len(methods)
    place = {"left": margin / size[0], "right": 1, "bottom": 0, "top": 1}
    figure, axis = plt.subplots(figsize=size, layout="none", gridspec_kw=place)
    axis.imshow(sheet.squeeze(), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    centers = (np.arange(len(methods)) + 0.5) * (height + 2 * gap)
    axis.set_yticks(centers, methods, size=8)
    axis.set_xticks([])
    axis.tick_params(length=0)
    axis.grid(visible=False)
    axis.spines[:].set_visible(False)
    return figure


if __name__ == "__main__":
    plotting.main("latent_energy", draw)
