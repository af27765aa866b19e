"""Identities of the root: what may change without changing F*, and what must move it by exactly so
much.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nce_jax
from tests.log_partition.cases import (
    SOLVERS,
    gaussian_log_ratios,
    random_weights,
    solve,
    solve_tolerance,
)
from tests.oracles import mean, probabilities

ATOL = 2 * solve_tolerance(np.float64, 4)


def solved(*args, **kwargs) -> np.ndarray:
    return np.asarray(solve(*args, **kwargs).log_partition)


@pytest.mark.parametrize("kappa", [1e-3, 1.0, 1e3])
def test_substituted_back_it_is_stationary(kappa, x64):
    data, noise = gaussian_log_ratios()
    log_partition = solved(data, noise, magnification=kappa)
    p, q = probabilities(data, noise, log_partition, kappa)
    np.testing.assert_allclose(mean(p), kappa * mean(q), rtol=1e-10)
    slope = jax.grad(lambda f: nce_jax.nce_loss(data, noise, log_partition=f, magnification=kappa))(
        log_partition
    )
    np.testing.assert_allclose(slope, 0, atol=1e-11 * min(1, kappa))


@pytest.mark.parametrize("shift", [-7.25, 0.5, 1000.0])
def test_shifting_all_log_ratios_shifts_it(shift, x64):
    data, noise = gaussian_log_ratios()
    np.testing.assert_allclose(
        solved(data + shift, noise + shift), solved(data, noise) + shift, rtol=0, atol=1e-11
    )


def test_only_the_product_of_magnification_and_noise_ratio_matters(x64):
    data, noise = gaussian_log_ratios()
    expected = solved(data, noise, magnification=12.0)
    for magnification, noise_ratio in ((1.0, 12.0), (4.0, 3.0), (120.0, 0.1)):
        actual = solved(data, noise, magnification=magnification, noise_ratio=noise_ratio)
        np.testing.assert_allclose(actual, expected, rtol=0, atol=ATOL)
    for magnification in (1e-3, 1e3):  # M = 1 / nu is classic NCE
        actual = solved(data, noise, magnification=magnification, noise_ratio=1 / magnification)
        np.testing.assert_allclose(actual, solved(data, noise), rtol=0, atol=ATOL)


def test_exchanging_data_and_noise_changes_its_sign(x64):
    """s -> -s, kappa -> 1 / kappa and the two sets exchanged is the same equation for -F."""
    data, noise = gaussian_log_ratios()
    expected = -solved(data, noise, magnification=7.0)
    np.testing.assert_allclose(
        solved(-noise, -data, magnification=1 / 7.0), expected, rtol=0, atol=ATOL
    )


def test_weight_two_is_a_sample_twice(x64):
    data, noise = gaussian_log_ratios()
    weights = [jnp.where(jnp.arange(side.shape[-1]) < 9, 2.0, 1.0) for side in (data, noise)]
    weighted = solved(data, noise, weights_data=weights[0], weights_noise=weights[1])
    duplicated = solved(jnp.concatenate([data, data[:9]]), jnp.concatenate([noise, noise[:9]]))
    np.testing.assert_allclose(weighted, duplicated, rtol=0, atol=ATOL)


@pytest.mark.parametrize("scale", [1e-12, 3.0, 1e12])
def test_weights_need_no_normalization(scale, x64):
    data, noise = gaussian_log_ratios()
    weights_data, weights_noise = random_weights(data), random_weights(noise)
    expected = solved(data, noise, weights_data=weights_data, weights_noise=weights_noise)
    scaled = solved(data, noise, weights_data=scale * weights_data, weights_noise=7 * weights_noise)
    np.testing.assert_allclose(scaled, expected, rtol=0, atol=ATOL)


@pytest.mark.parametrize("padding", [0.0, np.nan, np.inf, -np.inf, 1e30])
def test_weight_zero_drops_a_sample_whatever_it_holds(padding, x64):
    data, noise = gaussian_log_ratios()
    weights_data, weights_noise = (random_weights(s, 1, num_zeros=5) for s in (data, noise))
    hidden = data.at[:5].set(padding), noise.at[:5].set(padding)
    actual = solved(*hidden, weights_data=weights_data, weights_noise=weights_noise)
    kept_weights = {"weights_data": weights_data[5:], "weights_noise": weights_noise[5:]}
    expected = solved(data[5:], noise[5:], **kept_weights)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=ATOL)


def test_order_does_not_matter(x64):
    data, noise = gaussian_log_ratios()
    order = np.random.default_rng(0).permutation(data.shape[-1])
    weights_data, weights_noise = random_weights(data), random_weights(noise)
    shuffled = solved(
        data[order],
        noise[::-1],
        weights_data=weights_data[order],
        weights_noise=weights_noise[::-1],
    )
    expected = solved(data, noise, weights_data=weights_data, weights_noise=weights_noise)
    np.testing.assert_allclose(shuffled, expected, rtol=0, atol=ATOL)


def test_a_batch_is_a_loop_and_a_vmap(x64):
    problems = [gaussian_log_ratios(1 + 0.1 * seed, seed=seed) for seed in range(6)]
    data, noise = (jnp.stack(side).reshape(2, 3, -1) for side in zip(*problems, strict=True))
    magnification = jnp.asarray([0.1, 1.0, 30.0])
    batch = solve(data, noise, magnification=magnification)
    assert batch.log_partition.shape == (2, 3)

    def one(data, noise, magnification):
        return solve(data, noise, magnification=magnification)

    mapped = jax.vmap(jax.vmap(one), in_axes=(0, 0, None))(data, noise, magnification)
    looped = [[one(data[i, j], noise[i, j], magnification[j]) for j in range(3)] for i in range(2)]
    for name in ("log_partition", "status"):
        expected = [[getattr(lane, name) for lane in row] for row in looped]
        np.testing.assert_allclose(getattr(batch, name), expected, rtol=0, atol=ATOL)
        np.testing.assert_allclose(getattr(mapped, name), expected, rtol=0, atol=ATOL)


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_starting_point_does_not_matter(solver, x64):
    data, noise = gaussian_log_ratios()
    expected = solved(data, noise)
    for initial in (-1e3, 0.0, 1e3, np.nan, np.inf, float(expected)):
        actual = solved(data, noise, initial=initial, solver=SOLVERS[solver], max_steps=4000)
        np.testing.assert_allclose(actual, expected, rtol=0, atol=ATOL)


def test_a_warm_start_saves_steps(x64):
    data, noise = gaussian_log_ratios(6.0, 200, 200)
    cold = solve(data, noise, tolerance=1e-6)
    warm = solve(data, noise, tolerance=1e-6, initial=cold.log_partition)
    assert warm.num_evaluations == 1
    assert warm.num_evaluations < cold.num_evaluations
