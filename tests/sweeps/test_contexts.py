"""What JAX is told by a context or a flag belongs to the program: it is compiled anew, and another
one in a store.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nce_jax
from nce_jax.sweeps import _program
from tests.compilations import compilations


def draw(seed):
    return jax.random.normal(jax.random.key(seed), (3,)).sum()


SEEDS = jnp.arange(2)
MATRIX = jnp.eye(8) + 0.1
CONTEXTS = {
    "partitionable": lambda: jax.threefry_partitionable(False),
    "generator": lambda: jax.default_prng_impl("threefry4x32"),
}
try:
    with CONTEXTS["generator"]():
        pass
except ValueError:  # threefry4x32 came after JAX 0.8
    del CONTEXTS["generator"]


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("num_devices", [0, 2])
def test_another_context_gives_its_own_values(context, num_devices):
    mesh = (
        jax.sharding.Mesh(np.array(jax.devices()[:num_devices]), ("lane",)) if num_devices else None
    )
    outside = nce_jax.sweep(draw, axes={"seed": SEEDS}, mesh=mesh).values
    with CONTEXTS[context]():
        inside = nce_jax.sweep(draw, axes={"seed": SEEDS}, mesh=mesh).values
        expected = [draw(seed) for seed in SEEDS]
    np.testing.assert_allclose(inside, expected, rtol=1e-6)
    assert (np.asarray(inside) != np.asarray(outside)).all(), (
        "the context changes nothing: nothing is tested"
    )
    np.testing.assert_array_equal(
        nce_jax.sweep(draw, axes={"seed": SEEDS}, mesh=mesh).values, outside
    )


@pytest.mark.parametrize("context", CONTEXTS)
def test_a_store_holds_the_values_of_the_program_that_it_names(tmp_path, context):
    """A folder that was written after a sweep under other settings; resumed by a function that was
    never compiled.
    """
    nce_jax.sweep(draw, axes={"seed": SEEDS})
    with CONTEXTS[context]():
        first = nce_jax.sweep(draw, axes={"seed": SEEDS}, folder=tmp_path).values
        again = nce_jax.sweep(
            lambda seed: draw(seed), axes={"seed": SEEDS}, folder=tmp_path, resume=True
        ).values
        np.testing.assert_allclose(first, [draw(seed) for seed in SEEDS], rtol=1e-6)
    np.testing.assert_array_equal(again, first)
    with pytest.raises(ValueError, match="fn: expected program"):
        nce_jax.sweep(draw, axes={"seed": SEEDS}, folder=tmp_path, resume=True)


def test_the_precision_of_products_is_part_of_the_program():
    def products(a):
        return ((MATRIX + a) @ MATRIX).sum()

    def precisions():
        layout = _program.make_layout({"a": 2}, None)
        return "highest" in _program.compiled(products, {"a": jnp.arange(2.0)}, layout).as_text()

    assert not precisions()
    with jax.default_matmul_precision("highest"):
        assert precisions()
    assert not precisions()


def test_a_stricter_context_refuses_what_was_compiled_without_it():
    def mixed(a):
        return a + jnp.arange(3)[0].astype(jnp.int16)

    nce_jax.sweep(mixed, axes={"a": jnp.arange(2.0)})
    with (
        jax.numpy_dtype_promotion("strict"),
        pytest.raises(Exception, match="jax_numpy_dtype_promotion=strict"),
    ):
        nce_jax.sweep(mixed, axes={"a": jnp.arange(2.0)})


@pytest.mark.parametrize("context", CONTEXTS)
def test_no_context_compiles_twice(context):
    traces = []

    def fn(a):
        traces.append(1)
        return jax.pure_callback(
            np.sin, jax.ShapeDtypeStruct((), jnp.float32), a, vmap_method="sequential"
        )

    nce_jax.sweep(fn, axes={"a": jnp.arange(3.0)})
    with CONTEXTS[context]():
        values = jnp.arange(3.0)
        nce_jax.sweep(fn, axes={"a": values})
        after_first = len(traces)
        with compilations() as programs:
            nce_jax.sweep(fn, axes={"a": values})
            again = len(programs)
            nce_jax.sweep(lambda a: fn(a), axes={"a": values})
    assert (after_first, again) == (2, 0)
    assert len(programs) == 1, "compilations are not heard of: nothing is tested"
