"""The flow as a distribution: its density is that of its draws, normalized, and at first that of
the fitted Gaussian.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nce_jax import noise, training
from nce_jax.adaptive_noise import flow
from nce_jax.adaptive_noise._conditioner import coupling_masks

pytestmark = pytest.mark.costly


def data(num_samples=400, dim=2, dtype=np.float32, seed=0):
    generator = np.random.default_rng(seed)
    mixing = np.tril(0.3 * generator.normal(size=(dim, dim)), -1) + np.eye(dim)
    return jnp.asarray(1 + generator.normal(size=(num_samples, dim)) @ mixing.T, dtype)


def perturbed(params, scale=0.3):
    """Far from the identity, where every sign and every determinant counts."""
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(9), len(leaves))
    noisy = [
        leaf + scale * jax.random.normal(key, leaf.shape, leaf.dtype)
        for leaf, key in zip(leaves, keys, strict=True)
    ]
    return jax.tree.unflatten(structure, noisy)


def small_flow(dim=2, dtype=np.float32, num_layers=2):
    x_data = data(dim=dim, dtype=dtype)
    params, noise_fn = flow(
        jax.random.key(1), x_data, num_layers=num_layers, hidden=(6,), num_bins=4, bound=4.0
    )
    return x_data, params, noise_fn


def log_prob(noise, x):
    return jax.jit(lambda noise, x: noise.log_prob(x))(noise, x)


def draw(noise, num_samples, seed=2):
    return jax.jit(
        lambda noise, key: noise.sample_and_log_prob(seed=key, sample_shape=num_samples)
    )(noise, jax.random.key(seed))


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_it_starts_as_the_fitted_gaussian(dim, float_dtype):
    x_data, params, noise_fn = small_flow(dim, float_dtype)
    tolerance = {"float32": 2e-5, "float64": 1e-12}[float_dtype.name]
    expected = noise.fitted_gaussian(x_data).log_prob(x_data)
    np.testing.assert_allclose(
        log_prob(noise_fn(params), x_data), expected, atol=tolerance, rtol=tolerance
    )


def test_density_integrates_to_one(x64):
    _, params, noise_fn = small_flow(dtype=np.float64)
    width = 0.04
    centers = 1 + width * (np.arange(500) - 249.5)
    grid = jnp.asarray(np.stack(np.meshgrid(centers, centers), axis=-1).reshape(-1, 2))
    log_q = log_prob(noise_fn(perturbed(params)), grid)
    # Far from the Gaussian, whose integral proves nothing.
    assert abs(log_q - log_prob(noise_fn(params), grid)).max() > 1
    # The midpoint rule is second order where the spline's second derivative jumps, at the knots.
    np.testing.assert_allclose(np.exp(log_q).sum() * width**2, 1, atol=1e-4)


@pytest.mark.parametrize("dim", [1, 3])
def test_log_prob_is_the_base_and_a_jacobian_determinant(dim, x64):
    """Oracle: the determinant of the full Jacobian by forward differentiation, coordinate by
    coordinate.
    """
    x_data, params, noise_fn = small_flow(dim, np.float64, num_layers=4)
    flown = noise_fn(perturbed(params))
    inverse = flown._distribution().bijector.inverse
    z = jax.jit(inverse)(x_data)
    jacobian = np.asarray(jax.jit(jax.vmap(jax.jacfwd(inverse)))(x_data))
    assert np.ptp(np.linalg.slogdet(jacobian)[1]) > 1
    base = -0.5 * np.sum(np.square(z), axis=-1) - dim / 2 * np.log(2 * np.pi)
    np.testing.assert_allclose(
        log_prob(flown, x_data), base + np.linalg.slogdet(jacobian)[1], rtol=1e-9
    )


def test_log_prob_is_the_density_of_the_draws(float_dtype):
    x_data, params, noise_fn = small_flow(dtype=float_dtype)
    flown = noise_fn(perturbed(params))
    x, log_q = draw(flown, 20_000)
    assert (x.shape, log_q.shape, x.dtype, log_q.dtype) == (
        (20_000, 2),
        (20_000,),
        float_dtype,
        float_dtype,
    )
    # In float32 a steep bin loses some digits of the point itself.
    np.testing.assert_allclose(
        log_prob(flown, x), log_q, atol={"float32": 1e-4, "float64": 1e-9}[float_dtype.name]
    )
    # E_q[p / q] = 1 for any density p, four standard errors, seed 2.
    ratio = np.exp(noise.fitted_gaussian(x_data).log_prob(x) - log_q)
    error = ratio.std() / np.sqrt(ratio.size)
    assert abs(ratio.mean() - 1) < 4 * error < 0.2


def test_beyond_the_bound_it_is_the_gaussian():
    x_data, params, noise_fn = small_flow()
    gaussian = noise.fitted_gaussian(x_data)
    whitened = jnp.array([[4.5, -4.5], [30.0, 30.0], [-1000.0, 5.0]])
    far = gaussian.bijector.forward(whitened)
    np.testing.assert_allclose(
        log_prob(noise_fn(perturbed(params)), far), gaussian.log_prob(far), rtol=1e-5
    )
    inside = gaussian.bijector.forward(jnp.array([[1.0, -1.0]]))
    assert abs(log_prob(noise_fn(perturbed(params)), inside) - gaussian.log_prob(inside)) > 0.1


def test_every_two_dimensions_are_told_apart_and_every_one_moved():
    for dim in range(2, 20):
        masks = coupling_masks(dim, 2 * int(np.ceil(np.log2(dim))))
        apart = (masks[:, :, None] != masks[:, None, :]).any(axis=0)
        assert apart[~np.eye(dim, dtype=bool)].all()
        assert (~masks[:2]).any(axis=0).all()
    assert not coupling_masks(1, 3).any()


def test_a_train_step_takes_it_fixed_or_as_an_argument():
    x_data, params, noise_fn = small_flow()
    optimizer = optax.sgd(0.1)
    traces = []

    def against(flown):
        treatment = training.joint_gradient()
        return training.make_train_step(
            lambda theta, x: x @ theta, flown, optimizer, treatment=treatment, num_noise=16
        )

    def step(state, flown):
        traces.append(1)
        return against(flown)(state, x_data, jax.random.key(0))

    compiled, moved = jax.jit(step), noise_fn(perturbed(params))
    state = against(moved).init(jnp.zeros(2))
    first, _ = compiled(state, noise_fn(params))
    second, metrics = compiled(state, moved)
    assert len(traces) == 1
    assert abs(first.params - second.params).max() > 1e-3
    closed_over, expected = jax.jit(lambda state: step(state, moved))(state)
    np.testing.assert_allclose(second.params, closed_over.params, rtol=1e-5)
    np.testing.assert_allclose(metrics.loss, expected.loss, rtol=1e-5)


def test_seeds_stack_by_vmap_over_keys():
    x_data, keys = data(), jax.random.split(jax.random.key(3), 2)
    stacked = jax.vmap(lambda key: flow(key, x_data, num_layers=2, hidden=(4,))[0])(keys)
    alone = flow(keys[1], x_data, num_layers=2, hidden=(4,))[0]
    jax.tree.map(
        lambda many, one: np.testing.assert_allclose(many[1], one, atol=1e-6), stacked, alone
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_the_data_s_own_even_under_x64(dtype, x64):
    x_data, params, noise_fn = small_flow(dtype=dtype)
    x, log_q = jax.eval_shape(
        lambda key: noise_fn(params).sample_and_log_prob(seed=key, sample_shape=3),
        jax.random.key(0),
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} | {x.dtype, log_q.dtype} == {
        np.dtype(dtype)
    }
    assert jax.eval_shape(noise_fn(params).log_prob, x_data).dtype == dtype


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"num_layers": 1}, ValueError, "num_layers: expected at least 2 for 2 dimensions.*got 1"),
        ({"num_layers": 2.0}, TypeError, "num_layers: expected an integer, got 2.0"),
        ({"num_bins": 0}, ValueError, "num_bins: expected at least 1, got 0"),
        ({"hidden": (4, 0)}, ValueError, r"hidden\[1\]: expected at least 1, got 0"),
        ({"bound": -1.0}, ValueError, "bound: expected a finite positive number, got -1.0"),
        ({"bound": 0.001}, ValueError, "bound: expected more than 0.004 for 8 bins, got 0.001"),
        (
            {"x_data": np.zeros(3, np.float32)},
            ValueError,
            r"x_data: expected shape \(samples, dim\)",
        ),
        ({"key": 0}, TypeError, "key: expected a typed key.*got int"),
    ],
)
def test_bad_arguments_are_named(options, error, message):
    options = {"key": jax.random.key(0), "x_data": data()} | options
    with pytest.raises(error, match=message):
        flow(options.pop("key"), options.pop("x_data"), **options)
