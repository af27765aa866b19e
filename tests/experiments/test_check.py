"""The headline check: numbers within tolerance pass; everything else fails and is named."""

import json

import pytest

from experiments.common import check
from experiments.common.endings import CommandError


@pytest.mark.parametrize(
    ("committed", "actual", "verdict", "failed"),
    [
        ({"a": {"value": 1.0, "tolerance": 0.1}}, {"a": 1.05}, "ok", False),
        ({"a": {"value": 1.0, "tolerance": 0.1}}, {"a": 1.2}, "DIFFERS", True),
        ({"a": {"value": 1.0, "tolerance": 0.1}}, {"a": 0.8}, "DIFFERS", True),
        ({"a": {"value": 1.0, "tolerance": 0.1}}, {"a": float("nan")}, "DIFFERS", True),
        ({"a": {"value": 1.0, "tolerance": 2.0, "least": 0.1}}, {"a": 0.2}, "ok", False),
        ({"a": {"value": 1.0, "tolerance": 2.0, "least": 0.1}}, {"a": 0.0}, "DIFFERS", True),
        ({"a": {"value": 1.0, "tolerance": 0.1}}, {}, "MISSING", True),
        (
            {"a": {"value": 1.0, "tolerance": 0.1, "needs": "data"}},
            {},
            "left out: needs data",
            False,
        ),
        ({}, {"a": 1.0}, "NOT COMMITTED", True),
    ],
)
def test_verdicts(committed, actual, verdict, failed):
    (row,) = check.compare(committed, actual)
    assert (row.verdict, row.failed) == (verdict, failed)


@pytest.fixture
def checkout(tmp_path):
    for folder, text in (
        ("experiments/some", {"a": {"value": 1.0, "tolerance": 0.1, "note": "figure 1"}}),
        ("build/results/some/paper", {"a": 1.05}),
    ):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "headline.json").write_text(json.dumps(text))
    (tmp_path / "experiments/some/run.py").touch()
    return tmp_path


def test_exit_status_and_table(checkout, capsys):
    assert check.main(["--root", str(checkout)]) == 0
    assert "all headline numbers hold" in capsys.readouterr().out
    (checkout / "build/results/some/paper/headline.json").write_text('{"a": 3.0}')
    assert check.main(["--root", str(checkout)]) == 1
    out = capsys.readouterr().out
    assert "DIFFERS" in out
    assert "1 of the headline numbers" in out


def test_missing_results_name_the_command(checkout, capsys):
    (checkout / "build/results/some/paper/headline.json").unlink()
    assert check.main(["--root", str(checkout)]) == 1
    assert "python -m experiments.some.run --preset paper" in capsys.readouterr().out


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1.0}',
        '{"a": {"value": 1.0}}',
        '{"a": {"value": 1.0, "tolerance": Infinity}}',
        '{"a": {"value": NaN, "tolerance": 1}}',
        '{"a": {"value": "1.0", "tolerance": 1}}',
        '{"a": {"value": true, "tolerance": 1}}',
    ],
)
def test_a_malformed_committed_file_is_named(checkout, capsys, text):
    (checkout / "experiments/some/headline.json").write_text(text)
    assert check.main(["--root", str(checkout)]) == 1
    assert "every entry needs a value and a tolerance" in capsys.readouterr().out


@pytest.mark.parametrize("text", ['{"a": "1.05"}', '{"a": null}', '{"a": [1.05]}'])
def test_a_measured_value_that_is_no_number_is_named(checkout, capsys, text):
    (checkout / "build/results/some/paper/headline.json").write_text(text)
    assert check.main(["--root", str(checkout)]) == 1
    assert "build/results/some/paper/headline.json: a: expected a number" in capsys.readouterr().out


def test_nothing_to_compare_does_not_hold(checkout, capsys, tmp_path):
    (checkout / "experiments/some/headline.json").write_text("{}")
    (checkout / "build/results/some/paper/headline.json").write_text("{}")
    assert check.main(["--root", str(checkout)]) == 1
    assert "expected at least one number, got none" in capsys.readouterr().out
    with pytest.raises(CommandError, match="--root: expected a checkout with experiments"):
        check.main(["--root", str(tmp_path / "nowhere")])
