"""bias_variance: integrals against NumPy oracles and samples, M-estimators, and fits."""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest

import nce_jax
from experiments.bias_variance import estimators, gradients, quadrature
from experiments.bias_variance.config import PRESETS
from experiments.bias_variance.fits import (
    best_magnification,
    bootstrap,
    exponent,
    fitted,
    flat_range,
    slope,
)
from experiments.bias_variance.plot import draw
from experiments.bias_variance.problem import Problem, grid, log_ratio
from experiments.bias_variance.run import experiment
from experiments.common import results

CONFIG = PRESETS["smoke"]
MAGNIFICATIONS = np.array([0.1, 1.0, 10.0, 1e3, 1e9])
POINTS = (0.8, 1.0)


@pytest.fixture(scope="module")
def study():
    with jax.enable_x64(True):
        return quadrature.study(2, (1.0,), POINTS, jnp.asarray(MAGNIFICATIONS))


def _plane(kappa: float, point: float):
    """Squared bias and n times variance over the whole plane, for F = log Z and F held."""
    axis = np.arange(-9, 11.01, 0.05)
    x = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    noise = np.exp(-np.sum(x**2, axis=-1) / 2) / (2 * np.pi) * 0.05**2
    data = noise * np.exp(x.sum(-1) - 1)
    theta = np.full(2, point)
    ratio = np.exp(x @ theta - theta @ theta / 2)
    w = kappa / (kappa + ratio)
    for center in (theta, np.zeros(2)):
        of_data, of_noise = w[:, None] * (x - center), (ratio * w)[:, None] * (x - center)
        bias = data @ of_data - noise @ of_noise - (1 - theta)
        means = np.sum((data @ of_data) ** 2) + np.sum((noise @ of_noise) ** 2)
        yield bias @ bias, data @ np.sum(of_data**2, -1) + noise @ np.sum(of_noise**2, -1) - means


@pytest.mark.costly
def test_bias_and_variance_equal_integrals_over_the_plane(study):
    for index, kappa in ((0, 0.1), (2, 10.0), (3, 1e3)):
        for name, expected in zip(("fixed", "joint"), _plane(kappa, POINTS[0]), strict=True):
            actual = [
                study[field][quadrature.TREATMENTS.index(name), 0, 0, index]
                for field in ("squared_bias", "variance")
            ]
            np.testing.assert_allclose(actual, expected, rtol=1e-7)


@pytest.mark.costly
def test_at_the_truth_there_is_no_bias_and_the_solved_f_is_log_z(study):
    assert np.all(study["squared_bias"][:, 0, 1] < 1e-20)
    np.testing.assert_allclose(study["log_partition"][2, 0, 1], 0, atol=1e-9)


def test_the_variance_saturates(study):
    """V -> Var_data(x) + E_noise[r^2 |x - theta|^2] for F = log Z and for F solved.

    The limit is d + e^(|theta|^2) (d + |theta|^2).
    """
    square = 2 * POINTS[0] ** 2
    np.testing.assert_allclose(
        study["variance"][[0, 2], 0, 0, -1], 2 + np.exp(square) * (2 + square), rtol=1e-6
    )


def test_the_converged_error_is_least_at_m_1_and_the_same_at_m_and_its_inverse(study):
    """With equal covariances, swapping data and noise maps M to 1 / M."""
    solved = study["estimator"][2, 0, 1]
    np.testing.assert_allclose(solved[0], solved[2], rtol=1e-9)
    assert solved.argmin() == 1
    np.testing.assert_allclose(study["estimator"][1, 0, 1], solved, rtol=1e-12)  # joint


@pytest.fixture(scope="module")
def sampled():
    problem = Problem(2, 1.0)
    draws = problem.draw(jax.random.key(0), 400, 300)
    return (
        problem,
        draws,
        gradients.squared_errors(problem, POINTS[:1], jnp.asarray(MAGNIFICATIONS[:4]), draws),
    )


@pytest.mark.costly
def test_sampled_gradients_have_the_exact_bias_and_variance(study, sampled):
    """400 seeds of n = 300, F = log Z and F held: mean squared error within 4 standard errors."""
    errors = sampled[2]["errors"][:2, 0]
    expected = (study["squared_bias"] + study["variance"] / 300)[:2, 0, 0, :4]
    assert np.all(np.abs(errors.mean(-1) - expected) < 4 * errors.std(-1) / np.sqrt(400))


