import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nce_jax.models import mlp_energy


def points(num_samples=10, dim=3, dtype=np.float32):
    return jnp.asarray(np.random.default_rng(0).normal(size=(num_samples, dim)), dtype)


def oracle(params, x, negative_slope):
    """The formula of the docstring in float64 NumPy."""
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    activation = np.asarray(x, np.float64)
    for name in sorted(name for name in params if name.startswith("hidden")):
        activation = activation @ params[name]["kernel"] + params[name]["bias"]
        activation = np.where(activation > 0, activation, negative_slope * activation)
    return (activation @ params["output"]["kernel"] + params["output"]["bias"])[:, 0]


def perturbed(params, scale=0.1):
    """Biases start at zero, where a missing one would go unseen."""
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(9), len(leaves))
    noisy = [
        leaf + scale * jax.random.normal(key, leaf.shape, leaf.dtype)
        for leaf, key in zip(leaves, keys, strict=True)
    ]
    return jax.tree.unflatten(structure, noisy)


@pytest.mark.parametrize("hidden", [(16, 8), (5,), ()])
def test_matches_numpy(hidden):
    params, log_density_fn = mlp_energy(jax.random.key(0), 3, hidden=hidden, negative_slope=0.3)
    params, x = perturbed(params), points()
    log_density = log_density_fn(params, x)
    assert log_density.shape == (10,)
    np.testing.assert_allclose(log_density, oracle(params, x, 0.3), rtol=1e-5, atol=1e-5)


def test_params_are_plain_dictionaries_of_arrays():
    params, _ = mlp_energy(jax.random.key(0), 3)
    assert set(params) == {"hidden_0", "hidden_1", "output"}
    assert params["hidden_1"]["kernel"].shape == (128, 64)
    for layer in params.values():
        assert type(layer) is dict
        assert all(isinstance(leaf, jax.Array) for leaf in layer.values())


def test_seeds_stack_by_vmap_over_keys():
    keys, x = jax.random.split(jax.random.key(1), 3), points()
    _, log_density_fn = mlp_energy(keys[0], 3, hidden=(8, 4))
    stacked = jax.jit(jax.vmap(lambda key: mlp_energy(key, 3, hidden=(8, 4))[0]))(keys)
    batched = jax.vmap(log_density_fn, in_axes=(0, None))(stacked, x)
    alone = [log_density_fn(mlp_energy(key, 3, hidden=(8, 4))[0], x) for key in keys]
    np.testing.assert_allclose(batched, jnp.stack(alone), rtol=1e-5, atol=1e-6)
    assert not np.allclose(alone[0], alone[1])


def test_same_key_same_params_and_one_function_serves_all():
    first, log_density_fn = mlp_energy(jax.random.key(2), 3)
    second, other_fn = mlp_energy(jax.random.key(2), 3)
    x = points()
    np.testing.assert_array_equal(log_density_fn(first, x), other_fn(second, x))
    np.testing.assert_array_equal(log_density_fn(second, x), other_fn(first, x))


@pytest.mark.costly
def test_gradients_match_finite_differences(x64):
    params, log_density_fn = mlp_energy(
        jax.random.key(0), 3, hidden=(6, 4), param_dtype=jnp.float64
    )
    params, x = perturbed(params), points(dtype=np.float64)
    flat, unflatten = jax.flatten_util.ravel_pytree(params)

    def mean_square(flat):
        return jnp.mean(log_density_fn(unflatten(flat), x) ** 2)

    direction = np.random.default_rng(3).normal(size=flat.shape)
    expected = (mean_square(flat + 1e-6 * direction) - mean_square(flat - 1e-6 * direction)) / 2e-6
    np.testing.assert_allclose(
        jax.jit(jax.grad(mean_square))(flat) @ direction, expected, rtol=1e-6
    )
    step = 1e-6 * jnp.eye(3)[1][None]
    expected = (log_density_fn(params, x + step) - log_density_fn(params, x - step)) / 2e-6
    score = jax.grad(lambda x: log_density_fn(params, x).sum())(x)
    np.testing.assert_allclose(score[:, 1], expected, rtol=1e-6, atol=1e-8)


