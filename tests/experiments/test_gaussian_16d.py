"""gaussian_16d: BAR and a solved F need far fewer steps than NCE; the smoke preset runs."""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest

from experiments.common import results
from experiments.gaussian_16d.config import PRESETS
from experiments.gaussian_16d.plot import draw
from experiments.gaussian_16d.problem import make_problem, model_log_partition
from experiments.gaussian_16d.run import _starts, experiment
from experiments.gaussian_16d.statistics import steps_to_reach

pytestmark = pytest.mark.costly

CONFIG = PRESETS["smoke"]


@pytest.fixture(scope="module", autouse=True)
def rank_promotion_as_distrax_needs_it():
    """distrax broadcasts samples (samples, dim) against parameters (dim,)."""
    with jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(scope="module")
def smoke(smoke_result):
    return smoke_result("gaussian_16d", CONFIG, experiment)


def test_arrays_have_their_shapes_and_nothing_failed(smoke):
    expected = {
        "theta_distance": (5, CONFIG.num_seeds, CONFIG.num_steps + 1),
        "log_partition_error": (5, CONFIG.num_seeds, CONFIG.num_steps + 1),
        "loss": (5, CONFIG.num_seeds, CONFIG.num_steps + 1),
        "rate_distance": (len(CONFIG.raised_rates), CONFIG.num_runs, CONFIG.num_steps + 1),
        "start_theta_distance": (4, 4, CONFIG.num_runs, CONFIG.num_steps_starts + 1),
        "start_unnormalizable": (4, 4, CONFIG.num_runs, CONFIG.num_steps_starts + 1),
        "checkpoint_overlap": (4, len(smoke.arrays["checkpoint_steps"]), CONFIG.num_batches),
    }
    assert {name: smoke.arrays[name].shape for name in expected} == expected
    assert all(np.isfinite(smoke.arrays[name]).all() for name in expected)
    assert all(len(lanes) == 0 for lanes in smoke.failed_lanes.values())


def test_bar_and_a_solved_normalizer_are_far_faster(smoke):
    for name in ("bar", "search", "newton"):
        assert smoke.headline[f"{name}_distance"] < smoke.headline["nce_distance"] / 3
        assert smoke.headline[f"{name}_steps_to_the_distance_of_nce"] < CONFIG.num_steps / 10


def test_plots_come_from_stored_results(smoke, tmp_path):
    results.save(tmp_path, smoke)
    assert "gaussian_16d_figure_3" in draw(results.load(tmp_path, ""))
    plt.close("all")


def test_the_experiment_repeats(smoke):
    """One study repeated, compiled anew, and the common start of both studies.

    The start of figure 3 is the first of the starts, on the same draws.
    """
    key_problem, key_runs, _ = jax.random.split(jax.random.key(CONFIG.seed), 3)
    keys = jax.vmap(lambda index: jax.random.fold_in(key_runs, index))(jnp.arange(CONFIG.num_runs))
    problem = make_problem(CONFIG, key_problem)
    once, repeated = (_starts(CONFIG, problem, keys)["start_theta_distance"] for _ in range(2))
    assert np.isfinite(once).all()
    np.testing.assert_array_equal(once, repeated)
    np.testing.assert_allclose(once, smoke.arrays["start_theta_distance"], rtol=1e-3, atol=1e-5)
    figure = smoke.arrays["theta_distance"][
        [0, 1, 2, 4], : CONFIG.num_runs, : CONFIG.num_steps_starts + 1
    ]
    np.testing.assert_allclose(repeated[:, 0], figure, rtol=1e-3, atol=1e-5)


def test_log_partition_of_the_model():
    """F* at the data's parameters, log Z of a standard normal at the noise, infinite beyond."""
    problem = make_problem(CONFIG, jax.random.key(3))
    np.testing.assert_allclose(
        model_log_partition(problem.params), problem.log_partition, rtol=1e-6
    )
    # N(1, 1) without its constant.
    shifted = jnp.concatenate([jnp.full(CONFIG.dim, -0.5), jnp.ones(CONFIG.dim)])
    np.testing.assert_allclose(
        model_log_partition(shifted), CONFIG.dim * (np.log(2 * np.pi) + 1) / 2, rtol=1e-6
    )
    assert model_log_partition(shifted.at[0].set(0.0)) == np.inf


def test_steps_to_reach_ignores_an_overshoot():
    curve = np.array([9.0, 1.0, 5.0, 2.0, 1.0])
    assert (steps_to_reach(curve, 2.0), steps_to_reach(curve, 10.0)) == (3, 0)
    assert np.isnan(steps_to_reach(curve, 0.5))
