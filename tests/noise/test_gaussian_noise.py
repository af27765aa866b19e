import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from nce_jax.noise import fitted_gaussian, product_of_marginals, standard_normal, uniform_box_around


def correlated_data(num_samples=300, dim=4, offset=0.0, seed=0):
    generator = np.random.default_rng(seed)
    return generator.normal(size=(num_samples, dim)) @ generator.normal(size=(dim, dim)) + offset


def oracle(x_data, ridge, weights=None):
    """The formula of the docstring in float64 NumPy."""
    mean = np.average(x_data, axis=0, weights=weights)
    covariance = np.cov(x_data.T, ddof=0, aweights=weights)
    return stats.multivariate_normal(mean, covariance + ridge * np.diag(np.diag(covariance)))


def test_standard_normal_matches_scipy():
    x = np.random.default_rng(0).normal(size=(10, 3)) * 4
    expected = stats.norm.logpdf(x).sum(axis=-1)
    np.testing.assert_allclose(
        standard_normal(3).log_prob(jnp.asarray(x, jnp.float32)), expected, rtol=1e-5
    )
    with jax.enable_x64(True):
        np.testing.assert_allclose(
            standard_normal(3).log_prob(jnp.asarray(x)), expected, rtol=1e-13
        )


@pytest.mark.costly
@pytest.mark.parametrize("weighted", [False, True])
def test_fitted_gaussian_matches_scipy(weighted):
    x_data = correlated_data()
    weights = np.random.default_rng(1).uniform(0, 3, size=300) if weighted else None
    x = correlated_data(seed=2, num_samples=20)
    expected = oracle(x_data, 1e-4, weights).logpdf(x)
    with jax.enable_x64(True):
        noise = fitted_gaussian(x_data, weights_data=weights, ridge=1e-4)
        np.testing.assert_allclose(noise.log_prob(jnp.asarray(x)), expected, rtol=1e-9)
    weights = None if weights is None else jnp.asarray(weights, jnp.float32)
    noise = fitted_gaussian(jnp.asarray(x_data, jnp.float32), weights_data=weights, ridge=1e-4)
    np.testing.assert_allclose(
        noise.log_prob(jnp.asarray(x, jnp.float32)), expected, rtol=2e-4, atol=2e-4
    )


def test_default_ridge_is_the_root_of_epsilon():
    x_data = correlated_data()
    with jax.enable_x64(True):
        covariance = fitted_gaussian(x_data).covariance()
    ridge = np.sqrt(np.finfo(np.float64).eps)
    expected = np.cov(x_data.T, ddof=0)
    np.testing.assert_allclose(
        covariance, expected + ridge * np.diag(np.diag(expected)), rtol=1e-11, atol=1e-11
    )


def test_weight_zero_removes_a_sample_and_only_ratios_count():
    x_data = jnp.asarray(correlated_data(num_samples=50), jnp.float32)
    padded = jnp.concatenate([x_data, jnp.full((14, 4), 1e3)])
    weights = jnp.concatenate([jnp.full(50, 0.3), jnp.zeros(14)])
    alone, masked = fitted_gaussian(x_data), fitted_gaussian(padded, weights_data=weights)
    np.testing.assert_allclose(
        masked.log_prob(x_data), alone.log_prob(x_data), rtol=1e-4, atol=1e-4
    )


def test_moments_of_draws():
    """Seed 5, 20,000 draws: every entry of mean and covariance within 4.5 standard errors (20
    entries).
    """
    noise = fitted_gaussian(jnp.asarray(correlated_data(offset=3.0), jnp.float32))
    x_noise = np.asarray(noise.sample(seed=jax.random.key(5), sample_shape=20_000), np.float64)
    mean, covariance = np.asarray(noise.mean()), np.asarray(noise.covariance())
    variance = np.diag(covariance)
    assert np.all(np.abs(x_noise.mean(0) - mean) < 4.5 * np.sqrt(variance / 20_000))
    standard_error = np.sqrt((np.outer(variance, variance) + covariance**2) / 20_000)
    assert np.all(np.abs(np.cov(x_noise.T) - covariance) < 4.5 * standard_error)