def test_round_trip_with_optax():
    """200 Adam steps halve a regression loss at least ten times over, and keep structure and
    dtypes.
    """
    x = points(num_samples=64)
    params, log_density_fn = mlp_energy(jax.random.key(0), 3, hidden=(16,))
    optimizer = optax.adam(1e-2)
    state = optimizer.init(params)
    loss = jax.jit(
        lambda params: jnp.mean((log_density_fn(params, x) - jnp.sum(x**2, axis=-1)) ** 2)
    )
    start, structure = loss(params), jax.tree.structure(params)

    @jax.jit
    def step(params, state):
        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    for _ in range(400):
        params, state = step(params, state)
    assert loss(params) < start / 10
    assert jax.tree.structure(params) == structure
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype(np.float32)}


def test_bfloat16_hidden_layers_give_a_float32_log_density():
    params, log_density_fn = mlp_energy(jax.random.key(0), 3, compute_dtype=jnp.bfloat16)
    x = points()
    log_density = log_density_fn(params, x)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype(np.float32)}
    assert log_density.dtype == jnp.float32
    np.testing.assert_allclose(log_density, oracle(params, x, 0.2), atol=0.02)
    assert not np.allclose(log_density, oracle(params, x, 0.2), atol=1e-6)
    # The last layer does not compute in bfloat16: its sums are not multiples of 2^-8.
    assert not np.allclose(
        log_density, log_density.astype(jnp.bfloat16).astype(jnp.float32), rtol=1e-5, atol=0
    )


def test_float32_stays_float32_under_x64(x64):
    params, log_density_fn = mlp_energy(jax.random.key(0), 3)
    assert log_density_fn(params, points()).dtype == jnp.float32
    assert log_density_fn(params, points(dtype=np.float64)).dtype == jnp.float64


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"dim": 0}, ValueError, "dim: expected at least 1, got 0"),
        ({"dim": 2.0}, TypeError, "dim: expected an integer, got 2.0"),
        ({"hidden": (8, 0)}, ValueError, r"hidden\[1\]: expected at least 1, got 0"),
        ({"hidden": 8}, TypeError, "hidden: expected a tuple of integers, got int 8"),
        ({"negative_slope": float("nan")}, ValueError, "negative_slope: expected .*, got nan"),
        ({"param_dtype": int}, TypeError, "param_dtype: expected a floating dtype"),
        ({"compute_dtype": "many"}, TypeError, "compute_dtype: expected a floating dtype"),
        ({"key": 0}, TypeError, "key: expected a typed key.*got int"),
        ({"key": np.zeros(2, np.uint32)}, TypeError, "key: expected a typed key.*uint32"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    options = {"key": jax.random.key(0), "dim": 2} | arguments
    with pytest.raises(error, match=message):
        mlp_energy(options.pop("key"), options.pop("dim"), **options)


@pytest.mark.bad_input
def test_several_keys_and_wrong_samples_are_named():
    with pytest.raises(ValueError, match=r"key: expected a single key, got shape \(3,\)"):
        mlp_energy(jax.random.split(jax.random.key(0), 3), 2)
    params, log_density_fn = mlp_energy(jax.random.key(0), 2, hidden=(4,))
    with pytest.raises(ValueError, match=r"x: expected shape \(samples, 2\), got shape \(5, 3\)"):
        log_density_fn(params, jnp.zeros((5, 3)))
    with pytest.raises(
        TypeError, match="x: expected an array of samples, got a dict of length 2; "
    ):
        log_density_fn(jnp.zeros((5, 2)), params)
    with pytest.raises(ValueError, match=r"x: expected shape \(samples, dim\), got shape \(2,\)"):
        log_density_fn(params, jnp.zeros(2))
