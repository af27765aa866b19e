"""Cost of the treatments of F in a training step, relative to the joint gradient."""

from collections.abc import Callable
from typing import Any, NamedTuple

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.optimize import brentq
from scipy.special import expit

import nce_jax
from benchmarks import floors
from benchmarks.harness import Contender, measure
from benchmarks.rows import Check, Report, compare
from nce_jax import models, training

BATCH, LARGE, STEPS = 512, 8_192, 20
TREATMENTS = {
    "joint gradient": training.joint_gradient(),
    "joint gradient, again (noise floor)": training.joint_gradient(),
    "one BAR step": training.bar_step(),
    "solved, Newton": training.solved(),
    "solved, bisection": training.solved(nce_jax.bisection()),
    "solved, 4 fixed steps": training.solved(fixed_steps=4),
}
AT_LARGE = ("joint gradient", "solved, Newton", "solved, 4 fixed steps")
TARGETS = {"one BAR step": 1.05, "solved, Newton": 1.10}


class Run(NamedTuple):
    """Results of a block of steps: the last metrics, and the first F with its expected value."""

    metrics: training.Metrics
    first: float
    expected: float


def eight_gaussians(key: jax.Array, size: int) -> jax.Array:
    """A ring of radius 2 with eight modes of standard deviation 0.2."""
    key_mode, key_spread = jax.random.split(key)
    angle = jnp.pi / 4 * jax.random.randint(key_mode, (size,), 0, 8)
    return 2 * jnp.stack([jnp.cos(angle), jnp.sin(angle)], -1) + 0.2 * jax.random.normal(
        key_spread, (size, 2)
    )


def run(quick: bool) -> Report:
    """Every treatment continues training during the measurement.

    Its noise is fresh, and its batches are cycled.
    """
    with jax.enable_x64(False):
        small = _race(tuple(TREATMENTS), BATCH, repetitions=10 if quick else 120)
        large = _race(AT_LARGE, LARGE, repetitions=3 if quick else 25)
    return Report([*small.rows, *large.rows], small.details)


def _race(names: tuple[str, ...], batch_size: int, repetitions: int) -> Report:
    contenders = {name: Contender(_trainer(TREATMENTS[name], batch_size), STEPS) for name in names}
    products = floors.products(*_program(TREATMENTS["joint gradient"], batch_size), calls=STEPS)
    timed = measure(
        contenders | products.contenders,
        repetitions=repetitions,
        label=f"train step, batch {batch_size:,}",
    )
    of_batch = "" if batch_size == BATCH else f", batch {batch_size:,}"
    rows = [
        compare(
            f"Train step{of_batch}, {name}",
            timed,
            ours=name,
            against=["joint gradient"],
            check=Check("F of the first step, from a root found in float64", _difference, 2e-5),
            at_most=TARGETS.get(name) if batch_size == BATCH else None,
            is_cost=True,
            unit="step",
            floor=products.floor,
        )
        for name in names[1:]
    ]
    return Report(
        rows,
        {"solver_steps": {name: int(timed[name].value.metrics.num_evaluations) for name in names}},
    )


def _program(treatment: training.Treatment, batch_size: int) -> tuple[Any, ...]:
    """A step with arguments for it; its products are the same for every treatment."""
    noise = distrax.MultivariateNormalDiag(jnp.zeros(2), jnp.full(2, jnp.sqrt(2.0)))
    params, log_density_fn = models.mlp_energy(jax.random.key(1), 2, hidden=(128, 64))
    step = training.make_train_step(log_density_fn, noise, optax.adam(1e-3), treatment=treatment)
    state = step.init(params)
    return step, state, jnp.zeros((batch_size, 2)), jax.random.key(2)


def _trainer(treatment: training.Treatment, batch_size: int) -> Callable[[], Run]:
    """`STEPS` steps of one run, dispatched in sequence as in a training loop."""
    noise = distrax.MultivariateNormalDiag(jnp.zeros(2), jnp.full(2, jnp.sqrt(2.0)))
    params, log_density_fn = models.mlp_energy(jax.random.key(1), 2, hidden=(128, 64))
    optimizer = optax.adam(1e-3)
    train = training.make_train_step(log_density_fn, noise, optimizer, treatment=treatment)
    step = jax.jit(train, donate_argnums=0)
    key = jax.random.key(2)
    batches = list(
        eight_gaussians(jax.random.key(0), STEPS * batch_size).reshape(STEPS, batch_size, 2)
    )
    assert batches[0].dtype == jnp.float32

    def log_ratio(x: jax.Array) -> np.ndarray:
        return np.asarray(log_density_fn(params, x) - noise.log_prob(x), np.float64)

    x_noise = noise.sample(seed=jax.random.fold_in(key, 0), sample_shape=(batch_size,))
    expected = _expected(treatment.name, log_ratio(batches[0]), log_ratio(x_noise))
    state = train.init(params)
    state, metrics = step(state, batches[0], key)
    first = float(state.log_partition if treatment.name == "bar_step" else metrics.log_partition)

    def block() -> Run:
        nonlocal state, metrics
        for batch in batches:
            state, metrics = step(state, batch, key)
        jax.block_until_ready(state)
        return Run(metrics, first, expected)

    return block


def _expected(treatment: str, s_data: np.ndarray, s_noise: np.ndarray) -> float:
    """Expected F of the first step, from F = 0 and kappa = 1, by treatment."""
    if treatment == "joint_gradient":
        return 0.0
    if treatment == "bar_step":
        return float(np.log(expit(s_noise).mean()) - np.log(expit(-s_data).mean()))
    return float(
        brentq(lambda f: expit(f - s_data).mean() - expit(s_noise - f).mean(), -50, 50, xtol=1e-12)
    )


def _difference(ours: Run, _: Any) -> float:
    if int(ours.metrics.status) != nce_jax.Status.CONVERGED:
        return float("nan")
    return abs(ours.first - ours.expected)
