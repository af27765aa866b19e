"""One-step distillation: teacher, three players, statistics, and (slow) the smoke preset."""

import dataclasses

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest

from experiments.common import eight_gaussians, results, score_distillation
from experiments.one_step import players, plot, run, statistics, table, teacher
from experiments.one_step.config import PRESETS

SMOKE, PAPER = PRESETS["smoke"], PRESETS["paper"]
KEY = jax.random.key(0)


def test_the_teacher_is_the_score_of_the_wider_mixture():
    """Tweedie's formula: (denoised - y) / level^2 is the gradient of the noised log density."""
    centers = np.asarray(eight_gaussians.centers(PAPER)) / PAPER.scale
    level = 0.2

    def log_density(y):
        variance = (PAPER.teacher_std / PAPER.scale) ** 2 + level**2
        squares = jnp.sum((y[None] - centers) ** 2, axis=1)
        return jax.nn.logsumexp(-squares / (2 * variance))

    y = 1.5 * jax.random.normal(KEY, (20, 2))
    score = (teacher.denoise(PAPER, y, jnp.full(20, level)) - y) / level**2
    np.testing.assert_allclose(score, jax.vmap(jax.grad(log_density))(y), rtol=1e-3, atol=1e-3)


def test_the_teachers_samples_have_its_width():
    x = PAPER.scale * teacher.draw(PAPER, KEY, 4096)
    nearest = np.linalg.norm(x[:, None] - eight_gaussians.centers(PAPER)[None], axis=2).min(axis=1)
    # A few of the widest samples are nearer to another mode: 2 % is far more than these.
    assert abs(np.mean(nearest**2) / (2 * PAPER.teacher_std**2) - 1) < 4 / 4096**0.5 + 0.02


@pytest.mark.costly
def test_an_update_moves_three_players_and_one_program_serves_every_magnification():
    method = players.METHODS["joint"]
    params = teacher.init_network(SMOKE, KEY)
    x_data = eight_gaussians.draw_data(SMOKE, KEY, 32) / SMOKE.scale

    @jax.jit
    def update(magnification):
        distillation = players.make_distillation(SMOKE, method, magnification)
        state = distillation.init(params, params, players.init_critic(SMOKE, KEY))
        return distillation.step(state, x_data, KEY)

    moved, seen = zip(*map(update, (1.0, 50.0)), strict=True)
    assert update._cache_size() == 1
    for state, metrics in zip(moved, seen, strict=True):
        assert np.isfinite(metrics["own_loss"])
        for after in (state.players.params, state.fake):
            pairs = zip(jax.tree.leaves(after), jax.tree.leaves(params), strict=True)
            assert all(np.any(a != b) for a, b in pairs)
    assert seen[0]["own_loss"] == seen[1]["own_loss"]
    # At log ratios of zero the loss of the generator is log(1 + 1 / kappa).
    for metrics, magnification in zip(seen, (1.0, 50.0), strict=True):
        judged = (metrics["loss"] - metrics["own_loss"]) / SMOKE.critic_weight
        np.testing.assert_allclose(judged, np.log1p(1 / magnification), atol=0.03)


def test_the_critic_sees_noise_of_a_level_that_it_is_told():
    distillation = players.make_distillation(SMOKE, players.METHODS["solved"], 1.0)
    y, level = distillation.augment(KEY, jnp.zeros((4096, 2)))
    assert SMOKE.levels[0] <= level.min()
    assert level.max() <= SMOKE.levels[1]
    units = y / level[:, None]
    assert abs(np.mean(units**2) - 1) < 4 * (2 / 8192) ** 0.5
    assert players.log_ratio_fn(players.init_critic(SMOKE, KEY), (y, level)).shape == (4096,)


