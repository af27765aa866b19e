"""The README's example runs as printed, and finds the truth."""

import pytest

from tests.test_guide import run_blocks


@pytest.mark.costly
def test_the_blocks_of_the_readme_run():
    """Within four standard errors and a tenth of a nat, which the network is off."""
    names = run_blocks("../README.md")
    result = names["result"]
    assert result.is_reliable
    assert abs(result.log_likelihood - names["exact"]) < 4 * result.standard_error + 0.1
