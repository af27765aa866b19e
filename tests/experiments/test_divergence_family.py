"""divergence_family: the bound at true and wrong ratios, samples, plots and statistics."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from experiments.common import results
from experiments.divergence_family.config import PRESETS
from experiments.divergence_family.pairs import exact_divergence, gaussians, pairs
from experiments.divergence_family.plot import draw
from experiments.divergence_family.run import experiment
from experiments.divergence_family.statistics import coverage, covered_window, of_pairs

CONFIG = PRESETS["smoke"]


@pytest.fixture(scope="module")
def smoke(smoke_result):
    return smoke_result("divergence_family", CONFIG, experiment)


@pytest.mark.costly
def test_arrays_have_their_shapes_and_nothing_failed(smoke):
    num_pairs, num_kappas = len(pairs()), CONFIG.num_kappas
    expected = {
        "exact": (num_pairs, num_kappas),
        "scaled": (num_pairs, 1 + len(CONFIG.scales), num_kappas),
        "shifted": (num_pairs, 1 + len(CONFIG.offsets), num_kappas),
        "sampled_value": (num_kappas, 2, num_pairs, CONFIG.num_seeds),
        "limit_value": (2, num_pairs, CONFIG.num_seeds),
        "far_100_error": (num_kappas, 2, CONFIG.num_seeds),
        "far_100_limit_value": (2, CONFIG.num_seeds),
    }
    assert {name: smoke.arrays[name].shape for name in expected} == expected
    assert all(np.isfinite(smoke.arrays[name]).all() for name in expected)
    assert all(len(lanes) == 0 for lanes in smoke.failed_lanes.values())


@pytest.mark.costly
def test_the_family_runs_from_jensen_shannon_to_kl(smoke):
    """By quadrature: equal at the true ratio, below at all others, with both ends."""
    headline, arrays = smoke.headline, smoke.arrays
    assert max(headline["bound_minus_definition"], headline["bound_minus_definition_held"]) < 1e-9
    assert (
        max(
            headline["largest_share_at_a_wrong_ratio"],
            headline["largest_share_at_a_wrong_normalizer"],
        )
        < 1 - 1e-3
    )
    assert headline["large_kappa_minus_kl"] < 1e-4
    assert headline["small_kappa_minus_reverse_kl"] < 1e-2
    assert np.all(np.diff(arrays["exact"]) > 0)
    assert np.all(
        arrays["exact"]
        < np.log1p(arrays["kappas"]) + arrays["kappas"] * np.log1p(1 / arrays["kappas"])
    )


def test_known_answers():
    """Known divergences, and D_kappa(p, q) = kappa D_(1 / kappa)(q, p).

    They are of three symbols by hand, and of Gaussians 1 apart, KL = 1/2.
    """
    symbols, p, q = pairs()[0], np.array([0.7, 0.2, 0.1]), np.array([0.1, 0.3, 0.6])
    assert symbols.kl == pytest.approx(0.7 * np.log(7) + 0.2 * np.log(2 / 3) - 0.1 * np.log(6))
    middle = (p + q) / 2
    twice = p @ np.log(p / middle) + q @ np.log(q / middle)
    assert exact_divergence(symbols.quadrature(0), 1.0) == pytest.approx(twice, rel=1e-12)
    for pair in (gaussians("apart", 1.0, 1.0), gaussians("wide", 0.3, 2.0)):
        grid = pair.quadrature(4001)
        assert grid.p.sum() == pytest.approx(1, abs=1e-12)
        assert grid.q.sum() == pytest.approx(1, abs=1e-12)
        assert pair.kl == pytest.approx(grid.p @ grid.log_ratio, rel=1e-10)
        assert pair.reverse_kl == pytest.approx(-grid.q @ grid.log_ratio, rel=1e-10)
        swapped = grid._replace(p=grid.q, q=grid.p)
        assert exact_divergence(grid, 30.0) == pytest.approx(
            30 * exact_divergence(swapped, 1 / 30), rel=1e-10
        )


def test_samples_agree_where_they_are_many(smoke):
    """Means within 5 standard errors, and intervals that cover, from 40 replicates.

    The farthest pair is excluded.
    """
    summary, near = of_pairs(smoke.arrays), np.array([0, 1])
    middle = np.abs(np.log10(smoke.arrays["kappas"])) < 1.5
    z = summary["bias"] / summary["bias_error"]
    assert np.all(np.abs(z[middle][:, 0][:, near]) < 5)
    assert np.all(summary["coverage"][middle][:, :, near] > 0.75)


def test_plots_come_from_stored_results(smoke, tmp_path):
    results.save(tmp_path, smoke)
    assert draw(results.load(tmp_path, "")).keys() == {
        "divergence_family",
        "divergence_family_samples",
    }
    plt.close("all")


def test_coverage_and_its_window():
    assert coverage(np.array([0.0, 1.0, 3.0, -3.0]), np.ones(4), np.array(0.0)) == 0.5
    kappas = 10.0 ** np.arange(-2, 4)
    assert covered_window(kappas, np.array([0.95, 0.5, 0.95, 0.95, 0.9, 0.7])) == (1.0, 100.0)
    assert covered_window(kappas, np.full(6, 0.95)) == (0.01, 1000.0)
    assert np.isnan(covered_window(kappas, np.full(6, 0.5))).all()
