"""chasm_1d: the chain bridges the gap and single-stage methods do not; the smoke preset runs."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from experiments.chasm_1d.config import PRESETS
from experiments.chasm_1d.plot import draw
from experiments.chasm_1d.run import experiment
from experiments.chasm_1d.statistics import distances
from experiments.common import results

CONFIG = PRESETS["smoke"]


@pytest.fixture(scope="module")
def smoke(smoke_result):
    return smoke_result("chasm_1d", CONFIG, experiment)


@pytest.mark.costly
def test_the_chain_bridges_what_one_ratio_does_not(smoke):
    """At 128 nats, with a fifth of the steps and half the batch of the paper preset."""
    assert smoke.headline["stages_distance_16"] < 2
    assert smoke.headline["stages_most_steps"] <= CONFIG.num_steps
    assert all(
        smoke.headline[f"{name}_distance_16"] > 30 for name in ("nce", "bar", "search", "n2ce")
    )
    assert smoke.headline["search_no_overlap_16"] == 1
    assert smoke.headline["nce_overlap_16"] < 0.01
    assert len(smoke.failed_lanes["stages"]) == 0


@pytest.mark.costly
def test_the_path_ends_at_the_estimate(smoke):
    """theta of the last point is that of the run; its F is not yet solved for."""
    path, theta = smoke.arrays["stages_path_theta"][0], smoke.arrays["stages_theta"][0]
    np.testing.assert_allclose([run[np.isfinite(run)][-1] for run in path], theta, rtol=1e-4)


@pytest.mark.costly
def test_plots_come_from_stored_results(smoke, tmp_path):
    results.save(tmp_path, smoke)
    assert set(draw(results.load(tmp_path, ""))) == {
        "chasm_1d_figure_2",
        "chasm_1d_separations",
        "chasm_1d_stages",
    }
    plt.close("all")


def test_the_parameter_distance_is_euclidean():
    np.testing.assert_allclose(
        distances(np.array([[19.0]]), np.array([[132.0]]), np.array([16.0])), 5
    )
