"""gradient_alignment: the bias against a NumPy oracle, closed-form tails, and the smoke preset."""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest

from experiments.common import results
from experiments.gradient_alignment import bias, tails
from experiments.gradient_alignment.config import PRESETS
from experiments.gradient_alignment.families import data_and_start, mean_and_covariance, mean_only
from experiments.gradient_alignment.plot import draw
from experiments.gradient_alignment.quadrature import half_line, square_grid
from experiments.gradient_alignment.run import experiment
from experiments.gradient_alignment.statistics import lag, slope, stray

CONFIG = PRESETS["smoke"]
MAGNIFICATIONS = (1.0, 100.0)


@pytest.fixture(scope="module")
def problem():
    """Data, start, the family with free covariance, its parameters at the start, and a rule."""
    with jax.enable_x64(True):
        data, start = data_and_start(CONFIG)
        family = mean_and_covariance()
        yield data, start, family, family.params_of(start), square_grid(data, 8.0, 0.25)


def _density(x, mean, covariance):
    centered = x - mean
    quadratic = np.einsum("ni,ij,nj->n", centered, np.linalg.inv(covariance), centered)
    return np.exp(-quadratic / 2) / (2 * np.pi * np.sqrt(np.linalg.det(covariance)))


@pytest.mark.costly
def test_bias_with_f_at_log_z_is_the_oracle_s(problem):
    """Integral of r / (kappa + r) (p_data - p_theta) (T - E_theta T), computed in NumPy."""
    data, start, family, params, rule = problem
    x, cell = np.asarray(rule.x), 0.25**2
    p_data, p_model = _density(x, *map(np.asarray, data)), _density(x, *map(np.asarray, start))
    ratio = p_model / _density(x, np.zeros(2), np.eye(2))
    t = np.column_stack([x, x**2, x[:, 0] * x[:, 1]])
    centered = t - cell * p_model @ t
    expected = [
        np.sum((cell * (ratio / (m + ratio) * (p_data - p_model)) @ centered) ** 2)
        for m in MAGNIFICATIONS
    ]
    actual = bias.squared_bias(family, rule, data, "fixed", params[None], MAGNIFICATIONS, (0.0,))
    np.testing.assert_allclose(actual[0, 0], expected, rtol=1e-9)


@pytest.mark.costly
def test_a_wrong_f_leaves_a_bias_that_m_does_not_remove(problem):
    """For large M the joint gradient at F = log Z + d is off by (e^-d - 1) E_theta[T].

    It is e^-d E_theta[T] - E_data[T].
    """
    data, _, family, params, rule = problem
    actual = bias.squared_bias(family, rule, data, "joint", params[None], (1e6,), (0.0, 0.5))[
        :, 0, 0
    ]
    expected = np.sum(((np.exp(-0.5) - 1) * np.asarray(family.moments(params))) ** 2)
    assert actual[0] < 1e-9
    np.testing.assert_allclose(actual[1], expected, rtol=1e-4)


def test_moments_and_log_partition_by_quadrature(problem):
    data, start, family, params, rule = problem
    assert bias.quadrature_error(family, rule, data, params[None]) < 1e-8
    np.testing.assert_allclose(family.gaussian_of(params).covariance, start.covariance, rtol=1e-12)
    restricted = mean_only(data.covariance)
    np.testing.assert_allclose(
        restricted.moments(restricted.params_of(data)), data.mean, rtol=1e-12
    )


def test_the_closed_form_of_the_tails():
    """Against NumPy's integral, where E_data[r], E_model[r] or both are infinite."""
    values = np.array([1e5, 1e7])
    with jax.enable_x64(True):
        for model, data in ((1.3, 8.0), (3.0, 1.0), (3.0, 4.0)):
            e, weights = (np.asarray(part) for part in half_line(data)[:2])
            other = np.asarray(half_line(model).weights_data)
            ratio = np.exp(e * (1 - 1 / model)) / model
            expected = [
                np.sum(ratio / (m + ratio) * (weights - other) * (e - model)) for m in values
            ]
            np.testing.assert_allclose(
                tails.predicted_bias(tails.Tail(model, data), values), expected, rtol=3e-4
            )


def test_tails_measured_by_the_library_follow_the_prediction():
    values, pairs = np.array([1e5, 1e7]), np.array([[3.0, 4.0], [3.0, 1.0]])
    with jax.enable_x64(True):
        actual = tails.measured_bias(pairs, "fixed", values)
    expected = [tails.predicted_bias(tails.Tail(*pair), values) for pair in pairs]
    np.testing.assert_allclose(actual, expected, rtol=1e-4)
    assert [tails.Tail(*pair).exponent for pair in pairs] == pytest.approx([0.375, 0.5])
    assert tails.Tail(0.5, 4.0).exponent == 1.0


def test_distances_and_slopes():
    corner = np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0]])
    slow = np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 0.5]])
    assert (stray(slow, corner), lag(slow, corner)) == (0.0, 1.5)
    assert stray(slow - np.array([0.0, 0.25]), corner) == 0.25
    values = np.geomspace(1, 1e4, 9)
    assert slope(values, 3 * values**-1.5, 1e1, 1e4) == pytest.approx((-1.5, 0.0), abs=1e-9)


@pytest.fixture(scope="module")
def smoke(smoke_result):
    return smoke_result("gradient_alignment", CONFIG, experiment)


@pytest.mark.costly
def test_paths_approach_the_likelihood_s_unless_f_lags(smoke):
    assert all(lanes.size == 0 for lanes in smoke.failed_lanes.values())
    for family in ("mean", "covariance"):
        for name in ("fixed", "solved"):
            assert (
                smoke.headline[f"{family}_{name}_lag_last"]
                < smoke.headline[f"{family}_{name}_lag_first"] / 100
            )
        assert smoke.headline[f"{family}_joint_stray_last"] > 0.05
    assert smoke.headline["mean_fixed_slope_far_least"] == pytest.approx(-2, abs=1e-3)


@pytest.mark.costly
def test_an_infinite_m_is_the_likelihood_s_path(smoke):
    """F solved, M = 1e4: the first steps agree with closed-form moments to O(1 / M)."""
    actual, exact = (
        smoke.arrays["covariance_solved_path"][-1],
        smoke.arrays["covariance_exact_path"],
    )
    np.testing.assert_allclose(actual[:3], exact[:3], atol=1e-4)
    assert jnp.isfinite(actual).all()


@pytest.mark.costly
def test_plots_come_from_stored_results(smoke, tmp_path):
    results.save(tmp_path, smoke)
    assert len(draw(results.load(tmp_path, ""))) == 4
    plt.close("all")
