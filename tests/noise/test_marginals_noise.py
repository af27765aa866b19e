import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from nce_jax.noise import product_of_marginals


def oracle_log_prob(x, x_data, num_components):
    """The formula of the docstring in float64 NumPy, one dimension at a time."""
    log_prob = np.zeros(len(x))
    for column, values in zip(x_data.T, x.T, strict=True):
        quartiles = np.quantile(column, [0.25, 0.75])
        spread = min(column.std(), (quartiles[1] - quartiles[0]) / 1.349) or column.std()
        edges = np.quantile(column, np.arange(num_components + 1) / num_components)
        centers = np.quantile(column, (np.arange(num_components) + 0.5) / num_components)
        bandwidths = np.maximum(0.9 * spread * len(column) ** -0.2, np.diff(edges) / 2)
        components = stats.norm.logpdf(values[:, None], centers, bandwidths)
        log_prob += special.logsumexp(components, axis=-1) - np.log(num_components)
    return log_prob


def mixed_data(num_samples=400, seed=0):
    """A Gaussian, a heavy tail, two separate modes, and mostly zeros (no interquartile range)."""
    generator = np.random.default_rng(seed)
    modes = np.where(generator.random(num_samples) < 0.3, -5, 5) + 0.3 * generator.normal(
        size=num_samples
    )
    sparse = np.where(generator.random(num_samples) < 0.1, generator.normal(size=num_samples), 0)
    columns = [
        generator.normal(size=num_samples),
        generator.standard_t(2, size=num_samples),
        modes,
        sparse,
    ]
    return np.stack(columns, axis=-1)


@pytest.mark.parametrize(
    "num_components",
    [
        1,
        7,
        pytest.param(64, marks=pytest.mark.costly),
        pytest.param(1000, marks=pytest.mark.costly),
    ],
)
@pytest.mark.costly
def test_log_prob_matches_numpy(num_components):
    x_data, x = mixed_data(), mixed_data(seed=1, num_samples=30)
    expected = oracle_log_prob(x, x_data, num_components)
    with jax.enable_x64(True):
        noise = product_of_marginals(x_data, num_components=num_components)
        np.testing.assert_allclose(noise.log_prob(jnp.asarray(x)), expected, rtol=1e-10)
    noise = product_of_marginals(jnp.asarray(x_data, jnp.float32), num_components=num_components)
    np.testing.assert_allclose(noise.log_prob(jnp.asarray(x, jnp.float32)), expected, rtol=2e-3)


def test_draws_follow_the_density():
    """Seed 2, 20,000 draws: mean and variance within 5 standard errors, and Kolmogorov-Smirnov p >
    0.001.
    """
    noise = product_of_marginals(jnp.asarray(mixed_data(), jnp.float32), num_components=16)
    x_noise = np.asarray(noise.sample(seed=jax.random.key(2), sample_shape=20_000), np.float64)
    mean, variance = np.asarray(noise.mean()), np.asarray(noise.variance())
    assert np.all(np.abs(x_noise.mean(0) - mean) < 5 * np.sqrt(variance / 20_000))
    fourth = ((x_noise - mean) ** 4).mean(0)
    assert np.all(np.abs(x_noise.var(0) - variance) < 5 * np.sqrt((fourth - variance**2) / 20_000))
    loc = np.asarray(noise.distribution.components_distribution.loc, np.float64)
    scale = np.asarray(noise.distribution.components_distribution.scale, np.float64)
    for dim in range(4):

        def cdf(x, dim=dim):
            return stats.norm.cdf(x[:, None], loc[dim], scale[dim]).mean(axis=-1)

        assert stats.kstest(x_noise[:, dim], cdf).pvalue > 1e-3


def test_same_law_as_distrax_draws():
    """Our one-component draw against distrax's masked one: equal moments within 5 standard errors,
    seed 3.
    """
    mixture = product_of_marginals(
        jnp.asarray(mixed_data(), jnp.float32), num_components=16
    ).distribution
    plain = distrax.MixtureSameFamily(mixture.mixture_distribution, mixture.components_distribution)
    ours, theirs = (
        np.asarray(noise.sample(seed=jax.random.key(3), sample_shape=20_000), np.float64)
        for noise in (mixture, plain)
    )
    assert ours.shape == theirs.shape
    for moment in (np.tanh, np.abs):
        values = moment(ours), moment(theirs)
        standard_error = np.sqrt((values[0].var(0) + values[1].var(0)) / 20_000)
        assert np.all(np.abs(values[0].mean(0) - values[1].mean(0)) < 5 * standard_error)


def test_marginals_are_kept_and_dependence_is_not():
    """Seed 4, 5,000 points: quantiles of a Gaussian within 0.1, correlation within 4 standard
    errors of 0.
    """
    generator = np.random.default_rng(4)
    first = generator.normal(size=5000)
    noise = product_of_marginals(np.stack([first, -first], axis=-1).astype(np.float32))
    x_noise = np.asarray(noise.sample(seed=jax.random.key(4), sample_shape=20_000))
    levels = [0.05, 0.25, 0.5, 0.75, 0.95]
    np.testing.assert_allclose(np.quantile(x_noise[:, 0], levels), stats.norm.ppf(levels), atol=0.1)
    assert abs(np.corrcoef(x_noise.T)[0, 1]) < 4 / np.sqrt(20_000)


@pytest.mark.costly
def test_extremes_of_heavy_tails_are_covered():
    """Student t with 2 degrees of freedom: with Silverman's width alone the extreme lies beyond 100
    widths.
    """
    x_data = np.random.default_rng(5).standard_t(2, size=(10_000, 1)).astype(np.float32)
    log_prob = product_of_marginals(x_data).log_prob(x_data)
    assert log_prob.min() > -20


@pytest.mark.parametrize("location", [0.0, 0.1, -3e4])
def test_constant_dimensions_keep_a_positive_width(location):
    x_data = mixed_data(num_samples=100).astype(np.float32)
    x_data[:, 1] = location
    noise = product_of_marginals(x_data)
    scale = noise.distribution.components_distribution.scale
    varying = np.var(x_data, axis=0)[[0, 2, 3]].mean()
    np.testing.assert_allclose(scale[1], 0.9 * np.sqrt(varying) * 100**-0.2, rtol=1e-4)
    assert jnp.isfinite(noise.log_prob(x_data)).all()


def test_every_dimension_constant():
    noise = product_of_marginals(np.full((3, 2), 0.1, np.float32))
    assert jnp.isfinite(noise.log_prob(jnp.zeros(2)))


def test_a_sample_costs_no_pass_over_the_components():
    """The compiled draw of (n, dim) values holds no array of (n, dim, components)."""
    noise = product_of_marginals(jnp.asarray(mixed_data(), jnp.float32), num_components=999)
    draw = jax.make_jaxpr(lambda key: noise.sample(seed=key, sample_shape=50))(jax.random.key(0))
    assert "50,4,999" not in str(draw)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("num_components", "error", "message"),
    [
        (0, ValueError, "num_components: expected at least 1, got 0"),
        (2.0, TypeError, "num_components: expected an"),
    ],
)
def test_bad_num_components_is_named(num_components, error, message):
    with pytest.raises(error, match=message):
        product_of_marginals(np.ones((5, 2), np.float32), num_components=num_components)
