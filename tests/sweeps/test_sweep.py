"""Sweeps: equal to loops, share what an axis does not touch, compile once, chunk without changing
what is drawn.
"""

import dataclasses
import functools
import gc
import math
import sys
import weakref
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nce_jax
from nce_jax import sweeps
from nce_jax.sweeps import _program


def estimate(kappa, seed):
    keys = jax.random.split(jax.random.key(seed), 3)
    s_data, s_noise = 1 + jax.random.normal(keys[0], (64,)), jax.random.normal(keys[1], (64,))
    solution = nce_jax.solve_log_partition(s_data, s_noise, magnification=kappa)
    bits = jax.random.bits(keys[2], (64,))
    return {
        "log_partition": solution.log_partition, "status": solution.status, "s_noise": s_noise,
        "bits": bits,
    }  # fmt: skip


KAPPA, SEED = jnp.array([0.1, 1.0, 30.0]), jnp.arange(5)


@pytest.mark.costly
def test_every_point_equals_a_call_of_its_own():
    result = nce_jax.sweep(estimate, axes={"kappa": KAPPA, "seed": SEED})
    for i, kappa in enumerate(KAPPA):
        for j, seed in enumerate(SEED):
            alone = jax.jit(estimate)(kappa, seed)
            np.testing.assert_allclose(
                result.values["log_partition"][i, j], alone["log_partition"], atol=2e-6
            )
    assert list(result.axes) == ["kappa", "seed"]


def test_draws_are_made_once_per_seed_and_shared_along_the_other_axis():
    def normal_draws(text):
        """Sizes of the random draws in a traced program."""
        return [line for line in text.splitlines() if "random_bits" in line]

    def mapped(kappa, seed):
        return jax.vmap(jax.vmap(estimate, (None, 0)), (0, None))(kappa, seed)

    text = str(jax.make_jaxpr(mapped)(KAPPA, SEED))
    assert normal_draws(text)
    assert not any("3,5" in line for line in normal_draws(text)), (
        "draws were repeated for every kappa"
    )
    values = nce_jax.sweep(estimate, axes={"kappa": KAPPA, "seed": SEED}).values["s_noise"]
    np.testing.assert_array_equal(values[0], values[2])


def test_one_trace_serves_the_grid_and_the_next_sweep():
    traces = []

    def fn(a, b):
        traces.append(1)
        return a * b

    nce_jax.sweep(fn, axes={"a": jnp.arange(3.0), "b": jnp.arange(4.0)})
    after_first = len(traces)
    nce_jax.sweep(fn, axes={"a": jnp.arange(3.0) + 7, "b": jnp.arange(4.0)})
    assert (after_first, len(traces)) == (1, 1)


