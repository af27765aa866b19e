"""Problems to solve, and the compiled solve that the tests share."""

import jax
import jax.numpy as jnp
import numpy as np

import nce_jax

SOLVERS = {
    "newton": nce_jax.newton(),
    "bisection": nce_jax.bisection(),
    "fixed_point": nce_jax.fixed_point(),
}

_compiled = jax.jit(nce_jax.solve_log_partition, static_argnames=("solver", "max_steps"))


def solve(data, noise, *, magnification=1.0, noise_ratio=1.0, **options) -> nce_jax.Solution:
    """`solve_log_partition`, compiled once per shape and solver: kappa is an array always. Eagerly
    every call compiles.
    """
    kappa = {"magnification": magnification, "noise_ratio": noise_ratio}
    dtype = jnp.promote_types(jnp.result_type(data, noise), jnp.float32)
    return _compiled(
        data, noise, **{name: jnp.asarray(value, dtype) for name, value in kappa.items()}, **options
    )


_compiled_estimate = jax.jit(
    nce_jax.diagnostics.estimate_log_partition, static_argnames="block_size"
)
_compiled_standard_error = jax.jit(
    nce_jax.log_partition_standard_error, static_argnames="block_size"
)


def standard_error(data, noise, *, magnification=1.0, **options):
    """The error of F; where F is not handed in it is finite, however few samples are behind it."""
    magnification = jnp.asarray(magnification, data.dtype)
    if "log_partition" in options:
        return _compiled_standard_error(data, noise, magnification=magnification, **options)
    return _compiled_estimate(data, noise, magnification=magnification, **options).standard_error


def gaussian_log_ratios(
    separation=1.5, num_data=40, num_noise=60, *, offset=0.0, seed=0, dtype=np.float64
):
    """s of samples of N(separation, 1) and of N(0, 1), for the model N(separation, 1) with log
    partition `offset`.
    """
    generator = np.random.default_rng(seed)
    x_data, x_noise = separation + generator.normal(size=num_data), generator.normal(size=num_noise)
    data, noise = (separation * x - separation**2 / 2 + offset for x in (x_data, x_noise))
    return jnp.asarray(data, dtype), jnp.asarray(noise, dtype)


def random_weights(values, seed=0, num_zeros=0):
    """Positive weights, the first few of them zero."""
    weights = np.random.default_rng(seed).uniform(0.1, 3, size=values.shape)
    weights[..., :num_zeros] = 0
    return jnp.asarray(weights, values.dtype)


def solve_tolerance(dtype, log_partition=0.0) -> float:
    """What a solve promises by default: eps^(3/4) nats, plus a few units in the last place of F."""
    eps = float(jnp.finfo(dtype).eps)
    return eps**0.75 + 4 * eps * float(np.max(np.abs(log_partition)))


def status_names(solution) -> list[str]:
    return [nce_jax.Status(int(status)).name for status in np.ravel(solution.status)]
