import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from nce_jax.models import exponential_family, linear_statistics, quadratic_statistics


def points(num_samples=20, dim=3, seed=0):
    return np.random.default_rng(seed).normal(size=(num_samples, dim)) * 2


def test_log_density_matches_numpy(float_dtype):
    x, theta = points(), np.array([0.5, -1.0, 2.0, 0.1, 0.2, -0.3])
    params, log_density_fn = exponential_family(
        quadratic_statistics,
        theta.astype(float_dtype),
        log_base_measure=lambda x: -jnp.abs(x).sum(axis=-1),
    )
    log_density = log_density_fn(params, jnp.asarray(x, float_dtype))
    expected = np.concatenate([x**2, x], axis=-1) @ theta - np.abs(x).sum(axis=-1)
    assert log_density.dtype == params.dtype == float_dtype
    np.testing.assert_allclose(
        log_density, expected, rtol=1e-5 if float_dtype == "float32" else 1e-13, atol=1e-5
    )


def test_sixteen_dimensional_gaussian_up_to_its_normalizer():
    """theta = (-1 / (2 v), mu / v): phi - log N(mu, v) is one number, the log partition, for every
    x.
    """
    generator = np.random.default_rng(1)
    mean, variance = generator.normal(size=16), generator.uniform(0.5, 2, size=16)
    x = points(dim=16)
    with jax.enable_x64(True):
        theta = np.concatenate([-0.5 / variance, mean / variance])
        params, log_density_fn = exponential_family(quadratic_statistics, theta)
        log_density = log_density_fn(params, jnp.asarray(x))
    log_partition = np.sum(mean**2 / variance + np.log(2 * np.pi * variance)) / 2
    gaussian = stats.norm.logpdf(x, mean, np.sqrt(variance)).sum(axis=-1)
    np.testing.assert_allclose(np.asarray(log_density) - gaussian, log_partition, rtol=1e-12)


def test_gradient_is_the_mean_of_the_statistics_and_matches_finite_differences(x64):
    x, theta = jnp.asarray(points()), np.array([0.3, -0.7, 1.1])
    params, log_density_fn = exponential_family(linear_statistics, theta)

    def mean_log_density(params):
        return log_density_fn(params, x).mean()

    gradient = jax.jit(jax.grad(mean_log_density))(params)
    np.testing.assert_allclose(gradient, x.mean(axis=0), rtol=1e-12)
    steps = 1e-5 * np.eye(3)
    differences = [
        (mean_log_density(theta + step) - mean_log_density(theta - step)) / 2e-5 for step in steps
    ]
    np.testing.assert_allclose(gradient, differences, rtol=1e-7)


def test_vmap_over_params():
    _, log_density_fn = exponential_family(linear_statistics, jnp.zeros(3))
    stacked, x = jnp.asarray(points(num_samples=4)), jnp.asarray(points())
    batched = jax.vmap(log_density_fn, in_axes=(0, None))(stacked, x)
    np.testing.assert_allclose(batched, stacked @ x.T, rtol=1e-5, atol=1e-5)


def test_round_trip_with_optax():
    """Descent on a quadratic of phi reaches the least squares solution: params go through the
    optimizer unchanged.
    """
    x, target = jnp.asarray(points()), jnp.array([1.0, -2.0, 0.5])
    params, log_density_fn = exponential_family(linear_statistics, jnp.zeros(3))
    optimizer = optax.adam(0.1)
    state = optimizer.init(params)

    @jax.jit
    def step(params, state):
        gradient = jax.grad(lambda params: jnp.mean((log_density_fn(params, x) - x @ target) ** 2))(
            params
        )
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    for _ in range(300):
        params, state = step(params, state)
    np.testing.assert_allclose(params, target, atol=1e-3)


def test_half_precision_accumulates_in_float32():
    params, log_density_fn = exponential_family(linear_statistics, jnp.full(512, 1.0, jnp.bfloat16))
    log_density = log_density_fn(params, jnp.full((2, 512), 1.0078125, jnp.bfloat16))
    assert log_density.dtype == jnp.float32
    np.testing.assert_allclose(log_density, 516.0, rtol=1e-6)


def test_discrete_samples_are_allowed():
    params, log_density_fn = exponential_family(linear_statistics, jnp.array([0.5, 1.0]))
    np.testing.assert_allclose(log_density_fn(params, jnp.array([[1, 1], [0, 1]])), [1.5, 1.0])


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("initial_params", "error", "message"),
    [
        (
            np.zeros(3, np.int32),
            TypeError,
            "initial_params: expected a floating array, got dtype int32",
        ),
        (
            np.zeros((2, 3), np.float32),
            ValueError,
            r"initial_params: expected shape \(num_statistics,\), got",
        ),
        (np.float32(1), ValueError, "initial_params: .*got a scalar"),
        (np.zeros(0, np.float32), ValueError, r"initial_params: .*got shape \(0,\)"),
    ],
)
def test_bad_initial_params_are_named(initial_params, error, message):
    with pytest.raises(error, match=message):
        exponential_family(linear_statistics, initial_params)


@pytest.mark.bad_input
def test_bad_calls_are_named():
    params, log_density_fn = exponential_family(quadratic_statistics, jnp.zeros(4))
    with pytest.raises(ValueError, match=r"x: expected shape \(samples, dim\), got shape \(2,\)"):
        log_density_fn(params, jnp.zeros(2))
    with pytest.raises(
        ValueError, match=r"sufficient_statistics: .* in this call \(5, 4\), got shape \(5, 6\)"
    ):
        log_density_fn(params, jnp.zeros((5, 3)))
    with pytest.raises(
        ValueError, match=r"sufficient_statistics: .*in this call \(5, 2, 4\), got shape \(5, 4\)"
    ):
        log_density_fn(jnp.zeros((2, 4)), jnp.zeros((5, 2)))
    _, log_density_fn = exponential_family(
        quadratic_statistics, params, log_base_measure=lambda x: x
    )
    with pytest.raises(ValueError, match=r"log_base_measure: .*, got shape \(5, 2\)"):
        log_density_fn(params, jnp.zeros((5, 2)))
