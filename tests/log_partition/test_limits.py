"""Limits and closed forms of F*(kappa): extreme kappa, Gaussians where the answer is known, the
bracket.
"""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import scipy.special
import scipy.stats

from tests.log_partition.cases import gaussian_log_ratios, solve, standard_error
from tests.oracles import log_sum_exp, root

# p* = N(2, 1), q = N(0, 1), phi(x) - log q(x) = x: a model of true log Z 1/2 that is not the
# data's. By quadrature:
MISFIT = {1e-3: 1.50, 1.0: 1.00, 100.0: 0.54, 1e4: 0.502}


def test_kappa_to_infinity_is_importance_sampling(x64):
    data, noise = gaussian_log_ratios()
    expected = log_sum_exp(noise) - np.log(noise.size)
    error = [
        abs(solve(data, noise, magnification=kappa).log_partition - expected)
        for kappa in (1e4, 1e5, 1e6)
    ]
    np.testing.assert_allclose(error[0] / error[1], 10, rtol=0.01)  # of order 1 / kappa
    assert error[2] < 1e-5


def test_kappa_to_zero_is_reverse_importance_sampling(x64):
    data, noise = gaussian_log_ratios()
    expected = -(log_sum_exp(-data) - np.log(data.size))
    error = [
        abs(solve(data, noise, magnification=kappa).log_partition - expected)
        for kappa in (1e-4, 1e-5, 1e-6)
    ]
    np.testing.assert_allclose(error[0] / error[1], 10, rtol=0.01)
    assert error[2] < 1e-5


def population_root(kappa: float) -> float:
    """E_p[sigma(log kappa - s + F)] = kappa E_q[sigma(s - F - log kappa)] by quadrature."""

    def balance(log_partition: float) -> float:
        def integrand(x):
            u = x - log_partition - np.log(kappa)
            return scipy.stats.norm.pdf(x, 2) * scipy.special.expit(
                -u
            ) - kappa * scipy.stats.norm.pdf(x) * scipy.special.expit(u)

        return scipy.integrate.quad(integrand, -12, 14, epsabs=1e-13, limit=400)[0]

    return scipy.optimize.brentq(balance, -3, 5, xtol=1e-12)


@pytest.mark.parametrize("kappa", MISFIT)
def test_profiled_normalizer_of_a_misfit_is_not_log_z(kappa, x64):
    """The solve on 200,000 + 200,000 samples (seed 0) is within 4 standard errors of quadrature,
    and that of the numbers.
    """
    expected = population_root(kappa)
    np.testing.assert_allclose(expected, MISFIT[kappa], atol=0.006)
    generator = np.random.default_rng(0)
    data = jnp.asarray(2 + generator.normal(size=200_000))
    noise = jnp.asarray(generator.normal(size=200_000))
    log_partition = solve(data, noise, magnification=kappa).log_partition
    error = standard_error(data, noise, log_partition=log_partition, magnification=kappa)
    assert abs(log_partition - expected) < 4 * error
    assert error < 0.02


@pytest.mark.parametrize("kappa", [0.01, 1.0, 100.0])
def test_a_model_that_fits_gives_log_z_at_every_kappa(kappa, x64):
    """Model = data = N(1.5, 1) with log Z 3: within 4 standard errors, 50,000 samples each, seed
    1.
    """
    data, noise = gaussian_log_ratios(1.5, 50_000, 50_000, offset=3.0, seed=1)
    log_partition = solve(data, noise, magnification=kappa).log_partition
    error = standard_error(data, noise, log_partition=log_partition, magnification=kappa)
    assert abs(log_partition - 3) < 4 * error
    assert error < 0.05


def test_equal_samples_have_their_common_value(float_dtype):
    constant = jnp.full((7,), 3.25, float_dtype)
    solution = solve(constant, constant[:4], magnification=1.0)
    np.testing.assert_allclose(solution.log_partition, 3.25, rtol=0, atol=1e-6)


def test_two_samples_have_their_mean(x64):
    """One of each at kappa = 1: sigma(F - a) = sigma(b - F), so F = (a + b) / 2, in either order
    and at any distance.
    """
    for a, b in ((1.0, 0.0), (0.0, 1.0), (500.0, -300.0), (-300.0, 500.0)):
        solution = solve(jnp.array([a]), jnp.array([b]))
        np.testing.assert_allclose(solution.log_partition, (a + b) / 2, rtol=1e-15, atol=1e-12)


def test_the_root_lies_between_the_extreme_log_ratios():
    """For every kappa; 300 random problems, the reference's root, which is sought in a wider
    interval.
    """
    generator = np.random.default_rng(0)
    for _ in range(300):
        data, noise = (
            generator.normal(
                generator.uniform(-20, 20), generator.uniform(0, 9), generator.integers(1, 20)
            )
            for _ in range(2)
        )
        pool = np.concatenate([data, noise])
        value = root(data, noise, kappa=10 ** generator.uniform(-6, 6))
        assert pool.min() - 1e-13 <= value <= pool.max() + 1e-13
