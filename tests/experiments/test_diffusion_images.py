"""Published denoisers as samplers: at random weights, since no published file is at hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.common import results
from experiments.common.networks import weights
from experiments.common.published import DataError
from experiments.diffusion_images import data, denoisers, players, plot, run, students, table
from experiments.diffusion_images.config import PRESETS
from experiments.diffusion_images.statistics import headline, kinds, updates_to_the_end
from nce_jax import training
from nce_jax._archives import write_arrays

SMOKE = PRESETS["smoke"]
KEY = jax.random.key(0)
LABELS = jnp.arange(4, dtype=jnp.int32)


@pytest.fixture(scope="module")
def teacher():
    return denoisers.load_teacher("random")


def images_and_labels():
    return jax.random.normal(KEY, (4, 8, 8, 3)), LABELS


def test_a_batch_depends_on_its_number_and_seed_alone():
    images = data.load("digits")
    draw = data.batches(images, 16, 3)
    for first, second in zip(draw(5), data.batches(images, 16, 3)(5), strict=True):
        np.testing.assert_array_equal(first, second)
    x, labels = draw(5)
    assert x.shape == (16, 8, 8, 3)
    assert labels.dtype == np.int32
    assert np.abs(x).max() <= 1
    assert np.abs(x - draw(6)[0]).max() > 0
    with pytest.raises(ValueError, match="images: expected digits, cifar10 or imagenet64, got x"):
        data.load("x")


def test_images_are_stored_as_bytes():
    stored = data.as_bytes(np.array([-3.0, -1.0, 0.0, 1.0, 3.0]))
    np.testing.assert_array_equal(stored, [0, 0, 128, 255, 255])
    with pytest.raises(FloatingPointError, match="samples: expected finite pixels"):
        data.as_bytes([np.nan])


def test_weights_are_named_where_they_are_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("NCE_JAX_DATA", str(tmp_path))
    for load, name in ((denoisers.load_teacher, "ddpm-cifar10"), (denoisers.load_features, "i")):
        network = "inception-2015-12-05" if name == "i" else name
        with pytest.raises(DataError, match=rf"weights/{network}.npz.*experiments/converters"):
            load(network)
    with pytest.raises(ValueError, match="teacher: expected one of random, edm-cifar10"):
        denoisers.load_teacher("ddpm")


def test_the_students_weights_are_asked_for_before_the_sampler_is_trained(monkeypatch, tmp_path):
    monkeypatch.setenv("NCE_JAX_DATA", str(tmp_path))
    monkeypatch.setattr(run.pieces, "RUNS", tmp_path)
    monkeypatch.delattr(run._Run, "_train")
    config = dataclasses.replace(SMOKE, student_teacher="edm-cifar10")
    with pytest.raises(DataError, match=r"weights/edm-cifar10.npz"):
        run.experiment(config, KEY)
    monkeypatch.setattr(denoisers, "load_teacher", lambda name: None)
    config = dataclasses.replace(config, student_start="sid-cifar10")
    with pytest.raises(DataError, match=r"weights/sid-cifar10.npz"):
        run.experiment(config, KEY)


def test_the_published_presets_have_the_origins_settings():
    cifar, imagenet = PRESETS["gpu"], PRESETS["gpu-imagenet64"]
    assert cifar.num_differentiated == cifar.length == imagenet.num_differentiated == 10
    # --lsg_gan 0.01 of a mean times pixels and channels, beside --lsg 100 of a sum.
    assert cifar.student_critic_weight == pytest.approx(0.3072)
    assert imagenet.student_critic_weight == pytest.approx(1.2288)
    assert (cifar.student_batch, imagenet.student_batch) == (256, 8192)


@pytest.mark.costly
def test_a_file_of_weights_becomes_a_teacher(monkeypatch, tmp_path, teacher):
    monkeypatch.setenv("NCE_JAX_DATA", str(tmp_path))
    settings = denoisers.RANDOM._replace(num_augmentations=2)
    shapes = denoisers.edm_blocks.shapes(settings)
    arrays = teacher.weights | {"map_augment.weight": np.ones((8, 2), np.float32)}
    monkeypatch.setitem(denoisers.edm_blocks.SETTINGS, "edm-cifar10", settings)
    monkeypatch.setitem(weights.NETWORKS, "edm-cifar10", weights.Network(lambda: shapes, None))
    (tmp_path / "weights").mkdir()
    write_arrays(tmp_path / "weights/edm-cifar10.npz", arrays)
    loaded = denoisers.load_teacher("edm-cifar10")
    write_arrays(tmp_path / "weights/sid-cifar10.npz", arrays)
    start = denoisers.load_start("sid-cifar10", "edm-cifar10")
    assert start.keys() == loaded.weights.keys()
    level = jnp.full(4, 0.5)
    np.testing.assert_array_equal(
        loaded.denoise(loaded.weights, *images_and_labels()[:1], level, LABELS),
        teacher.denoise(teacher.weights, *images_and_labels()[:1], level, LABELS),
    )


@pytest.mark.costly
def test_only_the_last_steps_of_a_path_have_a_gradient(teacher):
    """Of the scales: that of the first of two has none, if one step in three is differentiated."""
    params = players.init_sampler(SMOKE, teacher, 3)

    def total(log_scale, count):
        moved = params | {"log_scale": log_scale}
        path = players.sample_path(SMOKE, teacher, moved, KEY, LABELS, count)
        return path.after[-1].sum()

    start = params["log_scale"]
    last, both = (np.asarray(jax.grad(total)(start, count)) for count in (2, 3))
    assert last[0] == 0
    assert both[0] != 0
    assert last[1] == pytest.approx(both[1], rel=1e-4)


@pytest.mark.costly
def test_every_scale_of_the_sampler_is_trained_and_costs_entropy(teacher):
    """At their own rate, 0.01: Adam's first step has its length, in the direction of the sign."""

    def moved(weight):
        config = dataclasses.replace(
            SMOKE, num_differentiated=3, scale_rate=0.01, entropy_weight=weight, path_weight=0.0
        )
        step = players.make_sampler(config, teacher, "solved", 1.0)
        params = players.init_sampler(config, teacher, 3)
        state = step.init(params, players.init_critic(config, KEY, 3))
        state, _ = step(state, images_and_labels(), KEY)
        return state.params["log_scale"] - params["log_scale"]

    np.testing.assert_allclose(np.abs(moved(0.0)), 0.01, rtol=1e-3)
    np.testing.assert_allclose(moved(1e6), 0.01, rtol=1e-3)


