"""The bibliography has every source that a public docstring names, with the names that cite it."""

import importlib
import inspect
import re

import pytest

from tests.pages import ROOT
from tests.test_public_docs import documented

PAGE = (ROOT / "docs" / "bibliography.md").read_text()
# Of an item of the page: everything up to the next one, on one line.
ITEMS = [" ".join(item.split()) for item in re.split(r"^- ", PAGE, flags=re.MULTILINE)[1:]]
SOURCE = re.compile(
    r"([A-Z][\w-]+|van den Oord|Del Moral)(?: et al\.|,| and)[^;]*?\b(1[89]\d\d|20\d\d)\b"
)


def value_of(name: str) -> object:
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError):
        return importlib.import_module(name)


def sources(doc: str) -> list[tuple[str, str]]:
    """First author and year of every entry under References."""
    lines = doc.partition("References:\n")[2].splitlines()
    # An entry begins with two spaces, and its further lines with four.
    entries = re.split(r"\n  (?=\S)", "\n" + "\n".join(lines))
    return [match.groups() for entry in entries if (match := SOURCE.match(" ".join(entry.split())))]


@pytest.mark.parametrize("name", sorted(documented()))
def test_the_sources_of_a_docstring_are_in_the_bibliography(name):
    for author, year in sources(inspect.getdoc(value_of(name)) or ""):
        assert any(
            author in item and f" {year}." in item and f"`{name}`" in item for item in ITEMS
        ), f"docs/bibliography.md: expected an item of {author} {year} that names {name}"


def test_the_page_names_what_cites_the_source():
    for item in ITEMS:
        for name in re.findall(r"\{py:obj\}`([^`]+)`", item):
            name = re.sub(r"\.(SweepResult|Telescope)\.\w+$", r".\1", name)
            assert name in documented(), name


def test_sources_are_found():
    doc = "A.\n\nReferences:\n  Ma and Collins, A title\n    goes, 2018.\n  Neal, B, 2001.\n"
    assert sources(doc) == [("Ma", "2018"), ("Neal", "2001")]
