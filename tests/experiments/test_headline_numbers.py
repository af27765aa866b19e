"""Every committed headline number is compared on both of its sides."""

import json
import math
from pathlib import Path

import pytest

from experiments.common import check

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
FILES = sorted(EXPERIMENTS.glob("*/headline*.json"))


def committed(path):
    return json.loads(path.read_text())


def verdicts(entries, **changes):
    """The rows that fail where these numbers replace the committed ones."""
    measured = {name: entry["value"] for name, entry in entries.items()}
    rows = check.compare(entries, measured | changes)
    return {row.name for row in rows if row.failed}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_number_that_leaves_its_tolerance_fails_on_either_side(path):
    entries = committed(path)
    assert verdicts(entries) == set()
    for name, entry in entries.items():
        step = max(entry["tolerance"], 1e-6 * abs(entry["value"]), 1e-12)
        for moved in (entry["value"] + 1.01 * step, entry["value"] - 1.01 * step):
            assert verdicts(entries, **{name: moved}) == {name}, (name, moved)
        for never in (math.nan, math.inf, -math.inf):
            assert verdicts(entries, **{name: never}) == {name}, (name, never)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_positive_number_that_may_be_zero_says_why(path):
    entries = committed(path)
    for name, entry in entries.items():
        if 0 < entry["value"] <= entry["tolerance"]:
            assert ("least" in entry) != ("zero" in entry), name
        if "least" in entry:
            assert 0 < entry["least"] < entry["value"], name
            assert verdicts(entries, **{name: 0.0}) == {name}
            assert verdicts(entries, **{name: 0.99 * entry["least"]}) == {name}
            assert verdicts(entries, **{name: 1.01 * entry["least"]}) == set()