@pytest.mark.costly
@pytest.mark.parametrize("magnification", [0.0, 50.0])
def test_a_student_moves_with_its_fake_score_and_leaves_its_teacher(teacher, magnification):
    """Where there is no critic, the critic's first weights make no difference to the student."""
    step = students.make_student(SMOKE, teacher, "solved", magnification)
    moved = []
    for number in (1, 2):
        critic = players.init_critic(SMOKE, jax.random.key(number), 4)
        state, metrics = step(
            step.init(students.init_student(teacher, teacher.weights), critic),
            images_and_labels(),
            KEY,
        )
        assert np.isfinite(metrics["loss"])
        moved.append(training.averaged_params(state))
    for name, of_teacher in teacher.weights.items():
        np.testing.assert_array_equal(moved[0]["teacher"][name], of_teacher)
    name = "dec.8x8_aux_conv.weight"
    for part in ("net", "fake"):
        assert np.abs(moved[0][part][name] - teacher.weights[name]).max() > 0
    is_same = np.array_equal(moved[0]["net"][name], moved[1]["net"][name])
    assert is_same == (magnification == 0)


def test_levels_are_those_of_the_origins():
    """Highest and lowest by their formula: (80^(1/7) + place (.002^(1/7) - 80^(1/7)))^7."""
    levels = students.sid_levels(KEY, 20_000)
    low, high = 0.002 ** (1 / 7), 80 ** (1 / 7)
    assert 0.002 <= levels.min() < 0.0021
    assert 0.99 < levels.max() / (high + 0.2 * (low - high)) ** 7 <= 1.001
    logs = np.log(students.edm_levels(KEY, 20_000))
    # Four standard errors of a mean and of a standard deviation.
    assert logs.mean() == pytest.approx(-1.2, abs=4 * 1.2 / 20_000**0.5)
    assert logs.std() == pytest.approx(1.2, abs=4 * 1.2 / 40_000**0.5)


@pytest.mark.costly
def test_the_smoke_preset_runs_resumes_and_is_shown(monkeypatch, tmp_path):
    """Interrupted after the sampler's first cell, it computes the others alone."""
    monkeypatch.setattr(run.pieces, "RUNS", tmp_path)
    train, seen = run._Run._train, []

    def interrupted(self, kind, *arguments):
        seen.append(kind)
        if seen == ["sampler", "student"]:
            raise KeyboardInterrupt
        return train(self, kind, *arguments)

    monkeypatch.setattr(run._Run, "_train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.experiment(SMOKE, KEY)
    found = run.experiment(SMOKE, KEY)
    assert seen == ["sampler", "student", "student"]
    assert found.arrays["sampler_frechet"].shape == (1, 1, 1)
    assert not found.failed_lanes
    assert set(headline(found.arrays)) == {
        "teacher_many_frechet", "teacher_few_frechet", "student_frechet_sid_m_50",
        "sampler_frechet_m_100_f_solved_regularized",
    }  # fmt: skip
    text = table.table(found.arrays)
    assert "| SiD + M = 50 |" in text
    assert found.arrays["student_updates"].tolist() == [SMOKE.student_steps]
    assert "| SiD + M = 50 |" in table.by_update(found.arrays, "student")
    stored = results.Stored(found.arrays, {}, {})
    assert set(plot.draw(stored)) == {"diffusion_images", "diffusion_images_samples"}


def test_a_student_needs_the_updates_at_which_it_is_where_the_first_ends():
    arrays = {
        "sampler_methods": np.array([]),
        "student_methods": np.array(["SiD", "SiD + M = 50"]),
        "student_updates": np.array([10, 20, 30]),
        "student_frechet": np.array([[[6.0, 4, 2]], [[3.0, 1, 1]]]),
    }
    assert kinds(arrays) == ["student"]
    assert updates_to_the_end(arrays, "student", "SiD + M = 50").tolist() == [15]
    assert "| SiD | 6.00 | 4.00 | 2.00 | 30 |" in table.by_update(arrays, "student")
    assert PRESETS["gpu"].updates("student")[3] == 20_000


def test_presets_name_networks_and_methods_that_exist():
    for config in PRESETS.values():
        for name in (config.sampler_teacher, config.student_teacher, config.features):
            assert name == "random" or name in weights.NETWORKS
        steps = {**run._samplers(config), **run._students(config)}
        assert len(steps) == len(set(steps)) > 1
        assert dataclasses.replace(config) == config
