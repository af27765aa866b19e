"""Histories, maps and sweeps: values in the artists, and failures that are visible."""

import subprocess
import sys
from itertools import pairwise

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pandas
import pytest
import xarray

import nce_jax
from nce_jax import plots, training
from nce_jax.plots._axes import PALETTE, notes


def legend(ax) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


HISTORY = {
    "step": np.array([10, 20, 30]),
    "loss": np.array([1.3, np.nan, 1.0]),
    "overlap": np.array([0.5, 0.005, 0.4]),
    "failed_solves": np.array([0, 0, 4]),
    "low_overlap": np.array([0.0, 0.9, 0.0]),
}


@pytest.mark.parametrize("table", [dict, pandas.DataFrame])
def test_the_usual_metrics_against_the_step(table):
    loss, overlap = plots.training_history(table(HISTORY))
    np.testing.assert_array_equal(loss.lines[0].get_ydata(), HISTORY["loss"])
    np.testing.assert_array_equal(overlap.lines[0].get_xdata(), HISTORY["step"])
    assert legend(loss) == ["F not solved in 4 steps", "not finite"]
    assert [line.get_xdata().tolist() for line in loss.lines[1:]] == [[30], [20]]
    assert legend(overlap) == ["F not solved in 4 steps", "low overlap in 1 records"]
    assert overlap.get_yscale() == "log"  # more than a factor of 30


def test_evaluations_have_steps_of_their_own():
    evaluations = {"step": np.array([0, 30]), "held_out_loss": np.array([1.4, 1.2])}
    result = training.FitResult(None, HISTORY, evaluations)
    given = plt.subplots(1, 2)[1]
    panels = plots.training_history(result, metrics=["held_out_loss", "overlap"], ax=given)
    assert list(panels) == list(given)
    np.testing.assert_array_equal(panels[0].lines[0].get_xydata(), [[0, 1.4], [30, 1.2]])


def test_unknown_metrics_are_refused():
    with pytest.raises(ValueError, match="metrics: expected names among loss, .*, got 'los'"):
        plots.training_history(HISTORY, metrics=["los"])
    with pytest.raises(ValueError, match="result: expected metrics among loss, "):
        plots.training_history({"step": [1], "accuracy": [1.0]})


def test_the_map_shows_the_energy_of_every_cell():
    seen = []

    def log_density_fn(x):
        seen.append(x.shape)
        return -x[:, 0] - 10 * x[:, 1]

    samples = np.array([[0.5, 1.5], [1.0, 1.0]])
    ax = plots.energy_map(log_density_fn, [0, 0], [2, 4], num_points=2, x=samples)
    np.testing.assert_allclose(ax.images[0].get_array(), [[10.5, 11.5], [30.5, 31.5]])
    np.testing.assert_allclose(ax.images[0].get_extent(), [0, 2, 0, 4])
    assert ax.images[0].norm.vmax == 20.5  # 10 nats above the lowest
    np.testing.assert_allclose(ax.lines[0].get_xydata(), samples)
    assert seen == [(4, 2)]


def test_energies_that_are_not_finite_are_left_out_and_counted():
    ax = plots.energy_map(lambda x: jnp.log(x[:, 0]), [-1, 0], [1, 1], num_points=2)
    shown = ax.images[0].get_array()
    assert shown.mask.tolist() == [[True, False], [True, False]]
    assert ax.patch.get_hatch()
    assert notes(ax) == ["2 of 4 energies are not finite"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"low": [0.0]}, r"low: expected two finite numbers \(2,\)"),
        ({"high": [0.0, -1.0]}, "high: expected numbers above low"),
        ({"x": np.ones(3)}, r"x: expected points \(samples, 2\)"),
        ({"log_density_fn": lambda x: x}, "log_density_fn: expected a function that returns"),
    ],
)
def test_a_wrong_rectangle_or_function_is_refused(options, message):
    right = {"log_density_fn": lambda x: x[:, 0], "low": [0, 0], "high": [1, 1], "num_points": 2}
    with pytest.raises(ValueError, match=message):
        plots.energy_map(**right | options)
    assert plt.get_fignums() == []


@pytest.fixture
def dataset() -> xarray.Dataset:
    values = [[1.0, 2, np.nan, np.nan], [3, 4, 5, 6], [np.nan] * 4]
    dataset = xarray.Dataset({"error": (("a", "seed"), values)}, coords={"a": [1, 2, 3]})
    dataset["failed"] = np.isnan(dataset["error"])
    return dataset


def test_medians_bands_and_failed_lanes(dataset):
    """Quantiles of the lanes that are left, and a cross with a count where some are not."""
    ax = plots.sweep_lines(dataset, "error", "a")
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [[1, 1.5], [2, 4.5], [3, np.nan]])
    band = ax.collections[0].get_paths()[0].vertices
    assert {1.16, 3.48} <= set(band[:, 1].round(2))  # the lower quantiles of 1, 2 and of 3 to 6
    assert [text.get_text() for text in ax.texts] == ["2/4 failed", "4/4 failed"]
    crosses = [line for line in ax.lines if line.get_marker() == "x"]
    assert [line.get_xdata()[0] for line in crosses] == [1, 3]
    # All failed: at the lower edge, in units of the Axes.
    assert crosses[1].get_ydata()[0] == 0.03


