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


@pytest.mark.bad_input
@pytest.mark.parametrize("batch_size", [(2,), (2, 3, 4), [2, 3]])
def test_a_batch_size_is_an_integer_or_two(batch_size):
    with pytest.raises(TypeError, match="batch_size: expected an integer, or a tuple of two"):
        make_source(np.zeros((20, 1)), batch_size, jax.random.key(0))
