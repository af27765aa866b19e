"""What every public function of log-ratio arrays promises, found by iteration: the same numbers
under `jit`, and a computation in the dtype given, but never in less than float32.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.slow import slow_but
from tests.test_signatures import FUNCTIONS, LOG_RATIO_FUNCTIONS, PARAMETERS

BATCH, SAMPLES, SETS = 3, 8, 4
GENERATOR = np.random.default_rng(0)
# Multiples of 1/8 below 4: exact in bfloat16 too.
VALUES = np.round(8 * GENERATOR.uniform(-3, 3, (2, BATCH, SAMPLES, SETS))) / 8
SHAPES = {  # where it is not (BATCH, SAMPLES)
    ("conditional_nce_loss", "log_density_noise"): (BATCH, SAMPLES, SETS),
    ("joint_log_partitions", "log_ratios"): (BATCH, SETS, SAMPLES),
    ("mean_log_ratio", "log_ratio"): (SAMPLES,),
    ("nre_b_loss", "log_ratio_noise"): (BATCH, SAMPLES, SETS),
    ("nre_c_loss", "log_ratio_noise"): (BATCH, SAMPLES, SETS),
    ("nre_c_loss", "log_ratio_contrast"): (BATCH, SAMPLES, SETS - 1),
}
COUNTS = {"num_candidates": 5.0, "num_replicates": 3}
ARRAYS = ("log_ratio", "log_density", "rewards", "score_", "work_", "loss_terms", "log_weights")
# Names, so that a function that two modules hand on is called once.
NAMES = sorted({name.rpartition(".")[2]: name for name in LOG_RATIO_FUNCTIONS}.values())


def arguments(name: str, dtype) -> tuple[dict, dict]:
    """Arrays, the first of the data's kind and the others of the noise's, and everything else."""
    arrays, options = {}, {}
    function = name.rpartition(".")[2]
    for parameter in PARAMETERS[name]:
        shape = SHAPES.get((function, parameter.name), (BATCH, SAMPLES))
        is_needed = parameter.default is parameter.empty or (function, parameter.name) in SHAPES
        if parameter.name == "key":
            options["key"] = jax.random.key(0)
        elif parameter.name in COUNTS:
            options[parameter.name] = COUNTS[parameter.name]
        elif is_needed and parameter.name.startswith(ARRAYS):
            # The last axes of the table that the shape leaves out are taken at zero.
            index = {1: np.s_[0, :, 0], 2: np.s_[:, :, 0], 3: np.s_[:, :, : shape[-1]]}[len(shape)]
            values = VALUES[int(bool(arrays))]
            values = values.swapaxes(1, 2) if shape == (BATCH, SETS, SAMPLES) else values[index]
            arrays[parameter.name] = jnp.asarray(values, dtype)
        elif parameter.default is parameter.empty:
            raise AssertionError(f"{name}: no value for {parameter.name}; say which one to take")
    return arrays, options


def floating(tree) -> list[jax.Array]:
    return [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating)]


@pytest.mark.parametrize(
    "name",
    slow_but(
        [n for n in NAMES if not any(s in n for s in ("joint_log", "bootstrap", "chain"))], NAMES
    ),
)
def test_jit_changes_nothing(name, x64):
    """To rounding: XLA fuses, and so rounds elsewhere."""
    arrays, options = arguments(name, jnp.float64)
    eager = FUNCTIONS[name](**arrays, **options)
    compiled = jax.jit(lambda arrays: FUNCTIONS[name](**arrays, **options))(arrays)
    assert jax.tree.structure(eager) == jax.tree.structure(compiled)
    for one, other in zip(jax.tree.leaves(eager), jax.tree.leaves(compiled), strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        assert one.dtype in (np.float64, np.int32, np.bool_)
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("is_traced", [True, pytest.param(False, marks=pytest.mark.costly)])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("name", NAMES)
def test_a_dtype_is_kept_even_under_x64(name, dtype, is_traced, x64):
    arrays, options = arguments(name, dtype)
    call = lambda arrays: FUNCTIONS[name](**arrays, **options)
    result = floating(jax.eval_shape(call, arrays) if is_traced else call(arrays))
    assert result
    assert {leaf.dtype for leaf in result} == {np.dtype(dtype)}


@pytest.mark.parametrize("name", slow_but(NAMES[::3], NAMES))
def test_half_precision_is_computed_in_float32(name):
    """The values are exact in bfloat16, so that the result is that of float32 to the last bit.

    Weights make the program that of the test of their scale.
    """
    arrays, options = arguments(name, jnp.float32)
    weights = weights_of(name, arrays, np.random.default_rng(1))
    options |= {word: jnp.asarray(values, jnp.float32) for word, values in weights.items()}
    halves = {word: array.astype(jnp.bfloat16) for word, array in arrays.items()}
    half, single = (floating(FUNCTIONS[name](**given, **options)) for given in (halves, arrays))
    for one, other in zip(half, single, strict=True):
        assert one.dtype == jnp.float32
        np.testing.assert_array_equal(one, other)


WEIGHTED = [name for name in NAMES if any(p.name.startswith("weights") for p in PARAMETERS[name])]


def weights_of(name: str, arrays: dict, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Weights over ten decades, for every argument that takes them."""
    names = [p.name for p in PARAMETERS[name] if p.name.startswith("weights")]
    last = ("weights_noise", "weights_reverse")
    shapes = {word: list(arrays.values())[-1 if word in last else 0].shape for word in names}
    if name.endswith("joint_log_partitions"):  # one for a sample, at which all stages have values
        shapes = {"weights": (SETS, SAMPLES)}
    return {word: 10 ** rng.uniform(-10, 0, shape) for word, shape in shapes.items()}


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.costly)])
@pytest.mark.parametrize("name", slow_but(WEIGHTED[::3], WEIGHTED))
def test_the_scale_of_weights_changes_nothing(name, dtype):
    """Powers of two, so that the ratios of the weights stay the same to the last bit."""
    largest = 120 if dtype == "float32" else 980
    with jax.enable_x64(dtype == "float64"):
        arrays, options = arguments(name, dtype)
        weights = weights_of(name, arrays, np.random.default_rng(1))
        results = [
            FUNCTIONS[name](
                **arrays,
                **options,
                **{
                    word: jnp.asarray(np.asarray(values, dtype) * np.dtype(dtype).type(2) ** scale)
                    for (word, values), scale in zip(weights.items(), scales, strict=False)
                },
            )
            for scales in ((0, 0), (30 - largest, 3), (-40, largest), (largest, 30 - largest))
        ]
        for other in results[1:]:
            jax.tree.map(np.testing.assert_array_equal, results[0], other)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_largest_weights_are_weights_in_a_compiled_program(dtype):
    """Its division multiplies by the reciprocal, which underflows beyond 1 / the least normal."""
    with jax.enable_x64(dtype == "float64"):
        data, noise = (jnp.asarray(VALUES[side, 0, :, 0], dtype) for side in (0, 1))
        weights = jnp.asarray(np.random.default_rng(0).uniform(0.5, 1, SAMPLES), dtype)
        largest = 2.0 ** (127 if dtype == "float32" else 1023)

        @jax.jit
        def of(weights):
            solved = FUNCTIONS["nce_jax.solve_log_partition"](data, noise, weights_data=weights)
            loss = FUNCTIONS["nce_jax.nce_loss"](
                data, noise, log_partition=0.0, weights_data=weights
            )
            return solved.log_partition, loss

        np.testing.assert_allclose(of(weights * largest), of(weights), rtol=1e-6)


def test_weights_that_only_numpy_holds():
    """Host arrays and float64 weights are scaled before they are rounded to the samples' dtype."""
    data, noise = VALUES[0, 0, :, 0].astype(np.float32), VALUES[1, 0, :, 0].astype(np.float32)
    weights = np.random.default_rng(0).uniform(size=SAMPLES)
    wanted = FUNCTIONS["nce_jax.solve_log_partition"](data, noise, weights_data=weights)
    for x64 in (False, True):
        with jax.enable_x64(x64):
            got = FUNCTIONS["nce_jax.solve_log_partition"](
                data, noise, weights_data=(jnp.asarray if x64 else np.asarray)(weights * 2.0**-900)
            )
            np.testing.assert_array_equal(got.log_partition, wanted.log_partition)
