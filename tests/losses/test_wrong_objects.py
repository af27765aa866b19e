"""Any argument of any loss that has a wrong type is refused, with its name in the message."""

import inspect
import re

import jax.numpy as jnp
import pandas
import pytest

from nce_jax import losses

pytestmark = pytest.mark.bad_input

N, K, DIM, V = 4, 3, 2, 5
ARGUMENTS = {
    "log_ratio": jnp.zeros(N),
    "rewards": jnp.zeros(N),
    "score_chosen": jnp.zeros(N),
    "score_rejected": jnp.zeros(N),
    "log_ratio_data": jnp.zeros(N),
    "log_ratio_noise": jnp.zeros((N, K)),
    "log_density_data": jnp.zeros(N),
    "log_density_noise": jnp.zeros((N, K)),
    "x": jnp.ones((N, DIM)),
    "y": jnp.ones((N, DIM)),
    "labels": jnp.zeros(N, int),
    "hidden": jnp.ones((N, DIM)),
    "targets": jnp.zeros(N, int),
    "noise_ids": jnp.zeros(K, int),
    "embedding": jnp.ones((V, DIM)),
    "log_noise_targets": jnp.zeros(N),
    "log_noise_ids": jnp.zeros(K),
}
# Losses of one number per sample; the others of this room take K noise samples per data sample.
PER_SAMPLE = re.compile(r"^(nce|nwj|donsker|least|.*exponential|nre_a|balanced)")
WRONG = {
    "a text": "many",
    "a class": dict,
    "a function": len,
    "a table": pandas.DataFrame({"a": [1.0, 2.0], "b": ["c", "d"]}),
}


def functions() -> list[str]:
    return [name for name in losses.__all__ if not inspect.isclass(getattr(losses, name))]


def right_arguments(name: str) -> dict:
    parameters = inspect.signature(getattr(losses, name)).parameters
    arguments = {key: value for key, value in ARGUMENTS.items() if key in parameters}
    if PER_SAMPLE.match(name):
        arguments["log_ratio_noise"] = jnp.zeros(K)
    if name == "nre_c_loss":
        arguments["log_ratio_contrast"] = jnp.zeros((N, K - 1))
    return arguments


def needed_beside(parameter: str) -> dict:
    """The options that an option of explicit negatives requires."""
    side = parameter.removeprefix("ids_negatives").removeprefix("log_noise_negatives")
    negatives = {f"negatives{side}": jnp.ones((K, DIM))}
    if parameter.startswith("ids_negatives"):
        return {**negatives, "ids": jnp.arange(N)}
    if parameter.startswith("log_noise_negatives"):
        return {**negatives, "log_noise": jnp.zeros(N)}
    return {}


@pytest.mark.parametrize("name", functions())
def test_the_right_arguments_pass(name):
    getattr(losses, name)(**right_arguments(name))


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("name", functions())
def test_every_wrong_argument_is_named(name, wrong):
    function, arguments = getattr(losses, name), right_arguments(name)
    for parameter in inspect.signature(function).parameters:
        options = dict(arguments)
        options |= needed_beside(parameter)
        with pytest.raises((TypeError, ValueError)) as caught:
            function(**{**options, parameter: WRONG[wrong]})
        assert str(caught.value).startswith(f"{parameter}: expected "), parameter
