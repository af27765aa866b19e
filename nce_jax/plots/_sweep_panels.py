"""A variable of a sweep with many axes: one is horizontal, two have lines and panels."""

import textwrap
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nce_jax._describe import describe
from nce_jax.plots._sweeps import (
    as_band,
    as_dataset,
    check_name,
    draw_lines,
    graded,
    share_computed,
    text_of,
)


class _Selection(NamedTuple):
    """What a figure shows: the variable, three axes, and the values of all others but one."""

    value: str
    axis: str
    lines: str | None
    panels: str | None
    fixed: dict[str, Any]


def sweep_panels(
    result: Any,
    variable: str,
    axis: str | None = None,
    *,
    over: str = "seed",
    lines: str | None = None,
    panels: str | None = None,
    at: Mapping[str, Any] | None = None,
    band: tuple[float, float] = (0.16, 0.84),
    styles: Mapping[str, Mapping[str, Any]] | None = None,
) -> Figure:
    """Draws a variable of a sweep with any number of axes, by `sweep_lines`, in a new figure.

    What is not given is chosen: the first axis with several values is the horizontal one, and the
    next one has a line for each value. Axes named `step` and `treatment` are not chosen for the
    horizontal one if there is another, and of the steps the last is taken. All others need a value
    in `at`, unless they have only one. An axis, or the medians, are drawn on a logarithmic scale
    where their values are all positive and spread over more than a factor of 8. The title of a
    sweep that is not complete has the number of lanes that have been computed.

    Args:
      result: a `SweepResult`, or an xarray Dataset such as its `to_xarray()`.
      variable: the name of a variable of the Dataset; that of a function with a single value is
        "value".
      axis: the name of the horizontal axis; None chooses it.
      over: the name of the dimension whose spread is the band; a sweep without seeds has none.
      lines: the name of a dimension with one line for each of its values; None chooses it.
      panels: the name of a dimension with one panel for each of its values; None draws one panel.
      at: values of further dimensions, by name, as numbers or as text.
      band: the lower and the upper quantile of the band.
      styles: keywords of `Axes.plot` for the line of a value, by the value as text.

    Returns:
      The Figure.

    Raises:
      TypeError: `result`, `band`, `at` or `styles` of another type.
      ValueError: names or values that the Dataset does not have, an axis that is given twice, or a
        dimension whose value is not given; the message has its values.
      ImportError: xarray, of the extra `sweeps`, is missing.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> from nce_jax import plots
      >>> axes = {"a": jnp.arange(1.0, 4.0), "b": jnp.arange(2.0), "seed": jnp.arange(5.0)}
      >>> result = nce_jax.sweep(lambda a, b, seed: a + b * seed, axes, progress=False)
      >>> figure = plots.sweep_panels(result, "value", panels="b")
      >>> [panel.get_title() for panel in figure.axes]
      ['b = 0', 'b = 1']
    """
    dataset = as_dataset(result)
    band = as_band(band)
    for name, value in {"at": at, "styles": styles}.items():
        if value is not None and not isinstance(value, Mapping):
            raise TypeError(f"{name}: expected a dictionary by name, got {describe(value)}")
    check_name("variable", variable, [str(name) for name in dataset.data_vars])
    dims = [str(dim) for dim in dataset[variable].dims]
    if isinstance(over, str) and over == "seed" and "seed" not in dims:
        dataset = dataset.expand_dims(seed=[0])  # a sweep without seeds
    else:
        check_name("over", over, dims)
    chosen = _select(dataset, variable, over, (axis, lines, panels), at or {})
    return _draw(dataset, chosen, over, band, styles or {})


def _select(
    dataset: Any,
    variable: str,
    over: str,
    given: tuple[str | None, str | None, str | None],
    at: Mapping[str, Any],
) -> _Selection:
    free = [str(dim) for dim in dataset[variable].dims if dim != over]
    fixed = {name: _value(dataset, name, value, free) for name, value in at.items()}
    named = dict(zip(("axis", "lines", "panels"), given, strict=True))
    for name, dim in named.items():
        if dim is not None:
            check_name(name, dim, [dim for dim in free if dim not in fixed])
    taken = [dim for dim in given if dim is not None]
    if len(taken) > len(set(taken)):
        raise ValueError(f"axis, lines, panels: expected different axes, got {', '.join(taken)}")
    sizes = dataset.sizes
    varying = [d for d in free if sizes[d] > 1 and d not in (*taken, *fixed, "step")]
    others = [dim for dim in varying if dim != "treatment"] + [d for d in free if d == "step"]
    axis = given[0] or next(iter([*others, *free]), None)
    if axis is None:
        raise ValueError(f"variable: expected one with an axis besides {over}, got {variable!r}")
    varying = [dim for dim in varying if dim != axis]
    lines = given[1] or (varying[0] if varying else None)
    rest = [dim for dim in free if dim not in (axis, lines, given[2], *fixed)]
    return _Selection(variable, axis, lines, given[2], {**_only(dataset, rest), **fixed})


