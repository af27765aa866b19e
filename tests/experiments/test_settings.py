"""Settings that make no sense are refused before anything is computed."""

import dataclasses
import importlib

import jax
import numpy as np
import pytest

from experiments.common import settings
from experiments.common.endings import CommandError
from experiments.diffusion_critic import config as diffusion_critic
from experiments.diffusion_critic.run import experiment as run_diffusion_critic
from experiments.diffusion_digits import config as diffusion_digits
from experiments.diffusion_digits.run import experiment as run_diffusion_digits
from experiments.diffusion_images import checks, data, denoisers
from experiments.diffusion_images.config import PRESETS
from experiments.latent_digits import config as latent_digits
from experiments.latent_digits.run import experiment as run_latent_digits
from experiments.latent_energy import config as latent_energy
from experiments.latent_energy.run import experiment as run_latent_energy
from experiments.mnist import config as mnist
from experiments.mnist.train import methods as mnist_methods
from experiments.one_step import config as one_step
from experiments.one_step.run import experiment as run_one_step
from experiments.preferences import config as preferences
from experiments.preferences.run import experiment as run_preferences

EXPERIMENTS = {
    "diffusion_critic": (run_diffusion_critic, diffusion_critic.PRESETS["smoke"]),
    "one_step": (run_one_step, one_step.PRESETS["smoke"]),
    "preferences": (run_preferences, preferences.PRESETS["smoke"]),
    "diffusion_digits": (run_diffusion_digits, diffusion_digits.PRESETS["smoke"]),
    "latent_digits": (run_latent_digits, latent_digits.PRESETS["smoke"]),
    "latent_energy": (run_latent_energy, latent_energy.PRESETS["smoke"]),
    "mnist": (lambda config, key: mnist_methods(config), mnist.PRESETS["smoke"]),
}
IMAGES = PRESETS["smoke"]


@pytest.mark.parametrize("name", ["diffusion_critic", "one_step", "preferences"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_seeds": 0}, "num_seeds: expected at least 1, got 0"),
        ({"methods": ("x",)}, "methods: expected some of '.*', got 'x'"),
        ({"num_checkpoints": 0}, "num_checkpoints: expected 1 to .*, got 0"),
        ({"num_checkpoints": 10**6}, "num_checkpoints: expected 1 to .*steps, got 1000000"),
    ],
)
def test_nothing_is_computed(monkeypatch, tmp_path, name, change, message):
    """More measurements than steps were as many measurements of networks that nobody trained."""
    monkeypatch.chdir(tmp_path)
    assert_refused(name, change, message)


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("diffusion_digits", "methods"),
        ("diffusion_digits", "student_methods"),
        ("latent_digits", "methods"),
        ("latent_energy", "joint_methods"),
        ("mnist", "methods"),
    ],
)
def test_an_unknown_method_beside_a_known_one_is_named(monkeypatch, tmp_path, name, setting):
    """Some were left out in silence."""
    monkeypatch.chdir(tmp_path)
    known = getattr(EXPERIMENTS[name][1], setting)
    change = {setting: (*known, "x")}
    assert_refused(name, change, f"^{setting}: expected some of '.*', got 'x'")


