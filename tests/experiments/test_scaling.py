"""scaling: steps agree between layouts, and a difference is detected; the smoke preset runs."""

import dataclasses

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest

from experiments.common import results
from experiments.scaling.config import PRESETS
from experiments.scaling.plot import draw
from experiments.scaling.run import experiment
from experiments.scaling.statistics import differences
from experiments.scaling.steps import CRITERIA, TREATMENTS, outcome, pairs
from nce_jax import training

CONFIG = PRESETS["smoke"]


@pytest.mark.costly
def test_layouts_agree_and_the_figures_are_drawn(tmp_path, smoke_result):
    result = smoke_result("scaling", CONFIG, experiment)
    assert result.headline["float32_one_step"] < 1e-5
    assert result.headline["float32_params"] < 1e-4
    assert (result.headline["collectives_solved"], result.headline["collectives_in_loops"]) == (
        2,
        0,
    )
    assert (
        result.headline["collectives_sweep"],
        result.headline["collectives_in_gathered_solve"],
    ) == (0, 0)
    assert (result.arrays["exchange_in_loops"][:, 1] > 0).all()
    assert result.headline["sweep_flops_per_device"] == pytest.approx(1 / 8, rel=0.1)
    assert result.arrays["sweep_seconds"].shape == (len(CONFIG.num_devices), 2)
    results.save(tmp_path, result)
    assert set(draw(results.load(tmp_path, ""))) == {
        "scaling_agreement",
        "scaling_cost",
        "scaling_exchange",
    }
    plt.close("all")


@pytest.mark.costly
def test_every_pair_gives_on_eight_devices_what_it_gives_on_one(x64):
    """Loss, F and gradient of one step in float64, relative to those on one device."""
    config = dataclasses.replace(PRESETS["paper"], long_pairs=())
    with jax.numpy_rank_promotion("allow"):
        reference, spread = (
            outcome(
                config, training.make_mesh(devices=jax.devices()[:count]), "float64", config.seed
            )
            for count in (1, 8)
        )
    assert len(reference) == 3 * len(list(pairs(config)))
    for name, value in reference.items():
        assert np.isfinite(value).all(), name  # NaN equals NaN below
        np.testing.assert_allclose(
            spread[name], value, rtol=1e-10, atol=1e-10 * np.linalg.norm(value), err_msg=name
        )


def test_every_criterion_and_every_treatment_is_among_the_pairs():
    names = [name for name, _ in pairs(PRESETS["paper"])]
    assert {name.split(", ")[0] for name in names} == {*CRITERIA}
    assert {name.split(", ")[1] for name in names} == {*TREATMENTS}
    assert "exponential, bar" not in names  # it has no Bennett step


def test_differences_are_relative_to_one_device():
    reference = {
        "float32/a: loss": np.array([2.0]),
        "float32/a: log_partition": np.array([0.01]),
        "float32/a: gradient": np.array([3.0, 4.0]),
        "float32/a: params": np.array([1.0]),
    }
    other = {
        **reference,
        "float32/a: gradient": np.array([3.0, 4.5]),
        "float32/a: log_partition": np.array([0.11]),
    }
    actual = differences({"1x1": reference, "1x8": other})
    np.testing.assert_allclose(actual["difference"], [[[[0, 0.1, 0.1, 0]]]])
