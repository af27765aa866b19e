"""Diagnostics and `bar` differentiate in both modes, alone and under vmap: a `custom_vmap` on their
path would forbid it.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import nce_jax

pytestmark = pytest.mark.costly

DATA, NOISE = jnp.linspace(-0.5, 2.0, 7), jnp.linspace(-2.0, 1.0, 9)
FUNCTIONS = {
    "overlap": nce_jax.overlap,
    "standard_error": nce_jax.log_partition_standard_error,
    "delta_f": lambda reverse, noise: nce_jax.bar(-noise, reverse).delta_f,
    "bar_error": lambda reverse, noise: nce_jax.bar(-noise, reverse).standard_error,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives_agree_with_finite_differences(name, x64):
    arguments = DATA.astype(float), NOISE.astype(float)
    check_grads(
        jax.jit(FUNCTIONS[name]), arguments, order=1, modes=["fwd", "rev"], eps=1e-5, rtol=1e-4
    )


def test_gradients_under_vmap():
    gradient = jax.grad(nce_jax.overlap)
    batch = jnp.stack([DATA, DATA + 1])
    gradients = jax.jit(jax.vmap(gradient, in_axes=(0, None)))(batch, NOISE)
    np.testing.assert_allclose(gradients[1], gradient(batch[1], NOISE), atol=1e-6)
