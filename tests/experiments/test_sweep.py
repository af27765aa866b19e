"""The sweep command: sweeps of three problems, resumed, stored and drawn, and invalid arguments."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray

import nce_jax
from experiments.common import results
from experiments.sweep import arguments, checks, compute, files, plot, problems, settings, train
from experiments.sweep.__main__ import main
from nce_jax._disk import FolderLock

ROOT = Path(__file__).parents[2]
TINY = ["--num-steps", "6", "--batch-size", "16", "--num-records", "3", "--seeds", "3"]


@pytest.fixture(autouse=True)
def rank_promotion_as_distrax_needs_it():
    """distrax broadcasts samples (samples, dim) against parameters (dim,)."""
    with jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(scope="module", autouse=True)
def jax_has_started():
    """Initializes JAX first, since the command would set the number of devices for all tests."""
    assert len(jax.devices()) == 8


@pytest.fixture(scope="module")
def swept(tmp_path_factory, jax_has_started):
    """A tiny sweep with two treatments and two axes of more than one value."""
    folder = tmp_path_factory.mktemp("sweep") / "result"
    with jax.numpy_rank_promotion("allow"):
        main(
            [
                "gaussian-1d",
                "--magnification",
                "0.1",
                "10",
                "--distance",
                "1",
                "4",
                "--treatment",
                "joint",
                "solved",
                *TINY,
                "--devices",
                "2",
                "--output",
                str(folder),
            ]
        )
    return folder


@pytest.mark.costly
def test_the_result_has_every_axis_by_name(swept):
    dataset = files.load(swept)
    assert dataset["error"].dims == (
        "treatment", "magnification", "noise_ratio", "learning_rate", "distance", "seed", "step"
    )  # fmt: skip
    assert dataset["error"].shape == (2, 2, 1, 1, 2, 3, 3)
    assert dataset["failed"].dtype == bool
    assert not dataset["failed"].any()
    assert dataset["step"].values.tolist() == [1, 2, 6]
    # Found by the number as written.
    assert dataset["error"].sel(magnification=0.1, treatment="joint").dtype == np.float32
    assert files.settings(dataset)["num_steps"] == 6


def test_the_manifest_says_where_the_numbers_come_from(swept):
    manifest = json.loads((swept / "manifest.json").read_text())
    assert manifest["command"].startswith(
        "python -m experiments.sweep gaussian-1d --magnification 0.1 10"
    )
    assert manifest["chunking"]["joint"]["num_devices"] == 2
    assert manifest["chunking"]["joint"]["bytes_per_lane"] > 0
    assert manifest["failed_lanes"] == {"joint": 0, "solved": 0}
    assert {"commit", "versions", "device", "sha256", "config"} <= manifest.keys()


@pytest.mark.costly
@pytest.mark.parametrize(
    ("name", "method"), [("joint", "NCE"), ("bar", "BAR"), ("solved", "Newton")]
)
def test_a_sweep_reproduces_the_run_of_the_experiment(name, method):
    """The same starts, draws and rates as in gaussian_1d's lanes, shared by all treatments."""
    from experiments.gaussian_1d.lanes import Case
    from experiments.gaussian_1d.lanes import make_run as make_run_1d
    from experiments.gaussian_1d.treatments import treatments

    sweep = arguments.Gaussian1d(num_steps=8, batch_size=32, num_records=3)
    lane = train.make_lane(problems.make(sweep), sweep, name)
    point = {
        "magnification": 3.0,
        "noise_ratio": 1.0,
        "learning_rate": 0.8,
        "distance": 4.0,
        "seed": 5,
    }
    actual = jax.jit(lambda: lane(**point))()
    run = make_run_1d({method: treatments(10.0)[method]}, 8, 32)
    trace = jax.jit(lambda: run(Case(4.0, magnification=3.0, rate=0.4), jax.random.key(5)))()[
        method
    ]
    record_steps = train.recorded_steps(8, 3)
    assert all(np.isfinite(value).all() for value in actual.values())
    np.testing.assert_allclose(
        actual["theta_distance"], np.abs(trace.theta[record_steps] - 4), rtol=1e-4
    )
    np.testing.assert_allclose(
        actual["log_partition"], trace.log_partition[record_steps], rtol=1e-4
    )
    np.testing.assert_allclose(
        actual["loss"][-1], trace.loss[record_steps[-2] + 1 :].mean(), rtol=1e-4
    )


