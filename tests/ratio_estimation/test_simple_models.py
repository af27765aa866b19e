"""The simple models of `fit_log_ratio`: their fits, the choice among them, and small tables."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import datasets
from sklearn.linear_model import LogisticRegression

from nce_jax._folds import make_folds
from nce_jax._grouped import grouped_variance, standard_error
from nce_jax.ratio_estimation import UnreliableRatioWarning, fit_log_ratio
from nce_jax.ratio_estimation._cross_validation import (
    PENALTIES,
    Candidate,
    CrossFit,
    Pool,
    basis_of,
    choose,
    cross_fit,
    excess_loss,
    loss_of,
    nested_log_ratios,
    refit,
)
from nce_jax.ratio_estimation._features import feature_maps, log_ratio, moments
from nce_jax.ratio_estimation._logistic import fit_lanes, side_weights

KEY = jax.random.key(0)
KINDS = ("linear", "squares", "quadratic", "kernels")


def pool_of(x_data, x_noise, num_folds=5):
    x = np.concatenate([x_data, x_noise])
    is_data = np.arange(len(x)) < len(x_data)
    fold = np.random.default_rng(0).integers(0, num_folds, len(x))
    return Pool(x, is_data, np.arange(len(x)), fold, np.ones(len(x)))


def two_sets(seed=0, sizes=(120, 80), dim=3):
    rng = np.random.default_rng(seed)
    return rng.normal(0.5, 1, (sizes[0], dim)), rng.normal(0, 1.5, (sizes[1], dim))


def maps_of(pool):
    return feature_maps(np.random.default_rng(0), pool.x)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("penalty", [1.0, 0.03])
def test_a_fit_is_scikit_learns(kind, penalty):
    """Oracle: its Newton solver, on the same features; C = 1 / penalty for weights that add up to
    one on each side.
    """
    pool = pool_of(*two_sets())
    features = maps_of(pool)[kind][0]
    basis = basis_of(features, pool)
    weights = side_weights(np.ones(len(pool.x), bool), pool.is_data)
    ours = fit_lanes(basis, weights[:, None], penalty).log_ratios(basis)[:, 0]
    oracle = LogisticRegression(C=1 / penalty, solver="newton-cholesky", tol=1e-10)
    oracle.fit(basis.features.astype(np.float64), pool.is_data, sample_weight=weights)
    expected = oracle.decision_function(basis.features.astype(np.float64))
    assert expected.std() > 0.1
    # Steps end where the next would change the log ratios by 3e-4, root mean square.
    np.testing.assert_allclose(ours, expected, rtol=3e-3, atol=3e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_the_log_ratio_is_the_fit(kind):
    """The function of samples, in JAX, has the values of the fit to their features, in NumPy."""
    pool = pool_of(*two_sets())
    candidate = Candidate(kind, maps_of(pool)[kind][0], float(PENALTIES[0]))
    basis = basis_of(candidate.features, pool)
    weights = side_weights(np.ones(len(pool.x), bool), pool.is_data)
    expected = fit_lanes(basis, weights[:, None], candidate.penalty).log_ratios(basis)[:, 0]
    assert expected.std() > 0.01
    params = refit(candidate, pool, jnp.float32)
    actual = log_ratio(params, jnp.asarray(pool.x, jnp.float32))
    np.testing.assert_allclose(actual, expected, atol=1e-4)


def test_more_features_than_samples_are_fitted_on_the_samples_axes():
    x_data, x_noise = two_sets(sizes=(12, 10), dim=40)
    pool = pool_of(x_data, x_noise)
    basis = basis_of(maps_of(pool)["squares"][0], pool)
    assert basis.features.shape[1] < 22 < basis.rotation.shape[0] == 80
    weights = side_weights(np.ones(22, bool), pool.is_data)
    fits = fit_lanes(basis, weights[:, None], 0.1)
    coefficients, intercept = fits.coefficients(basis, 0)
    values = maps_of(pool)["squares"][0](pool.x) @ coefficients + intercept
    np.testing.assert_allclose(values, fits.log_ratios(basis)[:, 0], atol=1e-4)


def test_samples_left_out_do_not_take_part():
    """Other values of the left-out fold, on the same axes, change nothing outside it."""
    pool = pool_of(*two_sets())
    basis = basis_of(maps_of(pool)["linear"][0], pool)
    is_used = pool.fold != 2
    weights = side_weights(is_used, pool.is_data)[:, None]
    moved = basis._replace(
        features=np.where(is_used[:, None], basis.features, -7 * basis.features).astype(np.float32)
    )
    np.testing.assert_array_equal(
        fit_lanes(basis, weights, 0.1).theta, fit_lanes(moved, weights, 0.1).theta
    )


def crossed(*families):
    """Candidates of given losses: pairs of a family and the losses of its penalties."""
    candidates, columns = [], []
    for family, losses in families:
        features = object()
        for index, loss in enumerate(losses):
            candidates.append(Candidate(family, features, float(PENALTIES[index])))
            columns.append(loss)
    losses = np.stack(columns, axis=1)
    return CrossFit(candidates, losses, losses)


def shifted(shift, spread=0.1, count=100):
    """Losses whose mean is `shift` below zero, with a standard error of the sum of both sides."""
    values = np.tile([-1.0, 1.0], count // 2) * spread
    return values - shift / 2


@pytest.mark.parametrize(("errors", "expected"), [(0.9, "constant"), (1.1, "linear")])
def test_the_simpler_family_is_chosen_within_a_standard_error_of_the_difference(errors, expected):
    pool = pool_of(np.zeros((50, 1)), np.zeros((50, 1)))
    error = standard_error(shifted(0), pool.is_data, pool.group)
    fits = crossed(("constant", [np.zeros(100)]), ("linear", [shifted(errors * error)]))
    assert fits.candidates[choose(fits, pool, np.ones(100, bool))].family == expected


def test_among_equal_penalties_the_smallest_is_chosen():
    pool = pool_of(np.zeros((50, 1)), np.zeros((50, 1)))
    error = standard_error(shifted(0), pool.is_data, pool.group)
    lowest = shifted(0, spread=0) - 1
    # A fifth of an error of the difference above the lowest loss, and half an error.
    losses = [lowest + 1, lowest, lowest + shifted(-0.2 * error), lowest + shifted(-0.5 * error)]
    fits = crossed(("constant", [np.zeros(100)]), ("linear", losses))
    assert choose(fits, pool, np.ones(100, bool)) == 3


def test_no_sample_takes_part_in_the_choice_made_for_it():
    """The losses of a fold are replaced by ones that favor another candidate."""
    pool = pool_of(*two_sets())
    fits = cross_fit(pool, {"linear": maps_of(pool)["linear"]})
    rows = pool.fold == 3
    losses = fits.losses.copy()
    losses[rows, 0] = -100.0
    moved = fits._replace(losses=losses)
    np.testing.assert_array_equal(
        nested_log_ratios(fits, pool)[rows], nested_log_ratios(moved, pool)[rows]
    )
    assert not nested_log_ratios(moved, pool)[~rows].any()


def test_errors_of_groups():
    """Copies of every sample as one group leave the error as it is; G / (G - 1) alone differs."""
    rng = np.random.default_rng(0)
    values, is_data = rng.normal(size=60), np.arange(60) < 40
    expected = np.sqrt(values[:40].var(ddof=1) / 40 + values[40:].var(ddof=1) / 20)
    np.testing.assert_allclose(standard_error(values, is_data, np.arange(60)), expected)
    copies = np.repeat(values, 3), np.repeat(is_data, 3)
    np.testing.assert_allclose(standard_error(*copies, np.repeat(np.arange(60), 3)), expected)
    # What both sets share cancels in a difference: data and noise of equal pairs.
    pairs = np.concatenate([values[:20], -values[:20]])
    error = standard_error(pairs, np.arange(40) < 20, np.tile(np.arange(20), 2))
    np.testing.assert_allclose(error, 0, atol=1e-12)
    assert np.isinf(grouped_variance(values, is_data, np.where(is_data, 0, np.arange(60))))


def table(name):
    return getattr(datasets, f"load_{name}")().data


def weights_of_halves(x, seed):
    """5 and 95 % quantiles of the weights of a table's random halves, where every weight is 1."""
    order = np.random.default_rng(seed).permutation(len(x))
    half = len(x) // 2
    with pytest.warns(UnreliableRatioWarning, match="a guess|a ratio of 1"):
        estimate = fit_log_ratio(
            jax.random.key(seed), x[order[:half]], x[order[half:]], progress=False
        )
    values = np.asarray(estimate.log_ratio(jnp.asarray(x, jnp.float32)))
    return np.exp(np.quantile(values, [0.05, 0.95])), estimate


