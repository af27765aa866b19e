"""jit, vmap and traced options: one compilation serves every kappa, and nothing global is
touched.
"""

import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nce_jax
from tests.log_partition.cases import gaussian_log_ratios, solve


def test_one_compilation_for_every_traced_option():
    data, noise = gaussian_log_ratios(dtype=np.float32)

    @jax.jit
    @chex.assert_max_traces(n=1)
    def traced(data, noise, magnification, noise_ratio, initial, tolerance):
        return nce_jax.solve_log_partition(
            data,
            noise,
            magnification=magnification,
            noise_ratio=noise_ratio,
            initial=initial,
            tolerance=tolerance,
        )

    values = [
        traced(data, noise, 10.0**k, 0.5 + k, 0.1 * k, 10.0**-k).log_partition for k in range(1, 6)
    ]
    assert len({float(value) for value in values}) == 5


def test_jit_is_eager_is_vmap():
    data, noise = gaussian_log_ratios(dtype=np.float32)
    eager = nce_jax.solve_log_partition(data, noise)
    compiled = solve(data, noise)
    mapped = jax.jit(jax.vmap(lambda m: nce_jax.solve_log_partition(data, noise, magnification=m)))(
        jnp.array([1.0, 5.0])
    )
    np.testing.assert_allclose(compiled.log_partition, eager.log_partition, rtol=1e-6)
    np.testing.assert_allclose(mapped.log_partition[0], eager.log_partition, rtol=1e-6)
    assert compiled.status == eager.status == mapped.status[0]


def test_a_solve_inside_scan():
    """Warm-started, as a training loop does it; the carry keeps its dtype and shape."""
    data, noise = gaussian_log_ratios(dtype=np.float32)

    def step(log_partition, shift):
        solution = nce_jax.solve_log_partition(data + shift, noise + shift, initial=log_partition)
        return solution.log_partition, solution.status

    final, status = jax.jit(lambda: jax.lax.scan(step, jnp.float32(0), jnp.arange(5.0)))()
    np.testing.assert_allclose(final, solve(data, noise).log_partition + 4, rtol=1e-5)
    assert np.all(status == nce_jax.Status.CONVERGED)


@pytest.mark.costly
def test_x64_stays_off():
    """In a fresh process, since the tests themselves switch it: importing and using everything
    leaves it off.
    """
    program = """
import jax, jax.numpy as jnp, nce_jax
before = dict(jax.config.values)
s, key = jnp.linspace(-1.0, 1.0, 7), jax.random.key(0)
solution = nce_jax.solve_log_partition(s + 0.1, s)
nce_jax.check_solution(solution)
assert solution.log_partition.dtype == nce_jax.nce_loss(s, s).dtype == jnp.float32
assert nce_jax.bar(s, s + 0.5).delta_f.dtype == jnp.float32
replicates = nce_jax.bootstrap_log_partition(key, s, s, num_replicates=2).replicates
assert replicates.dtype == jnp.float32
assert jax.config.jax_enable_x64 is False
changed = {k for k, v in jax.config.values.items() if before[k] != v}
assert not changed, changed
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_float32_problem_computes_in_float32_where_x64_is_on():
    # Two plain infinities to choose between are float64 then; only the compiled program tells.
    with jax.enable_x64(True):
        data, noise = (jnp.asarray(side) for side in gaussian_log_ratios(dtype=np.float32))
        program = jax.jit(nce_jax.solve_log_partition).lower(data, noise).compile()
    assert "f64" not in program.as_text()
