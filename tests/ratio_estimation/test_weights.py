"""Weights of `fit_log_ratio`: equal ones change nothing, zeros leave rows out, integers repeat
rows, importance weights move a set, and what is no weight is refused.
"""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn import metrics

from nce_jax import noise
from nce_jax._grouped import side_mean
from nce_jax.ratio_estimation import UnreliableRatioWarning, _fit, fit_log_ratio
from nce_jax.ratio_estimation._assessment import calibration_curve, predictions, roc_curve
from nce_jax.ratio_estimation._features import feature_maps
from nce_jax.ratio_estimation._logistic import fit_lanes, rotated, side_weights
from nce_jax.ratio_estimation._models import Assessed
from nce_jax.ratio_estimation._result import assess
from tests.slow import slow_but

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
X, Y = (RNG.normal(shift, 1, (size, 2)).astype(np.float32) for shift, size in ((0.7, 60), (0, 50)))
WEIGHTS = RNG.integers(1, 4, 60).astype(float), RNG.integers(1, 4, 50).astype(float)
LINEAR = ({"slope": jnp.zeros(2)}, lambda params, x: x @ params["slope"])


def fitted(x=X, y=Y, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnreliableRatioWarning)
        return fit_log_ratio(KEY, x, y, progress=False, **options)


def numbers(estimate):
    """All of an estimate but its functions."""
    fields = estimate._replace(log_ratio_fn=None, result=estimate.result.evaluations)._asdict()
    return jax.tree.map(lambda leaf: leaf if isinstance(leaf, str) else np.asarray(leaf), fields)


def assert_same_bits(one, other):
    one, other = numbers(one), numbers(other)
    assert jax.tree.structure(one) == jax.tree.structure(other)
    jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.parametrize(
    "options",
    [{}, pytest.param({"model": LINEAR, "num_steps": 20}, marks=pytest.mark.costly)],
    ids=["auto", "given"],
)
@pytest.mark.costly
def test_equal_weights_give_the_same_bits_as_none(options):
    equal = {"weights_data": np.full(60, 0.3), "weights_noise": jnp.full(50, 7.0)}
    assert_same_bits(fitted(**options, **equal), fitted(**options))


@pytest.mark.costly
def test_rows_of_weight_zero_have_no_influence_be_they_nan():
    labels, is_left_out = np.arange(60) // 2, np.arange(60) % 7 == 3
    x = np.where(is_left_out[:, None], np.nan, X)
    weights = np.where(is_left_out, 0, WEIGHTS[0])
    with_zeros = fitted(x, weights_data=weights, groups_data=labels)
    kept = ~is_left_out
    without = fitted(X[kept], weights_data=WEIGHTS[0][kept], groups_data=labels[kept])
    assert_same_bits(with_zeros, without)
    assert_same_bits(fitted(jnp.asarray(x), weights_data=weights, groups_data=labels), without)


