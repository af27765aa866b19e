"""Arrays as batches: what is refused before a step is taken."""

import jax
import numpy as np
import pytest

from nce_jax import training
from nce_jax.training._batches import make_source


@pytest.mark.bad_input
@pytest.mark.parametrize("name", ["x_data", "x_noise"])
def test_samples_that_float32_merges_are_refused(name):
    rng = np.random.default_rng(0)
    samples = {"x_data": rng.normal(size=(20, 1)), "x_noise": rng.normal(size=(20, 1))}
    samples[name] = samples[name] + 1e9
    with pytest.raises(ValueError, match=f"{name}: expected samples that float32 can represent"):
        make_source(training.Batch(**samples), None, jax.random.key(0))


WIDE = np.array([1, 2**32 + 3])


@pytest.mark.parametrize(
    ("batches", "name"),
    [
        (WIDE, "x_data"),
        (training.Batch(np.zeros(2), WIDE), "x_noise"),
        ({"ids": WIDE}, "x_data"),
        (lambda step: {"ids": WIDE}, "batches"),
        ([WIDE], "batches"),
    ],
)
def test_integers_that_int32_wraps_are_refused(batches, name):
    """They would become other words of the vocabulary."""
    with pytest.raises(ValueError, match=f"{name}: expected integers that int32 holds, got 1 to 4"):
        make_source(batches, None, jax.random.key(0)).arguments(0)


@pytest.mark.bad_input
@pytest.mark.parametrize("batches", [np.zeros((20, 1)), {"x": np.zeros(20)}])
def test_a_pair_of_batch_sizes_needs_noise_samples(batches):
    """The second number would be ignored."""
    with pytest.raises(ValueError, match="batch_size: expected one number .*, got .8, 8.; "):
        make_source(batches, (8, 8), jax.random.key(0))


@pytest.mark.bad_input
@pytest.mark.parametrize("batch_size", [(2,), (2, 3, 4), [2, 3]])
def test_a_batch_size_is_an_integer_or_two(batch_size):
    with pytest.raises(TypeError, match="batch_size: expected an integer, or a tuple of two"):
        make_source(np.zeros((20, 1)), batch_size, jax.random.key(0))


@pytest.mark.parametrize("kind", [tuple, dict])
def test_rows_that_belong_together_are_drawn_together(kind):
    """Every row once in a pass, and each with its own."""
    arrays = np.arange(12.0).reshape(6, 2), 10 * np.arange(6)
    named = dict(zip("xy", arrays, strict=True))
    source = make_source(named if kind is dict else arrays, 2, jax.random.key(0))
    batches = [source.batch(*source.arguments(step)) for step in range(3)]
    assert source.num_examples == 2
    assert {type(batch) for batch in batches} == {kind}
    rows = [list(batch.values()) if kind is dict else batch for batch in batches]
    first, second = zip(*rows, strict=True)
    np.testing.assert_array_equal(np.concatenate(first)[:, 0] * 5, np.concatenate(second))
    assert sorted(np.concatenate(second).tolist()) == [0, 10, 20, 30, 40, 50]


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ((np.zeros((6, 1)), np.zeros((5, 1))), "batches: expected arrays with one number of sam"),
        ((np.zeros((6, 1)), np.zeros(())), "batches: expected samples on the first axis, got a sc"),
        ([np.zeros((6, 1))] * 2, "batch_size: .* list, got 2; only an array, a Batch, or a tuple"),
        ((training.Batch(np.zeros((6, 1))),) * 2, "batch_size: .* tuple, got 2; only an array"),
        ((), "batch_size: .* type tuple, got 2"),
    ],
)
def test_what_is_no_array_is_not_divided(batches, message):
    with pytest.raises(ValueError, match=message):
        make_source(batches, 2, jax.random.key(0))


@pytest.mark.bad_input
def test_text_beside_numbers_is_named():
    with pytest.raises(TypeError, match="batches: expected numbers, got an array of dtype <U1"):
        make_source({"x": np.zeros(6), "y": np.array(["a"] * 6)}, 2, jax.random.key(0))


def test_a_tuple_without_a_batch_size_is_an_iterable_of_batches():
    source = make_source((np.zeros((6, 1)), np.ones((6, 1))), None, jax.random.key(0))
    assert [float(source.arguments(step)[0].sum()) for step in range(3)] == [0, 6, 0]
