"""A NaN among many values is seen; XLA's minimum and maximum of some thousand on a CPU lose it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nce_jax
from nce_jax import Status, diagnostics, noise, samplers
from nce_jax._numerics import highest, lowest
from nce_jax.training._stages import worst_of_stages

SIZES = (300, 4096, 5000, 70_000)


def values(size, *, place=None):
    x = np.linspace(-1, 1, size, dtype=np.float32)
    if place is not None:
        x[int(place * (size - 1))] = np.nan
    return x


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_the_ends_are_nan(size, place):
    for end in (lowest, highest):
        assert np.isnan(end(jnp.asarray(values(size, place=place))))
        assert np.isnan(jax.jit(end)(values(size, place=place)))
    spoiled = values(size, place=place)
    counted = ~np.isnan(spoiled)
    assert lowest(spoiled, where=counted) == np.nanmin(spoiled)
    assert highest(spoiled, where=counted) == np.nanmax(spoiled)
    assert (lowest(values(size)), highest(values(size))) == (-1, 1)


@pytest.mark.parametrize("size", SIZES)
def test_a_solve_has_no_meaning(size):
    for sides in ((values(size, place=0.0), values(300)), (values(300), values(size, place=1.0))):
        for solution in (
            nce_jax.solve_log_partition(*sides),
            jax.jit(nce_jax.solve_log_partition)(*sides),
        ):
            assert solution.status == Status.NONFINITE
            assert np.isnan(solution.log_partition)


@pytest.mark.costly
def test_other_results_say_so():
    spoiled = jnp.asarray(values(5000, place=0.0))
    with pytest.raises(ValueError, match="finite"):
        noise.uniform_box_around(spoiled[:, None])
    box = jax.jit(lambda x: noise.uniform_box_around(x[:, None]).log_prob(jnp.zeros((1,))))
    assert np.isnan(box(spoiled))
    drawn = samplers.resample(
        jax.random.key(0),
        lambda x: jnp.where(x[..., 0] > 2.5, jnp.nan, x[..., 0]),
        noise.standard_normal(1),
        500,
    )
    assert drawn.status == Status.NONFINITE
    hidden = jnp.stack([spoiled] * 3, axis=1)
    report = diagnostics.self_normalization(hidden, embedding=jnp.ones((4, 3)), bias=jnp.zeros(4))
    assert np.isnan([report.lowest, report.highest]).all()


def test_the_worst_of_all_stages_is_nan():
    stages = jnp.stack([values(5000, place=0.3), values(5000)])
    worst = worst_of_stages({"log_ratio": stages})["log_ratio"]
    assert np.isnan(worst).sum() == 1
