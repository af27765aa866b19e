"""Likelihoods: log Z by Bennett's method, nats and bits, and the change of variables of images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nce_jax
from nce_jax import likelihood, samplers
from tests import oracles

model_log_partition = jax.jit(likelihood.model_log_partition, static_argnames="block_size")

# s(x) = TILT * sum(x): the model is N(TILT, I) against the noise N(0, I), log Z = dim * TILT^2 / 2.
TILT = 1.5


def log_ratios(seed, num_model, num_noise, num_replicates=None):
    generator = np.random.default_rng(seed)
    batch = () if num_replicates is None else (num_replicates,)
    x_model = generator.normal(TILT, size=(*batch, num_model))
    x_noise = generator.normal(size=(*batch, num_noise))
    return jnp.asarray(TILT * x_model), jnp.asarray(TILT * x_noise)


# ---- log Z ---------------------------------------------------------------------------------------


@pytest.mark.costly
def test_log_partition_equals_a_numpy_oracle(x64):
    model, noise = log_ratios(0, 40, 90)
    estimate = model_log_partition(model, noise)
    root = oracles.root(model, noise, kappa=90 / 40)
    np.testing.assert_allclose(estimate.log_partition, root, rtol=1e-10)
    np.testing.assert_allclose(
        estimate.standard_error, oracles.standard_error(model, noise, root, 90 / 40), rtol=1e-9
    )
    np.testing.assert_allclose(
        estimate.overlap, oracles.overlap(model, noise, root, 90 / 40), rtol=1e-9
    )
    blocks = model_log_partition(model, noise, block_size=8)
    assert blocks.log_partition == estimate.log_partition
    expected = oracles.standard_error(model, noise, root, 90 / 40, block_size=8)
    np.testing.assert_allclose(blocks.standard_error, expected, rtol=1e-9)


def test_log_partition_is_bennetts_free_energy(x64):
    model, noise = log_ratios(1, 60, 30)
    estimate = model_log_partition(model, noise)
    np.testing.assert_allclose(
        estimate.log_partition, -nce_jax.bar(-noise, model).delta_f, rtol=1e-12
    )


def test_log_partition_has_its_closed_form_and_coverage(x64):
    """log Z = TILT^2 / 2: 300 replicates of 200 and 100 samples, seed 2; bias O(1 / n), and 4
    standard errors.
    """
    model, noise = log_ratios(2, 200, 100, num_replicates=300)
    estimate = model_log_partition(model, noise)
    deviation = estimate.log_partition - TILT**2 / 2
    spread = np.std(deviation, ddof=1)
    assert abs(deviation.mean()) < 4 * spread / np.sqrt(300) + 0.01
    np.testing.assert_allclose(estimate.standard_error.mean(), spread, rtol=0.15)
    assert 0.91 < np.mean(np.abs(deviation) < 1.96 * estimate.standard_error) < 0.99


@pytest.mark.costly
def test_blocks_of_correlated_chains_give_the_error_that_single_samples_hide(x64):
    """AR(1) chains of correlation 0.9, 10 chains of 100; each chain one block. 200 replicates, seed
    3.
    """
    generator = np.random.default_rng(3)
    x = np.zeros((200, 10, 100))
    x[..., 0] = generator.normal(size=(200, 10))
    for t in range(1, 100):
        x[..., t] = 0.9 * x[..., t - 1] + np.sqrt(1 - 0.81) * generator.normal(size=(200, 10))
    model = jnp.asarray(TILT * (TILT + x)).reshape(200, 1000)
    noise = jnp.asarray(TILT * generator.normal(size=(200, 1000)))
    honest = model_log_partition(model, noise, block_size=100)
    naive = model_log_partition(model, noise)
    spread = np.std(honest.log_partition, ddof=1)
    np.testing.assert_allclose(np.sqrt(np.mean(honest.standard_error**2)), spread, rtol=0.15)
    assert naive.standard_error.mean() < 0.6 * spread


@pytest.mark.parametrize("offset", [-1e4, 0.0, 1e4])
def test_an_offset_of_the_log_density_is_an_offset_of_log_z(offset, x64):
    model, noise = log_ratios(4, 50, 50)
    shifted, plain = (model_log_partition(model + c, noise + c) for c in (offset, 0.0))
    np.testing.assert_allclose(
        shifted.log_partition - offset, plain.log_partition, rtol=0, atol=1e-8
    )
    np.testing.assert_allclose(shifted.standard_error, plain.standard_error, rtol=1e-8)


def test_no_overlap_and_nan_leave_no_estimate():
    far = model_log_partition(jnp.full(5, 80.0), jnp.full(5, -80.0))
    assert far.status == nce_jax.Status.NO_OVERLAP
    assert np.isnan([far.log_partition, far.standard_error]).all()
    bad = model_log_partition(jnp.array([0.1, jnp.nan]), jnp.zeros(3))
    assert bad.status == nce_jax.Status.NONFINITE
    assert np.isnan([bad.log_partition, bad.standard_error]).all()


@pytest.mark.costly
def test_bennett_importance_sampling_and_annealing_agree_on_a_sampled_model():
    """A model without closed form, exp(-x^4 / 4 + x) in 1-D: log Z by quadrature, x by Langevin
    chains; seed 5.
    """

    def log_density_fn(x):
        return -0.25 * x[:, 0] ** 4 + x[:, 0]

    class Normal:
        """Noise N(0, 1.5^2), without distrax: this room needs arrays alone."""

        def log_prob(self, x):
            return -0.5 * (x[:, 0] / 1.5) ** 2 - np.log(1.5 * np.sqrt(2 * np.pi))

        def sample_and_log_prob(self, *, seed, sample_shape):
            x = 1.5 * jax.random.normal(seed, (*sample_shape, 1))
            return x, self.log_prob(x)

    grid = np.linspace(-6, 6, 4001)
    truth = np.log(np.exp(-0.25 * grid**4 + grid).sum() * (grid[1] - grid[0]))
    noise, kernel, keys = Normal(), samplers.mala(0.3), jax.random.split(jax.random.key(5), 3)

    @jax.jit
    def run(keys):
        chains = samplers.sample_chains(
            keys[0], log_density_fn, jnp.zeros((200, 1)), kernel=kernel, num_steps=60, keep_every=5
        )
        x_model = chains.trajectory[:, 2:].reshape(-1, 1)  # the first 10 steps are thrown away
        x_noise, _ = noise.sample_and_log_prob(seed=keys[1], sample_shape=(2000,))
        s_model, s_noise = (log_density_fn(x) - noise.log_prob(x) for x in (x_model, x_noise))
        annealed = samplers.annealed_importance_sampling(
            keys[2],
            log_density_fn,
            noise,
            kernel=kernel,
            schedule=samplers.linear_schedule(10),
            num_samples=1000,
        )
        bennett = model_log_partition(s_model, s_noise, block_size=10)
        return bennett, annealed, nce_jax.diagnostics.importance_log_partition(s_noise)

    for estimate in run(keys):
        assert estimate.standard_error < 0.03
        assert abs(estimate.log_partition - truth) < 4 * estimate.standard_error


# ---- likelihood and bits -------------------------------------------------------------------------


def test_log_likelihood_equals_numpy(x64):
    values = np.random.default_rng(6).normal(size=(3, 20))
    log_partition, error = np.array([0.0, 1.0, -2.0]), np.array([0.0, 0.1, 2.0])
    result = likelihood.log_likelihood(
        jnp.asarray(values),
        log_partition=jnp.asarray(log_partition),
        log_partition_standard_error=jnp.asarray(error),
    )
    np.testing.assert_allclose(result.mean, values.mean(-1) - log_partition, rtol=1e-12)
    np.testing.assert_allclose(
        result.standard_error, np.sqrt(values.var(-1, ddof=1) / 20 + error**2), rtol=1e-12
    )
    assert np.isinf(likelihood.log_likelihood(jnp.array([1.0])).standard_error)


def test_a_uniform_distribution_over_levels_has_exactly_their_bits():
    assert likelihood.bits_per_dimension(jnp.zeros(3), num_dims=784, num_levels=256).tolist() == [
        8.0,
        8.0,
        8.0,
    ]
    assert likelihood.bits_per_dimension(0.0, num_dims=5) == 0


@pytest.mark.parametrize("value", [-2000, np.int32(-2000), jnp.bfloat16(-2000)])
def test_bits_are_no_integers_and_no_less_precise_than_float32(value):
    bits = likelihood.bits_per_dimension(value, num_dims=784)
    assert bits.dtype == jnp.float32
    np.testing.assert_allclose(bits, 2000 / 784 / np.log(2), rtol=1e-6)


def test_bits_are_the_code_length_of_the_levels(x64):
    """Independent pixels of probabilities P(k), as densities constant over each bin: the bits are
    the mean of -log2 P(k).
    """
    generator = np.random.default_rng(7)
    probabilities = generator.dirichlet(np.ones(4))
    levels = jnp.asarray(generator.choice(4, size=(6, 3), p=probabilities))
    x = likelihood.dequantize(jax.random.key(0), levels, num_levels=4)
    density = jnp.asarray(4 * probabilities)[jnp.floor(4 * x).astype(int)]
    bits = likelihood.bits_per_dimension(jnp.log(density).sum(-1), num_dims=3, num_levels=4)
    np.testing.assert_allclose(
        bits, -np.log2(probabilities)[np.asarray(levels)].mean(-1), rtol=1e-12
    )


@pytest.mark.parametrize("alpha", [1e-6, 0.05])
def test_a_uniform_image_has_eight_bits_through_the_transform_too(alpha, x64):
    """p_x = 1 seen from y: p_y = |dx / dy|, and the two log determinants cancel."""
    levels = jnp.asarray(np.random.default_rng(8).integers(0, 256, size=(4, 3, 3)))
    x = likelihood.dequantize(jax.random.key(1), levels)
    y, log_det = likelihood.logit_transform(x, alpha=alpha)
    _, log_density_y = likelihood.inverse_logit_transform(y, alpha=alpha)
    bits = likelihood.bits_per_dimension(log_density_y + log_det, num_dims=9, num_levels=256)
    np.testing.assert_allclose(bits, 8, rtol=1e-9)


# ---- change of variables -------------------------------------------------------------------------


def test_dequantized_levels_stay_in_their_bins_and_fill_them():
    """255 + u rounds to 256 for one u in 1e5 of float32: two million draws would meet it about 15
    times.
    """
    levels = jnp.full(2_000_000, 255, jnp.uint8)
    x = np.asarray(likelihood.dequantize(jax.random.key(2), levels))
    assert x.dtype == np.float32
    assert x.max() < 1
    np.testing.assert_array_equal(np.floor(256 * x), 255)
    u = 256 * x.astype(np.float64) - 255
    # Mean and variance of a uniform distribution within 4 standard errors.
    assert abs(u.mean() - 1 / 2) < 4 * np.sqrt(1 / 12 / u.size)
    assert abs(u.var() - 1 / 12) < 4 * np.sqrt(1 / 180 / u.size)


def test_every_level_of_uint8_keeps_its_place():
    levels = jnp.arange(256, dtype=jnp.uint8).reshape(4, 8, 8)
    x = likelihood.dequantize(jax.random.key(3), levels)
    assert x.shape == (4, 8, 8)
    np.testing.assert_array_equal(jnp.floor(256 * x).astype(jnp.uint8), levels)


@pytest.mark.parametrize("alpha", [0.0, 1e-6, 0.05])
def test_log_determinants_are_those_of_the_jacobian(alpha, x64):
    x = jnp.asarray(np.random.default_rng(9).uniform(0.01, 0.99, size=(5, 2, 2)))
    y, log_det = likelihood.logit_transform(x, alpha=alpha)
    back, log_det_back = likelihood.inverse_logit_transform(y, alpha=alpha)
    np.testing.assert_allclose(back, x, rtol=1e-12)
    for transform, points, log_determinant in (
        (likelihood.logit_transform, x, log_det),
        (likelihood.inverse_logit_transform, y, log_det_back),
    ):
        flat = lambda point, f=transform: f(point.reshape(1, 2, 2), alpha=alpha)[0].ravel()
        jacobians = jax.vmap(jax.jacfwd(flat))(points.reshape(5, 4))
        np.testing.assert_allclose(log_determinant, jnp.linalg.slogdet(jacobians)[1], rtol=1e-10)


@pytest.mark.parametrize("alpha", [1e-6, 0.05])
def test_a_density_on_y_is_a_density_on_x(alpha, x64):
    """A logistic density of scale 1/2 on y, pushed to x, integrates to the mass between the images
    of 0 and 1.
    """
    num_cells = 400_000
    x = (jnp.arange(num_cells) + 0.5) / num_cells  # midpoint rule
    y, log_det = likelihood.logit_transform(x[:, None], alpha=alpha)
    log_density_y = jnp.log(2) + jax.nn.log_sigmoid(2 * y[:, 0]) + jax.nn.log_sigmoid(-2 * y[:, 0])
    end = np.log((1 - alpha) / alpha)
    mass = np.tanh(end)  # sigma(2 y) between -end and end
    np.testing.assert_allclose(jnp.exp(log_density_y + log_det).mean(), mass, rtol=1e-6)
    assert mass > 0.99


def test_transform_in_float32_at_the_ends():
    x = jnp.array([[0.0], [1.0], [1 - 2.0**-24], [0.5]])
    y, log_det = likelihood.logit_transform(x, alpha=1e-6)
    exact = np.asarray(x, np.float64)
    p, q = 1e-6 + (1 - 2e-6) * exact, 1e-6 + (1 - 2e-6) * (1 - exact)
    np.testing.assert_allclose(y, np.log(p / q), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(
        log_det, (np.log1p(-2e-6) - np.log(p * q))[:, 0], rtol=1e-6, atol=1e-6
    )
    back, _ = likelihood.inverse_logit_transform(y, alpha=1e-6)
    np.testing.assert_allclose(back, x, atol=3e-7)


@pytest.mark.bad_input
def test_bad_arguments_are_named():
    with pytest.raises(TypeError, match="images: expected integers, got dtype float32"):
        likelihood.dequantize(jax.random.key(0), jnp.zeros(3))
    with pytest.raises(ValueError, match="images: expected levels from 0 to 255, got 4294967299"):
        likelihood.dequantize(jax.random.key(0), np.array([2**32 + 3]))
    with pytest.raises(ValueError, match="num_levels: expected at least 1, got 0"):
        likelihood.dequantize(jax.random.key(0), jnp.zeros(3, int), num_levels=0)
    with pytest.raises(ValueError, match=r"alpha: expected a number from 0.*got 0\.5"):
        likelihood.logit_transform(jnp.zeros((1, 2)), alpha=0.5)
    with pytest.raises(TypeError, match="y: expected a floating array, got dtype int32"):
        likelihood.inverse_logit_transform(jnp.zeros((1, 2), int))
    with pytest.raises(TypeError, match="num_dims: expected an integer, got 2.0"):
        likelihood.bits_per_dimension(0.0, num_dims=2.0)
    with pytest.raises(ValueError, match="block_size: expected at least 1, got 0"):
        likelihood.model_log_partition(jnp.zeros(3), jnp.zeros(3), block_size=0)
    with pytest.raises(
        ValueError, match="log_ratio_noise: expected the batch axes of log_ratio_model"
    ):
        likelihood.model_log_partition(jnp.zeros((2, 3)), jnp.zeros(3))
    with pytest.raises(
        ValueError, match="log_partition: expected a scalar or a shape that broadcasts"
    ):
        likelihood.log_likelihood(jnp.zeros(3), log_partition=jnp.zeros(2))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_the_logit_transform_of_half_precision_is_that_of_the_same_points(dtype):
    """In bfloat16 the log determinant of 784 dimensions would be off by nats."""
    x = jax.random.uniform(jax.random.key(0), (4, 784)).astype(dtype)
    for transform, points in (
        (likelihood.logit_transform, x),
        (likelihood.inverse_logit_transform, 4 * x - 2),
    ):
        for got, expected in zip(
            transform(points), transform(points.astype(jnp.float32)), strict=True
        ):
            assert got.dtype == jnp.float32
            np.testing.assert_array_equal(got, expected)


@pytest.mark.bad_input
@pytest.mark.parametrize("value", [255.0, -0.1, np.inf])
def test_points_out_of_the_cube_are_named(value):
    with pytest.raises(ValueError, match=r"^x: expected points in \[0, 1\], got"):
        likelihood.logit_transform(np.array([[0.5, value]]))


def test_points_that_came_back_from_the_whole_space_are_in_the_cube():
    y = jnp.array([[-40.0, 40.0, -9.0, 0.0]])
    for alpha in (1e-6, 0.05):
        back, _ = likelihood.inverse_logit_transform(y, alpha=alpha)
        likelihood.logit_transform(back, alpha=alpha)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("images", "num_levels", "message"),
    [
        (np.array([0, 256]), 256, "^images: expected levels from 0 to 255, got 256"),
        (jnp.array([-1]), 256, "^images: expected levels from 0 to 255, got -1"),
        (np.array([2**40]), 256, "^images: expected levels from 0 to 255, got 1099511627776"),
        (np.array([0]), 2**16 + 1, "^num_levels: expected at most 65536 in float32, got 65537"),
        (np.array([0]), 2**40, "^num_levels: expected at most 65536 in float32"),
    ],
)
def test_levels_out_of_their_range_are_named(images, num_levels, message):
    with pytest.raises(ValueError, match=message):
        likelihood.dequantize(jax.random.key(0), images, num_levels=num_levels)


def test_no_samples_in_float64_are_no_samples():
    """The check of rounding took a step of zero through them."""
    y, log_det = likelihood.logit_transform(np.zeros((0, 3)))
    assert (y.shape, log_det.shape) == ((0, 3), (0,))
