"""Cost of solving for F in a training step of the full ResNet-18 energy.

It is negligible compared with the network.
"""

from collections.abc import Callable
from typing import Any

import jax
import optax

from benchmarks import floors
from benchmarks.harness import measure
from benchmarks.rows import Check, Report, compare
from nce_jax import models, noise, training

SHAPE, BATCH = (28, 28, 1), 8
TREATMENTS = {
    "joint gradient": training.joint_gradient(),
    "joint gradient, again (noise floor)": training.joint_gradient(),
    "solved, Newton": training.solved(),
}


def run(quick: bool) -> Report:
    """Width 64, 28 x 28 images and 8 + 8 samples, where the solver weighs most."""
    with jax.enable_x64(False):
        params, log_ratio_fn = models.resnet18_energy(
            jax.random.key(0), SHAPE, width=4 if quick else 64
        )
        contenders = {
            name: _stepper(params, log_ratio_fn, treatment)
            for name, treatment in TREATMENTS.items()
        }
        products = floors.products(*_program(params, log_ratio_fn, training.joint_gradient()))
        timed = measure(
            contenders | products.contenders, repetitions=3 if quick else 20, label="ResNet-18 step"
        )
    return Report(
        [
            compare(
                f"ResNet-18 step, {name}",
                timed,
                ours=name,
                against=["joint gradient"],
                check=Check("status of the solve", lambda ours, theirs: float(ours), 0.5),
                at_most=1.02 if name.startswith("solved") else None,
                is_cost=True,
                unit="step",
                floor=products.floor,
            )
            for name in list(TREATMENTS)[1:]
        ]
    )


def _program(params, log_ratio_fn, treatment: training.Treatment) -> tuple[Any, ...]:
    """A step, and the arguments of its first call."""
    optimizer, dim = optax.adam(1e-5), SHAPE[0] * SHAPE[1]
    step = training.make_train_step(
        noise=noise.standard_normal(dim),
        optimizer=optimizer,
        log_ratio_fn=log_ratio_fn,
        treatment=treatment,
    )
    state = step.init(params)
    return step, state, 0.5 * jax.random.normal(jax.random.key(1), (BATCH, dim)), jax.random.key(2)


def _stepper(params, log_ratio_fn, treatment: training.Treatment) -> Callable[[], int]:
    step, state, x_data, key = _program(params, log_ratio_fn, treatment)
    step = jax.jit(step, donate_argnums=0)

    def advance() -> int:
        nonlocal state
        state, metrics = step(state, x_data, key)
        return int(metrics.status)

    return advance