@pytest.mark.costly
@pytest.mark.parametrize("seed", range(2))
def test_halves_of_iris_do_not_differ(seed):
    (low, high), estimate = weights_of_halves(table("iris"), seed)
    assert 1 / 3 < low <= high < 3
    assert estimate.is_converged
    assert not estimate.is_reliable
    assert "NOT RELIABLE" in estimate.summary()


@pytest.mark.costly
@pytest.mark.parametrize("name", ["wine", "digits", "breast_cancer", "diabetes"])
@pytest.mark.parametrize("seed", range(3))
def test_halves_of_a_table_do_not_differ(name, seed):
    (low, high), _ = weights_of_halves(table(name), seed)
    assert 1 / 3 < low <= high < 3


def gaussians(dim, size, seed):
    rng = np.random.default_rng(seed)
    shift = np.full(dim, dim**-0.5)
    x, y, test = rng.normal(size=(3, size, dim))
    return x + shift, y, test + shift, lambda z: z @ shift - 0.5


def bump(size, seed):
    rng = np.random.default_rng(seed)
    x, test = rng.normal(1, 1 / 8, (2, size, 1))
    return x, rng.normal(1, 1 / 2, (size, 1)), test, lambda z: np.log(4) - 30 * (z[:, 0] - 1) ** 2


