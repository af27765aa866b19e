"""The figure: time per lane against the number of lanes in one sweep."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.common.results import atomic


def draw(details: Mapping[str, Any], image: Path, folder: Path) -> None:
    """Draws a PNG and a PDF into `folder`, and the PNG as `image` too."""
    import matplotlib.pyplot as plt

    from experiments.common import plotting

    with plotting.mpl.rc_context(plotting.STYLE):
        figure, axes = plt.subplots()
        for name, points in details["lanes"].items():
            lanes = [point["lanes"] for point in points]
            median, lower, upper = (_milliseconds(points, key) for key in ("median", "lower", "upper"))
            style = plotting.method_style(name, marker=True)
            axes.loglog(lanes, median, **style)
            axes.fill_between(lanes, lower, upper, color=style["color"], alpha=0.15, linewidth=0)
        axes.set(xlabel="lanes in one sweep (M x seeds)", ylabel=f"ms per lane of {details['steps']:,} steps")
        axes.legend()
    paths = plotting.save_figure(figure, image.stem, folder)
    with atomic(image) as temporary:
        shutil.copyfile(paths[0], temporary)


def _milliseconds(points: Sequence[Mapping[str, Any]], key: str) -> list[float]:
    return [1e3 * point["seconds_per_lane"][key] for point in points]
