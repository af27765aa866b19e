"""Which axis of a sweep goes where in a figure, and at which value the others are held."""

from typing import Any, NamedTuple

import numpy as np
import xarray

from experiments.sweep.arguments import Plot, UsageError


class Selection(NamedTuple):
    """What to draw.

    Attributes:
        value: the variable.
        x: the axis to draw it against.
        lines: the axis with one line per value, if any.
        panels: the axis with one panel per value, if any.
        fixed: the value of every other axis but the seed, over which the spread is taken.
    """

    value: str
    x: str
    lines: str | None
    panels: str | None
    fixed: dict[str, Any]


def select(dataset: xarray.Dataset, asked: Plot) -> Selection:
    """Completes what the command line says; raises a `UsageError` where something is unknown or
    left open.
    """
    variables = [str(name) for name in dataset.data_vars if name != "failed"]
    _check_among("value", asked.value, variables)
    free = [str(dim) for dim in dataset[asked.value].dims if dim != "seed"]
    fixed = dict(_parse(dataset, text, free) for text in asked.at)
    chosen = {name: getattr(asked, name) for name in ("x", "lines", "panels")}
    for name, axis in chosen.items():
        if axis is not None:
            _check_among(name, axis, [dim for dim in free if dim not in fixed])
    if len(used := [axis for axis in chosen.values() if axis is not None]) > len(set(used)):
        raise UsageError(f"x, lines, panels: expected different axes, got {', '.join(used)}")
    wide = [dim for dim in free if dataset.sizes[dim] > 1 and dim not in (*used, *fixed, "step")]
    x = asked.x or next((dim for dim in wide if dim != "treatment"), "step")
    wide = [dim for dim in wide if dim != x]
    lines = asked.lines or (wide.pop(0) if wide else None)
    rest = [dim for dim in free if dim not in (x, lines, asked.panels, *fixed)]
    return Selection(asked.value, x, lines, asked.panels, {**_held(dataset, rest), **fixed})


def _held(dataset: xarray.Dataset, names: list[str]) -> dict[str, Any]:
    """The one value of each of these axes; of the steps, the last."""
    for name in names:
        if name != "step" and dataset.sizes[name] > 1:
            values = ", ".join(str(value) for value in dataset[name].values)
            raise UsageError(
                f"at: expected {name}=VALUE, or {name} as --x, --lines or --panels; its values are"
                f" {values}"
            )
    return {name: dataset[name].values[-1] for name in names}


def _parse(dataset: xarray.Dataset, text: str, names: list[str]) -> tuple[str, Any]:
    name, separator, written = text.partition("=")
    if not separator:
        raise UsageError(f"at: expected NAME=VALUE, got {text!r}")
    _check_among("at", name, names)
    values = dataset[name].values
    for value in values:
        if str(value) == written or (
            isinstance(value, int | float | np.number) and _is_close(value, written)
        ):
            return name, value
    raise UsageError(
        f"at: expected {name} to be one of {', '.join(map(str, values))}, got {written}"
    )


def _is_close(value: Any, written: str) -> bool:
    try:
        return bool(np.isclose(float(value), float(written), rtol=1e-6, atol=0))
    except ValueError:
        return False


def _check_among(name: str, value: str, allowed: list[str]) -> None:
    if value not in allowed:
        raise UsageError(f"{name}: expected one of {', '.join(allowed)}, got {value!r}")
