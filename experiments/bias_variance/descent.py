"""Setting (b): error after a fixed number of gradient steps on one sample.

The steps are the library's train steps.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import nce_jax
from experiments.bias_variance.gradients import lanes
from experiments.bias_variance.problem import Problem, log_ratio, normalized_log_ratio
from experiments.bias_variance.quadrature import TREATMENTS
from nce_jax import training


def descend(
    name: str,
    batch: training.Batch,
    dim: int,
    magnification: jax.Array,
    rate: float,
    num_steps: int,
) -> jax.Array:
    """theta after every step, (step, dim), from theta = 0 and F = 0 = log Z(0)."""
    treatment = {
        "fixed": training.held(),
        "joint": training.joint_gradient(),
        "solved": training.solved(),
    }[name]
    optimizer = optax.sgd(rate)
    step = training.make_train_step(
        optimizer=optimizer,
        log_ratio_fn=normalized_log_ratio if name == "fixed" else log_ratio,
        criterion=nce_jax.criteria.nce(magnification=magnification),
        treatment=treatment,
    )

    def body(state, _):
        state, _ = step(state, batch, jax.random.key(0))  # nothing is drawn
        return state, state.params

    state = step.init(jnp.zeros(dim))
    return jax.lax.scan(body, state, length=num_steps)[1]


def squared_errors(
    problem: Problem, magnifications, draws: jax.Array, rate: float, budgets
) -> np.ndarray:
    """|theta - truth|^2, (treatment, budget, M, seed); infinite where a run diverges."""

    def run(magnification, draw):
        batch = training.Batch(*draw)
        paths = [
            descend(name, batch, problem.dim, magnification, rate, max(budgets))
            for name in TREATMENTS
        ]
        at_budgets = jnp.stack(paths)[:, jnp.array(budgets) - 1]
        return jnp.sum((at_budgets - problem.mean) ** 2, axis=-1)

    result = nce_jax.sweep(
        run, axes={"magnification": magnifications, "draw": draws}, max_lanes=lanes(draws)
    )
    errors = np.moveaxis(np.asarray(result.values), (-2, -1), (0, 1))
    return np.where(np.isfinite(errors), errors, np.inf)
