r"""Tables of counts: the log ratio where both sides have few values, whatever their order.

With counts :math:`n_{ij}` of n training pairs, and those of both margins, the ratio in a cell is

.. math::

   \frac{n_{ij} \, n / (n_i n_j) + a}{n + a},

as if a pairs more had been seen of independent sides. Its mean over the product of the margins is
one.
"""

from collections.abc import Iterator

import numpy as np

from nce_jax.ratio_estimation._information._split import Split

_SAMPLES_PER_VALUE = 5
"""A side with fewer samples than that for each of its values has too many of them for a table."""

_MAX_CELLS = 1_000_000
"""The largest number of cells of a table."""

_ENOUGH_PER_CELL = 50
"""With so many samples for each cell a table leaves nothing to other models: what it lacks for want
of samples is below a hundredth of a nat."""

_FACTOR = 4
"""Between two numbers of pairs of independent sides that are tried, from one up to n."""


def is_exact(x: np.ndarray, y: np.ndarray) -> bool:
    """Whether both sides have so few values that a table is the model, whatever the dependence."""
    sizes = [len(np.unique(side, axis=0)) for side in (x, y)]
    return bool(np.prod(sizes) * _ENOUGH_PER_CELL <= len(x))


def tables_of(x: np.ndarray, y: np.ndarray, split: Split) -> Iterator[tuple[np.ndarray, float]]:
    """For every number of added pairs: log ratios of held-out pairs, and the mean of those seen.

    A row of x, and one of y, is one value. Nothing is returned where there are too many of them.
    """
    sides = [np.unique(side, axis=0, return_inverse=True) for side in (x, y)]
    sizes = [len(values) for values, _ in sides]
    if max(sizes) * _SAMPLES_PER_VALUE > len(x) or np.prod(sizes) > _MAX_CELLS:
        return
    cell_x, cell_y = (cells.ravel() for _, cells in sides)
    held_out, seen = [], []
    for rows, i, j in zip(split.training_rows(), *split.pairs(), strict=True):
        quotients = _quotients(cell_x[rows], cell_y[rows], *sizes)
        held_out.append(quotients[cell_x[i], cell_y[j]])
        seen.append(quotients[cell_x[rows], cell_y[rows]])
    parts, count = (np.stack(held_out), np.stack(seen)), len(seen[0])
    for power in range(int(np.log(count) / np.log(_FACTOR)) + 1):
        added = float(_FACTOR**power)
        values = [np.log((count * part + added) / (count + added)) for part in parts]
        yield values[0], float(values[1].mean())


def _quotients(i: np.ndarray, j: np.ndarray, num_x: int, num_y: int) -> np.ndarray:
    """The ratio of the counts of every cell to those of independent sides, (num_x, num_y)."""
    table = np.bincount(i * num_y + j, minlength=num_x * num_y).reshape(num_x, num_y)
    expected = table.sum(axis=1)[:, None] * (table.sum(axis=0) / len(i))
    # A value that was not seen tells nothing: a ratio of one.
    return np.where(expected > 0, table / np.where(expected > 0, expected, 1), 1.0)
