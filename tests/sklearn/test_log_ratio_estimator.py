"""The log ratio as an estimator of scikit-learn's kind: against closed forms, and its contract."""

import copy
import re
import warnings

import jax
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from nce_jax import fit_log_ratio
from nce_jax.ratio_estimation import UnreliableRatioWarning
from nce_jax.sklearn import LogRatioEstimator

SHIFT = 1.0
TOO_FEW = "a set of the check has fewer than the six rows that an assessed fit needs"
EXPECTED_FAILURES = {
    "check_n_features_in_after_fitting": TOO_FEW,
    "check_estimators_nan_inf": TOO_FEW,
    "check_fit2d_1feature": TOO_FEW,
    "check_sample_weight_equivalence_on_dense_data": (
        "rows are drawn into folds one by one: a row of weight two is in one fold, and two copies"
        " of it in one or two; the fit of weights of zero, tested here, is the same"
    ),
}


def tables(num_data=400, num_reference=600, seed=0, shift=SHIFT):
    """N(shift, 1) x N(0, 1) beside N(0, I): the log ratio is shift (a - shift / 2)."""
    rng = np.random.default_rng(seed)
    moved = rng.normal([shift, 0], 1, (num_data, 2))
    return (
        pd.DataFrame(moved, columns=["a", "b"]),
        pd.DataFrame(rng.normal(size=(num_reference, 2)), columns=["a", "b"]),
    )


def labelled(data, reference):
    return pd.concat([reference, data], ignore_index=True), np.repeat(
        [0, 1], [len(reference), len(data)]
    )


@pytest.fixture(scope="module")
def fitted():
    data, reference = tables()
    return LogRatioEstimator(random_state=0).fit(data, X_reference=reference), data, reference


def test_the_log_ratio_is_that_of_two_gaussians_and_of_fit_log_ratio(fitted):
    estimator, data, reference = fitted
    seed = np.random.RandomState(0).randint(np.iinfo(np.int32).max)
    expected = fit_log_ratio(jax.random.key(seed), data.to_numpy(), reference.to_numpy())
    got = estimator.predict_log_ratio(data)
    np.testing.assert_array_equal(got, np.asarray(expected.log_ratio(data.to_numpy())))
    assert estimator.estimate_.summary() == expected.summary()
    # Three parameters from 1,000 rows at a curvature P (1 - P) of about 0.2: 0.07 each, and over
    # the data, where E[a^2] = 2, 0.14 root mean square (k = 3).
    truth = SHIFT * (data["a"] - SHIFT / 2)
    assert np.sqrt(np.mean((got - truth) ** 2)) < 3 * 0.14


def test_weights_turn_means_over_the_reference_into_those_of_the_data(fitted):
    estimator, data, reference = fitted
    weights = estimator.importance_weights(reference)
    np.testing.assert_allclose(np.log(weights), estimator.predict_log_ratio(reference), rtol=1e-9)
    relative = estimator.importance_weights(reference, self_normalized=True)
    assert relative.mean() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(relative * weights.mean(), weights, rtol=1e-12)
    # Var of a mean by these weights: e (1 + 1) / 600 for E[w] = 1, E[w^2] = e; k = 4.
    error = 4 * np.sqrt(2 * np.e / len(reference))
    assert abs(weights.mean() - 1) < error
    assert abs(np.average(reference["a"], weights=relative) - data["a"].mean()) < error


def test_labels_and_a_reference_are_the_same_fit(fitted):
    estimator, data, reference = fitted
    x, y = labelled(data, reference)
    other = clone(estimator).fit(x, np.where(y == 1, "new", "base"))
    assert other.classes_.tolist() == ["base", "new"]
    np.testing.assert_array_equal(other.predict_log_ratio(x), estimator.predict_log_ratio(x))
    np.testing.assert_allclose(other.class_prior_, [0.6, 0.4])
    assert set(other.predict(x)) == {"base", "new"}
    assert estimator.score(x, y) == estimator.score(data, X_reference=reference)


def test_the_score_is_the_gain_of_the_loss_and_close_to_that_of_the_truth(fitted):
    estimator, _, _ = fitted
    data, reference = tables(20_000, 20_000, seed=1)
    by_hand = 2 * np.log(2)
    for side, sign in ((data, -1), (reference, 1)):
        by_hand -= np.mean(np.log1p(np.exp(sign * estimator.predict_log_ratio(side))))
    score = estimator.score(data, X_reference=reference)
    assert score == pytest.approx(by_hand, rel=1e-12)
    truth = 2 * np.log(2)
    for side, sign in ((data, -1), (reference, 1)):
        truth -= np.mean(np.log1p(np.exp(sign * SHIFT * (side["a"] - SHIFT / 2))))
    # The loss of a fit exceeds that of the truth by parameters / (2 rows of a set), about 0.004.
    assert truth - 4 * 0.004 < score < truth + 1e-4
    weights = np.repeat([1.0, 0.0], 10_000)
    halves = estimator.score(
        data, X_reference=reference, sample_weight=weights, sample_weight_reference=weights
    )
    of_half = estimator.score(data[:10_000], X_reference=reference[:10_000])
    assert halves == pytest.approx(of_half, rel=1e-12)


