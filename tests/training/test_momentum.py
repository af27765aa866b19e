"""What an optimizer remembers, against the closed form and against letting it run out."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nce_jax.training._momentum import pending

PARAMS = {"matrix": jnp.ones((3, 2)), "vector": jnp.full(4, -0.5)}


def after(optimizer, steps=6, params=PARAMS, seed=0):
    """Parameters and the optimizer's state after some random gradients."""
    state, key = optimizer.init(params), jax.random.key(seed)
    for step in range(steps):
        key_step = jax.random.fold_in(key, step)
        gradient = jax.tree.map(
            lambda leaf, key=key_step: jax.random.normal(key, leaf.shape, leaf.dtype), params
        )
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    return params, state, updates


def rest(optimizer, params, state, steps=400):
    """The displacement over many steps without a gradient."""
    nothing, start = jax.tree.map(jnp.zeros_like, params), params
    for _ in range(steps):
        updates, state = optimizer.update(nothing, state, params)
        params = optax.apply_updates(params, updates)
    return jax.tree.map(jnp.subtract, params, start)


def assert_close(actual, expected, **tolerance):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), actual, expected)


@pytest.mark.parametrize("beta", [0.5, 0.9, 0.99])
def test_momentum_holds_its_geometric_series(beta):
    optimizer = optax.sgd(0.1, momentum=beta)
    params, state, last = after(optimizer)
    expected = jax.tree.map(lambda update: beta / (1 - beta) * update, last)
    assert_close(pending(optimizer, state, params), expected, rtol=2e-4)


def test_plain_descent_holds_nothing():
    params, state, _ = after(optax.sgd(0.1))
    assert_close(pending(optax.sgd(0.1), state, params), jax.tree.map(jnp.zeros_like, params))


def test_adam_holds_what_it_still_moves_without_a_gradient():
    """After many steps the series is all but geometric: beta_1 / sqrt(beta_2)."""
    optimizer = optax.adam(0.01)
    params, state, _ = after(optimizer, steps=300)
    assert_close(
        pending(optimizer, state, params), rest(optimizer, params, state), rtol=0.02, atol=1e-5
    )


def test_weight_decay_is_no_memory():
    """It never comes to rest: what counts of it is the steps tried out."""
    optimizer = optax.chain(optax.add_decayed_weights(1e-4), optax.sgd(0.1))
    params, state, _ = after(optimizer)
    assert_close(
        pending(optimizer, state, params),
        jax.tree.map(lambda leaf: -3e-5 * leaf, params),
        rtol=1e-3,
    )


def test_half_precision_stays_half_precision():
    params, state, _ = after(
        optax.adam(0.01), params=jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), PARAMS)
    )
    remaining = pending(optax.adam(0.01), state, params)
    assert {leaf.dtype for leaf in jax.tree.leaves(remaining)} == {jnp.dtype("bfloat16")}


def test_small_moves_in_half_precision_are_not_squared_to_zero():
    """Moves of 1e-4, whose squares float16 does not hold: 9 times the first is still to come."""
    optimizer = optax.sgd(0.1, momentum=0.9)
    params = jnp.zeros(1, jnp.float16)
    _, state = optimizer.update(jnp.full(1, 1e-3, jnp.float16), optimizer.init(params), params)
    np.testing.assert_allclose(pending(optimizer, state, params), -9e-4, rtol=0.05)
