"""Signs that samples of a set depend on one another, so that a random hold-out leaks.

Repeated measurements and correlated chains put copies of a training sample into the held-out part:
a model that has memorized its samples then passes every check. Three properties of nearest
neighbors within a set are compared with what independent samples have, whatever their density.
"""

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

_MAX_WINDOW = 2_000
"""Number of consecutive samples that are looked at in the order given."""

_MAX_QUERIES, _MAX_ROWS = 500, 40_000
"""Number of samples whose neighbors are searched for, and of samples among which."""

_MIN_SAMPLES = 40
"""Sets with fewer samples are not tested."""

_NUM_PIECES = 16
"""Number of pieces on which a coordinate's distribution is made even. Copies of a sample lie within
one piece, so that they remain nearest neighbors."""

_MAX_SHARE = 3
"""How many times as many pairs of samples may be equal as rounding alone leaves."""


def signs_without_groups(sets: dict[str, Any], is_grouped: dict[str, bool]) -> list[str]:
    """Signs of dependent samples in the sets that have no groups, in words.

    Args:
      sets: arrays of samples, by the name of their argument.
      is_grouped: whether the caller gave groups or blocks of the set of this name.
    """
    return [
        sign
        for name, samples in sets.items()
        if not is_grouped[name]
        for sign in signs_of_dependence(name, np.asarray(samples))
    ]


def warn_of_dependence(signs: list[str], *, caller: str, cure: str) -> None:
    """Warns of the signs, for the caller of the public function `caller`."""
    if signs:
        text = "; ".join(signs)
        warnings.warn(f"{caller}: {text}; {cure}", UserWarning, stacklevel=3)


def signs_of_dependence(name: str, x: np.ndarray) -> list[str]:
    """What points to dependent samples in a set, (n, ...), in words; empty for none.

    Args:
      name: the set's name in the text.
      x: its samples, in the order given.
    """
    x = np.asarray(x, np.float64).reshape(len(x), -1)
    if len(x) < _MIN_SAMPLES:
        return []
    # Equal samples have equal products with any vector; sorting rows would take far longer.
    products = (x * np.random.default_rng(0).normal(size=x.shape[1])).sum(axis=1)
    _, first, counts = np.unique(products, return_index=True, return_counts=True)
    z = _evened(x)
    # Without the copies of an atom. Samples that are mostly copies, as of counts, lie on a grid.
    distinct = np.sort(first) if len(first) > 0.5 * len(x) else np.arange(len(x))
    signs = (*_duplicates(x[first], counts), *_neighbors_in_order(z), *_copies(z[distinct]))
    return [f"{name}: {sign}" for sign in signs]


