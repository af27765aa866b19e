import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nce_jax
from nce_jax.models import resnet18_energy

pytestmark = pytest.mark.costly  # all of it: compilation

SHAPE, WIDTH = (12, 10, 2), 4  # 2 x 2 pixels are left at the end


def traced(image_shape=SHAPE, width=WIDTH, **options):
    """Shapes of the parameters, and the function; the initial weights are not drawn, which takes
    seconds to compile.
    """
    functions = []

    def init(key):
        params, log_density_fn = resnet18_energy(key, image_shape, width=width, **options)
        functions.append(log_density_fn)
        return params

    return jax.eval_shape(init, jax.random.key(0)), functions[0]


def random_params(shapes, seed=0):
    """Parameters of the right size with no zeros and ones, where a missing bias or scale would go
    unseen.
    """
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        name, values = path[-1].key, rng.normal(size=leaf.shape)
        sizes = {
            "kernel": np.sqrt(2 / np.prod(leaf.shape[:-1])),
            "factor": 1 / leaf.shape[0],
            "bias": 0.3,
            "scale": 0.2,
        }
        return jnp.asarray((name == "scale") + sizes[name] * values, leaf.dtype)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def images(num_samples=5, image_shape=SHAPE, dtype=np.float32):
    return jnp.asarray(np.random.default_rng(1).normal(size=(num_samples, *image_shape)), dtype)


@pytest.fixture(scope="module")
def model():
    """One compilation for all tests in float32."""
    shapes, log_density_fn = traced()
    return random_params(shapes), jax.jit(log_density_fn)


