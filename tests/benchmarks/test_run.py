"""The JSON file, the page and the command line of the benchmarks, on invented numbers."""

import json

import pytest

from benchmarks import peers, render, run, tables
from benchmarks.rows import AccuracyError

SPREAD = {"median": 0.0123456, "lower": 0.01, "upper": 0.02}
ROW = {
    "name": "BAR, small",
    "ours": "nce_jax",
    "peer": "pymbar, bisection",
    "unit": "solve",
    "our_seconds": SPREAD,
    "peer_seconds": SPREAD,
    "ratio": {"median": 25.04, "lower": 24.0, "upper": 26.51},
    "direction": "at least",
    "target": 25.0,
    "checked": "difference",
    "error": 1.234e-12,
    "tolerance": 1e-9,
    "note": "invented",
    "verdict": "met",
    "processor_ratio": 31.0,
    "floor_seconds": SPREAD,
    "over_floor": {"median": 1.5, "lower": 1.25, "upper": 2.0},
    "floor_what": "every sample is read",
}
STEPS = {"min": 2, "median": 2.5, "max": 3, "unsolved": 0}
AMOUNTS = [
    {
        "name": "first call",
        "unit": "s",
        "value": SPREAD,
        "target": 1.5,
        "beside": {"processor time": 0.5},
        "verdict": "met",
    },
    {
        "name": "a program",
        "unit": "B",
        "value": {"median": 88e6, "lower": 87e6, "upper": 89e6},
        "target": None,
        "beside": {"inputs": 16e6},
        "verdict": "",
    },
]
GUESS = {"value": 0.41, "seconds": 1.5, "standard_error": None, "model": ""}
POINTS = [{"lanes": lanes, "seconds_per_lane": SPREAD} for lanes in (1, 4_096)]
DETAILS = {
    "many_problems": {"steps_per_lane": [2, 2, 4]},
    "sweep_lanes": {"steps": 1_000, "lanes": {"NCE": POINTS, "BAR": POINTS, "Newton": POINTS}},
    "solver_steps": {
        "setting": {"size": 512, "offset": 3.0, "draws": 7, "max_steps": 1_000},
        "lines": [
            {
                "separation": -4.0,
                "dtype": "float32",
                "Newton": STEPS,
                "bisection": STEPS,
                "fixed point": STEPS | {"max": 1_000, "unsolved": 5},
            }
        ],
    },
    "ratio_estimation": {
        "size": 1_000,
        "held_out": 2_000,
        "measures": {"log_error": "of the log ratio", "square_error": "of the ratio"},
        "problems": [
            {
                "problem": "bump",
                "fits": [
                    {"method": "KLIEP", "log_error": 0.5154, "square_error": 0.55, "seconds": 0.2}
                ],
            }
        ],
    },
    "mutual_information": {
        "setting": {
            "size": 10_000,
            "neural_steps": 2_000,
            "repetitions": 3,
            "versions": {"jax": "0.4.33"},
        },
        "lines": [
            {
                "task": "Spiral",
                "truth": 1.0217,
                "KSG": GUESS,
                "nce_jax": GUESS | {"standard_error": 0.021, "model": "perceptron"},
            }
        ],
    },
}


def entry(topic, quick=False):
    machine = {"cpu": "Abacus 9", "cores": 3, "platform": "cpu"}
    return {
        "rows": [] if topic == "solver_steps" else [ROW | {"name": f"{topic} row"}],
        "amounts": AMOUNTS if topic == "memory" else [],
        "details": DETAILS.get(topic, {}),
        "seconds": 12.3,
        "load_before": 0.1,
        "load_after": 1.5,
        "finished": "2026-01-02T03:04:05+00:00",
        "commit": "abc",
        "dirty": False,
        "versions": {"jax": "1.2.3"},
        "machine": machine,
    }


@pytest.fixture
def output(tmp_path, monkeypatch):
    """The command line writes here, and every topic is invented."""
    paths = render.Output(
        *(tmp_path / name for name in ("results.json", "page.md", "images/lanes.png", "figures"))
    )
    monkeypatch.setattr(render, "COMMITTED", paths)
    monkeypatch.setattr(run, "run_topic", entry)
    return paths


def test_formats():
    assert [tables.seconds(value) for value in (12.0, 0.0123456, 3.684e-4)] == [
        "12.0 s",
        "12.3 ms",
        "368 µs",
    ]
    assert tables.ratio(ROW) == "25.0 [24.0, 26.5]"
    assert tables.ratio(ROW | {"direction": "at most", "ratio": SPREAD}) == "0.012 [0.010, 0.020]"
    assert [tables.target(ROW | {"target": target}) for target in (25.0, None)] == ["≥ 25", ""]
    assert tables.table(("", "a"), [("x", 1)]) == "|  | a |\n| --- | ---: |\n| x | 1 |\n"