@pytest.mark.costly
@pytest.mark.parametrize(
    ("sets", "model", "limit"),
    [(gaussians(2, 400, 0), "linear", 0.25), (bump(400, 0), "squares", 0.25)],
)
def test_a_small_table_has_the_model_of_its_truth(sets, model, limit):
    """The error of the maximum-likelihood fit is about sqrt(4 p / n) = 0.2 to 0.25 at n = 400 and p
    = 3 or 4 parameters; a perceptron's is several times larger.
    """
    x, y, test, truth = sets
    estimate = fit_log_ratio(KEY, x, y, progress=False)
    assert estimate.model == model
    assert estimate.is_reliable
    error = np.asarray(estimate.log_ratio(jnp.asarray(test, jnp.float32))) - truth(test)
    assert np.sqrt(np.mean(error**2)) < limit
    assert estimate.result.state is None
    assert abs(estimate.kl - truth(x).mean()) < 4 * estimate.kl_sampling_error + limit / 4


@pytest.mark.costly
def test_four_modes_need_kernels():
    """A quadratic form leaves an error of 0.63 nats here, and uLSIF 0.34 with 1,000 samples."""
    rng = np.random.default_rng(0)
    centers = 1.2 * np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])
    x = centers[rng.integers(0, 4, 800)] + 0.5 * rng.normal(size=(800, 2))
    y = 1.5 * rng.normal(size=(800, 2))
    estimate = fit_log_ratio(KEY, x, y, progress=False)
    assert estimate.model == "kernels"
    squares = ((x[:, None] - centers) ** 2).sum(-1)
    truth = np.log(np.exp(-2 * squares).sum(1) * 2.25) + (x**2).sum(1) / 4.5
    error = np.asarray(estimate.log_ratio(jnp.asarray(x, jnp.float32))) - truth
    assert np.sqrt(np.mean(error**2)) < 0.34


@pytest.mark.costly
@pytest.mark.parametrize(("side", "value"), [(0, 1e6), (1, -1e4)])
def test_one_sample_far_out_hides_no_shift(side, value):
    """An error of a recording; all coordinates of the other samples would be zero beside it."""
    rng = np.random.default_rng(0)
    sets = [rng.normal(1, 1, (300, 1)), rng.normal(0, 1, (300, 1))]
    sets[side][5] = value
    estimate = fit_log_ratio(jax.random.key(0), *sets, progress=False)
    assert estimate.model == "linear"
    x = jnp.linspace(-2, 3, 20)[:, None]
    np.testing.assert_allclose(estimate.log_ratio(x), x[:, 0] - 0.5, atol=0.4)


def test_coordinates_end_far_out_and_nowhere_if_they_have_few_values():
    x = np.stack([np.linspace(-1, 1, 201), np.zeros(201)], axis=1, dtype=np.float64)
    features = feature_maps(np.random.default_rng(0), x)["linear"][0]
    assert features.ends is None
    moved = np.array([[100.0, 1.0], [-1.0, 50.0]])
    features = feature_maps(np.random.default_rng(0), np.concatenate([x, moved]))["linear"][0]
    inside = np.clip(moved, *features.ends)
    assert 5 < inside[0, 0] < 10
    np.testing.assert_array_equal(inside[1], moved[1])


def test_loss_terms_of_both_sides():
    terms = loss_of(np.array([2.0, -1.0]), np.array([True, False]))
    np.testing.assert_allclose(terms, np.log1p(np.exp([-2.0, -1.0])))


