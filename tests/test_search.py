"""What readers search for leads to the right page first."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
pytest.importorskip("sphinx", reason="sphinx builds the pages: it is in the extra docs")
sys.path.insert(0, str(DOCS / "_ext"))
try:
    from search_words import WORDS
finally:
    sys.path.pop(0)


def sources(docname):
    """The file that a page is made of; those of the gallery are scripts."""
    return [DOCS / f"{docname}.md", DOCS / f"{docname.replace('gallery/', 'examples/')}.py"]


@pytest.mark.parametrize("docname", WORDS)
def test_words_belong_to_pages_that_exist(docname):
    assert any(path.exists() for path in sources(docname))


def test_a_word_leads_to_one_page_and_is_in_lower_case():
    words = [word for page in WORDS.values() for word in page]
    assert len(words) == len(set(words))
    assert words == [word.lower() for word in words]


def test_words_of_the_issue_are_there():
    expected = {
        "install": "start",
        "covariate shift": "gallery/covariate_shift",
        "free energy": "free_energies",
        "pymbar": "migration/pymbar",
        "torchebm": "migration/torchebm",
        "sklearn": "migration/scikit_learn",
        "clip": "contrastive",
    }
    found = {word: page for page, words in WORDS.items() for word in words}
    assert expected == {word: found.get(word) for word in expected}


def test_the_search_index_has_the_words_as_main_entries(tmp_path):
    """Of a site of one page: a main entry is ranked above every title and text."""
    from sphinx.cmd.build import build_main

    shutil.copy(DOCS / "_ext" / "search_words.py", tmp_path)
    path = f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n"
    (tmp_path / "conf.py").write_text(path + "extensions = ['search_words']\nroot_doc = 'start'\n")
    (tmp_path / "start.rst").write_text("Beginning\n=========\n\nText.\n")
    assert build_main(["-q", "-b", "html", str(tmp_path), str(tmp_path / "site")]) == 0
    text = (tmp_path / "site" / "searchindex.js").read_text()
    index = json.loads(re.fullmatch(r"Search\.setIndex\((.*)\)", text.strip(), re.DOTALL)[1])
    assert index["indexentries"]["install"] == [[0, "", True]]
