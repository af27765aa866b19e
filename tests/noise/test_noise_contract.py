"""What every public noise distribution promises: shapes, dtypes, normalization, and use inside
transformations. Points of the plane and words of a vocabulary keep the same promises.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nce_jax.noise
from nce_jax._types import Noise
from nce_jax.noise import (
    categorical,
    fitted_gaussian,
    log_uniform,
    product_of_marginals,
    standard_normal,
    uniform_box,
    uniform_box_around,
    unigram,
)

BUILDERS = {
    "standard_normal": lambda x: standard_normal(x.shape[-1], dtype=x.dtype),
    "fitted_gaussian": fitted_gaussian,
    "uniform_box": lambda x: uniform_box(jnp.array([-9.0, -9.0], x.dtype), 9.0),
    "uniform_box_around": uniform_box_around,
    "product_of_marginals": lambda x: product_of_marginals(x, num_components=8),
}
NUM_WORDS = 12
PROBABILITIES = np.arange(1.0, NUM_WORDS + 1) / np.arange(1.0, NUM_WORDS + 1).sum()
WORDS = {
    "categorical": lambda: categorical(PROBABILITIES),
    "unigram": lambda: unigram(np.arange(1, NUM_WORDS + 1)),
    "log_uniform": lambda: log_uniform(NUM_WORDS),
}


@pytest.fixture(params=BUILDERS)
def build(request):
    return BUILDERS[request.param]


@pytest.fixture(params=[*BUILDERS, *WORDS])
def any_noise(request):
    """A noise of every public kind, over points (2,) or over words ()."""
    name = request.param
    return BUILDERS[name](data()) if name in BUILDERS else WORDS[name]()


def test_every_public_noise_is_held_to_the_contract():
    # All public names but the protocol itself and the adapter of other libraries' noise.
    assert {*BUILDERS, *WORDS} == set(nce_jax.noise.__all__) - {"Noise", "as_noise"}
    assert not {*BUILDERS} & {*WORDS}


def data(num_samples=200, dtype=np.float32, seed=0):
    generator = np.random.default_rng(seed)
    first = generator.normal(size=num_samples)
    return jnp.asarray(
        np.stack([first + 1, 0.5 * first + generator.normal(size=num_samples)], axis=-1), dtype
    )


def test_shapes_and_joint_sampling(any_noise):
    event_shape = any_noise.event_shape
    assert event_shape in ((2,), ())
    assert any_noise.batch_shape == ()
    assert isinstance(any_noise, Noise)

    @partial(jax.jit, static_argnames="shape")
    def draw(shape):
        options = {"seed": jax.random.key(1), "sample_shape": shape}
        x_noise, log_prob = any_noise.sample_and_log_prob(**options)
        return x_noise, log_prob, any_noise.sample(**options), any_noise.log_prob(x_noise)

    for shape in (7, (3, 4)):
        x_noise, log_prob, x_alone, log_prob_alone = draw(shape)
        expected = (shape,) if isinstance(shape, int) else shape
        assert (x_noise.shape, log_prob.shape) == ((*expected, *event_shape), expected)
        np.testing.assert_array_equal(x_noise, x_alone)
        np.testing.assert_allclose(log_prob, log_prob_alone, rtol=1e-5, atol=1e-5)


def test_a_single_draw_and_one_key_one_draw(any_noise):
    keys = jax.random.split(jax.random.key(4))
    draws = [any_noise.sample(seed=key, sample_shape=4) for key in (keys[0], keys[0], keys[1])]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert np.any(draws[0] != draws[2])
    x_noise, log_prob = any_noise.sample_and_log_prob(seed=keys[0], sample_shape=())
    assert (x_noise.shape, log_prob.shape) == (any_noise.event_shape, ())


def test_it_passes_through_transformations(any_noise):
    """As an argument and a result of a compiled function, and under `vmap` over keys."""
    x_noise = any_noise.sample(seed=jax.random.key(3), sample_shape=4)
    through = jax.jit(lambda noise: noise)(any_noise)
    log_prob = jax.jit(lambda noise, x: noise.log_prob(x))(through, x_noise)
    np.testing.assert_allclose(log_prob, any_noise.log_prob(x_noise), rtol=1e-5, atol=1e-5)
    keys = jax.random.split(jax.random.key(0), 3)
    draw = lambda key: any_noise.sample_and_log_prob(seed=key, sample_shape=4)
    stacked = jax.jit(jax.vmap(draw))(keys)
    for lane, key in enumerate(keys):
        for one, other in zip(stacked, draw(key), strict=True):
            np.testing.assert_allclose(one[lane], other, rtol=1e-5, atol=1e-5)


def test_log_probabilities_are_float32_and_words_are_integers(any_noise):
    x_noise, log_prob = any_noise.sample_and_log_prob(seed=jax.random.key(0), sample_shape=4)
    assert log_prob.dtype == any_noise.log_prob(x_noise).dtype == jnp.float32
    assert x_noise.dtype == (jnp.int32 if any_noise.event_shape == () else jnp.float32)


@pytest.mark.parametrize("name", WORDS)
def test_probabilities_of_words_add_up_to_one(name):
    total = jnp.exp(WORDS[name]().log_prob(jnp.arange(NUM_WORDS))).sum()
    np.testing.assert_allclose(total, 1, rtol=1e-6)


def test_density_integrates_to_one(build):
    with jax.enable_x64(True):
        edges = np.linspace(-15, 15, 601)
        centers = (edges[1:] + edges[:-1]) / 2
        grid = np.stack(np.meshgrid(centers, centers), axis=-1).reshape(-1, 2)
        log_prob = np.asarray(jax.jit(lambda x: build(x).log_prob(grid))(data(dtype=np.float64)))
        total = np.exp(log_prob).sum() * (edges[1] - edges[0]) ** 2
    # The midpoint rule is exact to rounding for the smooth densities, to the grid for the edges of
    # a box.
    np.testing.assert_allclose(total, 1, atol=2e-2 if np.isneginf(log_prob[0]) else 1e-9)


def test_same_under_jit_and_as_an_argument(build):
    x_data = data()
    noise = build(x_data)
    expected = noise.log_prob(x_data)
    built_inside = jax.jit(lambda x: build(x).log_prob(x))(x_data)
    passed_through = jax.jit(lambda noise, x: noise.log_prob(x))(jax.jit(build)(x_data), x_data)
    np.testing.assert_allclose(built_inside, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(passed_through, expected, rtol=1e-5, atol=1e-5)
    drawn = jax.jit(lambda noise, key: noise.sample(seed=key, sample_shape=4))(
        noise, jax.random.key(3)
    )
    np.testing.assert_allclose(
        drawn, noise.sample(seed=jax.random.key(3), sample_shape=4), rtol=1e-6, atol=1e-6
    )


@pytest.mark.costly
def test_vmap_over_data_sets_and_keys(build):
    stacked = jnp.stack([data(seed=seed) for seed in range(3)])
    keys = jax.random.split(jax.random.key(0), 3)

    def draw(key, x):
        return build(x).sample_and_log_prob(seed=key, sample_shape=4)

    x_noise, log_prob = jax.vmap(draw)(keys, stacked)
    for lane in range(3):
        x_alone, log_prob_alone = draw(keys[lane], stacked[lane])
        np.testing.assert_allclose(x_noise[lane], x_alone, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(log_prob[lane], log_prob_alone, rtol=1e-5, atol=1e-5)


def test_building_broadcasts_no_ranks_silently(build):
    with jax.numpy_rank_promotion("raise"):
        build(data())


@pytest.mark.parametrize("dtype", [np.float32, pytest.param(np.float64, marks=pytest.mark.costly)])
def test_dtype_is_the_data_s_own_even_under_x64(build, dtype):
    with jax.enable_x64(True):
        noise = build(data(dtype=dtype))

        def draw(noise):
            options = {"seed": jax.random.key(0), "sample_shape": 3}
            x_noise = noise.sample(**options)
            return x_noise, noise.sample_and_log_prob(**options), noise.log_prob(x_noise)

        leaves = jax.tree.leaves(jax.eval_shape(draw, noise))
        assert {leaf.dtype for leaf in leaves} == {np.dtype(dtype)}


def test_half_precision_data_give_float32_noise():
    x_data = data().astype(jnp.bfloat16)
    for build in (fitted_gaussian, uniform_box_around, product_of_marginals):
        assert build(x_data).sample(seed=jax.random.key(0)).dtype == jnp.float32


def test_nan_in_traced_data_is_not_hidden():
    """Known data with a NaN are refused; the values of traced ones are not read."""
    x_data = data().at[3, 0].set(jnp.nan)
    for build in (fitted_gaussian, product_of_marginals):
        log_prob = jax.jit(lambda x, build=build: build(x).log_prob(jnp.zeros(2)))
        assert jnp.isnan(log_prob(x_data))


@pytest.mark.bad_input
@pytest.mark.parametrize("build", [fitted_gaussian, uniform_box_around, product_of_marginals])
@pytest.mark.parametrize(
    ("x_data", "error", "message"),
    [
        (
            np.zeros((5, 2), np.int32),
            TypeError,
            "x_data: expected a floating array, got dtype int32",
        ),
        (
            np.zeros(5, np.float32),
            ValueError,
            r"x_data: expected shape \(samples, dim\).*got shape \(5,\)",
        ),
        (np.zeros((2, 5, 2), np.float32), ValueError, r"x_data: .*got shape \(2, 5, 2\)"),
        (np.zeros((5, 0), np.float32), ValueError, r"x_data: .*got shape \(5, 0\)"),
        (
            np.zeros((0, 2), np.float32),
            ValueError,
            r"x_data: expected at least \d sample.*got shape \(0, 2\)",
        ),
    ],
)
def test_bad_data_are_named(build, x_data, error, message):
    with pytest.raises(error, match=message):
        build(x_data)


@pytest.mark.bad_input
@pytest.mark.parametrize("build", [fitted_gaussian, product_of_marginals])
def test_one_sample_has_no_spread(build):
    with pytest.raises(ValueError, match=r"x_data: expected at least 2 sample.*got shape \(1, 3\)"):
        build(np.zeros((1, 3), np.float32))
