"""Mutual information: closed forms, invariance, the parts by other implementations, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.special
import scipy.stats

import nce_jax
from nce_jax.ratio_estimation import UnreliableRatioWarning
from nce_jax.ratio_estimation._information import _candidates, _copula, _correction, _split
from nce_jax.ratio_estimation._information._copula import GAUSSIAN
from nce_jax.ratio_estimation._information._result import MutualInformation
from tests.compilations import compilations
from tests.ratio_estimation.test_few_values import of_cells

KEY = jax.random.key(0)


def equicorrelated(dim, correlation=0.5):
    return np.eye(dim) * (1 - correlation) + correlation


def of_gaussian(covariance, dim_x):
    """The closed form: half the log of the ratio of the determinants."""
    log_det = [
        np.linalg.slogdet(block)[1]
        for block in (covariance[:dim_x, :dim_x], covariance[dim_x:, dim_x:], covariance)
    ]
    return (log_det[0] + log_det[1] - log_det[2]) / 2


def of_student(dim_x, dim_y, freedom):
    """Of a t distribution whose scatter matrix is the identity (Arellano-Valle et al., 2013)."""

    def part(count):
        half = count / 2
        return scipy.special.gammaln(half) - half * scipy.special.digamma(half)

    ends = part(freedom) + part(freedom + dim_x + dim_y)
    return ends - part(freedom + dim_x) - part(freedom + dim_y)


def gaussian_pairs(seed, covariance, dim_x, count):
    generator = np.random.default_rng(seed)
    z = generator.multivariate_normal(np.zeros(len(covariance)), covariance, count)
    return z[:, :dim_x], z[:, dim_x:]


def student_pairs(seed, dims, freedom, count):
    generator = np.random.default_rng(seed)
    z = generator.standard_normal((count, sum(dims)))
    z /= np.sqrt(generator.chisquare(freedom, count) / freedom)[:, None]
    return z[:, : dims[0]], z[:, dims[0] :]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("dim_x", "dim_y", "correlation"), [(1, 1, 0.8), (3, 2, 0.5), (2, 1, 0.0)])
def test_gaussians_within_three_standard_errors(seed, dim_x, dim_y, correlation):
    covariance = equicorrelated(dim_x + dim_y, correlation)
    x, y = gaussian_pairs(seed, covariance, dim_x, 900)
    found = nce_jax.mutual_information(KEY, x, y)
    assert abs(found.value - of_gaussian(covariance, dim_x)) < 3 * found.standard_error + 0.005
    assert found.model in ("gaussian copula", "t copula")
    assert found.is_reliable


@pytest.mark.parametrize("seed", range(3))
def test_heavy_tails_within_three_standard_errors(seed):
    """Without any correlation: the dependence is in the radii alone."""
    x, y = student_pairs(seed, (2, 3), 2, 900)
    found = nce_jax.mutual_information(KEY, x, y)
    assert found.model == "t copula"
    assert found.degrees_of_freedom in (1.5, 2.0, 3.0)
    assert abs(found.value - of_student(2, 3, 2)) < 3 * found.standard_error


@pytest.mark.parametrize("correlation", [0.0, 0.5])
def test_the_middle_of_seen_and_unseen_pairs_is_unbiased_in_many_dimensions(correlation):
    """Both are off by p / 2n with p = 400: here 0.06 nats, seven standard errors and more."""
    covariance = equicorrelated(40, correlation)
    x, y = gaussian_pairs(0, covariance, 20, 4_000)
    found = _candidates.best_copula(x, y, _split.split(np.random.default_rng(0), 4_000, 5))
    unseen, truth = found.held_out.joint.mean(), of_gaussian(covariance, 20)
    error = found.held_out.joint.std() / np.sqrt(4_000)
    assert found.name == "gaussian copula"
    assert unseen < truth - 3 * error
    assert found.in_sample > truth + 2 * error
    assert abs((unseen + found.in_sample) / 2 - truth) < 2 * error


def test_increasing_maps_of_coordinates_change_nothing():
    x, y = gaussian_pairs(0, equicorrelated(3), 2, 150)
    found = nce_jax.mutual_information(KEY, x, y)
    again = nce_jax.mutual_information(KEY, np.stack([np.exp(x[:, 0]), x[:, 1] ** 3], 1), 5 + 2 * y)
    assert again == found


def test_both_sides_are_alike():
    x, y = gaussian_pairs(0, equicorrelated(3), 2, 150)
    found, again = (nce_jax.mutual_information(KEY, *pair) for pair in ((x, y), (y, x)))
    assert again.value == pytest.approx(found.value, abs=1e-9)


def test_a_constant_column_changes_nothing():
    x, y = gaussian_pairs(0, equicorrelated(3), 2, 150)
    wider = np.concatenate([x, np.full((150, 1), 7.0)], axis=1)
    assert nce_jax.mutual_information(KEY, wider, y) == nce_jax.mutual_information(KEY, x, y)


def test_ranks_and_scores_are_those_of_scipy():
    x = np.random.default_rng(0).integers(0, 20, (50, 3)).astype(float)
    ranks = _copula.ranks(x)
    levels = (scipy.stats.rankdata(x, axis=0) - 0.5) / 50
    np.testing.assert_array_equal(ranks, 2 * scipy.stats.rankdata(x, axis=0) - 1)
    np.testing.assert_allclose(
        _copula.scores(ranks, GAUSSIAN), scipy.stats.norm.ppf(levels), rtol=1e-12, atol=1e-15
    )
    np.testing.assert_allclose(
        _copula.scores(ranks, 3.0), scipy.stats.t.ppf(levels, 3.0), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("freedom", [1.0, 4.0, GAUSSIAN])
def test_log_ratios_are_differences_of_scipys_log_densities(freedom):
    generator = np.random.default_rng(0)
    factor = generator.standard_normal((5, 5))
    matrix, w = factor @ factor.T + np.eye(5), 3 * generator.standard_normal((40, 5))

    def log_density(columns):
        block = matrix[columns, columns]
        if freedom == GAUSSIAN:
            return scipy.stats.multivariate_normal.logpdf(w[:, columns], cov=block)
        return scipy.stats.multivariate_t.logpdf(w[:, columns], shape=block, df=freedom)

    params = _copula.copula(matrix, 2, freedom)
    expected = log_density(slice(None)) - log_density(slice(2)) - log_density(slice(2, None))
    np.testing.assert_allclose(
        _copula.log_ratios(params, w[:, :2], w[:, 2:]), expected, rtol=1e-6, atol=1e-5
    )


def test_the_scatter_matrix_solves_its_equation():
    """At the maximum of the likelihood: R = mean (nu + d) / (nu + q) w w'."""
    w = np.concatenate(student_pairs(0, (2, 2), 3, 2_000), axis=1) @ np.diag([1, 2, 3, 4])
    matrix = _copula.scatter(w, 3.0, None)
    squares = ((w @ np.linalg.inv(matrix)) * w).sum(axis=1)
    mean = (w * (7 / (3 + squares))[:, None]).T @ w / len(w)
    np.testing.assert_allclose(mean, matrix, atol=2e-3 * np.abs(matrix).max())


