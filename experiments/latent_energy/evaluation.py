"""How a law of latent variables is judged: by distances of its images, and by its log density."""

import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from experiments.common import latent_priors
from experiments.common.latent_priors import Prior, PriorSettings
from experiments.latent_energy.config import EvaluationSettings
from nce_jax import diagnostics, noise, samplers

Row = dict[str, np.ndarray]
CHUNK = 10_000
LOG_RATIO_NAMES = ("log_ratio", "log_ratio_error", "overlap")


class Judge(NamedTuple):
    """What images of a set are compared with.

    Attributes:
      features: of images, uint8 (n, h, w, c) -> (n, width).
      reference: the features of reference images.
      decode: latent variables (n, nz) -> images.
      settings: of the evaluation.
    """

    features: Callable[[np.ndarray], np.ndarray]
    reference: np.ndarray
    decode: Callable[[np.ndarray], np.ndarray]
    settings: EvaluationSettings

    def distances(self, x: np.ndarray) -> Row:
        """Distances of images to the reference, and the first of them as pictures."""
        found = self.features(x)
        frechet = diagnostics.frechet_distance(found, self.reference)
        kernel = diagnostics.kernel_distance(
            found, self.reference, subset_size=min(self.settings.kernel_subset, len(found))
        )
        return {
            "frechet": np.array(frechet.value),
            "frechet_bias": np.array(frechet.bias),
            "kernel": np.array(kernel.value),
            "num_samples": np.array(len(x)),
            "pictures": x[: self.settings.num_pictures],
        }

    def of_latent(self, z: np.ndarray) -> Row:
        """Distances of the images of latent variables, and how many of these are distinct."""
        return self.distances(self.decode(z)) | {"distinct": np.array(len(np.unique(z, axis=0)))}


def standard_log_density(z: np.ndarray) -> np.ndarray:
    return -np.sum(z**2 + np.log(2 * np.pi), axis=1) / 2


def log_ratio_row(ratios: np.ndarray, ratios_noise: np.ndarray) -> Row:
    """Mean normalized log ratio of held-out draws, its standard error, and the overlap at M = 1."""
    count = min(len(ratios), len(ratios_noise))
    # In float32: the overlap is computed by a jitted function of the library.
    data, draws = (jnp.asarray(r[:count], jnp.float32) for r in (ratios, ratios_noise))
    values = (ratios.mean(), ratios.std() / len(ratios) ** 0.5, diagnostics.overlap(data, draws))
    return {name: np.asarray(value) for name, value in zip(LOG_RATIO_NAMES, values, strict=True)}


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


def of_trained(
    judge: Judge,
    settings: PriorSettings,
    prior: Prior,
    state: Any,
    z_held_out: np.ndarray,
    seed: int,
) -> Row:
    """A trained prior, sampled by importance resampling; of chains, their own samples as well."""
    # What M and F were in training makes no other program.
    law = Prior("", prior.kind, noise_levels=prior.noise_levels)
    key_draws, key_resample, key_chains = jax.random.split(jax.random.key(seed), 3)
    count, dim = len(judge.reference), z_held_out.shape[1]
    num_chunks = -(-judge.settings.normalizer_draws // CHUNK)
    ratios_noise = np.asarray(_noise_log_ratios(settings, law, num_chunks, state, key_draws, dim))
    log_z = diagnostics.importance_log_partition(ratios_noise).log_partition
    resampled = _resample(
        settings, law, (count, judge.settings.oversampling, dim), state, key_resample
    )
    ratios = np.asarray(_log_ratio(settings, law, state, z_held_out))
    row = judge.of_latent(np.asarray(resampled.x)) | log_ratio_row(
        ratios - float(log_z), ratios_noise - float(log_z)
    )
    row["effective_sample_size"] = np.asarray(resampled.effective_sample_size)
    row["status"] = np.asarray(resampled.status)
    if prior.kind == "chains":
        z = _chains(settings, law, (count, dim), state, key_chains)
        row |= {f"chains_{k}": v for k, v in judge.of_latent(np.asarray(z)).items()}
    else:
        metrics = _metrics(settings, prior, state, key_chains, z_held_out[: settings.prior_batch])
        row["stage_overlap"] = np.asarray(metrics.overlap)
        if metrics.magnification is not None:
            row["last_magnification"] = np.asarray(metrics.magnification)
    return row


_log_ratio = jax.jit(latent_priors.log_ratio, static_argnums=(0, 1))
_metrics = jax.jit(latent_priors.step_metrics, static_argnums=(0, 1))


@partial(jax.jit, static_argnums=(0, 1, 2, 5))
def _noise_log_ratios(settings, prior, num_chunks, state, key, dim):
    def chunk(index):
        z = jax.random.normal(jax.random.fold_in(key, index), (CHUNK, dim))
        return latent_priors.log_ratio(settings, prior, state, z)

    return jax.lax.map(chunk, jnp.arange(num_chunks)).reshape(-1)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _resample(settings, prior, sizes, state, key):
    count, oversampling, dim = sizes
    return samplers.resample(
        key,
        partial(latent_priors.log_ratio, settings, prior, state),
        noise.standard_normal(dim),
        count,
        oversampling=oversampling,
    )


@partial(jax.jit, static_argnums=(0, 1, 2))
def _chains(settings, prior, sizes, state, key):
    """Chains from N(0, I), as many steps as in training."""
    key_start, key_steps = jax.random.split(key)

    def log_density_fn(z):
        return latent_priors.log_ratio(settings, prior, state, z) - jnp.sum(z**2, axis=-1) / 2

    return samplers.sample_chains(
        key_steps,
        log_density_fn,
        jax.random.normal(key_start, sizes),
        kernel=samplers.langevin(settings.chain_step**2 / 2),
        num_steps=settings.chain_steps,
    ).x
