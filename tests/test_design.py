"""The design page is true: its rooms, its floors, its files, and the list of calls of `jax.jit`."""

import ast
import re
from pathlib import Path

from tests.test_architecture import FLOORS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "design.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """The first table below a heading, without its head."""
    below = PAGE.split(f"{heading}\n", 1)[1]
    table = re.search(r"(?:^\|.*\n)+", below, re.MULTILINE)[0]
    return [[cell.strip() for cell in line[1:-2].split("|")] for line in table.split("\n")[2:-1]]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def calls_jit(path: Path) -> bool:
    """Whether a file uses `jax.jit` outside of docstrings."""
    return any(
        isinstance(node, ast.Attribute) and ast.unparse(node) == "jax.jit"
        for node in ast.walk(ast.parse(path.read_text()))
    )


def test_every_room_is_in_the_table_on_its_floor():
    table = {names(room)[0].rstrip("/"): int(floor) for floor, room, *_ in rows("## The tree")}
    assert table == FLOORS


def test_a_room_is_written_with_a_slash_where_it_is_a_folder():
    for _, room, *_ in rows("## The tree"):
        (name,) = names(room)
        path = ROOT / "nce_jax" / name
        assert path.is_dir() if name.endswith("/") else path.with_suffix(".py").is_file(), name


def test_files_named_in_the_table_of_rooms_exist():
    for _, room, holds, *_ in rows("## The tree"):
        folder = ROOT / "nce_jax" / names(room)[0]
        for name in names(holds):
            if name.startswith("_"):
                path = folder / name
                assert path.is_dir() or path.with_suffix(".py").is_file(), path


def test_the_list_of_jit_is_complete():
    listed = {
        name for where, *_ in rows("### Where the library calls jit") for name in names(where)
    }
    used = {
        str(path.relative_to(ROOT / "nce_jax"))
        for path in (ROOT / "nce_jax").rglob("*.py")
        if calls_jit(path)
    }
    assert listed == used


def test_files_named_anywhere_on_the_page_exist():
    for name in re.findall(r"`((?:[\w.]+/)+[\w.]*\.py)`", PAGE):
        assert any((ROOT / top / name).is_file() for top in ("", "nce_jax")), name