def test_the_sixteen_dimensions_are_those_of_the_experiment():
    from experiments.gaussian_16d.config import Config
    from experiments.gaussian_16d.problem import make_problem, starts

    problem = problems.make(arguments.Gaussian16d())
    key_problem, *_ = jax.random.split(jax.random.key(Config().seed), 3)
    truth = make_problem(Config(), key_problem)
    at_truth = problem.measure(truth.params, truth.log_partition, {})
    assert float(at_truth["error"]) < 1e-4
    params, _ = problem.make_model(jax.random.key(0))
    start = next(iter(starts(Config()).values()))
    assert float(problem.measure(params, problem.log_partition, {})["error"]) > 10
    assert problem.log_partition == start.log_partition


def test_a_toy_is_measured_at_the_magnification_and_noise_ratio_of_its_lane(tmp_path):
    """Of a wrong model, whose F* depends on kappa."""
    problem = problems.make(arguments.Toy2d(output=tmp_path, hidden=(4,), num_cells=16))
    params = problem.make_model(jax.random.key(0))[0]
    measure = jax.jit(lambda point: problem.measure(params, 0.0, point))
    errors = set()
    for m, n in ((1.0, 1.0), (100.0, 1.0), (1.0, 10.0)):
        point = {"magnification": m, "noise_ratio": n, "noise_variance": 9.0}
        errors.add(float(measure(point)["log_partition_error"]))
    assert len(errors) == 3


@pytest.mark.costly
@pytest.mark.parametrize(
    ("command", "axis", "treatments"),
    [
        (
            ["gaussian-16d", "--dim", "3", "--noise-ratio", "1", "2"],
            "noise_ratio",
            ["joint", "raised", "bar", "solved"],
        ),
        (
            ["toy-2d", "--hidden", "8", "--num-cells", "24", "--noise-variance", "2", "4"],
            "noise_variance",
            ["bar", "solved"],
        ),
        (
            [
                "toy-2d",
                "--toy",
                "pinwheel",
                "--hidden",
                "8",
                "--num-cells",
                "24",
                "--learning-rate",
                "1e-3",
                "1e-2",
            ],
            "learning_rate",
            ["joint"],
        ),
    ],
)
def test_every_problem_is_swept(tmp_path, command, axis, treatments):
    main([*command, *TINY, "--treatment", *treatments, "--output", str(tmp_path / "out")])
    dataset = files.load(tmp_path / "out")
    assert dataset["treatment"].values.tolist() == treatments
    assert dataset.sizes[axis] == 2
    assert not dataset["failed"].any()
    last = dataset["error"].isel(step=-1)
    assert (abs(last.isel({axis: 0}) - last.isel({axis: 1})) > 0).all(), "the axis changes nothing"


