import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nce_jax.models import conv_energy

SHAPE, CHANNELS = (8, 5, 2), (4, 6)


def images(num_samples=5, image_shape=SHAPE, dtype=np.float32):
    return jnp.asarray(np.random.default_rng(0).normal(size=(num_samples, *image_shape)), dtype)


def perturbed(params, scale=0.3):
    """Biases start at zero, where a missing one would go unseen."""
    rng = np.random.default_rng(1)
    return jax.tree.map(
        lambda leaf: leaf + jnp.asarray(scale * rng.normal(size=leaf.shape), leaf.dtype), params
    )


@pytest.fixture(scope="module")
def model():
    params, log_density_fn = conv_energy(jax.random.key(0), SHAPE, channels=CHANNELS)
    return perturbed(params), jax.jit(log_density_fn)


def silu(x):
    return x / (1 + np.exp(-x))


def oracle(params, x, activation=silu):
    """The formula of the docstring in float64 NumPy, each convolution as a sum over the offsets of
    its kernel.
    """
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    x = np.asarray(x, np.float64)
    for index in range(len(params) - 1):
        layer = params[f"conv_{index}"]
        x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        height, width = x.shape[1] - 2, x.shape[2] - 2
        x = sum(
            x[:, i : i + height : 2, j : j + width : 2] @ layer["kernel"][i, j]
            for i in range(3)
            for j in range(3)
        )
        x = activation(x + layer["bias"])
    return (x.reshape(len(x), -1) @ params["output"]["kernel"] + params["output"]["bias"])[:, 0]


def test_matches_numpy_for_images_and_vectors(model):
    params, log_density_fn = model
    log_density = log_density_fn(params, images())
    assert log_density.shape == (5,)
    assert log_density.dtype == jnp.float32
    np.testing.assert_allclose(log_density, oracle(params, images()), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(log_density_fn(params, images().reshape(5, -1)), log_density)


def test_matches_numpy_in_float64_with_another_activation(x64):
    params, log_density_fn = conv_energy(
        jax.random.key(0), SHAPE, channels=CHANNELS, activation=jnp.tanh, param_dtype=jnp.float64
    )
    params, x = perturbed(params), images(dtype=np.float64)
    log_density = jax.jit(log_density_fn)(params, x)
    assert log_density.dtype == jnp.float64
    np.testing.assert_allclose(log_density, oracle(params, x, np.tanh), rtol=1e-12)


@pytest.mark.parametrize(
    ("image_shape", "features"), [((28, 28, 1), 4 * 4 * 128), ((32, 32, 3), 4 * 4 * 128)]
)
def test_shapes_of_the_usual_images(image_shape, features):
    def init_and_apply(key, x):
        params, log_density_fn = conv_energy(key, image_shape)
        return params, log_density_fn(params, x)

    for x in (jnp.zeros((2, *image_shape)), jnp.zeros((2, np.prod(image_shape)))):
        params, log_density = jax.eval_shape(init_and_apply, jax.random.key(0), x)
        assert log_density.shape == (2,)
    assert params["output"]["kernel"].shape == (features, 1)
    assert [params[f"conv_{index}"]["kernel"].shape[-1] for index in range(3)] == [32, 64, 128]


def test_a_sample_knows_nothing_of_its_neighbors(model):
    params, log_density_fn = model
    x = images()
    log_density = log_density_fn(params, x)
    alone = jnp.concatenate([log_density_fn(params, x[index : index + 1]) for index in range(5)])
    np.testing.assert_allclose(alone, log_density, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(log_density_fn(params, x.at[1:].set(jnp.nan))[0], log_density[0])
    gradient = jax.jit(jax.grad(lambda x: log_density_fn(params, x)[0]))(x)
    assert jnp.all(gradient[1:] == 0)
    assert jnp.all(gradient[0] != 0)


def test_grows_at_most_linearly(model):
    """phi(c x) / c has a limit."""
    params, log_density_fn = model
    large, larger = (log_density_fn(params, scale * images()) / scale for scale in (1e4, 1e6))
    np.testing.assert_allclose(large, larger, rtol=1e-3, atol=1e-3)
    assert jnp.all(jnp.abs(larger) > 1e-2)


def test_bfloat16_convolutions_with_float32_parameters(model):
    params, log_density_fn = model
    initial, half_fn = conv_energy(
        jax.random.key(0), SHAPE, channels=CHANNELS, compute_dtype=jnp.bfloat16
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(initial)} == {np.dtype(np.float32)}
    half, full = jax.jit(half_fn)(params, images()), log_density_fn(params, images())
    assert half.dtype == jnp.float32
    np.testing.assert_allclose(half, full, rtol=0.02, atol=0.02)
    assert not np.allclose(half, full, rtol=1e-5)
    # The last layer does not compute in bfloat16.
    assert not np.allclose(half, half.astype(jnp.bfloat16).astype(jnp.float32), rtol=1e-5, atol=0)
    gradient = jax.jit(jax.grad(lambda params: half_fn(params, images()).mean()))(params)
    assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {np.dtype(np.float32)}
    assert all(jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))


def test_seeds_stack_by_vmap_over_keys(model):
    _, log_density_fn = model
    keys = jax.random.split(jax.random.key(1), 3)
    stacked = jax.jit(jax.vmap(lambda key: conv_energy(key, SHAPE, channels=CHANNELS)[0]))(keys)
    batched = jax.jit(jax.vmap(log_density_fn, in_axes=(0, None)))(stacked, images())
    alone = [
        log_density_fn(conv_energy(key, SHAPE, channels=CHANNELS)[0], images()) for key in keys
    ]
    np.testing.assert_allclose(batched, jnp.stack(alone), rtol=1e-5, atol=1e-6)
    assert not np.allclose(alone[0], alone[1], atol=1e-2)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"image_shape": 64},
            ValueError,
            r"image_shape: expected \(height, width, channels\), got 64",
        ),
        (
            {"image_shape": (8, 8.0, 1)},
            TypeError,
            r"image_shape\[1\]: expected an integer, got 8.0",
        ),
        ({"channels": ()}, ValueError, "channels: expected at least one convolution, got none"),
        ({"channels": (4, 0)}, ValueError, r"channels\[1\]: expected at least 1, got 0"),
        ({"key": np.zeros(2, np.uint32)}, TypeError, "key: expected a typed key.*uint32"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    options = {"key": jax.random.key(0), "image_shape": SHAPE} | arguments
    with pytest.raises(error, match=message):
        conv_energy(options.pop("key"), options.pop("image_shape"), **options)


@pytest.mark.bad_input
@pytest.mark.parametrize("shape", [(5, 5, 8, 2), (5, 8, 5), (5, 79), (80,)])
def test_wrong_samples_are_named(model, shape):
    params, log_density_fn = model
    with pytest.raises(
        ValueError,
        match=r"x: expected shape \(samples, 8, 5, 2\) or \(samples, 80\), got shape \(\d+,",
    ):
        log_density_fn(params, jnp.zeros(shape))


@pytest.mark.bad_input
def test_arguments_in_the_wrong_order_are_named(model):
    params, log_density_fn = model
    with pytest.raises(TypeError, match="x: expected .* a dict .*; the arguments of a model are"):
        log_density_fn(jnp.zeros((5, 80)), params)
