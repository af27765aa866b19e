"""The arithmetic of floors, on invented times; and that a step's products are all found."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import floors
from benchmarks.harness import Timed
from benchmarks.rows import Check, compare

EXACT = Check("difference", lambda ours, theirs: abs(ours - theirs), 1e-9)


def timed(*seconds):
    return Timed(np.array(seconds), np.array(seconds), 1.0)


@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.setattr(floors.os, "cpu_count", lambda: 2)
    return floors.Evaluations(100, "float64", {})


def test_the_floor_is_the_slower_of_reading_and_sums_the_faster_way_of_each(two_cores):
    label = two_cores.label
    times = {
        label("copying", 1): timed(8.0, 80.0), label("copying", 2): timed(6.0, 60.0),
        label("sums", 1): timed(2.0, 50.0), label("sums", 2): timed(5.0, 90.0),
    }  # fmt: skip
    # Reading counts half of a copy.
    np.testing.assert_allclose(two_cores.floor(3).seconds(times), [9.0, 150.0])
    both = floors.together(two_cores.floor(1), two_cores.floor(2))
    np.testing.assert_allclose(both.seconds(times), [9.0, 150.0])


def test_a_row_says_how_far_above_the_floor_it_is_within_repetitions(two_cores):
    label = two_cores.label
    ceilings = {
        label(name, parts): timed(1.0, 10.0) for name in ("copying", "sums") for parts in (1, 2)
    }
    times = {"ours": timed(6.0, 60.0), "peer": timed(9.0, 90.0)} | ceilings
    row = compare(
        "row", times, ours="ours", against=["peer"], check=EXACT, floor=two_cores.floor(2)
    )
    assert row.over_floor == (3, 3, 3)
    assert row.floor_seconds.median == 11
    assert row.to_json()["over_floor"] == {"median": 3, "lower": 3, "upper": 3}


def test_the_contenders_of_a_ceiling_run():
    for contender in floors.evaluations(64, "float32").contenders.values():
        contender.fn()


def test_products_are_found_in_inner_programs_and_counted():
    weights = jnp.ones((3, 5))

    @jax.jit
    def layer(weights, x):
        return jnp.tanh(x @ weights)

    def loss(weights):
        return layer(weights, jnp.ones((7, 3))).sum()

    actual = floors.products(jax.grad(loss), weights)
    # Forward, and the weights' gradient.
    assert actual.floor.what == "the step's 2 products alone (0.00042 Mflop)"
    (contender,) = actual.contenders.values()
    contender.fn()


def test_a_convolution_counts_its_window():
    def convolve(x, kernel):
        return jax.lax.conv(x, kernel, (1, 1), "SAME")

    arguments = jnp.ones((1, 2, 4, 4)), jnp.ones((6, 2, 3, 3))
    assert (
        floors.products(convolve, *arguments).floor.what
        == f"the step's 1 products alone ({2 * 96 * 18 / 1e6:.3g} Mflop)"
    )
