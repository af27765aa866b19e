"""A variable of a sweep against one of its axes, with bands over another."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from nce_jax._describe import describe
from nce_jax.plots._axes import add_note, as_axes
from nce_jax.sweeps import SweepResult

_LINE = "nce_jax.plots median"


def sweep_lines(
    result: Any,
    variable: str,
    axis: str,
    *,
    over: str = "seed",
    lines: str | None = None,
    band: tuple[float, float] = (0.16, 0.84),
    ax: Axes | None = None,
    **options: Any,
) -> Axes:
    """Draws the median of a variable over the seeds against one axis, with a band of quantiles.

    Lanes that failed (the variable `failed`, or a value that is not finite) are left out, marked by
    a cross, and counted beside it; where `failed` does not depend on the axis, by one at the last
    point. Where all lanes failed, the cross is at the lower edge. Lanes that have not been computed
    (the variable `missing`) are left out and not counted; a note has the number of the others.

    Args:
      result: a `SweepResult`, or an xarray Dataset such as its `to_xarray()`.
      variable: the name of a variable of the Dataset; that of a function with a single value is
        "value".
      axis: the name of the horizontal axis, any dimension of the variable.
      over: the name of the dimension whose spread is the band, as a rule the seed.
      lines: the name of a dimension with one line for each of its values, and a legend; None draws
        one line.
      band: the lower and the upper quantile of the band.
      ax: the Axes to draw into; None makes new ones.
      options: go to `Axes.plot`, such as `color` or `label`.

    Returns:
      The Axes.

    Raises:
      TypeError: `result`, `band` or `ax` of another type.
      ValueError: names that the Dataset does not have, dimensions that are left, or a `band` that
        is no pair of fractions.
      ImportError: xarray, of the extra `sweeps`, is missing.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> from nce_jax import plots
      >>> axes = {"a": jnp.arange(3.0), "seed": jnp.arange(5.0)}
      >>> result = nce_jax.sweep(lambda a, seed: a + seed, axes, progress=False)
      >>> ax = plots.sweep_lines(result, "value", "a")
      >>> print(ax.lines[0].get_ydata().tolist())
      [2.0, 3.0, 4.0]
    """
    dataset = as_dataset(result)
    _check_names(dataset, variable, axis, over, lines)
    quantiles = as_band(band)
    ax = as_axes(ax)
    draw_lines(dataset, (variable, axis, over), lines, quantiles, ax, options)
    if note := share_computed(dataset):
        add_note(ax, note)
    return ax


def draw_lines(
    dataset: Any,
    names: tuple[str, str, str],
    lines: str | None,
    band: tuple[float, float],
    ax: Axes,
    options: dict[str, Any],
) -> None:
    """The medians and bands of `sweep_lines`; `names` are the variable, the axis and `over`."""
    variable, axis, _ = names
    values = [None] if lines is None else list(dataset[lines].values)
    for index, value in enumerate(values):
        part = dataset if value is None else dataset.isel({lines: index})
        label = {} if value is None else {"label": text_of(value)}
        color = {} if value is None else {"color": graded(index, len(values))}
        _line(ax, part, names, band, {**label, **color, **options})
    _name_ticks(ax, dataset[axis].values)
    ax.set(xlabel=axis.replace("_", " "), ylabel=variable.replace("_", " "))
    if lines is not None:
        ax.legend(title=lines.replace("_", " "), fontsize="small")


def share_computed(dataset: Any) -> str:
    """How many lanes have been computed, in words; nothing if it is all of them."""
    if not is_incomplete(dataset) or not dataset["missing"].values.any():
        return ""
    missing = dataset["missing"].values
    return f"{missing.size - missing.sum():,} of {missing.size:,} lanes computed"


def is_incomplete(dataset: Any) -> bool:
    """Whether `missing` says which lanes have not been computed, and is no variable measured."""
    return "missing" in dataset and "missing_lanes" in dataset.attrs


def as_dataset(result: Any) -> Any:
    """A sweep's result as an xarray Dataset; raises TypeError for anything else."""
    if isinstance(result, SweepResult):
        return result.to_xarray()
    # Not by its class: xarray is an extra of its own, which who has a Dataset has installed.
    if not hasattr(result, "data_vars") or isinstance(result, type):
        raise TypeError(
            "result: expected a SweepResult, as sweep(...) returns, or an xarray Dataset, got"
            f" {describe(result)}"
        )
    return result


def _check_names(dataset: Any, variable: Any, axis: Any, over: Any, lines: Any) -> None:
    check_name("variable", variable, list(dataset.data_vars))
    dims = list(dataset[variable].dims)
    used = {"axis": axis, "over": over} | ({} if lines is None else {"lines": lines})
    for name, value in used.items():
        check_name(name, value, dims)
        earlier = list(used.values())[: list(used).index(name)]
        if value in earlier:
            raise ValueError(f"{name}: expected another dimension than {value!r}, got it twice")
    if rest := [dim for dim in dims if dim not in used.values()]:
        raise ValueError(
            f"result: expected {variable} to have only the dimensions {', '.join(used.values())},"
            f" got {', '.join(dims)}; .sel({rest[0]}=...) of the Dataset selects one value"
        )