def test_page_shows_every_section_its_details_and_the_machine():
    page = render.page({topic: entry(topic) for topic in run.TOPICS})
    for title, _ in render.SECTIONS.values():
        assert f"## {title}\n" in page
    assert (
        "| bar row | 12.3 ms | pymbar, bisection | 12.3 ms | 25.0 [24.0, 26.5] | ≥ 25 | met | 31.0"
        " | 1e-12 (1e-09) | 12.3 ms | 1.50 [1.25, 2.00] |" in page
    )
    assert "Floor: every sample is read." in page
    assert "| first call | 12.3 ms [10.0 ms, 20.0 ms] | ≤ 1.50 s | met | 500 ms |  |" in page
    assert "| a program | 88.0 MB [87.0 MB, 89.0 MB] |  |  |  | 16.0 MB |" in page
    assert "| bump | KLIEP | 0.515 | 0.550 | 200 ms |" in page
    assert "| Spiral | 1.022 | 0.410 (1.50 s) | 0.410 ± 0.021 (1.50 s perceptron) |" in page
    assert "Note: invented." in page
    assert "2 to 4, median 2" in page
    assert "1.50 times the evaluations" in " ".join(page.split())  # wherever the line is broken
    assert "| 4,096 | 12.3 ms | 12.3 ms | 12.3 ms |" in page
    assert "| -4 | float32 | 2 / 2.5 / 3 | 2 / 2.5 / 3 | 2 / 2.5 / 1000 (5) |" in page
    assert "Abacus 9, 3 cores" in page
    assert page.count("Versions: jax 1.2.3.") == 1


def test_everything_is_written_and_summed_up(output, capsys):
    assert run.main([]) == 0
    assert list(json.loads(output.json.read_text())) == list(run.TOPICS)
    assert "## BAR" in output.page.read_text()
    assert 0 < output.image.stat().st_size < 100_000
    assert (output.figures / "lanes.pdf").exists()
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["bar", "row", "25.0", "[24.0,", "26.5]", "≥", "25", "met"] in printed
    assert [
        "first",
        "call",
        "12.3",
        "ms",
        "[10.0",
        "ms,",
        "20.0",
        "ms]",
        "≤",
        "1.50",
        "s",
        "met",
    ] in printed


def test_only_keeps_the_other_topics(output, monkeypatch):
    run.main(["--only", "bar", "bootstrap"])
    monkeypatch.setattr(run, "run_topic", lambda topic, quick: entry(topic) | {"commit": "def"})
    run.main(["--only", "bootstrap"])
    commits = {
        topic: actual["commit"] for topic, actual in json.loads(output.json.read_text()).items()
    }
    assert commits == {"bar": "abc", "bootstrap": "def"}


def failing(error, failing_topic="bar"):
    def run_topic(topic, quick):
        if topic == failing_topic:
            raise error
        return entry(topic)

    return run_topic


def test_a_missing_peer_leaves_its_topic_out(output, monkeypatch, capsys):
    monkeypatch.setattr(
        run, "run_topic", failing(peers.MissingPeerError("needs pymbar: pip install -e '.[bench]'"))
    )
    assert run.main(["--only", "bar", "train_step"]) == 0
    assert list(json.loads(output.json.read_text())) == ["train_step"]
    assert "left out: needs pymbar: pip install -e '.[bench]'" in capsys.readouterr().err


def test_a_wrong_answer_fails_the_run_and_keeps_the_rest(output, monkeypatch, capsys):
    monkeypatch.setattr(run, "run_topic", failing(AccuracyError("bar: off by 1")))
    assert run.main(["--only", "bar", "train_step"]) == 1
    assert list(json.loads(output.json.read_text())) == ["train_step"]
    assert "error: bar: off by 1" in capsys.readouterr().err


def test_a_peer_that_is_not_installed_is_named_with_its_extra():
    with pytest.raises(
        peers.MissingPeerError, match=r"needs no_such_package: pip install -e '\.\[bench\]'"
    ):
        peers.peer("no_such_package")


def test_context_names_code_packages_and_machine():
    actual = run.context()
    assert {"jax", "numpy", "python"} <= actual["versions"].keys()
    assert actual["machine"]["cpu"]
