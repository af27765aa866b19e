"""The losses of embeddings by their formulas, one anchor after another, in NumPy or JAX."""

import jax
import jax.numpy as jnp
import numpy as np


def logits(x, y, temperature=1.0, bias=0.0):
    return x @ y.T / temperature + bias


def log_sum(row, is_negative, xp):
    """The log of the sum of e^row over the negatives."""
    return xp.log(xp.sum(xp.exp(row[np.flatnonzero(is_negative)])))


def log_add(a, b, xp):
    """`logaddexp`, which NumPy does not have for complex numbers."""
    if not np.iscomplexobj(b):
        return xp.logaddexp(a, b)
    largest = np.maximum(np.real(a), np.real(b))
    return largest + np.log(np.exp(a - largest) + np.exp(b - largest))


def gradients(formula, x, y, **options):
    """Of a formula in x and y, in NumPy by complex steps: exact to rounding, without a program."""
    sides, slopes = [np.asarray(side, complex) for side in (x, y)], []
    for side in sides:
        slope = np.zeros(side.shape)
        for index in np.ndindex(side.shape):
            real = side[index]
            side[index] = real + 1e-30j
            slope[index] = formula(*sides, **options).imag / 1e-30
            side[index] = real
        slopes.append(slope)
    return slopes


def ranking(positive, row, is_negative, magnification, xp):
    if not is_negative.any():
        return 0.0
    return log_add(positive, xp.log(magnification) + log_sum(row, is_negative, xp), xp) - positive


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
        log_add(0.0, -s[i, i], xp) + xp.sum(log_add(0.0, s[i, np.flatnonzero(is_negative[i])], xp))
        for i in range(len(x))
    ]
    return averaged(terms, weights, xp)


def hard_negatives_of(n, shape, ids, ids_negatives):
    """(n, K): whether each explicit negative counts."""
    if ids_negatives is None:
        return np.ones((n, shape[-2]), bool)
    return np.asarray(ids)[:, None] != np.broadcast_to(ids_negatives, (n, shape[-2]))


def clip_with_negatives(
    x,
    y,
    *,
    negatives_x=None,
    negatives_y=None,
    temperature=1.0,
    magnification=1.0,
    ids=None,
    ids_negatives_x=None,
    ids_negatives_y=None,
    weights=None,
    xp=np,
):
    n, s = len(x), logits(x, y, temperature)
    is_other = negatives_of(n, ids, weights)
    directions = (x, s, negatives_y, ids_negatives_y), (y, s.T, negatives_x, ids_negatives_x)
    total = 0.0
    for anchors, scores, negatives, ids_negatives in directions:
        terms = []
        for i in range(n):
            row, is_negative = scores[i], is_other[i]
            if negatives is not None:
                vectors = negatives[i] if negatives.ndim == 3 else negatives
                row = xp.concatenate([row, xp.asarray(vectors) @ anchors[i] / temperature])
                counted = hard_negatives_of(n, negatives.shape, ids, ids_negatives)[i]
                is_negative = np.concatenate([is_negative, counted])
            terms.append(ranking(s[i, i], row, is_negative, magnification, xp))
        total = total + averaged(terms, weights, xp) / 2
    return total


def info_nce_with_negatives(
    x,
    y,
    negatives,
    *,
    in_batch=False,
    temperature=1.0,
    magnification=1.0,
    log_noise=None,
    log_noise_negatives=None,
    ids=None,
    ids_negatives=None,
    weights=None,
    xp=np,
):
    n, terms = len(x), []
    s = logits(x, y, temperature) - (0 if log_noise is None else log_noise[None, :])
    log_q = 0 if log_noise_negatives is None else log_noise_negatives
    log_q = np.broadcast_to(log_q, (n, negatives.shape[-2]))
    is_other = negatives_of(n, ids, weights) & in_batch
    counted = hard_negatives_of(n, negatives.shape, ids, ids_negatives)
    for i in range(n):
        vectors = negatives[i] if negatives.ndim == 3 else negatives
        explicit = xp.asarray(vectors) @ x[i] / temperature - log_q[i]
        row = xp.concatenate([s[i], explicit])
        is_negative = np.concatenate([is_other[i], counted[i]])
        terms.append(ranking(s[i, i], row, is_negative, magnification, xp))
    return averaged(terms, weights, xp)


def supervised_terms(
    x,
    labels=None,
    *,
    positives=None,
    form="out",
    temperature=1.0,
    magnification=1.0,
    log_noise=None,
    ids=None,
    weights=None,
    xp=np,
):
    """The term of every anchor, or None without positives."""
    s = logits(x, x, temperature) - (0 if log_noise is None else log_noise[None, :])
    is_counted = negatives_of(len(x), ids, weights)
    labels = None if labels is None else np.asarray(labels)
    is_positive = positives if labels is None else labels[:, None] == labels[None, :]
    terms = []
    for i in range(len(x)):
        chosen = np.flatnonzero(is_counted[i] & is_positive[i])
        others = np.flatnonzero(is_counted[i] & ~is_positive[i])
        if chosen.size == 0:
            terms.append(None)
            continue
        p, rest = xp.exp(s[i, chosen]), magnification * xp.sum(xp.exp(s[i, others]))
        denominator = p + rest if form == "separate" else xp.sum(p) + rest
        ratios = xp.mean(p) / denominator if form == "in" else p / denominator
        terms.append(-xp.mean(xp.log(ratios)))
    return terms


def supervised(x, labels=None, *, weights=None, xp=np, **options):
    terms = supervised_terms(x, labels, weights=weights, xp=xp, **options)
    weights = np.ones(len(x)) if weights is None else np.asarray(weights)
    counted = [i for i, term in enumerate(terms) if term is not None and weights[i] != 0]
    total = sum(weights[i] for i in counted)
    return sum(weights[i] * terms[i] for i in counted) / total if counted else 0.0 * xp.sum(x)


def siglip_of_positives(
    x, y, *, labels=None, positives=None, temperature=1.0, bias=0.0, ids=None, weights=None, xp=np
):
    n, s = len(x), logits(x, y, temperature, bias)
    labels = None if labels is None else np.asarray(labels)
    is_positive = positives if labels is None else labels[:, None] == labels[None, :]
    is_kept = np.ones(n, bool) if weights is None else np.asarray(weights) != 0
    is_kept = is_kept[:, None] & is_kept[None, :]
    is_negative = is_kept & ~is_positive
    if ids is not None:
        is_negative &= np.asarray(ids)[:, None] != np.asarray(ids)[None, :]
    terms = [
        xp.sum(log_add(0.0, -s[i, np.flatnonzero(is_kept[i] & is_positive[i])], xp))
        + xp.sum(log_add(0.0, s[i, np.flatnonzero(is_negative[i])], xp))
        for i in range(n)
    ]
    return averaged(terms, weights, xp)


def batch(n=12, dim=3, dtype=jnp.float64, seed=0):
    """Anchors, and partners that are correlated with them."""
    key_x, key_y = jax.random.split(jax.random.key(seed))
    x = jax.random.normal(key_x, (n, dim), dtype)
    return x, 0.7 * x + 0.7 * jax.random.normal(key_y, (n, dim), dtype)
