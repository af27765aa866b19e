"""Draws a stored sweep against one axis, with lines for a second and panels for a third."""

from pathlib import Path

import matplotlib as mpl
import xarray
from matplotlib.figure import Figure

from experiments.common import plotting
from experiments.sweep import files
from experiments.sweep.arguments import Plot
from experiments.sweep.checks import UsageError
from nce_jax import plots, sweeps

BAND = (0.16, 0.84)
STYLES = {"joint": "NCE", "raised": "NCE, raised rate", "bar": "BAR", "solved": "Newton"}
OPTIONS = {"axis": "x", "variable": "value"}
"""Options of the command by the arguments of `sweep_panels`, for error texts."""


def main(arguments: Plot) -> None:
    """Draws the figure of the command line and prints its files."""
    dataset = load(arguments.file)
    figure = draw(dataset, arguments)
    experiment = str(dataset.attrs.get("experiment", "sweep")).replace("-", "_")
    axis = figure.axes[0].get_xlabel().replace(" ", "_")
    name = f"sweep_{experiment}_{arguments.value}_against_{axis}"
    for path in plotting.save_figure(figure, name, arguments.output):
        print(path)


def load(path: Path) -> xarray.Dataset:
    """The result of this command, or what `nce_jax.sweep(folder=...)` has stored in a folder."""
    if (path / "contents.npz").exists():
        try:
            return sweeps.load_sweep(path).to_xarray()
        except sweeps.StoreError as error:
            raise UsageError(str(error)) from error
    return files.load(path)


def draw(dataset: xarray.Dataset, arguments: Plot) -> Figure:
    """Draws the median and band over seeds; failed lanes are excluded, marked and counted."""
    styles = {
        name: {**plotting.method_style(method, marker=True), "label": name}
        for name, method in STYLES.items()
    }
    try:
        with mpl.rc_context(plotting.STYLE):
            return plots.sweep_panels(
                dataset,
                arguments.value,
                arguments.x,
                lines=arguments.lines,
                panels=arguments.panels,
                at=dict(map(_pair, arguments.at)),
                band=BAND,
                styles=styles,
            )
    except ValueError as error:
        name, separator, text = str(error).partition(":")
        names = [OPTIONS.get(part, part) for part in name.split(", ")]
        raise UsageError(", ".join(names) + separator + text) from error


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise UsageError(f"at: expected NAME=VALUE, got {text!r}")
    return name, value
