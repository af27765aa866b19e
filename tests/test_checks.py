"""The shared checks of arguments, and the words in which they say what came instead."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas
import pytest

import nce_jax
from nce_jax import _samples as samples
from nce_jax import criteria, likelihood, log_partition, noise
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


SOLUTION = nce_jax.solve_log_partition(jnp.array([2.0, 1.0]), jnp.array([-1.0, 0.5]))
PAIR = jnp.array([2.0, 1.0, 0.0, -1.0]), jnp.array([-1.0, 0.5, 0.2, 0.1])
# Batches of as many entries as a Solution has fields: its conversion to an array would fit.
BATCH = tuple(jnp.stack([side] * len(SOLUTION)) for side in PAIR)
RECORDS = {
    "log_partition": lambda: nce_jax.nce_loss(*BATCH, log_partition=SOLUTION),
    "magnification": lambda: nce_jax.nce_loss(*BATCH, log_partition=0.0, magnification=SOLUTION),
    "noise_ratio": lambda: nce_jax.solve_log_partition(*BATCH, noise_ratio=SOLUTION),
    "initial": lambda: nce_jax.solve_log_partition(*BATCH, initial=SOLUTION),
    "weights_data": lambda: nce_jax.solve_log_partition(*PAIR, weights_data=SOLUTION),
    "log_ratio_data": lambda: nce_jax.solve_log_partition(SOLUTION, PAIR[1]),
    "log_likelihood": lambda: likelihood.bits_per_dimension(SOLUTION, num_dims=2),
    "log_partition of contexts": lambda: nce_jax.diagnostics.self_normalization(
        jnp.ones((4, 2)), embedding=jnp.ones((3, 2)), log_partition=SOLUTION
    ),
    "counts": lambda: noise.unigram(SOLUTION),
    "x_data": lambda: samples.as_float_samples("x_data", SOLUTION),
    "axes['seed']": lambda: nce_jax.sweep(lambda seed: seed, {"seed": SOLUTION}),
}


@pytest.mark.bad_input
@pytest.mark.parametrize("case", RECORDS)
def test_a_named_tuple_is_refused_where_an_array_is_expected(case):
    with pytest.raises(TypeError) as caught:
        RECORDS[case]()
    name, field = case.split(" of ")[0], "its field log_partition"
    if name != "log_partition":
        field = "one of its fields log_partition, residual, num_evaluations, status"
    assert str(caught.value).startswith(f"{name}: expected ")
    assert str(caught.value).endswith(f", got a Solution; pass {field}")


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("x_data", noise.fitted_gaussian),
        ("x_data", noise.uniform_box_around),
        ("x_data", noise.product_of_marginals),
        ("x", lambda x: nce_jax.losses.info_nce_loss(x, jnp.ones((4, 2)), temperature=1.0)),
    ],
)
def test_a_table_of_samples_is_refused_with_its_array(name, function):
    cure = (
        f"^{name}: expected .* a DataFrame of shape \\(4, 2\\); {name}.to_numpy\\(\\) is the array"
    )
    with pytest.raises(TypeError, match=cure):
        function(pandas.DataFrame(np.ones((4, 2))))
