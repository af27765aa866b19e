"""Toys refuse what is no size, key or point; their densities are normalized whatever the sizes."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nce_jax import toys
from nce_jax.toys import _pinwheels


@pytest.mark.parametrize(
    ("toy", "extent"),
    [
        (toys.gaussians(3, radius=1.0, std=0.5), 5.0),
        (toys.rings((0.5, 2.0), std=0.3), 5.0),
        (toys.checkerboard(0.5), 2.0),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_densities_of_other_sizes_are_normalized(toy, extent):
    """The midpoint rule with 200 cells a side, whose error is that of float32 sums here."""
    axis = extent * (2 * np.arange(200) + 1 - 200) / 200
    points = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    density = np.exp(np.asarray(toy.log_density(jnp.asarray(points, jnp.float32)), np.float64))
    assert abs(density.sum() * (2 * extent / 200) ** 2 - 1) < 1e-5


DENSE = [toys.gaussians(), toys.rings(), toys.checkerboard(), toys.pinwheel()]


@pytest.mark.parametrize("toy", DENSE, ids=lambda toy: toy.name)
def test_a_density_is_in_float32_at_least_and_says_nan(toy):
    """Warnings are errors: float64 points of NumPy are converted without one where x64 is off."""
    single = np.array([[2.5, 0.25], [math.nan, 1.0], [1.0, math.nan]], np.float32)
    expected = np.asarray(toy.log_density(jnp.asarray(single)))
    assert np.isnan(expected).tolist() == [False, True, True]
    np.testing.assert_array_equal(toy.log_density(single.astype(np.float64)), expected)
    half = toy.log_density(jnp.asarray(single, jnp.bfloat16))
    assert half.dtype == jnp.float32
    np.testing.assert_array_equal(half, expected)


def test_phases_of_a_wide_pinwheel_are_no_more_than_the_winding_needs():
    """Their number would follow exp(1 + 6 radial_std): 8e12 for a pinwheel of radial_std 5."""
    shapes = [
        jax.eval_shape(
            lambda r, std=std: _pinwheels._phases(_pinwheels.Pinwheel(radial_std=std), r, r),
            jax.ShapeDtypeStruct((1, 1, 1), jnp.float32),
        ).shape
        for std in (1.5, 2.0, 5.0)
    ]
    assert shapes[0] == shapes[1] == shapes[2]


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: toys.gaussians(0), ValueError, "num_modes: expected at least 1, got 0"),
        (lambda: toys.gaussians(2.0), TypeError, "num_modes: expected an integer"),
        (lambda: toys.gaussians(std=0.0), ValueError, "std: expected a finite positive number"),
        (lambda: toys.gaussians(radius=math.inf), ValueError, "radius: expected a finite positive"),
        (lambda: toys.pinwheel(rate=-1.0), ValueError, "rate: expected a finite positive number"),
        (lambda: toys.pinwheel(scale="2"), TypeError, "scale: expected a finite positive number"),
        (lambda: toys.rings(()), TypeError, "radii: expected a tuple of numbers, got "),
        (lambda: toys.rings((1.0, -1.0)), ValueError, r"radii\[1\]: expected a finite positive"),
        (lambda: toys.checkerboard(math.nan), ValueError, "width: expected a finite positive"),
        (lambda: toys.gaussians().sample(0, 5), TypeError, "key: expected a typed key, got int 0"),
        (
            lambda: toys.two_spirals().sample(jax.random.key(0), 0),
            ValueError,
            "num_samples: expected at least 1, got 0",
        ),
        (lambda: toys.rings().log_density([1.0]), TypeError, "x: expected an array of shape"),
    ],
)
def test_wrong_arguments_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()
