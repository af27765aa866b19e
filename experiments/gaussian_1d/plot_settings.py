"""Draws the outcome at the largest distance for every reading of the open settings."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from experiments.common import plotting

COMPARED = {"NCE": "NCE", "BAR": "BAR", "Newton": "binary search"}
"""Treatment of these studies -> the treatment of the paper that it represents."""


def draw_settings(arrays) -> Figure:
    rows = _rows(arrays)
    figure, axes = plt.subplots(figsize=(7.0, 6.0))
    for line, (_, by_method) in enumerate(rows):
        for offset, (method, values) in enumerate(by_method.items()):
            style = plotting.METHODS[method]
            y = line + 0.24 * (offset - 1)
            axes.plot(
                values,
                np.full(values.size, y),
                ".",
                color=style["color"],
                alpha=0.2,
                markersize=3,
                zorder=1,
            )
            axes.errorbar(
                values.mean(),
                y,
                xerr=values.std(ddof=1),
                color=style["color"],
                marker=style["marker"],
                capsize=2,
                label=method if line == 0 else None,
            )
    axes.set_yticks(range(len(rows)), [_with_symbols(name) for name, _ in rows])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set(xlabel="parameter distance after the last step", xlim=(0, None))
    axes.set_title("means 16 apart; dots: runs, bars: mean and s.d.")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def _rows(arrays) -> list[tuple[str, dict[str, np.ndarray]]]:
    rows = [
        (str(name), dict(zip(COMPARED.values(), arrays["setting_distance"][:, index], strict=True)))
        for index, name in enumerate(arrays["settings"])
    ]
    bar, solved = arrays["elsewhere_distance"][:, -1]
    rows.append(("gradient across F's update", {"BAR": bar, "binary search": solved}))
    for (num_steps, batch_size), distance in zip(
        arrays["sizes"], arrays["size_distance"], strict=True
    ):
        by_method = dict(zip(COMPARED.values(), distance[:, -1], strict=True))
        rows.append((f"{num_steps:,} steps, batch {batch_size:,}", by_method))
    return rows


def _with_symbols(name: str) -> str:
    return name.replace("theta0", r"$\theta_0$").replace("F0", "$F_0$").replace(" -1", " $-1$")
