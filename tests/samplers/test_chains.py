"""Chains against the moments of a Gaussian, their bookkeeping, and the tuning of the step size."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nce_jax import samplers

MEAN, COVARIANCE = np.array([1.0, -2.0]), np.array([[1.0, 0.6], [0.6, 0.8]])
PRECISION = np.linalg.inv(COVARIANCE)


def gaussian(x):
    centered = x - jnp.asarray(MEAN, x.dtype)[None]
    return -0.5 * jnp.sum(centered * (centered @ jnp.asarray(PRECISION, x.dtype)), axis=-1)


@functools.partial(jax.jit, static_argnames=("make", "num_steps", "keep_every"))
def run(key, x_initial, step_size, make=samplers.mala, num_steps=60, keep_every=None):
    kernel = make(step_size)
    return samplers.sample_chains(
        key, gaussian, x_initial, kernel=kernel, num_steps=num_steps, keep_every=keep_every
    )


def hmc_of_five(step_size):
    return samplers.hmc(step_size, 5)


def spheres(step_size):
    return samplers.hmc(step_size, 3, inverse_mass_matrix=COVARIANCE)


@pytest.mark.costly
@pytest.mark.parametrize(
    ("make", "step_size"), [(samplers.mala, 0.3), (hmc_of_five, 0.3), (spheres, 0.6)]
)
def test_adjusted_chains_have_the_moments_of_a_correlated_gaussian(make, step_size):
    """4,000 independent chains, seed 1, from a start outside: mean and covariance within 4 standard
    errors.
    """
    chains = run(jax.random.key(1), jnp.zeros((4000, 2)), step_size, make=make)
    x = np.asarray(chains.x, np.float64)
    assert (np.abs(x.mean(0) - MEAN) < 4 * np.sqrt(np.diag(COVARIANCE) / 4000)).all()
    variance_of_covariance = (
        COVARIANCE**2 + np.outer(np.diag(COVARIANCE), np.diag(COVARIANCE))
    ) / 4000
    assert (np.abs(np.cov(x.T) - COVARIANCE) < 4 * np.sqrt(variance_of_covariance)).all()
    assert 0.5 < chains.acceptance_rate.mean() < 0.999
    np.testing.assert_array_equal(chains.num_nonfinite, 0)
    np.testing.assert_allclose(chains.log_density, gaussian(chains.x), rtol=1e-4, atol=1e-5)


def test_unadjusted_chains_have_the_moments_of_their_own_law():
    """x' = (I - tau P) x + sqrt(2 tau) xi: covariance (P (I - tau P / 2))^-1, and not the target's;
    4,000 chains, seed 2.
    """
    tau = 0.2
    chains = run(jax.random.key(2), jnp.zeros((4000, 2)), tau, make=samplers.langevin)
    covariance = np.linalg.inv(PRECISION @ (np.eye(2) - tau * PRECISION / 2))
    error = np.sqrt((covariance**2 + np.outer(np.diag(covariance), np.diag(covariance))) / 4000)
    sample_covariance = np.cov(np.asarray(chains.x, np.float64).T)
    assert (np.abs(sample_covariance - covariance) < 4 * error).all()
    assert (np.abs(sample_covariance - COVARIANCE) > 4 * error).any()
    np.testing.assert_array_equal(chains.acceptance_rate, 1)


def test_a_trajectory_ends_where_the_chains_do_and_has_chains_first():
    x_initial = jnp.zeros((3, 2))
    chains = run(jax.random.key(0), x_initial, 0.3, num_steps=12, keep_every=4)
    assert chains.trajectory.shape == (3, 3, 2)
    np.testing.assert_array_equal(chains.trajectory[:, -1], chains.x)
    shorter = run(jax.random.key(0), x_initial, 0.3, num_steps=4, keep_every=4)
    np.testing.assert_array_equal(chains.trajectory[:, 0], shorter.x)
    assert not np.allclose(chains.trajectory[:, 0], chains.trajectory[:, 1])
    assert shorter.trajectory.shape == (3, 1, 2)
    assert run(jax.random.key(0), x_initial, 0.3, num_steps=4).trajectory is None


@pytest.mark.costly
def test_positions_of_any_shape_move_as_flat_ones_do():
    """An image-shaped position and its flattened twin take the same steps with the same key."""

    def log_density_fn(x):
        return -0.5 * jnp.sum(x.reshape(x.shape[0], -1) ** 2, axis=-1)

    x_initial = jax.random.normal(jax.random.key(3), (4, 2, 3, 1))
    sample = functools.partial(samplers.sample_chains, kernel=samplers.mala(0.4), num_steps=5)
    chains = sample(jax.random.key(4), log_density_fn, x_initial)
    flat = sample(jax.random.key(4), log_density_fn, x_initial.reshape(4, 6))
    assert chains.x.shape == (4, 2, 3, 1)
    np.testing.assert_allclose(chains.x.reshape(4, 6), flat.x, rtol=1e-5, atol=1e-6)
    assert not np.allclose(chains.x, x_initial)


def test_chains_do_not_depend_on_each_other_nor_repeat_each_other():
    x_initial = jnp.zeros((3, 2))
    chains = run(jax.random.key(5), x_initial, 0.3, num_steps=4)
    other = run(jax.random.key(5), x_initial.at[2].set(7.0), 0.3, num_steps=4)
    np.testing.assert_array_equal(chains.x[:2], other.x[:2])
    assert not np.allclose(chains.x[0], chains.x[1])


@pytest.mark.parametrize("make", [samplers.mala, samplers.langevin])
def test_chains_that_meet_nan_are_counted(make):
    """One chain starts in the NaN, one can step into it and one is far from it."""

    def log_density_fn(x):
        return -jnp.sqrt(4 - x[:, 0] ** 2)  # beyond 2 both the value and the gradient are NaN

    x_initial = jnp.array([[9.0], [1.99], [0.0]])
    kernel = make(1e-3)
    chains = samplers.sample_chains(
        jax.random.key(0), log_density_fn, x_initial, kernel=kernel, num_steps=50
    )
    assert chains.num_nonfinite.dtype == jnp.int32
    assert chains.num_nonfinite[0] == 50
    assert 0 < chains.num_nonfinite[1] <= 50
    assert chains.num_nonfinite[2] == 0
    assert np.isnan(chains.log_density[0])
    assert np.isfinite(chains.x[2]).all()
    # The Metropolis test keeps a chain out of the NaN; without one the chain is lost, and says so.
    assert np.isfinite(chains.log_density[1]) == kernel.is_adjusted


@pytest.mark.costly
@pytest.mark.parametrize(("make", "target"), [(samplers.mala, 0.6), (hmc_of_five, 0.8)])
def test_tuning_finds_the_acceptance_asked_for(make, target):
    """From a step 100 times too small or too large, seed 6; then 200 chains of 40 steps show the
    rate within 0.05.
    """
    x_initial = MEAN + np.random.default_rng(0).multivariate_normal(
        np.zeros(2), COVARIANCE, size=200
    )
    x_initial = jnp.asarray(x_initial, jnp.float32)

    @jax.jit
    def tune(step_size):
        return samplers.adapt_step_size(
            jax.random.key(6), gaussian, x_initial,
            kernel_fn=make, step_size=step_size, num_steps=200, target_acceptance=target,
        )  # fmt: skip

    tuned = [tune(step_size) for step_size in (0.005, 50.0)]
    for result in tuned:
        chains = run(jax.random.key(7), result.x, result.step_size, make=make, num_steps=40)
        assert abs(chains.acceptance_rate.mean() - target) < 0.05
        assert result.acceptance_rate.shape == (200,)
    np.testing.assert_allclose(tuned[0].step_size, tuned[1].step_size, rtol=0.15)


@pytest.mark.costly
def test_float64_stays_float64(x64):
    chains = run(jax.random.key(0), jnp.zeros((2, 2)), 0.3, num_steps=3)
    assert chains.x.dtype == chains.acceptance_rate.dtype == jnp.float64
    chains = run(jax.random.key(0), jnp.zeros((2, 2), jnp.float32), 0.3, num_steps=3)
    assert chains.x.dtype == chains.acceptance_rate.dtype == jnp.float32


@pytest.mark.parametrize("make", [samplers.langevin, samplers.mala])
def test_a_log_density_in_bfloat16_is_counted_in_float32(make):
    """A sum of ones in bfloat16 ends at 256."""
    chains = samplers.sample_chains(
        jax.random.key(0), lambda x: gaussian(x).astype(jnp.bfloat16), jnp.zeros((3, 2)),
        kernel=make(1e-4), num_steps=400,
    )  # fmt: skip
    assert chains.log_density.dtype == chains.acceptance_rate.dtype == jnp.float32
    assert (chains.acceptance_rate > 0.9).all()


@pytest.mark.costly
@pytest.mark.parametrize("dtypes", [("float64", "float32"), ("float32", "float64")])
@pytest.mark.parametrize("make", [samplers.langevin, samplers.mala, hmc_of_five])
def test_positions_and_log_density_may_differ_in_dtype(make, dtypes, x64):
    chains = samplers.sample_chains(
        jax.random.key(0), lambda x: gaussian(x).astype(dtypes[1]), jnp.zeros((3, 2), dtypes[0]),
        kernel=make(0.1), num_steps=2,
    )  # fmt: skip
    assert chains.x.dtype == dtypes[0]
    assert chains.log_density.dtype == chains.acceptance_rate.dtype == jnp.float64


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize(
    "kernel",
    [
        samplers.langevin(0.05),
        samplers.mala(0.05),
        samplers.hmc(0.3, 2, inverse_mass_matrix=jnp.array([[1.0, 0.2], [0.2, 1.0]])),
    ],
    ids=["langevin", "mala", "hmc"],
)
def test_chains_of_half_precision_have_the_mean_of_their_density(kernel, dtype):
    """N(0, I) within k = 4 standard errors (seed 0): normal numbers of bfloat16 have a mean of
    -0.01, which would move Langevin's by 0.07. The numbers of float16 move it by 0.01.
    """
    num_chains = 40_000
    start = jax.random.normal(jax.random.key(1), (num_chains, 2)).astype(dtype)
    chains = samplers.sample_chains(
        jax.random.key(0), lambda x: -0.5 * jnp.sum(x**2, axis=-1), start, kernel=kernel,
        num_steps=60,
    )  # fmt: skip
    assert chains.x.dtype == jnp.float32
    assert abs(chains.x.mean(axis=0)).max() < 4 / num_chains**0.5


def test_a_step_size_is_tuned_for_positions_in_bfloat16():
    """The mean of the acceptance over 200 steps has more digits than bfloat16."""
    tuned = samplers.adapt_step_size(
        jax.random.key(0), gaussian, jnp.zeros((50, 2), jnp.bfloat16),
        kernel_fn=samplers.mala, step_size=0.1, num_steps=200,
    )  # fmt: skip
    assert tuned.step_size.dtype == jnp.float32
    assert 0.4 < tuned.acceptance_rate[100:].mean() < 0.8


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"key": 0}, TypeError, "key: expected a typed key.*got int"),
        (
            {"key": jax.random.split(jax.random.key(0))},
            ValueError,
            r"key: expected a single key, got shape \(2,\)",
        ),
        (
            {"x_initial": jnp.zeros((3, 2), int)},
            TypeError,
            "x_initial: expected a floating array, got dtype int32",
        ),
        (
            {"x_initial": jnp.zeros((0, 2))},
            ValueError,
            r"x_initial: expected shape \(chains, \.\.\.\).*\(0, 2\)",
        ),
        ({"num_steps": 0}, ValueError, "num_steps: expected at least 1, got 0"),
        ({"keep_every": 3}, ValueError, "keep_every: expected a divisor of num_steps = 10, got 3"),
        (
            {"log_density_fn": jnp.sum},
            ValueError,
            r"log_density_fn: expected one value per sample, shape \(3,\)",
        ),
        (
            {"x_initial": jnp.zeros(2), "log_density_fn": lambda x: -0.5 * jnp.sum(x**2, axis=-1)},
            ValueError,
            r"x_initial: expected positions of shape \(chains, \.\.\.\), got shape \(2,\), .*;"
            r" x_initial\[None\] is one chain",
        ),
        (
            {"x_initial": jnp.zeros(2), "log_density_fn": jnp.sum},
            ValueError,
            r"log_density_fn: expected one value per sample, shape \(2,\), got shape \(\)",
        ),
        (
            {"log_density_fn": lambda params, x: gaussian(x - params)},
            TypeError,
            r"log_density_fn: expected a function of positions alone, got the function <lambda>"
            r" with parameters \(params, x\); lambda x: log_density_fn\(params, x\) fixes",
        ),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    options = {
        "key": jax.random.key(0),
        "log_density_fn": gaussian,
        "x_initial": jnp.zeros((3, 2)),
    } | arguments
    options = {"kernel": samplers.mala(0.1), "num_steps": 10} | options
    with pytest.raises(error, match=message):
        samplers.sample_chains(
            options.pop("key"), options.pop("log_density_fn"), options.pop("x_initial"), **options
        )


@pytest.mark.bad_input
def test_tuning_refuses_what_it_cannot_tune():
    tune = functools.partial(
        samplers.adapt_step_size, jax.random.key(0), gaussian, jnp.zeros((3, 2)), num_steps=5
    )
    with pytest.raises(ValueError, match="kernel_fn: expected kernels with a Metropolis test"):
        tune(kernel_fn=samplers.langevin, step_size=0.1)
    with pytest.raises(
        ValueError, match="target_acceptance: expected a number between 0 and 1, got 1"
    ):
        tune(kernel_fn=samplers.mala, step_size=0.1, target_acceptance=1.0)
    with pytest.raises(ValueError, match="step_size: expected a finite positive number, got 0"):
        tune(kernel_fn=samplers.mala, step_size=0.0)
