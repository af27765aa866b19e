"""Distance of an estimated posterior from the true one: by quadrature, and by a classifier."""

from typing import NamedTuple

import numpy as np
from sklearn.model_selection import cross_val_score
from sklearn.neural_network import MLPClassifier

from experiments.simulator_inference import simulator
from experiments.simulator_inference.config import Config


class Measures(NamedTuple):
    """Measures of one network on the test pairs.

    Attributes:
      accuracy: accuracy of the best classifier between true and estimated posterior, per
        observation: 1/2 + their total variation / 2.
      mass: mass of the estimated posterior where it is denser than at the true parameters, per
        pair; uniform for a calibrated posterior.
      log_normalizer: log of the integral of prior times ratio, per observation; zero for the exact
        ratio.
      log_ratio_error: estimated minus exact log ratio at the test pairs.
    """

    accuracy: np.ndarray
    mass: np.ndarray
    log_normalizer: np.ndarray
    log_ratio_error: np.ndarray


def measure(
    config: Config, of_grid: np.ndarray, of_pairs: np.ndarray, pairs: simulator.Pairs
) -> Measures:
    """Measures from log ratios on the grid and at the pairs' own parameters.

    The shapes are (observations, cells) and (observations,).
    """
    points, area = simulator.grid(config.num_cells, config.half_width)
    theta, x = (np.asarray(side, np.float64) for side in pairs)
    truth = _normalized(simulator.log_posterior(points, x, config.noise_scale), area)[0]
    posterior, log_normalizer = _normalized(of_grid + simulator.log_prior(points), area)
    log_density_at_truth = of_pairs + simulator.log_prior(theta) - log_normalizer
    exact = _log_posterior_at_truth(theta, x, config)
    return Measures(
        accuracy=0.5 + np.abs(np.exp(posterior) - np.exp(truth)).sum(-1) * area / 4,
        mass=(np.exp(posterior) * (posterior > log_density_at_truth[:, None])).sum(-1) * area,
        log_normalizer=log_normalizer,
        log_ratio_error=of_pairs - (exact - simulator.log_prior(theta)),
    )


def exact_mass(config: Config, pairs: simulator.Pairs) -> np.ndarray:
    """`Measures.mass` of the true posterior, which shows the sampling error of these pairs."""
    points, _ = simulator.grid(config.num_cells, config.half_width)
    theta, x = (np.asarray(side, np.float64) for side in pairs)
    of_grid = simulator.log_posterior(points, x, config.noise_scale) - simulator.log_prior(points)
    return measure(
        config,
        of_grid,
        _log_posterior_at_truth(theta, x, config) - simulator.log_prior(theta),
        pairs,
    ).mass


def _log_posterior_at_truth(theta: np.ndarray, x: np.ndarray, config: Config) -> np.ndarray:
    """log p(theta_i | x_i) of every pair."""
    pairs = zip(theta, x, strict=True)
    return np.array(
        [
            simulator.log_posterior(parameters[None], observation[None], config.noise_scale)[0, 0]
            for parameters, observation in pairs
        ]
    )


def _normalized(log_density: np.ndarray, area: float) -> tuple[np.ndarray, np.ndarray]:
    largest = log_density.max(-1, keepdims=True)
    log_integral = np.log(np.exp(log_density - largest).sum(-1) * area) + largest[:, 0]
    return log_density - log_integral[:, None], log_integral


def classified(config: Config, of_grid: np.ndarray, x: np.ndarray, seed: int) -> float:
    """Cross-validated accuracy of a perceptron that separates samples of the two posteriors.

    The posteriors are those of one observation.
    """
    points, area = simulator.grid(config.num_cells, config.half_width)
    rng = np.random.default_rng(seed)
    density = np.exp(_normalized((of_grid + simulator.log_prior(points))[None], area)[0][0]) * area
    cells = rng.choice(len(points), config.num_samples, p=density / density.sum())
    estimated = points[cells] + np.sqrt(area) * (rng.uniform(size=(config.num_samples, 2)) - 0.5)
    mean, covariance = simulator.posterior(x[None], config.noise_scale)
    truth = rng.multivariate_normal(mean[0], covariance, config.num_samples)
    samples = np.concatenate([estimated, truth])
    samples = (samples - truth.mean(0)) / truth.std(0)
    labels = np.repeat([0, 1], config.num_samples)
    network = MLPClassifier((20, 20), max_iter=1_000, random_state=seed)
    return float(cross_val_score(network, samples, labels, cv=5).mean())
