"""The command `nce-sweep`: what it prints and draws, and its errors in one line."""

import dataclasses
import subprocess
import sys
import tomllib
from pathlib import Path

import jax.numpy as jnp
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

import nce_jax
from nce_jax import plots
from nce_jax.commands import nce_sweep

mpl.use("Agg")
ROOT = Path(__file__).parents[2]


def measure(magnification, rate, seed):
    failed = (magnification == 100) & (seed == 0)
    value = magnification * (1 + seed) / rate
    return {"error": jnp.where(failed, jnp.nan, value), "count": seed}


AXES = {
    "magnification": jnp.array([1.0, 10.0, 100.0]),
    "rate": jnp.array([0.1, 0.2]),
    "seed": jnp.arange(4),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweeps") / "stored"
    nce_jax.sweep(measure, AXES, folder=folder, max_lanes=6, progress=False)
    return folder


def test_show_says_what_is_stored(folder, capsys):
    nce_sweep(["show", str(folder)])
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "axis magnification: 3 values, 1 to 100"
    assert "variable error (magnification, rate, seed): float32, median 125" in said
    assert "failed: 2 of 24 lanes" in said


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_plot_writes_a_figure(folder, tmp_path, capsys, ending):
    output = tmp_path / f"figure.{ending}"
    nce_sweep(["plot", str(folder), "--value", "error", "--output", str(output)])
    assert capsys.readouterr().out.strip() == str(output)
    assert output.stat().st_size > 1000
    plt.close("all")


def test_a_netcdf_file_is_opened_too(folder, tmp_path, capsys):
    pytest.importorskip("scipy")
    dataset = nce_jax.sweeps.load_sweep(folder).to_xarray()
    dataset.to_netcdf(tmp_path / "sweep.nc", engine="scipy")
    for path in (tmp_path, tmp_path / "sweep.nc"):
        nce_sweep(["show", str(path)])
        assert "axis rate: 2 values, 0.1 to 0.2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--x", "rat"], "error: x: expected one of magnification, rate, got 'rat'"),
        (["--value", "eror"], "error: value: expected one of count, error, failed, got 'eror'"),
        (["--at", "rate"], "error: at: expected NAME=VALUE, got 'rate'"),
        (["--at", "rate=0.3"], "error: at: expected rate to be one of 0.1, 0.2, got 0.3"),
        (
            ["--x", "rate", "--lines", "rate"],
            "error: x, lines, panels: expected different axes, got rate, rate",
        ),
        (["--output", "/dev/null/a.png"], "error: output: expected a folder"),
    ],
)
def test_wrong_options_are_one_line(folder, capsys, argv, message):
    with pytest.raises(SystemExit) as stopped:
        nce_sweep(["plot", str(folder), *argv])
    said = capsys.readouterr().err
    assert stopped.value.code == 2
    assert said.startswith(message)
    assert said.count("\n") == 1
    plt.close("all")


def test_a_folder_without_a_sweep_and_an_unfinished_one_are_one_line(folder, tmp_path, capsys):
    with pytest.raises(SystemExit):
        nce_sweep(["show", str(tmp_path / "nowhere")])
    assert "which is no folder" in capsys.readouterr().err
    unfinished = tmp_path / "unfinished"
    nce_jax.sweep(measure, AXES, folder=unfinished, max_lanes=6, progress=False)
    (unfinished / "chunk-1.sha256").unlink()
    with pytest.raises(SystemExit):
        nce_sweep(["show", str(unfinished)])
    said = capsys.readouterr().err
    assert "1 missing (1) of" in said
    assert said.count("\n") == 1
    nce_sweep(["show", str(unfinished), "--allow-missing"])
    said = capsys.readouterr().out.splitlines()
    # Both lanes that fail are in the other chunks.
    assert "missing: 6 of 24 lanes, not computed" in said
    assert "failed: 2 of 18 lanes" in said
    assert "missing_lanes: 6" in said
    assert not [line for line in said if line.startswith("variable missing")]


def test_medians_and_means_are_of_the_lanes_that_have_been_computed(tmp_path, capsys):
    """Integers of the others are zero, and would pass for values."""
    axes = {"a": jnp.arange(3), "seed": jnp.arange(4)}
    fn = lambda a, seed: {"count": 5 + a + seed, "pair": jnp.stack([a, seed]) + 7}
    nce_jax.sweep(fn, axes, folder=tmp_path, max_lanes=4, progress=False)
    for number in (1, 2, 3):
        (tmp_path / f"chunk-{number}.sha256").unlink()
    nce_sweep(["show", str(tmp_path), "--allow-missing"])
    said = capsys.readouterr().out
    assert "missing: 9 of 12 lanes" in said
    part = nce_jax.sweeps.load_sweep(tmp_path, allow_missing=True)
    for name, values in part.values.items():
        assert f"variable {name} (a, seed" in said
        assert f"median {np.median(values[~part.missing]):.4g}\n" in said
        assert np.median(values) == 0
    with pytest.warns(match=r"9 of 12 lanes failed or have not been computed \(9\) and are left"):
        part.mean("seed")