def assert_refused(name, change, message):
    experiment, config = EXPERIMENTS[name]
    with pytest.raises(CommandError, match=message):
        experiment(dataclasses.replace(config, **change), jax.random.key(0))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("diffusion_critic", {"batch_size": 0}, "batch_size: expected at least 1, got 0"),
        ("one_step", {"batch_size": 0}, "batch_size: expected at least 1, got 0"),
        ("one_step", {"levels": (0.0, 1.0)}, "levels: expected two numbers 0 < low < high, got 0"),
        ("one_step", {"levels": (2.0, 1.0)}, "levels: expected two numbers 0 < low < high, got 2"),
        ("preferences", {"num_answers": (3,)}, "num_answers: expected even numbers.*, got 3"),
        ("preferences", {"pool_answers": (0,)}, "pool_answers: expected even numbers.*, got 0"),
        ("preferences", {"sequences": 1}, r"sequences: expected at least \d+, got 1"),
        ("preferences", {"pool_size": 1}, r"pool_size: expected at least \d+, got 1"),
    ],
)
def test_sizes_of_one_experiment(monkeypatch, tmp_path, name, change, message):
    monkeypatch.chdir(tmp_path)
    assert_refused(name, change, message)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("choosing_m", {"magnifications": (10, 100)}, "magnifications: expected 1 among them"),
        ("choosing_m_schedule", {"magnifications": (10,)}, "magnifications: expected 1 among"),
        ("gaussian_1d", {"magnifications": (1.0, 10.0)}, "magnifications: expected 100 among them"),
        ("gaussian_1d", {"distances": (1.0, 4.0)}, "distances: expected 16 among them"),
        ("chasm_1d", {"separations": (8.0,)}, "separations: expected 16 among them"),
        ("representation", {"batch_sizes": (64,)}, "batch_sizes: expected 32 among them"),
        ("representation", {"temperatures": (1.0,)}, "temperatures: expected 0.2 among them"),
        ("language_model", {"magnifications": (10.0,)}, "magnifications: expected 1 among them"),
        ("peaked_1d", {"num_seeds": (2,)}, "num_seeds: expected 2 numbers, one for each of num_sa"),
        ("mutual_information", {"dims": (4, 6)}, "published_stages: expected 2 numbers, one for"),
    ],
)
def test_what_headline_numbers_are_named_after_is_asked_for_first(
    monkeypatch, tmp_path, name, change, message
):
    """They were missed after an hour, when all was computed."""
    monkeypatch.chdir(tmp_path)
    run = importlib.import_module(f"experiments.{name}.run")
    with pytest.raises(CommandError, match=message):
        run.experiment(dataclasses.replace(run.PRESETS["smoke"], **change), jax.random.key(0))


def test_mnist_needs_the_method_that_others_are_compared_with():
    config = dataclasses.replace(mnist.PRESETS["smoke"], methods=("BAR",))
    with pytest.raises(CommandError, match="methods: expected 'NCE' among them"):
        mnist_methods(config)


def test_checkpoints_are_spaced_by_whole_steps():
    config = dataclasses.replace(one_step.PRESETS["smoke"], num_steps=20, num_checkpoints=3)
    assert settings.steps_between(config) == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": ("x",)}, "methods: expected some of .*, got 'x'"),
        ({"length": 0}, "length: expected at least 1, got 0"),
        ({"num_many": 0}, "num_many: expected at least 1, got 0"),
        ({"num_measured": 3}, "num_measured: expected at least 4, got 3"),
        ({"num_checkpoints": 3}, "num_checkpoints: expected 1 to 2, the sampler_steps, got 3"),
        ({"student_batch": 0}, r"student_batch: expected a multiple of \d+, the devices, got 0"),
    ],
)
def test_days_of_images_do_not_begin(change, message):
    """Before the first model is trained: the student begins where the sampler has ended."""
    images, teachers = data.load("digits"), {"random": denoisers.load_teacher("random")}
    checks.check(IMAGES, images, teachers)
    with pytest.raises(CommandError, match=message):
        checks.check(dataclasses.replace(IMAGES, **change), images, teachers)


def test_batches_divide_over_devices_and_images_have_the_teachers_size(monkeypatch):
    teacher = denoisers.load_teacher("random")
    images = data.load("digits")
    monkeypatch.setattr(jax, "device_count", lambda: 3)
    with pytest.raises(CommandError, match="batch_size: expected a multiple of 3, the devices"):
        checks.check(IMAGES, images, {"random": teacher})
    monkeypatch.undo()
    large = images._replace(x=np.zeros((4, 32, 32, 3), np.uint8))
    with pytest.raises(CommandError, match="images: expected those of random, 8 pixels high, got"):
        checks.check(IMAGES, large, {"random": teacher})
