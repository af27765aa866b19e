"""The latent model of images: a generator with its encoder, then priors of its posterior means.

Two stages: `train_generator` with the prior N(0, I); every prior then learns from the same
posterior means. A cell is one program.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.anomaly.baselines import log_norm, nearest
from experiments.anomaly.config import LatentSettings
from experiments.anomaly.images import Split, principal_axes, unit_norm
from experiments.anomaly.scores import prior_score, reconstruction_score
from experiments.common import latent_priors
from experiments.common.latent_model import encode, generate, train_generator
from experiments.common.latent_priors import TREATMENTS, Prior

NEIGHBOR = "nearest neighbor of z"
"""The prior that nothing is learned for: nz times the log distance to the nearest training z, which
is minus the log density of a nearest-neighbor estimate."""
NUM_DRAWS = 2
"""Number of draws of the posterior, for the rule that takes a mean over them."""
JOINT = Prior("joint energy")


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


def coordinates(settings: LatentSettings, part: Split) -> np.ndarray:
    """Principal coordinates of unit-norm images, with mean variance one, in the split's order.

    There are always as many rows in all, so that the programs serve every digit.
    """
    train, test = unit_norm(part.train), unit_norm(part.test)
    axes = principal_axes(train)
    train, test = (axes.coordinates(x, settings.num_axes) for x in (train, test))
    return part.in_order(train, test) / np.sqrt(train.var(axis=0).mean())


def scores_of(settings: LatentSettings, part: Split, seed: int) -> dict[str, np.ndarray]:
    """Terms of calibration and test rows; those that need a prior by prior."""
    x, count = coordinates(settings, part), len(part.train) - part.num_calibration
    log_norms = part.in_order(log_norm(part.train), log_norm(part.test))
    key_model, key_prior = jax.random.split(jax.random.key(seed))
    model = jax.jit(_of_generator, static_argnums=0)(settings, key_model, x, count)
    z, reconstruction, draws, bounds = model
    # The priors do not depend on the generator's settings: one program serves any of them.
    common = dataclasses.replace(settings, sigma=1.0, hidden=(), latent_steps=0)
    program = jax.jit(_of_priors, static_argnums=0)
    terms = program(common, key_prior, z, reconstruction, draws, log_norms, count)
    terms = {name: np.asarray(values)[:, count:] for name, values in terms.items()}
    z, reconstruction, bounds = (np.asarray(values) for values in (z, reconstruction, bounds))
    neighbor = settings.nz / 2 * np.log(np.maximum(nearest(z[:count], z[count:]), 1e-12))
    terms["prior"] = np.concatenate([terms["prior"], neighbor[None]])
    terms["drawn"] = terms["drawn"] + bounds[count:]
    terms["reconstruction"] = reconstruction[count:]
    arrays = {"labels": part.labels}
    for name, values in terms.items():
        arrays[f"{name}_calibration"] = values[..., : part.num_calibration]
        arrays[f"{name}_test"] = values[..., part.num_calibration :]
    return arrays


def _of_generator(settings: LatentSettings, key: jax.Array, x, count):
    """z, the reconstruction's score, draws of z, and their scores less the entropy.

    The generator is trained on the first `count` rows.
    """
    key_model, key_draws = jax.random.split(key)
    params = train_generator(settings, key_model, x, count)
    mean, log_scale = encode(params, x)

    def score(z):
        return reconstruction_score(x, generate(params, z), settings.sigma)

    noises = jax.random.normal(key_draws, (NUM_DRAWS, *mean.shape))
    drawn = mean + jnp.exp(log_scale) * noises
    bounds = jnp.mean(jax.vmap(score)(drawn), axis=0) - jnp.sum(log_scale, axis=1)
    return mean, score(mean), drawn, bounds


def _of_priors(settings: LatentSettings, key, z, reconstruction, draws, log_norms, count):
    """Scores of the priors, in the mean over draws of z, and of those of z and two more columns."""
    key_prior, key_joint = jax.random.split(key)
    states = train_priors(settings, key_prior, z, count)

    def score(z):
        return prior_score(prior_log_ratios(settings, states, z), z)

    is_train = (jnp.arange(len(z)) < count)[:, None]
    extra = jnp.stack([jnp.log(reconstruction), log_norms], axis=1)
    mean = jnp.mean(extra, axis=0, where=is_train)
    extra = (extra - mean) / jnp.std(extra, axis=0, where=is_train)
    return {
        "prior": score(z),
        "drawn": sum(score(draw) for draw in draws) / NUM_DRAWS,
        "joint": _joint_score(settings, key_joint, jnp.concatenate([z, extra], axis=1), count),
    }


def _joint_score(settings: LatentSettings, key: jax.Array, z, count):
    """Score of an energy of z and two more columns, by NCE with F solved, (1, n)."""
    state = latent_priors.train_prior(settings, JOINT, key, z, count)
    return prior_score(latent_priors.log_ratio(settings, JOINT, state, z), z)[None]


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
    pairs = zip(listed[1::3], listed[3::3], strict=True)
    for (prior, long_prior), single, longer in zip(pairs, states[1::2], states[2::2], strict=True):
        rows.append(jax.vmap(lambda state, prior=prior: of(prior, state))(single))
        rows.append(of(long_prior, longer)[None])
    return jnp.concatenate(rows)
