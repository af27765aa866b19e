"""simulator_inference: exact posteriors have exact measures; the smoke preset runs and plots."""

import dataclasses

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest

from experiments.common import results
from experiments.simulator_inference import simulator
from experiments.simulator_inference.config import PRESETS, Config
from experiments.simulator_inference.measures import classified, measure
from experiments.simulator_inference.plot import draw
from experiments.simulator_inference.run import experiment
from experiments.simulator_inference.statistics import coverage, excess_coverage
from experiments.simulator_inference.train import losses

CONFIG = PRESETS["smoke"]
FINE = dataclasses.replace(Config(), num_test=400, num_samples=500)


def some_pairs():
    return simulator.simulate(jax.random.key(0), FINE.num_test, FINE.noise_scale)


def exact(pairs, shift=0.0, scale=1.0):
    """Log ratios on the grid and at the pairs, of a scaled and shifted log posterior."""
    points, _ = simulator.grid(FINE.num_cells, FINE.half_width)
    theta, x = (np.asarray(side, np.float64) for side in pairs)
    of_grid = (
        scale * simulator.log_posterior(points, x, FINE.noise_scale)
        - simulator.log_prior(points)
        + shift
    )
    log_posterior = [
        simulator.log_posterior(t[None], y[None], FINE.noise_scale)[0, 0]
        for t, y in zip(theta, x, strict=True)
    ]
    return of_grid, scale * np.array(log_posterior) - simulator.log_prior(theta) + shift


@pytest.mark.costly
def test_the_exact_ratio_is_found_perfect():
    """Accuracy 1/2, uniform masses, and a constant in the normalizer alone.

    The mean mass is 1/2 within 4 standard errors, seed 0.
    """
    pairs = some_pairs()
    for shift in (0.0, 0.7):
        actual = measure(FINE, *exact(pairs, shift), pairs)
        np.testing.assert_allclose(actual.accuracy, 0.5, atol=1e-9)
        # Some mass lies beyond the square.
        np.testing.assert_allclose(actual.log_normalizer, shift, atol=5e-3)
        np.testing.assert_allclose(actual.log_ratio_error, shift, atol=1e-9)
        assert abs(actual.mass.mean() - 0.5) < 4 / np.sqrt(12 * FINE.num_test)
        assert abs(excess_coverage(actual.mass)) < 4 / np.sqrt(12 * FINE.num_test)


@pytest.mark.costly
def test_a_posterior_that_is_too_narrow_is_seen():
    """A quarter of the covariance: the best accuracy is 0.736.

    It is 1/2 + 1/2 the total variation of N(0, I) and N(0, I / 4).
    """
    pairs = some_pairs()
    actual = measure(FINE, *exact(pairs, scale=4.0), pairs)
    radius = np.log(4) / 3  # half of the squared radius at which the two densities cross
    expected = 0.5 + 0.5 * (np.exp(-radius) - np.exp(-4 * radius))
    np.testing.assert_allclose(actual.accuracy.mean(), expected, atol=5e-3)
    assert excess_coverage(actual.mass) < -0.2
    of_grid = exact(pairs, scale=4.0)[0][0]
    assert abs(classified(FINE, of_grid, np.asarray(pairs.x[0]), 0) - expected) < 0.06


def test_the_posterior_is_bayes_rule():
    points, area = simulator.grid(121, 6.0)
    x = np.array([[0.3, -0.5, 1.0]])
    deviation = x - points @ simulator.MATRIX.T
    log_joint = simulator.log_prior(points) - 0.5 * (deviation**2).sum(-1) / 0.25
    density = np.exp(log_joint) / (np.exp(log_joint).sum() * area)
    np.testing.assert_allclose(
        np.exp(simulator.log_posterior(points, x, 0.5)[0]), density, atol=1e-4
    )


def test_coverage_counts():
    np.testing.assert_allclose(
        coverage(np.array([0.25, 0.75]))[[0, 24, 25, 50, 75, 100]], [0, 0, 0.5, 0.5, 1, 1]
    )


@pytest.mark.costly
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_smoke_preset_runs_and_is_drawn(smoke_result, tmp_path):
    result = smoke_result("simulator_inference", CONFIG, experiment)
    methods = list(losses(CONFIG))
    assert list(result.arrays["methods"]) == methods
    assert result.arrays["accuracy"].shape == (len(methods), 1, CONFIG.num_seeds, CONFIG.num_test)
    assert np.isfinite(result.arrays["log_normalizer"]).all()
    assert (result.arrays["accuracy"].mean((1, 2, 3)) < 0.95).all()
    results.save(tmp_path, result)
    assert set(draw(results.load(tmp_path, ""))) == {
        "simulator_inference_accuracy",
        "simulator_inference_coverage",
    }
    plt.close("all")
