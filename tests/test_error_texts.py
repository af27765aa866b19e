"""Errors about arguments have one form: "name: expected X, got Y", and the likely cure."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORM = re.compile(r"[\w.\[\], {}()*']+: expected .*, got ", re.DOTALL)
CLASSES = {
    "TypeError",
    "ValueError",
    "FileExistsError",
    "MemoryLimitError",
    "ContradictedWorkError",
    "ScheduleError",
    "StoreError",
}
# Texts of another form, and why they have it.
EXCEPTIONS: dict[str, str] = {}


def text(node: ast.expr | None, values: dict[str, ast.expr]) -> str:
    """The text of a string in the source, with {} for what is known at run time only."""
    if isinstance(node, ast.JoinedStr):
        return "".join(text(part, values) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        value = node.value
        literal = values.get(value.id) if isinstance(value, ast.Name) else None
        return "{}" if literal is None else text(literal, {})
    return str(node.value) if isinstance(node, ast.Constant) else ""


def messages(source: str) -> Iterator[str]:
    """Messages of the argument errors that a module raises; empty if one is not a literal."""
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef):
            continue
        nodes = list(ast.walk(function))
        values = {
            target.id: node.value
            for node in nodes
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.JoinedStr)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in nodes:
            call = node.exc if isinstance(node, ast.Raise) else None
            if isinstance(call, ast.Name) and call.id in CLASSES:
                yield ""
            if isinstance(call, ast.Call) and getattr(call.func, "id", None) in CLASSES:
                yield text(call.args[0] if call.args else None, values)


def wrong_messages(source: str) -> list[str]:
    return sorted({m for m in messages(source) if not FORM.match(m) and m not in EXCEPTIONS})


@pytest.mark.parametrize(
    "path", sorted((ROOT / "nce_jax").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_errors_say_what_was_expected_and_what_came(path):
    assert wrong_messages(path.read_text()) == []


def test_every_exception_is_still_needed():
    sources = [path.read_text() for path in (ROOT / "nce_jax").rglob("*.py")]
    assert EXCEPTIONS.keys() <= {message for source in sources for message in messages(source)}


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ('raise TypeError(f"{name}: expected a number, got {x!r}; call it")', []),
        ('raise ValueError("key: the run has another")', ["key: the run has another"]),
        ('raise StoreError(f"{x} is damaged")', ["{} is damaged"]),
        ("raise ValueError(message)", [""]),
        ("raise ValueError", [""]),
        ('raise KeyError("x")', []),
        ('expected = f"{x}: expected 1"\n    raise TypeError(f"{expected}, got {x}")', []),
    ],
)
def test_the_rule_sees_what_it_should(statement, expected):
    assert wrong_messages(f"def function(x):\n    {statement}\n") == expected
