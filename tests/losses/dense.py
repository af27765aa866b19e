"""The losses of embeddings as their formulas stand: every logit of every pair, one anchor after
another, in NumPy or JAX.
"""

import jax
import jax.numpy as jnp
import numpy as np


def logits(x, y, temperature=1.0, bias=0.0):
    return x @ y.T / temperature + bias


def against(row, counts, xp):
    """log of the sum of e^row over those that count."""
    return xp.log(xp.sum(xp.exp(row[np.flatnonzero(counts)])))


def ranking(positive, row, counts, magnification, xp):
    if not counts.any():
        return 0.0
    return xp.logaddexp(positive, np.log(magnification) + against(row, counts, xp)) - positive


def averaged(terms, weights, xp):
    weights = np.ones(len(terms)) if weights is None else np.asarray(weights)
    return sum(w * term for w, term in zip(weights, terms, strict=True) if w != 0) / weights.sum()


def negatives_of(n, ids, weights):
    """(n, n): whether j is a negative of i."""
    ids = np.arange(n) if ids is None else np.asarray(ids)
    there = np.ones(n, bool) if weights is None else np.asarray(weights) != 0
    return (ids[:, None] != ids[None, :]) & there[:, None] & there[None, :]


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
    counts = negatives_of(len(x), ids, weights)
    one = [ranking(s[i, i], s[i], counts[i], magnification, xp) for i in range(len(x))]
    if not two_sided:
        return averaged(one, weights, xp)
    other = [ranking(s[i, i], s[:, i], counts[:, i], magnification, xp) for i in range(len(x))]
    return (averaged(one, weights, xp) + averaged(other, weights, xp)) / 2


def explicit(
    x, y, negatives, *, temperature=1.0, magnification=1.0, ids=None, ids_negatives=None, xp=np
):
    terms = []
    for i in range(len(x)):
        own, names = negatives, ids_negatives
        if negatives.ndim == 3:
            own, names = negatives[i], None if names is None else names[i]
        counts = np.ones(len(own), bool) if names is None else np.asarray(names) != ids[i]
        terms.append(
            ranking(x[i] @ y[i] / temperature, own @ x[i] / temperature, counts, magnification, xp)
        )
    return averaged(terms, None, xp)


def nt_xent(x, y, *, temperature=1.0, magnification=1.0, ids=None, weights=None, xp=np):
    n, views = len(x), xp.concatenate([x, y])
    s = logits(views, views, temperature)
    twice = lambda values: None if values is None else np.tile(values, 2)
    counts = negatives_of(2 * n, np.tile(np.arange(n) if ids is None else ids, 2), twice(weights))
    terms = [
        ranking(s[i, (i + n) % (2 * n)], s[i], counts[i], magnification, xp) for i in range(2 * n)
    ]
    return averaged(terms, twice(weights), xp)


def siglip(x, y, *, temperature=1.0, bias=0.0, ids=None, weights=None, xp=np):
    s, counts = logits(x, y, temperature, bias), negatives_of(len(x), ids, weights)
    terms = [
        xp.logaddexp(0.0, -s[i, i]) + xp.sum(xp.logaddexp(0.0, s[i, np.flatnonzero(counts[i])]))
        for i in range(len(x))
    ]
    return averaged(terms, weights, xp)


def batch(n=12, dim=3, dtype=jnp.float64, seed=0):
    """Anchors and partners that belong together."""
    key_x, key_y = jax.random.split(jax.random.key(seed))
    x = jax.random.normal(key_x, (n, dim), dtype)
    return x, 0.7 * x + 0.7 * jax.random.normal(key_y, (n, dim), dtype)
