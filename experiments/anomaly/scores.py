"""The score of a latent model: its two terms, and the rules that combine them.

Scores are larger where an image is more anomalous. Rules see, besides the test scores, those of
normal images that the model was not trained on: no anomaly enters a rule.
"""

import numpy as np

RULES = ("ELBO", "sum", "standardized sum", "larger", "smaller tail")
"""The rules, from which the validation digits choose."""


def reconstruction_score(x: np.ndarray, x_hat: np.ndarray, sigma: float) -> np.ndarray:
    """Minus the log-likelihood of the generator up to a constant: |x - x_hat|^2 / (2 sigma^2)."""
    return np.sum((x - x_hat) ** 2, axis=-1) / (2 * sigma**2)


def prior_score(log_ratio: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Minus the prior's log density up to a constant: |z|^2 / 2 minus the log ratio to N(0, I)."""
    return np.sum(z**2, axis=-1) / 2 - log_ratio


def combined(
    rule: str, reconstruction: np.ndarray, prior: np.ndarray, normal: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """One score from the two terms.

    Args:
        rule: "ELBO", the sum of both in nats; "sum", as published, where the reconstruction has no
            1 / (2 sigma^2) and is divided by its standard deviation over normal images here;
            "standardized sum"; "larger" of the standardized terms; "smaller tail" of the two
            empirical tails.
        reconstruction: scores of test images, (n,).
        prior: scores of test images, (..., n).
        normal: both scores of held-out normal images, (m,) and (..., m).

    Returns:
        Scores, (..., n).
    """
    if rule not in RULES:
        raise ValueError(f"rule: expected one of {', '.join(map(repr, RULES))}, got {rule!r}")
    if rule == "ELBO":
        return reconstruction + prior
    if rule == "sum":
        return reconstruction / normal[0].std() + prior
    pairs = ((reconstruction, normal[0]), (prior, normal[1]))
    if rule == "smaller tail":
        return np.maximum(*(_tail(scores, known) for scores, known in pairs))
    one, other = ((s - n.mean(-1, keepdims=True)) / n.std(-1, keepdims=True) for s, n in pairs)
    if rule == "standardized sum":
        return one + other
    return np.maximum(one, other)


def _tail(scores: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """-log of the share of normal scores above, continued exponentially beyond their top 2 %."""
    if scores.ndim > 1:
        rows = (values.reshape(-1, values.shape[-1]) for values in (scores, normal))
        lanes = zip(*rows, strict=True)
        return np.stack([_tail(*lane) for lane in lanes]).reshape(scores.shape)
    ordered = np.sort(normal)
    start = int(0.98 * len(ordered))
    edge = ordered[start]
    scale = max(float(np.mean(ordered[start:] - edge)), 1e-12)
    above = len(ordered) - np.searchsorted(ordered, scores)
    inside = -np.log(np.maximum(above, 1) / len(ordered))
    beyond = -np.log((len(ordered) - start) / len(ordered)) + (scores - edge) / scale
    return np.where(scores > edge, beyond, inside)
