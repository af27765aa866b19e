"""Preferences: losses, table, language model, statistics, and (slow) the smoke preset."""

import itertools

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest

from experiments.common import results
from experiments.preferences import (
    align,
    language,
    methods,
    network,
    plot,
    run,
    statistics,
    table,
    tabular,
)
from experiments.preferences.config import PRESETS, Config
from nce_jax import losses

SMOKE, PAPER = PRESETS["smoke"], PRESETS["paper"]
KEY = jax.random.key(0)
SMALL = Config(num_prompts=3, num_choices=5)


def test_bradley_terry_with_m_of_one_is_bradley_terry():
    margin, preference = jnp.array([[0.3, -1.2], [2.0, 0.0]]), jnp.array([[1.0, 0.0], [0.5, 1.0]])
    expected = losses.bradley_terry_loss(
        margin.ravel(), jnp.zeros(4), preference=preference.ravel()
    )
    np.testing.assert_allclose(methods.pair_loss(margin, preference, 1.0), expected, rtol=1e-6)


@pytest.mark.parametrize("magnification", [0.3, 10.0, 100.0])
def test_bradley_terry_has_its_minimum_at_the_log_odds_for_every_m(magnification):
    margin = jnp.log(jnp.array([[0.7 / 0.3]]))
    slope = jax.grad(lambda d: methods.pair_loss(d, jnp.array([[0.7]]), magnification))
    np.testing.assert_allclose(slope(margin), 0, atol=1e-6)
    assert slope(margin + 0.1) > 1e-3
    assert slope(margin - 0.1) < -1e-3


def test_dpo_uses_ranks_and_votes_use_rewards():
    rewards = jnp.array([[2.0, 1.0, 3.0, 3.0, -5.0, 5.0]])
    votes = jnp.array([[0.74, 0.4, 0.01]])
    found = {
        name: methods.preferences(methods.METHODS[name], rewards, votes, 1.0)
        for name in ("DPO", "Bradley-Terry")
    }
    np.testing.assert_array_equal(found["DPO"], [[1, 0.5, 0]])
    np.testing.assert_array_equal(found["Bradley-Terry"], [[0, 1, 0]])  # sigma(1) = 0.731


def test_the_best_of_two_by_enumeration():
    problem = tabular.draw_problem(SMALL, KEY)
    reference = np.exp(np.asarray(problem.log_reference))
    expected = np.zeros_like(reference)
    for prompt, rewards in enumerate(np.asarray(problem.rewards)):
        for first, second in itertools.product(range(5), repeat=2):
            best = first if rewards[first] >= rewards[second] else second
            expected[prompt, best] += reference[prompt, first] * reference[prompt, second]
    np.testing.assert_allclose(np.exp(tabular.best_of(problem, 2)), expected, rtol=1e-4, atol=1e-6)


def test_the_minimum_of_nca_with_two_answers_by_enumeration():
    """pi(y) = pi_ref(y) E[2 p_1 | y_1 = y]: k = 4 standard errors of 4,096 draws."""
    problem = tabular.draw_problem(SMALL, KEY)
    reference = np.exp(np.asarray(problem.log_reference, np.float64))
    weight = np.exp(np.asarray(problem.rewards, np.float64))
    share = 2 * weight[:, :, None] / (weight[:, :, None] + weight[:, None])
    mean = (share * reference[:, None]).sum(axis=-1)
    np.testing.assert_allclose((reference * mean).sum(axis=-1), 1, rtol=1e-6)
    spread = np.sqrt(((share - mean[..., None]) ** 2 * reference[:, None]).sum(axis=-1))
    found = np.exp(tabular.nca_minimum(problem, 2, 1.0, KEY)) / reference
    assert (np.abs(found - mean) < 4 * spread / 64 + 4 * spread.max() / 64 * mean).all()


def test_policies_on_the_frontier_have_no_shortfall_and_others_have_one():
    problem = tabular.draw_problem(PAPER, KEY)
    for temperature in (0.3, 1.0, 5.0):
        found = tabular.measure(PAPER, problem, tabular.tilted(problem, temperature))
        assert abs(found.shortfall) < 1e-3
    best = tabular.measure(PAPER, problem, tabular.tilted(problem, PAPER.temperature))
    assert abs(best.distance) < 1e-5
    other = tabular.measure(PAPER, problem, tabular.tilted(problem, -1.0))
    assert other.shortfall > 0.3
    assert other.distance > 0.3


