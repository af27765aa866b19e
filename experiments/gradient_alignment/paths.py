"""Gradient descent on the magnified loss, by M and treatment of F, and on the likelihood."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import nce_jax
from experiments.gradient_alignment.families import Family, Gaussian
from experiments.gradient_alignment.quadrature import Rule
from nce_jax import training

TREATMENTS = ("fixed", "solved", "joint")
"""F = log Z(theta), a normalized model; F = F*(kappa); F a parameter that follows its gradient at
theta's rate."""


class Path(NamedTuple):
    """Parameters before the first step and after each, and the F of each gradient."""

    params: jax.Array
    log_partition: jax.Array


def descend(
    family: Family, rule: Rule, start: jax.Array, name: str, criterion, rate: float, num_steps: int
) -> Path:
    """A path of the library's train step, with the quadrature as the batch."""
    treatment = {
        "fixed": training.held(),
        "solved": training.solved(),
        "joint": training.joint_gradient(),
    }[name]
    log_ratio_fn = family.normalized_log_ratio if name == "fixed" else family.log_ratio
    initial = 0.0 if name == "fixed" else family.log_partition(start)
    options = {"criterion": criterion, "treatment": treatment}
    optimizer = optax.sgd(rate)
    step = training.make_train_step(optimizer=optimizer, log_ratio_fn=log_ratio_fn, **options)
    batch = training.Batch(rule.x, rule.x, **rule.weights)

    def body(state, _):
        new, metrics = step(state, batch, jax.random.key(0))  # nothing is drawn
        shift = family.log_partition(state.params) if name == "fixed" else 0.0
        return new, Path(state.params, metrics.log_partition + shift)

    state = step.init(start, log_partition=initial)
    return jax.lax.scan(body, state, length=num_steps + 1)[1]


def magnified_paths(
    family: Family, rule: Rule, start, name: str, magnifications, rate: float, num_steps: int
) -> Path:
    """Paths of all M in one compilation, M first; for "joint" infinite M (NWJ) comes last."""

    @jax.jit
    def run(magnification, rule):
        return descend(
            family,
            rule,
            start,
            name,
            nce_jax.criteria.nce(magnification=magnification),
            rate,
            num_steps,
        )

    paths = jax.vmap(run, in_axes=(0, None))(jnp.array(magnifications), rule)
    if name == "joint":
        limit = jax.jit(
            lambda rule: descend(family, rule, start, name, nce_jax.criteria.nwj(), rate, num_steps)
        )(rule)
        paths = jax.tree.map(
            lambda finite, infinite: jnp.concatenate([finite, infinite[None]]), paths, limit
        )
    return jax.tree.map(np.asarray, paths)


def likelihood_path(
    family: Family, data: Gaussian, start: jax.Array, rate: float, num_steps: int
) -> np.ndarray:
    """The same descent on the likelihood, from closed-form moments: (step, parameter)."""

    def body(params, _):
        return params - rate * family.likelihood_gradient(params, data), params

    return np.asarray(jax.lax.scan(body, start, length=num_steps + 1)[1])
