"""The candidates' table against a NumPy oracle in float64, its identities, and the error of `unseen` by simulation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, special

from nce_jax.log_partition._types import make_problem
from nce_jax.magnification._candidates import MIN_EFFECTIVE, examine

GRID = np.array([0.1, 1.0, 10.0, 100.0, 1e4])


@functools.partial(jax.jit, static_argnames="ratio")
def table(s_data, s_noise, weights_data=None, weights_noise=None, ratio=1.0):
    grid = jnp.asarray(GRID, s_data.dtype)
    at = lambda m: make_problem(s_data, s_noise, weights_data, weights_noise, m, ratio)  # noqa: E731
    return examine(at, grid, jnp.full(grid.shape, jnp.nan, s_data.dtype))


def draws(key: int, n: int = 300, m: int = 500) -> tuple[np.ndarray, np.ndarray]:
    """Log ratios of N(1, 1) to N(0, 1) on data N(2, 1) and on noise."""
    generator = np.random.default_rng(key)
    return 2 + generator.standard_normal(n), generator.standard_normal(m)


def oracle(s_data: np.ndarray, s_noise: np.ndarray, kappa: float) -> dict[str, float]:
    def gap(f):
        return special.expit(np.log(kappa) - s_data + f).mean() - kappa * special.expit(s_noise - f - np.log(kappa)).mean()

    f = optimize.brentq(gap, -30, 30, xtol=1e-13)
    p, q = special.expit(np.log(kappa) - s_data + f), special.expit(s_noise - f - np.log(kappa))
    n, m = len(p), len(q)
    moment = kappa * (p * (1 - p)).mean()
    return {
        "log_partition": f,
        "acceptance": p.mean(),
        "variance": (p**2).mean() + n / m * moment,
        "effective_samples": m * p.mean() ** 2 / max(moment, (kappa**2 * q**2).mean()),
    }


@pytest.mark.parametrize("ratio", [1.0, 3.0])
def test_the_table_equals_the_formulas(ratio):
    with jax.enable_x64(True):
        s_data, s_noise = draws(0)
        found = table(jnp.asarray(s_data), jnp.asarray(s_noise), ratio=ratio)
    for place, m in enumerate(GRID):
        for name, expected in oracle(s_data, s_noise, ratio * m).items():
            np.testing.assert_allclose(getattr(found, name)[place], expected, rtol=1e-9, err_msg=name)
    supported = (np.asarray(found.effective_samples) >= MIN_EFFECTIVE) | (GRID <= 1)
    assert int(found.largest) == np.flatnonzero(supported).max()


def test_both_sides_of_the_gradient_weigh_the_same_at_the_root():
    found = table(*map(jnp.float32, draws(1)))
    np.testing.assert_allclose(found.pull_noise.mean(axis=1), found.acceptance, rtol=1e-4)


def test_a_shift_moves_f_and_nothing_else():
    with jax.enable_x64(True):
        s_data, s_noise = map(jnp.asarray, draws(2))
        here, there = table(s_data, s_noise), table(s_data + 7.0, s_noise + 7.0)
    np.testing.assert_allclose(there.log_partition - here.log_partition, 7, rtol=1e-9)
    for name in ("acceptance", "variance", "effective_samples", "unseen", "unseen_variance"):
        np.testing.assert_allclose(getattr(there, name), getattr(here, name), atol=1e-9, err_msg=name)


def test_samples_of_weight_zero_take_no_part():
    with jax.enable_x64(True):
        s_data, s_noise = draws(3)
        padded = np.append(s_data, np.nan), np.append(s_noise, [50.0, np.nan])
        weights = jnp.arange(301) < 300, jnp.arange(502) < 500
        plain, masked = table(*map(jnp.asarray, (s_data, s_noise))), table(*map(jnp.asarray, padded), *weights)
    for name in ("acceptance", "variance", "effective_samples", "unseen", "unseen_variance"):
        np.testing.assert_allclose(getattr(masked, name), getattr(plain, name), atol=1e-10, err_msg=name)


def test_a_large_m_accepts_everything_that_it_is_supported_by():
    found = table(jnp.full(50, 0.1), jnp.linspace(-0.1, 0.1, 60))
    np.testing.assert_allclose(found.acceptance[-1], 1, atol=1e-3)
    assert int(found.largest) == len(GRID) - 1


def test_the_sampling_variance_of_what_is_unseen_is_that_of_many_draws():
    with jax.enable_x64(True):
        many = [draws(seed, 400, 400) for seed in range(1000, 1400)]
        found = jax.vmap(table)(*map(jnp.asarray, map(np.stack, zip(*many, strict=True))))
    kept = np.asarray(found.largest) == np.bincount(np.asarray(found.largest)).argmax()
    differences, variances = np.asarray(found.unseen)[kept, 1], np.asarray(found.unseen_variance)[kept, 1]
    # A variance of some 400 draws has a relative standard error of .07: k = 3.5, seeds 1000 to 1399.
    np.testing.assert_allclose(variances.mean(), differences.var(ddof=1), rtol=0.25)
