"""Samplers and students of digits: network, steps, measures, statistics, and the smoke preset."""

import dataclasses

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest

from experiments.common import gray_images, image_features, results
from experiments.common.critic_methods import METHODS, student_label
from experiments.common.diffusion_steps import LAST_ANGLE
from experiments.diffusion_digits import (
    measures,
    methods,
    network,
    plot,
    run,
    sampler,
    statistics,
    table,
    train,
)
from experiments.diffusion_digits.config import PRESETS, CellSettings

SMOKE = PRESETS["smoke"]
SETTINGS = CellSettings(
    **{field.name: getattr(SMOKE, field.name) for field in dataclasses.fields(CellSettings)}
)
KEY = jax.random.key(0)


@pytest.fixture(autouse=True)
def _rank_promotion():
    with jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(scope="module")
def net():
    return network.init_unet(KEY, SETTINGS.channels)


@pytest.mark.costly
def test_the_convolution_is_that_of_xla():
    from flax import nnx

    conv = network._Conv(3, 5, nnx.Rngs(0))
    x = jax.random.normal(KEY, (2, 7, 6, 3))
    kernel = conv.linear.kernel[...].reshape(3, 3, 3, 5)
    expected = jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    np.testing.assert_allclose(conv(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.costly
def test_the_network_sees_image_and_time_and_keeps_an_odd_shape():
    params = network.init_unet(KEY, (4, 8))
    apply = network.unet_fn((4, 8))
    x = jax.random.normal(KEY, (3, 7, 7, 1))
    time = jnp.array([0.1, 0.5, 0.5])
    out = apply(params, x, time)
    assert out.shape == x.shape
    later = apply(params, x, time.at[0].set(0.9))
    np.testing.assert_allclose(later[1:], out[1:], rtol=1e-4, atol=1e-6)  # images do not mix
    assert jnp.abs(later[0] - out[0]).max() > 1e-6


@pytest.mark.costly
def test_the_denoiser_of_a_level_is_the_network_at_its_time(net):
    """x_t = cos(a t) x + sin(a t) noise is cos(a t) times an image with noise of level tan(a t)."""
    x = jax.random.normal(KEY, (2, 7, 7, 1))
    time = jnp.array([0.3, 0.8])
    level = jnp.tan(LAST_ANGLE * time)
    y = x / jnp.cos(LAST_ANGLE * time)[:, None, None, None]
    expected = network.unet_fn(SETTINGS.channels)(net, x, time)
    found = sampler.denoiser(SETTINGS, net)(y, level)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.costly
def test_a_shorter_gradient_leaves_the_path_as_it_is(net):
    params = sampler.init_sampler(SETTINGS, net)

    def end(params, num_differentiated):
        path = sampler.sample_path(SETTINGS, params, KEY, 2, num_differentiated)
        assert len(path.after) == min(num_differentiated, SETTINGS.length)
        return path.after[-1]

    np.testing.assert_allclose(end(params, 1), end(params, 99), rtol=1e-5, atol=1e-6)
    gradient = jax.grad(lambda p: jnp.sum(end(p, 2) ** 2))(params)["log_scale"]
    # Of three steps two have a trained scale, and of the last two one.
    assert [bool(value != 0) for value in gradient] == [False, True]


def test_images_are_averaged_and_enlarged_again():
    levels = np.zeros((1, 28, 28), np.uint8)
    levels[0, :2, 2:4] = [[255, 255], [0, 0]]
    settings = dataclasses.replace(SETTINGS, side=14)
    x = measures.shrink(settings, levels.reshape(1, 784))
    assert x.shape == (1, 14, 14, 1)
    np.testing.assert_allclose(x[0, 0, :3, 0], [-1, 0, -1], atol=1e-6)
    back = measures.enlarge(x).reshape(28, 28)
    np.testing.assert_allclose(back[:2, 2:4], 0.5, atol=1e-6)
    assert back.sum() == pytest.approx(2, abs=1e-4)
    with pytest.raises(ValueError, match="side: expected a divisor of 28, got 5"):
        measures.shrink(dataclasses.replace(SETTINGS, side=5), levels)


@pytest.mark.slow
def test_test_images_are_near_themselves_and_noise_is_far():
    images = gray_images.gray_images("digits")
    judge = measures.make_judge(SETTINGS, KEY, images)
    assert judge.reference.shape == (len(images.test), image_features.NUM_FEATURES)
    same = measures.measure(judge, measures.shrink(SETTINGS, images.test))
    assert same["frechet"] < 1e-6
    assert same["class_kl"] == pytest.approx(0, abs=1e-9)
    noise = np.random.default_rng(0).uniform(-1, 1, (100, 7, 7, 1))
    assert measures.measure(judge, noise)["frechet"] > 0.1


def test_kl_of_masses():
    assert measures._kl(np.array([0.5, 0.5, 0]), np.array([0.25, 0.5, 0.25])) == pytest.approx(
        0.5 * np.log(2)
    )


def test_methods_have_names_of_their_own():
    for config in PRESETS.values():
        labels = [
            METHODS[name].label(m)
            for name in config.methods
            for m in methods.magnifications(config, name)
        ]
        assert len(set(labels)) == len(labels)
        names = [student_label(m, name) for name in config.student_methods for m in config.students]
        assert len(set(names) - {"SiD"}) == len([name for name in names if name != "SiD"])
        assert config.num_updates >= config.num_checkpoints


def test_a_paired_difference_and_its_interval():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2, 5, 3))
    arrays = {"sampler_methods": np.array(["a", "b"]), "sampler_frechet": values}
    mean, low, high = statistics.paired(arrays, "sampler", "frechet", "a", "b")
    difference = values[0, :, -1] - values[1, :, -1]
    assert mean == pytest.approx(difference.mean())
    assert high - mean == pytest.approx(2.776 * difference.std(ddof=1) / 5**0.5, rel=1e-3)
    assert mean - low == pytest.approx(high - mean)


