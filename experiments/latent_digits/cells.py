"""Cells of the results: the space, the classifier, the mixture, and a method of a seed."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.mixture import GaussianMixture

from experiments.common import gray_images, image_features
from experiments.common.gray_images import GrayImages
from experiments.latent_digits import sampling
from experiments.latent_digits.config import CellSettings, Config, features_of
from experiments.latent_digits.space import Space, to_images
from experiments.latent_digits.train import Method, train
from nce_jax import diagnostics

Arrays = dict[str, np.ndarray]
NUM_PICTURES = 32
SOURCES = [
    Path(gray_images.__file__),
    *(
        Path(__file__).with_name(f"{name}.py")
        for name in ("space", "energy", "train", "sampling", "cells")
    ),
]
# Compiled once for all seeds of a method.
_COMPILED = {
    function.__name__: jax.jit(function, static_argnums=(0, 1))
    for function in (
        train,
        sampling.anneal,
        sampling.resample,
        sampling.plain_chains,
        sampling.bounds,
    )
}


class Judge(NamedTuple):
    """A classifier whose features are compared, those of test images, and the classifier's hits."""

    settings: image_features.FeatureSettings
    params: Any
    reference: np.ndarray
    accuracy: float


def make_judge(config: Config, key: jax.Array, images: GrayImages) -> Judge:
    """Trains the classifier on the training images."""
    settings = features_of(config)
    scaled = images.test / 255.0
    params = image_features.train_classifier(
        settings, key, images.train / np.float32(255), images.train_labels
    )
    guessed = image_features.predicted(settings, params, scaled).argmax(axis=1)
    # In random order, since the first half of the published test images is by other writers.
    rows = np.random.default_rng(config.seed).permutation(len(scaled))
    return Judge(
        settings,
        params,
        image_features.features(settings, params, scaled[rows]),
        float(np.mean(guessed == images.test_labels)),
    )


def judged(judge: Judge, space: Space, coordinates: np.ndarray, seed: int) -> Arrays:
    """Distances of samples to test images, with all other coordinates drawn and at their mean.

    Returns also the share of each class that the classifier sees, and some of the images.
    """
    rest = np.random.default_rng(seed).normal(
        size=(len(coordinates), len(space.mean) - coordinates.shape[1])
    )
    drawn = to_images(space, coordinates, rest)
    bare = to_images(space, coordinates)
    seen = image_features.predicted(judge.settings, judge.params, bare)
    classes = np.bincount(seen.argmax(axis=1), minlength=seen.shape[1]) / len(seen)
    arrays = {"classes": classes, "pictures": bare[:NUM_PICTURES].astype(np.float16)}
    for name, images in (("drawn", drawn), ("mean", bare)):
        features = image_features.features(judge.settings, judge.params, images)
        frechet = diagnostics.frechet_distance(features, judge.reference)
        kernel = diagnostics.kernel_distance(features, judge.reference[: len(features)])
        arrays[f"frechet_{name}"] = np.array([frechet.value, frechet.standard_error, frechet.bias])
        arrays[f"kernel_{name}"] = np.array([kernel.value, kernel.standard_error])
    arrays["pictures_drawn"] = drawn[:NUM_PICTURES].astype(np.float16)
    return arrays


def baselines(config: Config, judge: Judge, space: Space, labels: np.ndarray) -> Arrays:
    """The Gaussian, a mixture of Gaussians, and training images that keep their coordinates."""
    rng = np.random.default_rng(config.seed)
    count, dim = config.num_samples, config.dim
    rows = rng.choice(len(space.train), min(config.max_mixture, len(space.train)), replace=False)
    mixture = GaussianMixture(
        config.num_components, reg_covar=1e-3, max_iter=20, tol=1e-2, random_state=config.seed
    ).fit(space.train[rows].astype(np.float64))
    test = space.test[:, :dim]
    sets = {
        "Gaussian": rng.normal(size=(count, dim)),
        "mixture": rng.permutation(mixture.sample(count)[0]),
        "real": space.train[rng.choice(len(space.train), count, replace=False)],
    }
    arrays: Arrays = {}
    for name, coordinates in sets.items():
        found = judged(judge, space, coordinates.astype(np.float32), config.seed)
        arrays |= {f"{name}: {key}": value for key, value in found.items()}
    log_normal = -0.5 * (test.astype(np.float64) ** 2 + np.log(2 * np.pi)).sum(axis=1)
    gain = mixture.score_samples(test) - log_normal
    return arrays | {"mixture_gain": gain, "log_base": space.log_base, "labels": labels}


def method_cell(
    settings: CellSettings, method: Method, judge: Judge, space: Space, seed: int
) -> Arrays:
    """Trains a method, samples it in three ways, and bounds its log Z."""
    keys = jax.random.split(jax.random.key(seed), 5)
    x_test = jnp.asarray(space.test[:, : settings.dim])
    trained = _COMPILED["train"](
        settings, method, keys[0], jnp.asarray(space.train), x_test[: settings.num_held_out]
    )
    model = settings, method, trained.params
    annealed = _COMPILED["anneal"](*model, keys[1])
    resampled = _COMPILED["resample"](*model, keys[2])
    step = annealed.step_size
    chains = _COMPILED["plain_chains"](*model, keys[3], step)
    chosen = jax.random.permutation(keys[4], len(x_test))[: settings.num_bound_chains]
    forward, reverse = _COMPILED["bounds"](*model, keys[4], step, x_test[chosen])
    ratios = sampling.total_log_ratio(*model)
    arrays = {
        "log_partition": trained.log_partition,
        "loss": trained.loss,
        "overlap": trained.overlap,
        "smc": [annealed.log_partition, annealed.smallest, annealed.acceptance, step],
        "forward": [forward.log_partition, forward.standard_error, forward.effective_sample_size],
        "forward_bound": [forward.bound, forward.bound_standard_error],
        "reverse_bound": [reverse.bound, reverse.bound_standard_error],
        "ess": resampled.effective_sample_size,
        "distinct": len(np.unique(np.asarray(resampled.x[:, 0]))),
        "chain_acceptance": chains.acceptance_rate.mean(),
        "test_log_ratio": ratios(x_test),
        "test_squares": jnp.sum(x_test**2, axis=1),
    }
    for name, found in (("annealed", annealed), ("resampled", resampled), ("chains", chains)):
        x = np.asarray(found.x)
        arrays[f"{name}: log_ratio"] = ratios(found.x)
        arrays |= {f"{name}: {k}": v for k, v in judged(judge, space, x, seed).items()}
    return {name: np.asarray(value) for name, value in arrays.items()}
