"""choose_magnification: monotone, invariant, and defined on hard input."""

import jax.numpy as jnp
import numpy as np
import pytest

import nce_jax


def apart(n: int, distance: float = 3.0) -> tuple[jnp.ndarray, jnp.ndarray]:
    """Log ratios at the truth of Gaussians `distance` apart, at quantiles in place of draws."""
    from scipy.stats import norm

    x = norm.ppf((np.arange(n) + 0.5) / n)
    return jnp.float32(distance * (x + distance)), jnp.float32(distance * x)


def test_more_samples_support_a_larger_m_and_a_wider_gap_a_smaller_one():
    values = [float(nce_jax.choose_magnification(*apart(n))) for n in (128, 512, 2048)]
    assert values == sorted(values)
    assert values[0] < values[-1]
    assert nce_jax.choose_magnification(*apart(512, 4.0)) < values[1] < nce_jax.choose_magnification(*apart(512, 2.0))


def test_batches_shifts_and_the_noise_ratio():
    data, noise = apart(512)
    alone = nce_jax.choose_magnification(data, noise)
    both = nce_jax.choose_magnification(jnp.stack([data, data + 9]), jnp.stack([noise, noise + 9]))
    np.testing.assert_allclose(both, alone)
    ten = nce_jax.choose_magnification(data, noise, noise_ratio=10.0)  # the grid has five values to a decade
    np.testing.assert_allclose(ten, alone / 10, rtol=1e-4)


def test_hard_input():
    far, near = jnp.array([1e4, 9e3]), jnp.array([-1e4, -9e3])
    assert nce_jax.choose_magnification(far, near) == 1
    assert nce_jax.choose_magnification(jnp.array([1.0]), jnp.array([-1.0])) == 1  # one sample is never ten
    assert np.isnan(nce_jax.choose_magnification(jnp.array([1.0, jnp.nan]), jnp.array([0.0, 0.1])))
    assert np.isnan(nce_jax.choose_magnification(jnp.array([1.0, 0.5]), jnp.array([jnp.inf, 0.1])))
    half = nce_jax.choose_magnification(*(x.astype(jnp.bfloat16) for x in apart(512)))
    assert half.dtype == jnp.float32
    assert half >= 1


@pytest.mark.bad_input
def test_refusals():
    with pytest.raises(TypeError, match="log_ratio_data: expected a floating"):
        nce_jax.choose_magnification(jnp.arange(3), jnp.ones(3))
    with pytest.raises(ValueError, match="noise_ratio"):
        nce_jax.choose_magnification(jnp.ones(3), jnp.ones(3), noise_ratio=-1.0)
    with pytest.raises(ValueError, match="log_ratio_noise"):
        nce_jax.choose_magnification(jnp.ones(3), jnp.ones(0))