@pytest.mark.parametrize(
    ("max_lanes", "num_chunks"), [(1, 15), (2, 10), (4, 5), (7, 3), (15, 1), (100, 1)]
)
def test_chunks_change_nothing(max_lanes, num_chunks):
    calls = []
    whole = nce_jax.sweep(estimate, axes={"kappa": KAPPA, "seed": SEED})
    parts = nce_jax.sweep(
        estimate,
        axes={"kappa": KAPPA, "seed": SEED},
        max_lanes=max_lanes,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert parts.num_chunks == num_chunks
    assert math.prod(parts.chunking.sizes.values()) <= max_lanes
    assert len(calls) == parts.num_chunks
    assert calls[-1] == (15, 15)
    np.testing.assert_allclose(
        parts.values["log_partition"], whole.values["log_partition"], atol=2e-6
    )
    np.testing.assert_array_equal(parts.values["bits"], whole.values["bits"])
    # The last bit of a float depends on how the compiler vectorizes the sweep's size.
    np.testing.assert_allclose(parts.values["s_noise"], whole.values["s_noise"], rtol=1e-6)


def test_a_memory_limit_asks_for_chunks():
    def fn(lane):
        block = jnp.sin(lane + jnp.arange(10_000.0))
        return jnp.cumsum(block)[::1000]  # a cumulative sum needs its block in memory

    free = nce_jax.sweep(fn, axes={"lane": jnp.arange(64.0)})
    tight = nce_jax.sweep(fn, axes={"lane": jnp.arange(64.0)}, memory_limit=400_000)
    assert free.num_chunks == 1
    assert tight.num_chunks > 1
    np.testing.assert_array_equal(free.values, tight.values)


def test_xarray_knows_the_axes():
    xarray = pytest.importorskip("xarray")
    dataset = nce_jax.sweep(estimate, axes={"kappa": KAPPA, "seed": SEED}).to_xarray()
    assert isinstance(dataset, xarray.Dataset)
    assert dataset["log_partition"].dims == ("kappa", "seed")
    assert dataset["s_noise"].dims == ("kappa", "seed", "s_noise_dim_0")
    np.testing.assert_array_equal(dataset["kappa"], KAPPA)
    assert float(dataset["log_partition"].sel(kappa=1.0, seed=2)) == pytest.approx(
        float(estimate(1.0, 2)["log_partition"]), abs=2e-6
    )


def test_keys_are_an_axis_too():
    keys = jax.random.split(jax.random.key(0), 4)
    result = nce_jax.sweep(lambda key: jax.random.normal(key), axes={"key": keys})
    np.testing.assert_array_equal(result.values, jax.vmap(jax.random.normal)(keys))
    if "xarray" in sys.modules or pytest.importorskip("xarray"):
        np.testing.assert_array_equal(result.to_xarray()["key"], np.arange(4))


def test_a_missing_xarray_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", None)
    result = nce_jax.sweep(lambda a: a, axes={"a": jnp.arange(2.0)})
    with pytest.raises(ImportError, match=r"pip install .*\[sweeps\]"):
        result.to_xarray()


def test_shared_draws_are_the_same_draws():
    def draw(key):
        return jax.random.normal(key, (5,)), jax.random.uniform(key, (2,))

    def lane(scale, seed):
        return jax.tree.map(
            lambda x: scale * x, sweeps.shared(draw, jax.random.key(seed), step=jnp.int32(3))
        )

    draws = nce_jax.sweep(lane, axes={"scale": jnp.array([1.0, 2.0]), "seed": jnp.arange(3)}).values
    for seed in range(3):
        for leaf, expected in zip(draws, draw(jax.random.key(seed)), strict=True):
            np.testing.assert_allclose(leaf[1, seed], 2 * expected, rtol=1e-6)


@pytest.mark.bad_input
def test_axes_are_checked():
    with pytest.raises(ValueError, match="axes: expected at least one"):
        nce_jax.sweep(lambda: 0.0, axes={})
    with pytest.raises(ValueError, match="axes: expected at least one"):
        sweeps.compiled_sweep(lambda: 0.0, axes={})
    with pytest.raises(ValueError, match=r"axes\['kappa'\]: expected an array"):
        nce_jax.sweep(lambda kappa: kappa, axes={"kappa": 1.0})
    with pytest.raises(ValueError, match=r"axes\['kappa'\]: expected an array"):
        nce_jax.sweep(lambda kappa: kappa, axes={"kappa": jnp.zeros((0,))})
    with pytest.raises(ValueError, match=r"got shape \(\); jnp.arange\(20\) has 20 entries"):
        nce_jax.sweep(lambda seed: seed, axes={"seed": 20})
    with pytest.raises(ValueError, match=r"got shape \(\); jnp.array\(\[0.5\]\) has one entry"):
        nce_jax.sweep(lambda kappa: kappa, axes={"kappa": 0.5})
    with pytest.raises(ValueError, match="max_lanes"):
        nce_jax.sweep(lambda kappa: kappa, axes={"kappa": jnp.zeros(3)}, max_lanes=0)
    for option in ({"resume": 1}, {"folder": 3}, {"progress": "bar"}, {"progress": lambda x: x}):
        with pytest.raises(TypeError, match=f"^{next(iter(option))}: expected"):
            nce_jax.sweep(lambda kappa: kappa, axes={"kappa": jnp.zeros(3)}, **option)


@pytest.mark.bad_input
def test_what_is_shared_is_checked():
    for error, fn, args, step in (
        ("fn: expected a function of args", 3, (), 0),
        (r"fn: expected .* parameters \(a, b\)", lambda a, b: a, (1.0,), 0),
        (r"args\[0\]: expected a pytree of arrays", lambda a: a, ("key",), 0),
        ("step: expected an integer", lambda a: a, (1.0,), 0.5),
        ("step: expected one integer", lambda a: a, (1.0,), jnp.arange(2)),
    ):
        with pytest.raises((TypeError, ValueError), match=error):
            sweeps.shared(fn, *args, step=step)


def test_the_result_is_a_plain_value():
    result = sweeps.SweepResult({"a": jnp.arange(2)}, jnp.zeros(2))
    assert result.num_chunks == 1


@pytest.mark.parametrize("kind", [np.array, list])
def test_integers_that_int32_wraps_are_no_axis(kind):
    """The seeds 2^32 and 0 would be one."""
    with pytest.raises(ValueError, match=r"axes\['seed'\]: expected integers that int32 holds"):
        nce_jax.sweep(lambda seed: seed * 1.0, {"seed": kind([0, 2**32])})


def test_draws_that_depend_on_the_chunks_are_warned_of():
    """Under vmap the bits of `rbg` are those of the first key alone."""

    def draw(seed, impl):
        return jax.random.normal(jax.random.key(seed, impl=impl), (3,))

    axes = {"seed": jnp.arange(4)}
    for impl, kind in (("rbg", "rbg"), ("unsafe_rbg", "urbg")):
        with pytest.warns(sweeps.DependentDrawsWarning, match=f"fn: expected .* got key<{kind}>"):
            whole = nce_jax.sweep(functools.partial(draw, impl=impl), axes).values
        with pytest.warns(sweeps.DependentDrawsWarning):
            parts = nce_jax.sweep(functools.partial(draw, impl=impl), axes, max_lanes=2).values
        assert not np.array_equal(whole, parts)


@pytest.mark.parametrize(
    "fn",
    [
        lambda seed: jax.random.normal(jax.random.key(seed, impl="threefry2x32")),
        lambda seed: seed * jax.random.normal(jax.random.key(0, impl="rbg")),  # one for all lanes
        lambda seed: jax.random.key_data(jax.random.split(jax.random.key(seed, impl="rbg"))),
    ],
)
def test_draws_that_do_not_depend_on_the_chunks_are_the_same_in_all(fn):
    """Warnings are errors here."""
    axes = {"seed": jnp.arange(4)}
    whole = nce_jax.sweep(fn, axes).values
    np.testing.assert_array_equal(nce_jax.sweep(fn, axes, max_lanes=2).values, whole)


def test_an_axis_may_have_the_name_of_an_option():
    names = ("axes", "folder", "key", "max_lanes", "memory_limit", "mesh", "progress", "resume")
    for name in names:
        fn = eval(f"lambda {name}: {name}")  # a parameter of this very name
        values = nce_jax.sweep(fn, axes={name: jnp.arange(3.0)}).values
        np.testing.assert_array_equal(values, np.arange(3.0))


@pytest.mark.bad_input
@pytest.mark.parametrize("evaluate", [nce_jax.sweep, sweeps.compiled_sweep])
@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (None, "axes: expected a mapping from names to values, .* got None"),
        (jnp.arange(3), r"axes: expected a mapping .* got an array of shape \(3,\)"),
        ([("a", jnp.arange(3))], "axes: expected a mapping .* got a list of length 1"),
        (
            {"a": jnp.arange(3), "b": jnp.arange(3)},
            r"axes: expected names among the parameters of fn, \(a, c, d\), got 'b'",
        ),
        (
            {"a": jnp.arange(3)},
            r"axes: expected an axis for every parameter of fn, \(a, c\), got none for 'c'",
        ),
        (
            {"a": ["x"], "c": jnp.arange(3)},
            r"axes\['a'\]: expected .* got a list of length 1 of str",
        ),
    ],
)
def test_axes_are_compared_with_the_parameters(evaluate, axes, message):
    with pytest.raises(TypeError, match=message):
        evaluate(lambda a, *, c, d=1: a + c + d, axes)