def test_a_lane_that_failed_elsewhere_is_left_out(dataset):
    dataset["other"] = dataset["error"].fillna(100.0)
    ax = plots.sweep_lines(dataset, "other", "a")
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [1.5, 4.5, np.nan])


def test_lanes_that_fail_as_a_whole_are_marked_once():
    values = np.array([[1.0, 2, 3], [np.nan] * 3])
    dataset = xarray.Dataset({"error": (("seed", "step"), values)}, {"step": [1, 10, 100]})
    dataset["failed"] = ("seed", [False, True])
    ax = plots.sweep_lines(dataset, "error", "step")
    assert [text.get_text() for text in ax.texts] == ["1/2 failed"]
    assert ax.lines[-1].get_xydata().tolist() == [[100, 3]]


def test_a_sweep_with_a_line_for_each_value_and_words_for_ticks():
    axes = {"a": jnp.arange(2.0), "b": jnp.arange(2.0), "seed": jnp.arange(3.0)}
    result = nce_jax.sweep(lambda a, b, seed: a + 10 * b + seed, axes, progress=False)
    ax = plots.sweep_lines(result, "value", "a", lines="b")
    np.testing.assert_allclose([line.get_ydata() for line in ax.lines], [[1, 2], [11, 12]])
    assert legend(ax) == ["0", "1"]
    words = result.to_xarray().assign_coords(a=["left", "right"]).isel(b=0)
    ax = plots.sweep_lines(words, "value", "a")
    assert [label.get_text() for label in ax.get_xticklabels()] == ["left", "right"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variable": "eror"}, "variable: expected one of error, failed, got 'eror'"),
        ({"axis": "b"}, "axis: expected one of a, seed, got 'b'"),
        ({"axis": "seed"}, "over: expected another dimension than 'seed', got it twice"),
        ({"band": (0.9, 0.1)}, "band: expected two quantiles between 0 and 1 in order"),
    ],
)
def test_names_that_do_not_fit_are_refused(dataset, options, message):
    with pytest.raises(ValueError, match=message):
        plots.sweep_lines(dataset, **{"variable": "error", "axis": "a"} | options)


def test_a_dimension_that_is_left_is_named(dataset):
    with pytest.raises(ValueError, match=r"result: .*\.sel\(depth=\.\.\.\) of the Dataset"):
        plots.sweep_lines(dataset.expand_dims(depth=[1, 2]), "error", "a")


def test_without_matplotlib_the_message_names_the_extra():
    code = "import sys; sys.modules['matplotlib'] = None\nimport nce_jax.plots"
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert process.returncode != 0
    assert "ImportError: nce_jax.plots needs matplotlib: pip install" in process.stderr
    assert "[plots]'" in process.stderr


def test_runs_in_the_same_axes_have_colors_of_their_own():
    """Also beside a run with a color of the caller's; a seventh begins again."""
    (ax,) = plots.training_history(HISTORY, metrics=["loss"])
    panels = [ax]
    plots.training_history(HISTORY, metrics=["loss"], ax=panels, color="C8", label="given")
    for _ in range(6):
        plots.training_history(HISTORY, metrics=["loss"], ax=panels, label="run")
    colors = [line.get_color() for line in ax.lines if line.get_linestyle() == "-"]
    assert colors == [PALETTE[0], "C8", *PALETTE[1:], PALETTE[0]]
    # Marks of a run have its color.
    hollow = [line.get_color() for line in ax.lines if line.get_markerfacecolor() == "white"]
    assert hollow == colors


@pytest.mark.parametrize(
    ("counts", "shown"),
    [
        ([4, 16, 64], ["4", "16", "64"]),
        (list(range(1, 13)), ["1", "3", "5", "7", "9", "11"]),
        (np.geomspace(0.01, 0.5, 6), ["0.01", "0.022", "0.048", "0.1", "0.23", "0.5"]),
    ],
)
def test_labels_of_a_narrow_logarithmic_axis_do_not_overlap(counts, shown):
    values = np.arange(2.0 * len(counts) * 3).reshape(2, len(counts), 3)
    dims = {"scale": [1.0, 2.0], "count": counts, "seed": np.arange(3)}
    dataset = xarray.Dataset({"value": (tuple(dims), values)}, dims)
    figure = plots.sweep_panels(dataset, "value", "count", panels="scale")
    for ax in figure.axes:
        assert ax.get_xscale() == "log"
        assert [label.get_text() for label in ax.get_xticklabels()] == shown
        assert [text.get_text() for text in ax.get_xticklabels(minor=True)] == []
        figure.canvas.draw()
        boxes = [label.get_window_extent() for label in ax.get_xticklabels()]
        assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
