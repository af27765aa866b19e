"""The reference root is itself right: two independent ways to it agree, on easy problems and where
doubles are blind.
"""

import numpy as np
import pytest

from tests.oracles import nce_loss, root, root_in_extended_precision

GENERATOR = np.random.default_rng(0)
PROBLEMS = {
    "good overlap": (GENERATOR.normal(1, 1, 9), GENERATOR.normal(0, 1, 7), 1),
    "large kappa": (GENERATOR.normal(1, 1, 9), GENERATOR.normal(0, 1, 7), 1e6),
    "small kappa": (GENERATOR.normal(1, 1, 9), GENERATOR.normal(0, 1, 7), 1e-6),
    "inverted": (GENERATOR.normal(-60, 1, 6), GENERATOR.normal(60, 2, 4), 1),
    "no overlap": (GENERATOR.normal(300, 9, 5), GENERATOR.normal(-300, 9, 8), 1),
    "equal counts below a gap": (np.array([-60.0, 60.0]), np.array([-50.0, 50.0]), 1),
    "counts equal but for rounding": (np.array([-60.0, 50.0, 60.0]), np.array([-50.0]), 1 / 3),
    "offset": (1e6 + GENERATOR.normal(1, 1, 9), 1e6 + GENERATOR.normal(0, 1, 7), 0.3),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_two_ways_to_the_root_agree(name):
    data, noise, kappa = PROBLEMS[name]
    expected = root_in_extended_precision(data, noise, kappa=kappa)
    np.testing.assert_allclose(root(data, noise, kappa=kappa), expected, rtol=4e-16, atol=3e-14)


def test_two_ways_agree_with_weights():
    data, noise = GENERATOR.normal(40, 20, 7), GENERATOR.normal(-40, 20, 6)
    weights = {
        "weights_data": GENERATOR.uniform(0.1, 2, 7),
        "weights_noise": np.array([0, 1, 0.5, 3, 0, 1e-3]),
    }
    expected = root_in_extended_precision(data, noise, kappa=0.7, **weights)
    np.testing.assert_allclose(
        root(data, noise, kappa=0.7, **weights), expected, rtol=1e-15, atol=3e-14
    )


def test_the_root_minimizes_the_loss():
    data, noise, _ = PROBLEMS["good overlap"]
    best = root(data, noise, kappa=3)
    losses = [
        nce_loss(data, noise, log_partition=best + shift, kappa=3) for shift in (-1e-3, 0, 1e-3)
    ]
    assert losses[1] < min(losses[0], losses[2])
