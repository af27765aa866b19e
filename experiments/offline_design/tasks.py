"""The tasks: measured sequences of four letters, the lower half of which is given."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from experiments.common.datasets import design_bench
from experiments.common.endings import CommandError
from experiments.offline_design.config import Config

NUM_LETTERS = 4
LONGEST = 12
"""Longest sequences of which a table of all is read: 16 million."""
WINDOW = 3
"""Number of neighboring letters that one term of our landscapes depends on."""


class Task(NamedTuple):
    """A task of offline design.

    Attributes:
      name: its name.
      x: the given designs, (n, length) letters, sorted by y.
      y: their scores, (n,), not above the median of all that were measured.
      oracle: the true scores of designs, (m, length) -> (m,), from 0 for the worst to 1.
      space: all designs, where they can be enumerated, else None.
      has_strands: whether a sequence and its reverse complement are the same molecule.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    oracle: Callable[[np.ndarray], np.ndarray]
    space: np.ndarray | None
    has_strands: bool


def load(config: Config) -> tuple[Task, Task]:
    """Returns the task that can be enumerated, and the one that cannot."""
    known = {"tfbind8": tfbind8, "table": partial(table, config)}
    first = known.get(config.task, partial(published, config.task))()
    return first, landscape(config)


def tfbind8() -> Task:
    """TFBind8 (SIX6_REF_R1): the scores of all 65,536 sequences of eight bases."""
    x, y = design_bench.load_tfbind8()
    space = all_sequences(x.shape[1])
    values = np.zeros(len(space), np.float32)
    values[index_of(x)] = y[:, 0]  # the 256 rows that repeat another have its score
    half = lower_half(space, values)
    return Task("tfbind8", *half, lambda x: values[index_of(x)], space, True)


def published(name: str) -> Task:
    """A table of all sequences of one length from Design-Bench's shards, with scores from 0 to 1.

    Raises:
        CommandError: the designs are not sequences of four letters, all scores are equal, or some
            sequence has no score: Design-Bench judges it by a model of its own, which we do not
            have.
        DataError: there are no such shards, or they are damaged.
    """
    x, y = design_bench.load_task(name)
    if x.ndim != 2 or x.dtype.kind not in "iu" or x.min() < 0 or x.max() >= NUM_LETTERS:
        raise CommandError(
            f"task: expected sequences (n, length) of the letters 0 to {NUM_LETTERS - 1} in {name},"
            f" got {x.dtype} {x.shape} from {x.min()} to {x.max()}"
        )
    if x.shape[1] > LONGEST:
        raise CommandError(f"task: expected at most {LONGEST} letters in {name}, got {x.shape[1]}")
    space, place = all_sequences(x.shape[1]), index_of(x.astype(np.int64))
    counts = np.bincount(place, minlength=len(space))
    if missing := int(np.sum(counts == 0)):
        raise CommandError(
            f"task: expected a score of each of the {len(space):,} sequences in {name}, which is"
            f" the oracle here, got none of {missing:,}"
        )
    # Rows that repeat a sequence count as one, with their mean score.
    values = np.bincount(place, weights=y[:, 0], minlength=len(space)) / counts
    if not np.ptp(values) > 0:
        raise CommandError(f"task: expected scores that differ in {name}, got {values[0]} alone")
    values = ((values - values.min()) / np.ptp(values)).astype(np.float32)
    half = lower_half(space, values)
    return Task(name, *half, lambda x: values[index_of(x)], space, _has_strands(*half))


def _has_strands(x: np.ndarray, y: np.ndarray) -> bool:
    """Whether given sequences have the score of their reverse complement, where it is given."""
    known = np.full(NUM_LETTERS ** x.shape[1], np.nan)
    known[index_of(x)] = y
    other = known[index_of(reverse_complement(x))]
    return bool(np.all(np.isnan(other) | (other == y)))


def table(config: Config) -> Task:
    """A small landscape of our own, given as a whole."""
    space = all_sequences(config.table_length)
    oracle = make_landscape(np.random.default_rng(config.seed), config.table_length)
    return Task("table", *lower_half(space, oracle(space)), oracle, space, False)


def landscape(config: Config) -> Task:
    """A landscape of our own over sequences that are too long to be enumerated."""
    rng = np.random.default_rng(config.seed + 1)
    oracle = make_landscape(rng, config.landscape_length)
    x = rng.integers(0, NUM_LETTERS, (config.num_measured, config.landscape_length))
    return Task("landscape", *lower_half(x, oracle(x)), oracle, None, False)


def make_landscape(rng: np.random.Generator, length: int) -> Callable[[np.ndarray], np.ndarray]:
    """An NK landscape: a sum of random terms, one for each window of neighboring letters.

    Its extremes are found by dynamic programming, and moved to 0 and 1.
    """
    terms = rng.normal(size=(length - WINDOW + 1, *[NUM_LETTERS] * WINDOW))
    largest, smallest = best_total(terms), -best_total(-terms)

    def oracle(x: np.ndarray) -> np.ndarray:
        values = [term[tuple(x[:, k : k + WINDOW].T)] for k, term in enumerate(terms)]
        return ((np.sum(values, axis=0) - smallest) / (largest - smallest)).astype(np.float32)

    return oracle


def best_total(terms: np.ndarray) -> float:
    """The largest sum of terms (windows, 4, 4, 4) over all sequences, by dynamic programming."""
    best = np.zeros(terms.shape[1:-1])
    for term in terms:
        best = np.max(best[..., None] + term, axis=0)  # over the window's first letter
    return float(best.max())


def lower_half(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Designs with scores not above the median, sorted by score."""
    order = np.argsort(y, kind="stable")
    kept = order[y[order] <= np.median(y)]
    return x[kept], y[kept]


def all_sequences(length: int) -> np.ndarray:
    """All sequences in lexical order, (4^length, length)."""
    return np.indices([NUM_LETTERS] * length).reshape(length, -1).T


def index_of(x: np.ndarray) -> np.ndarray:
    """Positions of sequences in `all_sequences`."""
    return x @ NUM_LETTERS ** np.arange(x.shape[1])[::-1]


def reverse_complement(x: np.ndarray) -> np.ndarray:
    """The other strand, with the letters A, C, G, T as 0, 1, 2, 3."""
    return NUM_LETTERS - 1 - x[..., ::-1]
