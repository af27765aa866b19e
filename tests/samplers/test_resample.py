"""Importance resampling: closed forms, sample sizes by formula, failures that are said."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nce_jax import Status, noise, samplers
from nce_jax.samplers import _resample
from tests import oracles

pytestmark = pytest.mark.usefixtures("rank_promotion_as_distrax_needs_it")
TILT = np.array([0.8, -0.5], np.float32)


def tilted(x):
    """Tilts N(0, I) to a Gaussian of mean TILT / 1.5 and precision 1.5, up to a constant."""
    return x @ TILT - 0.25 * jnp.sum(x**2, axis=-1) + 1e4


@pytest.mark.parametrize("chunk_size", [None, 300])
def test_a_tilted_gaussian_has_its_moments(chunk_size):
    """4,000 samples of 80,000 draws, the last chunk of 300 being incomplete; k = 4, seed 0. The
    variance of a mean is that of the samples plus that of the draws, 1 / (effective sample size).
    """
    result = jax.jit(
        lambda key: samplers.resample(
            key, tilted, noise.standard_normal(2), 4000, chunk_size=chunk_size
        )
    )(jax.random.key(0))
    assert result.status == Status.CONVERGED
    assert result.effective_sample_size > 40_000
    variance = 1 / 1.5
    share = 1 / 4000 + 1 / float(result.effective_sample_size)
    error = np.sqrt(variance * share)
    assert (abs(result.x.mean(axis=0) - TILT / 1.5) < 4 * error).all()
    covariance = np.cov(result.x, rowvar=False)
    # The variance of x_i x_j is v^2, and twice that where i = j.
    assert (abs(covariance - variance * np.eye(2)) < 4 * variance * np.sqrt(2 * share)).all()


@pytest.mark.costly
def test_every_draw_is_chosen_in_proportion_to_its_weight():
    """Words 0 to 4 with weights 1 to 5, k = 4 standard errors of 50,000 independent choices (seed
    0); 20 draws a choice add next to nothing.
    """
    words = noise.unigram(jnp.ones(5))
    result = samplers.resample(
        jax.random.key(0), lambda ids: jnp.log(1.0 + ids), words, 50_000, oversampling=20
    )
    expected = np.arange(1, 6) / 15
    share = np.bincount(result.x, minlength=5) / 50_000
    assert (abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) * 1.1 / 50_000)).all()


@pytest.mark.costly
def test_the_effective_sample_size_equals_its_formula():
    """The draws and their log ratios are read from a function that is called back."""
    seen = []

    def log_ratio_fn(x):
        jax.debug.callback(lambda x: seen.append(np.array(x, np.float64)), x)
        return tilted(x) - 1e4

    result = jax.block_until_ready(
        samplers.resample(
            jax.random.key(0), log_ratio_fn, noise.standard_normal(2), 50, chunk_size=250
        )
    )
    draws = np.concatenate(seen)
    assert draws.shape == (1000, 2)
    log_ratios = draws @ TILT - 0.25 * (draws**2).sum(axis=1)
    np.testing.assert_allclose(result.effective_sample_size, oracles.kish(log_ratios), rtol=1e-5)
    # Every sample is one of the draws.
    distance = abs(np.asarray(result.x)[:, None] - draws[None]).max(axis=-1).min(axis=1)
    assert distance.max() < 1e-6


@pytest.mark.costly
def test_draws_without_weight_are_never_chosen():
    half = lambda x: jnp.where(x[:, 0] > 1, 0.0, -jnp.inf)
    result = samplers.resample(jax.random.key(0), half, noise.standard_normal(2), 500)
    assert (result.x[:, 0] > 1).all()
    assert (result.status, result.num_nonfinite) == (Status.CONVERGED, 0)


class Numbered:
    """Draws that know their place in a chunk, and the chunk by a number of its own."""

    def log_prob(self, x):
        return jnp.zeros(len(x))

    def sample_and_log_prob(self, *, seed, sample_shape):
        own = jnp.broadcast_to(jax.random.uniform(seed), sample_shape)
        x = jnp.stack([jnp.arange(*sample_shape, dtype=jnp.float32), own], axis=1)
        return x, self.log_prob(x)


@pytest.mark.parametrize(("place", "num_chunks"), [(9, 2), (50, 1)])
def test_what_the_last_chunk_has_too_much_is_never_chosen(place, num_chunks):
    """100 draws in chunks of 90: of the second chunk the first ten count."""
    result = samplers.resample(
        jax.random.key(0),
        lambda x: jnp.where(x[:, 0] == place, 0.0, -jnp.inf),
        Numbered(),
        50,
        oversampling=2,
        chunk_size=90,
    )
    assert (result.x[:, 0] == place).all()
    assert (
        len(np.unique(result.x[:, 1])) == num_chunks == round(float(result.effective_sample_size))
    )


@pytest.mark.parametrize(("level", "expected"), [(0.0, 1), (0.25, 3), (1.0, 3)])
def test_levels_on_the_edge_belong_to_a_draw_with_weight(monkeypatch, level, expected):
    monkeypatch.setattr(jax.random, "uniform", lambda key, shape, dtype: jnp.full(shape, level))
    weights = jnp.array([0.0, 1.0, 0.0, 3.0, 0.0])
    assert (_resample._pick(jax.random.key(0), weights, 2) == expected).all()


@pytest.mark.parametrize("scale", [1e4, -1e4])
def test_large_log_ratios_do_not_overflow_and_few_draws_are_said(scale):
    result = samplers.resample(
        jax.random.key(0), lambda x: scale * x[:, 0], noise.standard_normal(2), 100
    )
    assert result.status == Status.LOW_OVERLAP
    np.testing.assert_allclose(result.effective_sample_size, 1, rtol=1e-3)
    assert (result.x == result.x[0]).all()
    assert result.x[0, 0] * np.sign(scale) > 3  # the most extreme of 2,000


@pytest.mark.parametrize("value", [0.0, 1e4, -3e5])
def test_equal_weights_are_all_effective(value):
    result = samplers.resample(
        jax.random.key(0), lambda x: jnp.full(len(x), value), noise.standard_normal(2), 100
    )
    np.testing.assert_allclose(result.effective_sample_size, 2000, rtol=1e-6)
    assert result.status == Status.CONVERGED


@pytest.mark.parametrize(("value", "is_bad"), [(jnp.nan, True), (jnp.inf, True), (-jnp.inf, False)])
def test_log_ratios_that_are_not_finite_leave_no_samples(value, is_bad):
    def log_ratio_fn(x):
        return jnp.where(x[:, 0] > 2, value, 0.0) if is_bad else jnp.full(len(x), value)

    result = samplers.resample(jax.random.key(0), log_ratio_fn, noise.standard_normal(2), 100)
    assert result.status == Status.NONFINITE
    assert jnp.isnan(result.x).all()
    assert (int(result.num_nonfinite) > 0) == is_bad


@pytest.mark.costly
def test_one_compilation_serves_all_parameters_and_equals_the_eager_call():
    count = []

    @jax.jit
    def run(key, tilt):
        count.append(0)
        return samplers.resample(key, lambda x: x @ tilt, noise.standard_normal(2), 200)

    key = jax.random.key(1)
    for tilt in (TILT, 2 * TILT):
        eager = samplers.resample(key, lambda x: x @ tilt, noise.standard_normal(2), 200)  # noqa: B023
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
            run(key, tilt),
            eager,
        )
    assert len(count) == 1


@pytest.mark.costly
def test_lanes_of_vmap_equal_single_calls():
    keys = jax.random.split(jax.random.key(0), 3)
    run = lambda key: samplers.resample(key, tilted, noise.standard_normal(2), 50)
    together = jax.vmap(run)(keys)
    for lane, key in enumerate(keys):
        np.testing.assert_allclose(together.x[lane], run(key).x, rtol=1e-5, atol=1e-6)


@pytest.mark.costly
def test_it_works_under_strict_promotion(x64):
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        result = samplers.resample(
            jax.random.key(0), lambda x: x[:, 0], noise.standard_normal(1), 20
        )
    assert np.isfinite(result.x).all()


@pytest.mark.costly
def test_float64_stays_float64(x64):
    standard = noise.standard_normal(2, dtype=jnp.float64)
    result = samplers.resample(jax.random.key(0), lambda x: x.sum(axis=-1), standard, 100)
    assert result.x.dtype == result.effective_sample_size.dtype == jnp.float64


@pytest.mark.bad_input
@pytest.mark.parametrize("name", ["num_samples", "oversampling", "chunk_size"])
@pytest.mark.parametrize("wrong", [0, -1, 2.0, "many", True])
def test_wrong_counts_are_named(name, wrong):
    arguments = {"num_samples": 10} | {name: wrong}
    with pytest.raises((TypeError, ValueError), match=f"^{name}: expected .* got "):
        samplers.resample(jax.random.key(0), tilted, noise.standard_normal(2), **arguments)


def test_a_log_ratio_that_closes_over_one_datum_per_draw_is_refused():
    data = jnp.zeros((1024, 2))
    with pytest.raises(ValueError, match="^log_ratio_fn: expected one value for one draw alone"):
        samplers.resample(
            jax.random.key(0), lambda x: jnp.sum(x * data, -1), noise.standard_normal(2), 1024
        )


def test_weights_that_rounding_decides_are_not_called_equal():
    """At 1e8 float32 has steps of 8 nats: all weight is on a few draws."""
    result = samplers.resample(
        jax.random.key(0), lambda x: 1e8 + 3 * x[:, 0], noise.standard_normal(1), 100
    )
    assert result.effective_sample_size < 500
    assert result.effective_samples < 500
    steep = samplers.resample(
        jax.random.key(0), lambda x: 1e30 * x[:, 0], noise.standard_normal(1), 100
    )
    assert steep.status == Status.LOW_OVERLAP
    equal = samplers.resample(
        jax.random.key(0), lambda x: 1e8 + 0 * x[:, 0], noise.standard_normal(1), 100
    )
    assert equal.effective_samples == 2000