@pytest.mark.parametrize("is_solved", [False, True])
def test_the_standard_error_is_the_spread_over_data_sets(is_solved):
    """Of the true log ratio at a correlation of 0.8, over 200 data sets of 200 pairs."""
    matrix = np.array([[1, 0.8], [0.8, 1]])
    params = _copula.copula(matrix, 1, GAUSSIAN)
    parts = _split.split(np.random.default_rng(0), 200, 2)
    rows, columns = parts.pairs()
    values, errors = [], []
    for seed in range(200):
        x, y = gaussian_pairs(seed, matrix, 1, 200)
        of_pairs = np.stack(
            [_copula.log_ratios(params, x[i], y[j]) for i, j in zip(rows, columns, strict=True)]
        )
        ratios = _split.held_out(of_pairs, parts.shifts)
        root = 0.0
        if is_solved:
            sides = jnp.asarray(ratios.joint.ravel()), jnp.asarray(ratios.shuffled.ravel())
            root = float(nce_jax.solve_log_partition(*sides).log_partition)
        values.append(ratios.joint.mean() - root)
        errors.append(_split.standard_error(ratios.influences(root, is_solved=is_solved)))
    # The spread of 200 values is known to 5 per cent.
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.15)


@pytest.mark.parametrize("count", [10, 23, 12_345])
def test_no_held_out_pair_meets_itself_or_another_fold(count):
    parts = _split.split(np.random.default_rng(0), count, 5)
    for limit in (None, _split.WATCHED):
        rows, columns = parts.pairs(limit)
        num_joint = rows.shape[1] // (1 + len(parts.shifts))
        assert (rows[:, :num_joint] == columns[:, :num_joint]).all()
        assert (rows[:, num_joint:] != columns[:, num_joint:]).all()
        assert (parts.fold[rows] == np.arange(5)[:, None]).all()
        assert (parts.fold[columns] == np.arange(5)[:, None]).all()