@pytest.mark.costly
def test_resume_ends_with_the_same_bytes(swept, tmp_path):
    before = (swept / "sweep.nc").read_bytes()
    manifest = json.loads((swept / "manifest.json").read_text())
    argv = manifest["command"].split()[3:]
    (swept / "sweep.nc").unlink()
    (swept / "chunks" / "solved" / "chunk-1.sha256").unlink()
    main([*argv, "--resume"])
    assert (swept / "sweep.nc").read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--num-steps", "7"], "num_steps: expected 6 as in the sweep in"),
        (["--magnification", "2"], r"magnification: expected \[0.1, 10.0\] as in the sweep in"),
        (["--devices", "1"], "devices: expected 2 x cpu"),
    ],
)
def test_another_sweep_is_refused(swept, capsys, changes, message):
    argv = (
        json.loads((swept / "manifest.json").read_text())["command"]
        .replace(" --resume", "")
        .split()[3:]
    )
    with pytest.raises(SystemExit) as stopped:
        main([*argv, *changes, "--resume"])
    assert stopped.value.code == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert re.search(message, error), error


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ["gaussian-1d", "--magnification", "1", "-1"],
            "magnification: expected finite positive numbers, got [1.0, -1.0]",
        ),
        (
            ["gaussian-1d", "--distance", "nan"],
            "distance: expected finite positive numbers, got [nan]",
        ),
        (
            ["gaussian-1d", "--learning-rate"],
            "learning_rate: expected finite positive numbers, got []",
        ),
        (
            ["gaussian-1d", "--magnification", "1", "1"],
            "magnification: expected distinct values, got [1.0, 1.0]",
        ),
        (
            ["gaussian-1d", "--treatment", "bar", "bar"],
            "treatment: expected distinct values, got ['bar', 'bar']",
        ),
        (["gaussian-1d", "--seeds", "0"], "seeds: expected at least 1, got 0"),
        (["toy-2d", "--hidden", "0"], "hidden: expected widths of at least 1, got [0]"),
        (
            ["gaussian-16d", "--raised-rate", "-1"],
            "raised_rate: expected a finite positive number, got -1.0",
        ),
        (
            ["gaussian-1d", "--seeds", "100000000000"],
            "seeds: expected at most 2147483647, got 100000000000",
        ),
        (
            ["gaussian-1d", "--seeds", "2147483647", "--num-records", "1000"],
            "seeds: expected a grid whose result fits into memory",
        ),
        (
            ["toy-2d", "--batch-size", "100000000000"],
            "batch_size: expected at most 16777216, got 100000000000",
        ),
        (
            ["gaussian-1d", "--output", "/dev/null"],
            "output: expected a folder that can be written to, got /dev/null (",
        ),
        (
            ["gaussian-1d", "--output", "/dev/null/below"],
            "output: expected a folder that can be written to, got /dev/null/below (",
        ),
        (["gaussian-1d", "--devices", "99"], "devices: expected at most the 8 of cpu, got 99"),
        (
            ["plot", "nowhere/sweep"],
            "nowhere/sweep: no such file or folder. Make it with: python -m experiments.sweep",
        ),
    ],
)
def test_bad_arguments_end_in_one_line(capsys, monkeypatch, tmp_path, argv, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(argv)
    said = capsys.readouterr()
    assert stopped.value.code == 2
    assert message in said.err
    assert said.err.count("\n") == 1


@pytest.mark.costly
def test_a_treatment_in_which_every_lane_failed_is_named(tmp_path, capsys):
    argv = ["gaussian-1d", *TINY, "--learning-rate", "1e38", "--treatment", "joint", "solved"]
    with pytest.raises(SystemExit) as stopped:
        main([*argv, "--output", str(tmp_path / "out")])
    assert stopped.value.code == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == "error: gaussian-1d: every lane failed under the treatment joint"
    failed = files.load(tmp_path / "out")["failed"]  # saved nevertheless
    assert failed.sel(treatment="joint").all()
    assert not failed.sel(treatment="solved").all()


def test_a_second_sweep_in_the_folder_is_refused(tmp_path, capsys):
    with FolderLock(tmp_path), pytest.raises(SystemExit) as stopped:
        main(["gaussian-1d", *TINY, "--output", str(tmp_path), "--resume"])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert f"error: output: expected a folder that no other run uses, got {tmp_path}" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("content", ["{", "[]", '{"seeds": 3}', "[" * 10**5])
def test_damaged_settings_cost_nothing(tmp_path, content):
    sweep = arguments.Gaussian1d(output=tmp_path)
    settings.store(sweep)
    path = tmp_path / settings.FILE
    before = path.read_text()
    path.write_text(content)
    with pytest.warns(UserWarning, match=f"{path}: damaged"):
        settings.store(sweep)
    assert path.read_text() == before
    settings.store(sweep)
    with pytest.raises(checks.UsageError, match="seeds: expected 10 as in the sweep in"):
        settings.store(dataclasses.replace(sweep, seeds=11))


def test_a_further_treatment_is_added_to_those_stored(tmp_path):
    stored = settings.store(arguments.Gaussian1d(output=tmp_path, treatment=("joint",)))
    assert stored.treatment == ("joint",)
    added = arguments.Gaussian1d(output=tmp_path, treatment=("solved",))
    assert settings.store(added).treatment == ("joint", "solved")
    again = dataclasses.replace(added, treatment=("solved", "joint"))
    assert settings.store(again).treatment == ("joint", "solved")


def test_a_folder_in_use_is_left_alone(swept, capsys):
    with pytest.raises(SystemExit):
        main(["gaussian-1d", "--output", str(swept)])
    assert "is not empty; --resume goes on with its sweep" in capsys.readouterr().err


@pytest.mark.costly
def test_a_limit_below_one_lane_is_an_argument_that_makes_no_sense(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["gaussian-1d", *TINY, "--memory-limit", "10", "--output", str(tmp_path / "out")])
    assert "error: memory_limit: expected at least" in capsys.readouterr().err


@pytest.mark.costly
def test_a_diverged_run_is_reported(tmp_path, capsys):
    """A free F with a rate of 1e30 overflows; a solved F does not."""
    main(
        [
            "gaussian-1d",
            *TINY,
            "--learning-rate",
            "1",
            "1e38",
            "--treatment",
            "joint",
            "--output",
            str(tmp_path / "out"),
        ]
    )
    dataset = files.load(tmp_path / "out")
    assert dataset["failed"].sel(learning_rate=1e38).all()
    assert not dataset["failed"].sel(learning_rate=1).any()
    assert "3 of 6 lanes failed" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["failed_lanes"] == {
        "joint": 3
    }
    figure = plot.draw(dataset, arguments.Plot(tmp_path))
    texts = [text.get_text() for text in figure.axes[0].texts]
    plt.close(figure)
    assert texts == ["3/3 failed"]
    # Nothing but failures.
    main(["plot", str(tmp_path / "out"), "--at", "learning_rate=1e38", "--output", str(tmp_path)])


def test_types_survive_the_file(tmp_path):
    dataset = xarray.Dataset(
        {
            "flag": ("a", [True, False]),
            "count": ("a", np.array([-3, 2**31 - 1])),
            "x": ("a", np.array([np.nan, 1], "f4")),
        },
        coords={"a": ["one", "two"]},
    )
    files.save(tmp_path, dataset)
    actual = files.load(tmp_path / "sweep.nc")
    assert actual["flag"].dtype == bool
    xarray.testing.assert_equal(actual, dataset)
    # The format has no 64-bit integers; they must raise an error and not wrap around.
    with pytest.raises(ValueError, match="int64"):
        files.save(tmp_path, xarray.Dataset({"count": ("a", np.array([2**40]))}))
    with pytest.raises(results.ResultError, match="no such file"):
        files.load(tmp_path)


@pytest.mark.parametrize("has_size", [True, False])
def test_a_file_of_an_impossible_size_is_named_and_not_read(tmp_path, has_size):
    """Results that were written before the manifest had the size are bounded by the memory."""
    files.save(tmp_path, xarray.Dataset({"x": ("a", [1.0])}))
    if not has_size:
        path = tmp_path / results.MANIFEST
        manifest = json.loads(path.read_text())
        assert manifest.pop("bytes") == (tmp_path / "sweep.nc").stat().st_size
        path.write_text(json.dumps(manifest))
        files.load(tmp_path)
    os.truncate(tmp_path / "sweep.nc", 2**43)
    with pytest.raises(results.ResultError, match="sweep.nc: damaged .*expected at most .* bytes"):
        files.load(tmp_path)


def test_a_changed_file_is_refused(tmp_path):
    files.save(tmp_path, xarray.Dataset({"x": ("a", [1.0])}))
    path = tmp_path / "sweep.nc"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(results.ResultError, match="not the file of its manifest"):
        files.load(tmp_path)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"at": ("distance=4",)}, ("magnification", "treatment", None)),
        ({"at": ("treatment=joint",)}, ("magnification", "distance", None)),
        ({"panels": "distance"}, ("magnification", "treatment", None)),
        (
            {"x": "step", "lines": "distance", "at": ("treatment=joint", "magnification=0.1")},
            ("step", "distance", None),
        ),
        (
            {"x": "treatment", "lines": "distance", "at": ("magnification=10",)},
            ("treatment", "distance", None),
        ),
    ],
)
def test_a_selection_is_completed_and_drawn(swept, tmp_path, options, expected):
    dataset = files.load(swept)
    figure = plot.draw(dataset, arguments.Plot(swept, **options))
    assert figure.axes[0].get_xlabel() == expected[0]
    assert figure.axes[-1].get_legend().get_title().get_text() == expected[1]
    shown = {*expected[:2], options.get("panels")}
    for dim in set(dataset["error"].dims) - shown - {"seed"}:  # the others are in the title
        assert f"{dim} " in figure.get_suptitle().replace("\n", " ")
    assert len(figure.axes) == (2 if "panels" in options else 1)
    assert all(len(axis.get_legend_handles_labels()[0]) == 2 for axis in figure.axes)
    plt.close(figure)