def test_the_ratio_of_updates_is_that_to_where_the_second_method_ends():
    """Two seeds: one where the first method needs half the updates, one where it never arrives."""
    slow, fast, stuck = [40.0, 30, 20, 10], [30.0, 10, 9, 8], [40.0, 30, 20, 19]
    arrays = {
        "student_methods": np.array(["SiD", "SiD + M = 50"]),
        "student_updates": np.array([10, 20, 30, 40]),
        "student_frechet": np.array([[slow, slow], [fast, stuck]]),
    }
    ratio = statistics.ratio_of_updates(arrays, "student", "SiD + M = 50", "SiD")
    assert ratio.mean == pytest.approx((20 / 40) ** 0.5)
    assert ratio.num_missed == 1
    same = statistics.ratio_of_updates(arrays, "student", "SiD", "SiD")
    assert same == (1.0, 1.0, 1.0, 0)


@pytest.fixture(scope="module")
def result(smoke_result):
    with jax.numpy_rank_promotion("allow"):
        return smoke_result("diffusion_digits", SMOKE, run.experiment)


@pytest.mark.slow
class TestSmokePreset:
    def test_every_method_and_seed_is_measured(self, result):
        for kind, count in (("sampler", 3), ("student", 2)):
            for name in measures.MEASURES:
                values = result.arrays[f"{kind}_{name}"]
                assert values.shape == (count, SMOKE.num_seeds, SMOKE.num_checkpoints)
                assert np.isfinite(values).all()
        assert not result.failed_lanes
        assert result.arrays["sampler_updates"].tolist() == [1, 2]

    def test_methods_move_the_teacher_and_differ(self, result):
        pictures = np.concatenate(
            [result.arrays[f"{kind}_pictures"][:, 0] for kind in ("sampler", "student")]
        )
        assert pictures.shape[1] == train.NUM_PICTURES
        assert len(np.unique(pictures.reshape(len(pictures), -1), axis=0)) == len(pictures)

    def test_plots_from_stored_results(self, result, tmp_path):
        results.save(tmp_path, result)
        stored = results.load(tmp_path, "nothing")
        assert statistics.headline(stored.arrays) == pytest.approx(stored.headline)
        assert set(plot.draw(stored)) == {"diffusion_digits", "diffusion_digits_samples"}
        plt.close("all")
        for kind, count in (("sampler", 3), ("student", 2)):
            assert table.table(stored.arrays, kind).count("\n") == count + 4
            assert table.by_update(stored.arrays, kind).count("\n") == count + 1
            assert "| SiD |" in table.ratios(stored.arrays, "student")

    def test_a_run_of_samplers_alone_is_shown(self, result):
        arrays = {name: of for name, of in result.arrays.items() if not name.startswith("student")}
        stored = results.Stored(arrays | {"student_methods": np.array([])}, {}, {})
        assert not any("student" in name for name in statistics.headline(stored.arrays))
        plot.draw(stored)
        plt.close("all")


def test_students_are_compared_with_m_1_of_their_own_treatment():
    ends = ("", ", F joint")
    names = ["SiD", *(f"SiD + M = {m}{end}" for end in ends for m in (1, 50))]
    pairs = statistics.comparisons({"student_methods": np.array(names)}, "student")
    assert ("SiD + M = 50, F joint", "SiD + M = 1, F joint") in pairs
    assert len(pairs) == 6