@pytest.mark.costly
def test_networks_find_what_copulas_do_not_and_compile_once():
    """A mixture of both signs of a correlation of 0.95, whose truth is by quadrature."""
    grid = np.linspace(-7, 7, 1401)
    points = np.stack(np.meshgrid(grid, grid), axis=-1)
    joint, product = (
        sum(scipy.stats.multivariate_normal.pdf(points, cov=[[1, r], [r, 1]]) / 2 for r in signs)
        for signs in ((-0.95, 0.95), (0.0, 0.0))
    )
    truth = np.sum(joint * np.log(joint / product)) * (grid[1] - grid[0]) ** 2
    generator = np.random.default_rng(0)

    def pairs(count, dim):
        x = generator.standard_normal((count, dim))
        noise = np.sqrt(1 - 0.95**2) * generator.standard_normal(count)
        y = 0.95 * generator.choice([-1, 1], count) * x[:, 0] + noise
        return x.astype(np.float32), y[:, None].astype(np.float32)

    found = nce_jax.mutual_information(KEY, *pairs(2_000, 1), max_training_steps=600)
    assert found.model == "network"
    assert found.held_out_losses["network"] == min(found.held_out_losses.values())
    assert abs(found.value - truth) < 3 * found.standard_error
    with compilations() as names:
        found = nce_jax.mutual_information(KEY, *pairs(1_500, 2), max_training_steps=300)
    assert found.num_steps == 300
    assert not names


def test_the_networks_start_at_the_copula():
    x, y = gaussian_pairs(0, equicorrelated(4), 2, 200)
    parts = _split.split(np.random.default_rng(0), 200, 2)
    start = _candidates.best_copula(x, y, parts)
    w = start.w[:, :2], start.w[:, 2:]
    problem = _correction.make_problem(*w, *w, start.copulas, parts.fold)
    networks = _correction.initial_networks(KEY, problem, (2, 2))
    values = _correction.log_ratios_of_pairs(networks.params, problem, *parts.pairs())
    np.testing.assert_allclose(
        _split.held_out(values, parts.shifts).shuffled, start.held_out.shuffled, atol=1e-4
    )


def test_ten_samples_give_an_answer_that_says_so():
    x, y = gaussian_pairs(0, equicorrelated(2), 1, 10)
    with pytest.warns(UnreliableRatioWarning, match=r"near the ceiling log n, 2\.3"):
        found = nce_jax.mutual_information(KEY, x, y, num_folds=2)
    assert np.isfinite([found.value, found.standard_error]).all()


@pytest.mark.parametrize("count", [10, 500])
def test_more_coordinates_than_samples_are_shrunk(count):
    """Of independent sides the held-out loss prefers no dependence, or next to none."""
    x, y = gaussian_pairs(0, np.eye(120), 60, count)
    found = nce_jax.mutual_information(KEY, x, y)
    assert abs(found.value) < max(3 * found.standard_error, 0.05)


def test_a_function_of_the_other_is_near_the_ceiling():
    x, _ = gaussian_pairs(0, equicorrelated(2), 1, 500)
    with pytest.warns(UnreliableRatioWarning, match=r"near the ceiling log n, 6\.21"):
        found = nce_jax.mutual_information(KEY, x, 2 * x)
    assert "NOT RELIABLE" in found.summary()


def test_words_and_ties():
    """A coin that decides the mean: log 2 less what a normal copula cannot see, and finite."""
    generator = np.random.default_rng(0)
    y = generator.integers(0, 2, (800, 1))
    x = 3 * y + generator.standard_normal((800, 1))
    found = nce_jax.mutual_information(KEY, x, y)
    assert 0.3 < found.value < 0.8
    assert found.standard_error < 0.05


@pytest.mark.parametrize("x", [np.ones((20, 1)), np.zeros((20, 3))])
def test_constants_have_none(x):
    y = np.random.default_rng(0).normal(size=(20, 1))
    with pytest.warns(UnreliableRatioWarning, match="the same in all samples"):
        found = nce_jax.mutual_information(KEY, x, y)
    assert (found.value, found.model) == (0.0, "constant")


def test_what_is_refused():
    x = np.random.default_rng(0).normal(size=(20, 2))
    bad = x.copy()
    bad[3, 1] = np.nan
    for pair, match in {
        "x: expected finite samples, got 1 of 20": (bad, x),
        "y: expected finite samples": (x, np.where(np.isnan(bad), np.inf, bad)),
        "y: expected one row for each of the 20 of x, got 19": (x, x[1:]),
        r"y: expected samples \(n, dim_y\), got shape \(20,\); pass y\[:, None\]": (x, x[:, 0]),
        "x: expected 10 samples or more, got 9": (x[:9], x[:9]),
    }.items():
        with pytest.raises(ValueError, match=pair):
            nce_jax.mutual_information(KEY, *match)
    with pytest.raises(ValueError, match="num_folds: expected from 2 to 10, half"):
        nce_jax.mutual_information(KEY, x, x, num_folds=11)