def test_lanes_that_are_not_computed_are_no_failures_of_a_picture(folder):
    whole = nce_jax.sweeps.load_sweep(folder)
    is_missing = np.zeros((3, 2, 4), bool)
    is_missing[2, :, 2:] = is_missing[0] = True  # beside a lane that failed, and a whole point
    values = {n: np.where(is_missing, np.nan, v) for n, v in whole.values.items()}
    part = dataclasses.replace(whole, missing=is_missing, values=values).to_xarray()
    figure = plots.sweep_panels(part, "error", "magnification", lines="rate")
    ax = figure.axes[0]
    assert [text.get_text() for text in ax.texts] == ["1/2 failed"] * 2
    assert "12 of 24 lanes computed" in figure.get_suptitle()
    ax = plots.sweep_lines(part.isel(rate=0), "error", "magnification")
    assert [text.get_text() for text in ax.texts] == ["1/2 failed", "6 of 12 lanes computed"]
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [np.nan, 250, 2000], rtol=1e-6)
    plt.close("all")


def test_a_variable_called_missing_is_a_variable_of_a_complete_sweep(tmp_path, capsys):
    axes = {"a": jnp.arange(3.0), "seed": jnp.arange(2)}
    fn = lambda a, seed: {"missing": a + seed}
    nce_jax.sweep(fn, axes, folder=tmp_path, max_lanes=2, progress=False)
    nce_sweep(["show", str(tmp_path)])
    assert "variable missing (a, seed): float32, median 1.5" in capsys.readouterr().out
    ax = plots.sweep_lines(nce_jax.sweeps.load_sweep(tmp_path), "missing", "a")
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [0.5, 1.5, 2.5])
    (tmp_path / "chunk-1.sha256").unlink()
    with pytest.raises(ValueError, match="than the axes and 'failed' and 'missing', got 'missing'"):
        nce_jax.sweeps.load_sweep(tmp_path, allow_missing=True).to_xarray()
    plt.close("all")


@pytest.mark.parametrize("name", ["tyro", "matplotlib", "xarray"])
def test_a_missing_extra_is_one_line(folder, capsys, monkeypatch, name):
    for module in [m for m in sys.modules if m == "nce_jax.plots" or m.startswith(f"{name}.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.delattr(nce_jax, "plots", raising=False)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SystemExit):
        nce_sweep(["plot", str(folder), "--output", "/dev/null/a.png"])
    said = capsys.readouterr().err
    assert f"needs {name}: pip install " in said
    assert said.count("\n") == 1


def test_the_command_is_in_the_wheel():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"nce-sweep": "nce_jax.commands:nce_sweep"}
    code = "from nce_jax.commands import nce_sweep; nce_sweep(['--help'])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert said.returncode == 0
    assert "show" in said.stdout
    assert "plot" in said.stdout


def test_panels_hold_medians_and_bands_over_seeds():
    result = nce_jax.sweep(measure, AXES, progress=False)
    figure = plots.sweep_panels(result, "error", panels="rate", lines=None)
    first, second = figure.axes
    assert first.get_xlabel() == "magnification"
    assert [first.get_title(), second.get_title()] == ["rate = 0.1", "rate = 0.2"]
    medians = [2.5 * m / 0.1 for m in (1.0, 10.0)] + [3 * 100 / 0.1]  # one lane failed
    np.testing.assert_allclose(first.get_lines()[0].get_ydata(), medians, rtol=1e-5)
    assert (first.get_xscale(), first.get_yscale()) == ("log", "log")
    plt.close(figure)


def test_a_sweep_without_seeds_and_one_value_is_drawn():
    result = nce_jax.sweep(lambda a: 2 * a, {"a": jnp.arange(3.0)}, progress=False)
    figure = plots.sweep_panels(result, "value")
    np.testing.assert_array_equal(figure.axes[0].get_lines()[0].get_ydata(), [0.0, 2.0, 4.0])
    plt.close(figure)


def test_a_value_of_a_dimension_without_labels_is_the_one_that_is_drawn():
    """A leaf of several numbers has a dimension that no axis names."""
    measure_all = lambda a, seed: {"loss": a + 100 * jnp.arange(4.0)}
    axes = {"a": jnp.arange(3.0), "seed": jnp.arange(2)}
    result = nce_jax.sweep(measure_all, axes, progress=False)
    figure = plots.sweep_panels(result, "loss", "a", at={"loss_dim_0": 1})
    np.testing.assert_array_equal(figure.axes[0].get_lines()[0].get_ydata(), [100, 101, 102])
    plt.close(figure)


def test_a_file_without_variables_is_named(tmp_path, capsys):
    xarray = pytest.importorskip("xarray")
    xarray.Dataset(coords={"a": [1, 2]}).to_netcdf(tmp_path / "empty.nc", engine="scipy")
    with pytest.raises(SystemExit):
        nce_sweep(["plot", str(tmp_path / "empty.nc")])
    assert "path: expected a sweep with a variable" in capsys.readouterr().err
