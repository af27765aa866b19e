"""Every experiment has the same files for the same roles, and colors come from one palette."""

import ast
import re
from pathlib import Path

import pytest

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
TOPICS = sorted(path.parent.name for path in EXPERIMENTS.glob("*/run.py"))
MAX_FILE_LINES = 200
HEX_COLOR = re.compile(r"#[0-9a-fA-F]{6}\b")


@pytest.mark.parametrize("topic", TOPICS)
def test_headline_numbers_are_made_in_statistics(topic):
    makers = {
        path.name
        for path in (EXPERIMENTS / topic).glob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name == "headline"
    }
    assert makers == {"statistics.py"}


def test_colors_are_written_out_in_the_palette_alone():
    plots = sorted(EXPERIMENTS.rglob("*.py"))
    colored = {path.relative_to(EXPERIMENTS).as_posix() for path in plots if has_color(path)}
    assert colored == {"common/plotting.py"}


def has_color(path: Path) -> bool:
    return HEX_COLOR.search(path.read_text()) is not None


def test_files_are_short():
    paths = {path.relative_to(EXPERIMENTS).as_posix(): path for path in EXPERIMENTS.rglob("*.py")}
    lines = {name: len(path.read_text().splitlines()) for name, path in paths.items()}
    assert {name: count for name, count in lines.items() if count > MAX_FILE_LINES} == {}


ENDINGS = ("one_line():", "cli.main(", "plotting.main(")
COMMANDS = [
    path
    for folder in ("experiments", "benchmarks")
    for path in sorted((EXPERIMENTS.parent / folder).rglob("*.py"))
    if '\nif __name__ == "__main__":' in path.read_text()
]
# They run in an environment or a process of their own, where their traceback is read by no user.
WORKERS = {"bmi_worker", "fresh", "worker"}


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_command_ends_in_one_line(path):
    if path.stem not in WORKERS:
        assert any(ending in path.read_text() for ending in ENDINGS)
