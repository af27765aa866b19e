"""choosing_m: errors against closed forms, and ratios of made-up numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from experiments.choosing_m import statistics
from experiments.choosing_m.train import scaled_budgets
from experiments.common import pieces, results
from experiments.common.magnification_problems import PROBLEMS, planar, scaled, shifted
from nce_jax import toys


@pytest.fixture(autouse=True)
def rank_promotion_as_distrax_needs_it():
    with jax.numpy_rank_promotion("allow"):
        yield


def arrays(adaptive: float) -> dict[str, np.ndarray]:
    """Two M, four seeds, three budgets; the second M has the smallest mean error."""
    grid = np.ones((1, 2, 4, 3))
    grid[0, 1] = np.array([0.1, 0.9, 0.5, 0.5])[:, None]
    rule_errors = np.full((1, 4, 3), adaptive)
    return {
        "grid": grid,
        "adaptive": rule_errors,
        "constant": rule_errors,
        "magnifications": np.array([1, 10]),
    }


def test_the_best_of_the_grid_is_taken_by_its_mean():
    np.testing.assert_allclose(statistics.ratios(arrays(0.6), "adaptive", "best"), 1.2)
    np.testing.assert_allclose(statistics.ratios(arrays(0.6), "adaptive", "one"), 0.6)


def test_the_error_of_a_ratio_is_zero_where_rule_and_best_are_the_same_runs():
    run_arrays = arrays(0.5)
    run_arrays["adaptive"] = run_arrays["grid"][:, 1]
    np.testing.assert_allclose(statistics.standard_errors(run_arrays, "adaptive"), 0, atol=1e-15)
    assert statistics.standard_errors(arrays(0.5), "adaptive").min() > 0.1


def test_headlines_count_what_is_near_the_best_and_what_is_worse_than_no_magnification():
    near, far = statistics.headline(arrays(0.54)), statistics.headline(arrays(1.2))
    assert near["adaptive_share_within_10_percent"] == 1
    assert near["adaptive_share_worse_than_m_1"] == 0
    assert far["adaptive_share_within_10_percent"] == 0
    assert far["adaptive_share_worse_than_m_1"] == 1


def test_the_divergence_of_shifted_gaussians():
    problem = shifted(2.0, 1, None)
    theta = 1.3
    density = stats.norm(2.0).pdf
    truth = integrate.quad(
        lambda x: density(x) * (stats.norm(2.0).logpdf(x) - stats.norm(theta).logpdf(x)), -8, 12
    )[0]
    np.testing.assert_allclose(problem.error(jnp.array([theta])), truth, rtol=1e-6)


def test_the_divergence_of_scaled_gaussians_is_zero_at_the_truth_and_infinite_unnormalized():
    problem = scaled(0.2, 0.8, 0.5, 3, None)
    variance = np.linspace(0.2, 0.8, 3)
    truth = {"square": jnp.array(1 / variance - 1), "linear": jnp.array(0.5 / variance)}
    np.testing.assert_allclose(problem.error(truth), 0, atol=1e-6)
    assert problem.error({**truth, "square": jnp.full(3, -1.5)}) == np.inf
    x = problem.draw(jax.random.key(0), 20_000)
    # K = 6 standard errors of a variance, seed 0.
    np.testing.assert_allclose(x.var(axis=0), variance, rtol=0.06)


@pytest.mark.costly
def test_a_network_starts_at_the_noise_whose_divergence_is_known_by_sampling():
    problem, toy = planar("8-gaussians"), toys.TOYS["8-gaussians"]
    params = problem.init(jax.random.key(0))
    x = toy.sample(jax.random.key(2), 20_000)
    assert float(jnp.abs(problem.log_ratio_fn(params, x)).max()) == 0
    terms = np.asarray(toy.log_density(x)) - stats.multivariate_normal(
        np.zeros(2), 2 * np.eye(2)
    ).logpdf(x)
    error = terms.std() * (1 / 20_000 + 1 / 4_000) ** 0.5  # both means are of samples
    assert abs(problem.error(params) - terms.mean()) < 4 * error  # k = 4, seed 2
    assert PROBLEMS["5-D"]().budgets == (20, 100, 1000)


def test_budgets_are_scaled_but_never_empty():
    config = type("Config", (), {"share": 0.001})
    assert scaled_budgets(shifted(1.0, 2, None), config) == (2, 2, 2)


@pytest.mark.costly
def test_the_whole_experiment_at_its_smallest_and_an_interrupted_one_goes_on(tmp_path, monkeypatch):
    from experiments.choosing_m import run
    from experiments.choosing_m.config import PRESETS
    from experiments.choosing_m.plot import draw

    monkeypatch.setattr(pieces, "RUNS", tmp_path)
    by_rules, config, key = run.by_rules, PRESETS["smoke"], jax.random.key(0)

    def killed_at_the_second(problem, *rest):
        if problem.has_truth:
            return by_rules(problem, *rest)
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "by_rules", killed_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        run.experiment(config, key)
    monkeypatch.setattr(run, "by_rules", by_rules)
    # Both grids were there.
    monkeypatch.setattr(run, "at_fixed", lambda *_: pytest.fail("computed again"))
    result = run.experiment(config, key)
    assert result.arrays["adaptive"].shape == (2, 2, 3)
    assert np.isfinite(result.arrays["grid"]).all()
    assert len(list(tmp_path.rglob("*.npz"))) == 4  # until the result is written
    pieces.remove(result.pieces)
    assert not list(tmp_path.rglob("*.npz"))
    figures = draw(results.Stored(dict(result.arrays), dict(result.headline), {}))
    assert set(figures) == {"choosing_m_errors", "choosing_m_ratios", "choosing_m_paths"}
