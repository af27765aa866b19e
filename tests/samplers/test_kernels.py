"""Kernels: blackjax's own numbers, and what is not finite is seen."""

import subprocess
import sys

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nce_jax import samplers

X = jnp.array([0.3, -1.2])


def quartic(x):
    return -jnp.sum(x**4) - 0.5 * jnp.sum(x**2) + x[0] * x[1]


@pytest.mark.parametrize("seed", range(3))
def test_mala_takes_the_steps_of_blackjax(x64, seed):
    key, x = jax.random.key(seed), X.astype(jnp.float64)
    reference = blackjax.mala(quartic, 0.2)
    expected, info = jax.jit(reference.step)(key, reference.init(x))
    kernel = samplers.mala(0.2)
    state, transition = jax.jit(lambda key, x: kernel.step(key, kernel.init(x, quartic), quartic))(
        key, x
    )
    np.testing.assert_allclose(state.position, expected.position, rtol=1e-12)
    np.testing.assert_allclose(transition.acceptance_rate, info.acceptance_rate, rtol=1e-10)


def test_hmc_takes_the_steps_of_blackjax(x64):
    key, x, mass = jax.random.key(0), X.astype(jnp.float64), np.array([[2.0, 0.3], [0.3, 0.5]])
    reference = blackjax.hmc(quartic, 0.2, jnp.asarray(mass), 4)
    expected, info = jax.jit(reference.step)(key, reference.init(x))
    kernel = samplers.hmc(0.2, 4, inverse_mass_matrix=mass)
    state, transition = jax.jit(lambda key, x: kernel.step(key, kernel.init(x, quartic), quartic))(
        key, x
    )
    np.testing.assert_allclose(state.position, expected.position, rtol=1e-12)
    np.testing.assert_allclose(transition.acceptance_rate, info.acceptance_rate, rtol=1e-12)


def test_langevin_is_its_formula():
    """With a step so small that the noise is known from its size: the drift is tau grad phi, the
    noise sqrt(2 tau) xi.
    """
    kernel = samplers.langevin(0.05)
    step = jax.jit(
        jax.vmap(lambda key: kernel.step(key, kernel.init(X, quartic), quartic)[0].position)
    )
    noise = (
        step(jax.random.split(jax.random.key(0), 4000)) - (X + 0.05 * jax.grad(quartic)(X))[None]
    ) / np.sqrt(0.1)
    # 8,000 standard normal numbers: mean and variance within 4 standard errors.
    assert abs(noise.mean()) < 4 / np.sqrt(8000)
    assert abs(noise.var() - 1) < 4 * np.sqrt(2 / 8000)


def nan_beyond_two(x):
    return jnp.where(jnp.max(jnp.abs(x)) > 2, jnp.nan, -0.5 * jnp.sum(x**2))


def zero_beyond_two(x):
    return jnp.where(jnp.max(jnp.abs(x)) > 2, -jnp.inf, -0.5 * jnp.sum(x**2))


def infinite_slope(x):
    return -jnp.sum(jnp.sqrt(jnp.abs(x)))


@pytest.mark.parametrize(
    "kernel", [samplers.mala(1e4), samplers.hmc(1e2, 1), samplers.langevin(1e4)]
)
@pytest.mark.parametrize(
    ("log_density_fn", "is_finite"),
    [(nan_beyond_two, False), (zero_beyond_two, True)],
    ids=["nan", "zero density"],
)
def test_a_proposal_that_is_not_finite_is_seen_and_a_zero_density_is_none(
    kernel, log_density_fn, is_finite
):
    """Steps of such a size surely leave the square; the Metropolis test refuses the move in both
    cases.
    """
    state, transition = kernel.step(
        jax.random.key(0), kernel.init(X, log_density_fn), log_density_fn
    )
    assert bool(transition.is_finite) is is_finite
    if kernel.is_adjusted:
        np.testing.assert_array_equal(state.position, X)
        assert transition.acceptance_rate == 0


def test_a_gradient_that_is_not_finite_is_seen():
    kernel = samplers.mala(0.1)
    state = kernel.init(jnp.zeros(2), infinite_slope)
    assert state.logdensity == 0
    assert not kernel.step(jax.random.key(0), state, infinite_slope)[1].is_finite