@pytest.mark.parametrize(
    "x_data",
    [
        pytest.param(correlated_data(num_samples=10, dim=64), id="fewer samples than dimensions"),
        pytest.param(correlated_data() * np.array([1, 0, 1, 0]) + 0.1, id="constant dimensions"),
        pytest.param(correlated_data()[:, [0, 1, 1, 0]], id="copied dimensions"),
        pytest.param(np.full((5, 3), 0.1), id="every dimension constant"),
        pytest.param(np.full((5, 3), 0.0), id="nothing but zeros"),
        pytest.param(correlated_data(num_samples=2, dim=1), id="two samples"),
    ],
)
def test_degenerate_data_keep_full_support(x_data):
    @jax.jit
    def draw(x_data):
        noise = fitted_gaussian(x_data)
        drawn = noise.sample_and_log_prob(seed=jax.random.key(0), sample_shape=50)
        return *drawn, noise.log_prob(x_data), noise.log_prob(x_data + 1)

    x_noise, *log_probs = map(np.asarray, draw(x_data.astype(np.float32)))
    assert np.isfinite(x_noise).all()
    for log_prob in log_probs:
        assert np.isfinite(log_prob).all()
    assert (x_noise.std(axis=0) > 0).all()


def test_constant_dimension_takes_the_ridge_of_the_average_variance():
    x_data = np.array(
        [[0.0, 7.1, 0.0], [2.0, 7.1, 6.0], [0.0, 7.1, 6.0], [2.0, 7.1, 0.0]], np.float32
    )
    variance = fitted_gaussian(x_data, ridge=1e-2).variance()
    np.testing.assert_allclose(variance, [1.01, 0.05, 9.09], rtol=1e-5)


@pytest.mark.parametrize(("num_samples", "value"), [(1001, 0.1), (100, 0.3)])
def test_rounding_of_the_mean_does_not_pass_for_variation(num_samples, value):
    """The float32 mean of equal values misses them by several units of rounding at these sizes."""
    x_data = np.full((num_samples, 2), value, np.float32)
    x_data[:, 1] = np.random.default_rng(0).normal(size=num_samples)
    variance = fitted_gaussian(x_data, ridge=1e-2).variance()
    np.testing.assert_allclose(variance[0], 1e-2 * np.var(x_data[:, 1]), rtol=1e-4)


def test_ridge_follows_the_units_of_each_dimension():
    x_data = correlated_data(dim=3)
    units = np.array([1e4, 1.0, 1e-4])
    plain = fitted_gaussian(jnp.asarray(x_data, jnp.float32))
    scaled = fitted_gaussian(jnp.asarray(x_data * units, jnp.float32))
    x = correlated_data(dim=3, seed=3, num_samples=10)
    np.testing.assert_allclose(
        scaled.log_prob(jnp.asarray(x * units, jnp.float32)) + np.log(units).sum(),
        plain.log_prob(jnp.asarray(x, jnp.float32)),
        rtol=1e-3,
        atol=1e-3,
    )


def test_far_from_the_origin_in_float32():
    """100,000 samples around 1e4: one pass over the data would lose the mean, and with it the
    covariance.
    """
    x_data = jnp.asarray(correlated_data(num_samples=100_000, dim=2) + 1e4, jnp.float32)
    exact = np.asarray(x_data, np.float64)
    noise = fitted_gaussian(x_data)
    np.testing.assert_allclose(noise.mean(), exact.mean(axis=0), rtol=2e-7)
    np.testing.assert_allclose(noise.covariance(), np.cov(exact.T, ddof=0), rtol=2e-3)


