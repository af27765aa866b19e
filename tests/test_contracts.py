"""The objects that a user hands in: what is refused, in which words, and what passes."""

import re

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pandas
import pytest

from nce_jax import _contracts as contracts
from nce_jax import noise

X = jnp.zeros((5, 2))


class Unnormalized:
    """Draws, but has no density."""

    def sample_and_log_prob(self, *, seed, sample_shape):
        raise NotImplementedError


NOISES = {
    "None": (None, TypeError, "got None"),
    "a class": (distrax.Normal, TypeError, "got the class Normal; call the class"),
    "a function": (noise.standard_normal, TypeError, "the function standard_normal; if it makes"),
    "an array": (X, TypeError, "shape (5, 2) and dtype float32; samples have no density"),
    "without log_prob": (Unnormalized(), TypeError, "an Unnormalized without log_prob"),
    "something else": (3.0, TypeError, "got float 3.0"),
    "one density per dimension": (
        distrax.Normal(jnp.zeros(2), jnp.ones(2)),
        ValueError,
        "got a Normal with batch shape (2,), which gives one log density per dimension;"
        " distrax.Independent(noise, 1)",
    ),
}


@pytest.mark.bad_input
@pytest.mark.parametrize("case", NOISES)
def test_wrong_noises_are_named_with_the_cure(case):
    wrong, error, message = NOISES[case]
    with pytest.raises(error, match=r"^q: expected .*" + re.escape(message)):
        contracts.check_noise(wrong, "q")


@pytest.mark.parametrize("name", [name for name in noise.__all__ if name != "Noise"])
def test_every_noise_of_the_library_passes(name):
    arguments = {
        "as_noise": (noise.standard_normal(2),),
        "categorical": (np.ones(3),),
        "log_uniform": (5,),
        "standard_normal": (2,),
        "uniform_box": (0.0, [1.0, 2.0]),
        "unigram": (np.array([1, 2, 3]),),
    }
    x = np.random.default_rng(0).normal(size=(9, 2)).astype(np.float32)
    contracts.check_noise(getattr(noise, name)(*arguments.get(name, (x,))))


def test_a_noise_is_checked_inside_a_transformation_and_by_the_methods_that_are_used():
    def log_q(loc, x):
        wide = distrax.Normal(loc, 1.0)
        contracts.check_noise(wide)
        return wide.log_prob(x)

    assert jax.jit(jax.vmap(log_q))(jnp.zeros(3), jnp.zeros(3)).shape == (3,)
    contracts.check_noise(Unnormalized(), methods=("sample_and_log_prob",))


@pytest.mark.bad_input
def test_a_noise_of_unknown_shape_is_refused_by_its_values():
    message = r"^noise: expected one log density .*\(5,\), got shape \(5, 2\) from log_prob"
    with pytest.raises(ValueError, match=message):
        contracts.check_noise_values(jnp.zeros((5, 2)), X)
    with pytest.raises(ValueError, match=r"noise.log_prob: expected one value .* got shape \(\)"):
        contracts.check_noise_values(jnp.zeros(()), X)
    contracts.check_noise_values(jnp.zeros(5), X)
    contracts.check_noise_values(jnp.zeros(5), jnp.zeros(5))


SHAPES = {
    "too few axes": (jnp.zeros(5), "(samples, 2), since the noise is over samples of shape (2,)"),
    "one sample": (jnp.zeros(2), "got shape (2,); x[None] is a batch of one sample"),
    "images": (jnp.zeros((5, 1, 2)), "got shape (5, 1, 2); x.reshape(len(x), 2) has it"),
    "more dimensions": (jnp.zeros((5, 3)), "got shape (5, 3)"),
}


@pytest.mark.bad_input
@pytest.mark.parametrize("case", SHAPES)
def test_data_of_another_shape_than_the_noise_are_named(case):
    x, message = SHAPES[case]
    with pytest.raises(ValueError, match=r"^x: expected .*?" + re.escape(message)):
        contracts.check_event_shape("x", x, noise.standard_normal(2))


def test_data_of_the_noise_s_shape_pass_and_so_do_those_that_cannot_be_compared():
    contracts.check_event_shape("x", X, noise.standard_normal(2))
    contracts.check_event_shape("x", jnp.zeros(5), distrax.Normal(0.0, 1.0))
    contracts.check_event_shape("x", jnp.zeros((5, 9)), Unnormalized())
    contracts.check_event_shape("x", {"a": X, "b": jnp.zeros(5)}, Unnormalized())


@pytest.mark.bad_input
def test_several_arrays_are_refused_for_a_noise_over_one():
    with pytest.raises(TypeError, match=r"x: expected one array .* got a dict .*training.Batch"):
        contracts.check_event_shape("x", {"a": X, "b": jnp.zeros(5)}, noise.standard_normal(2))


VALUES = {
    "None": (None, TypeError, "got None; does the function return its result?"),
    "a tuple": ((X, X), TypeError, "got a tuple of length 2; return the log density alone"),
    "a list": ([0.0], TypeError, "got a list of length 1; return one array"),
    "a number": (1.0, TypeError, "got float 1.0"),
    "a mean over samples": (jnp.zeros(()), ValueError, "got shape () for samples of shape (5, 2);"),
    "a column": (jnp.zeros((5, 1)), ValueError, "drop the last axis, as in values[:, 0]"),
    "one per dimension": (X, ValueError, "one per dimension: add up the last axis"),
    "one per parameter": (jnp.zeros(2), ValueError, "got shape (2,) for samples"),
    "integers": (jnp.zeros(5, jnp.int32), TypeError, "got dtype int32"),
}


