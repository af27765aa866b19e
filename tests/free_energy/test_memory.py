"""Memory of the compiled programs beyond the potentials, where the samples are taken in chunks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nce_jax
from nce_jax import free_energy

NUM_STATES, NUM_SAMPLES = 16, 65_536
EQUAL = np.full(NUM_STATES, NUM_SAMPLES // NUM_STATES)
ONE_LARGE = np.array([NUM_SAMPLES - NUM_STATES + 1, *[1] * (NUM_STATES - 1)])


def bootstrap(potentials, counts, **options):
    key = jax.random.key(0)
    return free_energy.bootstrap_mbar(key, potentials, counts, num_replicates=3, **options)


@pytest.mark.costly
@pytest.mark.parametrize(
    ("function", "counts", "chunk_size", "num_arrays"),
    [
        (nce_jax.mbar, EQUAL, 256, 8),
        (nce_jax.mbar, ONE_LARGE, 4096, 18),
        (free_energy.enthalpy_and_entropy, EQUAL, 1024, 8),
        (bootstrap, EQUAL, 256, 24),
    ],
)
def test_no_array_of_the_size_of_the_potentials_is_made(function, counts, chunk_size, num_arrays):
    """At most a number of arrays (N,), and three (chunk_size, K); a copy of the potentials is as
    large as 16 of the former. Seen, in arrays (N,): 7.2, 17.6, 7.3 and 22.3.
    """
    given = jax.ShapeDtypeStruct((NUM_STATES, NUM_SAMPLES), jnp.float32)
    program = jax.jit(lambda u: function(u, counts, chunk_size=chunk_size)).lower(given).compile()
    admitted = 4 * (num_arrays * NUM_SAMPLES + 3 * chunk_size * NUM_STATES)
    assert program.memory_analysis().temp_size_in_bytes <= admitted
