"""Value guidance: the cost to go by hand, and a value function that learns a known one."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.common import critic_methods, diffusion_steps, value_guidance
from experiments.diffusion_critic import methods as plane_methods
from experiments.diffusion_critic import sampler as plane
from experiments.diffusion_critic.config import PRESETS as PLANE
from experiments.diffusion_digits import methods as digit_methods
from experiments.diffusion_digits import network
from experiments.diffusion_digits import sampler as digits
from experiments.diffusion_digits.config import PRESETS as DIGITS

KEY = jax.random.key(0)
METHOD = critic_methods.METHODS["value guidance"]
LENGTH = 3


@pytest.fixture(autouse=True)
def rank_promotion_as_distrax_needs_it():
    with jax.numpy_rank_promotion("allow"):
        yield


def walk(params: jax.Array, key: jax.Array, before: jax.Array) -> diffusion_steps.Path:
    """Steps of a constant length, without noise."""
    return diffusion_steps.Path(before, before + params, jnp.zeros(LENGTH))


def follow(params: jax.Array, key: jax.Array, count: int) -> diffusion_steps.Path:
    start = jax.random.normal(key, (count, 1))
    before = jnp.stack([start + number * params for number in range(LENGTH)])
    return walk(params, key, before)


GUIDED = value_guidance.Guided(
    follow,
    walk,
    lambda path: 0.5 * jnp.sum((path.after - path.before) ** 2, axis=-1),
    lambda value, x, time: value[0] * x[:, 0] + value[1] * time,
    lambda critic_params, x: critic_params * x[:, 0],
)


def test_the_cost_to_go_is_the_step_and_the_value_of_its_end_and_last_the_energy():
    path = follow(jnp.array([0.5]), KEY, 4)
    found = value_guidance._cost_to_go(GUIDED, jnp.array([2.0, 3.0]), jnp.array(7.0), path)
    values = 2 * path.after[:-1, :, 0] + 3 * np.array([[2 / 3], [1 / 3]])
    expected = 0.125 + np.concatenate([values, -7 * path.after[-1:, :, 0]])
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_the_value_learns_the_cost_to_go_and_steps_end_where_the_energy_is_lowest():
    """The energy -u x of the end and |step|^2 / 2: every step is u long, and the value linear."""
    slope = 0.7
    criterion = critic_methods.criteria.Criterion(
        "held", lambda data, noise, **_: 0.0 * jnp.mean(data)
    )
    critic = critic_methods.training.make_critic_step(
        GUIDED.log_ratio_fn,
        optax.sgd(0.0),
        criterion=criterion,
        treatment=critic_methods.training.held(),
    )
    optimizers = optax.sgd(0.02), optax.sgd(0.1)
    init, step = value_guidance.make(GUIDED, critic, *optimizers)
    state = init(jnp.array([0.0]), jnp.zeros(2), jnp.array(slope))
    advance = jax.jit(lambda state, key: step(state, jnp.zeros((64, 1)), key)[0])
    for number in range(2000):
        state = advance(state, jax.random.fold_in(KEY, number))
    np.testing.assert_allclose(state.params, slope, rtol=1e-3)
    # From time t, 3 t steps of cost u^2 / 2 lead to x + 3 t u, whose energy is -u (x + 3 t u).
    np.testing.assert_allclose(state.value, [-slope, -1.5 * slope**2], rtol=1e-2)


def test_the_same_steps_from_the_states_of_a_path_are_that_path():
    config, settings = PLANE["smoke"], DIGITS["smoke"]
    params = plane.init(config, 5, KEY)
    path = plane.sample_path(config, 5, params, KEY, 7)
    again = plane.take_steps(config, 5, params, KEY, path.before)
    np.testing.assert_allclose(again.after, path.after, rtol=1e-5, atol=1e-6)
    params = digits.init_sampler(settings, network.init_unet(KEY, settings.channels))
    path = digits.sample_path(settings, params, KEY, 3, settings.length)
    again = digits.take_steps(settings, params, KEY, path.before)
    assert path.after.shape == (settings.length, 3, settings.side, settings.side, 1)
    np.testing.assert_allclose(again.after, path.after, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("room", ["plane", "digits"])
def test_a_value_function_sees_state_and_time(room):
    if room == "plane":
        config = PLANE["smoke"]
        guided = plane_methods._guided(config, 2)
        value, x = plane_methods.init_value(config, KEY), jax.random.normal(KEY, (5, 2))
    else:
        settings = DIGITS["smoke"]
        guided = digit_methods._guided(settings)
        value = digit_methods.init_value(settings, KEY)
        x = jax.random.normal(KEY, (5, settings.side, settings.side, 1))
    early, late = (guided.value_fn(value, x, jnp.asarray(time)) for time in (0.2, 0.9))
    assert early.shape == (5,)
    assert (np.asarray(early) != np.asarray(late)).all()
    assert len(set(map(float, early))) == 5
