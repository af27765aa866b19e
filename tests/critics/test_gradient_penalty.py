"""Penalties on the gradient of a critic: closed forms, and the game that they make stable."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nce_jax import critics, training

KEY = jax.random.key(0)
SLOPE = np.array([3.0, -4.0])


def linear(slope, x):
    return x @ slope


def quadratic(scale, x):
    return scale * jnp.sum(x**2, axis=-1) / 2


def batch(count=6, **weights):
    x, y = np.random.default_rng(0).normal(size=(2, count, 2))
    return training.Batch(jnp.asarray(x), jnp.asarray(y), **weights)


@pytest.mark.parametrize("where", ["data", "samples", "between"])
@pytest.mark.parametrize("target_norm", [0.0, 1.0])
def test_of_a_linear_critic_it_is_that_of_its_slope(where, target_norm, x64):
    options = {"where": where, "target_norm": target_norm}
    penalty_fn = critics.gradient_penalty(linear, strength=0.7, **options)
    value, gradient = jax.value_and_grad(penalty_fn)(jnp.asarray(SLOPE), batch(), KEY)
    norm = np.sqrt(np.sum(SLOPE**2))
    np.testing.assert_allclose(value, 0.7 * (norm - target_norm) ** 2, rtol=1e-12)
    np.testing.assert_allclose(gradient, 1.4 * (norm - target_norm) * SLOPE / norm, rtol=1e-12)


@pytest.mark.parametrize("where", ["data", "samples", "between"])
def test_of_a_quadratic_critic_it_is_a_mean_over_its_places(where, x64):
    """The oracle in NumPy: the gradient of scale |x|^2 / 2 is scale x."""
    penalty_fn = critics.gradient_penalty(quadratic, strength=0.5, where=where, target_norm=0.3)
    x, y = (np.asarray(side) for side in (batch().x_data, batch().x_noise))
    place = np.asarray(jax.random.uniform(KEY, (6, 1), jnp.float64))
    places = {"data": x, "samples": y, "between": place * x + (1 - place) * y}[where]
    expected = 0.5 * np.mean((np.sqrt(np.sum((2 * places) ** 2, axis=1)) - 0.3) ** 2)
    np.testing.assert_allclose(penalty_fn(jnp.array(2.0), batch(), KEY), expected, rtol=1e-12)


def test_weights_are_those_of_the_places(x64):
    penalty_fn = critics.gradient_penalty(quadratic, strength=1.0)
    weights = np.array([1.0, 0.0, 2.0, 0.0, 0.5, 3.0])
    x = np.asarray(batch().x_data)
    expected = np.average(np.sum(x**2, axis=1), weights=weights)
    weighted = batch(weights_data=jnp.asarray(weights))
    np.testing.assert_allclose(penalty_fn(jnp.array(1.0), weighted, KEY), expected, rtol=1e-12)
    empty = batch(weights_data=jnp.zeros(6))
    value, gradient = jax.value_and_grad(penalty_fn)(jnp.array(1.0), empty, KEY)
    assert value == 0
    assert gradient == 0


def test_a_sample_of_weight_zero_is_ignored_even_if_it_is_nan():
    """With the gradient x, of a value that is NaN at NaN."""
    penalty_fn = critics.gradient_penalty(quadratic, strength=1.0)
    x, weights = jnp.arange(6.0).reshape(3, 2), jnp.array([1.0, 0.0, 1.0])
    padded = training.Batch(x.at[1].set(jnp.nan), weights_data=weights)
    value, gradient = jax.value_and_grad(penalty_fn)(jnp.array(1.0), padded, KEY)
    assert value == (0 + 1 + 16 + 25) / 2
    assert gradient == 2 * value


def test_places_between_samples_of_two_precisions(x64):
    penalty_fn = critics.gradient_penalty(linear, strength=1.0, where="between")
    mixed = batch()._replace(x_noise=batch().x_noise.astype(jnp.float32))
    with jax.numpy_dtype_promotion("strict"):
        np.testing.assert_allclose(penalty_fn(jnp.asarray(SLOPE), mixed, KEY), 25)


@pytest.mark.parametrize("target_norm", [0.0, 1.0])
def test_a_flat_critic_has_a_finite_gradient(target_norm):
    penalty_fn = critics.gradient_penalty(quadratic, strength=1.0, target_norm=target_norm)
    value, gradient = jax.value_and_grad(penalty_fn)(jnp.array(0.0), batch(), KEY)
    assert value == target_norm**2
    assert np.isfinite(gradient)


def test_places_of_an_image_are_one_sample(x64):
    """Of a spatial critic the sum over places is differentiated: here three slopes in one."""

    def spatial(slope, x):
        return jnp.stack([x @ slope, 2 * x @ slope, 0 * x @ slope], axis=-1)

    penalty_fn = critics.gradient_penalty(spatial, strength=1.0)
    value = penalty_fn(jnp.asarray(SLOPE), batch(), KEY)
    np.testing.assert_allclose(value, 9 * np.sum(SLOPE**2), rtol=1e-12)


@pytest.mark.parametrize("strength", [None, 0.3])
def test_the_game_of_two_points_circles_without_it_and_ends_with_it(strength, x64):
    """Data at 0 and one generated point theta, the critic slope * x, of M = 1 and F = 0.

    Near the origin the game of the loss is the rotation of (theta, slope) at the angular speed 1/2
    (Mescheder et al., section 2), in whose place the penalty has 2 gamma slope as friction. Steps
    of 0.02 that alternate keep the radius of the rotation within some percent.
    """
    penalty_fn = None if strength is None else critics.gradient_penalty(linear, strength=strength)
    rate = optax.sgd(0.02)
    critic = training.make_critic_step(
        linear, rate, treatment=training.held(), penalty_fn=penalty_fn
    )
    train = critics.make_two_player_step(
        lambda theta, key, x_data: theta + 0 * x_data, critic, rate
    )
    state = train.init(jnp.array(0.1), jnp.zeros(1))

    def advance(state, _):
        state = train(state, jnp.zeros((4, 1)), KEY)[0]
        return state, jnp.hypot(state.params, state.critic.params[0])

    _, radius = jax.jit(lambda state: jax.lax.scan(advance, state, None, 3000))(state)
    if strength is None:
        assert radius.min() > 0.09
        assert radius.max() < 0.11
    else:
        # The eigenvalues -gamma +- sqrt(gamma^2 - 1/4) shrink it by exp(-0.3 * 60).
        assert radius[-1] < 1e-6


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"strength": -1.0}, ValueError, "strength: expected"),
        ({"strength": 1.0, "where": "everywhere"}, ValueError, "where: expected one of data"),
        ({"strength": 1.0, "target_norm": -1.0}, ValueError, "target_norm: expected a number >= 0"),
        ({"strength": 1.0, "target_norm": "one"}, TypeError, "target_norm: expected a number"),
    ],
)
def test_wrong_arguments_are_named(options, error, message):
    with pytest.raises(error, match=message):
        critics.gradient_penalty(linear, **options)


@pytest.mark.parametrize("where", ["data", "samples", "between"])
def test_of_pairs_the_gradient_is_taken_in_the_floating_array(where):
    """The slope of a sample is its label's: 1, 2, 3, ... times that of the sample alone."""
    x, label = batch(), 1 + jnp.arange(len(batch().x_data))
    penalty_fn = critics.gradient_penalty(
        lambda slope, pair: (pair[0] @ slope) * pair[1], strength=1.0, where=where
    )
    pairs = training.Batch((x.x_data, label), (x.x_noise, label[: len(x.x_noise)]))
    expected = jnp.mean(label[: len(x.x_noise) if where == "samples" else None] ** 2)
    found = penalty_fn(jnp.asarray(SLOPE), pairs, KEY)
    np.testing.assert_allclose(found, expected * np.sum(np.square(SLOPE)), rtol=1e-5)


