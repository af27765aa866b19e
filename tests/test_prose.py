"""Markdown that people read: lines of at most 100 columns, American spelling, decimals with their
zero, names that exist, a results table that can be scanned.
"""

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAX_COLUMNS = 100
MAX_CELL = 120
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "docs").glob("*/*.md"),
        *(ROOT / "experiments").glob("*/README.md"),
    ]
)
# Sections that the README of an experiment must have; the sweep command answers no question.
SECTIONS = ("Question", "Settings", "How to run", "Committed numbers")
WITHOUT_QUESTION = {"sweep"}

BRITISH = re.compile(
    r"\b("
    r"\w*(?:normal|regular|standard|optim|initial|minim|maxim|general|special|organ|recogn|summar"
    r"|parametr|linear|marginal|factor|vector|discret|token|quant|synchron|util|visual|categor"
    r"|real|penal|emphas|character)is(?:e[ds]?|ing|ations?|ers?)"
    r"|analys(?:e[ds]?|ing)|(?:un)?label(?:led|ling)|model(?:led|ling)|travell\w+|cancell(?:ed|ing)"
    r"|colour\w*|behaviours?|favours?|favour\w+|neighbours?|neighbouring|honours?"
    r"|centres?|centred|metres?|fibres?|catalogues?|dialogues?|grey|artefacts?|learnt|whilst|licence"
    r")\b",
    re.IGNORECASE,
)


# The numeral of ".45"; "0.45", "e.g.5" and the version "1.2.3" are not meant.
LEADING_DOT = re.compile(r"(?<![\w.)\]}])\.\d+")

MODULES = (
    "adaptive_noise|criteria|diagnostics|free_energy|likelihood|log_partition|losses|magnification"
    "|models|noise|numerics|ratio_estimation|samplers|sweeps|telescoping|training"
)
NAME = re.compile(rf"`+((?:nce_jax|{MODULES})(?:\.\w+)+)")
# The section of the changelog that gives the old names next to the new ones.
MIGRATION = re.compile(r"^### Names before and after$.*?(?=^#|\Z)", re.MULTILINE | re.DOTALL)


def prose(text: str) -> Iterator[tuple[int, str]]:
    """Number and text of every line outside code blocks and displayed formulas."""
    end = ""
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        opening = re.match(r"`{3,}|~{3,}|\$\$", stripped)
        if end:
            end = "" if stripped.endswith(end) else end
        elif opening:
            is_one_line = len(stripped) > 2 and stripped.endswith("$$")
            end = "" if is_one_line else opening[0]
        else:
            yield number, line


def is_table(line: str) -> bool:
    return line.lstrip().startswith("|")


def long_lines(text: str) -> list[int]:
    return [
        number
        for number, line in prose(text)
        if len(line) > MAX_COLUMNS and not is_table(line) and " " in line.strip()
    ]


def british_words(text: str) -> list[str]:
    without_code = (re.sub(r"`[^`]*`", "", line) for _, line in prose(text))
    return [match[0] for line in without_code for match in BRITISH.finditer(line)]


def leading_dots(text: str) -> list[str]:
    without_code = (re.sub(r"`[^`]*`|\]\([^)]*\)", "", line) for _, line in prose(text))
    return [match[0] for line in without_code for match in LEADING_DOT.finditer(line)]


def unknown_names(text: str) -> list[str]:
    """Names in backticks that begin with a module of nce_jax, and that it does not have."""
    names = [match[1] for _, line in prose(text) for match in NAME.finditer(line)]
    return [name for name in names if not exists(name)]


def exists(name: str) -> bool:
    """Whether a module, a name of one, or an attribute or field of its classes has this name."""
    value = importlib.import_module("nce_jax")
    for part in name.removeprefix("nce_jax.").split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            try:
                value = importlib.import_module(f"{getattr(value, '__name__', '')}.{part}")
            except ImportError:
                return part in getattr(value, "__annotations__", {})
    return True


def long_cells(text: str) -> list[str]:
    cells = (
        cell.strip()
        for _, line in prose(text)
        if is_table(line)
        for cell in line.strip().strip("|").split("|")
    )
    return [cell for cell in cells if len(cell) > MAX_CELL]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_lines_are_short_and_spelling_is_american(path):
    text = path.read_text()
    assert long_lines(text) == []
    assert british_words(text) == []
    assert leading_dots(text) == []


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_names_in_backticks_exist(path):
    assert unknown_names(MIGRATION.sub("", path.read_text())) == []


def test_cells_of_the_results_are_short():
    assert long_cells((ROOT / "docs" / "results.md").read_text()) == []


@pytest.mark.parametrize("path", sorted((ROOT / "experiments").glob("*/README.md")), ids=name)
def test_the_results_link_every_experiment_whose_readme_is_complete(path):
    topic = path.parent.name
    if topic in WITHOUT_QUESTION:
        return
    text = path.read_text()
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert [section for section in SECTIONS if section not in headings] == []
    assert any(heading.startswith("Results") for heading in headings)
    first = text.split("\n## ")[0]
    assert "**Verdict" in first
    assert f"(../experiments/{topic}/README.md)" in (ROOT / "docs" / "results.md").read_text()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("word " * 25, [1]),
        ("word " * 19, []),
        (f"| {'word ' * 25} |", []),
        (f"```sh\n{'word ' * 25}\n```\nend", []),
        (f"    {'word ' * 25}", [1]),
        (f"$${'word ' * 25}$$\nend", []),
        (f"$${'word ' * 25}\n{'word ' * 25}$$\n{'word ' * 25}", [3]),
        ("https://" + "a" * 120, []),  # an address cannot be broken
    ],
)
def test_the_rule_for_lines_sees_what_it_should(text, expected):
    assert long_lines(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the colour of a neighbour", ["colour", "neighbour"]),
        ("Normalised, modelled and learnt.", ["Normalised", "modelled", "learnt"]),
        ("color, neighbor, normalized, modeled; precise, noise, raise, likewise", []),
        ("`dequantise` is code", []),
    ],
)
def test_the_rule_for_spelling_sees_what_it_should(text, expected):
    assert british_words(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("an overlap of .45, | .79 | and -.5", [".45", ".79", ".5"]),
        ("$O = .4$", [".4"]),
        ("0.45, 1.2.3, v0.1, `.45`, [a](x/.1), and a sentence.2", []),
        ("```\n.45\n```", []),
    ],
)
def test_the_rule_for_decimals_sees_what_it_should(text, expected):
    assert leading_dots(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("`nce_jax.bar`, `training.fit(x)`, {py:func}`nce_jax.losses.clip_loss`", []),
        ("`log_partition.problem.make_problem`, `training.Metrics.overlap`", []),
        ("`training.TrainState`, `samplers.hmc`, `noise.yaml` and `clip_loss`", ["noise.yaml"]),
        ("`nce_jax.clip_loss(x)`, `training.init`", ["nce_jax.clip_loss", "training.init"]),
        ("`training.Metrics.num_steps`", ["training.Metrics.num_steps"]),
    ],
)
def test_the_rule_for_names_sees_what_it_should(text, expected):
    assert unknown_names(text) == expected


def test_the_rule_for_cells_sees_what_it_should():
    assert long_cells(f"| {'a' * 120} | {'b' * 121} |") == ["b" * 121]
