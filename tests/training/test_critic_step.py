"""The step of a critic: the step of any log ratio, with a penalty and with log ratios of places."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nce_jax import criteria, critics, training
from nce_jax.magnification import adaptive_magnification
from tests.training.problems import assert_trees_equal

KEY = jax.random.key(1)


def linear(slope, x):
    return x @ slope


def spatial(slope, x):
    """Log ratios of three patches of two entries each, (n, 3, 1)."""
    return (x.reshape(-1, 3, 2) @ slope)[..., None]


def batch(count=32, dim=2, **weights):
    x, y = np.random.default_rng(0).normal(size=(2, count, dim))
    return training.Batch(jnp.asarray(x + 0.5), jnp.asarray(y), **weights)


def make(log_ratio_fn=linear, optimizer=None, magnification=10.0, **options):
    criterion = criteria.nce(magnification=magnification)
    optimizer = optimizer or optax.sgd(0.1)
    return training.make_critic_step(log_ratio_fn, optimizer, criterion=criterion, **options)


def norm_penalty(params, batch, key):
    return 0.5 * jnp.sum(params**2)


def test_it_is_the_step_of_a_log_ratio():
    plain = training.make_train_step(
        optimizer=optax.sgd(0.1), log_ratio_fn=linear, criterion=criteria.nce(magnification=10.0)
    )
    first, second = (train(train.init(jnp.ones(2)), batch(), KEY)[0] for train in (make(), plain))
    assert_trees_equal(first, second)


def test_a_penalty_is_added_to_loss_and_gradient(x64):
    """Half the square of the parameters: the gradient of weight decay, under every rule for M."""
    for options in ({}, {"magnification_rule": adaptive_magnification()}):
        plain, penalized = make(**options), make(penalty_fn=norm_penalty, **options)
        state = plain.init(jnp.array([2.0, -1.0]))
        (first, loss), (second, more) = (train(state, batch(), KEY) for train in (plain, penalized))
        change = second.params - first.params
        np.testing.assert_allclose(change, -0.1 * state.params, rtol=1e-12)
        np.testing.assert_allclose(more.loss - loss.loss, 2.5, rtol=1e-12)
        np.testing.assert_array_equal(more.log_partition, loss.log_partition)
        np.testing.assert_array_equal(more.overlap, loss.overlap)


def test_a_line_search_sees_the_penalty(x64):
    """By LBFGS the minimum of loss and penalty, found by gradient steps as well."""
    minima = []
    for optimizer, num_steps in ((optax.lbfgs(), 30), (optax.sgd(0.3), 600)):
        train = make(optimizer=optimizer, penalty_fn=norm_penalty)
        step = jax.jit(train)
        state = train.init(jnp.zeros(2))
        for _ in range(num_steps):
            state, metrics = step(state, batch(), KEY)
        assert metrics.gradient_norm < 1e-6
        minima.append(state.params)
    np.testing.assert_allclose(*minima, rtol=1e-5)


def test_a_penalty_sees_both_sides_and_fresh_keys():
    seen = []

    def penalty_fn(params, batch, key):
        seen.append((batch.x_data.shape, batch.x_noise.shape, batch.weights_noise.shape))
        return jnp.sum(jax.random.normal(key, ()) + 0 * params[0])

    train = make(penalty_fn=penalty_fn)
    state = train.init(jnp.ones(2))
    losses = []
    for _ in range(2):
        state, metrics = train(state, batch(weights_noise=jnp.ones(32)), KEY)
        losses.append(float(metrics.loss - make()(state, batch(), KEY)[1].loss))
    assert seen[0] == ((32, 2), (32, 2), (32,))
    assert abs(losses[0] - losses[1]) > 0.01


def test_places_count_as_samples(x64):
    """The step of patches is that of as many small images, with the weights of their images."""
    train, patches = make(spatial, is_spatial=True), make()
    images = batch(dim=6, weights_data=1 + jnp.arange(32.0) % 3)
    pieces = training.Batch(
        images.x_data.reshape(-1, 2),
        images.x_noise.reshape(-1, 2),
        weights_data=jnp.repeat(images.weights_data, 3),
    )
    first = train(train.init(jnp.ones(2)), images, KEY)
    second = patches(patches.init(jnp.ones(2)), pieces, KEY)
    # Faults are counted by images.
    first, second = ((state, metrics._replace(faults=None)) for state, metrics in (first, second))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), first, second)
    log_ratio = train.log_ratio(jnp.ones(2), images.x_data)
    np.testing.assert_allclose(log_ratio, images.x_data.reshape(-1, 2).sum(1), rtol=1e-12)


@pytest.mark.costly
def test_places_over_eight_devices_are_those_of_one(x64):
    states = []
    for mesh in (None, training.make_mesh()):
        train = make(spatial, is_spatial=True, mesh=mesh)
        state = train.init(jnp.ones(2))
        state = state if mesh is None else training.shard_state(state, mesh)
        states.append(jax.jit(train)(state, batch(dim=6, weights_data=jnp.ones(32)), KEY)[0])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10), *states)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strength": 0.2}, "penalty: expected the number"),
        ({"where": "samples"}, "penalty: expected the operations"),
    ],
)
def test_a_run_is_not_resumed_with_another_penalty(change, message, tmp_path):
    def fit(num_steps, options, allowed=()):
        penalty_fn = critics.gradient_penalty(linear, **{"strength": 0.1, **options})
        train = make(penalty_fn=penalty_fn)
        state = train.init(jnp.ones(2))
        return training.fit(
            train, state, [batch()] * 4, KEY, num_steps=num_steps, folder=tmp_path,
            resume=True, progress=False, allow_changes=allowed,
        )  # fmt: skip

    fit(2, {})
    with pytest.raises(ValueError, match=message):
        fit(4, change)
    fit(4, change, ("penalty",))


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"penalty_fn": 0.1}, TypeError, "penalty_fn: expected a function of parameters, batch"),
        ({"penalty_fn": lambda params: 0.0}, TypeError, "penalty_fn: expected a function"),
        ({"is_spatial": 1}, TypeError, "is_spatial: expected True or False"),
        ({"log_ratio_fn": None}, TypeError, "log_ratio_fn: expected a function"),
    ],
)
def test_wrong_arguments_are_named(options, error, message):
    with pytest.raises(error, match=message):
        make(**options)


@pytest.mark.bad_input
def test_wrong_results_are_named():
    flat = make(linear, is_spatial=True)
    with pytest.raises(ValueError, match="log_ratio_fn: expected one value for each place"):
        flat(flat.init(jnp.ones(2)), batch(), KEY)
    pair = make(lambda slope, x: (x, x), is_spatial=True)
    with pytest.raises(TypeError, match="log_ratio_fn: expected one value for each place"):
        pair(pair.init(jnp.ones(2)), batch(), KEY)
    rows = make(penalty_fn=lambda params, batch, key: params)
    with pytest.raises(TypeError, match="penalty_fn: expected one floating number"):
        rows(rows.init(jnp.ones(2)), batch(), KEY)
    dense = training.make_train_step(linear, _Noise(), optax.sgd(0.1))
    with pytest.raises(TypeError, match="train: expected the step of a log ratio"):
        dense.log_ratio(jnp.ones(2), batch().x_data)


class _Noise:
    event_shape = (2,)

    def log_prob(self, x):
        return -jnp.sum(x**2, axis=-1) / 2

    def sample_and_log_prob(self, *, seed, sample_shape):
        x = jax.random.normal(seed, (*sample_shape, 2))
        return x, self.log_prob(x)


def test_weights_over_devices_have_the_shape_of_the_images():
    train = make(spatial, is_spatial=True, mesh=training.make_mesh())
    with pytest.raises(ValueError, match=r"weights_data: expected one weight per sample, .32,."):
        train(train.init(jnp.ones(2)), batch(dim=6, weights_data=jnp.ones(64)), KEY)


def test_faults_are_counted_by_images():
    """Two places of image 5 are NaN, and image 6 is padding."""
    images = batch(dim=6, weights_data=jnp.ones(32).at[6].set(0))
    images = images._replace(x_data=images.x_data.at[5, 1:5].set(jnp.nan).at[6].set(jnp.nan))
    train = make(spatial, is_spatial=True)
    _, metrics = train(train.init(jnp.ones(2)), images, KEY)
    np.testing.assert_array_equal(metrics.faults.data, [1, 0, 0, 0, 5, 31, 0])


def test_the_norm_of_a_half_precision_gradient_is_finite():
    """Above 256 the square of a float16 is infinite."""
    train = make(lambda slope, x: 1e3 * (x @ slope.astype(x.dtype)))
    _, metrics = train(train.init(jnp.zeros(2, jnp.float16)), batch(), KEY)
    assert 256 < metrics.gradient_norm < jnp.inf
