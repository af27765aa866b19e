"""Draws figures 6 and 13, likelihoods, and F: `python -m experiments.mnist.plot --preset cpu`."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from experiments.common import plotting
from experiments.common.results import Stored
from experiments.mnist.preprocessing import SIDE


def draw(stored: Stored) -> dict[str, Figure]:
    """Losses against steps, samples with data, bits per dimension, and F."""
    return {
        "mnist_loss": losses(stored.arrays),
        "mnist_samples": samples(stored.arrays),
        "mnist_bits": bits(stored.arrays),
        "mnist_log_partition": log_partitions(stored.arrays),
    }


def _style(name: str, index: int) -> dict:
    if name in plotting.METHODS:
        return plotting.method_style(name)
    return {"label": name, "color": plotting.OTHER_COLORS[index % 3], "linestyle": "-"}


def _curves(axes, arrays, x: str, y: str, *, smooth: int = 1) -> None:
    for index, name in enumerate(arrays["methods"].tolist()):
        steps, values = arrays[x][index, 0], np.maximum(arrays[y][index], 1e-12)
        log_values = np.log10(values)
        kernel = np.ones(smooth) / smooth
        mean = np.convolve(log_values.mean(axis=0), kernel, "valid")
        axes.plot(steps[smooth - 1 :], 10**mean, **_style(name, index))
    axes.set(xlabel="step", yscale="log")


def losses(arrays: dict[str, np.ndarray]) -> Figure:
    """Figure 6."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
    smooth = max(arrays["train_step"].shape[-1] // 30, 1)
    _curves(left, arrays, "train_step", "train_loss", smooth=smooth)
    _curves(right, arrays, "step", "held_out_loss")
    left.set(
        title="batches (at the method's own M)", ylabel="NCE loss (nats), geometric mean over seeds"
    )
    right.set(title="test images and fresh noise, M = 1")
    right.legend(fontsize=8)
    return figure


def samples(arrays: dict[str, np.ndarray]) -> Figure:
    """Figure 13: test images, and chains that were annealed from the noise into each energy."""
    names = [name for name in ("BAR", "Newton", "NCE") if name in arrays["methods"]]
    figure, axes = plt.subplots(1, len(names) + 1, figsize=(3 * (len(names) + 1), 3.2))
    grids = {"test images": arrays["test_images"]}
    grids |= {
        name: arrays["eval_samples"][arrays["methods"].tolist().index(name)] for name in names
    }
    for panel, (name, images) in zip(axes, grids.items(), strict=True):
        panel.imshow(_mosaic(images), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        panel.set(title=name, xticks=[], yticks=[])
        panel.grid(False)
    return figure


def _mosaic(images: np.ndarray) -> np.ndarray:
    side = int(min(len(images), 25) ** 0.5)
    tiles = np.clip(images[: side * side], 0, 1).reshape(side, side, SIDE, SIDE)
    return tiles.transpose(0, 2, 1, 3).reshape(side * SIDE, side * SIDE)


def bits(arrays: dict[str, np.ndarray]) -> Figure:
    """Lower bounds on the bits per dimension of test images.

    Annealing bounds log Z from below, and thereby the bits.
    """
    figure, axes = plt.subplots()
    names, rows = arrays["methods"].tolist(), np.arange(len(arrays["methods"]))
    axes.errorbar(
        arrays["eval_bits"],
        rows,
        xerr=2 * arrays["eval_bits_error"],
        fmt="o",
        color=plotting.BLUE,
        capsize=3,
    )
    axes.axvline(
        float(arrays["noise_bits"]), color="black", linestyle="--", label="the noise itself"
    )
    for row in rows:
        text = (
            f"ESS {arrays['eval_effective_samples'][row]:.1f} of {arrays['eval_samples'].shape[1]}"
        )
        annotation = {
            "xytext": (0, 8),
            "textcoords": "offset points",
            "fontsize": 8,
            "ha": "center",
        }
        axes.annotate(text, (arrays["eval_bits"][row], row), **annotation)
    axes.set(
        yticks=rows,
        yticklabels=names,
        xlabel="bits per dimension of test images, at least (2 standard errors)",
    )
    axes.set_ylim(len(rows) - 0.5, -0.8)
    axes.legend(loc="lower left")
    return figure


def log_partitions(arrays: dict[str, np.ndarray]) -> Figure:
    """The F in use against steps."""
    figure, axes = plt.subplots()
    for index, name in enumerate(arrays["methods"].tolist()):
        axes.plot(
            arrays["train_step"][index, 0],
            arrays["train_log_partition"][index, 0],
            **_style(name, index),
        )
    axes.set(xlabel="step", ylabel="F (nats), first seed")
    axes.legend(fontsize=8)
    return figure


if __name__ == "__main__":
    plotting.main("mnist", draw)