@pytest.mark.costly
def test_blocks_are_those_of_the_rows_as_they_were_given():
    weights = np.where(np.arange(60) % 5 == 0, 0, WEIGHTS[0])
    of_blocks = fitted(weights_data=weights, block_size=5)
    labels = {"groups_data": np.arange(60) // 5, "groups_noise": 100 + np.arange(50) // 5}
    of_labels = fitted(weights_data=weights, **labels)
    assert_same_bits(of_blocks, of_labels)


@pytest.mark.costly
def test_the_scale_of_weights_changes_nothing():
    one = fitted(weights_data=WEIGHTS[0], weights_noise=WEIGHTS[1])
    other = fitted(weights_data=1e-30 * WEIGHTS[0], weights_noise=4 * WEIGHTS[1])
    np.testing.assert_allclose(other.held_out_loss, one.held_out_loss, rtol=1e-6)
    assert one.held_out_loss != fitted().held_out_loss


def repeated(weights, *arrays):
    times = weights.astype(int)
    return [np.repeat(array, times, axis=0) for array in arrays]


@pytest.mark.costly
def test_integer_weights_are_repeated_rows_in_the_assessment():
    """At fixed log ratios. Repetitions of a row are one group, so that the errors agree, too."""
    ratios = [(x.sum(axis=1) - 0.5).astype(np.float32) for x in (X, Y)]
    groups = np.arange(60), 100 + np.arange(50)

    def assessed(ratios, groups, weights):
        held_out = jnp.asarray(ratios[0]), jnp.asarray(ratios[1])
        fields = (np.concatenate(groups), np.concatenate(weights))
        return assess(Assessed("given", {}, None, held_out, *fields, False, {}, 0.01), None, [], 5)

    weighted = assessed(ratios, groups, WEIGHTS)
    sides = [repeated(w, r, g) for w, r, g in zip(WEIGHTS, ratios, groups, strict=True)]
    ones = [np.ones(len(side[0])) for side in sides]
    equal = assessed([side[0] for side in sides], [side[1] for side in sides], ones)
    for name in (
        "log_partition", "log_partition_standard_error", "kl", "kl_sampling_error", "overlap",
        "held_out_loss", "held_out_loss_standard_error", "log_ratio_error", "effective_samples",
    ):  # fmt: skip
        np.testing.assert_allclose(
            getattr(weighted, name), getattr(equal, name), rtol=2e-5, err_msg=name
        )
    assert abs(weighted.kl - assessed(ratios, groups, [np.ones(60), np.ones(50)]).kl) > 1e-3


def test_integer_weights_are_repeated_rows_in_a_regression():
    x, is_data = np.concatenate([X, Y]), np.arange(110) < 60
    weights = np.concatenate(WEIGHTS)

    def coefficients(x, is_data, weights):
        basis = rotated(x, is_data, is_scaled=np.ones(2, bool), weights=weights)
        lanes = side_weights(np.ones(len(x), bool), is_data, weights)[:, None]
        fits = fit_lanes(basis, lanes, 0.01)
        values, intercept = fits.coefficients(basis, 0)
        loss = side_mean(
            np.logaddexp(0, np.where(is_data, -1, 1) * fits.log_ratios(basis)[:, 0]),
            is_data,
            weights,
        )
        return [*values, intercept, loss]

    expected = coefficients(*repeated(weights, x, is_data), None)
    # The descents stop where a step is below 3e-4 nats.
    np.testing.assert_allclose(coefficients(x, is_data, weights), expected, atol=1e-3)
    assert np.abs(np.subtract(coefficients(x, is_data, None), expected)).max() > 0.01


def test_features_are_standardized_by_the_weighted_samples():
    x, weights = np.concatenate([X, Y]), np.concatenate(WEIGHTS)
    maps = feature_maps(np.random.default_rng(0), x, weights)["linear"][0]
    rows = repeated(weights, x.astype(np.float64))[0]
    np.testing.assert_allclose(maps.mean, rows.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(maps.spread, rows.std(axis=0), rtol=1e-6)


def test_roc_and_calibration_are_those_of_scikit_learn():
    ratios = [jnp.asarray(x.sum(axis=1).round(1)) for x in (X, Y)]  # with ties
    probability, is_data, weights = predictions(*ratios, WEIGHTS)
    curve = roc_curve(probability, is_data, weights)
    area = metrics.roc_auc_score(is_data, probability, sample_weight=weights)
    np.testing.assert_allclose(curve.area, area, rtol=1e-9)
    false, true, _ = metrics.roc_curve(
        is_data, probability, sample_weight=weights, drop_intermediate=False
    )
    np.testing.assert_allclose(curve.false_positive_rate, false, atol=1e-12)
    np.testing.assert_allclose(curve.true_positive_rate, true, atol=1e-12)
    calibration = calibration_curve(probability, is_data, 1, weights)
    np.testing.assert_allclose(calibration.observed, np.average(is_data, weights=weights))
    np.testing.assert_allclose(calibration.predicted, np.average(probability, weights=weights))
    np.testing.assert_allclose(calibration.num_samples, weights.sum() ** 2 / (weights**2).sum())
    # Data and noise have the odds of their numbers.
    np.testing.assert_allclose(calibration.observed, 60 / 110)
    repeats = calibration_curve(*repeated(np.arange(110) % 3 + 1, probability, is_data), 5)
    weighted = calibration_curve(probability, is_data, 5, np.arange(110) % 3 + 1.0)
    np.testing.assert_allclose(weighted.observed, repeats.observed)


@pytest.mark.parametrize("side", slow_but(["noise"], ["data", "noise"]))
@pytest.mark.costly
def test_importance_weights_move_a_set(side):
    """Samples of N(0, 1) with weights e^(x/2) are those of N(1/2, 1): the log ratio is x/2 - 1/8 or
    its negative, and KL 1/8. The error of KL is that of its mean, and that of the parameters: half
    of that of the moved mean, sqrt(1.25 e^(1/4) / n + 1 / n). k = 4, seed 0.
    """
    rng, size = np.random.default_rng(0), 1500
    x, y = rng.normal(size=(2, size, 1)).astype(np.float32)
    weights = np.exp(0.5 * (x if side == "data" else y)[:, 0])
    estimate = fitted(x, y, **{f"weights_{side}": weights})
    error = 0.5 * np.sqrt((1.25 * np.exp(0.25) + 1) / size)
    assert abs(estimate.kl - 0.125) < 4 * np.hypot(estimate.kl_sampling_error, error) < 0.12
    sign = 1 if side == "data" else -1
    values = estimate.log_ratio(jnp.array([[0.0], [1.0]]))
    np.testing.assert_allclose(values, [-0.125 * sign, 0.375 * sign], atol=4 * 2 * error)


@pytest.mark.costly
def test_a_training_follows_the_weights():
    """The slope is 1/2 with weights e^(x/2), and 0 without; k = 4 of an error of 0.05."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 1500, 1)).astype(np.float32)
    model = ({"slope": jnp.zeros(1)}, lambda params, x: x @ params["slope"])
    options = {"model": model, "num_steps": 80, "optimizer": optax.adam(0.05)}
    slope = fitted(x, y, weights_data=np.exp(0.5 * x[:, 0]), **options).params["slope"][0]
    assert abs(slope - 0.5) < 0.2


@pytest.mark.costly
def test_the_capacity_follows_the_effective_number_of_samples(monkeypatch):
    """With 50 samples in place of 2,000; of 60 samples with a few large weights, fewer count."""

    def network(*arguments):
        raise RuntimeError("a network")

    monkeypatch.setattr(_fit, "MIN_FOR_NETWORK", 50)
    monkeypatch.setattr(_fit, "network", network)
    assert fitted(weights_data=np.where(np.arange(60) < 9, 5.0, 1.0)).result.state is None
    with pytest.raises(RuntimeError, match="a network"):
        fitted(weights_data=np.where(np.arange(60) < 9, 1.1, 1.0))


@pytest.mark.costly
def test_a_weighted_network_is_used_where_it_lowers_the_loss(monkeypatch):
    """Four modes over a wide Gaussian, as in `test_descent`, of which the data are draws of the
    wide Gaussian with weights, which leave 7,700 effective ones.
    """
    monkeypatch.setattr("nce_jax.ratio_estimation._features._NUM_CENTERS", 0)
    rng = np.random.default_rng(0)
    centers = 1.2 * np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])

    def truth(x):
        squares = ((x[:, None] - centers) ** 2).sum(-1)
        return np.log(np.exp(-2 * squares).sum(1) * 2.25) + (x**2).sum(1) / 4.5

    x, y = 1.5 * rng.normal(size=(2, 14_000, 2))
    with jax.numpy_rank_promotion("allow"):
        estimate = fitted(x, y, weights_data=np.exp(truth(x)))
    assert estimate.model == "network"
    assert estimate.is_reliable
    x = centers[rng.integers(0, 4, 6000)] + 0.5 * rng.normal(size=(6000, 2))
    error = np.asarray(estimate.log_ratio(jnp.asarray(x, jnp.float32))) - truth(x)
    assert np.sqrt(np.mean(error**2)) < 0.35  # 0.63 without the network
    assert abs(estimate.kl - truth(x).mean()) < 4 * estimate.kl_sampling_error + 0.05


BAD = {
    "negative": (np.where(np.arange(60) == 4, -1.0, 1.0), "weights >= 0, got .* -1.0"),
    "NaN": (np.where(np.arange(60) == 4, np.nan, 1.0), "finite weights >= 0, got nan in row 4"),
    "infinite": (np.where(np.arange(60) == 4, np.inf, 1.0), "finite weights .* got inf in row 4"),
    "too few": (np.ones(59), r"one weight per sample, \(60,\), got shape \(59,\)"),
    "a column": (np.ones((60, 1)), r"one weight per sample, \(60,\), got shape \(60, 1\)"),
    "zeros": (np.zeros(60), "weights of which some are positive, got zeros alone"),
    "integers": (np.ones(60, int), "floating or boolean weights, got dtype int"),
    "text": (["a"] * 60, "weights as an array, got"),
}


@pytest.mark.bad_input
@pytest.mark.parametrize("wrong", BAD)
@pytest.mark.parametrize("name", ["weights_data", "weights_noise"])
def test_wrong_weights_are_named(name, wrong):
    weights, message = BAD[wrong]
    with pytest.raises((TypeError, ValueError), match=f"^{name}: expected {message}"):
        fit_log_ratio(KEY, X, X, progress=False, **{name: weights})


def test_drawn_samples_have_no_weights():
    for source in (noise.standard_normal(2), lambda key, n: jax.random.normal(key, (n, 2))):
        with pytest.raises(
            ValueError, match="^weights_noise: expected None where x_noise is drawn"
        ):
            fit_log_ratio(KEY, X, source, weights_noise=np.ones(60), progress=False)


def test_too_few_samples_of_weight_are_refused():
    weights = np.where(np.arange(60) < 5, 1.0, 0.0)
    with pytest.raises(ValueError, match="^x_data: .* 5 samples of positive weight, .* got 5"):
        fitted(weights_data=weights)


@pytest.mark.costly
def test_a_resumed_run_must_have_the_same_weights(tmp_path):
    options = {"model": LINEAR, "num_steps": 4, "folder": tmp_path / "run"}
    first = fitted(weights_data=WEIGHTS[0], **options)
    assert_same_bits(fitted(weights_data=WEIGHTS[0], resume=True, **options), first)
    for other in (None, WEIGHTS[0][::-1].copy()):
        with pytest.raises(ValueError, match="^weights_data: expected .* as in the run in"):
            fitted(weights_data=other, resume=True, **options)
    with pytest.raises(ValueError, match="^weights_noise: expected None as in the run in"):
        fitted(weights_data=WEIGHTS[0], weights_noise=WEIGHTS[1], resume=True, **options)
