"""Real data, whitened by their training part: scikit-learn's digits and UCI tables."""

import gzip
import io
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits

from experiments.common.published import PublishedFile, read

MIRRORS: tuple[str, ...] = ()
"""No mirror is known for these exact files: they have to be put in place by hand."""

FILES = {
    "wine": PublishedFile(
        "uci",
        "wine.csv.gz",
        35_578,
        "e2ca3346651ddb43fbc6a1355e70e74b7ce68f93059e04405e9cb749c219eae2",
        MIRRORS,
    ),
    "elevators": PublishedFile(
        "uci",
        "elevators.csv.gz",
        406_685,
        "e39bc18a80ec3611e4fd76d0f86ee377e96ba21b568b9997576d538dafe56b7b",
        MIRRORS,
    ),
}


class Split(NamedTuple):
    """Whitened training and test rows, and noise samples, four times as many as test rows."""

    train: jax.Array
    test: jax.Array
    noise: jax.Array


def digits() -> Split:
    """8 x 8 images, dequantized and mapped by a logit."""
    generator = np.random.default_rng(0)
    levels = load_digits().data
    unit = 0.01 + 0.98 * (levels + generator.uniform(size=levels.shape)) / 17
    return split_rows(np.log(unit) - np.log1p(-unit), generator)


def uci(name: str) -> Split:
    """The input columns of a table, without its target."""
    content = gzip.decompress(read(FILES[name])).decode()
    return split_rows(
        np.loadtxt(io.StringIO(content), delimiter=",")[:, :-1], np.random.default_rng(0)
    )


def split_rows(rows: np.ndarray, generator: np.random.Generator) -> Split:
    """Holds out a quarter and whitens; a floor on the variances keeps whitening finite."""
    rows = generator.permutation(rows)
    num_test = len(rows) // 4
    test, train = rows[:num_test], rows[num_test:]
    center, spread = train.mean(axis=0), train.std(axis=0)
    train, test = ((part - center) / np.where(spread > 0, spread, 1) for part in (train, test))
    values, vectors = np.linalg.eigh(np.cov(train.T) + 1e-3 * np.eye(train.shape[1]))
    whiten = vectors / np.sqrt(values)
    noise = generator.standard_normal((4 * num_test, train.shape[1]))
    return Split(
        *(jnp.asarray(part, jnp.float32) for part in (train @ whiten, test @ whiten, noise))
    )
