"""convergence: curvatures and flow against closed forms, descent, and the smoke preset."""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import pytest

import nce_jax
from experiments.common import results
from experiments.convergence import descent, landscape
from experiments.convergence.config import PRESETS
from experiments.convergence.plot import draw
from experiments.convergence.problems import mean_problem, precision_problem
from experiments.convergence.run import experiment
from experiments.convergence.statistics import line, magnification_needed
from experiments.convergence.studies import first_hits

CONFIG = PRESETS["smoke"]


@pytest.fixture(scope="module", autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def test_curvatures_at_infinite_m_are_those_of_the_fisher_information():
    """F solved: Cov(T), closed form; joint, at F = log Z: E[(T, -1)(T, -1)^T]."""
    m, v = 2.0, 0.5
    at_truth = lambda curvatures: jax.jit(
        lambda m: curvatures(precision_problem(m, v, 384), None, jnp.array([1.0]))[0]
    )(jnp.array(m))
    covariance = np.array([[v, 2 * m * v], [2 * m * v, 2 * v**2 + 4 * m**2 * v]])
    actual = at_truth(landscape.profiled_curvatures)
    np.testing.assert_allclose(actual, np.linalg.eigvalsh(covariance), rtol=1e-8)
    mean = np.array([m, m**2 + v])
    joint = np.block(
        [[covariance + np.outer(mean, mean), -mean[:, None]], [-mean[None], np.ones((1, 1))]]
    )
    actual = at_truth(landscape.joint_curvatures)
    np.testing.assert_allclose(actual, np.linalg.eigvalsh(joint), rtol=1e-8)


def test_joint_curvatures_of_nce_at_the_truth():
    """Integral of kappa p q / (kappa q + p) (T, -1)(T, -1)^T, computed in NumPy."""
    x = np.linspace(-12, 15, 4001)
    p, q = (np.exp(-((x - center) ** 2) / 2) / np.sqrt(2 * np.pi) for center in (3.0, 0.0))
    t = np.column_stack([x, -np.ones_like(x)])
    weight = 50 * p * q / (50 * q + p) * (x[1] - x[0])
    curvatures = jax.jit(
        lambda m: landscape.joint_curvatures(mean_problem(m, 512), 50.0, jnp.array([1.0]))[0]
    )
    actual = curvatures(jnp.array(3.0))
    np.testing.assert_allclose(actual, np.linalg.eigvalsh((t * weight[:, None]).T @ t), rtol=1e-8)


@pytest.fixture(scope="module")
def flow():
    return landscape.flow_times((2.0, 3.0), np.array([0.0, 30.0]), 0.1, 256)


@pytest.mark.costly
def test_flow_at_a_huge_m_takes_the_time_of_the_likelihood(flow):
    for name in ("fixed", "solved"):
        np.testing.assert_allclose(flow[name][:, 1], np.log([20.0, 30.0]), rtol=1e-6)


@pytest.mark.costly
def test_plain_descent_takes_the_time_of_the_flow(flow):
    """F solved, M = 1: small steps reach the distance after time / rate steps."""
    rate = 0.01
    run = jax.jit(
        lambda m: (
            descent.descend(
                mean_problem(m, 256), nce_jax.criteria.nce(), "solved", optax.sgd(rate), 2000
            ).theta
        )
    )
    steps = first_hits(np.asarray(run(jnp.array(2.0))), (0.1,))[0]
    np.testing.assert_allclose(steps * rate, flow["solved"][0, 0], rtol=0.01)


def test_a_normalized_step_has_the_length_of_the_rate_however_small_the_gradient():
    transform = descent.normalized(0.5)
    update, _ = transform.update(
        (jnp.array([3e-30]), jnp.array(4e-30)), transform.init((jnp.zeros(1), jnp.zeros(())))
    )
    np.testing.assert_allclose([update[0][0], update[1]], [-0.3, -0.4], rtol=1e-12)


@pytest.mark.costly
def test_newton_converges_where_the_landscape_is_flat():
    """KL 32, M = 1, F solved: Newton's method needs fewer than 20 steps.

    Gradient flow takes 4e5 units of time.
    """
    run = jax.jit(lambda m: descent.newton(mean_problem(m, 256), 1.0, 1.0, 25).theta)
    assert first_hits(np.asarray(run(jnp.array(8.0))), (1e-6,))[0] < 20


def test_first_hits_and_lines():
    hits = first_hits(np.array([[3.0, 0.5, 2.0, 0.1], [3.0, 3.0, 3.0, 3.0]]), (1.0, 0.2))
    np.testing.assert_array_equal(hits, [[1, 3], [np.inf, np.inf]])
    assert line(np.array([0.0, 1.0, 2.0]), np.array([1.0, np.inf, 5.0])) == pytest.approx(2.0)


def test_magnification_needed_interpolates():
    times = np.exp(np.array([[3.0, 1.0, -1.0]])) * 2
    arrays = {
        "flow_x": times,
        "flow_likelihood": np.ones(1),
        "flow_log_magnifications": np.array([0.0, 5.0, 10.0]),
    }
    np.testing.assert_allclose(magnification_needed(arrays, "x"), [7.5])


@pytest.fixture(scope="module")
def smoke(double_precision, smoke_result):
    return smoke_result("convergence", CONFIG, experiment)


@pytest.mark.costly
def test_smoke_runs(smoke):
    assert smoke.arrays["mean_joint_nce_ngd_hits"].shape == (2, 2, 2, len(CONFIG.distances))
    assert all(len(lanes) == 0 for name, lanes in smoke.failed_lanes.items() if "nwj" not in name)
    # A run that never arrives has infinite hits, which are equal as well.
    assert np.isfinite(smoke.arrays["mean_solved_nce_ngd_hits"]).any()
    np.testing.assert_array_equal(
        smoke.arrays["mean_solved_nce_ngd_hits"][:, 0],
        smoke.arrays["mean_solved_nce_ngd_hits"][:, 1],
    )


@pytest.mark.costly
def test_plots_come_from_stored_results(smoke, tmp_path):
    results.save(tmp_path, smoke)
    assert len(draw(results.load(tmp_path, ""))) == 5
    plt.close("all")
