"""The checks of options: what they refuse, in which words, and what they take."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nce_jax import _contracts as contracts
from nce_jax import _options as options
from nce_jax import (
    adaptive_magnification,
    adaptive_noise,
    diagnostics,
    likelihood,
    losses,
    models,
    noise,
    ratio_estimation,
    samplers,
    training,
)

KEY = jax.random.key(0)
X = jnp.ones((12, 2))
PUBLIC = {
    "inverse_mass_matrix": lambda bad: samplers.hmc(0.1, 2, inverse_mass_matrix=bad),
    "step_size": lambda bad: samplers.mala(bad),
    "target_acceptance": lambda bad: samplers.adapt_step_size(
        KEY, X.sum, X, kernel_fn=samplers.mala, step_size=0.1, num_steps=1, target_acceptance=bad
    ),
    "smallest": lambda bad: adaptive_magnification(smallest=bad),
    "largest": lambda bad: adaptive_magnification(largest=bad),
    "alpha": lambda bad: likelihood.logit_transform(X, alpha=bad),
    "images": lambda bad: likelihood.dequantize(KEY, bad),
    "log_likelihood": lambda bad: likelihood.bits_per_dimension(bad, num_dims=2),
    "log_partition": lambda bad: diagnostics.self_normalization(X, embedding=X, log_partition=bad),
    "log_forward": lambda bad: losses.conditional_nce_loss(X[0], X[:2], log_forward=bad),
    "dtype": lambda bad: noise.standard_normal(2, dtype=bad),
    "activation": lambda bad: models.conv_energy(KEY, (2, 2, 1), activation=bad),
    "sufficient_statistics": lambda bad: models.exponential_family(bad, jnp.ones(2)),
    "hidden": lambda bad: adaptive_noise.flow(KEY, X, hidden=bad),
    "criterion": lambda bad: ratio_estimation.fit_log_ratio(KEY, X, X, criterion=bad),
    "optimizer": lambda bad: ratio_estimation.fit_log_ratio(KEY, X, X, optimizer=bad),
    "progress": lambda bad: adaptive_noise.fit_flow(KEY, X, progress=bad),
    "warm_start": lambda bad: training.solved(warm_start=bad),
    "log_density_fn": lambda bad: training.make_train_step(bad, noise.standard_normal(2)),
}


@pytest.mark.bad_input
@pytest.mark.parametrize("name", PUBLIC)
def test_public_functions_check_their_options(name):
    for bad in ("many", 1j, np.array(["a", "b"])):
        with pytest.raises(TypeError, match=f"^{name}: expected"):
            PUBLIC[name](bad)


@pytest.mark.bad_input
def test_values_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="inverse_mass_matrix: expected a diagonal .* shape"):
        samplers.hmc(0.1, 2, inverse_mass_matrix=jnp.ones((2, 3)))
    with pytest.raises(ValueError, match="activation: expected an elementwise function"):
        models.conv_energy(KEY, (2, 2, 1), activation=len)
    with pytest.raises(ValueError, match="x_data: expected finite samples, got nan"):
        noise.uniform_box_around(X.at[0, 0].set(jnp.nan))
    with pytest.raises(ValueError, match=r"expected shape \(3, K\) for log_density_data of shape"):
        losses.conditional_nce_loss(jnp.ones(3), jnp.ones((4, 2)))
    with pytest.raises(ValueError, match=r"x_data: expected at least one sample, got shape \(0,"):
        ratio_estimation.fit_log_ratio(KEY, X[:0], X)


WITH_NUMBER = functools.partial(options.check_number, expected="a number >= 0")
REFUSED = {
    "a number for a flag": (options.check_flag, 1, TypeError, "True or False, got int 1"),
    "an array for a flag": (options.check_flag, np.ones(2), TypeError, "True or False, got an"),
    "a text for a fraction": (options.check_fraction, "half", TypeError, "a number between 0"),
    "several fractions": (options.check_fraction, jnp.ones(2), ValueError, "a number between 0"),
    "a NaN for a fraction": (options.check_fraction, float("nan"), ValueError, ".*, got nan"),
    "one for a fraction": (options.check_fraction, 1, ValueError, ".*, got 1"),
    "no number": (WITH_NUMBER, 1j, TypeError, "a number >= 0, got complex 1j"),
    "no path": (lambda name, x: options.as_folder(x, name), 3, TypeError, "a path .* got int 3"),
    "a class for a path": (lambda name, x: options.as_folder(x, name), Path, TypeError, "a path"),
    "no function": (options.check_function, 3, TypeError, "a function of samples, got int 3"),
    "a class": (options.check_function, dict, TypeError, "a function of .* the class dict"),
    "another count": (
        options.check_function,
        lambda params, x: x,
        TypeError,
        r"a function of samples, got .* with parameters \(params, x\)",
    ),
    "a number for sizes": (options.as_sizes, 8, TypeError, "a tuple of integers, got int 8"),
    "a text for sizes": (options.as_sizes, "88", TypeError, "a tuple of integers, got str"),
    "a text for a dtype": (options.check_float_dtype, "many", TypeError, "a floating dtype"),
    "integers": (options.check_float_dtype, jnp.int32, TypeError, "a floating dtype"),
    "None for a dtype": (options.check_float_dtype, None, TypeError, "a floating dtype .* None"),
    "an object in a tree": (
        contracts.check_arrays,
        {"a": object()},
        TypeError,
        r"a pytree of arrays .* got an object at name\['a'\]",
    ),
    "texts in a tree": (contracts.check_arrays, np.array(["a"]), TypeError, "a pytree of arrays"),
}


@pytest.mark.bad_input
@pytest.mark.parametrize("case", REFUSED)
def test_an_option_of_the_wrong_kind_is_named(case):
    check, value, error, words = REFUSED[case]
    with pytest.raises(error, match=f"^name: expected {words}"):
        check("name", value)


def test_right_options_pass():
    for flag in (True, False, np.bool_(True)):
        options.check_flag("name", flag)
    for number in (0.5, np.float32(0.5), jnp.float32(0.5)):
        options.check_fraction("name", number)
    for function in (len, jnp.tanh, np.exp, functools.partial(pow, 2), jax.jit(jnp.sin)):
        options.check_function("name", function)
    for dtype in (jnp.bfloat16, np.float64, "float16", jnp.dtype("float32"), float):
        options.check_float_dtype("name", dtype)
    assert options.as_sizes("name", [np.int64(3), 2]) == (3, 2)
    assert options.as_sizes("name", np.array([3, 2])) == (3, 2)
    assert options.as_sizes("name", ()) == ()
    assert options.as_folder(None) is None
    assert options.as_folder("runs") == options.as_folder(Path("runs")) == Path("runs")
    contracts.check_arrays("name", (1, 2.0, jnp.ones(2), jax.random.key(0), None, np.int8(1)))
