"""What counts as a regression, on invented results; nothing is timed."""

import json

import pytest

from benchmarks import regression, render, run
from benchmarks.rows import AccuracyError

MACHINE = {"cpu": "Abacus 9", "cores": 3, "platform": "cpu"}


def spread(median, width=0.02):
    """Quartiles `width` apart, as a share of the median."""
    return {"median": median, "lower": median * (1 - width / 2), "upper": median * (1 + width / 2)}


def row(ratio=20.0, width=0.02, *, direction="at least", over_floor=None, verdict="", name="BAR"):
    return {
        "name": name,
        "ratio": spread(ratio, width),
        "direction": direction,
        "verdict": verdict,
        "error": 0.1,
        "tolerance": 0.2,
        "over_floor": None if over_floor is None else spread(over_floor),
    }


def amount(median, unit="B", verdict=""):
    return {"name": "solve", "unit": unit, "value": spread(median, 0.0), "verdict": verdict}


def topic(rows=(), amounts=(), took=10.0):
    return {"rows": list(rows), "amounts": list(amounts), "seconds": took, "machine": MACHINE}


def quantities(before, after):
    kind = "amounts" if "unit" in before else "rows"
    actual = regression.compare("topic", topic(**{kind: [before]}), topic(**{kind: [after]}))
    return [finding.quantity for finding in actual]


def test_the_same_is_no_regression():
    assert quantities(row(over_floor=1.5), row(over_floor=1.5)) == []


@pytest.mark.parametrize(
    ("direction", "now", "is_regression"),
    [
        ("at least", 15.0, True),
        ("at least", 30.0, False),
        ("at most", 30.0, True),
        ("at most", 15.0, False),
    ],
)
def test_worse_is_in_the_direction_of_the_row(direction, now, is_regression):
    assert (
        quantities(row(direction=direction), row(now, direction=direction))
        == ["ratio"] * is_regression
    )


def test_both_spreads_have_to_be_exceeded():
    # 20 to 15 is 0.29 on the log scale; quartiles of 10 % on both sides take 0.2 of it, of 20 %
    # take 0.4.
    assert quantities(row(20, 0.1), row(15, 0.1)) == ["ratio"]
    assert quantities(row(20, 0.2), row(15, 0.2)) == []
    assert quantities(row(20, 0.02), row(15, 0.4)) == []
    assert quantities(row(20, 0.4), row(15, 0.02)) == []


def test_what_a_new_process_changes_is_no_regression_however_narrow_the_spread():
    assert quantities(row(20, 0.001), row(19.2, 0.001)) == []
    assert quantities(row(20, 0.001), row(18.8, 0.001)) == ["ratio"]


def test_the_distance_to_the_floor_counts_by_itself():
    assert quantities(row(over_floor=1.5), row(over_floor=2.0)) == ["over the floor"]
    assert quantities(row(over_floor=1.5), row(over_floor=1.2)) == []
    assert quantities(row(over_floor=1.5), row()) == ["over the floor"]
    assert quantities(row(), row(over_floor=9.0)) == []


def test_accuracy_that_was_there_and_is_lost():
    assert quantities(row(), row(verdict="less accurate")) == ["accuracy"]
    assert quantities(row(verdict="less accurate"), row(verdict="less accurate")) == []


def test_bytes_by_the_rule_and_seconds_by_their_target():
    assert quantities(amount(88e6), amount(99e6)) == ["bytes"]
    assert quantities(amount(88e6), amount(90e6)) == []
    assert quantities(amount(1.0, "s", "met"), amount(9.0, "s", "missed")) == ["target"]
    assert quantities(amount(2.0, "s", "missed"), amount(9.0, "s", "missed")) == []


def test_a_row_that_is_gone_is_named():
    (actual,) = regression.compare("bar", topic([row(name="old")]), topic([row(name="new")]))
    assert (actual.topic, actual.row, actual.now) == ("bar", "old", "gone")


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Committed: a bar of ratio 20 and a slow sweep. A list of what the next runs find; the last
    one stays.
    """
    stored = {
        "bar": topic([row()]),
        "sweep_lanes": topic([row()], took=100.0),
        "solver_steps": topic(),
    }
    path = tmp_path / "results.json"
    path.write_text(json.dumps(stored))
    outputs = render.Output(path, *(tmp_path / "elsewhere",) * 3)
    monkeypatch.setattr(render, "COMMITTED", outputs)
    monkeypatch.setattr(run, "context", lambda: {"machine": MACHINE})
    results = [topic([row()])]

    def run_topic(name, quick):
        assert not quick
        actual = results.pop(0) if len(results) > 1 else results[0]
        if isinstance(actual, Exception):
            raise actual
        return actual

    monkeypatch.setattr(run, "run_topic", run_topic)
    return results


def test_without_arguments_the_quick_topics_run(runs, capsys):
    assert regression.main([]) == 0
    assert capsys.readouterr().out == "no regression in bar\n"


def test_a_regression_fails_with_a_table_of_rows(runs, capsys):
    runs[:] = [topic([row(15)])]
    assert regression.main(["--only", "bar", "sweep_lanes"]) == 1
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split() == ["topic", "row", "what", "committed", "now"]
    assert printed[1].split() == [
        "bar",
        "BAR",
        "ratio",
        "20",
        "[19.8,",
        "20.2]",
        "15",
        "[14.8,",
        "15.2]",
    ]
    assert printed[2].startswith("sweep_lanes")


def test_what_fails_once_only_was_the_machine(runs):
    runs[:] = [topic([row(15)]), topic([row()])]
    assert regression.main(["--only", "bar"]) == 0


def test_a_wrong_answer_is_no_pass(runs, capsys):
    runs[:] = [AccuracyError("BAR: off by 1")]
    assert regression.main(["--only", "bar"]) == 1
    assert "BAR: off by 1" in capsys.readouterr().out


def test_another_machine_is_pointed_out(runs, monkeypatch, capsys):
    monkeypatch.setattr(run, "context", lambda: {"machine": MACHINE | {"cores": 64}})
    regression.main([])
    assert "committed on another machine: bar" in capsys.readouterr().err
