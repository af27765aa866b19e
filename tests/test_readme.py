"""The README's example runs as printed."""

import re
from pathlib import Path

import jax


def test_python_blocks_of_the_readme_run():
    text = (Path(__file__).parents[1] / "README.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert blocks
    names: dict = {}  # a later block goes on from the one before
    with jax.numpy_rank_promotion("allow"):  # as users have it
        for block in blocks:
            exec(compile(block, "README.md", "exec"), names)