def test_the_plotted_numbers_are_medians_over_seeds(swept):
    dataset = files.load(swept)
    figure = plot.draw(dataset, arguments.Plot(swept, at=("distance=4", "step=2")))
    line = figure.axes[0].get_lines()[0]
    expected = (
        dataset["error"]
        .sel(treatment="joint", distance=4, step=2)
        .squeeze(drop=True)
        .median("seed")
    )
    plt.close(figure)
    np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {},
            (
                "at: expected a value of distance, or distance for axis, lines or panels, got"
                " neither; its values are 1.0, 4.0"
            ),
        ),
        ({"value": "errors"}, "value: expected one of error, "),
        ({"x": "seed"}, "x: expected one of treatment, "),
        (
            {"x": "distance", "lines": "distance"},
            "x, lines, panels: expected different axes, got distance, distance",
        ),
        ({"at": ("distance",)}, "at: expected NAME=VALUE, got 'distance'"),
        ({"at": ("distance=3",)}, "at: expected distance to be one of 1.0, 4.0, got 3"),
        ({"at": ("depth=3",)}, "at: expected one of treatment, "),
        ({"at": ("distance=4",), "x": "distance"}, "x: expected one of treatment, "),
    ],
)
def test_an_open_selection_is_refused_by_name(swept, options, message):
    with pytest.raises(checks.UsageError) as stopped:
        plot.draw(files.load(swept), arguments.Plot(swept, **options))
    assert str(stopped.value).startswith(message)