@pytest.mark.bad_input
def test_the_log_ratio_of_other_coordinates_is_refused():
    pool = pool_of(*two_sets())
    params = refit(Candidate("linear", maps_of(pool)["linear"][0], 10.0), pool, jnp.float32)
    with pytest.raises(ValueError, match=r"x: expected samples of shape \(n, 3\), got shape"):
        log_ratio(params, jnp.ones((3, 4)))


@pytest.mark.costly
def test_the_excess_of_the_loss_is_that_of_the_parameters():
    """Of p = 8 parameters and n = 300 samples of each set, at a small distance: the loss has the
    curvature 1/2 in every parameter, whose variance is 2 / n, so that it rises by p / (2 n) in the
    mean. One standard error is added, and the penalty takes a part. The average of 20 tables (seeds
    0 to 19).
    """
    excess = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(0.25, 1, (300, 8)), rng.normal(size=(300, 8))
        pool = pool_of(x, y)
        maps = {"linear": maps_of(pool)["linear"]}
        fits = cross_fit(pool, maps)
        excess.append(excess_loss(rng, fits, choose(fits, pool, np.ones(600, bool)), pool))
    expected = 8 / (2 * 300)
    assert 0.6 * expected < np.mean(excess) < 1.5 * expected


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("sizes", [(6, 6), (8, 6)])
def test_the_excess_of_a_few_samples_is_of_halves_that_have_both_sets(seed, sizes):
    """Half of the samples without a fold may be of one set only: such a draw is not used."""
    rng = np.random.default_rng(seed)
    groups = np.split(np.arange(sum(sizes)), [sizes[0]])
    sides = make_folds(rng, tuple(groups), 0.2)
    x = rng.normal(size=(sum(sizes), 2))
    fold = np.concatenate([side.fold for side in sides])
    pool = Pool(x, np.arange(len(x)) < sizes[0], np.arange(len(x)), fold, np.ones(len(x)))
    maps = {"linear": maps_of(pool)["linear"]}
    fits = cross_fit(pool, maps)
    with np.errstate(all="raise", under="ignore"):
        assert np.isfinite(excess_loss(rng, fits, 1, pool))


def test_the_excess_of_groups_that_cannot_be_halved_is_infinite():
    """Without fold 0 one group of the noise remains."""
    x = np.random.default_rng(0).normal(size=(12, 2))
    group = np.array([0, 1, 2, 3, 4, 5, 6, 6, 7, 7, 8, 8])
    fold = np.array([0, 0, 1, 1, 2, 2, 0, 0, 0, 0, 1, 1])
    pool = Pool(x, np.arange(12) < 6, group, fold, np.ones(12))
    fits = cross_fit(pool, {"linear": maps_of(pool)["linear"]})
    assert excess_loss(np.random.default_rng(0), fits, 1, pool) == np.inf


@pytest.mark.costly
def test_too_few_samples_for_a_quadratic_form_are_reported():
    """24 pairs of Gaussians with 1,176 coefficients."""
    rng = np.random.default_rng(0)
    x, steps = rng.normal(size=(2, 300, 12))
    y = 0.7 * x + np.sqrt(1 - 0.49) * steps
    joint, shuffled = (np.concatenate([x, z], axis=1) for z in (y, np.roll(y, 1, axis=0)))
    with pytest.warns(UnreliableRatioWarning, match="more samples would lower the loss by about"):
        estimate = fit_log_ratio(KEY, joint, shuffled, progress=False)
    assert estimate.is_converged
    assert estimate.log_ratio_error > 0.3
    assert "log ratios off by about" in estimate.summary()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weights", [None, np.linspace(1, 2, 8001)])
def test_a_constant_coordinate_keeps_its_scale(dtype, weights):
    """Whose mean is rounded."""
    x = np.stack([np.full(8001, 0.3), np.arange(8001)], axis=1).astype(dtype)
    _, spread = moments(x, weights)
    assert spread[0] == 1
    assert spread[1] > 1000


def test_the_log_ratio_has_the_precision_of_the_host_on_every_device():
    """The products of an accelerator are as precise as its program asks for."""
    pool = pool_of(*two_sets())
    params = refit(Candidate("kernels", maps_of(pool)["kernels"][0], 10.0), pool, jnp.float32)
    text = jax.jit(log_ratio).lower(params, jnp.ones((3, 3))).as_text()
    products = [line for line in text.splitlines() if "dot_general" in line]
    assert len(products) == 4
    assert all("precision = [HIGHEST, HIGHEST]" in line for line in products)
