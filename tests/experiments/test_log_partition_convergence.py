"""Figures 1 and 7 at a small size: shapes, repeatability, claims and plots."""

import jax
import numpy as np
import pytest

from experiments.common import results
from experiments.log_partition_convergence import config, plot, problems, run, statistics

pytestmark = pytest.mark.costly

SMOKE = config.PRESETS["smoke"]


@pytest.fixture(scope="module", autouse=True)
def rank_promotion():
    """distrax broadcasts between ranks, which the rest of the suite forbids."""
    with jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(scope="module")
def result(rank_promotion, smoke_result):
    return smoke_result("log_partition_convergence", SMOKE, run.experiment)


def test_shapes(result):
    arrays = result.arrays
    pairs = (len(SMOKE.separations), SMOKE.num_pairs)
    assert arrays["ring_nce"].shape == (SMOKE.num_runs, SMOKE.num_gradient_steps + 1)
    assert arrays["ring_bar"].shape == (SMOKE.num_runs, SMOKE.num_solver_steps + 1)
    assert arrays["ring_bar"].dtype == np.float64
    assert arrays["pairs_bar"].shape == (*pairs, SMOKE.num_solver_steps + 1)
    for name in ("nce", "nce_raised", "bar", "bar_float32", "bisection", "newton"):
        assert arrays[f"pairs_{name}_steps"].shape == pairs
        assert arrays[f"pairs_{name}_error"].shape == pairs


def test_bar_is_fastest_at_good_overlap_and_cycles_without(result):
    actual = result.headline
    assert actual["ring_bar_median_steps"] < actual["ring_bisection_median_steps"]
    assert actual["ring_bar_share_within_9_steps"] == 1
    assert actual["pairs_bar_share_arrived_16_apart"] == 0
    assert actual["pairs_cycle_closes_to"] < 1e-9
    assert actual["lemma_violations"] == 0


def test_what_does_not_converge_is_reported(result):
    everyone = list(range(SMOKE.num_pairs))
    for name in ("bar, 16 apart, MAX_STEPS", "newton, 16 apart, NO_OVERLAP"):
        assert list(result.failed_lanes[name]) == everyone


def test_draws_repeat():
    draw = jax.jit(lambda key: problems.ring(key, SMOKE))
    first, second, other = (draw(jax.random.key(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.data, second.data)
    assert not np.array_equal(first.data, other.data)


def test_the_reference_root_solves_the_equation():
    with jax.enable_x64(True):
        ratios = problems.gaussian_pair(jax.random.key(0), 3.0, SMOKE)
    root = problems.reference_root(ratios)
    data, noise = (np.asarray(side) for side in ratios)
    balance = np.mean(1 / (1 + np.exp(data - root))) - np.mean(1 / (1 + np.exp(root - noise)))
    assert abs(balance) < 1e-14


@pytest.mark.parametrize(
    ("error", "steps"),
    [([3, 2, 0.5, 0.1], 2), ([3, 0.1, 2, 0.1], 3), ([0.1, 0.1], 0), ([3, 2], np.inf)],
)
def test_settled_after(error, steps):
    assert statistics.settled_after(np.array(error), tolerance=1.0) == steps


def test_figures_from_stored_results(result, tmp_path):
    results.save(tmp_path, result, config=SMOKE)
    assert len(plot.draw(results.load(tmp_path, ""))) == 3