def check_name(name: str, value: Any, there: list[Any]) -> None:
    """Raises a ValueError that lists the names there are."""
    if not isinstance(value, str) or value not in there:
        got = repr(value) if isinstance(value, str) else describe(value)
        raise ValueError(f"{name}: expected one of {', '.join(map(str, there))}, got {got}")


def as_band(band: Any) -> tuple[float, float]:
    """The two quantiles of a band, in order; raises where they are none."""
    is_pair = isinstance(band, tuple | list) and len(band) == 2
    if not is_pair or not all(isinstance(end, float | int) for end in band):
        raise TypeError(f"band: expected two quantiles such as (0.16, 0.84), got {describe(band)}")
    low, high = band
    if not 0 <= low <= high <= 1:
        raise ValueError(f"band: expected two quantiles between 0 and 1 in order, got {band}")
    return float(low), float(high)


def _line(
    ax: Axes,
    part: Any,
    names: tuple[str, str, str],
    band: tuple[float, float],
    options: dict[str, Any],
) -> None:
    """One median with its band, and crosses where lanes failed."""
    values = _lanes(part, *names)
    is_failed = ~np.isfinite(values)
    x = _positions(part[names[1]].values)
    low, median, high = np.full((3, len(x)), np.nan)
    kept = ~is_failed.all(axis=0)
    if kept.any():
        shown = np.where(is_failed, np.nan, values)[:, kept]
        low[kept], median[kept], high[kept] = np.nanquantile(shown, (band[0], 0.5, band[1]), axis=0)
    row = sum(line.get_gid() == _LINE for line in ax.lines)
    (line,) = ax.plot(x, median, gid=_LINE, **{"marker": "o", "markersize": 4, **options})
    ax.fill_between(x, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    _mark_failures(ax, _marked(part, names, is_failed), (x, median), line.get_color(), row)


def _lanes(part: Any, variable: str, axis: str, over: str) -> np.ndarray:
    """Values (lanes, points); NaN for the lanes that the sweep calls failed."""
    values = part[variable]
    if "failed" in part and variable != "failed":
        values = values.where(~part["failed"])
    return np.asarray(values.transpose(over, axis).values, np.float64)


def _marked(part: Any, names: tuple[str, str, str], is_failed: np.ndarray) -> dict[int, str]:
    """The points that get a cross, with their counts among the lanes that have been computed."""
    variable, axis, over = names
    is_missing = np.zeros(is_failed.shape, bool)
    if is_incomplete(part) and variable != "missing":
        missing = part["missing"].broadcast_like(part[variable])
        is_missing = np.asarray(missing.transpose(over, axis).values)
    counts, sizes = (is_failed & ~is_missing).sum(axis=0), (~is_missing).sum(axis=0)
    points = np.flatnonzero(counts)
    # Along the steps of a run a lane fails as a whole.
    if "failed" in part and axis not in part["failed"].dims:
        points = points[-1:]
    return {int(point): f"{counts[point]}/{sizes[point]} failed" for point in points}


def _mark_failures(
    ax: Axes, marked: dict[int, str], line: tuple[np.ndarray, np.ndarray], color: Any, row: int
) -> None:
    """A cross and a count at each of these points of a line."""
    x, median = line
    for index, text in marked.items():
        # Without a lane that is left there is no median: the crosses are stacked at the bottom.
        has_none_left = not np.isfinite(median[index])
        transform = ax.get_xaxis_transform() if has_none_left else ax.transData
        position = (x[index], 0.03 + 0.06 * row if has_none_left else median[index])
        style: dict[str, Any] = {
            "marker": "x",
            "linestyle": "none",
            "markersize": 7,
            "markeredgewidth": 2,
        }
        ax.plot(*position, transform=transform, color=color, zorder=3, **style)
        ax.annotate(
            text,
            position,
            xycoords=transform,
            xytext=(-5, -2),
            textcoords="offset points",
            size=7,
            ha="right",
        )


def _positions(values: np.ndarray) -> np.ndarray:
    """Numbers as they are, and words side by side."""
    is_number = np.issubdtype(values.dtype, np.number)
    return values if is_number else np.arange(len(values))


def _name_ticks(ax: Axes, values: np.ndarray) -> None:
    if not np.issubdtype(values.dtype, np.number):
        ax.set_xticks(np.arange(len(values)), [str(value) for value in values])


def graded(index: int, count: int) -> Any:
    """Colors for ordered values, dark to light, without the palest end."""
    import matplotlib as mpl

    return mpl.colormaps["viridis"](0.9 * index / max(count - 1, 1))


def text_of(value: Any) -> str:
    """A coordinate as it stands in a legend."""
    return f"{value:g}" if isinstance(value, int | float | np.number) else str(value)
