"""The digits experiment: data, model, evaluation, a small grid, and (slow) the smoke preset."""

import dataclasses

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest

from experiments.common import results
from experiments.digits import data, measures, model, plot, run, statistics, table
from experiments.digits.config import PRESETS
from experiments.digits.train import train_lane
from nce_jax import training

pytestmark = pytest.mark.costly

SMOKE = PRESETS["smoke"]


@pytest.fixture(scope="module", autouse=True)
def rank_promotion_as_distrax_needs_it():
    """distrax broadcasts samples (samples, dim) against parameters (dim,)."""
    with jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(scope="module")
def digits():
    return data.load(SMOKE, jax.random.key(0))


def test_split_covers_the_images_and_the_noise_has_the_moments_of_the_training_data(digits):
    assert digits.train_levels.shape == (1797 - 2 * SMOKE.num_held_out, 64)
    assert digits.x_validation.shape == digits.x_test.shape == (SMOKE.num_held_out, 64)
    np.testing.assert_allclose(digits.noise.mean(), digits.mean, atol=1e-5)
    np.testing.assert_allclose(digits.noise.variance() ** 0.5, digits.scale, rtol=1e-3)


def test_dequantized_levels_come_back(digits):
    levels = digits.train_levels[:50]
    x = data.dequantize(jax.random.key(1), levels, 1e-6)
    assert jnp.isfinite(x).all()
    np.testing.assert_array_equal(jnp.floor(data.gray_levels(x, 1e-6) - 1e-4).clip(0), levels)


def test_training_starts_at_the_noise(digits):
    net = model.make(SMOKE, digits, jax.random.key(2))
    np.testing.assert_array_equal(net.log_ratio_fn(net.params, digits.x_test), 0)
    large = jax.tree.map(lambda leaf: leaf + 10.0, net.params)
    assert jnp.abs(net.log_ratio_fn(large, digits.x_test)).max() <= SMOKE.log_ratio_bound


def test_evaluation_of_a_model_with_known_log_z(digits):
    """f = log 3 everywhere: log Z and both F* are log 3, and every sample counts.

    There is no gain, and the loss is that of a coin.
    """
    config = dataclasses.replace(SMOKE, num_evaluation_noise=500)

    @jax.jit
    def evaluate(kappa):
        return measures.evaluate(
            config, digits, lambda x: jnp.full(len(x), jnp.log(3.0)), kappa, jax.random.key(3)
        )

    actual = evaluate(jnp.array(10.0))
    for value in (actual.log_partition, actual.profiled_at_one, actual.profiled_at_own):
        np.testing.assert_allclose(value, np.log(3), rtol=1e-5)
    np.testing.assert_allclose([actual.test_loss, actual.validation_loss], 2 * np.log(2), rtol=1e-5)
    np.testing.assert_allclose(actual.effective_samples, 500, rtol=1e-4)


def test_a_trained_lane_beats_the_gaussian_on_held_out_images(digits):
    def lane(magnification):
        options = {"magnification": magnification, "noise_ratio": 1.0, "num_noise": None}
        return train_lane(SMOKE, digits, training.solved(), jax.random.key(4), **options)

    trained = jax.jit(lane)(jnp.array(1.0))
    actual = trained.evaluation
    assert trained.num_failed.sum() == 0
    assert actual.test_loss[-1] < 1.1 < 2 * np.log(2)
    assert (
        actual.test_log_ratio[-1].mean() - actual.log_partition[-1]
    ) > 5 * actual.log_partition_error[-1]


def test_a_cell_is_withheld_whole_and_a_diagonal_is_one_kappa():
    assert np.isnan(statistics.mean_and_error([1.0, np.nan, 2.0])[0])
    lanes = np.arange(4.0).reshape(2, 2, 1, 1)
    arrays = {
        "magnifications": np.array([1.0, 10.0]),
        "noise_ratios": np.array([0.1, 1.0]),
        "grid_loss": lanes,
    }
    assert {
        kappa: value.item() for kappa, value in statistics.by_kappa(arrays, "loss").items()
    } == {0.1: 0, 1.0: 1, 10.0: 3}
    assert statistics.diagonal_difference(arrays, "loss") == 1.0


@pytest.fixture(scope="module")
def result(smoke_result):
    return smoke_result("digits", SMOKE, run.experiment)


class TestSmokePreset:
    def test_shapes(self, result):
        assert result.failed_lanes == {}
        assert result.arrays["grid_gain"].shape == (2, 2, 2, 2)
        assert result.arrays["grid_test_log_ratio"].shape == (2, 2, 2, 2, SMOKE.num_held_out)
        assert result.arrays["joint_test_loss"].shape == (4, 2, 2)
        assert (
            result.arrays["study_test_loss"].shape
            == result.arrays["unbounded_gain"].shape
            == (2, 2, 2)
        )

    def test_only_kappa_counts_and_every_sweep_sees_the_same_seeds(self, result):
        assert statistics.diagonal_difference(result.arrays, "test_loss") < 1e-3
        first = (
            result.arrays["grid_test_loss"][:, 0, :, 0]
            - result.arrays["unbounded_test_loss"][..., 0]
        )
        assert np.abs(first).max() < 0.1

    def test_deterministic(self):
        digits = data.load(SMOKE, jax.random.split(jax.random.key(SMOKE.seed))[0])
        once, repeated = (
            run.SWEEPS["joint"](SMOKE, digits, _run_key()).evaluation.test_loss for _ in range(2)
        )
        assert np.isfinite(once).all()
        np.testing.assert_array_equal(once, repeated)

    def test_plots_and_tables_from_stored_results(self, result, tmp_path):
        results.save(tmp_path, result)
        stored = results.load(tmp_path, "nothing")
        assert statistics.headline(stored.arrays) == pytest.approx(stored.headline)
        figures = plot.draw(stored)
        assert set(figures) == {
            "digits_grid",
            "digits_training",
            "digits_comparisons",
            "digits_images",
        }
        plt.close("all")
        assert table.table(stored.arrays, 0).count("\n") == 5


def _run_key():
    return jax.random.split(jax.random.key(SMOKE.seed))[1]
