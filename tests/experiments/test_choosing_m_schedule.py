"""choosing_m_schedule: the averaged loss, the recipe, and ratios of made-up numbers."""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy import optimize

import nce_jax
from experiments.choosing_m_schedule import candidates, plot, run, statistics, table, train
from experiments.choosing_m_schedule.candidates import CANDIDATES, averaged_nce, largest_supported
from experiments.choosing_m_schedule.config import PRESETS, Config
from experiments.choosing_m_schedule.problems import FURTHER, PROBLEMS
from experiments.common import magnification_problems, pieces, results
from tests import oracles

SMOKE, PAPER = PRESETS["smoke"], PRESETS["paper"]


@pytest.fixture(autouse=True)
def rank_promotion_as_distrax_needs_it():
    with jax.numpy_rank_promotion("allow"):
        yield


def log_ratios(theta: float = 1.5) -> tuple[jax.Array, jax.Array]:
    generator = np.random.default_rng(0)
    return tuple(jnp.asarray(theta * (mean + generator.standard_normal(300))) for mean in (2, 0))


def nodes(largest: float) -> np.ndarray:
    return largest ** ((np.arange(candidates.NUM_NODES) + 0.5) / candidates.NUM_NODES)


def losses(root, largest: float) -> np.ndarray:
    s_data, s_noise = map(np.asarray, log_ratios())
    roots = np.broadcast_to(root, candidates.NUM_NODES)
    return np.array(
        [
            np.logaddexp(0, np.log(m) - s_data + f).mean()
            + m * np.logaddexp(0, s_noise - f - np.log(m)).mean()
            for m, f in zip(nodes(largest), roots, strict=True)
        ]
    )


def test_with_one_f_it_is_the_f_of_least_mean_loss(x64):
    criterion = averaged_nce(CANDIDATES["averaged, one F"], 1e3)
    solved = criterion.profile(*log_ratios())
    least = optimize.minimize_scalar(
        lambda f: losses(f, 1e3).mean(), bracket=(-2, 8), options={"xtol": 1e-10}
    )
    np.testing.assert_allclose(solved.log_partition, least.x, atol=1e-6)
    value = criterion.loss(*log_ratios(), log_partition=solved.log_partition)
    np.testing.assert_allclose(value, least.fun, rtol=1e-10)


