"""gaussian_1d: far apart, a BAR step or a solved F beats a joint gradient; smoke preset."""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest

from experiments.common import results
from experiments.gaussian_1d.config import PRESETS
from experiments.gaussian_1d.lanes import Case, Trace, parameter_distance, stored_steps, train
from experiments.gaussian_1d.plot import draw
from experiments.gaussian_1d.run import _open_settings, experiment
from experiments.gaussian_1d.statistics import five_runs
from experiments.gaussian_1d.treatments import compared

pytestmark = pytest.mark.costly

CONFIG = PRESETS["smoke"]
METHODS, DISTANCES, SEEDS, STEPS = 5, 3, CONFIG.num_seeds, CONFIG.num_steps + 1


@pytest.fixture(scope="module", autouse=True)
def rank_promotion_as_distrax_needs_it():
    """distrax broadcasts samples (samples, dim) against parameters (dim,)."""
    with jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(scope="module")
def smoke(smoke_result):
    return smoke_result("gaussian_1d", CONFIG, experiment)


def test_arrays_have_their_shapes_and_nothing_failed(smoke):
    num_records = stored_steps(CONFIG.num_steps).size
    expected = {
        "run_loss": (METHODS, DISTANCES, CONFIG.num_runs, STEPS),
        "run_theta": (METHODS, DISTANCES, CONFIG.num_runs, STEPS),
        "parameter_distance": (METHODS, DISTANCES, SEEDS, num_records),
        "elsewhere_distance": (2, DISTANCES, SEEDS),
        "magnified_distance": (
            3,
            DISTANCES,
            len(CONFIG.magnifications),
            CONFIG.num_seeds_magnified,
            num_records,
        ),
        "setting_distance": (3, len(smoke.arrays["settings"]), SEEDS),
        "size_distance": (len(CONFIG.other_sizes), 3, DISTANCES, CONFIG.num_seeds_other),
    }
    assert {name: smoke.arrays[name].shape for name in expected} == expected
    assert all(np.isfinite(smoke.arrays[name]).all() for name in expected)
    assert all(len(lanes) == 0 for lanes in smoke.failed_lanes.values())


def test_far_apart_bar_and_solved_beat_the_joint_gradient_and_solvers_agree(smoke):
    assert smoke.headline["bar_at_16"] < smoke.headline["nce_at_16"] - 10
    assert smoke.headline["search_at_16"] < smoke.headline["nce_at_16"] - 5
    assert smoke.headline["largest_difference_search_newton"] < 1e-2


def test_the_same_runs_agree_between_studies(smoke):
    """Distance 16 is also the first open setting, and M = 1 a magnification: draws are shared."""
    final = smoke.arrays["parameter_distance"][[0, 2, 4], -1, :, -1]
    assert np.isfinite(final).all()
    np.testing.assert_allclose(smoke.arrays["setting_distance"][:, 0], final, rtol=1e-3)
    few = CONFIG.num_seeds_magnified
    np.testing.assert_allclose(
        smoke.arrays["magnified_distance"][:, -1, 0, :, -1], final[:, :few], rtol=1e-3
    )


def test_plots_come_from_stored_results(smoke, tmp_path):
    results.save(tmp_path, smoke)
    figures = draw(results.load(tmp_path, ""))
    assert {f"gaussian_1d_figure_{number}" for number in (2, 8, 9, 10)} < set(figures)
    plt.close("all")


def test_a_run_repeats_and_names_stay_with_their_method():
    keys, cases = jax.random.split(jax.random.key(1), 2), [Case(4.0)]
    traces = train(compared(), cases * 2, keys, num_steps=5, batch_size=32)
    for trace in traces.values():
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(trace))
        jax.tree.map(lambda leaf: np.testing.assert_array_equal(leaf[0], leaf[1]), trace)
    change = {name: abs(trace.log_partition[..., 0]).max() for name, trace in traces.items()}
    # Only a solved F is not 0 at the first loss.
    assert change["NCE"] == change["BAR"] == 0 < change["Newton"]


def test_the_experiment_repeats(smoke):
    """One study repeated, compiled anew."""
    keys = jax.vmap(lambda index: jax.random.fold_in(jax.random.key(CONFIG.seed), index))(
        jnp.arange(CONFIG.num_seeds)
    )
    once, repeated = (_open_settings(CONFIG, keys)["setting_distance"] for _ in range(2))
    assert np.isfinite(once).all()
    np.testing.assert_array_equal(once, repeated)
    np.testing.assert_allclose(once, smoke.arrays["setting_distance"], rtol=1e-3)


def test_parameter_distance_by_hand():
    trace = Trace(None, np.full((1, 1, 1), 7.0), np.full((1, 1, 1), 12.0), None)
    np.testing.assert_allclose(parameter_distance(trace, [Case(4.0)]), 5.0)  # (7 - 4, 12 - 8)


def test_share_of_five_runs():
    assert five_runs(np.zeros(10), np.ones(10)) == 1.0
    alternating = jnp.arange(10) % 2
    assert abs(five_runs(np.asarray(alternating), np.full(10, 0.5)) - 0.5) < 0.03
