"""Eight Gaussians on a circle: the measures of samples against them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common import eight_gaussians

KEY = jax.random.key(0)


class Settings(NamedTuple):
    radius: float = 4.0
    std: float = 0.3
    num_projections: int = 64


SETTINGS = Settings()


def test_the_measures_of_data_are_those_of_data():
    x, y = (eight_gaussians.draw_data(SETTINGS, jax.random.key(seed), 4096) for seed in (0, 1))
    found = eight_gaussians.measure(SETTINGS, x, y, KEY)
    # Of 8,192 normal distances 98.9 % lie within three deviations: k = 4 standard errors.
    assert abs(found.good - 0.9889) < 4 * np.sqrt(0.0111 * 0.9889 / 4096)
    assert found.modes == 8
    assert found.mode_kl < 4 * 7 / (2 * 4096)  # a mean of 7 / (2 n) in chi-squared's limit
    assert abs(found.spread - 0.973) < 0.05  # truncated at three deviations
    assert abs(found.mmd) < 2e-3
    far = eight_gaussians.measure(SETTINGS, x[x[:, 0] > 0], y[: int((x[:, 0] > 0).sum())], KEY)
    assert far.modes < 6
    assert far.mode_kl > 0.5
    assert far.sliced > 5 * found.sliced


def test_the_sliced_distance_of_a_shift_is_its_root_mean_square_length():
    x = jax.random.normal(KEY, (500, 2))
    shifted = eight_gaussians.sliced_distance(x, x + jnp.array([[3.0, 0.0]]), KEY, 4000)
    np.testing.assert_allclose(shifted, 3 / np.sqrt(2), rtol=0.03)
