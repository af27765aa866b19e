import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from nce_jax.models import split_module


class WithState(nnx.Module):
    """Parameters beside running averages and a random stream."""

    def __init__(self):
        rngs = nnx.Rngs(jax.random.key(0))
        self.normalize = nnx.BatchNorm(3, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.layers = nnx.List([nnx.Linear(3, 4, rngs=rngs), nnx.Linear(4, 1, rngs=rngs)])

    def __call__(self, x):
        x = self.dropout(self.normalize(x))
        for layer in self.layers:
            x = layer(x)
        return x


class Quadratic(nnx.Module):
    """Returns (samples,)."""

    def __init__(self):
        self.scale = nnx.Param(jnp.array(2.0))

    def __call__(self, x):
        return -self.scale * jnp.sum(x**2, axis=-1)


def points(num_samples=6, dim=3):
    return jnp.asarray(np.random.default_rng(0).normal(size=(num_samples, dim)), jnp.float32)


def test_matches_the_module_and_follows_params():
    module = Quadratic()
    params, log_density_fn = split_module(module)
    x = points()
    np.testing.assert_array_equal(log_density_fn(params, x), module(x))
    np.testing.assert_allclose(
        log_density_fn({"scale": jnp.array(1.0)}, x), module(x) / 2, rtol=1e-6
    )
    gradient = jax.grad(lambda params: log_density_fn(params, x).sum())(params)
    np.testing.assert_allclose(gradient["scale"], -jnp.sum(x**2), rtol=1e-6)


def test_trailing_axis_of_one_is_dropped():
    linear = nnx.Linear(3, 1, rngs=nnx.Rngs(jax.random.key(0)))
    params, log_density_fn = split_module(linear)
    np.testing.assert_array_equal(log_density_fn(params, points()), linear(points())[:, 0])


def test_only_parameters_are_params():
    params, _ = split_module(WithState())
    assert set(params) == {"layers", "normalize"}
    assert set(params["normalize"]) == {"bias", "scale"}
    assert all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in jax.tree.leaves(params))


def test_evaluation_mode_matches_the_module():
    module = WithState()
    module.eval()
    params, log_density_fn = split_module(module)
    np.testing.assert_allclose(
        jax.jit(log_density_fn)(params, points()), module(points())[:, 0], rtol=1e-5, atol=1e-6
    )


def test_calls_leave_no_trace():
    """In training mode the module changes itself; the function repeats, inside jit and after it,
    and so does the module.
    """
    module = WithState()
    average = jnp.array(module.normalize.mean[...])
    params, log_density_fn = split_module(module)
    first = log_density_fn(params, points())
    compiled = jax.jit(log_density_fn)(params, points())
    np.testing.assert_array_equal(log_density_fn(params, points()), first)
    np.testing.assert_allclose(compiled, first, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(module.normalize.mean[...], average)


def test_module_may_train_on_without_changing_the_split():
    module = Quadratic()
    params, log_density_fn = split_module(module)
    before = log_density_fn(params, points())
    module.scale[...] = jnp.array(5.0)
    np.testing.assert_array_equal(log_density_fn(params, points()), before)


@pytest.mark.bad_input
def test_bad_modules_are_named():
    with pytest.raises(TypeError, match=r"module: expected a flax nnx.Module, got the function"):
        split_module(points)
    params, log_density_fn = split_module(nnx.Linear(3, 2, rngs=nnx.Rngs(jax.random.key(0))))
    with pytest.raises(
        ValueError, match=r"module: expected one value per sample, shape .6,., got shape \(6, 2\)"
    ):
        log_density_fn(params, points())
    with pytest.raises(ValueError, match=r"x: expected shape \(samples, dim\), got shape \(3,\)"):
        log_density_fn(params, jnp.zeros(3))
