"""The profiled NCE loss: binary NCE at the root, differentiated to second order."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nce_jax
from tests import oracles
from tests.log_partition.cases import SOLVERS, gaussian_log_ratios, random_weights

profiled = jax.jit(nce_jax.profiled_nce_loss, static_argnames=("solver", "max_steps"))
gradient = jax.jit(jax.grad(nce_jax.profiled_nce_loss, argnums=(0, 1)))
KAPPAS = [1e-3, 1.0, 1e3]


@pytest.mark.parametrize("kappa", KAPPAS)
def test_profiled_loss_is_the_loss_at_the_root(kappa, x64):
    data, noise = gaussian_log_ratios()
    best = oracles.root(data, noise, kappa=kappa)
    expected = oracles.nce_loss(data, noise, log_partition=best, kappa=kappa)
    np.testing.assert_allclose(profiled(data, noise, magnification=kappa), expected, rtol=1e-13)


def test_profiled_loss_with_weights(x64):
    data, noise = gaussian_log_ratios()
    weights = {
        "weights_data": random_weights(data, 1, 3),
        "weights_noise": random_weights(noise, 2, 4),
    }
    best = oracles.root(data, noise, kappa=5, **weights)
    expected = oracles.nce_loss(data, noise, log_partition=best, kappa=5, **weights)
    np.testing.assert_allclose(
        profiled(data, noise, magnification=5.0, **weights), expected, rtol=1e-13
    )


def test_it_is_the_least_of_all_normalizers(x64):
    data, noise = gaussian_log_ratios()
    unprofiled = nce_jax.nce_loss(
        jnp.broadcast_to(data, (9, 40)),
        jnp.broadcast_to(noise, (9, 60)),
        log_partition=jnp.linspace(-3, 3, 9),
    )
    assert np.all(profiled(data, noise) <= unprofiled)


@pytest.mark.parametrize("kappa", KAPPAS)
def test_a_shift_of_all_log_ratios_changes_nothing(kappa, x64):
    data, noise = gaussian_log_ratios()
    shifted = profiled(data + 9.5, noise + 9.5, magnification=kappa)
    np.testing.assert_allclose(shifted, profiled(data, noise, magnification=kappa), rtol=1e-12)
    slopes = gradient(data, noise, magnification=kappa)
    np.testing.assert_allclose(slopes[0].sum() + slopes[1].sum(), 0, atol=1e-11 * min(1, kappa))


def test_large_kappa_is_donsker_varadhan(x64):
    """Profiled loss - log kappa - 1 -> -(E_data s - log E_noise e^s), with an error of order 1 /
    kappa.
    """
    data, noise = gaussian_log_ratios()
    limit = -(np.mean(data) - oracles.importance_log_partition(noise))
    errors = [
        abs(profiled(data, noise, magnification=kappa) - np.log(kappa) - 1 - limit)
        for kappa in (1e4, 1e5)
    ]
    np.testing.assert_allclose(errors[0] / errors[1], 10, rtol=0.05)
    assert errors[1] < 1e-3


def test_kappa_one_is_the_jensen_shannon_divergence(x64):
    """2 log 2 - L = KL(p* || m) + KL(q || m) at the optimum. p* = N(1, 1), q = N(0, 1), by
    quadrature on a grid.

    200,000 samples each, seed 3; the loss is a mean of bounded terms, its standard error below
    0.002: within 4 of them.
    """
    data, noise = gaussian_log_ratios(1.0, 200_000, 200_000, seed=3)
    x = np.linspace(-9, 10, 4001)
    p, q = (np.exp(-((x - mean) ** 2) / 2) / np.sqrt(2 * np.pi) for mean in (1, 0))
    expected = np.sum(p * np.log(2 * p / (p + q)) + q * np.log(2 * q / (p + q))) * (x[1] - x[0])
    np.testing.assert_allclose(2 * np.log(2) - profiled(data, noise), expected, atol=0.008)


def scaled_loss(theta, data, noise, kappa, stop=False):
    """A one-parameter model, s -> theta s + theta^2 / 10: its second derivative needs
    dF*/dtheta.
    """
    data, noise = (theta * side + theta**2 * jnp.sin(side) / 10 for side in (data, noise))
    if not stop:
        return nce_jax.profiled_nce_loss(data, noise, magnification=kappa)
    best = jax.lax.stop_gradient(
        nce_jax.solve_log_partition(data, noise, magnification=kappa).log_partition
    )
    return nce_jax.nce_loss(data, noise, log_partition=best, magnification=kappa)


@functools.partial(jax.jit, static_argnames="stop")
def derivatives(theta, data, noise, kappa, stop=False):
    first = jax.grad(scaled_loss)
    return first(theta, data, noise, kappa, stop), jax.grad(first)(theta, data, noise, kappa, stop)


@pytest.mark.costly
def test_second_derivative_needs_the_implicit_one(x64):
    """Against finite differences of the first; a stopped gradient has the same first derivative and
    another second.
    """
    data, noise = gaussian_log_ratios()
    theta, step = 0.7, 1e-5
    first, second = derivatives(theta, data, noise, 3.0)
    ends = [derivatives(theta + sign * step, data, noise, 3.0)[0] for sign in (1, -1)]
    np.testing.assert_allclose(second, (ends[0] - ends[1]) / (2 * step), rtol=1e-7)
    stopped_first, stopped_second = derivatives(theta, data, noise, 3.0, stop=True)
    np.testing.assert_allclose(stopped_first, first, rtol=1e-11)
    assert abs(stopped_second - second) > 0.05 * abs(second)


def test_first_derivative_is_a_finite_difference_of_the_reference(x64):
    data, noise = gaussian_log_ratios(1.0, 4, 5)
    slopes, step = gradient(data, noise, magnification=3.0), 1e-5

    def reference(data, noise):
        best = oracles.root(data, noise, kappa=3)
        return oracles.nce_loss(data, noise, log_partition=best, kappa=3)

    for k, row in enumerate(step * np.eye(4)):
        expected = (reference(data + row, noise) - reference(data - row, noise)) / (2 * step)
        np.testing.assert_allclose(slopes[0][k], expected, rtol=1e-7)
    for k, row in enumerate(step * np.eye(5)):
        expected = (reference(data, noise + row) - reference(data, noise - row)) / (2 * step)
        np.testing.assert_allclose(slopes[1][k], expected, rtol=1e-7)


def test_one_compilation_for_every_magnification():
    data, noise = gaussian_log_ratios(dtype=np.float32)
    traced = jax.jit(
        chex.assert_max_traces(
            lambda m: nce_jax.profiled_nce_loss(data, noise, magnification=m), n=1
        )
    )
    assert len({float(traced(10.0**k)) for k in range(4)}) == 4


@pytest.mark.costly
@pytest.mark.parametrize("padding", [np.nan, np.inf])
def test_padding_reaches_neither_value_nor_gradient(padding):
    data, noise = gaussian_log_ratios(dtype=np.float32)
    weights = {
        "weights_data": random_weights(data, num_zeros=4),
        "weights_noise": random_weights(noise, num_zeros=4),
    }
    hidden = data.at[:4].set(padding), noise.at[:4].set(padding)
    kept_weights = {name: values[4:] for name, values in weights.items()}
    for actual, expected in zip(
        gradient(*hidden, **weights), gradient(data[4:], noise[4:], **kept_weights), strict=True
    ):
        np.testing.assert_array_equal(actual[:4], 0)
        np.testing.assert_allclose(actual[4:], expected, rtol=1e-4, atol=1e-7)


def test_a_failed_lane_is_nan_and_leaves_its_neighbors_untouched():
    lanes = [gaussian_log_ratios(seed=seed, dtype=np.float32) for seed in range(3)]
    data, noise = (jnp.stack(side) for side in zip(*lanes, strict=True))
    batched = jax.jit(jax.vmap(jax.value_and_grad(nce_jax.profiled_nce_loss)))
    clean, dirty = batched(data, noise), batched(data.at[1, 0].set(np.nan), noise)
    np.testing.assert_array_equal(np.isnan(dirty[0]), [False, True, False])
    for actual, expected in zip(dirty, clean, strict=True):
        np.testing.assert_array_equal(actual[::2], expected[::2])


def test_an_unfinished_solve_is_not_a_loss():
    data, noise = gaussian_log_ratios(dtype=np.float32)
    assert np.isnan(profiled(data, noise, solver=SOLVERS["bisection"], max_steps=2))


@pytest.mark.parametrize("size", [1e4, 1e6])
def test_finite_at_extreme_log_ratios(size, float_dtype):
    for data, noise in ((size, -size), (-size, size)):
        sides = jnp.array([data, data + 1], float_dtype), jnp.array([noise, noise - 1], float_dtype)
        assert np.isfinite(profiled(*sides))
        assert all(np.all(np.isfinite(slope)) for slope in gradient(*sides))