@pytest.mark.bad_input
@pytest.mark.parametrize("case", VALUES)
def test_wrong_values_of_a_model_are_named_with_the_cure(case):
    wrong, error, message = VALUES[case]
    with pytest.raises(error, match="^f: expected .*" + re.escape(message)):
        contracts.as_values("f", wrong, X)
    with pytest.raises(error, match="^log_density_fn: expected .*" + re.escape(message)):
        contracts.evaluate_model(lambda params, x: wrong, jnp.zeros(2), X)


def test_values_pass_with_batch_axes_as_a_column_and_as_a_description():
    stages = contracts.as_values("f", np.zeros((3, 5)), jnp.zeros((3, 5, 2)), num_batch_axes=1)
    assert isinstance(stages, jax.Array)
    assert stages.shape == (3, 5)
    assert contracts.as_values("f", jnp.zeros((5, 1)), X, allow_column=True).shape == (5,)
    contracts.check_values("f", jax.eval_shape(lambda x: x[:, 0], X), X)
    assert contracts.as_values("f", jnp.zeros(5), {"a": X}).shape == (5,)
    with pytest.raises(ValueError, match=r"shape \(5,\), got shape \(5, 1\) for .* \(5, 2\)"):
        contracts.as_values("f", jnp.zeros((3, 5, 1)), jnp.zeros((3, 5, 2)), num_batch_axes=1)


@pytest.mark.bad_input
def test_an_error_inside_a_model_says_how_it_was_called():
    def swapped(x, params):
        return x @ params["weights"]

    with pytest.raises(TypeError) as caught:
        jax.jit(lambda x: contracts.evaluate_model(swapped, {"weights": jnp.zeros(2)}, x))(X)
    assert any("called as log_density_fn(params, x)" in note for note in caught.value.__notes__)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (None, "got None"),
        ((X, np.sum), "a tuple of length 2; unpack the pair"),
        (noise.standard_normal(2), "the model comes before the noise"),
        (distrax.Normal, "the class Normal"),
    ],
)
def test_what_is_no_function_is_no_model(wrong, message):
    with pytest.raises(TypeError, match="^f: expected a function of parameters .*" + message):
        contracts.check_log_density_fn(wrong, "f")


PARAMS = {
    "None": (None, "got None"),
    "nothing": ((), "got a tuple of length 0"),
    "integers": ({"w": {"b": jnp.arange(2)}}, "got dtype int32 at params['w']['b']; jnp.asarray"),
    "a number": (1, "got int 1"),
    "text": ({"w": "a"}, "got str 'a' at params['w']"),
    "a function": (np.sum, "got the function sum"),
    "a model": ((X, np.sum), "got the function sum at params[1]; unpack the pair"),
    "a key": (jax.random.key(0), "got dtype key<fry>"),
}


@pytest.mark.bad_input
@pytest.mark.parametrize("case", PARAMS)
def test_wrong_parameters_are_named_with_their_position(case):
    wrong, message = PARAMS[case]
    expected = "^params: expected a pytree of floating arrays, .*"
    with pytest.raises(TypeError, match=expected + re.escape(message)):
        contracts.check_params(wrong)


def test_floating_parameters_pass():
    contracts.check_params({"w": X, "b": [0.5, np.float32(1.0)], "none": None})
    jax.jit(contracts.check_params)(X)


DATA = {
    "a DataFrame": (pandas.DataFrame({"a": [1.0]}), TypeError, "a pandas DataFrame; x.to_numpy()"),
    "a Series": (pandas.Series([1.0]), TypeError, "a pandas Series; x.to_numpy()"),
    "text": (np.array(["a"]), TypeError, "numbers, got an array of dtype <U1"),
    "categories": (np.array(["a", 1.0], object), TypeError, "pandas.get_dummies(..., dtype=float)"),
    "truth values and objects": (np.array([True, None]), TypeError, "OneHotEncoder makes numbers"),
    "a list": ([1.0, 2.0], TypeError, "got a list of length 2; np.asarray(x) makes one"),
    "None": (None, TypeError, "got None"),
    "a name": ("x.npy", TypeError, "got str 'x.npy'"),
    "a scalar": (jnp.zeros(()), ValueError, "got a scalar"),
    "a leaf": ({"a": X, "b": "c"}, TypeError, "got str 'c'"),
}


@pytest.mark.bad_input
@pytest.mark.parametrize("case", DATA)
def test_wrong_data_are_named_with_the_cure(case):
    wrong, error, message = DATA[case]
    with pytest.raises(error, match="^x: expected .*?" + re.escape(message)):
        contracts.check_data("x", wrong)


def test_arrays_of_numbers_pass_as_data():
    contracts.check_data("x", {"a": X, "b": (np.zeros(3, np.uint8), np.zeros(3, bool))})
    jax.jit(lambda x: contracts.check_data("x", x))(X)
