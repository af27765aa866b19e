import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import nce_jax
from nce_jax.models import QuadraticHead, quadratic_energy, split_module

NUM_FEATURES = 5


def head_with(factor, bias, **options):
    head = QuadraticHead(len(bias), rngs=nnx.Rngs(jax.random.key(0)), **options)
    head.factor[...], head.bias[...] = factor, bias
    return head


def draw(*shape, seed=0, scale=1.0, dtype=np.float32):
    return jnp.asarray(scale * np.random.default_rng(seed).normal(size=shape), dtype)


def test_matches_numpy(float_dtype):
    factor, bias = draw(5, 5, dtype=float_dtype), draw(5, seed=1, dtype=float_dtype)
    features = draw(8, 5, seed=2, dtype=float_dtype)
    head = head_with(factor, bias, min_eigenvalue=0.5, param_dtype=float_dtype)
    factor, bias, f = (np.asarray(array, np.float64) for array in (factor, bias, features))
    matrix = factor @ factor.T + 0.5 * np.eye(5)
    rtol = 1e-5 if float_dtype == jnp.float32 else 1e-13
    assert head(features).dtype == float_dtype
    np.testing.assert_allclose(
        head(features), np.einsum("si,ij,sj->s", f, matrix, f) + f @ bias, rtol=rtol
    )
    np.testing.assert_allclose(head.matrix(), matrix, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("scale", [0.0, 1e-12, 1.0, 1e2])
@pytest.mark.parametrize("rank", [1, NUM_FEATURES])
def test_every_eigenvalue_is_at_least_the_smallest_allowed(x64, scale, rank):
    """L of any size, and singular too; float64, where rounding of W is below the floor."""
    factor = draw(NUM_FEATURES, rank, scale=scale, dtype=np.float64) @ draw(
        rank, NUM_FEATURES, seed=1, dtype=np.float64
    )
    head = head_with(factor, jnp.zeros(NUM_FEATURES), min_eigenvalue=1e-6, param_dtype=jnp.float64)
    eigenvalues = np.linalg.eigvalsh(head.matrix())
    assert eigenvalues[0] >= 0.99e-6
    if scale == 0.0:
        np.testing.assert_allclose(eigenvalues, 1e-6, rtol=1e-12)


@pytest.mark.parametrize("scale", [1e3, 1e15])
def test_the_form_is_positive_in_float32_where_the_matrix_has_lost_its_eigenvalues(scale):
    """A vector across the one direction of L: the form would be a difference of huge terms, were W
    formed.
    """
    direction = draw(NUM_FEATURES)
    head = head_with(scale * jnp.outer(direction, direction), jnp.zeros(NUM_FEATURES))
    features = draw(200, NUM_FEATURES, seed=1)
    features -= jnp.outer(features @ direction, direction) / (direction @ direction)
    assert jnp.all(head(features) > 0)
    assert np.linalg.eigvalsh(head.matrix())[0] <= 0
    naive = jnp.einsum(
        "si,ij,sj->s", features, head.matrix(), features, precision=jax.lax.Precision.HIGHEST
    )
    assert jnp.any(naive < 0)


def test_lower_bound(x64):
    """phi >= -b' W^-1 b / 4, attained at f = -W^-1 b / 2."""
    bias = draw(NUM_FEATURES, seed=1, dtype=np.float64)
    head = head_with(
        draw(5, 5, dtype=np.float64), bias, min_eigenvalue=0.1, param_dtype=jnp.float64
    )
    lowest = jnp.linalg.solve(head.matrix(), bias)
    features = (
        -lowest[None] / 2
        + draw(50, NUM_FEATURES, seed=2, dtype=np.float64) * jnp.arange(50.0)[:, None]
    )
    np.testing.assert_allclose(head(features)[0], -bias @ lowest / 4, rtol=1e-12)
    assert jnp.all(head(features)[1:] > -bias @ lowest / 4)


@pytest.mark.parametrize("num_features", [4, 256])
def test_starts_near_zero_and_off_the_saddle(num_features):
    """At first phi averages 0.01 times the mean squared feature (and the floor's): 64 seeds, 4
    standard errors.
    """

    def start(key):
        head = QuadraticHead(num_features, rngs=nnx.Rngs(key))
        return head.factor[...], head(jnp.ones((1, num_features)))[0]

    factor, log_density = jax.jit(jax.vmap(start))(jax.random.split(jax.random.key(0), 64))
    log_density = np.asarray(log_density, np.float64)
    expected = 0.01 + 1e-6 * num_features
    assert abs(log_density.mean() - expected) < 4 * log_density.std(ddof=1) / np.sqrt(64)
    assert log_density.std() < expected
    assert jnp.all(jnp.any(factor != 0, axis=(1, 2)))


@pytest.mark.costly
def test_quadratic_form_of_a_gaussian_has_its_closed_form_normalizer():
    """Relative to noise N(0, I) the model is Gaussian: precision P = I - 2 W, mean P^-1 b, F = (b'
    P^-1 b - log det P) / 2.

    The solved F from 20,000 samples of each is within 4 standard errors of it (seed 3).
    """
    rng = np.random.default_rng(3)
    params, log_ratio_fn = quadratic_energy(jax.random.key(0), lambda x: x, 2, min_eigenvalue=0.01)
    params = {
        "head": {"factor": jnp.array([[0.3, 0.0], [0.2, -0.4]]), "bias": jnp.array([0.5, -0.2])}
    }
    factor, bias = (np.asarray(params["head"][name], np.float64) for name in ("factor", "bias"))
    precision = np.eye(2) - 2 * (factor @ factor.T + 0.01 * np.eye(2))
    mean = np.linalg.solve(precision, bias)
    expected = (bias @ mean - np.linalg.slogdet(precision)[1]) / 2
    data = jnp.asarray(
        rng.multivariate_normal(mean, np.linalg.inv(precision), size=20_000), np.float32
    )
    noise = jnp.asarray(rng.normal(size=(20_000, 2)), np.float32)
    log_ratio = log_ratio_fn(params, data), log_ratio_fn(params, noise)
    solution = nce_jax.solve_log_partition(*log_ratio)
    error = nce_jax.log_partition_standard_error(*log_ratio)
    assert error < 0.02
    assert abs(solution.log_partition - expected) < 4 * error


class Features(nnx.Module):
    def __init__(self, key):
        self.linear = nnx.Linear(3, 4, rngs=nnx.Rngs(key))

    def __call__(self, x):
        return jnp.tanh(self.linear(x))


def test_own_features_with_and_without_parameters():
    x, features = draw(6, 3), Features(jax.random.key(1))
    params, log_density_fn = quadratic_energy(jax.random.key(0), features, 4)
    fixed, fixed_fn = quadratic_energy(jax.random.key(0), lambda x: jnp.tanh(features.linear(x)), 4)
    assert jax.tree.map(jnp.shape, params["features"]) == {
        "linear": {"bias": (4,), "kernel": (3, 4)}
    }
    assert set(fixed) == {"head"}
    np.testing.assert_allclose(log_density_fn(params, x), fixed_fn(fixed, x), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(
        log_density_fn(params, x), features_oracle(params, x), rtol=1e-5, atol=1e-7
    )
    gradient = jax.grad(lambda params: log_density_fn(params, x).sum())(params)
    assert all(jnp.any(leaf != 0) for leaf in jax.tree.leaves(gradient))


def features_oracle(params, x):
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    features = np.tanh(np.asarray(x, np.float64) @ params["features"]["linear"]["kernel"])
    features += params["features"]["linear"]["bias"]
    return np.sum((features @ params["head"]["factor"]) ** 2 + 1e-6 * features**2, axis=-1)


def test_seeds_stack_by_vmap_over_keys():
    def init(key):
        key_features, key_head = jax.random.split(key)
        return quadratic_energy(key_head, Features(key_features), 4)

    keys, x = jax.random.split(jax.random.key(2), 3), draw(6, 3)
    _, log_density_fn = init(keys[0])
    stacked = jax.jit(jax.vmap(lambda key: init(key)[0]))(keys)
    batched = jax.vmap(log_density_fn, in_axes=(0, None))(stacked, x)
    np.testing.assert_allclose(
        batched, jnp.stack([log_density_fn(init(key)[0], x) for key in keys]), rtol=1e-5
    )
    assert not np.allclose(batched[0], batched[1], rtol=0.1)


def test_head_inside_a_module_of_ones_own():
    """bfloat16 features; the form is in float32."""

    class Energy(nnx.Module):
        def __init__(self):
            rngs = nnx.Rngs(jax.random.key(0))
            self.layer = nnx.Linear(3, 4, dtype=jnp.bfloat16, rngs=rngs)
            self.head = QuadraticHead(4, rngs=rngs)

        def __call__(self, x):
            return self.head(self.layer(x))

    params, log_density_fn = split_module(Energy())
    log_density = log_density_fn(params, draw(6, 3))
    assert set(params) == {"head", "layer"}
    assert log_density.dtype == jnp.float32
    assert not np.allclose(
        log_density, log_density.astype(jnp.bfloat16).astype(jnp.float32), rtol=1e-5, atol=0
    )


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"num_features": 0}, ValueError, "num_features: expected at least 1, got 0"),
        ({"num_features": 2.0}, TypeError, "num_features: expected an integer, got 2.0"),
        (
            {"min_eigenvalue": -1.0},
            ValueError,
            "min_eigenvalue: expected a finite positive number, got -1.0",
        ),
        ({"features": 3}, TypeError, "features: expected a flax nnx.Module or a function, got int"),
        ({"key": 0}, TypeError, "key: expected a typed key.*got int"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    options = {"key": jax.random.key(0), "features": jnp.tanh, "num_features": 3} | arguments
    with pytest.raises(error, match=message):
        quadratic_energy(
            options.pop("key"), options.pop("features"), options.pop("num_features"), **options
        )


@pytest.mark.bad_input
def test_wrong_features_are_named():
    params, log_density_fn = quadratic_energy(jax.random.key(0), jnp.tanh, 3)
    with pytest.raises(
        ValueError,
        match=r"features: expected an output of shape .* in this call \(5, 3\), got shape \(5, 4\)",
    ):
        log_density_fn(params, jnp.zeros((5, 4)))
    with pytest.raises(ValueError, match=r"x: expected shape \(samples, dim\), got shape \(3,\)"):
        log_density_fn(params, jnp.zeros(3))
    with pytest.raises(
        ValueError, match=r"features: expected shape \(samples, 3\), got shape \(3,\)"
    ):
        QuadraticHead(3, rngs=nnx.Rngs(jax.random.key(0)))(jnp.zeros(3))
