"""Every criterion with every treatment of F, as train steps on a mesh, all in one program."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

import nce_jax
from experiments.scaling.config import Config
from nce_jax import models, noise, training

CRITERIA = {
    "nce": nce_jax.criteria.nce(noise_ratio=2.0),
    "noisier": nce_jax.criteria.nce(magnification=100.0),
    "exponential": nce_jax.criteria.exponential_nce(),
    "nwj": nce_jax.criteria.nwj(),
    "donsker_varadhan": nce_jax.criteria.donsker_varadhan(),
    "least_squares": nce_jax.criteria.least_squares(),
    "regularized": nce_jax.criteria.ratio_regularized(nce_jax.criteria.nce(), strength=0.1),
}
TREATMENTS = {
    "joint": training.joint_gradient(),
    "own rate": training.joint_gradient(optax.sgd(0.1)),
    "bar": training.bar_step(),
    "solved": training.solved(),
    "bisection": training.solved(nce_jax.bisection()),
    "fixed": training.held(),
}
ADAPTIVE = "nce, solved, adaptive M"
PARTS = ("loss", "log_partition", "gradient", "params")


class Named(NamedTuple):
    """A train step and its initial state."""

    step: Any
    state: training.TrainState


def pairs(config: Config) -> Iterator[tuple[str, dict[str, Any]]]:
    """Options of `make_train_step`, by name, for all supported pairs or those of the config."""
    for criterion, loss in CRITERIA.items():
        for treatment, update in TREATMENTS.items():
            name = f"{criterion}, {treatment}"
            if update.refuses(loss) is None and (not config.pairs or name in config.pairs):
                yield name, {"criterion": loss, "treatment": update}
    if not config.pairs or ADAPTIVE in config.pairs:
        yield (
            ADAPTIVE,
            {"criterion": CRITERIA["nce"], "magnification_rule": nce_jax.adaptive_magnification()},
        )


def make_steps(
    config: Config, mesh: Mesh, dtype: str, key: jax.Array, learning_rate: float
) -> dict[str, Named]:
    params, log_density_fn = models.mlp_energy(key, 2, hidden=config.hidden, param_dtype=dtype)
    optimizer, distribution = optax.sgd(learning_rate), noise.standard_normal(2, dtype=dtype)
    fixed = {"mesh": mesh, "num_noise": config.num_noise}
    named = {}

    # The model is the tilted noise: no ratio is large, and every loss has a minimum.
    def tilted(params, x):
        return log_density_fn(params, x) + distribution.log_prob(x)

    for name, options in pairs(config):
        step = training.make_train_step(tilted, distribution, optimizer, **fixed, **options)
        named[name] = Named(step, training.shard_state(step.init(params), mesh))
    return named


def outcome(config: Config, mesh: Mesh, dtype: str, seed: int) -> dict[str, np.ndarray]:
    """Results that must not depend on the mesh, by "pair: part".

    The parts are the loss, F and the gradient of the first step, and the last parameters.
    """
    key, key_data, key_step = jax.random.split(jax.random.key(seed), 3)
    # At a rate of 1 the first SGD step is the gradient; at a small rate, the difference between the
    # parameters is mostly rounding.
    named = make_steps(config, mesh, dtype, key, learning_rate=1.0)
    slow = make_steps(config, mesh, dtype, key, config.learning_rate)
    x_data = 0.5 + 0.7 * jax.random.normal(key_data, (config.num_data, 2), dtype)
    batch = training.Batch(x_data, weights_data=jnp.ones(config.num_data, dtype).at[::3].set(0.5))
    first = _train(named, batch, key_step, 1)
    last = _train(
        {name: slow[name] for name in config.long_pairs}, batch, key_step, config.num_steps
    )
    outcomes = {}
    for name, initial in named.items():
        state, metrics = first[name]
        gradient = jax.tree.map(
            lambda old, new: np.asarray(old) - new, initial.state.params, state.params
        )
        parts = dict(zip(PARTS, (metrics.loss, metrics.log_partition, gradient), strict=False))
        parts |= {"params": last[name][0].params} if name in last else {}
        outcomes |= {f"{name}: {part}": _flat(value) for part, value in parts.items()}
    return outcomes


def _train(
    named: dict[str, Named], batch: training.Batch, key: jax.Array, num_steps: int
) -> dict[str, Any]:
    """The state after `num_steps` and the last metrics, by name; all in one program."""

    def step_all(states):
        return {name: named[name].step(state, batch, key) for name, state in states.items()}

    @jax.jit
    def train(states):
        def body(_, previous):
            return step_all({name: state for name, (state, _) in previous.items()})

        return jax.lax.fori_loop(1, num_steps, body, step_all(states))

    return jax.tree.map(
        np.asarray, jax.device_get(train({name: initial.state for name, initial in named.items()}))
    )


def _flat(tree: Any) -> np.ndarray:
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])