def _evened(x: np.ndarray) -> np.ndarray:
    """Coordinates with about uniform distributions, by a map that is linear on every piece.

    Where a density rises over many decades, as that of a gamma variable does near zero, the numbers
    of neighbors grow as no power of the distance.
    """
    levels = np.linspace(0, 1, _NUM_PIECES + 1)
    knots = np.quantile(x[:: -(-len(x) // _MAX_WINDOW)], levels, axis=0)
    knots[0], knots[-1] = x.min(axis=0), x.max(axis=0)
    columns = []
    for column, ends in zip(x.T, knots.T, strict=True):
        values, place, counts = np.unique(ends, return_inverse=True, return_counts=True)
        columns.append(np.interp(column, values, np.bincount(place, levels) / counts))
    # In units of their standard deviation.
    return (np.sqrt(12) * np.stack(columns, axis=1)).astype(np.float32)


def _duplicates(rows: np.ndarray, counts: np.ndarray) -> Iterator[str]:
    """Samples that are repeated exactly, in a set with at least one continuous coordinate.

    Of discrete coordinates, with few values each, independent samples repeat as well. A coordinate
    counts as continuous where most samples that differ, differ there, unless there are fewer of
    these than the root of n, as of labels and doses. One sample that comes many times, such as
    zero, is an atom of the density and no sign.

    Args:
      rows: the samples without repetitions, (rows, d).
      counts: how often each of them occurs, (rows,).
    """
    is_repeated = counts > 1
    if is_repeated.sum() <= max(3, 0.01 * len(rows)) or len(rows) ** 2 < counts.sum():
        return
    num_values = [len(np.unique(column)) for column in rows.T]
    finest = int(np.argmax(num_values))
    # The largest counts may be those of atoms.
    usual = np.minimum(counts, np.quantile(counts[is_repeated], 0.9, method="lower")).astype(float)
    num_pairs = (usual * (usual - 1)).sum() / 2
    is_expected = num_pairs <= _MAX_SHARE * _pairs_by_rounding(rows, usual, finest)
    if num_values[finest] > 0.5 * len(rows) and not is_expected:
        yield f"{counts[is_repeated].sum()} of {counts.sum()} samples occur more than once"


def _pairs_by_rounding(rows: np.ndarray, counts: np.ndarray, finest: int) -> float:
    """How many pairs of independent samples are equal because they were rounded.

    Of values on a grid, about as many pairs are equal as are any number of steps apart. The pairs
    are counted that are one to ten steps of the finest coordinate apart and equal in the others. Of
    a short grid fewer pairs are so far apart.

    Args:
      rows: the samples without repetitions, (rows, d).
      counts: how often each of them occurs, (rows,).
      finest: the coordinate with the most values.
    """
    values = np.unique(rows[:, finest])
    step = np.diff(values).min()
    reach = 10.5 * step
    others = np.delete(rows, finest, axis=1)
    key = (others * np.random.default_rng(1).normal(size=others.shape[1])).sum(axis=1)
    order = np.lexsort((rows[:, finest], key))
    key, value, counts = key[order], rows[order, finest], counts[order]
    total = 0.0
    for lag in range(1, 11):
        is_near = (key[lag:] == key[:-lag]) & (value[lag:] - value[:-lag] <= reach)
        total += float((counts[lag:] * counts[:-lag])[is_near].sum())
    length = (values[-1] - values[0]) / step + 1
    distances = np.arange(1, min(11, length - 0.5))
    # At each distance there are two neighbors for one cell, but a pair counts once.
    return total / (2 * (1 - distances / length).sum())


def _neighbors_in_order(z: np.ndarray) -> Iterator[str]:
    """Nearest neighbors that follow one another.

    Of independent samples about 1.4 pairs are consecutive, whatever their number. Twelve or more
    have a probability below 1e-7.
    """
    z = z[:_MAX_WINDOW]
    squares = _square_distances(z, z)
    np.fill_diagonal(squares, np.inf)
    # Ties, as of discrete samples, have no nearest neighbor.
    nearest = squares.argmin(axis=1)
    is_unique = (squares == squares.min(axis=1)[:, None]).sum(axis=1) == 1
    rows = np.arange(len(z))
    is_consecutive = is_unique & (np.abs(nearest - rows) == 1)
    pairs = {
        (min(a, b), max(a, b)) for a, b in zip(rows, nearest, strict=True) if is_consecutive[a]
    }
    if len(pairs) >= max(12, 0.02 * len(z)):
        yield (
            f"{len(pairs)} pairs of consecutive samples among the first {len(z)} are nearest"
            " neighbors, where independent samples have one or two"
        )


def _copies(z: np.ndarray) -> Iterator[str]:
    """Nearest neighbors far nearer than the 40th and the 80th allow, among distinct samples.

    The number of neighbors within a distance r grows as r to the power of the dimension where the
    density is smooth. The dimension is measured by the two farther ones.
    """
    rows = z[:: -(-len(z) // _MAX_ROWS)]
    queries = np.linspace(0, len(rows) - 1, min(_MAX_QUERIES, len(rows)), dtype=int)
    for near in (8, 40):
        if len(rows) < 4 * near:
            return
        first, middle, far = _ranked_distances(rows, queries, (1, near, 2 * near))
        growth = np.median(np.log(np.maximum(far, 1e-30) / np.maximum(middle, 1e-30)))
        if not 0 < growth < np.inf or min(np.median(first), np.median(middle)) == 0:
            continue
        # The median of the number of neighbors within the nearest one's distance is log 2.
        expected = np.median(np.log(np.maximum(middle, 1e-30))) - growth * np.log2(near / np.log(2))
        excess = expected - np.median(np.log(np.maximum(first, 1e-30)))
        if excess > 1:
            yield (
                f"nearest neighbors are {np.exp(excess):.1f} times nearer than the neighbors"
                " farther away allow for independent samples"
            )
            return


def _ranked_distances(
    rows: np.ndarray, queries: np.ndarray, ranks: tuple[int, ...]
) -> list[np.ndarray]:
    """Distances from some rows to their neighbors of given ranks; rank 0 is the row itself."""
    squares = _square_distances(rows[queries], rows)
    squares[np.arange(len(queries)), queries] = -1
    ordered = np.partition(squares, ranks, axis=1)
    return [np.sqrt(np.maximum(ordered[:, rank], 0)) for rank in ranks]


def _square_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None] - 2 * a @ b.T
    # What is left of a difference of equal samples is rounding.
    return np.where(squares < 1e-6 * ((a**2).sum(axis=1)[:, None] + 1e-30), 0, squares)
