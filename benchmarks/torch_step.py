"""A NCE training step of a small energy, ours against PyTorch's, on equal weights and batches."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import floors
from benchmarks.harness import Contender, measure
from benchmarks.peers import peer
from benchmarks.rows import Check, Report, compare
from nce_jax import models, noise, training

BATCH, STEPS, HIDDEN, SLOPE, RATE = 1000, 20, (128, 128), 0.2, 1e-3


class Problem(NamedTuple):
    """Start of both sides: weights by layer, data and noise samples, all float32."""

    params: Any
    log_density_fn: Any
    x_data: np.ndarray
    x_noise: np.ndarray


def run(quick: bool) -> Report:
    """The energy 2-128-128-1 at 1,000 + 1,000 samples, with F a parameter.

    The noise is N(0, I), and its density is computed in the step.
    """
    torch = peer("torch")
    with jax.enable_x64(False):
        problem = _problem()
        contenders = {
            "nce_jax": Contender(_ours(problem), STEPS),
            "PyTorch, eager": Contender(_torch(torch, problem), STEPS),
        }
        note = ""
        try:
            contenders["PyTorch, compiled"] = Contender(
                _torch(torch, problem, compiled=True), STEPS
            )
        except Exception as error:  # it needs a C++ compiler, whose absence raises various errors
            note = f"torch.compile does not run here: {type(error).__name__}"
        products = floors.products(*_program(problem), calls=STEPS)
        timed = measure(
            contenders | products.contenders,
            repetitions=5 if quick else 60,
            label="step against PyTorch",
        )
    rows = [
        compare(
            f"Train step 2-128-128-1, {name}",
            timed,
            ours="nce_jax",
            against=[name],
            check=Check("loss of the first step", lambda ours, theirs: abs(ours - theirs), 1e-5),
            at_least=1.3 if name == "PyTorch, eager" else None,
            unit="step",
            floor=products.floor,
        )
        for name in list(contenders)[1:]
    ]
    return Report(rows, {"note": note, "torch_threads": torch.get_num_threads()})


def _problem() -> Problem:
    params, log_density_fn = models.mlp_energy(
        jax.random.key(0), 2, hidden=HIDDEN, negative_slope=SLOPE
    )
    generator = np.random.default_rng(0)
    x_data, x_noise = generator.normal(size=(2, BATCH, 2)).astype(np.float32)
    return Problem(params, log_density_fn, x_data + 1, x_noise)


def _program(problem: Problem) -> tuple[Any, ...]:
    """Our step, and the arguments of its first call."""
    optimizer, treatment = optax.adam(RATE), training.joint_gradient()
    step = training.make_train_step(
        problem.log_density_fn, noise.standard_normal(2), optimizer, treatment=treatment
    )
    state = step.init(problem.params)
    return (
        step,
        state,
        training.Batch(jnp.asarray(problem.x_data), jnp.asarray(problem.x_noise)),
        jax.random.key(0),
    )


def _ours(problem: Problem) -> Callable[[], float]:
    step, state, batch, key = _program(problem)
    step = jax.jit(step, donate_argnums=0)
    state, metrics = step(state, batch, key)
    first = float(metrics.loss)

    def block() -> float:
        nonlocal state
        for _ in range(STEPS):
            state, _ = step(state, batch, key)
        jax.block_until_ready(state)
        return first

    return block


def _torch(torch: Any, problem: Problem, compiled: bool = False) -> Callable[[], float]:
    """PyTorch's fastest form: one forward pass of both sets, fused Adam, eager or compiled."""
    layers = [problem.params[name] for name in ("hidden_0", "hidden_1", "output")]
    weights = [
        torch.tensor(np.asarray(layer["kernel"]).T.copy(), requires_grad=True) for layer in layers
    ]
    biases = [torch.tensor(np.asarray(layer["bias"]), requires_grad=True) for layer in layers]
    log_partition = torch.zeros((), requires_grad=True)
    optimizer = torch.optim.Adam([*weights, *biases, log_partition], lr=RATE, eps=1e-8, fused=True)
    x = torch.tensor(np.concatenate([problem.x_data, problem.x_noise]))
    functional = torch.nn.functional

    def loss_fn(x: Any) -> Any:
        hidden = x
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            hidden = functional.leaky_relu(functional.linear(hidden, weight, bias), SLOPE)
        log_density = functional.linear(hidden, weights[-1], biases[-1])[:, 0]
        log_q = -0.5 * (x * x).sum(1) - np.log(2 * np.pi)
        u = log_density - log_q - log_partition
        return functional.softplus(-u[:BATCH]).mean() + functional.softplus(u[BATCH:]).mean()

    loss_fn = torch.compile(loss_fn) if compiled else loss_fn

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = loss_fn(x)
        loss.backward()
        optimizer.step()
        return loss

    first = float(step().detach())

    def block() -> float:
        for _ in range(STEPS):
            step()
        return first

    return block
