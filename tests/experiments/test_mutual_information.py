"""mutual_information: closed form, preconditioner, errors and flags; the smoke preset runs."""

import itertools

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest

from experiments.common import pieces, results
from experiments.mutual_information import (
    methods,
    natural_gradient,
    problem,
    run,
    statistics,
    table,
)
from experiments.mutual_information.config import PRESETS
from experiments.mutual_information.measures import Measures, measure
from experiments.mutual_information.plot import draw
from experiments.mutual_information.stages import Fit, map_stages

CONFIG = PRESETS["smoke"]
RHO = 0.7951


@pytest.mark.parametrize(("dim", "nats"), [(2, 0.5), (40, 10), (80, 20), (160, 40), (320, 80)])
def test_the_truth_is_kl_to_the_product_of_marginals(dim, nats):
    """KL(N(0, C) || N(0, I)) = (tr C - d - log det C) / 2, in float64.

    The correlation is chosen for d / 4 nats.
    """
    matrix = problem.covariance(dim, RHO)
    expected = (np.trace(matrix) - dim - np.linalg.slogdet(matrix)[1]) / 2
    np.testing.assert_allclose(problem.mutual_information(dim, RHO), expected, rtol=1e-12)
    np.testing.assert_allclose(expected, nats, rtol=1e-3)


def test_samples_have_the_stated_covariance():
    x = np.asarray(problem.draw(jax.random.key(0), 200_000, 4, RHO), np.float64)
    np.testing.assert_allclose(np.cov(x.T), problem.covariance(4, RHO), atol=0.02)


def _dense_natural(gap_quadratic, gap_linear, matrix):
    """Natural gradient from the full Fisher matrix of N(0, C), by Isserlis' theorem.

    The matrix of all d^2 + d statistics is pseudo-inverted.
    """
    dim = len(matrix)
    pairs = [(i, j) for i in range(dim) for j in range(dim)]
    fisher = np.zeros((dim * dim + dim,) * 2)
    for row, (i, j) in enumerate(pairs):
        for column, (k, m) in enumerate(pairs):
            fisher[row, column] = matrix[i, k] * matrix[j, m] + matrix[i, m] * matrix[j, k]
    fisher[dim * dim :, dim * dim :] = matrix
    change = np.linalg.pinv(fisher) @ np.concatenate([gap_quadratic.ravel(), gap_linear])
    return change[: dim * dim].reshape(dim, dim), change[dim * dim :]


def test_the_direction_is_the_dense_fisher_inverse_times_the_gradient():
    rng = np.random.default_rng(0)
    factors, means = rng.normal(size=(2, 4, 4)), rng.normal(size=(2, 4))
    moments = [factor @ factor.T + np.eye(4) for factor in factors]
    with jax.enable_x64(True):
        sides = [
            {"quadratic": jnp.asarray(second), "linear": jnp.asarray(mean)}
            for second, mean in zip(moments, means, strict=True)
        ]
        actual = natural_gradient.natural_direction(*sides)
    expected = _dense_natural(
        moments[0] - moments[1], means[0] - means[1], (moments[0] + moments[1]) / 2
    )
    np.testing.assert_allclose(actual["quadratic"], expected[0], atol=1e-10)
    np.testing.assert_allclose(actual["linear"], expected[1], atol=1e-10)


def _truth(dim: int, levels: list[float]) -> dict[str, jax.Array]:
    """W_k = (C_k+1^-1 - C_k^-1) / 2 of the bridges' covariances C_k = (1 - a^2) C + a^2 I."""
    precisions = [
        np.linalg.inv((1 - a**2) * problem.covariance(dim, RHO) + a**2 * np.eye(dim))
        for a in levels
    ]
    quadratic = np.stack([(after - before) / 2 for before, after in itertools.pairwise(precisions)])
    return {
        "quadratic": jnp.asarray(quadratic, jnp.float32),
        "linear": jnp.zeros((len(precisions) - 1, dim)),
    }


@pytest.mark.costly
def test_the_truth_is_a_fixed_point_of_the_step_and_has_the_closed_form_value():
    levels, key = [0.0, 0.5, 1.0], jax.random.split(jax.random.key(1), 3)
    schedule, params = jnp.array(levels), _truth(4, levels)
    x, y = problem.draw(key[0], 100_000, 4, RHO), jax.random.normal(key[1], (100_000, 4))
    new_params, _ = natural_gradient.step((params, jnp.zeros(2)), schedule, x, key[2], 1.0, 10.0)
    # 0.27 to 0.8 of W are to be learned.
    assert np.abs(new_params["quadratic"] - params["quadratic"]).max() < 0.03
    actual = measure(Fit(params, schedule, 10.0), x, y)
    assert abs(float(actual.value) - problem.mutual_information(4, RHO)) < 4 * float(
        actual.standard_error
    )


