"""The forms in which `fit_log_ratio` takes its two sets: arrays, distributions and functions."""

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nce_jax import _samples
from nce_jax.ratio_estimation import fit_log_ratio
from nce_jax.ratio_estimation._samples import make_sets

KEYS = jax.random.split(jax.random.key(0), 2)
X = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
NORMAL = distrax.Independent(distrax.Normal(jnp.zeros(2), jnp.ones(2)), 1)


def draw(key, count):
    return 5 + jax.random.normal(key, (count, 2))


def sets_of(x_data, x_noise, num_visited=80):
    return make_sets(*KEYS, x_data, x_noise, num_visited=num_visited)


def test_arrays_are_taken_as_they_are():
    np.testing.assert_array_equal(sets_of(X, X[:20]).noise, X[:20])


@pytest.mark.parametrize("value", [0.1, 12345.678, -3.3e-9])
def test_a_constant_coordinate_may_have_any_value(value):
    """Its rounding to float32 loses no difference between samples."""
    x = np.concatenate([X, np.full((50, 1), value)], axis=1, dtype=np.float64)
    assert sets_of(x, x[:20]).noise[0, 2] == np.float32(value)


@pytest.mark.bad_input
def test_constants_that_differ_by_rounding_are_refused():
    with pytest.raises(ValueError, match="x_noise: expected samples that float32 can tell from"):
        sets_of(np.full((9, 1), 0.1), np.full((9, 1), 0.1 + 1e-12))


@pytest.mark.parametrize(("source", "mean"), [(NORMAL, 0), (draw, 5)])
def test_a_drawn_set_is_as_large_as_the_other(source, mean):
    """In either place; mean of 50 samples in two dimensions, k = 4."""
    for samples in (sets_of(X, source).noise, sets_of(source, X).data):
        assert samples.shape == (50, 2)
        assert abs(samples.mean() - mean) < 4 * 0.1


def test_a_set_is_drawn_with_its_key():
    np.testing.assert_array_equal(sets_of(X, draw).noise, draw(KEYS[1], 50))


def test_two_drawn_sets_are_as_large_as_the_training_needs(monkeypatch):
    assert len(sets_of(draw, NORMAL).data) == 80
    monkeypatch.setattr("nce_jax.ratio_estimation._samples._MAX_DRAWN", 60)
    assert len(sets_of(draw, NORMAL).noise) == 60


@pytest.mark.costly
@pytest.mark.filterwarnings("ignore:fit_log_ratio.*too timid")  # few steps
def test_a_distribution_takes_the_place_of_the_noise_samples():
    estimate = fit_log_ratio(
        KEYS[0], 3 + X, NORMAL, num_steps=2, batch_size=16, progress=False,
        model=(jnp.ones(2), lambda theta, x: x @ theta),
    )  # fmt: skip
    assert estimate.log_ratio(X[:3]).shape == (3,)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("x_noise", "error", "message"),
    [
        (distrax.Normal, TypeError, "got the class Normal"),
        (None, TypeError, "x_noise: expected an array, a distribution or a function .* got None"),
        ("normal", TypeError, "x_noise: expected an array, a distribution or a function"),
        (np.array(["a", "b"]), TypeError, "x_noise: expected numbers"),
        (X.astype(complex), TypeError, "x_noise: expected real numbers"),
        (lambda key, count: X[:7], ValueError, "x_noise: expected 50 samples on the first axis"),
        (np.where(X > 2, np.nan, X), ValueError, "of 50 that are not"),
        (np.zeros(()), ValueError, "x_noise: expected samples on the first axis, got a scalar"),
    ],
)
def test_other_sources_are_refused_by_name(x_noise, error, message):
    with pytest.raises(error, match=message):
        sets_of(X, x_noise)


@pytest.mark.bad_input
@pytest.mark.parametrize("model", [lambda theta, x: x, (jnp.zeros(2),), [jnp.zeros(2), draw]])
def test_a_model_is_a_pair(model):
    with pytest.raises(TypeError, match=r"model: expected a pair \(params, log_ratio_fn\), got"):
        fit_log_ratio(KEYS[0], X, X, model=model)


def test_a_data_frame_is_no_distribution_although_it_can_sample():
    class Frame:
        def __array__(self, dtype=None, copy=None):
            return X

        def sample(self):
            raise AssertionError

    assert _samples.as_draw_fn("x", Frame()) is None
    with pytest.raises(TypeError, match="x: expected an array with samples"):
        _samples.as_float_samples("x", Frame())


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (
            (jnp.zeros((2, 1)), lambda w, x: x @ w),
            ValueError,
            r"log_ratio_fn: expected one value per sample, .* drop the last axis",
        ),
        (
            (jnp.zeros(2), lambda w, x: None),
            TypeError,
            "log_ratio_fn: expected one value per sample, .* does the function return its result",
        ),
        (
            (np.zeros(2, int), lambda w, x: x @ w),
            TypeError,
            "params: expected a pytree of floating",
        ),
    ],
)
def test_what_a_model_returns_is_checked_before_its_training(model, error, message):
    x = np.random.default_rng(0).normal(size=(2, 60, 2))
    with pytest.raises(error, match=message):
        fit_log_ratio(KEYS[0], *x, model=model, progress=False)
