"""Bridges, the stages' log ratios, and their sum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nce_jax import samplers, telescoping

KEYS = jax.random.split(jax.random.key(0), 4)
X_DATA, X_NOISE = 3 + jax.random.normal(KEYS[0], (50, 2)), jax.random.normal(KEYS[1], (50, 2))
LEVELS = [0.0, 0.28, 0.8, 1.0]


def linear(theta, x):
    return x @ theta


def test_bridges_are_the_coupled_interpolation():
    x = telescoping.bridges(X_DATA, X_NOISE, noise_levels=LEVELS)
    data, noise = np.asarray(X_DATA, np.float64), np.asarray(X_NOISE, np.float64)
    expected = np.stack([np.sqrt(1 - a**2) * data + a * noise for a in LEVELS])
    np.testing.assert_allclose(x, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(x[0], X_DATA)
    np.testing.assert_array_equal(x[-1], X_NOISE)


def test_a_space_bends_the_bridges_and_keeps_the_ends():
    x_data, x_noise = jnp.exp(X_DATA), jnp.exp(X_NOISE)
    x = telescoping.bridges(x_data, x_noise, noise_levels=LEVELS, space=(jnp.log, jnp.exp))
    np.testing.assert_allclose(
        jnp.log(x), telescoping.bridges(X_DATA, X_NOISE, noise_levels=LEVELS), atol=1e-5
    )
    np.testing.assert_array_equal(x[0], x_data)


def test_the_sum_of_stages_is_the_model():
    theta = jax.random.normal(KEYS[2], (3, 2))
    stages_fn = telescoping.separate(linear)
    data, noise = telescoping.stage_log_ratios(
        stages_fn, theta, telescoping.bridges(X_DATA, X_NOISE, noise_levels=LEVELS)
    )
    np.testing.assert_allclose(data[0], X_DATA @ theta[0], rtol=1e-5)
    np.testing.assert_allclose(noise[-1], X_NOISE @ theta[2], rtol=1e-5)
    log_density_fn = telescoping.telescoped(stages_fn, 3, log_density_noise_fn=lambda x: x[:, 0])
    np.testing.assert_allclose(
        log_density_fn(theta, X_DATA), X_DATA @ theta.sum(0) + X_DATA[:, 0], rtol=1e-4
    )


def test_a_shared_body_is_evaluated_once_and_equals_separate_models():
    heads = jax.random.normal(KEYS[3], (3, 2))
    x = telescoping.bridges(X_DATA, X_NOISE, noise_levels=LEVELS)[:-1]
    calls = []

    def body(scale, x):
        calls.append(x.shape)
        return jnp.tanh(scale * x)

    shared = telescoping.shared_body(body, linear)({"body": jnp.array(0.5), "heads": heads}, x)
    assert calls == [(150, 2)]
    np.testing.assert_allclose(
        shared, telescoping.separate(linear)(heads, jnp.tanh(0.5 * x)), rtol=1e-5
    )


def test_levels_next_to_one_keep_their_part_of_the_data():
    """1 - 1e-9 is 1 in float32, and sqrt(1 - a^2) is 4.5e-5."""
    x = telescoping.bridges(jnp.full(1, 1e5), jnp.zeros(1), noise_levels=[0.0, 1 - 1e-9, 1.0])
    np.testing.assert_allclose(x[1], 1e5 * np.sqrt(2e-9), rtol=1e-5)


@pytest.mark.bad_input
@pytest.mark.parametrize("levels", [[0.0, 0.5], [0.1, 1.0], [0.0, 0.5, 0.5, 1.0], [1.0], 0.5])
def test_noise_levels_that_do_not_rise_from_0_to_1_are_refused(levels):
    with pytest.raises(ValueError, match="noise_levels: expected"):
        telescoping.bridges(X_DATA, X_NOISE, noise_levels=levels)


@pytest.mark.bad_input
def test_an_annealing_schedule_is_not_taken_for_noise_levels():
    """It runs from the noise to the model, and noise levels from the data to the noise: they have
    to be named.
    """
    with pytest.raises(TypeError, match="positional argument"):
        telescoping.bridges(X_DATA, X_NOISE, samplers.linear_schedule(2))


@pytest.mark.bad_input
def test_sets_that_are_no_pairs_are_refused():
    with pytest.raises(ValueError, match="x_noise: expected the shape of x_data"):
        telescoping.bridges(X_DATA, X_NOISE[:10], noise_levels=LEVELS)
    with pytest.raises(ValueError, match="num_stages"):
        telescoping.telescoped(telescoping.separate(linear), 0)


@pytest.mark.bad_input
def test_what_is_no_function_of_stages_is_refused():
    x, stages_fn = jnp.ones((3, 4)), telescoping.separate(linear)
    for name, call in {
        "log_ratio_fn": lambda: telescoping.separate(3),
        "body_fn": lambda: telescoping.shared_body(dict, linear),
        "head_fn": lambda: telescoping.shared_body(linear, lambda x: x),
        "stages_fn": lambda: telescoping.stage_log_ratios("model", jnp.ones(2), x),
        "params": lambda: telescoping.stage_log_ratios(stages_fn, "params", x),
        "x": lambda: telescoping.stage_log_ratios(stages_fn, jnp.ones(2), "x"),
        "log_density_noise_fn": lambda: telescoping.telescoped(
            stages_fn, 2, log_density_noise_fn=1
        ),
        "space": lambda: telescoping.bridges(X_DATA, X_NOISE, noise_levels=LEVELS, space=3),
        "noise_levels": lambda: telescoping.bridges(X_DATA, X_NOISE, noise_levels=["a", "b"]),
    }.items():
        with pytest.raises(TypeError, match=f"^{name}: expected"):
            call()
    log_ratio_fn = telescoping.telescoped(stages_fn, 2, log_density_noise_fn=len)
    with pytest.raises(TypeError, match="log_density_noise_fn: expected one value per sample"):
        log_ratio_fn(jnp.ones((2, 1)), jnp.ones((3, 1)))


@pytest.mark.bad_input
def test_integers_are_refused():
    """Noise levels in their type would be 0 and 1 throughout."""
    with pytest.raises(TypeError, match="x_data: expected a floating array"):
        telescoping.bridges(jnp.array([10, 20]), jnp.array([1, 2]), noise_levels=LEVELS)


@pytest.mark.parametrize(
    ("params", "text"),
    [
        (jnp.ones((3, 4)), r"params: expected 2 stages on .*, got shape \(3, 4\) at params"),
        ({"a": jnp.ones(())}, r"params: expected 2 stages on .*, got shape \(\) at params\['a'\]"),
    ],
)
def test_parameters_of_another_number_of_stages_are_named(params, text):
    stages_fn = telescoping.separate(lambda params, x: x @ jax.tree.leaves(params)[0])
    with pytest.raises(ValueError, match=text):
        stages_fn(params, jnp.ones((2, 5, 4)))


def test_parameters_of_a_shared_body_are_named():
    stages_fn, x = telescoping.shared_body(lambda body, x: x, linear), jnp.ones((2, 5, 4))
    with pytest.raises(ValueError, match=r'params\["heads"\]: expected 2 stages'):
        stages_fn({"body": jnp.ones(()), "heads": jnp.ones((3, 4))}, x)
    for params, text in ((jnp.ones((2, 4)), "array"), ({"heads": 1.0}, r"entries \['heads'\]")):
        with pytest.raises(TypeError, match=f'params: expected .*"body" and "heads", got .*{text}'):
            stages_fn(params, x)


def test_stages_of_the_same_function_are_equal():
    assert telescoping.separate(linear) == telescoping.separate(linear)


def test_a_space_that_changes_the_shape_is_named():
    x, space = jnp.ones((5, 4)), (lambda x: x[:, :1], lambda x: x)
    with pytest.raises(ValueError, match="space: expected to and back that keep"):
        telescoping.bridges(x, x, noise_levels=[0.0, 0.5, 1.0], space=space)
