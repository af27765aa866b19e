"""peaked_1d: automatic stages find the scale that one ratio misses; the smoke preset runs."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from experiments.common import results
from experiments.peaked_1d.config import PRESETS
from experiments.peaked_1d.plot import draw
from experiments.peaked_1d.run import experiment
from experiments.peaked_1d.statistics import median_error

CONFIG = PRESETS["smoke"]


@pytest.fixture(scope="module")
def smoke(smoke_result):
    return smoke_result("peaked_1d", CONFIG, experiment)


@pytest.mark.costly
def test_automatic_stages_find_the_scale(smoke):
    """4 stages for s = 1e-3, as published, and log s within 4 standard errors."""
    row = list(smoke.arrays["methods"]).index("automatic")
    assert smoke.headline["automatic_number_1e-03"] == 4
    scores = smoke.arrays["error"][row] / smoke.arrays["standard_error"][row]
    assert np.all(np.abs(scores) < 4)
    assert smoke.headline["automatic_error_1e-03"] < 0.1


@pytest.mark.costly
def test_plots_come_from_stored_results(smoke, tmp_path):
    results.save(tmp_path, smoke)
    assert set(draw(results.load(tmp_path, ""))) == {"peaked_1d"}
    plt.close("all")


def test_a_run_without_a_normalizer_counts_as_an_infinite_error():
    arrays = {
        "error": np.array([[[[0.1, np.nan, np.nan]], [[0.1, 0.3, np.nan]]]]),
        "num_seeds": np.array([3]),
    }
    np.testing.assert_array_equal(median_error(arrays)[0, :, 0], [np.inf, 0.3])
