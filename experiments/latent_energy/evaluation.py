"""How a law of latent variables is judged: by distances of its images, and by its log density."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

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
    """Mean normalized log ratio of held-out draws, its standard error, and the overlap at M = 1.

    The standard error is that of the mean over the draws; that of the normalizer is left out.
    """
    count = min(len(ratios), len(ratios_noise))
    # In float32: the overlap is computed by a jitted function of the library.
    data, draws = (jnp.asarray(r[:count], jnp.float32) for r in (ratios, ratios_noise))
    values = (ratios.mean(), ratios.std() / len(ratios) ** 0.5, diagnostics.overlap(data, draws))
    return {name: np.asarray(value) for name, value in zip(LOG_RATIO_NAMES, values, strict=True)}


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
