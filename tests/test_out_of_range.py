"""Numbers out of their range, over every public function that takes one, found by iteration.

Where the value is known, outside of `jit`, the call raises and names the argument. Where it is
traced, the result is NaN or has a status: never a plausible number.
"""

import importlib
import inspect
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nce_jax
from nce_jax import Status
from tests.test_public_docs import is_own_function, public_names

POSITIVE = (-1.0, 0.0, np.inf, np.nan)
RANGES = {
    "magnification": POSITIVE,
    "noise_ratio": POSITIVE,
    "temperature": POSITIVE,
    "gamma": POSITIVE,
    "preference": (-0.5, 1.5, np.nan),
    "num_candidates": POSITIVE,
    "statistical_inefficiency": (0.5, -1.0, np.nan),
    "log_partition_standard_error": (-0.1, np.nan),
    "strength": (-1.0, np.inf, np.nan),
}
"""Values out of range of the traced numbers; every weight is tried as well."""

N, K = 12, 3
_DATA, _NOISE = (
    (shift + np.random.default_rng(seed).normal(size=N)).astype(np.float32)
    for seed, shift in enumerate((0.5, -0.5))
)
_VECTORS = jnp.asarray(np.random.default_rng(2).normal(size=(N, 4)), jnp.float32)
KNOWN = {
    "key": jax.random.key(0),
    "log_ratio_data": jnp.asarray(_DATA),
    "log_ratio_noise": jnp.asarray(_NOISE),
    "log_ratio_model": jnp.asarray(_DATA),
    "log_ratio": jnp.asarray(_DATA),
    "log_density": jnp.asarray(_DATA),
    "rewards": jnp.asarray(_NOISE),
    "score_chosen": jnp.asarray(_DATA),
    "score_rejected": jnp.asarray(_NOISE),
    "log_density_data": jnp.asarray(_DATA),
    "log_density_noise": jnp.tile(jnp.asarray(_NOISE)[:, None], (1, K)),
    "log_weights": jnp.asarray(_DATA),
    "loss_terms": jnp.asarray(_DATA),
    "work_forward": 1 + jnp.asarray(_DATA),
    "work_reverse": 1 - jnp.asarray(_NOISE),
    "num_candidates": 5.0,
    "num_replicates": 4,
    "x": _VECTORS,
    "y": _VECTORS[::-1],
    "hidden": _VECTORS,
    "targets": jnp.arange(N) % 5,
    "noise_ids": jnp.arange(K),
    "embedding": _VECTORS[:6],
    "log_noise_targets": jnp.full(N, -1.0),
    "log_noise_ids": jnp.full(K, -1.0),
}
"""Valid values of required arguments."""

SHAPES = {
    **{
        name: {side: KNOWN[side][None] for side in ("work_forward", "work_reverse")}
        for name in ("bar_chain", "bar_chain_convergence", "bootstrap_bar_chain")
    },
    "nre_b_loss": {"log_ratio_noise": KNOWN["log_density_noise"]},
    "nre_c_loss": {"log_ratio_noise": jnp.asarray(_NOISE)[:, None]},
    "joint_standard_error": {
        name: KNOWN[name][None] for name in ("log_ratio_data", "log_ratio_noise")
    },
    "mean_log_ratio": {name: KNOWN[name][None] for name in ("log_ratio_data", "log_ratio_noise")},
    "stage_diagnostics": {
        name: KNOWN[name][None] for name in ("log_ratio_data", "log_ratio_noise")
    },
    "supervised_contrastive_loss": {"labels": jnp.arange(N) % 3},
    "supervised_contrastive_loss_terms": {"labels": jnp.arange(N) % 3},
}
"""Where a function takes an argument in another shape."""


def cases():
    for module, name in sorted(public_names(), key=len):
        function = getattr(importlib.import_module(module), name)
        if not is_own_function(function) or module.startswith("nce_jax.criteria"):
            continue
        parameters = inspect.signature(function).parameters
        required = [p.name for p in parameters.values() if p.default is p.empty]
        if not required or not set(required) <= set(KNOWN):
            continue
        given = {p: KNOWN[p] for p in required} | SHAPES.get(name, {})
        for argument in parameters:
            if argument in RANGES or argument.startswith("weights"):
                yield pytest.param(function, given, argument, id=f"{module}.{name}-{argument}")


CASES = list({case.values[0].__qualname__ + case.values[2]: case for case in cases()}.values())


def test_the_iteration_finds_them():
    names = {case.values[0].__name__ for case in CASES}
    assert names >= {"nce_loss", "bar", "overlap", "info_nce_loss", "joint_standard_error"}
    assert len(CASES) > 60


