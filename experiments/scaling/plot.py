"""Draws the difference between layouts, and the work per device against their number."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from experiments.common import plotting
from experiments.common.results import Stored
from experiments.scaling.measures import SCALINGS

ROUNDING = {"float32": np.finfo(np.float32).eps, "float64": np.finfo(np.float64).eps}
ADMITTED = {"float32": 1e-5, "float64": 1e-10}
MARKERS = ("o", "^", "s", "D")
COLORS = (plotting.BLUE, plotting.VERMILION, plotting.GREEN)


def draw(stored: Stored) -> dict[str, Figure]:
    arrays = stored.arrays
    figures = {"agreement": _agreement, "cost": _cost, "exchange": _exchange}
    return {f"scaling_{name}": draw_figure(arrays) for name, draw_figure in figures.items()}


def _agreement(arrays) -> Figure:
    dtypes, pairs = map(str, arrays["dtypes"]), list(map(str, arrays["pairs"]))
    figure, panels = plt.subplots(
        1, len(arrays["dtypes"]), figsize=(9.5, 1.6 + 0.2 * len(pairs)), sharey=True, squeeze=False
    )
    rows, parts = np.arange(len(pairs)), list(map(str, arrays["parts"]))
    for index, (axes, dtype) in enumerate(zip(panels[0], dtypes, strict=True)):
        floor = ROUNDING[dtype] / 4  # where zeros are drawn
        for layout, name in enumerate(map(str, arrays["layouts"])):
            for part, label in enumerate(parts):
                # NaN stays NaN.
                shown = np.maximum(arrays["difference"][layout, index, :, part], floor)
                style = {
                    "marker": MARKERS[part],
                    "color": plotting.graded_colors(len(parts))[part],
                    "ls": "",
                    "ms": 4,
                }
                filled = {} if layout == 0 else {"mfc": "none"}
                axes.plot(
                    shown,
                    rows + 0.25 * layout,
                    **style,
                    **filled,
                    label=f"{label.replace('_', ' ')}, {name}",
                )
        axes.axvline(ROUNDING[dtype], color="0.6", lw=1, label="rounding of the dtype")
        axes.axvline(ADMITTED[dtype], color="0.3", lw=1, ls="--", label="admitted")
        axes.set(xscale="log", xlabel="relative difference from one device", title=dtype)
    panels[0, 0].set_yticks(rows, pairs, fontsize=8)
    figure.legend(
        *panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=8
    )
    return figure


def _cost(arrays) -> Figure:
    figure, panels = plt.subplots(1, 3, figsize=(10.0, 3.6))
    shown = {
        "flops": "operations per device",
        "bytes": "bytes touched per device",
        "seconds": "time of a step or sweep",
    }
    for axes, (name, label) in zip(panels, shown.items(), strict=True):
        for row, scaling in enumerate(SCALINGS):
            for column, treatment in enumerate(map(str, arrays["treatments"])):
                values = arrays[name][row, :, column] / arrays[name][row, 0, column]
                style = {
                    "color": COLORS[row],
                    "ls": "-" if treatment == "solved" else ":",
                    "marker": MARKERS[row],
                }
                axes.plot(arrays["num_devices"], values, **style, label=f"{scaling}, {treatment}")
        for column, treatment in enumerate(map(str, arrays["treatments"])):
            values = arrays[f"sweep_{name}"][:, column] / arrays[f"sweep_{name}"][0, column]
            style = {
                "color": COLORS[2],
                "ls": "-" if treatment == "solved" else ":",
                "marker": MARKERS[2],
            }
            axes.plot(arrays["num_devices"], values, **style, label=f"sweep (strong), {treatment}")
        axes.plot(
            arrays["num_devices"],
            1 / arrays["num_devices"],
            color="0.7",
            lw=1,
            label="ideal, strong",
        )
        axes.set(xscale="log", xlabel="devices", title=f"{label},\nover that of one device")
        axes.set_yscale("log", base=2)
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_xticks(arrays["num_devices"], map(str, arrays["num_devices"]))
        axes.minorticks_off()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def _exchange(arrays) -> Figure:
    figure, axes = plt.subplots(figsize=(4.6, 3.4))
    for index, name in enumerate(map(str, arrays["exchange_ways"])):
        in_loop = int(arrays["exchange_in_loops"][:, index].max())
        label = f"{name}: {in_loop} collectives in the loop"
        axes.plot(
            arrays["exchange_sizes"],
            arrays["exchange_milliseconds"][:, index],
            color=COLORS[index],
            marker=MARKERS[index],
            label=label,
        )
    axes.set(
        xscale="log", yscale="log", xlabel="samples of both sides", ylabel="one solve for F, ms"
    )
    axes.legend()
    return figure


if __name__ == "__main__":
    plotting.main("scaling", draw)
