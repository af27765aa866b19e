"""Adam on batches, as in the literature, for a single ratio or for a chain of ratios.

Every stage is a training step of the library.
"""

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import optax

import nce_jax
from experiments.mutual_information.config import Config
from experiments.mutual_information.stages import Fit, log_ratio, map_stages, zeros
from nce_jax import training

LOSSES: dict[str, Callable[[Any], nce_jax.criteria.Criterion]] = {
    "nce": lambda magnification: nce_jax.criteria.nce(magnification=magnification),
    "dv": lambda magnification: nce_jax.criteria.donsker_varadhan(),
    "nwj": lambda magnification: nce_jax.criteria.nwj(),
}


def fit(
    config: Config,
    x: jax.Array,
    key: jax.Array,
    *,
    loss: str = "nce",
    num_stages: int = 1,
    magnification: float | None = None,
) -> Iterator[Fit]:
    """Trains for a fixed number of steps, with M adaptive where none is given.

    F is solved for on every batch, except for NWJ, where it is learned: with F solved, NWJ would be
    DV.
    """
    is_single = num_stages == 1
    optimizer = _adam(config.single_rate if is_single else config.stages_rate)
    schedule = jnp.linspace(0, 1, num_stages + 1)  # a_k = k / K, as published
    rule = _RULE if loss == "nce" and magnification is None else None
    train = _train_step(loss, magnification, optimizer)
    states = jax.vmap(train.init)(zeros(num_stages, x.shape[1]))
    num_steps = (config.single_steps if is_single else config.stages_steps) // config.num_records
    for index in range(config.num_records):
        keys = jax.random.split(jax.random.fold_in(key, index), num_steps)
        states, chosen = _run(
            states, keys, x, schedule, magnification, loss, optimizer, config.batch_size
        )
        last = {"nwj": math.inf, "dv": math.inf}.get(
            loss, magnification if rule is None else float(chosen[-1, 0])
        )
        yield Fit(states.params, schedule, last, states.log_partition[0] if loss == "nwj" else None)


_RULE = nce_jax.adaptive_magnification()


@functools.cache
def _adam(rate: float) -> optax.GradientTransformation:
    """Adam with this rate; one object per rate, so that the compiled program is found again."""
    return optax.adam(rate)


def _train_step(loss: str, magnification, optimizer) -> training.TrainStep:
    """M adapts for NCE where none is given."""
    rule = _RULE if loss == "nce" and magnification is None else None
    return training.make_train_step(
        optimizer=optimizer,
        log_ratio_fn=log_ratio,
        criterion=nce_jax.criteria.nce() if rule is not None else LOSSES[loss](magnification),
        treatment=training.joint_gradient() if loss == "nwj" else training.solved(),
        magnification_rule=rule,
    )


@functools.partial(jax.jit, static_argnames=("loss", "optimizer", "batch_size"))
def _run(
    states: Any,
    keys: jax.Array,
    x: jax.Array,
    schedule,
    magnification,
    loss: str,
    optimizer,
    batch_size: int,
) -> Any:
    """Trains every stage for one step per key, and returns M of the steps.

    Every step has a fresh batch, and all stages share its pairs.
    """
    step = _train_step(loss, magnification, optimizer)

    def advance(states: Any, key: jax.Array) -> tuple[Any, jax.Array | None]:
        key_data, key_noise = jax.random.split(key)
        data = x[jax.random.randint(key_data, (batch_size,), 0, len(x))]
        noise = jax.random.normal(key_noise, data.shape)

        def train_stage(state, data, noise):
            state, metrics = step(state, training.Batch(data, noise), key)
            return state, metrics.magnification

        return map_stages(train_stage, states, schedule, data, noise)

    return jax.lax.scan(advance, states, keys)
