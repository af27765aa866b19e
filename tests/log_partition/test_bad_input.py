"""Arguments of the wrong kind are refused on entry, by a message that names them, what was
expected, and what came.
"""

import jax.numpy as jnp
import numpy as np
import pytest

import nce_jax

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
    "nothing": ((None, GOOD), TypeError, ["log_ratio_data", "floating"]),
    "other batch": ((GOOD, GOOD[:2]), ValueError, ["log_ratio_noise", "(3,)", "(2, 5)"]),
    "other rank": ((GOOD, GOOD[0]), ValueError, ["log_ratio_noise", "(3,)", "(5,)"]),
}
WEIGHTS = {
    "too few": (jnp.ones((3, 4)), ValueError, ["(3, 5)", "(3, 4)"]),
    "scalar": (2.0, ValueError, ["(3, 5)", "()"]),
    "extra axis": (jnp.ones((2, 3, 5)), ValueError, ["(3, 5)", "(2, 3, 5)"]),
    "other batch": (jnp.ones((2, 5)), ValueError, ["(3, 5)", "(2, 5)"]),
    "integers": (jnp.ones((3, 5), int), TypeError, ["floating", "int32"]),
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
