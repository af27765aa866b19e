"""Draws the error of log s against n, by spread, with that predicted for the automatic chain."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from experiments.common import plotting
from experiments.common.results import Stored
from experiments.peaked_1d.statistics import median_error

COLORS = {
    "NCE": plotting.BLACK,
    "N2CE": plotting.BLACK,
    "TRE": plotting.BLUE,
    "TRE, magnified": plotting.BLUE,
    "automatic": plotting.GREEN,
    "automatic, magnified": plotting.GREEN,
}
LABELS = {
    "NCE": "one ratio",
    "N2CE": "one ratio, M = 100",
    "TRE": "4 published stages",
    "TRE, magnified": "4 published stages, M = 100",
    "automatic": "automatic stages",
    "automatic, magnified": "automatic stages, M = 100",
}


def draw(stored: Stored) -> dict[str, Figure]:
    return {"peaked_1d": _errors(stored.arrays)}


def _errors(arrays) -> Figure:
    figure, panels = plt.subplots(
        1, len(arrays["spreads"]), figsize=(9.0, 4.2), sharey=True, squeeze=False
    )
    error, sizes = median_error(arrays), arrays["num_samples"]
    automatic = list(arrays["methods"]).index("automatic")
    for column, (axes, spread) in enumerate(zip(panels[0], arrays["spreads"], strict=True)):
        for row, name in enumerate(map(str, arrays["methods"])):
            style = {
                "color": COLORS[name],
                "ls": "--" if "magnified" in name or name == "N2CE" else "-",
            }
            axes.plot(sizes, error[row, column], ".", **style, label=LABELS[name])
            runs = np.abs(arrays["error"][row, column])
            axes.plot(
                np.repeat(sizes, runs.shape[1]),
                runs.ravel(),
                ".",
                ms=2,
                alpha=0.5,
                color=style["color"],
            )
        expected = 0.6745 * np.nanmedian(arrays["standard_error"][automatic, column], axis=-1)
        axes.plot(
            sizes, expected, ":", color="0.5", label="median expected of the automatic stages"
        )
        axes.set(
            xscale="log",
            yscale="log",
            xlabel="samples of data and of noise",
            title=f"s = {spread:g}",
        )
    panels[0, 0].set_ylabel(r"median $|\log(\hat s / s)|$ and single runs")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


if __name__ == "__main__":
    plotting.main("peaked_1d", draw)
