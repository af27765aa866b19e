"""Joint errors of stages that share their samples: a NumPy oracle, a Monte Carlo check, limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nce_jax
from nce_jax import telescoping

SLOPES = np.array([1.5, 1.5, 1.5, 1.5])[:, None]  # unit Gaussians at 6, 4.5, 3, 1.5 and 0
MEANS = np.array([6, 4.5, 3, 1.5, 0])
LEVELS = np.append(np.sqrt(1 - (MEANS[:-1] / 6) ** 2), 1)


def ratios(key, num_pairs, separation=6.0):
    key_data, key_noise = jax.random.split(key)
    x_data = separation + jax.random.normal(key_data, (num_pairs,))
    x = telescoping.bridges(
        x_data, jax.random.normal(key_noise, (num_pairs,)), noise_levels=jnp.asarray(LEVELS)
    )
    slopes = jnp.asarray(SLOPES, x.dtype) * separation / 6
    return slopes * x[:-1], slopes * x[1:], jnp.sum(slopes, axis=0) * x_data


def oracle(data, noise, kappa, total=None):
    """F_k by bisection, and s.d. of sum_k psi_k (of the mean less it) over sqrt(n), from the
    formula.
    """
    data, noise = np.asarray(data, np.float64), np.asarray(noise, np.float64)
    roots, psi = [], np.zeros(data.shape[1])
    for s, t in zip(data, noise, strict=True):
        low, high = min(s.min(), t.min()), max(s.max(), t.max())
        for _ in range(100):
            middle = (low + high) / 2
            p, q = 1 / (1 + np.exp(s - middle) / kappa), 1 / (1 + kappa * np.exp(middle - t))
            low, high = (low, middle) if p.mean() > kappa * q.mean() else (middle, high)
        roots.append(middle)
        psi -= (p - kappa * q) / ((p * (1 - p)).mean() + kappa * (q * (1 - q)).mean())
    if total is not None:
        psi = np.asarray(total, np.float64) - psi
    return np.array(roots), psi.std(ddof=1) / np.sqrt(len(psi))


@pytest.mark.parametrize("kappa", [1.0, 20.0])
def test_equals_the_formula(x64, kappa):
    data, noise, total = ratios(jax.random.key(0), 1000)
    stages = telescoping.stage_diagnostics(data, noise, magnification=kappa)
    roots, error = oracle(data, noise, kappa)
    np.testing.assert_allclose(stages.log_partition, roots, rtol=1e-9)
    np.testing.assert_allclose(
        telescoping.joint_standard_error(data, noise, magnification=kappa), error, rtol=1e-9
    )
    estimate = telescoping.mean_log_ratio(total, data, noise, magnification=kappa)
    np.testing.assert_allclose(
        estimate.standard_error, oracle(data, noise, kappa, total)[1], rtol=1e-9
    )
    np.testing.assert_allclose(estimate.value, total.mean() - roots.sum(), rtol=1e-9)
    np.testing.assert_allclose(
        stages.overlap, nce_jax.overlap(data, noise, magnification=kappa), rtol=1e-9
    )
    np.testing.assert_allclose(stages.variance_fraction.sum(), 1, rtol=1e-9)


def test_covers_the_spread_and_summed_variances_do_not():
    """300 draws of 200 pairs, seed 1: an s.d. over 300 draws has 4 % standard error, and 3 of these
    are allowed.
    """

    @jax.jit
    @jax.vmap
    def draw(key):
        data, noise, total = ratios(key, 200)
        stages = telescoping.stage_diagnostics(data, noise)
        mean = telescoping.mean_log_ratio(total, data, noise, log_partition=stages.log_partition)
        joint = telescoping.joint_standard_error(data, noise, log_partition=stages.log_partition)
        return stages.log_partition.sum(), joint, jnp.linalg.norm(stages.standard_error), mean

    total, joint, summed, mean = draw(jax.random.split(jax.random.key(1), 300))
    assert abs(joint.mean() / total.std() - 1) < 0.12
    assert abs(mean.standard_error.mean() / mean.value.std() - 1) < 0.12
    assert summed.mean() < 0.8 * total.std()
    assert abs(total.mean() - 18) < 3 * total.std() / np.sqrt(300)  # F = 6^2 / 2


def test_one_gap_makes_the_error_infinite():
    data, noise, total = ratios(jax.random.key(2), 100, separation=100.0)
    assert np.isinf(telescoping.joint_standard_error(data, noise))
    assert np.isinf(telescoping.mean_log_ratio(total, data, noise).standard_error)
    stages = telescoping.stage_diagnostics(data, noise)
    assert np.all(stages.status == nce_jax.Status.NO_OVERLAP)
    assert np.all(np.isinf(stages.standard_error))


def test_blocks_of_repeated_pairs_give_the_error_of_the_pairs():
    data, noise, _ = ratios(jax.random.key(3), 100)
    repeated = [jnp.repeat(side, 3, axis=1) for side in (data, noise)]
    once = telescoping.joint_standard_error(data, noise)
    np.testing.assert_allclose(
        telescoping.joint_standard_error(*repeated, block_size=3), once, rtol=1e-4
    )


@pytest.mark.bad_input
def test_what_is_no_array_of_stages_is_refused():
    data, noise, total = ratios(jax.random.key(4), 10)
    with pytest.raises(ValueError, match="log_ratio_data: expected shape"):
        telescoping.joint_standard_error(data[0], noise)
    with pytest.raises(ValueError, match="log_ratio_noise: expected the shape of log_ratio_data"):
        telescoping.stage_diagnostics(data, noise[:, :5])
    with pytest.raises(ValueError, match="log_ratio: expected shape"):
        telescoping.mean_log_ratio(total[:3], data, noise)
    with pytest.raises(ValueError, match="block_size"):
        telescoping.joint_standard_error(data, noise, block_size=0)
