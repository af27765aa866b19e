"""The latent model of images: a generator with its encoder, then priors of its posterior means.

Two stages: `train_generator` with the prior N(0, I); every prior then learns from the same cached
posterior means. All priors of a cell are one program.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.anomaly.config import LatentSettings
from experiments.anomaly.images import Split, principal_axes, unit_norm
from experiments.anomaly.scores import prior_score, reconstruction_score
from experiments.common import latent_priors
from experiments.common.latent_model import encode, generate, train_generator
from experiments.common.latent_priors import TREATMENTS, Prior

CALIBRATION_SHARE = 0.1
"""Share of the training rows that no model is trained on: the rules are calibrated on them."""


class Rows(NamedTuple):
    """Coordinates with mean variance one, of training, calibration and test rows."""

    train: np.ndarray
    calibration: np.ndarray
    test: np.ndarray


def priors(settings: LatentSettings) -> list[Prior]:
    """The priors, in the order of the scores: maximum likelihood, then three by treatment of F."""
    levels = tuple(np.linspace(0.0, 1.0, settings.num_stages + 1).tolist())
    many = settings.magnification
    name = f"N2CE, M = {many:g}"
    listed = [Prior("MLE", "chains")]
    for treatment in TREATMENTS:
        ending = f", F {treatment}"
        listed += [
            Prior(f"NCE{ending}", magnification=1.0, treatment=treatment),
            Prior(f"{name}{ending}", magnification=many, treatment=treatment),
            Prior(
                f"{name}, K = {settings.num_stages}{ending}",
                magnification=many,
                noise_levels=levels,
                treatment=treatment,
            ),
        ]
    return listed


def coordinates(settings: LatentSettings, part: Split) -> Rows:
    """Principal coordinates of unit-norm images, of which a share is kept for calibration."""
    train, test = unit_norm(part.train), unit_norm(part.test)
    axes = principal_axes(train)
    train, test = (axes.coordinates(x, settings.num_axes) for x in (train, test))
    scale = np.sqrt(train.var(axis=0).mean())
    count = round(CALIBRATION_SHARE * len(train))
    return Rows(train[count:] / scale, train[:count] / scale, test / scale)


def scores_of(settings: LatentSettings, part: Split, seed: int) -> dict[str, np.ndarray]:
    """Both terms of calibration and test rows; the prior's by prior."""
    rows = coordinates(settings, part)
    key_model, key_prior = jax.random.split(jax.random.key(seed))
    # Padded to one length, so that the programs serve every digit.
    length = len(part.train) + len(part.test)
    x = np.zeros((length, settings.num_axes), np.float32)
    x[: len(rows.train)] = rows.train
    params = jax.jit(train_generator, static_argnums=0)(settings, key_model, x, len(rows.train))
    z = encode(params, x)[0]
    states = jax.jit(train_priors, static_argnums=0)(settings, key_prior, z, len(rows.train))
    arrays = {"labels": part.labels}
    for name, known in (("calibration", rows.calibration), ("test", rows.test)):
        z = encode(params, known)[0]
        x_hat = np.asarray(generate(params, z))
        ratios = np.asarray(prior_log_ratios(settings, states, z))
        arrays[f"reconstruction_{name}"] = reconstruction_score(known, x_hat, settings.sigma)
        arrays[f"prior_{name}"] = prior_score(ratios, np.asarray(z))
    return arrays


def train_priors(settings: LatentSettings, key: jax.Array, z: jax.Array, count: jax.Array) -> Any:
    """States of all priors after training on the first `count` latent variables.

    The two M of one stage are two lanes of one program.
    """
    listed = priors(settings)

    def train(prior, magnification=None):
        return latent_priors.train_prior(settings, prior, key, z, count, magnification)

    states = [train(listed[0])]
    for first, second, longer in zip(listed[1::3], listed[2::3], listed[3::3], strict=True):
        both = jnp.array([first.magnification, second.magnification])
        states += [jax.vmap(lambda m, prior=first: train(prior, m))(both), train(longer)]
    return states


def prior_log_ratios(settings: LatentSettings, states: Any, z: jax.Array) -> jax.Array:
    """Log ratios to N(0, I), (prior, n), in the order of `priors`."""
    listed = priors(settings)

    def of(prior, state):
        return latent_priors.log_ratio(settings, prior, state, z)

    rows = [of(listed[0], states[0])[None]]
    for prior, single, longer in zip(listed[1::3], states[1::2], states[2::2], strict=True):
        rows.append(jax.vmap(lambda state, prior=prior: of(prior, state))(single))
        rows.append(of(listed[3], longer)[None])
    return jnp.concatenate(rows)
