"""What all pictures share: Axes to draw into, colors, notes, legends, and checks of results."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from nce_jax._describe import describe, with_article

# Of Okabe and Ito's palette, whose colors can be told apart without color vision.
FIRST, SECOND = "#0072B2", "#E69F00"
"""Colors of data and noise, or of any two things that are compared."""
FAILED = "#D55E00"
"""Color of what is no estimate, or not to be relied on; a marker, a hatch or a text says so too."""
PALETTE = FIRST, SECOND, "#009E73", "#CC79A7", "#000000", "#56B4E9"
"""Colors of several things that are compared, in this order."""
NEUTRAL = "#666666"
"""Color of a reference."""

HATCH = "////"
"""The filling of what is a value but has an error that is too small."""

_NOTE, _CROSSES = "nce_jax.plots note", "nce_jax.plots crosses"
_MAX_TICKS = 12


def as_axes(ax: Any) -> Axes:
    """The Axes to draw into, new ones for None; raises TypeError for anything else."""
    if ax is None:
        import matplotlib.pyplot as plt  # only where a figure is made: it takes its time

        return plt.subplots(layout="constrained")[1]
    if not isinstance(ax, Axes):
        raise TypeError(
            f"ax: expected Axes of matplotlib such as plt.gca() returns, got {describe(ax)}"
        )
    return ax


def as_panels(ax: Any, count: int) -> np.ndarray:
    """The same for several panels, as an array (count,)."""
    if ax is None:
        import matplotlib.pyplot as plt

        size = (3.4 * count, 3.2)
        return plt.subplots(1, count, figsize=size, layout="constrained", squeeze=False)[1][0]
    is_collection = isinstance(ax, Sequence | np.ndarray) and not isinstance(ax, str)
    panels = np.asarray(ax, dtype=object).ravel() if is_collection else [ax]
    if len(panels) != count or not all(isinstance(panel, Axes) for panel in panels):
        raise TypeError(
            f"ax: expected {count} Axes of matplotlib such as plt.subplots(1, {count})[1], got"
            f" {describe(ax)}"
        )
    return np.asarray(panels, dtype=object)


def check_result(name: str, value: Any, kinds: tuple[type, ...], maker: str) -> None:
    """Raises TypeError unless `value` is one of these results; `maker` says what returns one."""
    if not isinstance(value, kinds):
        expected = " or ".join(with_article(kind.__name__) for kind in kinds)
        # An estimator of scikit-learn's kind has the result as an attribute.
        held = getattr(value, "estimate_", None)
        kind = with_article(type(held).__name__)
        cure = f"; its .estimate_ is {kind}" if isinstance(held, kinds) else ""
        raise TypeError(
            f"{name}: expected {expected}, as {maker} returns, got {describe(value)}{cure}"
        )


ONE_OF_A_BATCH = "jax.tree.map(lambda leaf: leaf[0], ...) takes one of a batch"


def check_single(name: str, values: Any, ndim: int, what: str, cure: str = ONE_OF_A_BATCH) -> None:
    """Raises ValueError where a result has batch axes beyond those that a picture shows."""
    if np.ndim(values) != ndim:
        raise ValueError(
            f"{name}: expected {what} without further batch axes, got values of shape"
            f" {np.shape(values)}; {cure}"
        )


def as_float64(values: Any) -> np.ndarray:
    """Values on the host in the precision that matplotlib computes in."""
    return np.asarray(values).astype(np.float64)


def next_color(ax: Axes) -> str:
    """The first color of the palette, or one that the fewest lines in these Axes have."""
    used = Counter(to_hex(line.get_color()).upper() for line in ax.lines)
    return min(PALETTE, key=lambda color: used[color.upper()])


def add_note(ax: Axes, text: str) -> None:
    """A line above the Axes that says what is wrong; several notes are stacked."""
    row = sum(artist.get_gid() == _NOTE for artist in ax.texts)
    ax.annotate(
        text,
        (0, 1),
        xycoords="axes fraction",
        xytext=(0, 3 + 11 * row),
        textcoords="offset points",
        color=FAILED,
        fontsize="small",
        gid=_NOTE,
    )


def notes(ax: Axes) -> list[str]:
    """The texts of the notes of these Axes."""
    return [artist.get_text() for artist in ax.texts if artist.get_gid() == _NOTE]


def add_legend(ax: Axes) -> None:
    """A legend where there is something to name."""
    if ax.get_legend_handles_labels()[1]:
        ax.legend(fontsize="small")


def cross_out(ax: Axes, x: Any, **options: Any) -> None:
    """Crosses near the lower edge, for values that are no numbers; none for no positions.

    Each further row of them is drawn above the ones before.
    """
    if len(x):
        row = sum(line.get_gid() == _CROSSES for line in ax.lines)
        height = np.full(len(x), 0.03 + 0.05 * row)
        style: dict[str, Any] = {
            "color": FAILED,
            "marker": "x",
            "linestyle": "none",
            "gid": _CROSSES,
            **options,
        }
        ax.plot(x, height, transform=ax.get_xaxis_transform(), **style)


def number_ticks(ax: Axes, count: int) -> None:
    """Ticks at the numbers of windows or stages; not at all of them where there are many."""
    ax.set_xticks(np.arange(0, count, -(-count // _MAX_TICKS)))
