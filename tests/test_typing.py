"""What a type checker of a user sees: the names that load on first use, and their types."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import nce_jax

ROOT = Path(__file__).parents[1]
PROGRAM = """\
from typing import assert_type

import jax
import jax.numpy as jnp

import nce_jax
from nce_jax import fit_telescope, ratio_estimation, training

x = jnp.ones((10, 2))
estimate = nce_jax.fit_log_ratio(jax.random.key(0), x, x)
assert_type(estimate, nce_jax.ratio_estimation.LogRatioEstimate)
assert_type(estimate.log_partition_standard_error, float)
assert_type(nce_jax.bar(x[:, 0], x[:, 0]), nce_jax.free_energy.FreeEnergy)
assert_type(nce_jax.sweep(lambda a: a, axes={"a": x}), nce_jax.sweeps.SweepResult)
train: training.TrainStep = nce_jax.make_train_step
nce_jax.fit_log_rato
assert_type(estimate, int)
"""
# Right up to here; each line from here on has one error.
FIRST_WRONG = PROGRAM.splitlines().index("train: training.TrainStep = nce_jax.make_train_step") + 1
NUM_LINES = len(PROGRAM.splitlines())
# basedpyright is pyright with the Node that it needs.
COMMANDS = {
    "mypy": ["mypy", "--config-file=", f"--python-executable={sys.executable}"],
    "basedpyright": ["basedpyright", "--level=error", f"--pythonpath={sys.executable}"],
}


def command_of(checker: str) -> list[str]:
    """The checker of this environment, or one on the path."""
    beside = str(Path(sys.executable).parent)
    found = shutil.which(checker, path=os.pathsep.join([beside, os.environ.get("PATH", "")]))
    if found is None:
        pytest.skip(f"{checker} is not installed: it comes with the extra test")
    return [found, *COMMANDS[checker][1:]]


@pytest.mark.costly
@pytest.mark.parametrize("checker", COMMANDS)
def test_a_checker_knows_the_lazy_names_and_their_types(checker, tmp_path):
    (tmp_path / "user.py").write_text(PROGRAM)
    settings = {"PYTHONPATH": str(ROOT), "MYPYPATH": str(ROOT)}
    output = subprocess.run(
        [*command_of(checker), "user.py"],
        cwd=tmp_path,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    errors = [line for line in output.splitlines() if "error" in line and "user.py:" in line]
    lines = sorted(int(line.split("user.py:")[1].split(":")[0]) for line in errors)
    assert lines == list(range(FIRST_WRONG, NUM_LINES + 1)), output


def test_the_names_for_checkers_are_those_that_load_on_first_use():
    tree = ast.parse((ROOT / "nce_jax" / "__init__.py").read_text())
    blocks = [
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    (block,) = blocks
    modules, functions = set(), {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        names = [alias.name for alias in node.names]
        if node.module == "nce_jax":
            modules |= set(names)
        else:
            functions |= dict.fromkeys(names, node.module.removeprefix("nce_jax."))
    assert modules == nce_jax._MODULES
    assert functions == nce_jax._FUNCTIONS


def test_the_package_says_that_it_is_typed():
    assert (ROOT / "nce_jax" / "py.typed").is_file()