def test_problems_are_named():
    found = MutualInformation(
        value=0.5, standard_error=0.01, model="network", degrees_of_freedom=np.inf,
        held_out_value=0.3, optimism=0.4, held_out_losses={"network": 1.2},
        held_out_loss_standard_error=0.1, log_partition=0.0, best_step=600, num_steps=600,
        max_training_steps=600, num_samples=1_000, signs_of_dependence=("a",),
    )  # fmt: skip
    assert [problem.split()[1] for problem in found.problems[:2]] == ["correction", "held-out"]
    assert found.problems[2:] == ("a",)
    reliable = found._replace(num_steps=700, optimism=0.1, signs_of_dependence=())
    assert reliable.is_reliable
    worse = reliable._replace(held_out_losses={"network": 1.5})
    assert "is above that of independence, 1.386: network" in worse.problems[0]
    assert worse._replace(held_out_loss_standard_error=0.2).is_reliable
    # Of independent pairs both losses are about equal, and a value near zero is right.
    assert worse._replace(value=0.05, optimism=0.0).is_reliable


@pytest.mark.parametrize("seed", range(2))
def test_two_hundred_samples_show_a_ring(seed):
    """The truth is by quadrature; copulas alone see 0.00 nats (k = 3)."""
    grid = np.linspace(-1.8, 1.8, 601)
    radius = np.hypot(*np.meshgrid(grid, grid))
    density = scipy.special.ive(0, radius / 0.01) * np.exp(-((radius - 1) ** 2) / 0.02)
    generator = np.random.default_rng(seed)
    angle = generator.uniform(0, 2 * np.pi, 200)
    x, y = np.stack([np.cos(angle), np.sin(angle)]) + 0.1 * generator.standard_normal((2, 200))
    found = nce_jax.mutual_information(KEY, x[:, None], y[:, None])
    assert found.model == "network"
    assert abs(found.value - of_cells(density)) < 3 * found.standard_error


def test_an_increasing_function_is_named_far_from_the_ceiling(monkeypatch):
    """Of 10,000 samples the value, 7 nats, is more than 2 nats below log n."""
    monkeypatch.setattr("nce_jax.ratio_estimation._information._estimate.MIN_FOR_NETWORK", 10**6)
    x, y = gaussian_pairs(0, equicorrelated(3), 2, 10_000)
    with pytest.warns(UnreliableRatioWarning, match="of a variance of y unexplained, next to noth"):
        found = nce_jax.mutual_information(KEY, np.concatenate([x, y], 1), np.exp(x[:, :1]))
    assert found.value < found.ceiling - 2
    assert nce_jax.mutual_information(KEY, x[:, [0, 0]], y).is_reliable
    counts = np.random.default_rng(0).poisson(400, (2_000, 1))
    assert nce_jax.mutual_information(KEY, counts, counts, max_training_steps=100).unexplained == 1


def test_the_unexplained_share_is_that_of_the_largest_canonical_correlation():
    covariance = np.eye(4)
    covariance[0, 2] = covariance[2, 0] = 0.6
    covariance[1, 3] = covariance[3, 1] = 0.8
    mix = np.random.default_rng(0).standard_normal((2, 2, 2))
    mixed = scipy.linalg.block_diag(*mix)
    params = _copula.copula(mixed @ covariance @ mixed.T, 2, GAUSSIAN)
    assert _copula.unexplained(params) == pytest.approx(1 - 0.8**2)


def test_values_beyond_float32_have_ranks_too():
    x, y = gaussian_pairs(0, equicorrelated(2), 1, 150)
    found = nce_jax.mutual_information(KEY, x, y)
    for moved in (1e9 + x, np.exp(100 * x)):
        assert nce_jax.mutual_information(KEY, moved, y) == found


def test_the_copula_has_the_precision_of_the_host_on_every_device():
    params = _copula.copula(equicorrelated(4), 2, 4.0)
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), params)
    of_pairs = jax.jit(lambda x, y: _copula.log_ratios(params, x, y, jnp))
    text = of_pairs.lower(jnp.ones((3, 2)), jnp.ones((3, 2))).as_text()
    products = [line for line in text.splitlines() if "dot_general" in line]
    assert len(products) == 5
    assert all("precision = [HIGHEST, HIGHEST]" in line for line in products)
