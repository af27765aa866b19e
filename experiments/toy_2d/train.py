"""Training runs with models at log-spaced steps, all seeds of a treatment in one program."""

from collections.abc import Callable
from typing import Any, NamedTuple

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import optax

import nce_jax
from experiments.toy_2d.config import Config
from nce_jax import models, training
from nce_jax.toys import Toy


class Path(NamedTuple):
    """Parameters, F and mean loss of a run at its checkpoints.

    The parameters are after k updates, F is the one at which their loss was taken, and the loss is
    the mean over the batches since the previous checkpoint.
    """

    params: Any
    log_partition: jax.Array
    loss: jax.Array


def treatments(config: Config, reading: str) -> dict[str, training.Treatment]:
    """The paper's treatments of F; for its own reading, Newton's faster method as well."""
    newton = {"Newton": training.solved(nce_jax.newton())} if reading == "energy" else {}
    return {
        "NCE": training.joint_gradient(),
        # Our loss is twice the paper's, so that its rate is halved.
        "NCE, raised rate": training.joint_gradient(optax.sgd(config.raised_rate / 2)),
        "BAR": training.bar_step(),
        "binary search": training.solved(nce_jax.bisection()),
        **newton,
    }


def noise(config: Config) -> distrax.Distribution:
    return distrax.MultivariateNormalDiag(jnp.zeros(2), jnp.full(2, config.noise_variance**0.5))


def make_model(
    config: Config, reading: str, key: jax.Array
) -> tuple[Any, Callable[..., jax.Array]]:
    """Parameters and `log_density_fn(params, x)`: the network itself, or added to the noise's."""
    params, network = models.mlp_energy(key, 2, hidden=config.hidden)
    if reading == "energy":
        return params, network
    log_noise = noise(config).log_prob
    return params, lambda params, x: network(params, x) + log_noise(x)


def checkpoints(config: Config) -> np.ndarray:
    """Steps that are stored: zero, the reported ones, and others evenly spaced on a log scale."""
    spaced = np.geomspace(1, config.num_steps, config.num_checkpoints).round().astype(int)
    return np.unique([0, *config.reported_steps, *spaced])


def train(
    config: Config,
    toy: Toy,
    reading: str,
    treatment: training.Treatment,
    keys: jax.Array,
    start: float = 0.0,
) -> Path:
    """Trains all keys; leaves are (seed, checkpoint, ...), and F starts at `start`.

    A key gives every treatment the same network and the same draws.
    """
    _, log_density_fn = make_model(config, reading, keys[0])
    optimizer = optax.adam(config.learning_rate)
    step = training.make_train_step(log_density_fn, noise(config), optimizer, treatment=treatment)
    checkpoint_steps = checkpoints(config)
    windows = jnp.stack(
        [jnp.array([0, *checkpoint_steps[:-1] + 1]), jnp.array(checkpoint_steps + 1)], axis=-1
    )

    def run(key: jax.Array) -> Path:
        key_model, key_data, key_noise = jax.random.split(key, 3)

        def one_step(index, carry):
            state, path = carry
            x_data = toy.sample(jax.random.fold_in(key_data, index), config.batch_size)
            new, metrics = step(state, x_data, key_noise)
            return new, Path(state.params, metrics.log_partition, path.loss + metrics.loss)

        def until_checkpoint(state, window):
            initial_carry = state, Path(state.params, state.log_partition, jnp.zeros(()))
            state, path = jax.lax.fori_loop(window[0], window[1], one_step, initial_carry)
            return state, path._replace(loss=path.loss / (window[1] - window[0]))

        params, _ = make_model(config, reading, key_model)
        state = step.init(params, log_partition=start)
        return jax.lax.scan(until_checkpoint, state, windows)[1]

    return nce_jax.sweep(run, axes={"key": keys}).values
