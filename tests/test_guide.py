"""The guide's code blocks run as they stand, in the order of the page."""

import re
from pathlib import Path

import jax
import pytest

PAGE = Path(__file__).parents[1] / "docs" / "neural.md"


@pytest.mark.slow
def test_the_blocks_of_the_guide_run(capsys):
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 5
    names: dict = {}
    with jax.numpy_rank_promotion("allow"):  # as users have it
        for block in blocks:
            exec(block, names)
    means = names["chains"].x.mean(axis=0)
    assert abs(means - 1).max() < 0.25  # the data's mean: k = 4 of 0.5 / sqrt(200), and what 300 steps leave
    annealed, bridged = names["annealed"], names["bridged"]
    error = (annealed.standard_error**2 + bridged.standard_error**2) ** 0.5
    assert abs(annealed.log_partition - bridged.log_partition) < 4 * error
    assert "log Z: annealing" in capsys.readouterr().out