def test_the_plot_command_writes_its_figures(swept, tmp_path, capsys):
    main(["plot", str(swept / "sweep.nc"), "--panels", "distance", "--output", str(tmp_path)])
    paths = [Path(line) for line in capsys.readouterr().out.split()]
    assert [path.suffix for path in paths] == [".png", ".pdf"]
    assert all(path.stat().st_size > 1000 for path in paths)


def test_the_plot_command_draws_any_stored_sweep(tmp_path, capsys):
    axes = {"a": np.arange(1.0, 4.0), "seed": np.arange(3)}
    nce_jax.sweep(lambda a, seed: {"error": a + seed}, axes, folder=tmp_path, progress=False)
    main(["plot", str(tmp_path), "--output", str(tmp_path)])
    assert "sweep_sweep_error_against_a.png" in capsys.readouterr().out
    (tmp_path / "chunk-0.sha256").unlink()
    with pytest.raises(SystemExit):
        main(["plot", str(tmp_path)])
    assert "1 missing (0) of 1 chunks" in capsys.readouterr().err


def test_recorded_steps_end_with_the_last():
    assert train.recorded_steps(1000, 4).tolist() == [1, 10, 100, 1000]
    assert train.recorded_steps(5, 1).tolist() == [5]
    assert train.recorded_steps(3, 50).tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("seeds", "devices", "lanes"),
    [(100, 1, 30), (100, 8, 48), (40, 2, 12), (10, 1, 6), (10, 8, 48), (4, 8, 48)],
)
def test_a_chunk_is_a_twentieth_of_the_grid_but_a_seed_per_device(seeds, devices, lanes):
    sweep = arguments.Gaussian1d(
        magnification=(1.0, 2.0, 3.0), distance=(1.0, 2.0), seeds=seeds, devices=devices
    )
    assert compute._max_lanes(sweep, compute.make_axes(sweep)) == lanes


def test_the_help_says_how_large_a_chunk_is(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        main(["gaussian-1d", "--help"])
    message = " ".join(re.sub("[^ -~]", " ", capsys.readouterr().out).split())  # without the frame
    assert (
        "a twentieth of the grid, but at least one seed per device: fewer seeds make fewer chunks"
        in message
    )


def in_a_process(*argv):
    command = [sys.executable, "-m", "experiments.sweep", *argv]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


@pytest.mark.costly
def test_the_command_makes_its_devices(tmp_path):
    """In a process of its own, where JAX is not initialized: more devices than the default."""
    actual = in_a_process("gaussian-1d", *TINY, "--devices", "3", "--output", str(tmp_path / "o"))
    assert actual.returncode == 0, actual.stderr
    assert (
        json.loads((tmp_path / "o" / "manifest.json").read_text())["chunking"]["solved"][
            "num_devices"
        ]
        == 3
    )
    assert "3/3" in actual.stderr, "no progress bar"
    usage = in_a_process("--help")
    assert usage.returncode == 0
    assert all(word in usage.stdout for word in ("gaussian-1d", "gaussian-16d", "toy-2d", "plot"))


def test_axes_keep_one_value_too():
    axes = compute.make_axes(arguments.Gaussian1d(seeds=2))
    assert {name: values.shape for name, values in axes.items()} == {
        "magnification": (1,),
        "noise_ratio": (1,),
        "learning_rate": (1,),
        "distance": (1,),
        "seed": (2,),
    }
