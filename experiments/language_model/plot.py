"""Draws perplexity against K, M and time, and how close scores are to log probabilities."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from experiments.common import plotting
from experiments.common.results import Stored
from experiments.language_model import losses
from experiments.language_model.statistics import rows

STYLES = {
    losses.SAMPLED: (plotting.BLACK, "o"),
    "NCE, F = 0": (plotting.BLUE, "^"),
    "NCE, F learned": (plotting.ORANGE, "s"),
    "NCE, F solved": (plotting.VERMILION, "D"),
}


def draw(stored: Stored) -> dict[str, Figure]:
    return {
        "language_model": _perplexity(stored.arrays),
        "language_model_log_z": _log_z(stored.arrays),
    }


def _perplexity(arrays) -> Figure:
    """Perplexity against K at M = 1, against M at one K, and against training time.

    Small dots are seeds.
    """
    figure, (by_k, by_m, by_time) = plt.subplots(1, 3, figsize=(11.5, 4.2), sharey=True)
    for loss, (color, marker) in STYLES.items():
        for axes, methods, name in _panels(arrays, by_k, by_m, loss):
            values = arrays["perplexity"][methods]
            axes.plot(
                arrays[name][methods], values.mean(-1), color=color, marker=marker, label=loss
            )
            axes.plot(arrays[name][methods], values, ".", ms=3, color=color)
        at_m_one = rows(arrays, loss, magnification=1)
        by_time.plot(
            arrays["seconds"][at_m_one].min(-1),
            arrays["perplexity"][at_m_one].mean(-1),
            color=color,
            marker=marker,
        )
        for axes, name in ((by_k, "num_noise"), (by_time, "seconds")):
            (index,) = rows(arrays, loss, start="equal")
            _hollow(
                axes, arrays[name][index].min(), arrays["perplexity"][index].mean(), color, marker
            )
    _full(arrays, by_k, by_m, by_time)
    by_k.set(
        xscale="log",
        yscale="log",
        xlabel="K, sampled words",
        ylabel="perplexity of the test text",
        title="M = 1",
    )
    by_m.set(xscale="log", xlabel="M", title=f"K = {arrays['middle']}")
    by_time.set(xlabel="seconds of training", title="every K at M = 1")
    by_time.set_xscale("log", base=2)
    by_time.xaxis.set_major_formatter("{x:g}")
    by_k.yaxis.set_major_formatter("{x:g}")
    by_k.yaxis.set_minor_formatter("{x:g}")
    by_k.plot([], [], "o", mfc="none", color="0.4", label="biases start equal")
    figure.legend(*by_k.get_legend_handles_labels(), loc="outside lower center", ncols=6)
    return figure


def _full(arrays, by_k, by_m, by_time) -> None:
    """Lines of the full softmax, which has no K and no M."""
    for start, style in (("frequencies", "--"), ("equal", ":")):
        (index,) = rows(arrays, losses.FULL, start=start)
        mean = arrays["perplexity"][index].mean()
        for axes in (by_k, by_m):
            axes.axhline(
                mean,
                color="0.5",
                ls=style,
                lw=1,
                label=losses.FULL if start == "frequencies" else None,
            )
        if start == "equal":
            _hollow(by_time, arrays["seconds"][index].min(), mean, "0.5", "*")
        else:
            by_time.plot(arrays["seconds"][index].min(), mean, "*", color="0.5", ms=11)


def _hollow(axes, x: float, y: float, color: str, marker: str) -> None:
    axes.plot(x, y, marker, mfc="none", color=color, ms=8)


def _log_z(arrays) -> Figure:
    """Mean and spread over contexts of log Z minus the F of training, for the NCE losses."""
    figure, panels = plt.subplots(1, 2, figsize=(8.5, 3.8), sharey=True)
    for index, loss in enumerate(losses.NCE):
        color, marker = STYLES[loss]
        for axes, methods, name in _panels(arrays, *panels, loss):
            mean, spread = (
                arrays[f"log_z_{what}"][methods].mean(-1) for what in ("mean", "standard_deviation")
            )
            x = arrays[name][methods] * 1.12 ** (index - 1)
            axes.errorbar(x, mean, spread, color=color, marker=marker, capsize=3, label=loss)
    for axes, label in zip(panels, ("K, sampled words", "M"), strict=True):
        axes.axhline(0, color="0.5", ls="--", lw=1)
        axes.set(xscale="log", xlabel=label)
    panels[0].set_ylabel("log Z - F over contexts, nats")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _panels(arrays, by_k, by_m, loss: str):
    """Axes, indices of the methods, and the name of the variable that changes."""
    at_middle = rows(arrays, loss, num_noise=arrays["middle"])
    yield by_k, rows(arrays, loss, magnification=1), "num_noise"
    yield by_m, at_middle[np.argsort(arrays["magnification"][at_middle])], "magnification"


if __name__ == "__main__":
    plotting.main("language_model", draw)