def test_a_run_without_a_critic_moves_by_the_distillation_alone():
    """Its first step of Adam is the sign of the gradient of the score identity loss."""
    method = players.METHODS["none"]
    params = teacher.init_network(SMOKE, KEY)
    distillation = players.make_distillation(SMOKE, method, 1.0)
    state = distillation.init(params, params)
    after, metrics = distillation.step(state, jnp.zeros((16, 2)), KEY)
    assert metrics == {}
    key_players = jax.random.split(KEY)[1]
    gradient = jax.grad(
        lambda p: distillation.sample(p, after.fake, key_players, 16)[1]
    )(params)  # fmt: skip
    change = jax.tree.map(jnp.subtract, after.players.params, params)
    for of, slope in zip(jax.tree.leaves(change), jax.tree.leaves(gradient), strict=True):
        is_clear = np.abs(slope) > 1e-5
        assert is_clear.any()
        expected = -SMOKE.generator_rate * np.sign(slope)
        np.testing.assert_allclose(of[is_clear], expected[is_clear], rtol=0.01)


@pytest.mark.costly
def test_a_network_is_fitted_to_the_teacher():
    config = dataclasses.replace(SMOKE, hidden=(64, 64), num_fit_steps=800)
    level = jnp.full(256, 0.5)
    y = score_distillation.add_noise(KEY, teacher.draw(config, KEY, 256), level)
    truth = teacher.denoise(config, y, level)

    def error(params):
        return jnp.mean((teacher.network(params)(y, level) - truth) ** 2)

    fitted = error(jax.jit(lambda key: teacher.fit(config, key))(KEY))
    assert fitted < 0.3 * error(teacher.init_network(config, KEY))


def test_the_update_at_which_a_goal_is_reached():
    updates = np.array([10.0, 20, 30, 40, 50])
    falling = np.array([9.0, 6, 3, 0, -3])  # means of three: 6, 3, 0 at 20, 30, 40
    assert statistics.first_near(updates, falling, 4.5) == pytest.approx(25)
    assert statistics.first_near(updates, falling, 7.0) == 20
    assert statistics.first_near(updates, falling, -0.1) == np.inf


def _arrays(**curves):
    updates = np.arange(1.0, 101)
    return {
        "methods": np.array(list(curves)),
        "updates": updates,
        "sliced": np.stack([curve(updates) for curve in curves.values()]),
    }


def test_a_ratio_of_updates_and_its_interval():
    """Straight falls of 1 and of 2, 4, 3 per update: ratios 1/2, 1/4 and 1/3 exactly."""
    arrays = _arrays(
        none=lambda t: np.stack([np.maximum(80 - t, 0)] * 3),
        fast=lambda t: np.stack([np.maximum(80 - speed * t, 0) for speed in (2, 4, 3)]),
        never=lambda t: np.stack([100 - 0 * t] * 3),
    )
    found = statistics.ratio(arrays, "sliced", [("fast", "none")])
    logs = np.log([1 / 2, 1 / 4, 1 / 3])
    # Where a fall ends, the smoothed curve is late by less than an update of 20.
    np.testing.assert_allclose(found.mean, np.exp(logs.mean()), rtol=0.03)
    reach = 4.303 * logs.std(ddof=1) / 3**0.5
    np.testing.assert_allclose(np.log(found.high / found.mean), reach, rtol=0.1)
    assert found.num_missed == 0
    never = statistics.ratio(arrays, "sliced", [("never", "none")])
    assert never.num_missed == 3
    assert never.mean == pytest.approx(100 / 81, rel=0.01)


@pytest.fixture(scope="module")
def result(smoke_result):
    with jax.numpy_rank_promotion("allow"):
        return smoke_result("one_step", SMOKE, run.experiment)


@pytest.mark.slow
class TestSmokePreset:
    def test_every_method_and_seed_is_measured(self, result):
        shape = len(result.arrays["methods"]), SMOKE.num_seeds
        for name in eight_gaussians.Measures._fields:
            values = result.arrays[name]
            assert values.shape == (*shape, SMOKE.num_checkpoints)
            assert np.isfinite(values).all()
        assert not result.failed_lanes

    def test_plots_from_stored_results(self, result, tmp_path):
        results.save(tmp_path, result)
        stored = results.load(tmp_path, "nothing")
        assert statistics.headline(stored.arrays) == pytest.approx(stored.headline)
        assert set(plot.draw(stored)) == {"one_step", "one_step_updates"}
        plt.close("all")
        assert table.ends(stored.arrays).count("\n") == len(stored.arrays["methods"]) + 4
        assert "M = 50" in table.updates(stored.arrays, "good")
        assert "M = 50" in table.differences(stored.arrays, "sliced")
