"""A training run as a pure function of the axes, measured at log-spaced steps."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

import nce_jax
from experiments.sweep.arguments import Sweep
from experiments.sweep.problems import Point, Problem
from nce_jax import sweeps, training


def treatment(name: str, raised_rate: float) -> training.Treatment:
    """A treatment of F by its name on the command line."""
    return {
        "joint": training.joint_gradient,
        # Our loss is twice the paper's, so that its rate is halved.
        "raised": lambda: training.joint_gradient(optax.sgd(raised_rate / 2)),
        "bar": training.bar_step,
        "solved": lambda: training.solved(nce_jax.newton()),
    }[name]()


def recorded_steps(num_steps: int, num_records: int) -> np.ndarray:
    """Steps after which a run is measured: log-spaced, rounded, including the last."""
    return np.unique(np.geomspace(num_steps, 1, num_records).round().astype(np.int32))


def make_lane(problem: Problem, sweep: Sweep, name: str) -> Callable[..., dict[str, jax.Array]]:
    """Builds `lane(seed=..., magnification=..., ...)`, a run with one value per record.

    It returns the measures, F, and the mean loss since the previous record, (record,).
    """
    records = recorded_steps(sweep.num_steps, sweep.num_records)
    windows = jnp.stack([jnp.array([0, *records[:-1] + 1]), jnp.array(records + 1)], axis=-1)
    treatment_of_f = treatment(name, sweep.raised_rate)

    def lane(**point: jax.Array) -> dict[str, jax.Array]:
        key_model, key_data, key_noise = jax.random.split(jax.random.key(point["seed"]), 3)
        params, log_density_fn = problem.make_model(key_model)
        optimizer = problem.optimizer(point["learning_rate"])
        criterion = nce_jax.criteria.nce(
            magnification=point["magnification"], noise_ratio=point["noise_ratio"]
        )
        step = training.make_train_step(
            log_density_fn,
            problem.noise(point),
            optimizer,
            criterion=criterion,
            treatment=treatment_of_f,
        )

        def one_step(index, carry):
            state, _, _, loss = carry
            x_data = _draw(problem, sweep, point, jax.random.fold_in(key_data, index), index)
            new, metrics = step(state, x_data, key_noise)
            return new, state.params, metrics.log_partition, loss + metrics.loss

        def until_record(state, window):
            initial_carry = state, state.params, state.log_partition, jnp.zeros(())
            state, params, log_partition, loss = jax.lax.fori_loop(
                window[0], window[1], one_step, initial_carry
            )
            numbers = problem.measure(params, log_partition, point)
            return state, {
                **numbers,
                "log_partition": log_partition,
                "loss": loss / (window[1] - window[0]),
            }

        state = step.init(params, log_partition=problem.log_partition)
        return jax.lax.scan(until_record, state, windows)[1]

    return lane


def _draw(
    problem: Problem, sweep: Sweep, point: Point, key: jax.Array, index: jax.Array
) -> jax.Array:
    """A batch of data, computed once for all lanes of a seed if it is the same for all of them."""
    if "distance" in point:  # it shifts the data; a branch would prevent XLA from fusing the shift
        return problem.sample(key, sweep.batch_size, point)
    return sweeps.shared(lambda key: problem.sample(key, sweep.batch_size, point), key, step=index)
