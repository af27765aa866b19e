"""Arguments of the wrong kind are refused on entry, by a message that names them, what was
expected, and what came.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import nce_jax
from nce_jax import criteria, log_partition

pytestmark = pytest.mark.bad_input

GOOD = jnp.ones((3, 5), jnp.float32)
FUNCTIONS = {
    "nce_loss": nce_jax.nce_loss,
    "nce_loss_terms": nce_jax.losses.nce_loss_terms,
    "solve_log_partition": nce_jax.solve_log_partition,
    "profiled_nce_loss": nce_jax.profiled_nce_loss,
    "overlap": nce_jax.overlap,
    "log_partition_standard_error": nce_jax.log_partition_standard_error,
    "exponential_nce_loss": nce_jax.losses.exponential_nce_loss,
    "exponential_log_partition": nce_jax.losses.exponential_log_partition,
    "log_profiled_exponential_nce_loss": nce_jax.losses.log_profiled_exponential_nce_loss,
}
WITHOUT_KAPPA = {name for name in FUNCTIONS if "exponential" in name}
WITHOUT_WEIGHTS = {"nce_loss_terms"}

# arguments -> error, and what its message must name: the argument, what was expected, what came.
SAMPLES = {
    "empty data": (
        (GOOD[:, :0], GOOD),
        ValueError,
        ["log_ratio_data", "at least 1 sample", "(3, 0)"],
    ),
    "empty noise": (
        (GOOD, GOOD[:, :0]),
        ValueError,
        ["log_ratio_noise", "at least 1 sample", "(3, 0)"],
    ),
    "scalar": (
        (jnp.float32(1), GOOD),
        ValueError,
        ["log_ratio_data", "at least one axis", "scalar"],
    ),
    "integers": ((GOOD.astype(int), GOOD), TypeError, ["log_ratio_data", "floating", "int32"]),
    "booleans": ((GOOD, GOOD > 0), TypeError, ["log_ratio_noise", "floating", "bool"]),
    "complex": (
        (GOOD, GOOD.astype(np.complex64)),
        TypeError,
        ["log_ratio_noise", "floating", "complex64"],
    ),
    "text": (("abc", GOOD), TypeError, ["log_ratio_data", "floating"]),
    "list of integers": (([1, 2], [1.0, 2.0]), TypeError, ["log_ratio_data", "floating", "int"]),
    "nothing": ((None, GOOD), TypeError, ["log_ratio_data", "floating", "got None"]),
    "a table": (
        (pd.DataFrame({"s": [1.0, 2.0]}), GOOD),
        TypeError,
        ["log_ratio_data", "floating", "a DataFrame of shape (2, 1); pass one column"],
    ),
    "list of texts": (
        (GOOD, ["1.5", "2.5"]),
        TypeError,
        ["log_ratio_noise", "floating", "a list of length 2 and entries of dtype <U3"],
    ),
    "ragged list": (
        ([[1.0], [1.0, 2.0]], GOOD),
        TypeError,
        ["log_ratio_data", "floating", "a list of length 2"],
    ),
    "a function": ((nce_jax.nce_loss, GOOD), TypeError, ["log_ratio_data", "function nce_loss"]),
    "a class": ((GOOD, jnp.ndarray), TypeError, ["log_ratio_noise", "the class"]),
    "a key": ((GOOD, jax.random.key(0)), TypeError, ["log_ratio_noise", "dtype key<fry>"]),
    "a cure": ((GOOD.astype(int), GOOD), TypeError, [".astype(float) converts it"]),
    "another cure": ((GOOD, GOOD + 1j), TypeError, ["jnp.real takes the real part"]),
    "other batch": ((GOOD, GOOD[:2]), ValueError, ["log_ratio_noise", "(3,)", "(2, 5)"]),
    "other rank": ((GOOD, GOOD[0]), ValueError, ["log_ratio_noise", "(3,)", "(5,)"]),
}
WEIGHTS = {
    "too few": (jnp.ones((3, 4)), ValueError, ["(3, 5)", "(3, 4)"]),
    "scalar": (2.0, ValueError, ["(3, 5)", "()"]),
    "extra axis": (jnp.ones((2, 3, 5)), ValueError, ["(3, 5)", "(2, 3, 5)"]),
    "other batch": (jnp.ones((2, 5)), ValueError, ["(3, 5)", "(2, 5)"]),
    "integers": (jnp.ones((3, 5), int), TypeError, ["floating", "int32", ".astype(float)"]),
    "text": ("ones", TypeError, ["weights", "str 'ones'"]),
    "texts": (["1"] * 5, TypeError, ["weights", "a list of length 5"]),
    "a function": (jnp.ones, TypeError, ["weights", "the function ones"]),
    "complex": (jnp.ones(5) + 0j, TypeError, ["floating", "complex64"]),
    "a table": (pd.DataFrame(np.ones((3, 5))), TypeError, ["weights", "a DataFrame"]),
    "negative list": ([1.0, 1.0, -0.5, 1.0, 1.0], ValueError, [">= 0", "-0.5"]),
    "negative numpy": (np.array([1, 1, -0.5, 1, 1], np.float32), ValueError, [">= 0", "-0.5"]),
}
NUMBERS = {
    "zero": (0, ValueError, ["positive", "0"]),
    "negative": (-2.5, ValueError, ["positive", "-2.5"]),
    "nan": (float("nan"), ValueError, ["positive", "nan"]),
    "infinite": (float("inf"), ValueError, ["positive", "inf"]),
    "numpy": (np.float32(-1), ValueError, ["positive", "-1"]),
    "text": ("1", TypeError, ["positive", "'1'"]),
    "truth": (True, TypeError, ["positive", "True"]),
    "a function": (nce_jax.newton, TypeError, ["positive", "the function newton"]),
    "complex": (1j, TypeError, ["positive", "complex"]),
    "complex array": (jnp.ones(3) * 1j, TypeError, ["number", "complex64"]),
    "a key": (jax.random.key(0), TypeError, ["number", "key<fry>"]),
    "shape": (jnp.ones((2,)), ValueError, ["(3,)", "(2,)"]),
}


def refuses(call, error, words):
    with pytest.raises(error) as caught:
        call()
    assert type(caught.value) is error
    for word in words:
        assert word in str(caught.value), (word, str(caught.value))


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("name", SAMPLES)
def test_samples(function, name):
    arguments, error, words = SAMPLES[name]
    refuses(lambda: FUNCTIONS[function](*arguments), error, words)


@pytest.mark.parametrize("function", sorted(FUNCTIONS.keys() - WITHOUT_WEIGHTS))
@pytest.mark.parametrize("side", ["weights_data", "weights_noise"])
@pytest.mark.parametrize("name", WEIGHTS)
def test_weights(function, side, name):
    weights, error, words = WEIGHTS[name]
    refuses(lambda: FUNCTIONS[function](GOOD, GOOD, **{side: weights}), error, [side, *words])


@pytest.mark.parametrize("function", sorted(FUNCTIONS.keys() - WITHOUT_KAPPA))
@pytest.mark.parametrize("argument", ["magnification", "noise_ratio"])
@pytest.mark.parametrize("name", NUMBERS)
def test_numbers(function, argument, name):
    value, error, words = NUMBERS[name]
    refuses(lambda: FUNCTIONS[function](GOOD, GOOD, **{argument: value}), error, [argument, *words])


@pytest.mark.parametrize(
    "function", ["nce_loss", "nce_loss_terms", "exponential_nce_loss", "overlap"]
)
def test_log_partition_of_a_wrong_shape(function):
    call = lambda: FUNCTIONS[function](GOOD, GOOD, log_partition=jnp.ones((2,)))
    refuses(call, ValueError, ["log_partition", "(3,)", "(2,)"])


@pytest.mark.parametrize("function", ["solve_log_partition", "profiled_nce_loss"])
def test_solver_options(function):
    def refused(error, words, **options):
        refuses(lambda: FUNCTIONS[function](GOOD, GOOD, **options), error, words)

    refused(ValueError, ["tolerance", "positive", "0"], tolerance=0)
    refused(ValueError, ["tolerance", "positive", "-1"], tolerance=-1.0)
    refused(ValueError, ["max_steps", "at least 1", "0"], max_steps=0)
    refused(TypeError, ["max_steps", "integer", "2.5"], max_steps=2.5)
    refused(ValueError, ["initial", "(3,)", "(2,)"], initial=jnp.ones((2,)))


def test_samples_without_axes_in_common_are_named_in_the_message():
    refuses(
        lambda: nce_jax.bar(GOOD, GOOD[:2]),
        ValueError,
        ["work_reverse", "work_forward", "(3,)", "(2, 5)"],
    )


def test_counts_of_blocks_and_replicates():
    for value, error in ((0, ValueError), (2.5, TypeError), (True, TypeError)):
        call = lambda value=value: nce_jax.log_partition_standard_error(
            GOOD, GOOD, block_size=value
        )
        refuses(call, error, ["block_size", str(value)])


SOLVER_USERS = {
    "solve_log_partition": functools.partial(nce_jax.solve_log_partition, GOOD, GOOD),
    "profiled_nce_loss": functools.partial(nce_jax.profiled_nce_loss, GOOD, GOOD),
    "bar": functools.partial(nce_jax.bar, GOOD, GOOD),
    "solve_problem": functools.partial(
        log_partition.solve_problem, log_partition.make_problem(GOOD, GOOD)
    ),
    "an equation": functools.partial(criteria.nce().profile, GOOD, GOOD),
    "a closed form": functools.partial(criteria.nwj().profile, GOOD, GOOD),
}
NO_SOLVERS = {
    "uncalled": (nce_jax.newton, "a Solver such as newton(), got the function newton: call it"),
    "with arguments": (nce_jax.fixed_point, "got the function fixed_point: call it"),
    "a class": (log_partition.Solver, "got the class Solver: call it"),
    "nothing": (None, "got None"),
    "text": ("newton", "got str 'newton'"),
    "a criterion": (criteria.nce(), "got a Criterion"),
    "a tuple": ((1, 2, 3), "got a tuple of length 3"),
}


@pytest.mark.parametrize("function", SOLVER_USERS)
@pytest.mark.parametrize("name", NO_SOLVERS)
def test_what_is_no_solver(function, name):
    solver, words = NO_SOLVERS[name]
    refuses(lambda: SOLVER_USERS[function](solver=solver), TypeError, ["solver: expected", words])


@pytest.mark.parametrize("function", SOLVER_USERS)
def test_options_of_a_solve_are_checked_even_where_they_are_not_used(function):
    call = SOLVER_USERS[function]
    refuses(lambda: call(tolerance=-1.0), ValueError, ["tolerance", "-1.0"])
    refuses(lambda: call(tolerance="fine"), TypeError, ["tolerance", "str 'fine'"])
    refuses(lambda: call(max_steps=0), ValueError, ["max_steps", "at least 1"])


@pytest.mark.parametrize(
    "function",
    [
        log_partition.solve_problem,
        log_partition.solve_with_last_iterate,
        lambda problem: log_partition.solve_unless_given(problem, None),
        log_partition.bracket,
        lambda problem: log_partition.check_solution(
            nce_jax.solve_log_partition(GOOD, GOOD), problem=problem
        ),
        lambda problem: log_partition.initial_state(problem, 0.0),
        lambda problem: log_partition.implicit_root(0.0, problem),
        lambda problem: log_partition.log_overlap(problem, 0.0),
    ],
)
def test_what_is_no_problem(function):
    refuses(lambda: function(GOOD), TypeError, ["problem: expected a Problem", "make_problem"])


AT_F = {
    "acceptance_logits": log_partition.acceptance_logits,
    "initial_state": log_partition.initial_state,
    "lacks_overlap": log_partition.lacks_overlap,
    "implicit_root": lambda problem, f: log_partition.implicit_root(f, problem),
    "narrow_bracket": lambda problem, residual: log_partition.narrow_bracket(
        log_partition.initial_state(problem, 0.0), residual
    ),
}


@pytest.mark.parametrize("function", AT_F)
def test_numbers_of_the_equation(function):
    """The value belongs to the lanes of the problem, three of them."""
    problem = log_partition.make_problem(GOOD, GOOD)
    for value, error in (("1", TypeError), (1j, TypeError), (jnp.ones(2), ValueError)):
        with pytest.raises(error, match="^(log_partition|initial|log_overlap|residual): expected"):
            AT_F[function](problem, value)


def test_statuses_and_flags_of_solutions():
    refuses(
        lambda: log_partition.interval_status(jnp.ones(2), jnp.ones(2)),
        TypeError,
        ["status: expected integers"],
    )
    refuses(
        lambda: log_partition.interval_status(jnp.ones(2, int), jnp.ones(3)),
        ValueError,
        ["effective_samples: expected a number or the shape of status", "(3,)"],
    )
    refuses(lambda: log_partition.error_bound("small"), TypeError, ["residual: expected"])
    refuses(lambda: log_partition.narrow_bracket(GOOD, 0.0), TypeError, ["state: expected a State"])
    solution = nce_jax.solve_log_partition(GOOD, GOOD)
    refuses(
        lambda: log_partition.check_solution(solution, allow_no_overlap="no"),
        TypeError,
        ["allow_no_overlap: expected True or False"],
    )


def test_a_factory_needs_a_number():
    """The entries of a batch may be none, and so may the numbers that belong to them."""
    for factory in (nce_jax.fixed_point, lambda m: nce_jax.criteria.nce(magnification=m)):
        refuses(lambda factory=factory: factory(jnp.zeros(0)), ValueError, ["empty array", "(0,)"])
    none = jnp.zeros((0, 5))
    loss = nce_jax.nce_loss(none, none, log_partition=0.0, magnification=jnp.zeros(0))
    assert loss.shape == (0,)


@pytest.mark.parametrize(
    ("criterion", "words"),
    [
        (criteria.nce, "the function nce: call it"),
        (criteria.exponential_nce, "the function exponential_nce: call it"),
        (nce_jax.nce_loss, "the function nce_loss"),
        (criteria.Criterion, "the class Criterion: call it"),
        (0.5, "float 0.5"),
    ],
)
def test_a_regularizer_of_no_criterion(criterion, words):
    call = functools.partial(criteria.ratio_regularized, criterion, 0.1)
    refuses(call, TypeError, ["criterion: expected a Criterion such as nce()", words])
    swapped = functools.partial(criteria.ratio_regularized, criteria.nce(), criteria.nce())
    refuses(swapped, TypeError, ["strength: expected a positive number", "a Criterion"])


@pytest.mark.parametrize(
    ("key", "error", "words"),
    [
        (jax.random.PRNGKey(0), TypeError, ["typed key", "uint32", "wrap_key_data"]),
        (0, TypeError, ["typed key", "int", "jax.random.key(seed)"]),
        (None, TypeError, ["typed key", "None"]),
        (jax.random.split(jax.random.key(0), 2), ValueError, ["single key", "(2,)"]),
        (GOOD, TypeError, ["typed key", "float32"]),
    ],
)
def test_keys(key, error, words):
    bootstrap = functools.partial(nce_jax.bootstrap_log_partition, num_replicates=2)
    refuses(lambda: bootstrap(key, GOOD, GOOD), error, ["key", *words])
    images = jnp.zeros((2, 2), jnp.uint8)
    refuses(lambda: nce_jax.likelihood.dequantize(key, images), error, ["key", *words])


def test_the_distance_from_the_ends_is_a_number():
    for function in (
        nce_jax.likelihood.logit_transform,
        nce_jax.likelihood.inverse_logit_transform,
    ):
        call = functools.partial(function, jnp.zeros((1, 2)), alpha="0.1")
        refuses(call, TypeError, ["alpha: expected a number", "str '0.1'"])


NO_NUMBERS = {
    "text": "0",
    "bytes": b"0",
    "complex": 1j,
    "complex of NumPy": np.complex64(1),
    "truth": True,
    "function": jnp.sin,
    "type": jnp.float32,
    "object": object(),
    "dictionary": {},
    "key": jax.random.key(0),
    "array of text": np.array("0"),
    "dates": np.array("2020", "datetime64[Y]"),
    "masked": np.ma.masked_array([1.0, 2.0, 3.0], [0, 1, 0]),
    "solution": nce_jax.Solution(1.0, 0.0, 1, 0),
}
WRONG_SHAPES = {"of samples": np.ones(5), "with an axis": np.ones((3, 1)), "of two": [1.0, 2.0]}
SCALARS = ["magnification", "noise_ratio", "tolerance", "initial"]


def solve_with(name, value, is_traced):
    if name == "learning_rate":
        name, value = "solver", nce_jax.fixed_point(value)
    solve = functools.partial(nce_jax.solve_log_partition, **{name: value})
    return (jax.jit(solve) if is_traced else solve)(GOOD, GOOD)


@pytest.mark.parametrize("is_traced", [False, True])
@pytest.mark.parametrize("name", [*SCALARS, "learning_rate"])
@pytest.mark.parametrize("kind", NO_NUMBERS)
def test_options_that_are_no_numbers_are_named(name, kind, is_traced):
    with pytest.raises(TypeError, match=f"^{name}: expected a .*number.*, got "):
        solve_with(name, NO_NUMBERS[kind], is_traced)


@pytest.mark.parametrize("is_traced", [False, True])
@pytest.mark.parametrize("name", [*SCALARS, "learning_rate"])
@pytest.mark.parametrize("kind", WRONG_SHAPES)
def test_options_of_a_wrong_shape_are_named(name, kind, is_traced):
    with pytest.raises(ValueError, match=rf"^{name}: expected .* broadcasts to the batch \(3,\)"):
        solve_with(name, WRONG_SHAPES[kind], is_traced)


@pytest.mark.parametrize("argument", ["log_ratio_data", "weights_data"])
def test_arrays_that_jax_cannot_compute_with_are_named(argument):
    values = np.ones((3, 5), np.float32)
    cures = {
        "fills the masked entries": np.ma.masked_array(values, values > 2),
        "astype.jnp.float32. converts": jnp.asarray(values, jnp.float8_e4m3fn),
        "expected .* array, got": values.astype(object),
    }
    for cure, array in cures.items():
        options = {"weights_data": array} if argument == "weights_data" else {}
        data = array if argument == "log_ratio_data" else GOOD
        with pytest.raises(TypeError, match=f"^{argument}: .*{cure}"):
            nce_jax.solve_log_partition(data, GOOD, **options)


def test_arrays_in_another_byte_order_or_wider_than_float64_are_taken():
    values = np.linspace(0, 1, 15, dtype=np.float32).reshape(3, 5)
    wanted = nce_jax.solve_log_partition(values, GOOD, weights_data=values + 1)
    for dtype in (">f4", np.longdouble):
        given, weights = values.astype(dtype), (values + 1).astype(dtype)
        got = nce_jax.solve_log_partition(given, GOOD, weights_data=weights)
        np.testing.assert_allclose(got.log_partition, wanted.log_partition, rtol=1e-6)