@pytest.mark.bad_input
def test_batches_without_places_are_named():
    between = critics.gradient_penalty(linear, strength=1.0, where="between")
    at_data = critics.gradient_penalty(linear, strength=1.0)
    x = batch().x_data
    with pytest.raises(TypeError, match="batch: expected samples with one array of floating"):
        between(jnp.asarray(SLOPE), training.Batch(x), KEY)
    with pytest.raises(ValueError, match="batch: expected as many data as samples"):
        between(jnp.asarray(SLOPE), training.Batch(x, x[:3]), KEY)
    with pytest.raises(TypeError, match="batch: expected a Batch"):
        between(jnp.asarray(SLOPE), x, KEY)
    with pytest.raises(TypeError, match="batch: expected data with one array of floating"):
        at_data(jnp.asarray(SLOPE), training.Batch((x, x)), KEY)
    with pytest.raises(ValueError, match="batch: expected data with at least one entry"):
        at_data(jnp.asarray(SLOPE), training.Batch(x[:0]), KEY)
    with pytest.raises(ValueError, match="weights_data: expected"):
        at_data(jnp.asarray(SLOPE), training.Batch(x, weights_data=jnp.ones(3)), KEY)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("log_ratio_fn", "error", "message"),
    [
        (lambda slope, x: None, TypeError, "log_ratio_fn: expected a floating array, got None"),
        (lambda slope, x: (x @ slope).mean(), ValueError, "one value per sample, .* got shape"),
        (lambda slope, x: (x @ slope)[:2], ValueError, "one value per sample, .* got shape"),
    ],
)
def test_a_critic_that_does_not_answer_for_every_sample_is_named(log_ratio_fn, error, message):
    penalty_fn = critics.gradient_penalty(log_ratio_fn, strength=1.0)
    with pytest.raises(error, match=message):
        penalty_fn(jnp.asarray(SLOPE), batch(), KEY)
