"""Pages that repeat numbers of the benchmarks have those of the newest run."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = json.loads((ROOT / "benchmarks" / "results.json").read_text())


def page(name):
    return (ROOT / "docs" / f"{name}.md").read_text()


def medians(topic, side="our_seconds"):
    return {row["name"]: row[side]["median"] for row in RESULTS[topic]["rows"]}


@pytest.mark.parametrize(
    ("words", "name", "side", "column"),
    [
        ("10,000", "Output layer, 10,000 words", "our_seconds", 1),
        ("100,000", "Output layer, 100,000 words", "our_seconds", 1),
        ("1,000,000", "NCE step, 1,000,000 words over 10,000 words", "our_seconds", 1),
        ("10,000", "Output layer, 10,000 words", "peer_seconds", 4),
        ("100,000", "Output layer, 100,000 words", "peer_seconds", 4),
    ],
)
def test_times_of_output_layers(words, name, side, column):
    (line,) = re.findall(rf"^\| {words} \|.* million .*$", page("vocabulary"), re.MULTILINE)
    shown = line.strip("| ").split("|")[column].strip()
    assert float(shown.removesuffix(" ms")) == pytest.approx(
        1e3 * medians("vocabulary", side)[name], rel=0.02
    )


@pytest.mark.parametrize(
    ("row", "name"),
    [("joint gradient", "joint gradient"), ("BAR step", "one BAR step"), ("solved", "Newton")],
)
def test_times_of_a_million_lanes(row, name):
    section = page("scaling").split("### A million lanes")[1]
    lane, minutes = re.search(rf"^\| {row} \| (\S+) \| (\S+) \|$", section, re.MULTILINE).groups()
    (seconds,) = [
        seconds for title, seconds in medians("sweep_lanes").items() if title.endswith(name)
    ]
    assert float(lane) == pytest.approx(1e3 * seconds, abs=0.006)
    assert float(minutes) == round(1e6 * seconds / 60)


def test_evaluations_of_newtons_method():
    steps = [line["Newton"] for line in RESULTS["solver_steps"]["details"]["lines"]]
    text = page("design").replace("\n", " ")
    median = re.search(r"a median of 1 to (\d+) evaluations at any separation", text)[1]
    largest = re.search(r"It takes at most (\d+), at a separation", text)[1]
    assert int(median) == max(line["median"] for line in steps)
    assert int(largest) == max(line["max"] for line in steps)


def test_times_of_a_ratio_from_samples():
    text = page("choosing").replace("\n", " ")
    shown = re.search(r"of the (\d+) to (\d+) ms of the call", text).groups()
    times = [1e3 * seconds for seconds in medians("ratio_estimation").values()]
    assert [float(value) for value in shown] == pytest.approx([min(times), max(times)], rel=0.05)