def test_probabilities_are_calibrated_to_the_proportions_as_a_logistic_regression_is(fitted):
    estimator, data, reference = fitted
    x, y = labelled(data, reference)
    baseline = LogisticRegression().fit(x, y)
    difference = estimator.decision_function(x) - baseline.decision_function(x)
    assert np.abs(difference).mean() < 0.1  # the penalties differ
    probability = estimator.predict_proba(x)
    np.testing.assert_allclose(probability.sum(axis=1), 1, rtol=1e-12)
    assert abs(probability[:, 1].mean() - 0.4) < 4 * np.sqrt(0.24 / len(x))


def test_rows_of_weight_zero_take_no_part(fitted):
    estimator, data, reference = fitted
    more = pd.concat([data, data[:50] + 100], ignore_index=True)
    weights = np.repeat([1.0, 0.0], [len(data), 50])
    ones = np.ones(len(reference))
    weighted = clone(estimator).fit(
        more, X_reference=reference, sample_weight=weights, sample_weight_reference=ones
    )
    np.testing.assert_array_equal(
        weighted.predict_log_ratio(data), estimator.predict_log_ratio(data)
    )
    np.testing.assert_allclose(weighted.class_prior_, estimator.class_prior_)
    # After a fit with weights of the reference, its rows need not have a mean weight of one.
    weighted.importance_weights(data)


@pytest.mark.costly
def test_it_is_searched_and_cross_validated_by_labels():
    x, y = labelled(*tables(200, 200))
    pipeline = make_pipeline(StandardScaler(), LogRatioEstimator(random_state=0))
    name = "logratioestimator__held_out"
    splits = StratifiedKFold(2, shuffle=True, random_state=0)
    search = GridSearchCV(pipeline, {name: [0.2, 0.4]}, cv=splits, error_score="raise")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnreliableRatioWarning)
        search.fit(x, y)
        scores = cross_val_score(search.best_estimator_, x, y, cv=splits, error_score="raise")
    assert search.best_score_ == pytest.approx(scores.mean())
    # Twice the Jensen-Shannon divergence of the two is 0.22; a guess has 0.
    assert 0.1 < scores.mean() < 0.35


def test_columns_keep_their_names_and_order(fitted):
    estimator, data, reference = fitted
    assert estimator.feature_names_in_.tolist() == ["a", "b"]
    with pytest.raises(ValueError, match="same order"):
        estimator.predict_log_ratio(data[["b", "a"]])
    with pytest.raises(ValueError, match="same order"):
        clone(estimator).fit(data, X_reference=reference[["b", "a"]])
    with pytest.raises(ValueError, match="unseen at fit time"):
        clone(estimator).fit(data, X_reference=reference.rename(columns={"b": "c"}))


@pytest.mark.costly
def test_it_says_when_a_ratio_or_its_weights_are_not_reliable():
    data, reference = tables(100, 100, shift=6.0)
    with pytest.warns(UnreliableRatioWarning, match=r"overlap, .* is below 0.1") as caught:
        estimator = LogRatioEstimator(random_state=0).fit(data, X_reference=reference)
    assert caught[0].filename == __file__
    with pytest.warns(UnreliableRatioWarning, match="the overlap of the two sets is"):
        estimator.importance_weights(reference)


def warning_of_weights(estimator, rows):
    with pytest.warns(UnreliableRatioWarning) as caught:
        estimator.importance_weights(rows)
    assert [warning.filename for warning in caught] == [__file__]
    return str(caught[0].message)


def test_weights_of_rows_that_are_not_the_references_are_warned_of(fitted):
    """Over the data the mean of p / q = exp(a - 1/2) is e; at rows 2 below the reference e^-2."""
    estimator, data, reference = fitted
    estimator.importance_weights(reference)
    text = warning_of_weights(estimator, data)
    assert "rows are worth" not in text
    assert "about 1: weights are for rows of X_reference (class 0), and not" in text
    assert "the mean weight is 0." in warning_of_weights(estimator, reference - [2, 0])
    estimator.importance_weights(data[:29])  # too few rows to say