def conv_norm(layer, x, stride=1):
    """Convolution with even padding as a sum over the kernel's offsets; then group norm, 16
    channels to a group.
    """
    kernel, norm = layer["conv"]["kernel"], layer["norm"]
    pad = kernel.shape[0] // 2
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    height, width = (1 + (size - kernel.shape[0]) // stride for size in x.shape[1:3])
    out = sum(
        x[:, i : i + stride * height : stride, j : j + stride * width : stride][:, :height, :width]
        @ kernel[i, j]
        for i in range(kernel.shape[0])
        for j in range(kernel.shape[1])
    )
    out = out + layer["conv"].get("bias", 0.0)
    groups = np.split(out, max(1, out.shape[-1] // 16), axis=-1)
    for group in groups:
        group -= group.mean(axis=(1, 2, 3), keepdims=True)
        group /= np.sqrt((group**2).mean(axis=(1, 2, 3), keepdims=True) + 1e-5)
    return np.concatenate(groups, axis=-1) * norm["scale"] + norm["bias"]


def oracle(params, x, min_eigenvalue=1e-6):
    """He et al. with group norm, and the quadratic form, in float64 NumPy; W is formed here."""
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    layers, head = params["features"], params["head"]
    x = np.maximum(conv_norm(layers["stem"], np.asarray(x, np.float64)), 0)
    for index in range(8):
        block, stride = layers[f"block_{index}"], 2 if index in (2, 4, 6) else 1
        branch = conv_norm(block["second"], np.maximum(conv_norm(block["first"], x, stride), 0))
        shortcut = conv_norm(block["projection"], x, stride) if "projection" in block else x
        x = np.maximum(branch + shortcut, 0)
    features = x.mean(axis=(1, 2))
    matrix = head["factor"] @ head["factor"].T + min_eigenvalue * np.eye(features.shape[1])
    return np.einsum("si,ij,sj->s", features, matrix, features) + features @ head["bias"]


def test_matches_numpy_in_float64(x64):
    shapes, log_density_fn = traced(param_dtype=jnp.float64, min_eigenvalue=0.1)
    params, x = random_params(shapes), images(dtype=np.float64)
    log_density = jax.jit(log_density_fn)(params, x)
    assert log_density.shape == (5,)
    assert log_density.dtype == jnp.float64
    np.testing.assert_allclose(log_density, oracle(params, x, min_eigenvalue=0.1), rtol=1e-11)


def test_float32_images_and_vectors(model):
    params, log_density_fn = model
    log_density = log_density_fn(params, images())
    np.testing.assert_allclose(log_density, oracle(params, images()), rtol=1e-4)
    np.testing.assert_array_equal(log_density_fn(params, images().reshape(5, -1)), log_density)


@pytest.mark.parametrize("image_shape", [(28, 28, 1), (32, 32, 3)])
def test_number_of_parameters_is_the_textbook_one(image_shape):
    """The original for ten classes of 32 x 32 x 3 has 11,173,962, its last layer 5,130 of them;
    ours has a stem bias.
    """
    params, log_density_fn = traced(image_shape, width=64)
    count = sum(leaf.size for leaf in jax.tree.leaves(params["features"]))
    assert count == 11_173_962 - 5_130 - 9 * 64 * (3 - image_shape[-1]) + 64
    assert params["head"]["factor"].shape == (512, 512)
    for x in (jnp.zeros((2, *image_shape)), jnp.zeros((2, np.prod(image_shape)))):
        log_density = jax.eval_shape(log_density_fn, params, x)
        assert (log_density.shape, log_density.dtype) == ((2,), jnp.float32)


def test_a_sample_knows_nothing_of_its_neighbors(model):
    params, log_density_fn = model
    x = images()
    log_density = log_density_fn(params, x)
    alone = jnp.concatenate([log_density_fn(params, x[index : index + 1]) for index in range(5)])
    np.testing.assert_allclose(alone, log_density, rtol=1e-5)
    np.testing.assert_array_equal(log_density_fn(params, x.at[1:].set(jnp.nan))[0], log_density[0])
    gradient = jax.jit(jax.grad(lambda x: log_density_fn(params, x)[0]))(x)
    assert jnp.all(gradient[1:] == 0)
    assert jnp.all(jnp.any(gradient[0] != 0, axis=-1))


def test_contrast_is_seen_and_the_log_density_is_bounded(model):
    """phi follows pixels of size about one, and stops at a limit, where the form of free features
    would grow by 1e4.
    """
    params, log_density_fn = model
    half, double, large, larger = (
        log_density_fn(params, scale * images()) for scale in (0.5, 2.0, 1e4, 1e6)
    )
    assert jnp.all(jnp.abs(half - double) > 1e-3)
    np.testing.assert_allclose(large, larger, rtol=1e-3)


def test_bfloat16_network_with_float32_output(model):
    params, log_density_fn = model
    half = jax.jit(traced(compute_dtype=jnp.bfloat16)[1])(params, images())
    full = log_density_fn(params, images())
    assert half.dtype == jnp.float32
    # One rounding of 2^-8 for each of 18 layers, independent.
    np.testing.assert_allclose(half, full, rtol=0, atol=18**0.5 * 2**-8 * jnp.max(jnp.abs(full)))
    assert not np.allclose(half, full, rtol=1e-5)
    # The quadratic form does not compute in bfloat16.
    assert not np.allclose(half, half.astype(jnp.bfloat16).astype(jnp.float32), rtol=1e-5, atol=0)


@pytest.mark.costly
def test_gradients_of_a_bfloat16_network_are_finite_and_float32(model):
    params, _ = model
    shapes, log_density_fn = traced(compute_dtype=jnp.bfloat16)
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {np.dtype(np.float32)}
    x = images().at[0].set(0.0)  # a blank image too: its variance is zero but for the bias
    gradient = jax.jit(jax.grad(lambda params: log_density_fn(params, x).mean()))(params)
    assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {np.dtype(np.float32)}
    assert all(jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))
    assert all(jnp.any(leaf != 0) for leaf in jax.tree.leaves(gradient))


@pytest.mark.costly
def test_seeds_stack_by_vmap_over_keys_and_start_near_zero():
    keys, x = jax.random.split(jax.random.key(1), 3), images()
    _, log_density_fn = traced()
    stacked = jax.jit(jax.vmap(lambda key: resnet18_energy(key, SHAPE, width=WIDTH)[0]))(keys)
    batched = jax.jit(jax.vmap(log_density_fn, in_axes=(0, None)))(stacked, x)
    alone = [
        jax.jit(log_density_fn)(resnet18_energy(key, SHAPE, width=WIDTH)[0], x) for key in keys
    ]
    np.testing.assert_allclose(batched, jnp.stack(alone), rtol=1e-5)
    assert not np.allclose(alone[0], alone[1], rtol=1e-2)
    assert jnp.all((batched > 0) & (batched < 0.1))
    assert jnp.all(jnp.std(stacked["features"]["stem"]["conv"]["bias"]) > 0.3)


@pytest.mark.costly
def test_learns_a_log_ratio_with_optax():
    """Stripes against white noise: 30 Adam steps take the profiled NCE loss to below a tenth of
    where it starts.
    """
    rng = np.random.default_rng(2)
    shapes, log_ratio_fn = traced((8, 8, 1))
    params = random_params(shapes)
    noise = jnp.asarray(rng.normal(size=(64, 8, 8, 1)), np.float32)
    data = jnp.asarray(rng.normal(size=(64, 8, 1, 1)) + np.zeros((1, 1, 8, 1)), np.float32)
    optimizer = optax.adam(3e-3)

    def loss_fn(params):  # the network is a log ratio, relative to the noise
        log_ratio = log_ratio_fn(params, data), log_ratio_fn(params, noise)
        return nce_jax.nce_loss(
            *log_ratio, log_partition=nce_jax.solve_log_partition(*log_ratio).log_partition
        )

    @jax.jit
    def step(params, state):
        loss, gradient = jax.value_and_grad(loss_fn)(params)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, loss

    state, losses = optimizer.init(params), []
    for _ in range(30):
        params, state, loss = step(params, state)
        losses.append(float(loss))
    assert losses[0] > 0.5
    assert losses[-1] < 0.1 * losses[0]


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"image_shape": (8, 8)},
            ValueError,
            r"image_shape: expected \(height, width, channels\), got \(8, 8\)",
        ),
        ({"image_shape": (8, 8, 0)}, ValueError, r"image_shape\[2\]: expected at least 1, got 0"),
        ({"width": 0}, ValueError, "width: expected at least 1, got 0"),
        ({"width": 4.0}, TypeError, "width: expected an integer, got 4.0"),
        (
            {"min_eigenvalue": 0.0},
            ValueError,
            "min_eigenvalue: expected a finite positive number, got 0.0",
        ),
        ({"key": 0}, TypeError, "key: expected a typed key.*got int"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    options = {"key": jax.random.key(0), "image_shape": SHAPE, "width": 1} | arguments
    with pytest.raises(error, match=message):
        jax.eval_shape(
            lambda: resnet18_energy(options.pop("key"), options.pop("image_shape"), **options)[0]
        )


@pytest.mark.bad_input
@pytest.mark.parametrize("shape", [(5, 12, 10), (5, 10, 12, 2), (5, 239), (240,)])
def test_wrong_samples_are_named(shape):
    params, log_density_fn = traced()
    with pytest.raises(
        ValueError,
        match=r"x: expected shape \(samples, 12, 10, 2\) or \(samples, 240\), got shape \(\d+,",
    ):
        jax.eval_shape(log_density_fn, params, jnp.zeros(shape))
