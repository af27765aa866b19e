"""The guide's code blocks run as they stand, in the order of the page, and print what it says."""

import contextlib
import io
import re
from pathlib import Path

import jax
import numpy as np
import pytest

import nce_jax

DOCS = Path(__file__).parents[1] / "docs"
FENCES = re.compile(r"^```(python|text)\n(.*?)^```", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"-?\d+(?:\.(\d+))?")


def run_blocks(page):
    """Names after running every Python block of a page, but those that say no-run.

    What a block prints is compared with the block of text that follows it.
    """
    names: dict = {}
    printed = ""
    with jax.numpy_rank_promotion("allow"):  # as users have it
        for kind, block in FENCES.findall((DOCS / page).read_text()):
            if kind == "text":
                assert_same_text(printed, block)
                continue
            with contextlib.redirect_stdout(io.StringIO()) as output:
                exec(block, names)
            printed = output.getvalue()
    return names


def assert_same_text(printed, shown):
    """The same words; numbers within 5 % or three units of the last digit that is shown.

    They vary by that much with the optimizations of the compiler.
    """
    assert NUMBER.sub("#", printed).split() == NUMBER.sub("#", shown).split()
    for found, expected in zip(NUMBER.finditer(printed), NUMBER.finditer(shown), strict=True):
        last_digit = 10.0 ** -len(expected[1] or "")
        assert float(found[0]) == pytest.approx(float(expected[0]), rel=0.05, abs=3 * last_digit), (
            shown
        )


def test_a_number_that_differs_is_seen():
    assert_same_text("log Z 1.02 +- 0.10", "log Z  1.00 +- 0.11\n")
    with pytest.raises(AssertionError):
        assert_same_text("log Z 1.20", "log Z 1.00")
    with pytest.raises(AssertionError):
        assert_same_text("log Z 1.00", "log Y 1.00")


@pytest.mark.costly
def test_the_first_blocks_that_a_user_runs():
    """The energy is as good as the ring's own density, within four standard errors."""
    names = run_blocks("start.md")
    energy = names["energy"]
    radius = 2 + 0.3 * np.random.default_rng(0).normal(size=100_000)
    entropy = 0.5 * np.log(2 * np.pi * np.e * 0.09) + np.log(2 * np.pi) + np.log(radius).mean()
    assert abs(energy.log_likelihood + entropy) < 4 * energy.standard_error
    assert run_blocks("index.md")["estimate"].is_reliable


@pytest.mark.costly
def test_the_blocks_of_the_page_on_scaling_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run_blocks("scaling.md")
    assert dict(names["result"].axes)["seed"].shape == (200,)
    assert not names["result"].failed.any()


@pytest.mark.costly
def test_the_blocks_of_the_page_on_contrastive_losses_run(tmp_path, monkeypatch):
    """On eight devices, trained and resumed."""
    monkeypatch.chdir(tmp_path)
    names = run_blocks("contrastive.md")
    history = names["result"].history
    assert history["step"].tolist() == [10, 20, 30, 40]
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    (params, _), num_devices = names["result"].state, jax.device_count()
    assert {len(leaf.sharding.device_set) for leaf in jax.tree.leaves(params)} == {num_devices}


@pytest.mark.costly
def test_the_blocks_of_the_guide_run():
    names = run_blocks("neural.md")
    means = names["chains"].x.mean(axis=0)
    # The data's mean: k = 4 of 0.5 / sqrt(200), and what 300 steps leave.
    assert abs(means - 1).max() < 0.25
    annealed, bridged = names["annealed"], names["bridged"]
    error = (annealed.standard_error**2 + bridged.standard_error**2) ** 0.5
    assert abs(annealed.log_partition - bridged.log_partition) < 4 * error


@pytest.mark.costly
def test_the_blocks_of_the_page_on_latent_energies_run():
    """Both modes of the angle, in nearly equal numbers, near the circle."""
    names = run_blocks("latent.md")
    assert names["drawn"].status == nce_jax.Status.CONVERGED
    assert names["drawn"].effective_sample_size > 1000
    x = np.asarray(names["x_model"])
    angle = np.arctan2(x[:, 1], x[:, 0])
    assert 0.4 < np.mean(angle < 1.4) < 0.6
    assert np.mean((np.abs(angle - 0.4) < 0.6) | (np.abs(angle - 2.4) < 0.6)) > 0.95
    assert np.abs(np.hypot(*x.T) - 1).mean() < 0.1


@pytest.mark.costly
def test_the_blocks_of_the_page_on_critics_run():
    """All eight modes are there, none with half or twice its mass, and few samples lie outside."""
    names = run_blocks("critics.md")
    angles = np.arange(8) * np.pi / 4
    centers = 4 / np.sqrt(2) * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    distance = np.linalg.norm(np.asarray(names["x_samples"])[:, None] - centers, axis=-1)
    masses = np.bincount(distance.argmin(axis=1), minlength=8) / len(distance)
    assert masses.min() > 1 / 16
    assert masses.max() < 1 / 4
    assert np.mean(distance.min(axis=1) < 3 * 0.354) > 0.8
    assert np.isfinite(names["metrics"].loss)


@pytest.mark.costly
def test_the_blocks_of_the_page_on_preferences_run():
    """What they print is compared with the page; both minima are those of the best policy."""
    names = run_blocks("preferences.md")
    best = jax.nn.log_softmax(names["log_reference"] + names["rewards"])
    for loss_fn, is_right in (("info_nca", True), ("nca_solved", True), ("nca", False)):
        miss = np.sum(np.exp(best) * (best - names["fit"](names[loss_fn])), axis=-1).mean()
        assert (miss < 0.01) == is_right, (loss_fn, miss)


@pytest.mark.costly
def test_the_blocks_of_the_page_on_free_energies_run():
    """Within four standard errors of the closed form, key 0."""
    names = run_blocks("free_energies.md")
    result = names["result"]
    exact = np.append(np.log(names["stiffness"]), np.log(4.0)) / 2
    assert np.all(np.abs(result.f - exact) <= 4 * result.standard_error[0])
    mean = names["mean"]
    assert abs(mean.value[5] - 2.5) < 4 * mean.standard_error[5]