def test_bridges_of_a_stage_are_those_of_the_chain():
    x, y, schedule = jnp.full((1, 2), 3.0), jnp.ones((1, 2)), jnp.array([0.0, 0.6, 1.0])
    actual = map_stages(
        lambda leaf, data, noise: jnp.stack([data, noise]), jnp.zeros(2), schedule, x, y
    )
    np.testing.assert_allclose(actual[:, :, 0, 0], [[3, 3.0], [3.0, 1]], rtol=1e-6)


def test_a_drift_is_told_from_noise_and_from_arrival():
    steps = np.arange(20)
    passing = 9.8 + 0.02 * steps  # through the truth, and on
    arrived = 10 - 3 * np.exp(-steps) + 0.01 * (-1.0) ** steps
    padded = np.full((2, 30), np.nan)
    padded[:, :20] = passing, arrived
    np.testing.assert_array_equal(statistics.is_stationary(padded), [False, True])
    np.testing.assert_allclose(statistics.drift(padded)[0], 0.1 / passing[-5:].mean(), rtol=1e-12)
    assert not statistics.is_stationary(np.where(steps == 17, np.nan, arrived)[None])[0]
    assert statistics.is_stationary(np.array([[10.0, np.nan]]))[0]  # a single record: no iteration


def test_coverage_counts_intervals_and_flags_name_the_reason():
    estimate, error = np.array([9.9, 9.0, np.nan, 10.3]), np.array([0.1, 0.1, 0.1, np.inf])
    np.testing.assert_array_equal(
        statistics.is_covered(estimate, error, np.float64(10)), [True, False, False, True]
    )
    still = np.full((4, 8), 10.0)
    arrays = {
        "estimate": estimate,
        "standard_error": error,
        "trace": still,
        "effective_samples": np.array([99, 3, 99, 99]),
    }
    np.testing.assert_array_equal(statistics.is_flagged(arrays), [False, True, True, True])
    assert statistics.fraction(np.array([True, True, False]), np.array([True, False, True])) == 0.5


def test_the_combined_error_holds_samples_parameters_and_half_the_gap():
    actual, repeated = Measures(9.0, 0.3, 20.0, 99.0), Measures(10.0, 0.4, 20.0, 99.0)
    value, error = methods.combine(actual, repeated, 10_000)
    assert value == 9.5
    np.testing.assert_allclose(error, np.sqrt(0.25**2 + 0.2**2 + 0.5**2))


@pytest.fixture(scope="module")
def smoke(tmp_path_factory, smoke_result):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "RUNS", tmp_path_factory.mktemp("runs"))
        yield smoke_result("mutual_information", CONFIG, run.experiment)


@pytest.mark.costly
def test_the_chain_finds_the_truth_and_the_others_say_that_they_have_not_arrived(smoke):
    arrays, rows = smoke.arrays, list(smoke.arrays["methods"])
    chain = rows.index("N2CE + TRE")
    assert np.abs(statistics.relative_errors(arrays)[chain]).max() < 0.1
    assert statistics.is_covered(
        arrays["estimate"], arrays["standard_error"], arrays["truth"][:, None]
    )[chain].all()
    flagged = statistics.is_flagged(arrays)
    assert all(flagged[rows.index(name), 0, 0] for name in ("NCE", "DV", "NWJ", "TRE"))
    assert smoke.headline["silent_failures"] == 0


@pytest.mark.costly
def test_an_interrupted_run_goes_on_with_what_it_has(tmp_path, monkeypatch):
    monkeypatch.setattr(pieces, "RUNS", tmp_path)
    first = run._stored_cell(tmp_path, CONFIG, "plug-in", 0, 0, jax.random.key(0))
    monkeypatch.setattr(run, "cell", lambda *args: pytest.fail("computed again"))
    repeated = run._stored_cell(tmp_path, CONFIG, "plug-in", 0, 0, jax.random.key(0))
    for one, other in zip(first, repeated, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.costly
def test_plots_come_from_stored_results(smoke, tmp_path):
    results.save(tmp_path, smoke)
    assert set(draw(results.load(tmp_path, ""))) == {
        "mutual_information",
        "mutual_information_time",
    }
    plt.close("all")


@pytest.mark.costly
def test_the_table_has_a_row_per_method(smoke):
    lines = table.rows(smoke.arrays)
    assert len(lines) == 2 + len(smoke.arrays["methods"])
    assert len({line.count("|") for line in lines}) == 1
