"""The calibration slope: against finite differences, its null distribution, and what it finds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nce_jax
from nce_jax._slope import calibration_slope
from nce_jax.ratio_estimation import UnreliableRatioWarning


def loss(u, intercept, slope):
    data, noise = (slope * side - intercept for side in u)
    return np.mean(np.logaddexp(0, -data)) + np.mean(np.logaddexp(0, noise))


def profiled(u, slope):
    """The loss at the best intercept, by bisection of its derivative."""
    low, high = -50.0, 50.0
    for _ in range(200):
        middle = (low + high) / 2
        data, noise = (slope * side - middle for side in u)
        rises = np.mean(1 - np.tanh(data / 2)) > np.mean(1 + np.tanh(noise / 2))
        low, high = (low, middle) if rises else (middle, high)
    return loss(u, (low + high) / 2, slope)


def solved(rng, n, m, mean=1.0):
    """Log odds of N(mean, 1) over N(0, 1) at the solved F, as the assessment has them."""
    data, noise = mean * (rng.normal(mean, 1, n)), mean * rng.normal(0, 1, m)
    root = nce_jax.solve_log_partition(jnp.asarray(data), jnp.asarray(noise)).log_partition
    return data - float(root), noise - float(root)


@pytest.mark.parametrize("factor", [0.1, 0.7, 1.0, 3.0, 10.0])
def test_slope_and_gain_are_those_of_the_lowest_profiled_loss(factor):
    """By a grid of slopes that is refined; the best one is the inverse of the factor."""
    u = [factor * side for side in solved(np.random.default_rng(0), 300, 200)]
    found = calibration_slope(*u, np.arange(500))
    low, high = 0.01, 30.0
    for _ in range(6):
        slopes = np.geomspace(low, high, 21)
        best = min(range(21), key=lambda i: profiled(u, slopes[i]))
        low, high = slopes[max(best - 1, 0)], slopes[min(best + 1, 20)]
    assert found.slope == pytest.approx(slopes[best], rel=1e-3)
    assert found.slope == pytest.approx(1 / factor, rel=0.5)  # 500 samples
    assert found.gain == pytest.approx(loss(u, 0, 1.0) - profiled(u, slopes[best]), abs=1e-5)
    assert 0 <= found.gain < loss(u, 0, 1.0)
    # Positive where a larger slope lowers the loss, as this side of the minimum.
    assert (found.score > 0) == (found.slope > 1)


def test_sets_that_the_ratio_separates_have_a_steep_slope_and_no_loss_left():
    u = np.array([0.1, 0.2, 0.3]), np.array([-0.1, -0.2, -0.4])
    found = calibration_slope(*u, np.arange(6))
    assert found.slope > 50
    assert found.gain == pytest.approx(loss(u, 0, 1.0), abs=0.01)


def test_the_score_of_a_true_ratio_is_standard_normal():
    """400 draws: mean within 4 standard errors of 0, variance of 1 (seed 1)."""
    rng = np.random.default_rng(1)
    scores = [calibration_slope(*solved(rng, 400, 300), np.arange(700)).score for _ in range(400)]
    assert abs(np.mean(scores)) < 4 / np.sqrt(400)
    assert abs(np.var(scores) - 1) < 4 * np.sqrt(2 / 400)


@pytest.mark.costly
@pytest.mark.parametrize(("factor", "words"), [(0.3, "too timid"), (3.0, "too bold")])
def test_a_ratio_off_by_a_factor_is_unreliable(factor, words):
    x_data = 1 + jax.random.normal(jax.random.key(0), (2000, 1))
    x_noise = jax.random.normal(jax.random.key(1), (2000, 1))
    model = (jnp.zeros(()), lambda theta, x: factor * x[:, 0] + 0 * theta)  # cannot learn
    with pytest.warns(UnreliableRatioWarning, match=words):
        estimate = nce_jax.fit_log_ratio(
            jax.random.key(2), x_data, x_noise, model=model, num_steps=1, progress=False
        )
    assert not estimate.is_reliable
    assert (estimate.slope.slope > 1) == (factor < 1)


def test_a_constant_ratio_has_no_slope():
    assert calibration_slope(np.zeros(5), np.zeros(7), np.arange(12)) == (1.0, 0.0, 0.0)


def test_an_infinite_log_ratio_gives_nan():
    assert np.isnan(calibration_slope(np.array([np.inf, 1]), np.zeros(3), np.arange(5))).all()
