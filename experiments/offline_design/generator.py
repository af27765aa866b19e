"""The latent method: a generator of (x, y) with an energy-based prior, sampled at a high y."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import nce_jax
from experiments.offline_design.config import Config
from experiments.offline_design.tasks import NUM_LETTERS
from experiments.offline_design.training_lanes import encode, optimizer
from nce_jax import latent, models, noise, samplers, telescoping, training

WEIGHT_DECAY = 1e-4


class Prior(NamedTuple):
    """A prior of the latent variables: its train step, and how its parameters begin."""

    step: training.TrainStep | None
    init: Callable[[jax.Array], Any] | None


def make_prior(
    config: Config,
    treatment: training.Treatment | None,
    *,
    magnification: float = 1.0,
    num_stages: int = 1,
) -> Prior:
    """An energy trained by NCE at M, of one or three stages; N(0, I) without a treatment."""
    if treatment is None:
        return Prior(None, None)
    options = {
        "noise": noise.standard_normal(config.latent_dim),
        "optimizer": optimizer(config, WEIGHT_DECAY),
        "criterion": nce_jax.criteria.nce(magnification=magnification),
        "treatment": treatment,
    }

    def init(key: jax.Array) -> Any:
        return models.mlp_energy(key, config.latent_dim, hidden=config.hidden)[0]

    energy = models.mlp_energy(jax.random.key(0), config.latent_dim, hidden=config.hidden)[1]
    if num_stages == 1:
        return Prior(training.make_train_step(log_ratio_fn=energy, **options), init)
    step = training.make_stage_step(
        telescoping.separate(energy), noise_levels=config.latent_levels, **options
    )
    return Prior(step, lambda key: jax.vmap(init)(jax.random.split(key, num_stages)))


def propose(
    config: Config,
    prior: Prior,
    x: jax.Array,
    y: jax.Array,
    end: Any,
    *,
    targets: Any,
    key: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Trains on the designs before `end`, and samples designs given each target.

    Args:
      config: settings.
      prior: of the latent variables.
      x: sequences sorted by y, (n, length).
      y: their scores, standardized, (n,).
      end: one past the last design that may be seen; it may be traced.
      targets: values y*, (targets,), on the scale of y.
      key: a key.

    Returns:
      Sequences (targets, chains, length), and the log densities of their latent variables.
    """
    key_train, key_chains = jax.random.split(key)
    train = latent.make_latent_step(
        _log_likelihood_fn(config, x.shape[1]),
        latent.amortized(_encode),
        optimizer(config, WEIGHT_DECAY),
        prior=prior.step,
    )
    state = _train(config, train, prior, x, y, end, key_train)
    best = _last(end, config.num_chains)
    start = _encode(state.params, _pairs(x[best], y[best]))[0]
    scale = config.score_scale

    def log_density_fn(z: jax.Array, target: jax.Array) -> jax.Array:
        log_ratio = latent.prior_log_ratio(train.prior, state.prior or None, z)
        error = (target - _generate(state.params, z)[1]) / scale
        return log_ratio - jnp.sum(z**2, axis=-1) / 2 - error**2 / 2

    def at_target(target: jax.Array) -> tuple[jax.Array, jax.Array]:
        context = jnp.full(config.num_chains, target)
        chains = samplers.sample_chains(
            key_chains,
            log_density_fn,
            start,
            kernel=samplers.mala(config.chain_step),
            num_steps=config.num_chain_steps,
            context=context,
        )
        logits = _generate(state.params, chains.x)[0]
        return jnp.argmax(logits, axis=-1), log_density_fn(chains.x, context)

    return jax.lax.map(at_target, targets)


def _last(end: Any, count: int) -> jax.Array:
    """Indices of the last designs before `end`, repeated where there are fewer than `count`."""
    # A negative index would be one of the designs that are held out.
    return (end - 1 - jnp.arange(count)) % end


def _train(config, train, prior, x, y, end, key) -> latent.LatentState:
    """The state after all steps."""
    key_model, key_prior, key_batch = jax.random.split(key, 3)
    prior_params = None if prior.init is None else prior.init(key_prior)
    state = train.init(_initial(config, x.shape[1], key_model), prior_params)

    def step(state: latent.LatentState, _: None):
        index = jax.random.randint(
            jax.random.fold_in(key_batch, state.step), (config.batch_size,), 0, end
        )
        return train(state, _pairs(x[index], y[index]), key_batch)[0], None

    return jax.lax.scan(step, state, None, length=config.num_steps)[0]


def _pairs(x: jax.Array, y: jax.Array) -> jax.Array:
    """One-hot vectors with the score as the last entry."""
    return jnp.concatenate([encode(x), y[:, None]], axis=1)


def _initial(config: Config, length: int, key: jax.Array) -> dict[str, Any]:
    """Parameters of encoder and generator."""
    size, dim = NUM_LETTERS * length + 1, config.latent_dim
    key_encoder, key_generator = jax.random.split(key)
    return {
        "encoder": _layers(key_encoder, (size, *config.hidden, 2 * dim)),
        "generator": _layers(key_generator, (dim, *config.hidden, size)),
    }


def _layers(key: jax.Array, widths: tuple[int, ...]) -> list[tuple[jax.Array, jax.Array]]:
    keys = jax.random.split(key, len(widths) - 1)
    return [
        (jax.random.normal(k, (a, b)) / a**0.5, jnp.zeros(b))
        for k, a, b in zip(keys, widths[:-1], widths[1:], strict=True)
    ]


def _apply(layers: list[tuple[jax.Array, jax.Array]], h: jax.Array) -> jax.Array:
    for weight, bias in layers[:-1]:
        h = jax.nn.leaky_relu(h @ weight + bias[None], 0.2)
    weight, bias = layers[-1]
    return h @ weight + bias[None]


def _encode(params: dict[str, Any], data: jax.Array) -> tuple[jax.Array, jax.Array]:
    mean, log_scale = jnp.split(_apply(params["encoder"], data), 2, axis=-1)
    return mean, jnp.clip(log_scale, -6.0, 2.0)


def _generate(params: dict[str, Any], z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Logits of the letters, (n, length, 4), and the mean score, (n,)."""
    out = _apply(params["generator"], z)
    return out[:, :-1].reshape(len(z), -1, NUM_LETTERS), out[:, -1]


def _log_likelihood_fn(config: Config, length: int) -> Callable[..., jax.Array]:
    def log_likelihood_fn(params: dict[str, Any], z: jax.Array, data: jax.Array) -> jax.Array:
        logits, mean = _generate(params, z)
        letters = data[:, :-1].reshape(len(z), length, NUM_LETTERS)
        log_x = jnp.sum(letters * jax.nn.log_softmax(logits), axis=(1, 2))
        error = (data[:, -1] - mean) / config.score_scale
        return log_x - error**2 / 2 - jnp.log(config.score_scale) - jnp.log(2 * jnp.pi) / 2

    return log_likelihood_fn
