"""A wrong object is refused at the call by every public function that takes one, with its name."""

import functools
import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas
import pytest

from nce_jax import adaptive_noise, noise, samplers

ROOMS = ("noise", "models", "samplers", "adaptive_noise")
pytestmark = pytest.mark.bad_input


@pytest.fixture(autouse=True)
def rank_promotion_as_distrax_needs_it() -> Iterator[None]:
    """distrax broadcasts samples (samples, dim) against parameters (dim,)."""
    with jax.numpy_rank_promotion("allow"):
        yield


def of_params(params: Any, x: Any) -> Any:
    return -0.5 * jnp.sum((x - params) ** 2, axis=-1)


@functools.cache
def snapshot() -> adaptive_noise.SelfNoise:
    options = {"kernel": samplers.mala(0.5), "num_samples": 4, "num_steps": 1}
    schedule = samplers.linear_schedule(1)
    return adaptive_noise.self_noise(
        jax.random.key(0),
        of_params,
        jnp.zeros(2),
        noise.standard_normal(2),
        schedule=schedule,
        **options,
    )


# An argument of each name that is right wherever it is taken, unless the function is named with it.
RIGHT = {
    "key": lambda: jax.random.key(0),
    "log_density_fn": lambda: lambda x: -0.5 * jnp.sum(x**2, axis=-1),
    "adaptive_noise.log_density_fn": lambda: of_params,
    "log_ratio_fn": lambda: lambda x: jnp.sum(x, axis=-1),
    "params": lambda: jnp.zeros(2),
    "noise": lambda: noise.standard_normal(2),
    "refresh_self_noise.noise": snapshot,
    "base_noise": lambda: noise.standard_normal(2),
    "optimizer": lambda: optax.sgd(0.1),
    "kernel": lambda: samplers.mala(0.1),
    "kernel_fn": lambda: samplers.mala,
    "schedule": lambda: jnp.array([0.0, 1.0]),
    "x_data": lambda: np.random.default_rng(0).normal(size=(9, 2)).astype(np.float32),
    "x_initial": lambda: jnp.zeros((3, 2)),
    "x_model": lambda: jnp.zeros((3, 2)),
    "dim": lambda: 2,
    "image_shape": lambda: (8, 8, 1),
    "num_features": lambda: 2,
    "features": lambda: lambda x: x,
    "initial_params": lambda: jnp.zeros(2),
    "sufficient_statistics": lambda: lambda x: x,
    "num_samples": lambda: 4,
    "num_steps": lambda: 1,
    "refresh_every": lambda: 1,
    "step_size": lambda: 0.1,
}

ONE_PER_DIMENSION = distrax.Normal(jnp.zeros(2), jnp.ones(2))
NOISES = {
    "None": None,
    "a class": distrax.Normal,
    "a function": noise.standard_normal,
    "an array": jnp.zeros((3, 2)),
    "one density per dimension": ONE_PER_DIMENSION,
    "a tuple": (jnp.zeros(2), np.sum),
}
MODELS = {
    "None": None,
    "a pair": (jnp.zeros(2), of_params),
    "an array": jnp.zeros(2),
    "a noise": noise.standard_normal(2),
}
VALUES = {
    "None": lambda *_: None,
    "a tuple": lambda *arguments: (arguments[-1].sum(axis=-1),) * 2,
    "a scalar": lambda *arguments: arguments[-1].sum(),
    "a column": lambda *arguments: arguments[-1][:, :1],
    "one per dimension": lambda *arguments: arguments[-1],
    "integers": lambda *arguments: jnp.zeros(len(arguments[-1]), jnp.int32),
}
DATA = {
    "None": None,
    "integers": np.zeros((9, 2), int),
    "text": np.array([["a", "b"]] * 9),
    "a DataFrame of text": pandas.DataFrame({"a": ["b"] * 9}),
    "a scalar": jnp.zeros(()),
}
WRONG: dict[str, dict[str, Any]] = {
    "key": {
        "None": None,
        "a seed": 0,
        "a legacy key": jax.random.PRNGKey(0),
        "a batch of keys": jax.random.split(jax.random.key(0)),
    },
    "noise": NOISES,
    "base_noise": NOISES,
    "log_density_fn": MODELS,
    "log_ratio_fn": MODELS,
    "params": {
        "None": None,
        "integers": jnp.arange(2),
        "a model": (jnp.zeros(2), of_params),
        "a function": of_params,
    },
    "kernel": {"a function": samplers.mala, "None": None, "unadjusted": samplers.langevin(0.1)},
    "kernel_fn": {"a kernel": samplers.mala(0.1), "None": None, "a rate": lambda rate: rate},
    "x_data": DATA | {"one axis": np.zeros(9, np.float32)},
    "x_initial": DATA,
    "x_model": DATA,
}
# What is right there, though wrong elsewhere.
ALLOWED = {("samplers.sample_chains", "kernel", "unadjusted")}


