"""The losses of embeddings by their formulas, one anchor after another, in NumPy or JAX."""

import jax
import jax.numpy as jnp
import numpy as np


def logits(x, y, temperature=1.0, bias=0.0):
    return x @ y.T / temperature + bias


def log_sum(row, is_negative, xp):
    """The log of the sum of e^row over the negatives."""
    return xp.log(xp.sum(xp.exp(row[np.flatnonzero(is_negative)])))


def ranking(positive, row, is_negative, magnification, xp):
    if not is_negative.any():
        return 0.0
    return xp.logaddexp(positive, np.log(magnification) + log_sum(row, is_negative, xp)) - positive


def averaged(terms, weights, xp):
    weights = np.ones(len(terms)) if weights is None else np.asarray(weights)
    return sum(w * term for w, term in zip(weights, terms, strict=True) if w != 0) / weights.sum()


def negatives_of(n, ids, weights):
    """(n, n): whether j is a negative of i."""
    ids = np.arange(n) if ids is None else np.asarray(ids)
    is_counted = np.ones(n, bool) if weights is None else np.asarray(weights) != 0
    return (ids[:, None] != ids[None, :]) & is_counted[:, None] & is_counted[None, :]


def info_nce(
    x,
    y,
    *,
    temperature=1.0,
    magnification=1.0,
    two_sided=False,
    log_noise=None,
    ids=None,
    weights=None,
    xp=np,
):
    s = logits(x, y, temperature) - (0 if log_noise is None else log_noise[None, :])
    is_negative = negatives_of(len(x), ids, weights)
    forward = [ranking(s[i, i], s[i], is_negative[i], magnification, xp) for i in range(len(x))]
    if not two_sided:
        return averaged(forward, weights, xp)
    backward = [
        ranking(s[i, i], s[:, i], is_negative[:, i], magnification, xp) for i in range(len(x))
    ]
    return (averaged(forward, weights, xp) + averaged(backward, weights, xp)) / 2


def explicit(
    x, y, negatives, *, temperature=1.0, magnification=1.0, ids=None, ids_negatives=None, xp=np
):
    terms = []
    for i in range(len(x)):
        vectors, vector_ids = negatives, ids_negatives
        if negatives.ndim == 3:
            vectors = negatives[i]
            vector_ids = None if ids_negatives is None else ids_negatives[i]
        if vector_ids is None:
            is_negative = np.ones(len(vectors), bool)
        else:
            is_negative = np.asarray(vector_ids) != ids[i]
        terms.append(
            ranking(
                x[i] @ y[i] / temperature,
                vectors @ x[i] / temperature,
                is_negative,
                magnification,
                xp,
            )
        )
    return averaged(terms, None, xp)


def nt_xent(x, y, *, temperature=1.0, magnification=1.0, ids=None, weights=None, xp=np):
    n, views = len(x), xp.concatenate([x, y])
    s = logits(views, views, temperature)
    tile = lambda values: None if values is None else np.tile(values, 2)
    is_negative = negatives_of(
        2 * n, np.tile(np.arange(n) if ids is None else ids, 2), tile(weights)
    )
    terms = [
        ranking(s[i, (i + n) % (2 * n)], s[i], is_negative[i], magnification, xp)
        for i in range(2 * n)
    ]
    return averaged(terms, tile(weights), xp)


def siglip(x, y, *, temperature=1.0, bias=0.0, ids=None, weights=None, xp=np):
    s, is_negative = logits(x, y, temperature, bias), negatives_of(len(x), ids, weights)
    terms = [
        xp.logaddexp(0.0, -s[i, i])
        + xp.sum(xp.logaddexp(0.0, s[i, np.flatnonzero(is_negative[i])]))
        for i in range(len(x))
    ]
    return averaged(terms, weights, xp)


def batch(n=12, dim=3, dtype=jnp.float64, seed=0):
    """Anchors, and partners that are correlated with them."""
    key_x, key_y = jax.random.split(jax.random.key(seed))
    x = jax.random.normal(key_x, (n, dim), dtype)
    return x, 0.7 * x + 0.7 * jax.random.normal(key_y, (n, dim), dtype)
