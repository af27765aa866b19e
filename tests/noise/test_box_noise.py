import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from nce_jax.noise import uniform_box, uniform_box_around


def test_log_prob_matches_scipy_inside_and_out():
    low, high = np.array([-1.0, 0.5, 2.0]), np.array([3.0, 0.75, 10.0])
    x = np.random.default_rng(0).uniform(low - 0.2, high + 0.2, size=(200, 3))
    expected = stats.uniform.logpdf(x, low, high - low).sum(axis=-1)
    assert np.isneginf(expected).any()
    assert np.isfinite(expected).any()
    np.testing.assert_allclose(
        uniform_box(low, high).log_prob(jnp.asarray(x, jnp.float32)), expected, rtol=1e-6
    )


def test_moments_of_draws():
    """Seed 1, 20,000 draws: means within 4 standard errors, and every draw inside."""
    noise = uniform_box(np.array([0.0, 100.0]), np.array([1.0, 100.5]))
    x_noise = noise.sample(seed=jax.random.key(1), sample_shape=20_000)
    assert jnp.isfinite(noise.log_prob(x_noise)).all()
    standard_error = np.array([1.0, 0.5]) / np.sqrt(12 * 20_000)
    assert np.all(
        np.abs(np.asarray(x_noise, np.float64).mean(0) - [0.5, 100.25]) < 4 * standard_error
    )


def test_one_bound_may_be_a_number():
    np.testing.assert_allclose(
        uniform_box(0, [2.0, 4.0]).log_prob(jnp.ones(2)), -np.log(8), rtol=1e-6
    )
    np.testing.assert_allclose(
        uniform_box([-1, -3], 1).log_prob(jnp.zeros(2)), -np.log(8), rtol=1e-6
    )


def test_box_around_widens_by_the_margin():
    noise = uniform_box_around(
        np.array([[0.0, -2.0], [10.0, 2.0], [4.0, 0.0]], np.float32), margin=0.5
    )
    np.testing.assert_allclose(noise.log_prob(jnp.zeros(2)), -np.log(20 * 8), rtol=1e-6)
    inside = noise.log_prob(jnp.array([[-4.9, 3.9], [-5.1, 0.0], [0.0, 4.1]]))
    np.testing.assert_array_equal(jnp.isfinite(inside), [True, False, False])


@pytest.mark.parametrize("location", [0.0, 0.1, -3e7])
def test_box_around_has_volume_where_data_have_none(location):
    x_data = np.full((4, 2), location, np.float32)
    noise = uniform_box_around(x_data, margin=1e-6)
    x_noise, log_prob = noise.sample_and_log_prob(seed=jax.random.key(0), sample_shape=10)
    assert jnp.isfinite(noise.log_prob(x_data)).all()
    assert jnp.isfinite(log_prob).all()
    assert jnp.isfinite(x_noise).all()


def test_constant_dimension_takes_the_largest_range():
    x_data = np.array([[0.0, 5.0, 1.0], [4.0, 5.0, 2.0]], np.float32)
    volume = -uniform_box_around(x_data, margin=0.25).log_prob(jnp.asarray(x_data[0]))
    np.testing.assert_allclose(volume, np.log(6 * 2 * 1.5), rtol=1e-5)


def test_bounds_may_be_traced():
    log_prob = jax.jit(lambda low: uniform_box(low, 2.0).log_prob(jnp.zeros(2)))(
        jnp.array([-2.0, -2.0])
    )
    np.testing.assert_allclose(log_prob, -np.log(16), rtol=1e-6)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("low", "high", "error", "message"),
    [
        (
            [0.0, 1.0],
            [1.0, 1.0],
            ValueError,
            "low: expected low < high in every dimension, got low = .*high = ",
        ),
        (2.0, np.array([1.0]), ValueError, "low: expected low < high"),
        (
            0.0,
            1.0,
            ValueError,
            r"low, high: expected bounds of one shape \(dim,\).*got shapes \(\) and \(\)",
        ),
        ([0.0], [1.0, 2.0], ValueError, r"low, high: .*got shapes \(1,\) and \(2,\)"),
        (np.zeros((2, 2)), 1.0, ValueError, r"low, high: .*got shapes \(2, 2\) and \(\)"),
        ([], 1.0, ValueError, r"low, high: .*got shapes \(0,\) and \(\)"),
        ([0.0, -np.inf], 1.0, ValueError, "low, high: expected finite bounds"),
        (np.zeros(2, np.int32), 1.0, TypeError, "low: expected numbers or a floating array"),
        (
            [0.0, 0.0],
            jnp.ones(2, jnp.int32),
            TypeError,
            "high: expected numbers or a floating array",
        ),
        ("zero", [1.0], TypeError, "low: expected numbers or a floating array, got 'zero'"),
        (True, [2.0], TypeError, "low: expected numbers or a floating array, got True"),
    ],
)
def test_bad_bounds_are_named(low, high, error, message):
    with pytest.raises(error, match=message):
        uniform_box(low, high)


@pytest.mark.bad_input
def test_bad_margin_is_named():
    with pytest.raises(ValueError, match="margin: expected a finite positive number, got 0"):
        uniform_box_around(np.ones((3, 2), np.float32), margin=0)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("low", "high"), [(1e9, 1e9 + 1), (1e4, 1e4 + 0.1), (-3e38, 3e38), (0, 1e39)]
)
def test_bounds_whose_distance_is_rounded_are_refused(low, high):
    with pytest.raises(
        ValueError, match="low, high: expected bounds whose difference float32 hold"
    ):
        uniform_box([low], [high])


def test_bounds_far_from_zero_need_x64(x64):
    assert uniform_box([1e9], [1e9 + 1]).log_prob(jnp.array([1e9 + 0.5])) == 0
