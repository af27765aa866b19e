"""Energies that compute in bfloat16: their loss and gradient against float32, and the time."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import nce_jax
from benchmarks.device_check.parts import Size
from benchmarks.device_check.timing import measure_warm
from benchmarks.rows import Check, Report, Row, compare
from nce_jax import models, noise

# A number of eight bits is off by up to 2^-9 of itself; a dozen layers in both directions add up to
# a few hundredths of the gradient.
TOLERANCE = 0.1
HIDDEN, DIM = {"full": (1_024, 1_024, 1_024), "small": (32, 32)}, {"full": 256, "small": 8}
IMAGE = (28, 28, 1)
BATCH = {"full": {"perceptron": 8_192, "ResNet-18": 256}, "small": {"perceptron": 64}}


def run(size: Size) -> Report:
    """A wide perceptron and, in full, the ResNet-18 of the MNIST experiment."""
    with jax.enable_x64(False):
        rows, details = zip(*(_race(name, size) for name in BATCH[size]), strict=True)
    return Report(rows, dict(zip(BATCH[size], details, strict=True)))


def _model(name: str, size: Size, dtype: Any) -> tuple[Any, Callable[..., jax.Array], int]:
    """Parameters, log ratio to the standard normal, and dimension; the same at any dtype."""
    key = jax.random.key(0)
    if name == "ResNet-18":
        params, log_ratio_fn = models.resnet18_energy(key, IMAGE, compute_dtype=dtype)
        return params, log_ratio_fn, int(np.prod(IMAGE))
    params, log_density_fn = models.mlp_energy(
        key, DIM[size], hidden=HIDDEN[size], compute_dtype=dtype
    )
    return params, log_density_fn, DIM[size]


def _race(name: str, size: Size) -> tuple[Row, dict[str, float]]:
    programs = {}
    for dtype in ("float32", "bfloat16"):
        params, log_ratio_fn, dim = _model(name, size, None if dtype == "float32" else jnp.bfloat16)
        x_noise, shift = noise.standard_normal(dim).sample(
            seed=jax.random.key(1), sample_shape=(2, BATCH[size][name])
        )
        loss = functools.partial(_loss, log_ratio_fn)
        programs[dtype] = functools.partial(
            jax.jit(jax.value_and_grad(loss)), params, 0.5 * shift + 0.5, x_noise
        )
    timed = measure_warm(programs, size, repetitions=9, label=f"bfloat16, {name}")
    row = compare(
        f"{name}, loss and gradient, batch {BATCH[size][name]:,}",
        timed,
        ours="bfloat16",
        against=["float32"],
        check=Check("error of the gradient, relative", _gradient_error, TOLERANCE, is_contest=True),
    )
    losses = {dtype: float(timed[dtype].value[0]) for dtype in programs}
    return row, {f"loss in {dtype}": value for dtype, value in losses.items()}


def _loss(log_ratio_fn: Callable[..., jax.Array], params: Any, *x: jax.Array) -> jax.Array:
    """NCE's loss at F = 0, where the gradient is that of the energy alone."""
    return nce_jax.nce_loss(*(log_ratio_fn(params, side).astype(jnp.float32) for side in x))


def _gradient_error(ours: Any, exact: Any) -> float:
    """Norm of the difference of all derivatives over their norm."""
    pairs = zip(jax.tree.leaves(ours[1]), jax.tree.leaves(exact[1]), strict=True)
    both = [[np.asarray(leaf, np.float64).ravel() for leaf in pair] for pair in pairs]
    mine, theirs = (np.concatenate(side) for side in zip(*both, strict=True))
    return float(np.linalg.norm(mine - theirs) / np.linalg.norm(theirs))
