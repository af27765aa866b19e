"""Distances of two sets of features: formulas, invariances, errors that hold, what is refused."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg

from nce_jax.diagnostics import _kernel_distance as kernel_module
from nce_jax.diagnostics import c2st, frechet_distance, kernel_distance


def gaussian_sets(n=60, m=50, dim=4, seed=0):
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(dim, dim))
    return rng.normal(size=(n, dim)) @ mixing, 0.5 + rng.normal(size=(m, dim))


def frechet_oracle(x, y):
    covariances = [np.cov(side, rowvar=False) for side in (x, y)]
    root = linalg.sqrtm(covariances[0] @ covariances[1]).real
    shift = x.mean(axis=0) - y.mean(axis=0)
    return shift @ shift + np.trace(covariances[0] + covariances[1] - 2 * root)


def kernel_oracle(x, y, kernel):
    """The definition, one pair after another."""
    within = [
        np.mean([kernel(a, b) for i, a in enumerate(side) for j, b in enumerate(side) if i != j])
        for side in (x, y)
    ]
    return sum(within) - 2 * np.mean([kernel(a, b) for a in x for b in y])


def test_frechet_distance_equals_its_formula():
    x, y = gaussian_sets()
    np.testing.assert_allclose(frechet_distance(x, y).value, frechet_oracle(x, y), rtol=1e-12)


def test_frechet_distance_of_given_moments():
    """Covariances that commute have a closed form: the distance of the standard deviations."""
    rng = np.random.default_rng(0)
    centered = rng.normal(size=(20, 3))
    centered -= centered.mean(axis=0)
    white = np.linalg.qr(centered)[0] * np.sqrt(19)  # covariance I, mean 0
    x, y = white * [1, 2, 3], white[:, ::-1] * [4, 1, 3] + [0, 2, 0]
    np.testing.assert_allclose(frechet_distance(x, y).value, 9 + 1 + 0 + 4, rtol=1e-12)


def test_the_influences_are_derivatives():
    """First order: the variance by the infinitesimal jackknife, with sets that are far apart."""
    x, y = gaussian_sets(200, 150)
    y = 5 * y
    step, influences = 1e-4, []
    for side in (0, 1):
        for row in range(len((x, y)[side])):
            # One row twice among many copies of the set: a small change of its weight.
            moved = [_moments(s, row if k == side else None, step) for k, s in enumerate((x, y))]
            change = _distance_of(moved) - _distance_of([_moments(s, None, 0) for s in (x, y)])
            influences.append(change / step / len((x, y)[side]))
    expected = np.sqrt(np.sum(np.square(influences)))
    # Corrections of order 1 / n, and the second order, which is small here.
    np.testing.assert_allclose(frechet_distance(x, y).standard_error, expected, rtol=0.02)


def _moments(side, row, step):
    weights = np.full(len(side), 1 / len(side))
    if row is not None:
        weights *= 1 - step
        weights[row] += step
    # The derivative is by the weight of one row in place of 1 / n of all.
    mean = weights @ side
    return mean, (side - mean).T @ (weights[:, None] * (side - mean))


def _distance_of(moments):
    (mean_x, cov_x), (mean_y, cov_y) = moments
    root = linalg.sqrtm(cov_x @ cov_y).real
    return np.sum((mean_x - mean_y) ** 2) + np.trace(cov_x + cov_y - 2 * root)


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
def test_rotations_and_the_order_of_the_sets_change_nothing(distance):
    x, y = gaussian_sets()
    rotation = linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0]
    value = distance(x, y)
    for other in (distance(x @ rotation, y @ rotation), distance(y, x)):
        np.testing.assert_allclose(other[:2], value[:2], rtol=1e-10)


def test_translations_change_nothing():
    x, y = gaussian_sets()
    near, far = frechet_distance(x, y), frechet_distance(x + 1e6, y + 1e6)
    np.testing.assert_allclose(far, near, rtol=1e-8)
    options = {"metric": "gaussian", "bandwidth": 2.0}
    near, far = kernel_distance(x, y, **options), kernel_distance(x + 1e6, y + 1e6, **options)
    np.testing.assert_allclose(far, near, rtol=1e-7)
    assert frechet_distance(x, x).value < 1e-12
    np.testing.assert_allclose(frechet_distance(x, x + 3).value, 4 * 9, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, jnp.bfloat16])
def test_narrow_features_are_compared_in_float64(dtype):
    narrow = [jnp.asarray(side, dtype) for side in gaussian_sets()]
    wide = [np.asarray(side, np.float64) for side in narrow]
    np.testing.assert_array_equal(frechet_distance(*narrow), frechet_distance(*wide))
    np.testing.assert_array_equal(kernel_distance(*narrow), kernel_distance(*wide))


def test_fewer_samples_than_features_and_constant_features():
    """Both covariances are singular; the value is that in the space that the samples span."""
    x, y = gaussian_sets(5, 6, dim=8)
    traces = np.trace(np.cov(x, rowvar=False) + np.cov(y, rowvar=False))
    centered = [(side - side.mean(axis=0)) / np.sqrt(len(side) - 1) for side in (x, y)]
    nuclear = linalg.svdvals(centered[0] @ centered[1].T).sum()
    shift = x.mean(axis=0) - y.mean(axis=0)
    result = frechet_distance(x, y)
    np.testing.assert_allclose(result.value, shift @ shift + traces - 2 * nuclear, rtol=1e-12)
    assert 0 < result.standard_error < np.inf
    wider = [np.concatenate([side, np.full((len(side), 1), 7.0)], axis=1) for side in (x, y)]
    np.testing.assert_allclose(frechet_distance(*wider), result, rtol=1e-9)
    same = frechet_distance(np.ones((5, 2)), np.ones((4, 2)))
    assert same == (0, 0, 0)


SAME, APART = (0.0, 1.0), (0.4, 1.5)


@pytest.mark.parametrize(("shift", "scale"), [SAME, APART])
def test_the_error_of_the_frechet_distance_is_its_spread(shift, scale):
    """Over 200 pairs of sets (seed 0) the r.m.s. error is 0.8 to 1.35 times the spread: three
    standard errors of a spread from 200 draws are 15 per cent, and where the sets are the same the
    larger of two estimates is taken. The bias is within a fifth.
    """
    rng = np.random.default_rng(0)
    truth = 3 * (shift**2 + (scale - 1) ** 2)
    draws = np.array(
        [
            frechet_distance(rng.normal(size=(150, 3)), shift + scale * rng.normal(size=(250, 3)))
            for _ in range(200)
        ]
    )
    value, error, bias = draws.T
    assert 0.8 < np.sqrt(np.mean(error**2)) / value.std() < 1.35
    error_of_mean = value.std() / np.sqrt(200)
    assert abs(value.mean() - truth - bias.mean()) < 0.2 * bias.mean() + 3 * error_of_mean
    assert value.mean() - truth > 3 * error_of_mean or shift  # there is a bias to tell


@pytest.mark.parametrize("options", [{}, {"metric": "gaussian", "bandwidth": 1.5}])
@pytest.mark.parametrize("subset_size", [None, 8])
def test_the_kernel_distance_equals_its_definition(options, subset_size):
    x, y = gaussian_sets(16, 17)

    def kernel(a, b):
        if options:
            return np.exp(-np.sum((a - b) ** 2) / (2 * 1.5**2))
        return (a @ b / len(a) + 1) ** 3

    parts = [(x, y)] if subset_size is None else [(x[:8], y[:9]), (x[8:], y[9:])]
    expected = np.mean([kernel_oracle(*part, kernel) for part in parts])
    result = kernel_distance(x, y, subset_size=subset_size, **options)
    np.testing.assert_allclose(result.value, expected, rtol=1e-10)


@pytest.mark.parametrize("options", [{}, {"metric": "gaussian"}])
def test_blocks_of_rows_equal_one_block(monkeypatch, options):
    x, y = gaussian_sets()
    whole = kernel_distance(x, y, **options)
    monkeypatch.setattr(kernel_module, "_BLOCK", 7)
    np.testing.assert_allclose(kernel_distance(x, y, **options), whole, rtol=1e-11)


@pytest.mark.parametrize("subset_size", [None, 20])
@pytest.mark.parametrize(("shift", "scale"), [SAME, APART])
def test_the_kernel_distance_is_unbiased_and_its_error_is_its_spread(shift, scale, subset_size):
    """The Gaussian kernel of Gaussians has a closed form. 200 pairs of sets, seed 0: the mean is
    within 3 standard errors, the r.m.s. error 0.8 to 1.35 times the spread (as above).
    """
    rng, dim, width = np.random.default_rng(0), 2, 2.0

    def mean_kernel(variance, square):
        total = width**2 + variance
        return (width**2 / total) ** (dim / 2) * np.exp(-square / (2 * total))

    truth = mean_kernel(2, 0) + mean_kernel(2 * scale**2, 0)
    truth -= 2 * mean_kernel(1 + scale**2, dim * shift**2)
    draws = np.array(
        [
            kernel_distance(
                rng.normal(size=(40, dim)),
                shift + scale * rng.normal(size=(60, dim)),
                metric="gaussian",
                bandwidth=width,
                subset_size=subset_size,
            )[:2]
            for _ in range(200)
        ]
    )
    value, error = draws.T
    assert abs(value.mean() - truth) < 3 * value.std() / np.sqrt(200)
    assert 0.8 < np.sqrt(np.mean(error**2)) / value.std() < 1.35


def test_the_default_bandwidth_is_the_median_distance():
    x, y = gaussian_sets(20, 15)
    pooled = np.concatenate([x, y])
    distances = [np.linalg.norm(a - b) for i, a in enumerate(pooled) for b in pooled[:i]]
    np.testing.assert_allclose(
        kernel_distance(x, y, metric="gaussian").bandwidth, np.median(distances), rtol=1e-12
    )
    assert np.isnan(kernel_distance(x, y).bandwidth)


@pytest.mark.parametrize("classifier", ["mlp", "nearest", "logistic"])
def test_c2st_finds_the_best_accuracy_and_none_where_there_is_nothing(classifier):
    """N(+-1, 1) are told apart with the accuracy Phi(1) = 0.841 at best; k = 3, seed 0. The sets
    differ in size, and the features in scale.
    """
    rng = np.random.default_rng(0)
    x, y, z = (rng.normal(shift, 1, (size, 1)) for shift, size in ((1, 300), (-1, 400), (1, 300)))
    scales = np.array([[1e4]])
    result = c2st(jax.random.key(0), x * scales, y * scales, classifier=classifier)
    assert abs(result.accuracy - 0.841) < 3 * result.standard_error < 0.12
    assert result.num_samples == 300
    same = c2st(jax.random.key(0), x, z, classifier=classifier)
    assert abs(same.accuracy - 0.5) < 3 * same.standard_error
    assert same == c2st(jax.random.key(0), x, z, classifier=classifier)


@pytest.mark.costly
def test_the_error_of_c2st_covers_where_the_sets_are_the_same():
    """60 pairs of sets (seed 0): the error is between the spread and 1.7 times the spread."""
    rng = np.random.default_rng(0)
    draws = np.array(
        [
            c2st(jax.random.key(0), *rng.normal(size=(2, 100, 2)), classifier="logistic")[:2]
            for _ in range(60)
        ]
    )
    assert 1 < draws[:, 1].mean() / draws[:, 0].std() < 1.7
    assert abs(draws[:, 0].mean() - 0.5) < 3 * draws[:, 0].std() / np.sqrt(60)


def test_c2st_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(ImportError, match=r"pip install .*\[c2st\]'"):
        c2st(jax.random.key(0), *gaussian_sets())


TWO_SETS = {
    "frechet": frechet_distance,
    "kernel": kernel_distance,
    "c2st": lambda x, y: c2st(jax.random.key(0), x, y),
}
X = gaussian_sets()[0]
WRONG = {
    "None": None,
    "text": np.array([["a", "b", "c", "d"]] * 20),
    "complex numbers": X * 1j,
    "one axis": X[:, 0],
    "no columns": X[:, :0],
    "too few": X[:3],
    "NaN": np.where(np.arange(60)[:, None] == 7, np.nan, X),
    "infinite": np.where(np.arange(60)[:, None] == 7, -np.inf, X),
    "a key": jax.random.key(0),
}


@pytest.mark.bad_input
@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("function", TWO_SETS)
def test_wrong_features_are_named(function, wrong):
    for name in ("x", "y"):
        message = "in row 7, column 0$" if wrong in ("NaN", "infinite") else ""
        with pytest.raises((TypeError, ValueError), match=rf"^{name}: expected .* got .*{message}"):
            TWO_SETS[function](**{"x": X, "y": X} | {name: WRONG[wrong]})
    with pytest.raises(ValueError, match=r"^y: expected shape \(m, 4\) .* got shape \(60, 3\)"):
        TWO_SETS[function](X, X[:, :3])


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("function", "options"),
    [
        (kernel_distance, {"metric": "linear"}),
        (kernel_distance, {"metric": None}),
        (kernel_distance, {"bandwidth": 1.0}),
        (kernel_distance, {"metric": "gaussian", "bandwidth": 0.0}),
        (kernel_distance, {"metric": "gaussian", "bandwidth": np.nan}),
        (kernel_distance, {"metric": "gaussian", "bandwidth": "wide"}),
        (kernel_distance, {"subset_size": 3}),
        (kernel_distance, {"subset_size": 61}),
        (kernel_distance, {"subset_size": 10.0}),
        (c2st, {"num_folds": 1}),
        (c2st, {"num_folds": 31}),
        (c2st, {"classifier": "forest"}),
        (c2st, {"classifier": None}),
    ],
)
def test_wrong_options_are_named(function, options):
    arguments = (jax.random.key(0), X, X) if function is c2st else (X, X)
    name = "x" if options.get("num_folds") == 31 else next(reversed(options))
    with pytest.raises((TypeError, ValueError), match=rf"^({name}): expected .* got "):
        function(*arguments, **options)


def test_half_of_all_samples_equal_has_no_bandwidth():
    with pytest.raises(ValueError, match="^bandwidth: expected .* half of the samples are equal"):
        kernel_distance(np.full((9, 2), 0.1), np.full((8, 2), 0.1), metric="gaussian")


def test_traced_features_are_refused():
    for distance in (frechet_distance, kernel_distance):
        with pytest.raises(
            TypeError, match="^x: expected values that are known, .* outside of jit"
        ):
            jax.jit(distance)(jnp.asarray(X, jnp.float32), jnp.asarray(X, jnp.float32))


@pytest.mark.bad_input
@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance], ids=["frechet", "kid"])
def test_features_whose_powers_overflow_are_named(distance):
    x = np.random.default_rng(0).normal(size=(9, 2))
    with pytest.raises(
        ValueError, match=r"^x: expected numbers up to 1e\+24 in size, whose powers"
    ):
        distance(1e30 * x, x)


def test_a_bandwidth_of_any_size_is_one():
    """Its square would overflow; the kernel is then constant."""
    x = np.random.default_rng(0).normal(size=(9, 2))
    distance = kernel_distance(x, x + 1, metric="gaussian", bandwidth=1e200)
    assert abs(distance.value) < 1e-12
