"""The normalizers of all stages from all samples: a NumPy oracle, identities, closed forms, and the
variance that it saves.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nce_jax
from nce_jax import Status, telescoping

# The variance of F over that of adjacent pairs, for 500 rows: 2,000 draws, seed 0, as in
# docs/concepts.md.
RATIOS = {
    ("gaussians", True): {2: 1.000, 4: 0.977, 8: 0.976, 16: 0.984},
    ("gaussians", False): {2: 1.000, 4: 0.980, 8: 0.966, 16: 0.976},
    ("peaked", True): {2: 0.986, 4: 0.890, 8: 0.693, 16: 0.558},
    ("peaked", False): {2: 0.993, 4: 0.880, 8: 0.706, 16: 0.592},
}
NUM_DRAWS_OF_TABLE = 2000


def gaussians(key, num_stages, num_rows, *, shared_samples=True):
    """s_j(x_k) of unit Gaussians with means evenly spaced from 6 to 0: F_k = (m_k^2 -
    m_{k+1}^2) / 2.
    """
    means = 6 * (1 - np.arange(num_stages + 1) / num_stages)
    x = _bridges(key, means / 6, num_rows, shared_samples, lambda z: 6 + z, jnp.ones(len(means)))
    x = x if shared_samples else jnp.asarray(means)[:, None] + x
    return jnp.asarray(-np.diff(means))[:, None, None] * x[None]


def peaked(key, num_stages, num_rows, *, shared_samples=True):
    """The same of centered Gaussians, with s.d. spaced by equal factors from 0.001 to 1: F = log
    0.001.
    """
    sd = 1e-3
    variances = sd ** (2 * (1 - np.arange(num_stages + 1) / num_stages))
    weight_of_data = np.sqrt((1 - variances) / (1 - sd**2))
    scales = jnp.asarray(np.sqrt(variances))
    x = _bridges(key, weight_of_data, num_rows, shared_samples, lambda z: sd * z, scales)
    return jnp.asarray(np.diff(1 / variances) / 2)[:, None, None] * jnp.square(x)[None]


def _bridges(key, weights_of_data, num_rows, shared_samples, data_of, scales):
    if not shared_samples:
        return scales[:, None] * jax.random.normal(key, (len(scales), num_rows))
    key_data, key_noise = jax.random.split(key)
    noise_levels = np.sqrt(1 - weights_of_data**2)
    noise_levels[[0, -1]] = 0, 1
    return telescoping.bridges(
        data_of(jax.random.normal(key_data, (num_rows,))),
        jax.random.normal(key_noise, (num_rows,)),
        noise_levels=noise_levels,
    )


def adjacent(log_ratios):
    """What a stage has of its own two bridges."""
    stages, log_ratios = np.arange(len(log_ratios)), jnp.asarray(log_ratios)
    return log_ratios[stages, stages], log_ratios[stages, stages + 1]


def oracle(log_ratios, shared_samples):
    """F, its covariance, KL and its error, by Newton's method on the multinomial likelihood, and
    by the scores of the samples with the pseudo-inverse of the Hessian.
    """
    _, num_bridges, num_rows = log_ratios.shape
    tails = np.cumsum(log_ratios[::-1], axis=0)[::-1]  # -u_k = sum_{j >= k} s_j
    logits = np.concatenate([tails, np.zeros_like(tails[:1])]) + np.log(num_rows)
    f = np.zeros(num_bridges)
    for step in range(200):
        joint = f[:, None, None] + logits
        p = np.exp(joint - joint.max(axis=0))
        p /= p.sum(axis=0)
        hessian = np.diag(p.sum(axis=(1, 2))) - np.einsum("kbi,lbi->kl", p, p)
        gradient = p.sum(axis=(1, 2)) - num_rows
        move = -np.linalg.pinv(hessian, hermitian=True) @ gradient
        f = f + (0.2 if step < 100 else 1) * move
    scores = p - np.eye(num_bridges)[..., None]
    influences = -np.einsum("kl,lbi->kbi", np.linalg.pinv(hessian, hermitian=True), scores)
    influences -= influences.mean(axis=-1, keepdims=True)
    influences = np.diff(influences, axis=0)
    sums = log_ratios[:, 0].sum(axis=0)
    of_kl = -influences.sum(axis=0)
    of_kl[0] += (sums - sums.mean()) / num_rows
    both = np.concatenate([influences, of_kl[None]])
    both = both.sum(axis=1, keepdims=True) if shared_samples else both
    covariance = np.einsum("kbi,lbi->kl", both, both) * num_rows / (num_rows - 1)
    return np.diff(f), covariance[:-1, :-1], sums.mean() - (f[-1] - f[0]), covariance[-1, -1] ** 0.5


def estimate(log_ratios, **options):
    """Of an array of the host in its own precision."""
    return telescoping.joint_log_partitions(jnp.asarray(log_ratios), **options)


@pytest.mark.parametrize("shared_samples", [True, pytest.param(False, marks=pytest.mark.costly)])
def test_equals_the_multinomial_likelihood(x64, shared_samples):
    """Two solves to 1e-11, and sums of 800 terms."""
    log_ratios = np.asarray(gaussians(jax.random.key(0), 3, 200, shared_samples=shared_samples))
    joint = estimate(log_ratios, shared_samples=shared_samples)
    log_partition, covariance, kl, kl_error = oracle(log_ratios, shared_samples)
    np.testing.assert_allclose(joint.log_partition, log_partition, rtol=1e-9)
    np.testing.assert_allclose(joint.covariance, covariance, rtol=1e-8)
    np.testing.assert_allclose(joint.standard_error, np.sqrt(np.diag(covariance)), rtol=1e-8)
    np.testing.assert_allclose(joint.total, log_partition.sum(), rtol=1e-9)
    np.testing.assert_allclose(joint.total_standard_error, covariance.sum() ** 0.5, rtol=1e-8)
    np.testing.assert_allclose([joint.kl, joint.kl_standard_error], [kl, kl_error], rtol=1e-8)
    assert np.all(joint.status == Status.CONVERGED)


@pytest.mark.costly
def test_one_stage_is_the_pair(x64):
    log_ratios = gaussians(jax.random.key(1), 3, 250)[:1, :2]
    joint = estimate(log_ratios)
    data, noise = adjacent(log_ratios)
    root = nce_jax.solve_log_partition(data, noise).log_partition
    np.testing.assert_allclose(joint.log_partition, root, rtol=1e-10)
    error = telescoping.joint_standard_error(data, noise, log_partition=root)
    np.testing.assert_allclose(joint.total_standard_error, error, rtol=1e-10)
    np.testing.assert_allclose(joint.standard_error, error[None], rtol=1e-10)
    mean = telescoping.mean_log_ratio(data[0], data, noise, log_partition=root)
    np.testing.assert_allclose(joint.kl, mean.value, rtol=1e-10)
    np.testing.assert_allclose(joint.kl_standard_error, mean.standard_error, rtol=1e-10)
    stage = telescoping.stage_diagnostics(data, noise)
    np.testing.assert_allclose(joint.effective_samples, stage.effective_samples, rtol=1e-9)
    assert abs(joint.disagreement[0]) < 1  # two solves to 1e-12


def test_a_stage_that_is_wrong_disagrees(x64):
    """Half of the slope in the first stage: it moves F of the next one, at the samples of which
    both estimates evaluate it. Where all are right, 3 standard errors are not exceeded.
    """
    log_ratios = np.array(gaussians(jax.random.key(0), 3, 250))
    joint = estimate(log_ratios)
    data, noise = adjacent(log_ratios)
    pairs = nce_jax.solve_log_partition(data, noise).log_partition
    assert np.all(np.sign(joint.disagreement) == np.sign(joint.log_partition - pairs))
    assert np.all(np.abs(joint.disagreement) < 3)
    log_ratios[0] /= 2
    assert np.max(np.abs(estimate(log_ratios).disagreement)) > 4


def test_a_constant_of_a_stage_moves_its_normalizer(x64):
    """And nothing else: to the digits that sums with a constant of 100 have."""
    log_ratios = np.asarray(gaussians(jax.random.key(0), 3, 200))
    shift = np.array([100.0, -20.0, 3.0])
    joint, moved = (
        estimate(log_ratios + c)
        for c in (0, shift[:, None, None])
    )  # fmt: skip
    np.testing.assert_allclose(moved.log_partition - joint.log_partition, shift, rtol=1e-11)
    np.testing.assert_allclose(moved.total - joint.total, shift.sum(), rtol=1e-11)
    for name in ("covariance", "kl", "kl_standard_error", "effective_samples", "disagreement"):
        np.testing.assert_allclose(getattr(moved, name), getattr(joint, name), rtol=1e-9)


@pytest.mark.costly
@pytest.mark.bad_input  # arrays of NumPy
def test_a_constant_that_float32_does_not_hold_is_taken_out():
    """A constant of 1e5 leaves float32 two digits behind the point; F then has them only, too."""
    log_ratios = np.asarray(gaussians(jax.random.key(0), 3, 200), np.float64)
    shift = np.array([1e5, 0.0, -1e5])
    joint, moved = (
        telescoping.joint_log_partitions(log_ratios + c)
        for c in (0, shift[:, None, None])
    )  # fmt: skip
    # Both are solved, and then rounded: they agree to some units in the last place of float32.
    np.testing.assert_allclose(moved.log_partition, joint.log_partition + shift, rtol=5e-7)
    np.testing.assert_allclose(moved.total, joint.total, rtol=1e-5)
    np.testing.assert_allclose(moved.covariance, joint.covariance, rtol=1e-4)


@pytest.mark.costly
def test_padding_counts_for_nothing(x64):
    """Bridges of 200, 150, 200 and 120 samples, and NaN in what is left."""
    sizes = np.array([200, 150, 200, 120])
    log_ratios = np.array(gaussians(jax.random.key(2), 3, 200))
    mask = np.arange(200) < sizes[:, None]
    log_ratios[:, ~mask] = np.nan
    joint = estimate(log_ratios, weights=jnp.asarray(mask), shared_samples=False)
    tails = np.cumsum(log_ratios[::-1], axis=0)[::-1]
    potentials = -np.concatenate([tails, np.zeros_like(tails[:1])])[:, mask]
    states = nce_jax.mbar(jnp.asarray(potentials), jnp.asarray(sizes))
    np.testing.assert_allclose(joint.log_partition, np.diff(states.f), rtol=1e-9)
    # With samples on their own, the sandwich of `mbar`, but for n / (n - 1) of each bridge.
    sandwich = np.diff(np.diff(states.sandwich_covariance, axis=0), axis=1)
    ratio = np.diag(joint.covariance) / np.diag(sandwich)
    assert np.all((ratio > 200 / 199 - 1e-6) & (ratio < 120 / 119 + 1e-6))
    without = estimate(
        log_ratios, weights=jnp.asarray(mask & (np.arange(4) != 1)[:, None]), shared_samples=False
    )
    assert without.status.tolist() == [Status.NO_OVERLAP, Status.NO_OVERLAP, Status.CONVERGED]
    assert np.isfinite(without.log_partition).tolist() == [False, False, True]
    assert np.isfinite(without.standard_error).tolist() == [False, False, True]
    assert np.isnan([without.total, without.kl, without.total_standard_error]).all()


def test_a_gap_is_of_its_stage_alone(x64):
    """The middle stage separates its sets by 200 nats: its neighbors are pairs of their own."""
    log_ratios = np.array(gaussians(jax.random.key(3), 3, 200))
    bridges = np.arange(4)[:, None]
    log_ratios[1] = np.where(bridges <= 1, 100, -100)
    joint = estimate(log_ratios)
    assert joint.status.tolist() == [Status.CONVERGED, Status.NO_OVERLAP, Status.CONVERGED]
    for stage in (0, 2):
        data, noise = (side[stage : stage + 1] for side in adjacent(log_ratios))
        pair = nce_jax.solve_log_partition(data, noise).log_partition
        np.testing.assert_allclose(joint.log_partition[stage], pair[0], rtol=1e-9)
        error = telescoping.joint_standard_error(data, noise)
        np.testing.assert_allclose(joint.standard_error[stage], error, rtol=1e-9)
    assert np.isnan([joint.log_partition[1], joint.standard_error[1], joint.total]).all()
    assert np.isnan(joint.covariance[1]).all()


def test_infinite_log_ratios_are_bounds_of_a_support(x64):
    """Beyond a bound no bridge from the data on has a density, and no bridge towards the noise."""
    log_ratios = np.array(gaussians(jax.random.key(4), 3, 200))
    stage, bridge = np.indices((3, 4))[..., None]
    values = log_ratios[:1]
    none_before = (stage < bridge) & (values < np.quantile(values[0, 2:], 0.1)) & (stage == 1)
    none_beyond = (stage >= bridge) & (values > np.quantile(values[0, :2], 0.9)) & (stage == 2)
    infinite, far = (
        np.where(none_before, -large, np.where(none_beyond, large, log_ratios))
        for large in (np.inf, 1e4)
    )
    joint, wanted = map(estimate, (infinite, far))
    for name in ("log_partition", "covariance", "status"):
        np.testing.assert_allclose(getattr(joint, name), getattr(wanted, name), rtol=1e-9)
    log_ratios[2, 1, 0] = np.nan
    spoiled = estimate(log_ratios)
    assert np.all(spoiled.status == Status.NONFINITE)
    assert np.isnan(spoiled.log_partition).all()


@pytest.mark.costly
def test_blocks_of_repeated_rows_give_the_error_of_the_rows(x64):
    log_ratios = gaussians(jax.random.key(5), 3, 80)
    repeated = jnp.repeat(log_ratios, 3, axis=-1)
    once = estimate(log_ratios)
    joint = estimate(repeated, block_size=3)
    np.testing.assert_allclose(joint.covariance, once.covariance, rtol=1e-9)
    np.testing.assert_allclose(joint.kl_standard_error, once.kl_standard_error, rtol=1e-9)
    np.testing.assert_allclose(joint.effective_samples, once.effective_samples, rtol=1e-9)


@pytest.mark.costly
def test_it_has_derivatives(x64):
    """A constant of a stage moves its own F_k and no other: the derivatives of F_k in the log
    ratios of stage j add up to one if j = k, and to zero otherwise.
    """
    log_ratios = gaussians(jax.random.key(6), 3, 60)
    slopes = jax.jacrev(lambda s: estimate(s).log_partition)(log_ratios)
    np.testing.assert_allclose(slopes.sum(axis=(2, 3)), np.eye(3), atol=1e-9)
    errors = jax.grad(lambda s: estimate(s).total_standard_error)(log_ratios)
    assert np.all(errors == 0)


def test_all_stages_are_evaluated_at_all_bridges():
    x = jax.random.normal(jax.random.key(7), (4, 5, 2))
    stages_fn = telescoping.separate(lambda theta, x: x @ theta)
    slopes = jax.random.normal(jax.random.key(8), (3, 2))
    table = telescoping.bridge_log_ratios(stages_fn, slopes, x)
    np.testing.assert_allclose(table, np.einsum("jd,knd->jkn", slopes, x), rtol=1e-5)
    np.testing.assert_allclose(
        adjacent(table), telescoping.stage_log_ratios(stages_fn, slopes, x), rtol=1e-6
    )


@pytest.mark.bad_input
def test_what_is_no_table_of_stages_is_refused():
    with pytest.raises(ValueError, match=r"log_ratios: expected shape \(K, K \+ 1, n\), got shape"):
        telescoping.joint_log_partitions(jnp.ones((3, 3, 5)))
    with pytest.raises(ValueError, match="log_ratios: expected shape"):
        telescoping.joint_log_partitions(jnp.ones((1, 2)))
    with pytest.raises(ValueError, match="weights: expected shape"):
        telescoping.joint_log_partitions(jnp.ones((2, 3, 5)), weights=jnp.ones((2, 5)))
    with pytest.raises(TypeError, match="log_ratios: expected"):
        telescoping.joint_log_partitions(jnp.ones((2, 3, 5), int))
    with pytest.raises(ValueError, match="x: expected bridges"):
        telescoping.bridge_log_ratios(lambda theta, x: x, jnp.ones(1), jnp.ones(3))


@pytest.mark.costly
@pytest.mark.parametrize(
    ("chain", "num_stages", "shared_samples"),
    [(gaussians, 4, False), (gaussians, 8, True), (peaked, 2, False), (peaked, 4, True)],
)
def test_it_covers_and_saves_what_is_written(x64, chain, num_stages, shared_samples):
    """500 draws of 500 rows, seed 1. The fraction of 95 % intervals that hold the truth, and the
    mean variance over that of the draws, are within 4 standard errors; the ratio of the variances
    is that of the table within 4.
    """
    num_draws = 500

    @jax.jit
    def draw(key):
        log_ratios = chain(key, num_stages, 500, shared_samples=shared_samples)
        joint = telescoping.joint_log_partitions(log_ratios, shared_samples=shared_samples)
        pairs = nce_jax.solve_log_partition(*adjacent(log_ratios)).log_partition
        return joint, pairs

    joint, pairs = jax.lax.map(draw, jax.random.split(jax.random.key(1), num_draws))
    truth = {gaussians: (18, 18), peaked: (np.log(1e-3), (1e-6 - 1) / 2 - np.log(1e-3))}[chain]
    values = joint.total, joint.kl
    errors = joint.total_standard_error, joint.kl_standard_error
    for value, error, exact in zip(values, errors, truth, strict=True):
        covered = np.mean(np.abs(value - exact) < 1.96 * error)
        assert abs(covered - 0.95) < 4 * np.sqrt(0.95 * 0.05 / num_draws)
        assert abs(np.mean(error**2) / np.var(value) - 1) < 4 * np.sqrt(2 / num_draws)
    if num_stages > 2:  # with two, few samples are in the overlaps, and the normal limit is far
        assert abs(np.mean(joint.disagreement**2) - 1) < 4 * np.sqrt(2 / num_draws)
    total = np.sum(pairs, axis=-1)
    ratio = np.var(joint.total) / np.var(total)
    correlation = np.corrcoef(joint.total, total)[0, 1]
    # Of the log of the ratio of two correlated variances, here and in the table.
    spread = np.sqrt(4 * (1 - correlation**2) * (1 / num_draws + 1 / NUM_DRAWS_OF_TABLE))
    wanted = RATIOS[chain.__name__, shared_samples][num_stages]
    assert abs(np.log(ratio / wanted)) < 4 * spread + 0.0006  # the table is rounded
