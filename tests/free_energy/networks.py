"""Oscillators as states, and the free energies of many states by plain NumPy."""

from typing import NamedTuple

import numpy as np

NUM_SAMPLES = (60, 40, 0, 50)


class Pool(NamedTuple):
    """Reduced potentials of all samples, (K, N), numbers of samples, and the exact f."""

    potentials: np.ndarray
    num_samples: np.ndarray
    exact: np.ndarray


def oscillators(num_samples=NUM_SAMPLES, *, spacing=1.0, seed=0) -> Pool:
    """States u(x) = k (x - mu)^2 / 2 in a row, with k from 1 to 3."""
    rng = np.random.default_rng(seed)
    num_states = len(num_samples)
    centers, stiffness = spacing * np.arange(num_states), np.linspace(1, 3, num_states)
    x = np.concatenate(
        [
            center + rng.normal(size=count) / np.sqrt(k)
            for center, k, count in zip(centers, stiffness, num_samples, strict=True)
        ]
    )
    potentials = stiffness[:, None] / 2 * (x - centers[:, None]) ** 2
    return Pool(potentials, np.array(num_samples), np.log(stiffness / stiffness[0]) / 2)


class Oracle(NamedTuple):
    """f relative to state 0, its covariance, the weights (K, N), and the probabilities (K, N)."""

    f: np.ndarray
    covariance: np.ndarray
    weights: np.ndarray

    @property
    def standard_error(self) -> np.ndarray:
        diagonal = np.diag(self.covariance)
        return np.sqrt(np.maximum(diagonal[:, None] + diagonal - 2 * self.covariance, 0))


def solve(potentials: np.ndarray, num_samples: np.ndarray) -> Oracle:
    """Shirts and Chodera (2008): eq. 11 by iteration, eq. D6 by a pseudo-inverse of size N."""
    f = np.zeros(len(potentials))
    is_sampled = num_samples > 0
    log_counts = np.log(num_samples[is_sampled])
    for _ in range(20_000):
        logits = (f[is_sampled] + log_counts)[:, None] - potentials[is_sampled]
        log_denominators = _log_sum(logits, 0)
        new = -_log_sum(-potentials - log_denominators, 1)
        new = new - new[0]
        if np.abs(new - f).max() < 1e-14:
            break
        f = new
    weights = np.exp(f[:, None] - potentials - log_denominators)
    inner = np.eye(potentials.shape[1]) - weights.T @ (num_samples[:, None] * weights)
    return Oracle(f, weights @ np.linalg.pinv(inner, hermitian=True) @ weights.T, weights)


def expectation(oracle: Oracle, num_samples: np.ndarray, observable: np.ndarray):
    """Means and errors of A, by the same formula with A as a further state (eqs. 13 to 15)."""
    values, errors = [], []
    for row in oracle.weights:
        mean = row @ observable
        weights = np.vstack([oracle.weights, row * (observable - mean)])
        counts = np.append(num_samples, 0)
        inner = np.eye(weights.shape[1]) - weights.T @ (counts[:, None] * weights)
        covariance = weights @ np.linalg.pinv(inner, hermitian=True) @ weights.T
        values.append(mean)
        errors.append(np.sqrt(covariance[-1, -1]))
    return np.array(values), np.array(errors)


def _log_sum(values: np.ndarray, axis: int) -> np.ndarray:
    largest = values.max(axis=axis, keepdims=True)
    return np.squeeze(largest, axis) + np.log(np.exp(values - largest).sum(axis=axis))
