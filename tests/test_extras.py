"""What is said where a package is missing, and every extra that it names."""

import ast
import shlex
import tomllib
from pathlib import Path

from nce_jax._extras import install_command, missing_extra

ROOT = Path(__file__).parents[1]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def test_a_checkout_is_named_by_its_folder(tmp_path):
    package = tmp_path / "a folder" / "nce_jax"
    package.mkdir(parents=True)
    (package.parent / "pyproject.toml").touch()
    command = install_command("plots", package)
    assert shlex.split(command) == ["pip", "install", "-e", f"{package.parent}[plots]"]


def test_an_installed_wheel_is_named_by_its_name(tmp_path):
    assert install_command("plots", tmp_path / "nce_jax") == "pip install 'nce_jax[plots]'"


def test_this_checkout_names_itself():
    error = missing_extra("nce_jax.plots needs matplotlib", "plots")
    assert str(error) == f"nce_jax.plots needs matplotlib: pip install -e '{ROOT}[plots]'"


def calls(path: Path) -> list[str]:
    """The extras that the calls of `missing_extra` in a file name."""
    return [
        node.args[1].value
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "missing_extra"
    ]


def test_every_extra_that_a_message_names_exists():
    named = [extra for path in (ROOT / "nce_jax").rglob("*.py") for extra in calls(path)]
    assert len(named) >= 6
    assert set(named) <= set(EXTRAS)


def strings(path: Path) -> list[str]:
    tree = ast.walk(ast.parse(path.read_text()))
    return [
        str(node.value)
        for node in tree
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


def test_no_message_names_a_command_of_its_own():
    """One function does it, since the command differs between a checkout and a wheel."""
    others = [path for path in (ROOT / "nce_jax").rglob("*.py") if path.name != "_extras.py"]
    found = [text for path in others for text in strings(path) if "nce_jax[" in text]
    assert found == []