def test_ridge_may_be_traced_and_differentiated():
    x_data = jnp.asarray(correlated_data(), jnp.float32)

    def spread(ridge):
        return fitted_gaussian(x_data, ridge=ridge).variance().sum()

    np.testing.assert_allclose(
        jax.jit(jax.grad(spread))(0.1), np.var(x_data, axis=0).sum(), rtol=1e-4
    )


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"ridge": 0.0}, ValueError, "ridge: expected a finite positive number, got 0.0"),
        ({"ridge": -1.0}, ValueError, "ridge: .*got -1.0"),
        ({"weights_data": np.ones(3, np.float32)}, ValueError, r"weights_data: .*got shape \(3,\)"),
        (
            {"weights_data": np.array([1.0, -1, 1, 1, 1])},
            ValueError,
            "weights_data: expected weights >= 0",
        ),
    ],
)
def test_bad_options_are_named(options, error, message):
    with pytest.raises(error, match=message):
        fitted_gaussian(np.ones((5, 2), np.float32), **options)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_the_standard_normal_of_half_precision_is_one(dtype):
    """Its mean and its tail within k = 4 standard errors (seed 0). Draws made in bfloat16 have a
    mean of -0.01 and none beyond 2.9; log densities in it are off by nats in 784 dimensions.
    """
    x, log_q = standard_normal(784, dtype=dtype).sample_and_log_prob(
        seed=jax.random.key(0), sample_shape=1000
    )
    assert (x.dtype, log_q.dtype) == (dtype, jnp.float32)
    values = np.asarray(x, np.float64)
    assert abs(values.mean()) < 4 / values.size**0.5
    tail = stats.norm.sf(3)
    for beyond in (values > 3, values < -3):
        # Rounding to bfloat16 moves the end by 0.008: the share by 3.5 %.
        assert abs(beyond.mean() / tail - 1) < 0.035 + 4 / (tail * values.size) ** 0.5
    expected = stats.norm.logpdf(values).sum(axis=-1)
    np.testing.assert_allclose(log_q, expected, rtol=1e-5)
    np.testing.assert_allclose(standard_normal(784, dtype=dtype).log_prob(x), expected, rtol=1e-5)


@pytest.mark.bad_input
def test_bad_dim_is_named():
    with pytest.raises(ValueError, match="dim: expected at least 1, got 0"):
        standard_normal(0)
    with pytest.raises(TypeError, match="dim: expected an integer, got 2.5"):
        standard_normal(2.5)


def test_a_sample_of_weight_zero_is_ignored_even_if_it_is_nan():
    x_data = correlated_data(20).astype(np.float32)
    spoiled, weights = x_data.copy(), np.ones(20, np.float32)
    spoiled[3, 1], weights[3] = np.nan, 0
    given = [fitted_gaussian(x, weights_data=weights) for x in (x_data, spoiled)]
    np.testing.assert_array_equal(given[0].mean(), given[1].mean())
    np.testing.assert_array_equal(given[0].covariance(), given[1].covariance())


@pytest.mark.bad_input
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("make", [fitted_gaussian, product_of_marginals, uniform_box_around])
def test_samples_that_are_not_finite_are_refused(make, value):
    x_data = correlated_data(20).astype(np.float32)
    x_data[3, 1] = value
    with pytest.raises(ValueError, match="x_data: expected finite samples, got (nan|inf) in"):
        make(x_data)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("unit", "options", "message"),
    [
        (1e25, {}, "^x_data: expected samples whose variances float32 can hold, got a range of"),
        (1e-25, {}, "^x_data: expected samples whose variances float32 can hold, got a range of"),
        (1, {"weights_data": np.zeros(20)}, "^weights_data: .* one of them positive, got a sum"),
        (1, {"weights_data": np.full(20, np.nan)}, "^weights_data: expected finite weights, one"),
        (1, {"ridge": 1e-12}, "^ridge: expected one that makes the covariance positive definite"),
        (1, {"ridge": np.array([0.1, 0.2])}, r"^ridge: expected one number, got shape \(2,\)"),
    ],
)
def test_a_gaussian_that_would_be_nan_or_of_another_unit_is_named(unit, options, message):
    """The two dimensions are copies of one another."""
    x_data = unit * np.repeat(np.random.default_rng(0).normal(size=(20, 1)), 2, axis=1)
    with pytest.raises(ValueError, match=message):
        fitted_gaussian(x_data.astype(np.float32), **options)


@pytest.mark.bad_input
def test_a_standard_normal_of_eight_bits_is_refused():
    with pytest.raises(TypeError, match="^dtype: expected at least 16 bits, got float8_e4m3fn"):
        standard_normal(2, dtype=jnp.float8_e4m3fn)