def functions() -> dict[str, Callable[..., Any]]:
    modules = {room: importlib.import_module(f"nce_jax.{room}") for room in ROOMS}
    return {
        f"{room}.{name}": getattr(module, name)
        for room, module in modules.items()
        for name in module.__all__
        if inspect.isfunction(getattr(module, name))
    }


def cases() -> list[tuple[str, str, str]]:
    return [
        (path, name, wrong)
        for path, function in functions().items()
        for name in inspect.signature(function).parameters
        for wrong in WRONG.get(name, ())
        if (path, name, wrong) not in ALLOWED
    ]


def right_arguments(path: str) -> dict[str, Any]:
    """All arguments that the function requires."""
    room, short = path.split(".")
    parameters = inspect.signature(functions()[path]).parameters.values()
    names = [p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    makers = [
        RIGHT.get(f"{short}.{name}", RIGHT.get(f"{room}.{name}", RIGHT[name])) for name in names
    ]
    return {name: maker() for name, maker in zip(names, makers, strict=True)}


def test_the_iteration_finds_what_it_should():
    names = {(path, name) for path, name, _ in cases()}
    assert ("samplers.adapt_step_size", "key") in names
    assert ("adaptive_noise.self_noise", "base_noise") in names
    assert ("noise.fitted_gaussian", "x_data") in names
    assert ("models.resnet18_energy", "key") in names
    assert len(names) > 25


@pytest.mark.parametrize(("path", "name", "wrong"), cases())
def test_a_wrong_object_is_named(path, name, wrong):
    arguments = right_arguments(path) | {name: WRONG[name][wrong]}
    message = rf"^{re.escape(name)}(\(step_size\))?: expected .* got "
    with pytest.raises((TypeError, ValueError), match=message):
        functions()[path](**arguments)


EVALUATED = (
    "samplers.adapt_step_size",
    "samplers.annealed_importance_sampling",
    "samplers.reverse_annealed_importance_sampling",
    "samplers.sample_chains",
    "adaptive_noise.self_noise",
)


@pytest.mark.parametrize("wrong", VALUES)
@pytest.mark.parametrize("path", EVALUATED)
def test_wrong_values_of_a_model_are_named(path, wrong):
    arguments = right_arguments(path) | {"log_density_fn": VALUES[wrong]}
    with pytest.raises((TypeError, ValueError), match="^log_density_fn: expected .* got "):
        functions()[path](**arguments)


@pytest.mark.parametrize("wrong", VALUES)
def test_wrong_values_of_a_log_ratio_are_named(wrong):
    arguments = right_arguments("samplers.resample") | {"log_ratio_fn": VALUES[wrong]}
    with pytest.raises((TypeError, ValueError), match="^log_ratio_fn: expected .* got "):
        samplers.resample(**arguments)


def test_arguments_in_the_wrong_order_are_named():
    key, x = jax.random.key(0), jnp.zeros((3, 2))
    options = {"kernel": samplers.mala(0.1), "schedule": jnp.array([0.0, 1.0]), "num_samples": 4}
    with pytest.raises(TypeError, match="the model comes before the noise"):
        samplers.annealed_importance_sampling(
            key, noise.standard_normal(2), lambda x: x.sum(axis=-1), **options
        )
    with pytest.raises(TypeError, match="^log_density_fn: expected a function of parameters"):
        adaptive_noise.self_noise(key, jnp.zeros(2), of_params, noise.standard_normal(2), **options)
    with pytest.raises(TypeError, match="^key: expected a typed key"):
        samplers.sample_chains(of_params, key, x, kernel=samplers.mala(0.1), num_steps=1)


def test_a_snapshot_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"^params: expected the snapshot's shapes, .* got"):
        adaptive_noise.refresh_self_noise(
            jax.random.key(0), snapshot(), jnp.zeros(3), kernel=samplers.mala(0.1)
        )