def test_few_rows_and_little_overlap_have_texts_of_their_own(fitted):
    estimator, _, reference = fitted
    outlier = pd.concat([reference, reference[:1] * 0 + 8])
    text = warning_of_weights(estimator, outlier)
    assert "601 rows are worth" in text
    assert "rest on few rows" in text
    assert "overlap" not in text
    apart = copy.copy(estimator)
    apart.estimate_ = estimator.estimate_._replace(overlap=0.05)
    text = warning_of_weights(apart, reference)
    assert "the overlap of the two sets is 0.05, below 0.1" in text
    assert "no weighting helps" in text
    assert "rows are worth" not in text
    assert "mean weight" not in text
    assert "rest on few rows" in warning_of_weights(apart, outlier)
    # Without the largest weights of the reference the mean is below one.
    lost = pd.concat([reference - [3, 0], reference[:1] * 0 + 3])
    text = warning_of_weights(estimator, lost)
    assert "rows are worth" in text
    assert "mean weight" not in text


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (["west", "east"] * 5, "in column 'b'; pandas.get_dummies(..., dtype=float) or OneHot"),
        (pd.Categorical(["west", "east"] * 5), " category in column 'b'; pandas.get_dummies"),
        ([True, "east"] * 5, " object in column 'b'; pandas.get_dummies"),
        (pd.date_range("2020-01-01", periods=10), "in column 'b'; subtract a date"),
    ],
)
def test_columns_without_numbers_are_named_with_the_cure(fitted, column, message):
    table = pd.DataFrame({"a": np.arange(10.0), "b": column})
    pattern = "expected columns of numbers, got dtype.*" + re.escape(message)
    numbers = table.assign(b=0.0)
    with pytest.raises(ValueError, match="^X: " + pattern):
        LogRatioEstimator().fit(table, X_reference=numbers)
    with pytest.raises(ValueError, match="^X_reference: " + pattern):
        LogRatioEstimator().fit(numbers, X_reference=table)
    with pytest.raises(ValueError, match="^X: " + pattern):
        LogRatioEstimator().fit(table, [0, 1] * 5)
    with pytest.raises(ValueError, match="^X: " + pattern):
        fitted[0].predict_log_ratio(table)


def test_numbers_stored_as_objects_and_truth_values_are_numbers(fitted):
    estimator, data, _ = fitted
    rows = data[:4].assign(b=[True, False, True, True])
    stored = rows.assign(a=rows["a"].astype(object), b=pd.array(rows["b"], "boolean"))
    np.testing.assert_array_equal(
        estimator.predict_log_ratio(stored), estimator.predict_log_ratio(rows.astype(float))
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "X_reference: expected a second set of rows, or labels y"),
        ({"y": [0, 1] * 10, "X_reference": np.ones((9, 2))}, "expected one of the two, got both"),
        ({"y": [0, 1, 2, 1] * 5}, "y: expected labels of two sets.*multiclass"),
        ({"y": [1] * 20}, "y: expected labels of two sets.*1 class"),
        ({"y": [0] + [1] * 19}, "at least 6 rows of each class.*got 1 of the reference"),
        ({"X_reference": np.zeros((9, 3))}, "X has 3 features"),
        ({"X_reference": np.full((9, 2), np.nan)}, "contains NaN"),
        ({"y": [0, 1] * 10, "groups_reference": [0] * 20}, "groups_reference: expected None"),
        ({"y": [0, 1] * 10, "sample_weight": [1.0] * 19}, r"sample_weight: .* got shape \(19,\)"),
        ({"X_reference": np.zeros((9, 2)), "groups_reference": [0]}, r"groups_reference: .*\(9,\)"),
    ],
)
def test_wrong_arguments_are_refused_by_name(arguments, message):
    x = np.random.default_rng(0).normal(size=(20, 2))
    with pytest.raises(ValueError, match=message):
        LogRatioEstimator().fit(x, **arguments)


def test_labels_of_another_fit_are_refused(fitted):
    estimator, data, _ = fitted
    with pytest.raises(ValueError, match="expected labels of the two of the fit"):
        estimator.score(data[:4], ["x", "y", "x", "y"])


@pytest.mark.costly
@pytest.mark.filterwarnings("ignore::nce_jax.ratio_estimation.UnreliableRatioWarning")
@parametrize_with_checks(
    [LogRatioEstimator()], expected_failed_checks=lambda estimator: EXPECTED_FAILURES
)
def test_the_contract_of_scikit_learn(estimator, check):
    """In float64, which its tolerances assume; without a random state NumPy's generator decides."""
    np.random.seed(0)  # noqa: NPY002
    with jax.enable_x64(True):
        check(estimator)
