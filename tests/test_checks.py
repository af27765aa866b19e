"""The shared checks of arguments, and the words in which they say what came instead."""

import functools

import jax
import jax.numpy as jnp
import optax
import pytest

import nce_jax
from nce_jax import criteria, log_partition
from nce_jax._checks import check_instance, describe

VALUES = {
    "a factory": (nce_jax.newton, log_partition.Solver, "the function newton: call it"),
    "a factory with defaults": (criteria.nce, None, "the function nce: call it"),
    "a factory with arguments": (
        criteria.ratio_regularized,
        criteria.Criterion,
        "the function ratio_regularized: call it",
    ),
    "a factory of something else": (
        criteria.ratio_regularized,
        log_partition.Solver,
        "the function ratio_regularized",
    ),
    "a factory of another package": (
        optax.sgd,
        optax.GradientTransformation,
        "the function sgd: call it",
    ),
    "a loss": (nce_jax.nce_loss, criteria.Criterion, "the function nce_loss"),
    "a jitted loss": (jax.jit(nce_jax.nce_loss), criteria.Criterion, "the function nce_loss"),
    "a part of a function": (functools.partial(nce_jax.nce_loss), None, "a partial"),
    "a class": (log_partition.Problem, log_partition.Solver, "the class Problem"),
    "the class itself": (log_partition.Solver, log_partition.Solver, "the class Solver: call it"),
    "an object with a vowel": (ArithmeticError(), None, "an ArithmeticError"),
    "an object": (nce_jax.newton(), criteria.Criterion, "a Solver"),
    "a module": (nce_jax.criteria, criteria.Criterion, "the module nce_jax.criteria"),
    "nothing": (None, None, "None"),
    "a number": (0.1, None, "float 0.1"),
    "an integer": (3, None, "int 3"),
    "a truth value": (True, None, "bool True"),
    "text": ("adam", None, "str 'adam'"),
    "an array": (jnp.zeros((2, 3)), None, "an array of shape (2, 3) and dtype float32"),
    "a key": (jax.random.key(0), None, "an array of shape () and dtype key<fry>"),
    "a tuple": ((1, 2), None, "a tuple of length 2"),
    "a dictionary": ({}, None, "a dict of length 0"),
}


@pytest.mark.parametrize("name", VALUES)
def test_a_value_is_described(name):
    value, expected, words = VALUES[name]
    assert describe(value, expected) == words


def test_a_traced_value_is_described():
    words = []
    jax.jit(lambda x: words.append(describe(x)))(jnp.zeros(4))
    assert words == ["an array of shape (4,) and dtype float32"]


def test_a_long_text_is_cut():
    assert len(describe("x" * 1000)) < 80


def test_an_instance_passes_and_anything_else_is_named():
    check_instance("solver", nce_jax.newton(), log_partition.Solver, "newton()")
    with pytest.raises(TypeError) as caught:
        check_instance("solver", nce_jax.newton, log_partition.Solver, "newton()")
    expected = "solver: expected a Solver such as newton(), got the function newton: call it"
    assert str(caught.value) == expected
    with pytest.raises(TypeError, match="expected a GradientTransformation .*got int 3"):
        check_instance("optimizer", 3, optax.GradientTransformation, "optax.sgd(0.1)")
