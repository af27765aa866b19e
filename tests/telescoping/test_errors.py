"""Joint errors of stages that share their samples: a NumPy oracle, a Monte Carlo check, limits."""

import itertools

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


@pytest.mark.costly
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


@pytest.mark.costly
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


@pytest.mark.costly
def test_one_gap_makes_the_error_infinite():
    data, noise, total = ratios(jax.random.key(2), 100, separation=100.0)

    @jax.jit
    def estimates(data, noise, total):
        mean = telescoping.mean_log_ratio(total, data, noise)
        joint = telescoping.joint_standard_error(data, noise)
        return joint, mean.standard_error, telescoping.stage_diagnostics(data, noise)

    *errors, stages = estimates(data, noise, total)
    assert np.isinf(errors).all()
    assert np.all(stages.status == nce_jax.Status.NO_OVERLAP)
    assert np.all(np.isinf(stages.standard_error))


@pytest.mark.costly
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


SIZES = (500, 250, 400, 150)
"""Samples of four unit Gaussians 0.8 apart, the states of three windows."""


def windows(draws):
    """Reverse work and minus forward work of neighboring states, from their samples (..., n_k)."""
    means = 0.8 * np.arange(len(draws))
    energies = [lambda x, mean=mean: 0.5 * (x - mean) ** 2 for mean in means]
    pairs = list(itertools.pairwise(energies))
    data = [initial(x) - final(x) for (initial, final), x in zip(pairs, draws[1:], strict=True)]
    noise = [initial(x) - final(x) for (initial, final), x in zip(pairs, draws, strict=False)]
    return data, noise


RATIOS = np.array(SIZES[:-1]) / np.array(SIZES[1:])


@pytest.mark.costly
def test_windows_of_different_lengths_have_the_error_of_their_sum(x64):
    """300 draws, seed 5: an s.d. over 300 draws has 4 % standard error, and 3 of these are
    allowed. The root of the summed squares of `bar` is off by more.
    """
    rng = np.random.default_rng(5)
    draws = [0.8 * k + rng.normal(size=(300, n)) for k, n in enumerate(SIZES)]
    data, noise = windows(draws)

    @jax.jit
    @jax.vmap
    def estimate(data, noise):
        results = [nce_jax.bar(-q, p) for p, q in zip(data, noise, strict=True)]
        roots = jnp.stack([-result.delta_f for result in results])
        joint = telescoping.joint_standard_error(
            data, noise, log_partition=roots, noise_ratio=jnp.asarray(RATIOS)
        )
        return roots.sum(), joint, jnp.linalg.norm(jnp.stack([r.standard_error for r in results]))

    total, joint, summed = estimate(data, noise)
    assert abs(joint.mean() / total.std(ddof=1) - 1) < 0.12
    assert abs(summed.mean() / total.std(ddof=1) - 1) > 0.15
    assert np.mean(np.abs(total) < 1.96 * joint) > 0.91  # F = 0; 95 % less 3 s.d. of 300 draws


def test_lists_are_padded_arrays_with_weights(x64):
    rng = np.random.default_rng(6)
    data, noise = windows([0.8 * k + rng.normal(size=n) for k, n in enumerate(SIZES)])
    expected = telescoping.joint_standard_error(data, noise, noise_ratio=RATIOS)
    longest = max(SIZES)
    padded, weights = (
        [
            np.stack([np.pad(x, (0, longest - x.size), constant_values=fill) for x in rows])
            for rows in sides
        ]
        for sides, fill in (
            ((data, noise), np.nan),
            ([[np.ones_like(x) for x in side] for side in (data, noise)], 0.0),
        )
    )
    actual = telescoping.joint_standard_error(
        *padded, noise_ratio=RATIOS, weights_data=weights[0], weights_noise=weights[1]
    )
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


@pytest.mark.costly
def test_few_effective_pairs_make_the_error_infinite(x64):
    """Four unit Gaussians 4.5 apart: overlaps, but too few of 100 samples do."""
    data, noise, total = ratios(jax.random.key(2), 100, separation=18.0)
    stages = telescoping.stage_diagnostics(data, noise)
    assert np.all(stages.status == nce_jax.Status.LOW_OVERLAP), stages.effective_samples
    assert np.isfinite(stages.standard_error).all()
    assert np.isinf(telescoping.joint_standard_error(data, noise))
    mean = telescoping.mean_log_ratio(total, data, noise)
    assert np.isinf(mean.standard_error)
    assert mean.effective_samples < 10


@pytest.mark.bad_input
def test_lists_that_are_no_windows_are_refused():
    rows = [jnp.zeros(3), jnp.zeros(4)]
    for bad, message in (
        ([jnp.zeros((2, 3)), rows[1]], r"log_ratio_data\[0\]: expected shape \(n,\)"),
        ([], "log_ratio_data: expected at least one stage"),
        ([rows[0], jnp.arange(4)], r"log_ratio_data\[1\].*floating"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            telescoping.joint_standard_error(bad, rows)
    with pytest.raises(ValueError, match="expected an array where weights are given"):
        telescoping.joint_standard_error(rows, rows, weights_data=jnp.ones((2, 4)))


def test_errors_of_log_ratios_far_from_zero_include_their_rounding():
    """At 1e8 float32 has steps of 8 nats, which cannot be in an error of zero."""
    stages = 1e8 + jnp.zeros((2, 40))
    assert (telescoping.stage_diagnostics(stages, stages).standard_error > 4).all()
    assert telescoping.joint_standard_error(stages, stages) > 4
    assert telescoping.mean_log_ratio(stages.sum(axis=0), stages, stages).standard_error > 4
    joint = telescoping.joint_log_partitions(1e8 + jnp.zeros((2, 3, 40)))
    assert joint.kl_standard_error > 4


@pytest.mark.bad_input
def test_a_chain_without_stages_is_named():
    none = jnp.zeros((0, 5))
    for call in (
        lambda: telescoping.stage_diagnostics(none, none),
        lambda: telescoping.joint_standard_error(none, none),
        lambda: telescoping.mean_log_ratio(jnp.zeros(5), none, none),
    ):
        with pytest.raises(ValueError, match=r"^log_ratio_data: expected at least one stage, got"):
            call()