def _only(dataset: Any, names: list[str]) -> dict[str, Any]:
    """The value of each of these dimensions, which must have one; of the steps, the last one."""
    for name in names:
        if name != "step" and dataset.sizes[name] > 1:
            values = ", ".join(map(str, dataset[name].values))
            raise ValueError(
                f"at: expected a value of {name}, or {name} for axis, lines or panels, got neither;"
                f" its values are {values}"
            )
    return {name: dataset[name].values[-1] for name in names}


def _value(dataset: Any, name: str, given: Any, names: list[str]) -> Any:
    """The entry of a dimension that is meant: the same text, or a number that is close."""
    check_name("at", name, names)
    for value in dataset[name].values:
        is_number = isinstance(value, int | float | np.number)
        if str(value) == str(given) or (is_number and _is_close(value, given)):
            return value
    raise ValueError(
        f"at: expected {name} to be one of {', '.join(map(str, dataset[name].values))}, got {given}"
    )


def _is_close(value: Any, given: Any) -> bool:
    try:
        return bool(np.isclose(float(value), float(given), rtol=1e-6, atol=0))
    except (TypeError, ValueError):
        return False


def _draw(
    dataset: Any,
    chosen: _Selection,
    over: str,
    band: tuple[float, float],
    styles: Mapping[str, Mapping[str, Any]],
) -> Figure:
    import matplotlib.pyplot as plt

    names = [chosen.value, *({"failed", "missing"} & set(dataset.data_vars) - {chosen.value})]
    positions = {
        name: int(np.flatnonzero(dataset[name].values == value)[-1])
        for name, value in chosen.fixed.items()
    }
    part = dataset[names].isel({name: at for name, at in positions.items() if name in dataset.dims})
    panels = [None] if chosen.panels is None else list(dataset[chosen.panels].values)
    width = 3.4 * len(panels) + 1.4
    options: dict[str, Any] = {"sharey": True, "squeeze": False, "layout": "constrained"}
    figure, axes = plt.subplots(1, len(panels), figsize=(width, 3.9), **options)
    for index, (ax, panel) in enumerate(zip(axes[0], panels, strict=True)):
        shown = part if panel is None else part.isel({chosen.panels: index})
        _panel(ax, shown, chosen, over, band, styles)
        ax.set_title("" if panel is None else f"{chosen.panels} = {text_of(panel)}")
        ax.set_ylabel("" if index else chosen.value.replace("_", " "))
    if chosen.lines is not None:
        axes[0, -1].legend(title=chosen.lines.replace("_", " "), fontsize="small")
    described = [f"{name} {text_of(value)}" for name, value in chosen.fixed.items()]
    spread = f"median and {band[0]:.0%} to {band[1]:.0%} of {dataset.sizes[over]} {over}s"
    share = share_computed(part)
    start = [str(dataset.attrs["experiment"])] if "experiment" in dataset.attrs else []
    title = ", ".join([*start, *described, spread, *([share] if share else [])])
    figure.suptitle(textwrap.fill(title, round(14 * width)), fontsize=9)
    return figure


def _panel(
    ax: Axes,
    part: Any,
    chosen: _Selection,
    over: str,
    band: tuple[float, float],
    styles: Mapping[str, Mapping[str, Any]],
) -> None:
    values = [None] if chosen.lines is None else list(part[chosen.lines].values)
    for index, value in enumerate(values):
        line = part if value is None else part.isel({chosen.lines: index})
        style: dict[str, Any] = {"color": graded(index, len(values))}
        if value is not None:
            style |= {"label": text_of(value)} | dict(styles.get(str(value), {}))
        draw_lines(line, (chosen.value, chosen.axis, over), None, band, ax, style)
    x = part[chosen.axis].values
    if np.issubdtype(x.dtype, np.number) and x.min() > 0 and x.max() > 8 * x.min():
        ax.set_xscale("log")
        if x.max() < 100 * x.min():
            _name_values(ax, x)
    medians = [
        np.asarray(line.get_ydata(), float) for line in ax.get_lines() if line.get_marker() != "x"
    ]
    finite = np.concatenate(medians)[np.isfinite(np.concatenate(medians))]
    if finite.size and (finite > 0).all() and finite.max() > 8 * finite.min():
        ax.set_yscale("log")


def _name_values(ax: Axes, x: np.ndarray) -> None:
    """Labels of values in place of those of matplotlib, which overlap below two decades."""
    shown = x[:: -(-len(x) // 6)]
    ax.set_xticks(shown, [f"{v:g}" if v == np.round(v) else f"{v:.2g}" for v in shown])
    ax.set_xticks([], minor=True)