@pytest.mark.costly
def test_sampled_gradients_with_f_solved_have_the_leading_order(study, sampled):
    """Up to 1 / n^2: at M = 1 within 4 standard errors and 5 % of the variance."""
    errors, variance = sampled[2]["errors"][2, 0, 1], study["variance"][2, 0, 0, 1] / 300
    expected = study["squared_bias"][2, 0, 0, 1] + variance
    assert abs(errors.mean() - expected) < 4 * errors.std() / 20 + 0.05 * variance


@pytest.mark.costly
def test_newton_ends_at_the_minimum_of_the_profiled_loss(sampled):
    problem, draws, _ = sampled
    start = jnp.append(problem.truth, 1.0)
    params, length = jax.jit(lambda draw: estimators.minimize(start, False, *draw, 10.0, 8))(
        draws[0]
    )

    def profiled(theta):
        return nce_jax.profiled_nce_loss(
            *(log_ratio(theta, x) for x in draws[0]), magnification=10.0
        )

    assert float(length) < 1e-4
    np.testing.assert_allclose(jax.jit(jax.grad(profiled))(params[:2]), 0, atol=1e-5)


def test_the_best_m_of_known_curves():
    """a / M^2 + b M / n is minimal at M = (2 a n / b)^(1/3), also off the grid."""
    m, sizes = np.asarray(grid(100, 5), float), np.array([1e2, 1e3, 1e4])
    curves = 3 / m**2 + 0.5 * m / sizes[:, None]
    best = best_magnification(m, curves, window=0.02)
    np.testing.assert_allclose(best, (12 * sizes) ** (1 / 3), rtol=1e-3)
    assert exponent(sizes, best) == pytest.approx(1 / 3, abs=1e-4)
    coarse = np.geomspace(0.1, 1e3, 13)
    np.testing.assert_allclose(
        best_magnification(coarse, np.exp(np.log10(coarse / 7) ** 2)), 7, rtol=1e-9
    )
    assert best_magnification(coarse, 1 / coarse) == pytest.approx(coarse[-1], rel=1e-9)
    assert best_magnification(coarse, np.where(coarse > 50, np.inf, 1 + coarse)) == pytest.approx(
        0.1, rel=1e-9
    )


def test_flat_range_and_slope():
    m = np.geomspace(0.1, 1e3, 4001)
    low, high = flat_range(m, np.exp(np.log(m / 10) ** 2))
    expected = 10 * np.exp(np.array([-1, 1]) * np.sqrt(np.log(1.05)))
    np.testing.assert_allclose((low, high), expected, rtol=0.01)
    assert slope(m, 2 * m**-1.5, 1, 100) == pytest.approx((-1.5, 0), abs=1e-9)


def test_bootstrap_keeps_seeds_together_and_covers():
    """Equal rows stay equal; the spread of a mean is s / sqrt(n) within 10 %, seed 0."""
    rng = np.random.default_rng(0)
    errors = np.tile(rng.exponential(size=100), (2, 1))
    for measure in ("mean", "median"):
        repeated = bootstrap(errors, measure, 2000, rng)
        np.testing.assert_allclose(repeated[:, 0], repeated[:, 1])
    assert bootstrap(errors, "mean", 4000, rng)[:, 0].std() == pytest.approx(
        errors[0].std() / 10, rel=0.1
    )
    m = np.geomspace(0.1, 1e3, 9)
    noise = [np.exp(0.1 * rng.normal(size=50)) * (1 / m + m / n)[:, None] for n in (10, 1000)]
    value, low, high = fitted(m, (10, 1000), noise, "mean", 100)["exponent"]
    assert low <= value <= high


@pytest.fixture(scope="module")
def smoke(smoke_result):
    return smoke_result("bias_variance", CONFIG, experiment)


@pytest.mark.costly
def test_the_experiment_finds_what_it_should(smoke):
    assert all(np.all(np.isfinite(value)) for value in smoke.headline.values())
    assert smoke.headline["exact_solved_at_0.8_bias_slope_far"] == pytest.approx(-2, abs=0.01)
    assert smoke.headline["exact_converged_best_solved"] == pytest.approx(1, abs=0.01)
    assert smoke.headline["exact_solved_at_0.8_exponent_large_n"] == pytest.approx(1, abs=0.05)
    assert smoke.arrays["descent_errors_100"].shape == (
        3,
        len(CONFIG.budgets),
        7,
        CONFIG.descent_seeds[0],
    )


@pytest.mark.costly
def test_plots_come_from_stored_results(smoke, tmp_path):
    results.save(tmp_path, smoke)
    assert len(draw(results.load(tmp_path, ""))) == 3
    plt.close("all")