@pytest.mark.bad_input
def test_a_function_is_wanted():
    with pytest.raises(
        TypeError, match="fn: expected .* got a dict of length 1; pass the function"
    ):
        nce_jax.sweep({"a": jnp.arange(3)}, lambda a: a)


@pytest.mark.bad_input
@pytest.mark.parametrize("evaluate", [nce_jax.sweep, sweeps.compiled_sweep])
@pytest.mark.parametrize(("returned", "words"), [(None, "None"), ({}, "a dict of length 0")])
def test_a_function_without_a_result_is_refused(evaluate, returned, words):
    with pytest.raises(TypeError, match=f"fn: expected .* arrays, got one that returns {words};"):
        evaluate(lambda a: returned, {"a": jnp.arange(3)})


def test_functions_without_a_signature_or_of_any_keyword_are_left_to_python():
    axes = {"a": jnp.arange(3.0), "b": jnp.arange(2.0)}
    assert nce_jax.sweep(lambda **point: point["a"] + point["b"], axes).values.shape == (3, 2)
    part = functools.partial(lambda a, b, c: a + b + c, c=1)
    assert nce_jax.sweep(part, axes).values.shape == (3, 2)
    assert nce_jax.sweep(jax.jit(lambda a, b: a * b), axes).values.shape == (3, 2)


