"""Diffusion samplers and critics: sampler, statistics, and (slow) the smoke preset."""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest

from experiments.common import eight_gaussians, results
from experiments.diffusion_critic import plot, run, sampler, statistics, table, train
from experiments.diffusion_critic.config import PRESETS, Config

SMOKE, PAPER = PRESETS["smoke"], PRESETS["paper"]
KEY = jax.random.key(0)


@pytest.mark.parametrize("length", [2, 5, 10])
def test_the_steps_undo_the_noise_where_the_prediction_is_exact(length):
    """Of a point x_0, the mean of step t is that of x_{t-1} given x_t: signal and noise agree."""
    schedule = sampler.make_schedule(PAPER, length)
    signal = np.append(schedule.signal, 1.0)
    noise = np.append(schedule.noise, 0.0)
    np.testing.assert_allclose(
        schedule.from_start + schedule.from_present * signal[:-1], signal[1:], rtol=1e-5
    )
    variance = (schedule.from_present * noise[:-1]) ** 2 + np.exp(2 * schedule.log_scale)
    np.testing.assert_allclose(variance[:-1], noise[1:-1] ** 2, rtol=1e-5)
    assert signal[0] < 0.05


def test_a_sampler_that_predicts_one_point_ends_there():
    params = sampler.init(PAPER, 5, KEY)
    params["net"][-1] = {"weight": jnp.zeros((64, 2)), "bias": jnp.array([[1.0, -2.0]])}
    path = sampler.sample_path(PAPER, 5, params, KEY, 1000)
    np.testing.assert_allclose(path.after[-1].mean(axis=0), [1, -2], atol=0.01)
    np.testing.assert_allclose(path.after[-1].std(axis=0), PAPER.last_scale, rtol=0.1)
    again = sampler.take_steps(PAPER, 5, params, KEY, path.before)
    np.testing.assert_allclose(again.after, path.after, rtol=1e-5, atol=1e-6)


def test_the_cost_of_a_step_is_its_length_less_its_entropy():
    path = sampler.Path(jnp.zeros((1, 1, 2)), jnp.full((1, 1, 2), 3.0), jnp.array([-1.5]))
    config = Config(path_weight=0.1, entropy_weight=0.01)
    np.testing.assert_allclose(sampler.step_costs(config, path), [[0.1 * 9 + 0.03]], rtol=1e-6)


def test_free_scales_stay_within_a_factor_e():
    params = sampler.init(PAPER, 5, KEY)
    path = sampler.sample_path(PAPER, 5, params | {"log_scale": jnp.full(4, 50.0)}, KEY, 2)
    expected = sampler.make_schedule(PAPER, 5).log_scale
    np.testing.assert_allclose(path.log_scale[:-1], expected[:-1] + 1, rtol=1e-6)


def test_a_paired_difference_and_its_interval():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2, 2, 5, 3))
    arrays = {"methods": np.array(["a", "b"]), "T5_good": values}
    mean, low, high = statistics.paired(arrays, 5, "good", "a", "b")[1]
    difference = (values[0, 1] - values[1, 1])[:, 1:].mean(axis=1)
    np.testing.assert_allclose(mean, difference.mean())
    np.testing.assert_allclose(high - mean, 2.776 * difference.std(ddof=1) / 5**0.5, rtol=1e-3)
    np.testing.assert_allclose(mean - low, high - mean)


def _arrays():
    rng = np.random.default_rng(0)
    names = [f"M = {m}, F {of}" for m in (1, 100) for of in ("joint", "solved")]
    return {
        "methods": np.array([*names, "contrastive, regularized"]),
        "steps": np.array([10, 20]),
        "T5_good": rng.normal(size=(5, 2, 6, 2)),
    }


def test_what_m_adds_is_the_mean_over_treatments_of_paired_differences():
    arrays = _arrays()
    assert set(statistics.changes(arrays)) == {"M = 100 less M = 1", "F solved less joint"}
    for change, (one, other) in {
        "M = 100 less M = 1": (slice(2, 4), slice(0, 2)),
        "F solved less joint": (slice(1, 4, 2), slice(0, 4, 2)),
    }.items():
        mean, low, high = statistics.of_change(arrays, 5, "good", change)[0]
        values = arrays["T5_good"][:, 0]
        by_seed = (values[one] - values[other]).mean(axis=(0, 2))
        np.testing.assert_allclose(mean, by_seed.mean())
        width = 2 * 2.571 * by_seed.std(ddof=1) / 6**0.5
        np.testing.assert_allclose(high - low, width, rtol=1e-3)


def test_steps_to_the_goal_and_their_ratio():
    """M = 1 is there after 10, M = 100 halfway to 20, or never, which counts as 20."""
    there, halfway, never = [0.2, 0.2], [0.3, 0.2], [0.9, 0.9]
    curves = np.array([[there] * 2, [there] * 2, [halfway] * 2, [halfway, never], [never] * 2])
    arrays = _arrays() | {"T5_sliced": curves[:, None], "data_modes": np.array(8)}
    np.testing.assert_array_equal(
        statistics.steps_to_goal(arrays, 5, "M = 100, F solved"), [15, np.inf]
    )
    found = statistics.ratio_of_steps(arrays, 5, "M = 100 less M = 1")
    assert found.mean == pytest.approx((1.5**3 * 2) ** 0.25)
    assert found.num_missed == 1
    modes = {"T5_modes": np.array([[[[8, 8], [8, 7]]]] * 5)}
    np.testing.assert_array_equal(statistics.num_with_lost_modes(arrays | modes, 5), [[1]] * 5)


@pytest.fixture(scope="module")
def result(smoke_result):
    with jax.numpy_rank_promotion("allow"):
        return smoke_result("diffusion_critic", SMOKE, run.experiment)


@pytest.mark.costly
class TestSmokePreset:
    def test_every_method_start_and_seed_is_measured(self, result):
        shape = len(result.arrays["methods"]), len(train.STARTS), SMOKE.num_seeds
        for name in eight_gaussians.Measures._fields:
            values = result.arrays[f"T2_{name}"]
            assert values.shape == (*shape, SMOKE.num_checkpoints)
            assert np.isfinite(values).all()
        assert not result.failed_lanes

    def test_plots_from_stored_results(self, result, tmp_path):
        results.save(tmp_path, result)
        stored = results.load(tmp_path, "nothing")
        assert statistics.headline(stored.arrays) == pytest.approx(stored.headline)
        names = ("", "_2_steps", "_2_steps_further")
        assert set(plot.draw(stored)) == {f"diffusion_critic{name}" for name in names}
        plt.close("all")
        for start in range(2):
            lines = table.table(stored.arrays, 2, start).count("\n")
            assert lines == len(stored.arrays["methods"]) + 3
        assert "M = 100" in table.differences(stored.arrays, 2, "sliced")
