"""A map of an energy in two dimensions, with samples."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes

from nce_jax._checks import as_array, check_positive_int
from nce_jax._describe import describe
from nce_jax._options import check_function
from nce_jax.plots._axes import HATCH, add_note, as_axes, as_float64

_SPAN = 10.0
"""Nats above the lowest energy that the colors resolve by default: beyond, less than a part in
20,000 of the density of the mode is left, and tails of a network would take up all colors."""


_DOTS: dict[str, Any] = {
    "linestyle": "none",
    "marker": "o",
    "markersize": 3,
    "color": "white",
    "markeredgecolor": "black",
    "markeredgewidth": 0.5,
}
"""White with a black edge, which shows on light and on dark colors."""


def energy_map(
    log_density_fn: Callable[[Any], Any],
    low: Any,
    high: Any,
    *,
    num_points: int = 100,
    x: Any = None,
    ax: Axes | None = None,
    **options: Any,
) -> Axes:
    """Draws the energy of a model over a rectangle, minus its log density, and samples upon it.

    Colors resolve the lowest 10 nats; `vmax` sets another end. Points whose energy is not finite
    are hatched, and counted in a note. The function is called once, with all points of the grid.

    Args:
      log_density_fn: `log_density_fn(x)`: unnormalized log densities (n,) of points (n, 2), in
        nats; `lambda x: log_density_fn(params, x)` binds the parameters of a model.
      low: the lower ends of the rectangle, (2,).
      high: its upper ends, (2,).
      num_points: points of the grid along each side.
      x: samples to draw as dots, (samples, 2); None draws none.
      ax: the Axes to draw into; None makes new ones.
      options: go to `Axes.imshow`, such as `cmap` or `vmax`.

    Returns:
      The Axes, with a color bar beside them.

    Raises:
      TypeError: `log_density_fn` is no function, or an argument is no array.
      ValueError: shapes other than these, or `high` that is not above `low`.

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import plots
      >>> log_density_fn = lambda x: -jnp.sum(x**2, axis=-1) / 2
      >>> ax = plots.energy_map(log_density_fn, [-2, -2], [2, 2], num_points=5)
      >>> print(float(ax.images[0].get_array()[2, 2]))
      0.0
    """
    check_function("log_density_fn", log_density_fn, "points (n, 2)")
    check_positive_int("num_points", num_points)
    ends = _as_rectangle(low, high)
    points = None if x is None else _as_points("x", x)
    energy = _energies(log_density_fn, ends, num_points)
    ax = as_axes(ax)
    _draw(ax, energy, ends, options)
    if points is not None:
        ax.plot(*points.T, **_DOTS)
    ax.set(xlim=ends[:, 0], ylim=ends[:, 1], xlabel="$x_1$", ylabel="$x_2$")
    return ax


def _as_rectangle(low: Any, high: Any) -> np.ndarray:
    """Lower ends in the first row, upper ends in the second."""
    ends = []
    for name, value in (("low", low), ("high", high)):
        array = as_array(name, value, "two numbers (2,)")
        if np.shape(array) != (2,) or np.iscomplexobj(array) or not np.isfinite(array).all():
            raise ValueError(f"{name}: expected two finite numbers (2,), got {describe(value)}")
        ends.append(as_float64(array))
    if not (ends[0] < ends[1]).all():
        raise ValueError(f"high: expected numbers above low, {ends[0]}, got {ends[1]}")
    return np.stack(ends)


def _as_points(name: str, value: Any) -> np.ndarray:
    array = np.asarray(as_array(name, value, "points (samples, 2)"))
    if array.ndim != 2 or array.shape[1] != 2 or np.iscomplexobj(array):
        raise ValueError(f"{name}: expected points (samples, 2), got {describe(value)}")
    return as_float64(array)


def _energies(
    log_density_fn: Callable[[Any], Any], ends: np.ndarray, num_points: int
) -> np.ndarray:
    """Energies at the centers of the cells, (num_points, num_points), rows along the second axis.

    Centers, so that every cell of the image shows its own value.
    """
    middle = (np.arange(num_points)[:, None] + 0.5) / num_points
    sides = ends[0] + middle * (ends[1] - ends[0])
    grid = np.stack(np.meshgrid(*sides.T), axis=-1).reshape(-1, 2)
    values = log_density_fn(jnp.asarray(grid, jnp.result_type(float)))
    if np.shape(values) != (num_points**2,):
        raise ValueError(
            "log_density_fn: expected a function that returns log densities of shape"
            f" ({num_points**2},) for points {grid.shape}, got {describe(values)}"
        )
    return -as_float64(values).reshape(num_points, num_points)


def _draw(ax: Axes, energy: np.ndarray, ends: np.ndarray, options: dict[str, Any]) -> None:
    is_finite = np.isfinite(energy)
    ax.patch.set(hatch=HATCH, edgecolor="0.5", facecolor="white")
    lowest = energy[is_finite].min() if is_finite.any() else 0.0
    style: dict[str, Any] = {"cmap": "viridis_r", "origin": "lower", "extent": ends.T.ravel()}
    if "norm" not in options:
        style["vmax"] = min(lowest + _SPAN, energy[is_finite].max(initial=lowest))
    image = ax.imshow(np.ma.masked_where(~is_finite, energy), **{**style, **options})
    is_cut = bool((energy[is_finite] > (image.norm.vmax or np.inf)).any())
    ax.figure.colorbar(image, ax=ax, label="energy (nats)", extend="max" if is_cut else "neither")
    if not is_finite.all():
        add_note(ax, f"{(~is_finite).sum()} of {energy.size} energies are not finite")
