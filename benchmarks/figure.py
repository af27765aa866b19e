"""The figure: time per lane against the number of lanes in one sweep."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from nce_jax._disk import write_atomic


def draw(details: Mapping[str, Any], image: Path, folder: Path) -> None:
    """Draws a PNG and a PDF into `folder`, and a smaller PNG for the page as `image`."""
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator

    from experiments.common import plotting

    with plotting.mpl.rc_context(plotting.STYLE):
        figure, axes = plt.subplots()
        for name, points in details["lanes"].items():
            lanes = [point["lanes"] for point in points]
            median, lower, upper = (
                _milliseconds(points, key) for key in ("median", "lower", "upper")
            )
            style = plotting.method_style(name, marker=True)
            axes.loglog(lanes, median, **style)
            axes.fill_between(lanes, lower, upper, color=style["color"], alpha=0.15, linewidth=0)
        axes.set(
            xlabel="lanes in one sweep (M x seeds)",
            ylabel=f"ms per lane of {details['steps']:,} steps",
        )
        axes.set_xticks(lanes, [f"{count:,}" for count in lanes], minor=False)
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        axes.legend()
        options = {"format": "png", "dpi": 120, "metadata": plotting.UNDATED[0]}
        write_atomic(image, partial(figure.savefig, **options))
    plotting.save_figure(figure, image.stem, folder)


def _milliseconds(points: Sequence[Mapping[str, Any]], key: str) -> list[float]:
    return [1e3 * point["seconds_per_lane"][key] for point in points]
