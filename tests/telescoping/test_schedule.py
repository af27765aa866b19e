"""The schedule rule: on overlaps known in closed form it finds stages of equal overlap, whatever
the gap.
"""

import numpy as np
import pytest

from nce_jax import telescoping


def overlaps(schedule, separation, spread):
    """Of the bridges between N(separation, spread^2) and N(0, 1), by quadrature of 2 p q / (p +
    q).
    """
    schedule = np.asarray(schedule)
    signal = np.sqrt((1 - schedule) * (1 + schedule))
    means, deviations = signal * separation, np.hypot(signal * spread, schedule)
    z = np.linspace(-9, 9, 4001)
    found = []
    for stage in range(len(schedule) - 1):
        m, d = means[stage : stage + 2], deviations[stage : stage + 2]
        grid = np.unique(np.concatenate([m[0] + d[0] * z, m[1] + d[1] * z]))
        p, q = (np.exp(-0.5 * ((grid - m[i]) / d[i]) ** 2) / d[i] for i in (0, 1))
        found.append(np.trapezoid(2 * p * q / np.maximum(p + q, 1e-300), grid) / np.sqrt(2 * np.pi))
    return np.array(found)


@pytest.mark.parametrize(
    ("separation", "spread", "num_stages"),
    [(1.0, 1.0, 1), (8.0, 1.0, 4), (64.0, 1.0, 30), (0.0, 1e-6, 8), (0.0, 100.0, 3)],
)
def test_every_gap_is_bridged_in_few_rounds(separation, spread, num_stages):
    schedule, rounds = np.array([0.0, 1.0]), 0
    while len(
        finer := telescoping.refine_schedule(schedule, overlaps(schedule, separation, spread))
    ) > len(schedule):
        schedule, rounds = finer, rounds + 1
    even = telescoping.even_schedule(schedule, overlaps(schedule, separation, spread))
    found = overlaps(even, separation, spread)
    assert rounds < 10
    assert len(found) == num_stages
    assert found.min() > 0.39  # 0.4, but for the straight line between measured lengths
    assert len(found) == 1 or found.max() < 0.6


def test_lengths_are_those_of_unit_gaussians():
    """Stages of the overlap that unit Gaussians 1 and 2 apart have, by the quadrature above: 2 + 1
    in one cut of 3 / 2.
    """
    near, far = overlaps([0.0, 1.0], 1.0, 1.0)[0], overlaps([0.0, 1.0], 2.0, 1.0)[0]
    np.testing.assert_allclose([near, far], [0.7959, 0.4496], atol=1e-4)
    half = telescoping.even_schedule([0.0, np.sin(0.8), 1.0], [far, near], min_overlap=far)
    np.testing.assert_allclose(half, [0, np.sin(0.6), 1], atol=1e-3)


def test_only_gaps_are_cut_and_nan_is_a_gap():
    finer = telescoping.refine_schedule([0.0, 0.3, 0.6, 1.0], [0.9, np.nan, 0.5])
    assert len(finer) == 5
    assert 0.3 < finer[2] < 0.6


@pytest.mark.bad_input
def test_arguments_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="overlap: expected one number per stage"):
        telescoping.refine_schedule([0.0, 1.0], [0.1, 0.2])
    with pytest.raises(ValueError, match="min_overlap: expected a number between 0 and 1"):
        telescoping.even_schedule([0.0, 1.0], [0.1], min_overlap=1.0)
