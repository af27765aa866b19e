"""The score of a latent model: its terms, and the rules that combine them.

Scores are larger where an image is more anomalous. Rules see, besides the test scores, those of
normal images that the model was not trained on: no anomaly enters a rule.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

Terms = Mapping[str, np.ndarray]
BASES = ("reconstruction", "neighbor", "both")
"""What the energy is combined with: the error of the reconstruction, the squared distance of the
nearest training image of unit norm, or the geometric mean of the two."""
COMBINATIONS = ("sum", "standardized sum", "larger", "smaller tail", "gamma", "log")


class Rule(NamedTuple):
    """How one score is made of the terms."""

    base: str
    """One of `BASES`."""
    combination: str
    """One of `COMBINATIONS`, or of `SPECIAL` with its base."""
    with_norm: bool = False
    """Whether the energy is completed by the density of the image's norm."""

    @property
    def name(self) -> str:
        """What tables call it."""
        if self.combination in SPECIAL:
            return self.combination
        return f"{self.base}, {self.combination}{', norm' if self.with_norm else ''}"


SPECIAL = {"ELBO": "reconstruction", "ELBO of draws": "reconstruction", "joint energy": "joint"}
"""Rules that stand alone, and their base: the sum of both terms in nats at the posterior's mean,
and in the mean over draws, with the posterior's entropy; an energy of z and the logarithms of error
and norm."""
RULES = (
    *(Rule(base, name) for name, base in SPECIAL.items()),
    *(Rule(base, name, norm) for base in BASES for name in COMBINATIONS for norm in (False, True)),
)
"""The rules, from which the validation digits choose."""


def reconstruction_score(x: np.ndarray, x_hat: np.ndarray, sigma: float) -> np.ndarray:
    """Minus the log-likelihood of the generator up to a constant: |x - x_hat|^2 / (2 sigma^2)."""
    return ((x - x_hat) ** 2).sum(axis=-1) / (2 * sigma**2)


def prior_score(log_ratio: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Minus the prior's log density up to a constant: |z|^2 / 2 minus the log ratio to N(0, I)."""
    return (z**2).sum(axis=-1) / 2 - log_ratio


def base_score(base: str, terms: Terms) -> np.ndarray:
    """The term that the energy is combined with, positive, (n,)."""
    if base == "both":
        return np.sqrt(base_score("reconstruction", terms) * base_score("neighbor", terms))
    return np.maximum(terms[base], 1e-12)


def combined(rule: Rule, test: Terms, normal: Terms) -> np.ndarray:
    """One score by prior from the terms.

    "sum": as published, where the reconstruction has no 1 / (2 sigma^2), and is divided by its
    standard deviation over normal images here. "standardized sum"; "larger" of the standardized
    terms; "smaller tail" of the two empirical tails. "gamma" and "log": minus the log density that
    a gamma distribution of the normal images' errors has, up to a constant, and the part of its
    shape k alone, k log(error), where its scale is free.

    Args:
        rule: one of `RULES`.
        test: terms of test images: "reconstruction", "neighbor" and "log_norm", (n,); "prior"
            and "drawn", (prior, n); "joint", (1, n).
        normal: those of held-out normal images.

    Returns:
        Scores, (prior, n).
    """
    if rule not in RULES:
        raise ValueError(f"rule: expected one of RULES, got {rule!r}")
    if rule.combination == "ELBO":
        return test["reconstruction"] + test["prior"]
    if rule.combination in SPECIAL:
        scores = test["drawn" if rule.combination == "ELBO of draws" else "joint"]
        return np.broadcast_to(scores, test["drawn"].shape)
    energies = [test["prior"], normal["prior"]]
    if rule.with_norm:
        energies = [
            e + norm_score(t, normal) for e, t in zip(energies, (test, normal), strict=True)
        ]
    bases = [base_score(rule.base, terms) for terms in (test, normal)]
    return _combine(rule.combination, (bases[0], bases[1]), (energies[0], energies[1]))


def without_energy(rule: Rule, test: Terms, normal: Terms) -> np.ndarray:
    """What is left of a rule without the energy, (n,); of a joint energy the reconstruction."""
    if rule.base not in BASES:
        return test["reconstruction"]
    if not rule.with_norm:
        return base_score(rule.base, test)
    no_energy = [terms | {"prior": np.zeros((1, 1))} for terms in (dict(test), dict(normal))]
    return combined(rule, *no_energy)[0]


def norm_score(terms: Terms, normal: Terms) -> np.ndarray:
    """Minus the log density of the norm, log-normal with the moments of normal images, (n,)."""
    known = normal["log_norm"]
    return ((terms["log_norm"] - known.mean()) / known.std()) ** 2 / 2


Pair = tuple[np.ndarray, np.ndarray]


def _combine(name: str, base: Pair, energy: Pair) -> np.ndarray:
    """Combines terms of test and of normal images: (n,) and (m,), (..., n) and (..., m)."""
    known = base[1]
    if name == "sum":
        return base[0] / known.std() + energy[0]
    if name in ("gamma", "log"):
        shape, rate = known.mean() ** 2 / known.var(), known.mean() / known.var()
        linear = rate * base[0] if name == "gamma" else 0
        power = 1 - shape if name == "gamma" else shape
        return linear + power * np.log(base[0]) + energy[0]
    if name == "smaller tail":
        return np.maximum(_tail(*base), _tail(*energy))
    one, other = (
        (s - n.mean(-1, keepdims=True)) / n.std(-1, keepdims=True) for s, n in (base, energy)
    )
    return one + other if name == "standardized sum" else np.maximum(one, other)


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
