"""The search rule for noise levels: on overlaps known in closed form it finds stages of equal
overlap, whatever the gap.
"""

import numpy as np
import pytest

from nce_jax import telescoping


def overlaps(levels, separation, spread):
    """Of the bridges between N(separation, spread^2) and N(0, 1), by quadrature of 2 p q / (p +
    q).
    """
    levels = np.asarray(levels)
    signal = np.sqrt((1 - levels) * (1 + levels))
    means, deviations = signal * separation, np.hypot(signal * spread, levels)
    z = np.linspace(-9, 9, 4001)
    measured = []
    for stage in range(len(levels) - 1):
        m, d = means[stage : stage + 2], deviations[stage : stage + 2]
        grid = np.unique(np.concatenate([m[0] + d[0] * z, m[1] + d[1] * z]))
        p, q = (np.exp(-0.5 * ((grid - m[i]) / d[i]) ** 2) / d[i] for i in (0, 1))
        measured.append(
            np.trapezoid(2 * p * q / np.maximum(p + q, 1e-300), grid) / np.sqrt(2 * np.pi)
        )
    return np.array(measured)


@pytest.mark.parametrize(
    ("separation", "spread", "num_stages"),
    [(1.0, 1.0, 1), (8.0, 1.0, 4), (64.0, 1.0, 30), (0.0, 1e-6, 8), (0.0, 100.0, 3)],
)
def test_every_gap_is_bridged_in_few_rounds(separation, spread, num_stages):
    levels, rounds = np.array([0.0, 1.0]), 0
    while len(
        finer := telescoping.refine_noise_levels(levels, overlaps(levels, separation, spread))
    ) > len(levels):
        levels, rounds = finer, rounds + 1
    even = telescoping.even_noise_levels(levels, overlaps(levels, separation, spread))
    measured = overlaps(even, separation, spread)
    assert rounds < 10
    assert len(measured) == num_stages
    assert measured.min() > 0.39  # 0.4, but for the straight line between measured lengths
    assert len(measured) == 1 or measured.max() < 0.6


def test_lengths_are_those_of_unit_gaussians():
    """Stages of the overlap that unit Gaussians 1 and 2 apart have, by the quadrature above: 2 + 1
    in one cut of 3 / 2.
    """
    near, far = overlaps([0.0, 1.0], 1.0, 1.0)[0], overlaps([0.0, 1.0], 2.0, 1.0)[0]
    np.testing.assert_allclose([near, far], [0.7959, 0.4496], atol=1e-4)
    half = telescoping.even_noise_levels([0.0, np.sin(0.8), 1.0], [far, near], min_overlap=far)
    np.testing.assert_allclose(half, [0, np.sin(0.6), 1], atol=1e-3)


def test_only_gaps_are_cut_and_nan_is_a_gap():
    finer = telescoping.refine_noise_levels([0.0, 0.3, 0.6, 1.0], [0.9, np.nan, 0.5])
    assert len(finer) == 5
    assert 0.3 < finer[2] < 0.6


@pytest.mark.bad_input
def test_arguments_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="overlap: expected one number per stage"):
        telescoping.refine_noise_levels([0.0, 1.0], [0.1, 0.2])
    with pytest.raises(ValueError, match="min_overlap: expected a number between 0 and 1"):
        telescoping.even_noise_levels([0.0, 1.0], [0.1], min_overlap=1.0)
    with pytest.raises(TypeError, match="min_overlap: expected a number between 0 and 1, got str"):
        telescoping.refine_noise_levels([0.0, 1.0], [0.1], min_overlap="half")
    with pytest.raises(ValueError, match="overlap: expected finite numbers"):
        telescoping.even_noise_levels([0.0, 1.0], [np.nan])
