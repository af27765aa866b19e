"""suggested_magnification: the rule in NumPy, what it grows with, its invariances, and hard
input.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

import nce_jax
from tests import oracles

GRID = np.geomspace(1, 1e6, 31)
SIZE = 2048
choose = jax.jit(nce_jax.suggested_magnification)


def oracle(data, noise, kappa) -> float:
    """Effective noise samples m A^2 / E[(kappa Q)^2], the larger of both views of the second
    moment.
    """
    f = oracles.root(data, noise, kappa=kappa)
    p, q = oracles.probabilities(data, noise, f, kappa)
    return len(q) * p.mean() ** 2 / max(kappa * (p * (1 - p)).mean(), (kappa**2 * q**2).mean())


@pytest.mark.parametrize("ratio", [1.0, 4.0])
def test_it_is_the_largest_m_that_leaves_ten_effective_samples(ratio, x64):
    generator = np.random.default_rng(0)
    theta = np.array([0.5, 1.5, 3.0, 6.0])[:, None]
    data = theta * (theta + generator.standard_normal((4, 60)))
    noise = theta * generator.standard_normal((4, 90))
    suggested = choose(data, noise, noise_ratio=ratio)
    for lane in range(4):
        effective = np.array([oracle(data[lane], noise[lane], ratio * m) for m in GRID])
        assert np.abs(effective / 10 - 1).min() > 1e-6  # else rounding decides
        supported = (effective >= 10) | (GRID <= 1)
        np.testing.assert_allclose(suggested[lane], GRID[supported].max(), rtol=1e-12)
    assert len(set(np.asarray(suggested))) > 2


def apart(n: int, distance: float = 3.0) -> tuple[np.ndarray, ...]:
    """Log ratios at the truth of Gaussians `distance` apart, at n quantiles in place of draws;
    padded, with weights.
    """
    x = norm.ppf((np.arange(n) + 0.5) / n)
    padded = np.pad(x, (0, SIZE - n))
    weights = np.float32(np.arange(SIZE) < n)
    return (
        np.float32(distance * (padded + distance)),
        np.float32(distance * padded),
        weights,
        weights,
    )


def choose_each(cases, noise_ratio=None):
    data, noise, weights_data, weights_noise = map(np.stack, zip(*cases, strict=True))
    ratio = np.ones(len(data), np.float32) if noise_ratio is None else np.float32(noise_ratio)
    return np.asarray(
        choose(
            data, noise, noise_ratio=ratio, weights_data=weights_data, weights_noise=weights_noise
        )
    )


def test_more_samples_support_a_larger_m_and_a_wider_gap_a_smaller_one():
    values = choose_each([apart(128), apart(512), apart(2048), apart(512, 4.0), apart(512, 2.0)])
    assert values[0] < values[1] < values[2]
    assert values[3] < values[1] < values[4]


def test_a_shift_changes_nothing_and_a_noise_ratio_divides():
    data, noise, *weights = apart(512)
    here, there = (data, noise, *weights), (data + 9, noise + 9, *weights)
    alone, shifted, ten, tenth, three = choose_each(
        [here, there, here, here, here], [1, 1, 10, 0.1, 3]
    )
    assert shifted == alone
    # Five values to a decade.
    np.testing.assert_allclose([ten, tenth], [alone / 10, alone * 10], rtol=1e-4)
    assert abs(np.log10(three * 3 / alone)) <= 0.2 + 1e-4  # the grid has steps of 10^.2


def test_hard_input():
    nan, inf = np.nan, np.inf
    lanes = (
        ([1e4, 9e3, 9.5e3], [-1e4, -9e3, -9.5e3], 1),  # no overlap
        ([-1e4, -9e3, -9.5e3], [1e4, 9e3, 9.5e3], 1),  # inverted
        ([80.0, 90.0, 85.0], [-80.0, -90.0, -85.0], 1),
        ([0.0, 0.1, -0.1], [0.0, 0.1, -0.1], 1),  # three are never ten
        ([1.0, nan, 0.0], [0.0, 0.1, 0.2], nan),
        ([1.0, 0.5, 0.0], [inf, 0.1, 0.2], nan),
        ([-inf, 0.5, 0.0], [1.0, 0.1, 0.2], nan),
    )
    data, noise, expected = (np.float32(column) for column in zip(*lanes, strict=True))
    np.testing.assert_array_equal(choose(data, noise), expected)


def test_one_sample_each_and_half_precision():
    suggested = choose(jnp.array([[1], [0]], jnp.bfloat16), jnp.array([[-1], [0]], jnp.bfloat16))
    assert suggested.dtype == jnp.float32
    assert suggested[0] == 1


def test_where_the_log_ratio_is_constant_every_m_is_supported():
    np.testing.assert_allclose(
        choose_each([(np.zeros(SIZE, np.float32),) * 2 + apart(SIZE)[2:]] * 5), 1e6, rtol=1e-5
    )


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("arguments", "options", "error", "word"),
    [
        ((np.arange(3), np.ones(3)), {}, TypeError, "log_ratio_data: expected a floating"),
        ((np.ones(3), np.arange(3)), {}, TypeError, "log_ratio_noise: expected a floating"),
        ((np.ones(0), np.ones(3)), {}, ValueError, "log_ratio_data"),
        ((np.ones(3), np.ones(0)), {}, ValueError, "log_ratio_noise"),
        ((np.ones((2, 3)), np.ones((3, 3))), {}, ValueError, "log_ratio_noise"),
        ((np.ones(3), np.ones(3)), {"noise_ratio": -1.0}, ValueError, "noise_ratio"),
        ((np.ones(3), np.ones(3)), {"noise_ratio": np.ones(2)}, ValueError, "noise_ratio"),
        ((np.ones(3), np.ones(3)), {"weights_data": np.ones(4)}, ValueError, "weights_data"),
        ((np.ones(3), np.ones(3)), {"weights_noise": np.arange(3)}, TypeError, "weights_noise"),
    ],
)
def test_what_is_refused_is_named(arguments, options, error, word):
    with pytest.raises(error, match=word):
        nce_jax.suggested_magnification(*arguments, **options)