def test_with_its_own_f_it_is_the_mean_of_the_profiled_losses(x64):
    criterion = averaged_nce(CANDIDATES["averaged"], 1e3)
    sides = log_ratios()
    roots = [oracles.root(*map(np.asarray, sides), kappa=m) for m in nodes(1e3)]
    np.testing.assert_allclose(criterion.loss(*sides), losses(roots, 1e3).mean(), rtol=1e-9)
    # The gradient at the solved F is that of the mean of the minima.
    profiled = lambda data: jnp.mean(
        nce_jax.profiled_nce_loss(
            jnp.broadcast_to(data, (candidates.NUM_NODES, 300)),
            jnp.broadcast_to(sides[1], (candidates.NUM_NODES, 300)),
            magnification=jnp.asarray(nodes(1e3)),
        )
    )
    gradient = jax.grad(lambda data: criterion.loss(data, sides[1]))(sides[0])
    np.testing.assert_allclose(gradient, jax.grad(profiled)(sides[0]), rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("name", list(CANDIDATES))
def test_at_one_m_every_candidate_is_binary_nce(x64, name):
    largest = 1.0 if CANDIDATES[name].averages else 50.0
    criterion, plain = averaged_nce(CANDIDATES[name], largest), nce_jax.criteria.nce()
    plain = nce_jax.criteria.nce(magnification=largest)
    root = plain.profile(*log_ratios()).log_partition
    solved = criterion.profile(*log_ratios()).log_partition
    np.testing.assert_allclose(solved, root, atol=1e-9)
    loss = plain.loss(*log_ratios(), log_partition=root)
    np.testing.assert_allclose(criterion.loss(*log_ratios(), log_partition=root), loss, rtol=1e-12)


@pytest.mark.parametrize("name", ["averaged", "averaged, one F"])
def test_the_truth_minimizes_the_averaged_loss(x64, name):
    """By quadrature of N(1, 1) against N(0, 1): the gradient in the tilt is zero at the truth."""
    x = jnp.linspace(-9, 10, 4001)
    weights = [jnp.exp(-((x - mean) ** 2) / 2) for mean in (1, 0)]
    criterion = averaged_nce(CANDIDATES[name], 1e3)

    def loss(theta, root):
        """The criterion's own loss ignores weights: all batches in training have none."""
        at = jnp.asarray(nodes(1e3))
        return jnp.mean(
            nce_jax.nce_loss(
                *(jnp.broadcast_to(theta * x, (at.size, x.size)),) * 2,
                log_partition=root,
                magnification=at,
                weights_data=weights[0],
                weights_noise=weights[1],
            )
        )

    assert criterion.name == "averaged nce"
    slopes = jax.grad(loss, argnums=(0, 1))(1.0, 0.5)  # F of N(1, 1) against N(0, 1) is 1/2
    np.testing.assert_allclose(slopes, 0, atol=1e-12)
    assert abs(jax.grad(loss)(1.1, 0.5)) > 1e-3


def test_the_annealed_m_falls_from_the_supported_one_to_1():
    criterion = nce_jax.criteria.nce()
    s_data, s_noise = (s.astype(jnp.float32) for s in log_ratios(3.0))
    equation_at = lambda m: criterion.at_magnification(m).equation(s_data, s_noise)
    supported = float(nce_jax.suggested_magnification(s_data, s_noise))
    for rate in (1.0, 0.5, 0.0):
        rule = largest_supported(CANDIDATES["annealed"], lambda step, rate=rate: rate, 300, 1e5)
        state = rule.init(jnp.zeros(1), jnp.float32)
        choice = rule.choose(state, jnp.int32(0), equation_at, None)
        np.testing.assert_allclose(choice.magnification, supported**rate, rtol=1e-4)
    assert 10 < supported < 1e5


def test_the_rate_falls_to_zero_and_the_average_covers_the_last_tenth():
    """A gradient of constant sign: Adam's steps are its rate, whose sum is half the budget's."""
    problem = magnification_problems.shifted(50.0, 1, None)._replace(error=lambda theta: theta[0])
    step, recipe = train.fixed(problem, 1.0), train.Recipe(20, 1e-5)
    ends = train.train(problem, PAPER, step, recipe, jax.random.key(0))
    path = np.cumsum(1e-5 * (1 + np.cos(np.pi * np.arange(20) / 20)) / 2)
    np.testing.assert_allclose(ends.raw, path[-1:], rtol=1e-3)
    mean = 0.0
    for number, position in enumerate(path):
        gain = max(1 / (number + 1), 1 / 2)
        mean += gain * (position - mean)
    np.testing.assert_allclose(ends.averaged, [mean], rtol=1e-3)


def test_the_problems_are_those_of_choosing_m_and_others():
    assert set(PAPER.problems) == set(PROBLEMS) == set(magnification_problems.PROBLEMS)
    assert set(PAPER.further) == set(FURTHER)
    assert not set(PROBLEMS) & set(FURTHER)
    assert PROBLEMS["digits"].peak_rate == 1e-3


def arrays(method: float, factor: float = 1.0) -> dict[str, np.ndarray]:
    """Two M, four seeds, three budgets, one method: the second M is the best by its mean."""
    errors = np.ones((2, 3, 4, 3))
    errors[:, 1] = np.array([0.1, 0.9, 0.5, 0.5])[:, None]
    errors[:, 2] = method
    return {
        "averaged": errors,
        "rates": factor * errors[..., :1],
        "magnifications": np.array([1, 10]),
        "methods": np.array(["adaptive"]),
        "is_further": np.array([False, True]),
    }


def test_the_best_of_the_grid_is_taken_by_its_mean_and_a_failed_run_is_infinite():
    np.testing.assert_allclose(statistics.ratios(arrays(0.6))[:, 1], 1.2)
    np.testing.assert_allclose(statistics.ratios(arrays(0.6), "one")[:, 1], 0.6)
    failed = arrays(0.6)
    failed["averaged"][0, 1, 0, 0] = np.nan
    np.testing.assert_allclose(statistics.ratios(failed)[0, :, 0], [1, 0.6])


def test_the_error_of_a_ratio_is_zero_where_method_and_best_are_the_same_runs():
    same = arrays(0.5)
    same["averaged"][:, 2] = same["averaged"][:, 1]
    np.testing.assert_allclose(statistics.standard_errors(same)[:, 1], 0, atol=1e-15)
    assert statistics.standard_errors(arrays(0.5))[:, 1].min() > 0.1


def test_headlines_count_apart_what_is_near_and_what_is_worse_than_m_1():
    near, far = statistics.headline(arrays(0.54)), statistics.headline(arrays(1.2))
    for group in ("", "further_"):
        assert near[f"{group}adaptive_share_within_10_percent"] == 1
        assert near[f"{group}adaptive_share_worse_than_m_1"] == 0
        assert far[f"{group}adaptive_share_within_10_percent"] == 0
        assert far[f"{group}adaptive_share_worse_than_m_1"] == 1
        assert far[f"{group}m_1_share_within_10_percent"] == 0


def test_the_size_of_the_ratios_is_their_geometric_mean_and_the_largest():
    typical, largest = statistics.sizes(arrays(0.6), np.array([True, False]))
    np.testing.assert_allclose(typical[1], 1.2)
    one = statistics.ratios(arrays(0.6))[:1, 0]
    np.testing.assert_allclose(typical[0], np.prod(one) ** (1 / one.size))
    np.testing.assert_allclose(largest[0], one.max())
    assert table.ratio_sizes(arrays(0.6)).count("\n") == 3


@pytest.fixture(scope="module")
def result(smoke_result):
    with jax.numpy_rank_promotion("allow"):
        return smoke_result("choosing_m_schedule", SMOKE, run.experiment)


@pytest.mark.slow
class TestSmokePreset:
    def test_every_choice_seed_and_budget_is_measured(self, result):
        number = len(SMOKE.magnifications) + len(statistics.method_names(SMOKE))
        assert result.arrays["averaged"].shape == (3, number, SMOKE.num_seeds, 3)
        assert result.arrays["rates"].shape == (3, number, SMOKE.group_size, 1)
        assert np.isfinite(result.arrays["averaged"]).all()
        paths = result.arrays["paths"]
        assert np.isnan(paths[:, : len(SMOKE.magnifications)]).all()
        assert np.nanmin(paths[:, len(SMOKE.magnifications) :]) >= 0.09

    def test_plots_and_tables_from_stored_results(self, result, tmp_path):
        results.save(tmp_path, result)
        stored = results.load(tmp_path, "nothing")
        assert statistics.headline(stored.arrays) == pytest.approx(stored.headline)
        names = ("errors", "ratios", "paths")
        assert set(plot.draw(stored)) == {f"choosing_m_schedule_{name}" for name in names}
        plt.close("all")
        assert table.summary(stored.arrays).count("\n") == len(stored.arrays["methods"]) + 2
        assert table.by_problem(stored.arrays).count("\n") == 4


@pytest.mark.slow
def test_an_interrupted_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(pieces, "RUNS", tmp_path)
    config = Config(**{**SMOKE.__dict__, "problems": ("5-D",), "further": ()})
    runs_of, key = run._runs_of, jax.random.key(0)

    def killed_at_the_second(programs, kind, *rest):
        if kind == "grid":
            return runs_of(programs, kind, *rest)
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "_runs_of", killed_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        run.experiment(config, key)
    assert [path.name for path in tmp_path.rglob("*.npz")] == ["5D-grid.npz"]
    before = next(tmp_path.rglob("*.npz")).stat().st_mtime_ns
    monkeypatch.setattr(run, "_runs_of", runs_of)
    result = run.experiment(config, key)
    assert next(tmp_path.rglob("5D-grid.npz")).stat().st_mtime_ns == before
    assert len(list(tmp_path.rglob("*.npz"))) == 5  # until the result is written
    pieces.remove(result.pieces)
    assert not list(tmp_path.rglob("*.npz"))
