"""Figures: reproducible bytes, one style per method, and a plot command that lists its files."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest

from experiments.common import plotting, results


def draw(stored):
    figure, axes = plt.subplots()
    axes.plot(stored.arrays["x"], **plotting.method_style("BAR"))
    axes.legend()
    return {"some_figure": figure}


@pytest.fixture
def stored():
    return results.Stored({"x": [1.0, 2.0]}, {}, {})


def test_the_backend_needs_no_display():
    assert mpl.get_backend().lower() == "agg"


def test_saving_is_deterministic(tmp_path, stored):
    open_before = plt.get_fignums()
    written = [
        plotting.save_figure(draw(stored)["some_figure"], "f", tmp_path / name) for name in "ab"
    ]
    for first, second in zip(*written, strict=True):
        assert first.read_bytes() == second.read_bytes()
    assert [path.suffix for path in written[0]] == [".png", ".pdf"]
    assert plt.get_fignums() == open_before


def test_methods_differ_in_color_and_an_unknown_one_is_named():
    colors = [style["color"] for style in plotting.METHODS.values()]
    assert len({*colors, *plotting.OTHER_COLORS}) == len(colors) + len(plotting.OTHER_COLORS)
    with pytest.raises(KeyError, match=r"no method 'SGD': expected one of NCE, .*Newton"):
        plotting.method_style("SGD")


def test_plot_command_writes_figures_and_their_list(tmp_path):
    results.save(tmp_path / "results", results.Result({"x": [1.0, 2.0]}))
    where = ["--results", str(tmp_path / "results"), "--output", str(tmp_path / "figures")]
    plotting.main("digits", draw, where)
    listed = (tmp_path / "figures" / "digits.list").read_text().splitlines()
    assert listed == [
        str(tmp_path / "figures" / f"some_figure{suffix}") for suffix in (".png", ".pdf")
    ]


def test_plot_command_without_results_names_the_run(tmp_path, capsys):
    with pytest.raises(SystemExit):
        plotting.main("digits", draw, ["--results", str(tmp_path)])
    assert "python -m experiments.digits.run --preset paper" in capsys.readouterr().err


def test_the_preset_is_the_first_of_the_experiment_or_one_that_it_has(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    for topic, expected in (("mnist", "smoke"), ("digits", "paper")):
        with pytest.raises(SystemExit):
            plotting.main(topic, draw, [])
        assert f"experiments.{topic}.run --preset {expected}" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        plotting.main("mnist", draw, ["--preset", "paper"])
    assert "preset: expected one of smoke, cpu, gpu, got 'paper'" in capsys.readouterr().err
