"""The guide's code blocks run as they stand, in the order of the page."""

import re
from pathlib import Path

import jax
import numpy as np
import pytest

import nce_jax

DOCS = Path(__file__).parents[1] / "docs"


def run_blocks(page):
    """Names after running every Python block of a page, but those that say no-run."""
    blocks = re.findall(
        r"^```python\n(.*?)^```", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL
    )
    names: dict = {}
    with jax.numpy_rank_promotion("allow"):  # as users have it
        for block in blocks:
            exec(block, names)
    return names


@pytest.mark.costly
def test_the_blocks_of_the_page_on_scaling_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run_blocks("scaling.md")
    assert dict(names["result"].axes)["seed"].shape == (200,)
    assert not names["result"].failed.any()


@pytest.mark.costly
def test_the_blocks_of_the_guide_run(capsys):
    names = run_blocks("neural.md")
    means = names["chains"].x.mean(axis=0)
    # The data's mean: k = 4 of 0.5 / sqrt(200), and what 300 steps leave.
    assert abs(means - 1).max() < 0.25
    annealed, bridged = names["annealed"], names["bridged"]
    error = (annealed.standard_error**2 + bridged.standard_error**2) ** 0.5
    assert abs(annealed.log_partition - bridged.log_partition) < 4 * error
    assert "log Z: annealing" in capsys.readouterr().out


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
def test_the_blocks_of_the_page_on_free_energies_run():
    """Within four standard errors of the closed form, key 0."""
    names = run_blocks("free_energies.md")
    result = names["result"]
    exact = np.append(np.log(names["stiffness"]), np.log(4.0)) / 2
    assert np.all(np.abs(result.f - exact) <= 4 * result.standard_error[0])
    mean = names["mean"]
    assert abs(mean.value[5] - 2.5) < 4 * mean.standard_error[5]


@pytest.mark.costly
def test_the_blocks_of_the_page_on_plots_run():
    """A picture of each kind, none of which has anything to complain about."""
    names = run_blocks("plots.md")
    assert names["estimate"].is_reliable
    assert names["telescope"].is_converged
    page = (DOCS / "plots.md").read_text()
    assert [name for name in nce_jax.plots.__all__ if f"plots.{name}(" not in page] == []
    panels = [ax for figure in names["figures"]() for ax in figure.axes]
    assert len(panels) > 12
    assert [note for ax in panels for note in nce_jax.plots._axes.notes(ax)] == []


def test_the_block_of_the_page_on_contrastive_losses_runs():
    names = run_blocks("contrastive.md")
    assert names["devices"].mesh.size == jax.device_count()
    one_device = names["losses"].clip_loss(names["x"], names["y"])
    assert abs(names["loss"] / one_device - 1) < 1e-5


@pytest.mark.costly
def test_the_blocks_of_the_page_on_vocabularies_run():
    """The layer comes near the truth that it does not know, and normalizes itself."""
    names = run_blocks("vocabulary.md")
    assert names["best"] < names["learned"] < 1.15 * names["best"]
    assert abs(names["report"].mean) < 0.2
    assert names["report"].standard_deviation < 0.5
    assert names["solution"].status == 0
    log_noise = {key: names["batch"][key] for key in ("log_noise_targets", "log_noise_ids")}
    fixed = names["loss"](
        names["table"], names["hidden"], names["targets"], names["noise_ids"], log_noise
    )
    assert names["value"] <= fixed + 1e-6  # F = 0 is no better than the solved one


@pytest.fixture(scope="module")
def extensions():
    return run_blocks("extending.md")


@pytest.mark.costly
def test_the_blocks_of_the_page_on_extensions_run(extensions):
    """A training with each part of the page finds the mean of the data and the model's log Z."""
    mean = float(extensions["x_data"].mean())
    log_z = 0.5 * np.log(2 * np.pi)  # of the model at precision one
    states = {
        part: extensions[f"{part}_state"] for part in ("model", "noise", "solver", "treatment")
    }
    for part, state in states.items():
        # The data's own mean and precision, up to what the draws of noise in 150 steps leave.
        np.testing.assert_allclose(state.params["mean"], mean, atol=0.05, err_msg=part)
        expected = log_z - state.params["log_precision"] / 2
        np.testing.assert_allclose(state.log_partition, expected, atol=0.1, err_msg=part)
    assert extensions["solver_metrics"].status == 0

    state = extensions["criterion_state"]
    np.testing.assert_allclose(state.params["mean"], mean, atol=0.05)
    assert abs(state.log_partition) < 0.05
    np.testing.assert_allclose(
        state.params["constant"], log_z - state.params["log_precision"] / 2, atol=0.1
    )


def test_the_treatment_of_the_page_survives_a_failed_solve(extensions):
    """F stays as it was where the solve fails, and moves by the rate where it does not."""
    treatment, criterion = extensions["averaged"](rate=0.1), nce_jax.criteria.nce()
    ratios = {"log_ratio_data": jax.numpy.ones(8), "log_ratio_noise": -jax.numpy.ones(8)}
    before = jax.numpy.float32(0.5)
    moved = treatment.update(criterion, ratios, before)
    np.testing.assert_allclose(moved.next_log_partition, 0.45, atol=1e-6)  # the root is 0
    broken = ratios | {"log_ratio_data": jax.numpy.full(8, np.nan)}
    held = treatment.update(criterion, broken, before)
    assert held.status == nce_jax.Status.NONFINITE
    assert held.log_partition == held.next_log_partition == before


@pytest.mark.costly
def test_the_solver_and_the_criterion_of_the_page_are_right(extensions):
    """The solver's error bound holds; the equation is the derivative of the criterion's loss."""
    s_data = 3 * jax.random.normal(jax.random.key(2), (50, 30)) + 5
    s_noise = 2 * jax.random.normal(jax.random.key(3), (50, 40))
    mine = nce_jax.solve_log_partition(s_data, s_noise, solver=extensions["solver"])
    nce_jax.check_solution(mine)
    expected = nce_jax.solve_log_partition(s_data, s_noise).log_partition
    np.testing.assert_allclose(mine.log_partition, expected, atol=2e-5)

    criterion = extensions["self_normalizing_nce"](0.3)
    solution = criterion.profile(s_data, s_noise)
    loss = lambda f: criterion.loss(s_data, s_noise, log_partition=f).sum()
    np.testing.assert_allclose(jax.grad(loss)(solution.log_partition), 0, atol=2e-5)


@pytest.mark.costly
def test_the_blocks_of_the_page_on_choosing_run(capsys):
    """A gap of 8: the single ratio says that it failed, and the chain has the truth within 4
    errors.
    """
    with (
        pytest.warns(nce_jax.training.LowOverlapWarning),
        pytest.warns(nce_jax.ratio_estimation.UnreliableRatioWarning, match="the overlap"),
    ):
        names = run_blocks("choosing.md")
    assert not names["single"].is_converged
    assert "NOT CONVERGED: the overlap" in capsys.readouterr().out
    assert names["chain"].is_converged
    assert abs(names["chain"].kl - 32) < 4 * names["chain"].kl_standard_error < 8