@pytest.mark.bad_input
def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="step_size: expected a finite positive number, got 0"):
        samplers.mala(0)
    with pytest.raises(ValueError, match="step_size: expected a finite positive number, got -1"):
        samplers.langevin(-1.0)
    with pytest.raises(TypeError, match="num_integration_steps: expected an integer, got 2.0"):
        samplers.hmc(0.1, 2.0)
    kernel = samplers.hmc(0.1, 2, inverse_mass_matrix=jnp.ones(3))
    with pytest.raises(
        ValueError,
        match=r"inverse_mass_matrix: expected shape \(2,\) or \(2, 2\), got shape \(3,\)",
    ):
        kernel.step(jax.random.key(0), kernel.init(X, quartic), quartic)


def test_without_blackjax_the_message_names_the_extra():
    code = "import sys; sys.modules['blackjax'] = None\nimport nce_jax.samplers"
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert process.returncode != 0
    assert "ImportError: nce_jax.samplers needs blackjax: pip install" in process.stderr
    assert "[samplers]'" in process.stderr


def test_gradient_ascent_is_langevin_without_noise():
    step = lambda kernel: kernel.step(jax.random.key(0), kernel.init(X, quartic), quartic)
    state, transition = step(samplers.gradient_ascent(0.05))
    np.testing.assert_allclose(state.position, X + 0.05 * jax.grad(quartic)(X), rtol=1e-6)
    np.testing.assert_allclose(state.logdensity, quartic(state.position), rtol=1e-6)
    np.testing.assert_allclose(state.logdensity_grad, jax.grad(quartic)(state.position), rtol=1e-5)
    assert transition.acceptance_rate == 1
    assert transition.is_finite
    assert not samplers.gradient_ascent(0.05).is_adjusted


def test_the_step_of_the_papers_is_tau_of_its_half_square():
    """With x + s^2 / 2 grad + s xi and s = 0.1: the drift and the noise of langevin(0.005)."""
    key = jax.random.key(0)
    drift = samplers.gradient_ascent(0.005)
    kernel = samplers.langevin(0.005)
    position = kernel.step(key, kernel.init(X, quartic), quartic)[0].position
    ascended = drift.step(key, drift.init(X, quartic), quartic)[0].position
    np.testing.assert_allclose(ascended - X, 0.1**2 / 2 * jax.grad(quartic)(X), rtol=1e-5)
    xi = (position - ascended) / 0.1
    longer = samplers.langevin(0.02)
    ascended = X + 0.02 * jax.grad(quartic)(X)
    position = longer.step(key, longer.init(X, quartic), quartic)[0].position
    np.testing.assert_allclose((position - ascended) / 0.2, xi, rtol=1e-4)


@pytest.mark.parametrize("make", [samplers.langevin, samplers.mala, samplers.gradient_ascent])
def test_chains_in_float32_stay_so_where_x64_is_on(make, x64):
    chains = samplers.sample_chains(
        jax.random.key(0),
        lambda x: -(x**2).sum(axis=-1),
        jnp.ones((4, 2), jnp.float32),
        kernel=make(0.1),
        num_steps=2,
    )
    assert chains.x.dtype == chains.log_density.dtype == jnp.float32


@pytest.mark.bad_input
@pytest.mark.parametrize(
    "matrix",
    [
        [1.0, -1.0],
        np.array([1.0, np.nan]),
        jnp.array([1.0, 0.0]),
        jnp.array([[1.0, 2.0], [2.0, 1.0]]),
        # Its chains would accept 0.96 of their moves, and have a correlation of 0.37 for N(0, I).
        jnp.array([[1.0, 0.8], [0.0, 1.0]]),
    ],
    ids=["negative", "nan", "zero", "indefinite", "asymmetric"],
)
def test_an_inverse_mass_matrix_is_symmetric_and_positive_definite(matrix):
    with pytest.raises(ValueError, match="^inverse_mass_matrix: expected positive numbers or a"):
        samplers.hmc(0.1, 3, inverse_mass_matrix=matrix)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_covariance_is_an_inverse_mass_matrix(dtype):
    """Also one with units of 1e-4 and 1e4, whose rounding is not symmetric."""
    draws = np.random.default_rng(0).normal(size=(50, 3)) @ np.diag([1e-4, 1.0, 1e4])
    covariance = np.cov(draws.T).astype(dtype)
    covariance[0, 2] *= 1 + 1e-6
    samplers.hmc(0.1, 3, inverse_mass_matrix=covariance)


@pytest.mark.bad_input
@pytest.mark.parametrize("make", [samplers.mala, samplers.langevin, samplers.gradient_ascent])
def test_a_step_size_is_one_number(make):
    with pytest.raises(ValueError, match=r"^step_size: expected one number, got shape \(2,\)"):
        make(jnp.array([0.1, 0.2]))
