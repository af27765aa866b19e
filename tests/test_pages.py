"""The blocks of a page: which are run, and what a wrong one does."""

import pytest

from tests import pages


def test_blocks_are_found_with_what_they_need():
    text = (
        "a\n```python\nx = 1\n```\n\n```python no-run\ny\n```\n:::\n```python needs=a,b\nz\n```\n"
    )
    assert pages.blocks(text) == [("x = 1\n", (), 2), ("z\n", ("a", "b"), 10)]
    assert pages.missing(("json", "no_such_package")) == ["no_such_package"]


def test_an_unknown_option_is_an_error():
    with pytest.raises(ValueError, match="no-run or needs="):
        pages.blocks("```python norun\nx\n```\n")
