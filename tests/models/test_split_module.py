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


@pytest.mark.costly
def test_only_parameters_are_params():
    module = WithState()
    module.eval()
    params, _ = split_module(module)
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


class Drawing(nnx.Module):
    """Draws random numbers at every call, from a stream of its own."""

    def __init__(self):
        self.layer = nnx.Linear(3, 1, rngs=nnx.Rngs(0))
        self.streams = nnx.Rngs(1)

    def __call__(self, x):
        return self.layer(x + self.streams.normal(x.shape))


class SwitchedAtTheCall(nnx.Module):
    """Normalizes by the batch whatever its mode."""

    def __init__(self):
        self.layer = nnx.Linear(3, 1, rngs=nnx.Rngs(0))
        self.normalize = nnx.BatchNorm(3, rngs=nnx.Rngs(0))

    def __call__(self, x):
        return self.layer(self.normalize(x, use_running_average=False))


class Holding(nnx.Module):
    """Holds another module in nested containers."""

    def __init__(self, module):
        self.layer = nnx.Linear(3, 1, rngs=nnx.Rngs(0))
        self.blocks = nnx.List([nnx.Dict(a=module)])

    def __call__(self, x):
        return self.layer(self.blocks[0]["a"](x))


def attention(rate):
    return nnx.MultiHeadAttention(
        1, 3, dropout_rate=rate, deterministic=False, decode=False, rngs=nnx.Rngs(0)
    )


TRAINING = {
    "dropout": (
        lambda: Holding(nnx.Dropout(0.5, rngs=nnx.Rngs(0))),
        r"module\.blocks\.0\.a, a Dropout that would leave out the same units at every call",
    ),
    "batch norm": (
        lambda: Holding(nnx.BatchNorm(3, rngs=nnx.Rngs(0))),
        r"module\.blocks\.0\.a, a BatchNorm that couples the samples of a batch",
    ),
    "attention": (lambda: Holding(attention(0.2)), r"module\.blocks\.0\.a, a MultiHeadAttention"),
}
if hasattr(nnx, "SpectralNorm"):  # came after flax 0.12.0
    TRAINING["spectral norm"] = (
        lambda: Holding(nnx.SpectralNorm(nnx.Linear(3, 3, rngs=nnx.Rngs(0)), rngs=nnx.Rngs(0))),
        r"module\.blocks\.0\.a, a SpectralNorm that changes at every call",
    )


@pytest.mark.bad_input
@pytest.mark.parametrize("name", TRAINING)
def test_a_submodule_in_training_mode_is_named(name):
    make, message = TRAINING[name]
    module = make()
    message = f"^module: expected evaluation mode, got training mode in {message}.*module.eval"
    with pytest.raises(ValueError, match=message):
        split_module(module)
    module.eval()
    split_module(module)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("make", "variable"),
    [
        (Drawing, r"module\.streams\.default\.count"),
        (SwitchedAtTheCall, r"module\.normalize\.mean"),
    ],
)
@pytest.mark.parametrize("transform", [lambda f: f, jax.jit])
def test_a_call_that_changes_a_variable_is_refused(make, variable, transform):
    module = make()
    module.eval()
    params, log_density_fn = split_module(module)
    message = f"^module: expected a call that leaves its variables .* got a change of {variable};"
    with pytest.raises(ValueError, match=message):
        transform(log_density_fn)(params, points())


class Recording(nnx.Module):
    """Records what it computes on the way, which is no state."""

    def __init__(self):
        self.layer = nnx.Linear(3, 1, rngs=nnx.Rngs(0))
        self.hidden = nnx.Intermediate(jnp.zeros((6, 3)))
        self.unused = nnx.Dropout(0.0, rngs=nnx.Rngs(0))

    def __call__(self, x):
        self.hidden[...] = x
        return self.layer(self.unused(x))


def test_calls_leave_no_trace():
    module = Recording()
    params, log_density_fn = split_module(module)
    first = log_density_fn(params, points())
    np.testing.assert_allclose(jax.jit(log_density_fn)(params, points()), first, rtol=1e-5)
    np.testing.assert_array_equal(log_density_fn(params, points()), first)
    np.testing.assert_array_equal(module.hidden[...], 0)


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