def test_one_chunk_needs_no_bar(capsys):
    nce_jax.sweep(lambda a: a, {"a": jnp.arange(3.0)})
    assert capsys.readouterr().err == ""


def test_a_function_and_its_data_are_dropped_with_their_last_reference():
    def make_function():
        data = jnp.arange(12_347.0)  # a length of no other array
        return lambda a: a * jnp.sum(data)

    fn = make_function()
    reference = weakref.ref(fn)
    nce_jax.sweep(fn, axes={"a": np.arange(3.0)})
    del fn
    gc.collect()
    assert reference() is None
    assert not any(array.shape == (12_347,) for array in jax.live_arrays())


class Times(NamedTuple):
    number: float

    def __call__(self, a):
        return self.number * a


class Plus(NamedTuple):
    number: float

    def __call__(self, a):
        return self.number + a


@dataclasses.dataclass(frozen=True)
class Frozen:
    number: complex

    def __call__(self, a):
        return self.number * a


@dataclasses.dataclass
class Changing:
    number: float

    def __call__(self, a):
        return self.number * a


@pytest.mark.parametrize(
    ("one", "other"),
    [(Times(2.0), Plus(2.0)), (Frozen(2.0), Frozen(2 + 0j))],
    ids=["tuples", "with weak references"],
)
def test_callables_that_are_equal_are_not_taken_for_one(one, other, tmp_path):
    axes = {"a": np.arange(3.0)}
    assert one == other
    assert hash(one) == hash(other)
    nce_jax.sweep(one, axes, folder=tmp_path)
    for fn in (one, other, one):
        values = nce_jax.sweep(fn, axes).values
        expected = fn(jnp.arange(3.0))
        assert values.dtype == expected.dtype
        np.testing.assert_array_equal(values, expected)
    with pytest.raises(ValueError, match="fn: expected program"):
        nce_jax.sweep(other, axes, folder=tmp_path, resume=True)


def test_a_callable_that_is_not_hashable_is_swept_as_it_is_now():
    fn, axes = Changing(2.0), {"a": np.arange(3.0)}
    np.testing.assert_array_equal(nce_jax.sweep(fn, axes).values, [0.0, 2.0, 4.0])
    fn.number = 3.0
    np.testing.assert_array_equal(nce_jax.sweep(fn, axes, max_lanes=1).values, [0.0, 3.0, 6.0])
    assert sweeps.compiled_sweep(fn, axes).out_info.shape == (3,)


@pytest.mark.parametrize("options", [{}, {"max_lanes": 1}], ids=["whole", "chunks"])
def test_axes_may_lie_on_other_devices(options):
    mesh = jax.sharding.Mesh(np.array(jax.devices()), ("all",))
    replicated = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    axes = {
        "a": jax.device_put(jnp.arange(3.0), jax.devices()[1]),
        "key": jax.device_put(jax.random.split(jax.random.key(0), 2), replicated),
    }
    result = nce_jax.sweep(lambda a, key: a + jax.random.normal(key), axes, **options)
    draws = [jax.random.normal(key) for key in jax.random.split(jax.random.key(0), 2)]
    np.testing.assert_allclose(result.values, np.add.outer(np.arange(3.0), draws), rtol=1e-6)


def test_a_sweep_runs_and_is_recorded_on_the_default_device():
    fn, axes = lambda a: a + 1, {"a": np.arange(3.0)}
    for device in (jax.devices()[2], jax.devices()[0]):
        with jax.default_device(device):
            assert _program.make_layout({"a": 3}, None).devices == [device]
            assert nce_jax.sweep(fn, axes).values.devices() == {device}
            in_chunks = nce_jax.sweep(fn, axes, max_lanes=1).values
    np.testing.assert_array_equal(in_chunks, [1.0, 2.0, 3.0])
