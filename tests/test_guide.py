"""The guide's code blocks run as they stand, in the order of the page."""

import re
from pathlib import Path

import jax
import pytest

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


@pytest.mark.slow
def test_the_blocks_of_the_page_on_scaling_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run_blocks("scaling.md")
    assert dict(names["result"].axes)["seed"].shape == (200,)
    assert not names["result"].failed.any()


@pytest.mark.slow
def test_the_blocks_of_the_guide_run(capsys):
    names = run_blocks("neural.md")
    means = names["chains"].x.mean(axis=0)
    # The data's mean: k = 4 of 0.5 / sqrt(200), and what 300 steps leave.
    assert abs(means - 1).max() < 0.25
    annealed, bridged = names["annealed"], names["bridged"]
    error = (annealed.standard_error**2 + bridged.standard_error**2) ** 0.5
    assert abs(annealed.log_partition - bridged.log_partition) < 4 * error
    assert "log Z: annealing" in capsys.readouterr().out


def test_the_block_of_the_page_on_contrastive_losses_runs():
    names = run_blocks("contrastive.md")
    assert names["devices"].mesh.size == jax.device_count()
    one_device = names["losses"].clip_loss(names["x"], names["y"])
    assert abs(names["loss"] / one_device - 1) < 1e-5


@pytest.mark.slow
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
