"""Laws of latent variables that are fitted without steps, and sample themselves."""

import time
import warnings
from collections.abc import Callable

import jax
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from experiments.latent_energy.evaluation import Judge, Row, log_ratio_row, standard_log_density
from nce_jax import noise


def of_standard_normal(judge: Judge, z: np.ndarray, z_held_out: np.ndarray, seed: int) -> Row:
    """The prior that the generator was trained with."""
    del z
    drawn = np.random.default_rng(seed).normal(size=(len(judge.reference), z_held_out.shape[1]))
    zero = np.zeros(len(z_held_out))
    return judge.of_latent(drawn) | log_ratio_row(zero, zero) | {"seconds": np.array(0.0)}


def of_gaussian(judge: Judge, z: np.ndarray, z_held_out: np.ndarray, seed: int) -> Row:
    """The Gaussian with mean and covariance of the posterior draws."""
    begin = time.perf_counter()
    fitted = jax.block_until_ready(noise.fitted_gaussian(z))
    seconds = time.perf_counter() - begin
    drawn = fitted.sample(seed=jax.random.key(seed), sample_shape=(len(judge.reference),))

    def log_ratio(z: np.ndarray) -> np.ndarray:
        return np.asarray(fitted.log_prob(z)) - standard_log_density(z)

    row = _exact(judge, np.asarray(drawn), log_ratio, z_held_out, seed)
    return row | {"seconds": np.array(seconds)}


def of_mixture(judge: Judge, z: np.ndarray, z_held_out: np.ndarray, seed: int) -> Row:
    """A mixture of Gaussians by expectation maximization."""
    settings = judge.settings
    rows = np.random.default_rng(seed).permutation(len(z))[: settings.max_mixture]
    begin = time.perf_counter()
    with warnings.catch_warnings():
        # It is given few iterations on purpose.
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = GaussianMixture(
            settings.num_components, max_iter=50, tol=1e-2, random_state=seed, reg_covar=1e-4
        ).fit(z[rows].astype(np.float64))
    seconds = time.perf_counter() - begin
    # The samples come sorted by component.
    drawn = np.random.default_rng(seed).permutation(fitted.sample(len(judge.reference))[0])

    def log_ratio(z: np.ndarray) -> np.ndarray:
        return fitted.score_samples(z) - standard_log_density(z)

    return _exact(judge, drawn, log_ratio, z_held_out, seed) | {"seconds": np.array(seconds)}


def _exact(
    judge: Judge,
    drawn: np.ndarray,
    log_ratio: Callable[[np.ndarray], np.ndarray],
    z_held_out: np.ndarray,
    seed: int,
) -> Row:
    """The row of a law with a normalized density that samples itself."""
    draws = np.random.default_rng(seed).normal(size=z_held_out.shape).astype(np.float32)
    return judge.of_latent(drawn) | log_ratio_row(log_ratio(z_held_out), log_ratio(draws))


DIRECT = {"N(0, I)": of_standard_normal, "Gaussian": of_gaussian, "Gaussian mixture": of_mixture}
"""Priors that are fitted without steps."""