def bad_values(function, given, argument):
    if argument in RANGES:
        return RANGES[argument]
    if function.__name__ == "conditional_nce_loss" and argument == "weights_noise":
        return [np.ones((N, K), np.float32) * np.where(np.arange(K) == 1, -0.5, 1)]
    if argument in ("weights_noise", "weights_reverse") and function.__name__ == "nre_b_loss":
        return []
    return [np.where(np.arange(N) == 1, -0.5, 1).astype(np.float32)]


@pytest.mark.parametrize(("function", "given", "argument"), CASES)
def test_known_values_raise(function, given, argument):
    for bad in bad_values(function, given, argument):
        for array in (np.asarray(bad, np.float32), jnp.asarray(bad, jnp.float32)):
            with pytest.raises(ValueError, match=rf"{argument}\w*: expected"):
                function(**given | {argument: array})


@pytest.mark.parametrize(
    ("function", "given", "argument"),
    [case for case in CASES if case.values[2] in RANGES.keys() - {"preference"}],
)
def test_numbers_that_float32_does_not_hold_raise(function, given, argument):
    small = (1e-46,) if RANGES[argument] is POSITIVE else ()  # elsewhere as good as 0
    for bad in (1e39, np.float64(1e300), *small):
        with pytest.raises(ValueError, match=rf"{argument}: expected a number that float32 holds"):
            function(**given | {argument: bad})


@pytest.mark.parametrize("dtype", [np.float16, jnp.bfloat16, np.float32])
def test_numbers_of_a_lower_precision_are_compared_in_silence(dtype):
    """The range of float32 is beyond that of half precision; warnings are errors in tests."""
    sides, vectors = (jnp.ones(2), jnp.zeros(2)), (jnp.eye(2), jnp.eye(2))
    with jax.numpy_dtype_promotion("standard"):
        for number in (np.asarray(2, dtype), jnp.asarray(2, dtype)):
            nce_jax.nce_loss(*sides, magnification=number)
            nce_jax.losses.balanced_nre_loss(*sides, strength=number)
            nce_jax.losses.clip_loss(*vectors, temperature=number)


@cache
def program_of(qualname):
    """The jitted function, and right values of all arguments that are tried."""
    tried = [case.values for case in CASES if case.values[0].__qualname__ == qualname]
    function, given, _ = tried[0]
    static = {name: given[name] for name in ("num_replicates",) if name in given}
    arrays = {name: value for name, value in given.items() if name not in static}
    parameters = inspect.signature(function).parameters
    for _, _, argument in tried:
        if argument.startswith("weights"):
            for bad in bad_values(function, given, argument):
                arrays[argument] = jnp.ones_like(bad)
        else:
            default = parameters[argument].default
            right = arrays.get(argument, 1.0 if default is None else default)
            arrays[argument] = jnp.asarray(right, jnp.float32)
    return jax.jit(partial(function, **static)), arrays


@pytest.mark.parametrize(("function", "given", "argument"), CASES)
def test_traced_values_are_no_plausible_number(function, given, argument):
    if (function.__name__, argument) == ("nwj_log_partition", "weights_data"):
        return  # its value does not depend on the data
    program, arrays = program_of(function.__qualname__)
    if function.__name__ in ("check_work", "work_slope"):  # of the host
        with pytest.raises(TypeError, match="expected values, got traced arrays"):
            program(**arrays)
        return
    for bad in bad_values(function, given, argument):
        result = program(**arrays | {argument: jnp.asarray(bad, jnp.float32)})
        status = getattr(result, "status", None)
        if status is not None and (np.asarray(status) == Status.NONFINITE).all():
            continue
        # A rule for M falls back on no number either; of several fields one is enough.
        leaves = [np.asarray(leaf, float) for leaf in jax.tree.leaves(result)]
        assert any((~np.isfinite(leaf)).any() for leaf in leaves), (bad, result)


@pytest.mark.parametrize("given", [50.0, -50.0, 1.0])
def test_an_f_that_is_no_root(given):
    sides = KNOWN["log_ratio_data"], KNOWN["log_ratio_noise"]
    root = nce_jax.solve_log_partition(*sides).log_partition
    assert abs(root - given) > 0.5
    for function in (nce_jax.overlap, nce_jax.log_partition_standard_error):
        assert np.isnan(function(*sides, log_partition=given))
        # A root that was found to another tolerance, or rounded, is one.
        for close in (root, root + 1e-3, float(f"{root:.2f}")):
            value = function(*sides, log_partition=close)
            np.testing.assert_allclose(value, function(*sides), rtol=0.03)


def test_a_large_f_is_a_root_in_its_own_precision():
    sides = [side + 3e5 for side in (KNOWN["log_ratio_data"], KNOWN["log_ratio_noise"])]
    assert np.isfinite(nce_jax.overlap(*sides))
    root = nce_jax.solve_log_partition(*sides).log_partition
    assert np.isfinite(nce_jax.overlap(*sides, log_partition=root))
