"""Signs that samples of a set depend on one another, so that a random hold-out leaks.

Repeated measurements and correlated chains put copies of a training sample into the held-out part:
a model that has memorized its samples then passes every check. Three properties of nearest
neighbors within a set are compared with what independent samples have, whatever their density.
"""

from collections.abc import Iterator

import numpy as np

_MAX_WINDOW = 2_000
"""Number of consecutive samples that are looked at in the order given."""

_MAX_QUERIES, _MAX_ROWS = 500, 40_000
"""Number of samples whose neighbors are searched for, and of samples among which."""

_MIN_SAMPLES = 40
"""Sets with fewer samples are not tested."""


def signs_of_dependence(name: str, x: np.ndarray) -> list[str]:
    """What points to dependent samples in a set, (n, ...), in words; empty for none.

    Args:
      name: the set's name in the text.
      x: its samples, in the order given.
    """
    x = np.asarray(x, np.float64).reshape(len(x), -1)
    if len(x) < _MIN_SAMPLES:
        return []
    spread = x.std(axis=0)
    z = ((x - x.mean(axis=0)) / np.where(spread > 0, spread, 1)).astype(np.float32)
    return [f"{name}: {sign}" for sign in (*_duplicates(x), *_neighbors_in_order(z), *_copies(z))]


def _duplicates(x: np.ndarray) -> Iterator[str]:
    """Samples that are repeated exactly, in a set with at least one continuous coordinate.

    Of discrete coordinates, with few values each, independent samples repeat as well. A coordinate
    counts as continuous where most samples that differ, differ there. One sample that comes many
    times, such as zero, is an atom of the density and no sign.
    """
    # Equal samples have equal products with any vector; sorting rows would take far longer.
    products = (x * np.random.default_rng(0).normal(size=x.shape[1])).sum(axis=1)
    _, first, counts = np.unique(products, return_index=True, return_counts=True)
    is_repeated = counts > 1
    if is_repeated.sum() <= max(3, 0.01 * len(first)):
        return
    num_values = max(len(np.unique(column)) for column in x[first].T)
    if num_values > 0.5 * len(first):
        yield f"{counts[is_repeated].sum()} of {len(x)} samples occur more than once"


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
    """Nearest neighbors far nearer than the 40th and the 80th allow.

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
        if not 0 < growth < np.inf or np.median(first) == 0:
            continue
        # The median of the number of neighbors within the nearest one's distance is log 2.
        expected = np.median(np.log(middle)) - growth * np.log2(near / np.log(2))
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
