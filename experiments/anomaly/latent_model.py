"""The latent model of images: a generator with its encoder, then priors of its posterior means.

Two stages: `nce_jax.latent` trains generator and encoder with the prior N(0, I); every prior then
learns from the same cached posterior means. All priors of a cell are one program.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from experiments.anomaly.config import LatentSettings
from experiments.anomaly.images import Split, principal_axes, unit_norm
from experiments.anomaly.scores import prior_score, reconstruction_score
from nce_jax import criteria, latent, models, noise, samplers, telescoping, training

TREATMENTS = {"joint": training.joint_gradient, "solved": training.solved}
CALIBRATION_SHARE = 0.1
"""Share of the training rows that no model is trained on: the rules are calibrated on them."""


class Rows(NamedTuple):
    """Coordinates with mean variance one, of training, calibration and test rows."""

    train: np.ndarray
    calibration: np.ndarray
    test: np.ndarray


def prior_names(settings: LatentSettings) -> list[str]:
    """Names of the priors, in the order of the scores."""
    kinds = ["NCE", f"N2CE, M = {settings.magnification:g}"]
    kinds += [f"{kinds[1]}, K = {settings.num_stages}"]
    return ["MLE", *(f"{kind}, F {name}" for name in TREATMENTS for kind in kinds)]


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
    fit = jax.jit(train_model, static_argnums=0)
    params = fit(settings, key_model, x, len(rows.train))
    z = _encode(params["encoder"], x)[0]
    states = jax.jit(train_priors, static_argnums=0)(settings, key_prior, z, len(rows.train))
    arrays = {"labels": part.labels}
    for name, known in (("calibration", rows.calibration), ("test", rows.test)):
        z = _encode(params["encoder"], known)[0]
        x_hat = np.asarray(_network(params["decoder"], z))
        ratios = np.asarray(prior_log_ratios(settings, states, z))
        arrays[f"reconstruction_{name}"] = reconstruction_score(known, x_hat, settings.sigma)
        arrays[f"prior_{name}"] = prior_score(ratios, np.asarray(z))
    return arrays


def train_model(settings: LatentSettings, key: jax.Array, x: jax.Array, count: jax.Array) -> Any:
    """Parameters of encoder and decoder after training on the first `count` rows."""
    key_encoder, key_decoder, key_train = jax.random.split(key, 3)
    sizes = settings.num_axes, *settings.hidden, 2 * settings.nz
    back = settings.nz, *settings.hidden[::-1], settings.num_axes
    params = {"encoder": _init(key_encoder, sizes), "decoder": _init(key_decoder, back)}
    step = latent.make_latent_step(
        latent.gaussian_likelihood(
            lambda params, z: _network(params["decoder"], z), scale=settings.sigma
        ),
        latent.amortized(lambda params, x: _encode(params["encoder"], x)),
        _adam(settings.latent_rate, settings.latent_steps),
        prior=None,
    )

    def advance(state, number):
        key_rows = jax.random.fold_in(key_train, number)
        rows = jax.random.randint(key_rows, (settings.latent_batch,), 0, count)
        return step(state, x[rows], key_train)[0], None

    return jax.lax.scan(advance, step.init(params), jnp.arange(settings.latent_steps))[0].params


def train_priors(settings: LatentSettings, key: jax.Array, z: jax.Array, count: jax.Array) -> Any:
    """States of all priors after training on the first `count` latent variables."""
    key_init, key_train = jax.random.split(key)

    def run(step, params):
        def advance(state, number):
            key_rows = jax.random.fold_in(key_train, number)
            rows = jax.random.randint(key_rows, (settings.prior_batch,), 0, count)
            return step(state, training.Batch(z[rows], None), key_train)[0], None

        return jax.lax.scan(advance, step.init(params), jnp.arange(settings.prior_steps))[0]

    def chain(magnification, stages, treatment):
        step = _stage_step(settings, magnification, stages, treatment)
        return run(step, jax.vmap(_energy(settings))(jax.random.split(key_init, stages)))

    both = jnp.array([1.0, settings.magnification])
    states = [run(_likelihood_step(settings), _energy(settings)(key_init))]
    for treatment in TREATMENTS.values():
        states.append(jax.vmap(lambda m, t=treatment: chain(m, 1, t))(both))
        states.append(chain(settings.magnification, settings.num_stages, treatment))
    return states


def prior_log_ratios(settings: LatentSettings, states: Any, z: jax.Array) -> jax.Array:
    """Log ratios to N(0, I), (prior, n), in the order of `prior_names`."""
    steps = {stages: _stage_step(settings, 1.0, stages) for stages in (1, settings.num_stages)}
    rows = [latent.prior_log_ratio(_likelihood_step(settings), states[0], z)[None]]
    for single, longer in zip(states[1::2], states[2::2], strict=True):
        rows.append(jax.vmap(lambda state: latent.prior_log_ratio(steps[1], state, z))(single))
        rows.append(latent.prior_log_ratio(steps[settings.num_stages], longer, z)[None])
    return jnp.concatenate(rows)


def _stage_step(settings: LatentSettings, magnification, stages: int, treatment=training.solved):
    return training.make_stage_step(
        telescoping.separate(_log_ratio_fn(settings)),
        noise.standard_normal(settings.nz),
        _adam(settings.prior_rate, settings.prior_steps),
        noise_levels=np.linspace(0.0, 1.0, stages + 1),
        criterion=criteria.nce(magnification=magnification),
        treatment=treatment(),
    )


def _likelihood_step(settings: LatentSettings):
    return latent.make_chain_step(
        _log_ratio_fn(settings),
        noise.standard_normal(settings.nz),
        _adam(settings.prior_rate, settings.prior_steps),
        kernel=samplers.langevin(settings.chain_step**2 / 2),
        num_steps=settings.chain_steps,
    )


def _energy(settings: LatentSettings):
    return lambda key: models.mlp_energy(key, settings.nz, hidden=settings.prior_hidden)[0]


def _log_ratio_fn(settings: LatentSettings):
    return models.mlp_energy(jax.random.key(0), settings.nz, hidden=settings.prior_hidden)[1]


def _adam(rate: float, steps: int):
    return optax.adam(optax.cosine_decay_schedule(rate, steps))


def _init(key: jax.Array, sizes: tuple[int, ...]) -> list[dict[str, jax.Array]]:
    keys = jax.random.split(key, len(sizes) - 1)
    return [
        {"kernel": jax.random.normal(k, (a, b)) * (2 / a) ** 0.5, "bias": jnp.zeros(b)}
        for k, a, b in zip(keys, sizes[:-1], sizes[1:], strict=True)
    ]


def _network(layers: Any, x: ArrayLike) -> jax.Array:
    x = jnp.asarray(x)
    for layer in layers[:-1]:
        x = jax.nn.relu(x @ layer["kernel"] + layer["bias"])
    return x @ layers[-1]["kernel"] + layers[-1]["bias"]


def _encode(layers: Any, x: ArrayLike) -> tuple[jax.Array, jax.Array]:
    """Mean and log standard deviation of z."""
    mean, log_scale = jnp.split(_network(layers, x), 2, axis=-1)
    return mean, jnp.clip(log_scale - 1, -6, 2)
