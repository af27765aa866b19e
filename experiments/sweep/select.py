"""Chooses which axes a figure shows, and the values at which the others are fixed."""

from typing import Any, NamedTuple

import numpy as np
import xarray

from experiments.sweep.arguments import Plot
from experiments.sweep.checks import UsageError


class Selection(NamedTuple):
    """Contents of a figure.

    Attributes:
        value: the variable.
        x: the axis to draw it against.
        lines: the axis with one line per value, if any.
        panels: the axis with one panel per value, if any.
        fixed: values of all other axes except the seed, over which the spread is taken.
    """

    value: str
    x: str
    lines: str | None
    panels: str | None
    fixed: dict[str, Any]


def select(dataset: xarray.Dataset, arguments: Plot) -> Selection:
    """Completes the selection of a command line; raises a `UsageError` if it is ambiguous."""
    variables = [str(name) for name in dataset.data_vars if name != "failed"]
    _check_among("value", arguments.value, variables)
    free = [str(dim) for dim in dataset[arguments.value].dims if dim != "seed"]
    fixed = dict(_parse(dataset, text, free) for text in arguments.at)
    chosen = {name: getattr(arguments, name) for name in ("x", "lines", "panels")}
    for name, axis in chosen.items():
        if axis is not None:
            _check_among(name, axis, [dim for dim in free if dim not in fixed])
    if len(chosen_axes := [axis for axis in chosen.values() if axis is not None]) > len(
        set(chosen_axes)
    ):
        raise UsageError(f"x, lines, panels: expected different axes, got {', '.join(chosen_axes)}")
    varying = [
        dim for dim in free if dataset.sizes[dim] > 1 and dim not in (*chosen_axes, *fixed, "step")
    ]
    x = arguments.x or next((dim for dim in varying if dim != "treatment"), "step")
    varying = [dim for dim in varying if dim != x]
    lines = arguments.lines or (varying.pop(0) if varying else None)
    remaining = [dim for dim in free if dim not in (x, lines, arguments.panels, *fixed)]
    return Selection(
        arguments.value, x, lines, arguments.panels, {**_only_values(dataset, remaining), **fixed}
    )


def _only_values(dataset: xarray.Dataset, names: list[str]) -> dict[str, Any]:
    """Value of each of these axes, which must be unique; of the steps, the last one."""
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