def test_samples_have_the_log_probabilities_that_are_read_back():
    model, params = network.make(7, 8, KEY)
    prompts = jnp.array([[1, 2, 3], [0, 6, 6]])
    drawn = model.sample(params, KEY, prompts, 4)
    np.testing.assert_allclose(
        model.log_prob(params, prompts, drawn.tokens), drawn.log_prob, rtol=1e-5
    )
    every = jnp.array(list(itertools.product(range(7), repeat=2)))
    total = jnp.exp(model.log_prob(params, jnp.repeat(prompts[:1], 49, axis=0), every)).sum()
    np.testing.assert_allclose(total, 1, rtol=1e-5)


def test_what_the_best_policy_reaches_by_its_definition():
    rewards = np.random.default_rng(0).uniform(size=(3, 16)).astype(np.float32)
    found = language.best_reachable(Config(alpha=0.2), jnp.asarray(rewards))
    weights = np.exp(rewards / 0.2) / np.exp(rewards / 0.2).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found.reward, (weights * rewards).sum(axis=1).mean(), rtol=1e-5)
    kl = (weights * np.log(16 * weights)).sum(axis=1).mean()
    np.testing.assert_allclose(found.kl, kl, rtol=1e-4)
    np.testing.assert_allclose(found.kl, found.reward / 0.2 - found.log_normalizer, rtol=1e-4)
    np.testing.assert_allclose(found.best_rewards[-1], rewards.max(axis=1).mean(), rtol=1e-6)
    assert (np.diff(found.kls) > 0).all()


def test_the_reward_is_the_share_of_vowels():
    is_liked = np.array([character in language.LIKED for character in "abcE "])
    text = language.Text(*(np.zeros(1, np.int32),) * 3, is_liked)
    np.testing.assert_allclose(
        language.reward(text, jnp.array([[0, 1, 3, 4], [1, 1, 2, 4]])), [0.5, 0]
    )


def test_a_paired_difference_and_its_interval():
    values = np.random.default_rng(0).normal(size=(2, 1, 5, 3))
    arrays = {"methods": np.array(["a", "b"]), "table_K2_kl": values}
    mean, low, high = statistics.paired(arrays, "table_K2", "kl", ("a", "b"))
    difference = (values[0] - values[1])[0, :, -1]
    np.testing.assert_allclose(mean, difference.mean())
    np.testing.assert_allclose(high - mean, 2.776 * difference.std(ddof=1) / 5**0.5, rtol=1e-3)
    np.testing.assert_allclose(mean - low, high - mean)


@pytest.fixture(scope="module")
def result(smoke_result):
    with jax.numpy_rank_promotion("allow"):
        return smoke_result("preferences", SMOKE, run.experiment)


@pytest.mark.slow
class TestSmokePreset:
    def test_every_method_and_seed_is_measured(self, result):
        count = len(result.arrays["methods"])
        for name in tabular.Measures._fields:
            assert result.arrays[f"table_K2_{name}"].shape == (count, 2, 2, 2)
        for name in align.Measures._fields:
            values = result.arrays[f"text_K4_{name}"]
            assert values.shape == (count, 2, 2)
            assert np.isfinite(values).all()
        assert not result.failed_lanes

    def test_plots_from_stored_results(self, result, tmp_path):
        results.save(tmp_path, result)
        stored = results.load(tmp_path, "nothing")
        assert statistics.headline(stored.arrays) == pytest.approx(stored.headline)
        assert set(plot.draw(stored)) == {"preferences", "preferences_distance"}
        plt.close("all")
        known = {"table_K2": 4, "text_K4": 6}
        assert set(statistics.groups(stored.arrays)) == set(known)
        for group, rows in known.items():
            lines = table.table(stored.arrays, group).count("\n")
            assert lines == len(stored.arrays["methods"]) + rows + 1
        assert "M = 100" in table.differences(stored.arrays, "distance")
