"""The command line of the experiments: presets, overrides, help, and the stored result."""

import dataclasses
import errno
import os

import jax
import numpy as np
import pytest

from experiments.common import cli, endings, pieces, results
from nce_jax._disk import FolderLock


@dataclasses.dataclass(frozen=True)
class Config:
    num_steps: int = 1000
    """Training steps."""
    rate: float = 0.1
    seed: int = 0


PRESETS = {"smoke": Config(num_steps=3), "paper": Config()}


def experiment(config, key):
    return results.Result(
        {"draws": jax.random.normal(key, (config.num_steps,))}, {"steps": config.num_steps}
    )


@pytest.mark.parametrize(
    ("argv", "preset", "config", "folder"),
    [
        ([], "smoke", PRESETS["smoke"], "build/results/some/smoke"),
        (["--preset", "paper"], "paper", PRESETS["paper"], "build/results/some/paper"),
        (["--preset=paper"], "paper", PRESETS["paper"], "build/results/some/paper"),
        (
            ["--rate", "0.5", "--preset", "paper"],
            "paper",
            Config(rate=0.5),
            "build/results/some/custom",
        ),
        (
            ["--preset", "paper", "--num-steps", "7", "--output", "here"],
            "paper",
            Config(num_steps=7),
            "here",
        ),
    ],
)
def test_preset_and_overrides(argv, preset, config, folder):
    actual = cli.parse("some", PRESETS, argv)
    assert (actual[0], actual[1], str(actual[2])) == (preset, config, folder)


@pytest.mark.parametrize(
    "argv", [["--preset", "huge"], ["--rate", "fast"], ["--no-such-field", "1"]]
)
def test_arguments_that_make_no_sense_are_refused(argv, capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.parse("some", PRESETS, argv)
    assert exit_.value.code != 0
    captured = capsys.readouterr()
    assert argv[-1] in captured.out + captured.err or argv[0] in captured.out + captured.err


def test_help_shows_fields_and_the_defaults_of_the_preset(capsys):
    with pytest.raises(SystemExit):
        cli.parse("some", PRESETS, ["--preset", "paper", "--help"])
    text = capsys.readouterr().out
    assert all(
        word in text
        for word in ("--preset", "smoke", "paper", "--num-steps", "Training steps", "1000")
    )


def test_a_run_repeats_and_says_what_it_did(tmp_path, capsys):
    for name in ("first", "second"):
        cli.main(
            "some", PRESETS, experiment, ["--preset", "smoke", "--output", str(tmp_path / name)]
        )
    first, second = (results.load(tmp_path / name, "") for name in ("first", "second"))
    assert (first.arrays["draws"] == second.arrays["draws"]).all()
    assert first.manifest["command"].startswith("python -m experiments.some.run --preset smoke")
    assert first.manifest["config"]["num_steps"] == 3
    assert "steps = 3" in capsys.readouterr().out


def never(config, key):
    pytest.fail("the experiment was computed")


def ended(capsys, argv, experiment=never, presets=PRESETS):
    """Exit status and the one line of a command that cannot be carried out."""
    with pytest.raises(SystemExit) as stopped:
        cli.main("some", presets, experiment, argv)
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert "Traceback" not in said
    return stopped.value.code, said


def test_an_output_that_is_no_folder_is_refused_before_the_computation(tmp_path, capsys):
    file = tmp_path / "file"
    file.write_text("mine")
    for output in ("/dev/null", file, file / "below"):
        status, said = ended(capsys, ["--output", str(output)])
        assert status == 2
        assert f"output: expected a folder that can be written to, got {output} (" in said
    assert file.read_text() == "mine"


def test_a_folder_in_use_is_refused_before_the_computation(tmp_path, capsys):
    with FolderLock(tmp_path):
        status, said = ended(capsys, ["--output", str(tmp_path)])
    assert status == 2
    assert f"output: expected a folder that no other run uses, got {tmp_path}" in said


def test_a_count_that_no_program_can_hold_is_refused(tmp_path, capsys):
    argv = ["--num-steps", "100000000000", "--output", str(tmp_path)]
    message = "num_steps: expected an integer of at most 2147483647, got 100000000000"
    assert ended(capsys, argv) == (2, f"error: {message}\n")


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (ZeroDivisionError("division\nby zero"), 1, "ZeroDivisionError: division | by zero ("),
        (MemoryError(), 1, "not enough memory (no details); choose smaller settings"),
        (KeyboardInterrupt(), 130, "interrupted; "),
        (results.ResultError("x: no such file"), 2, "x: no such file"),
        (OSError(errno.ENOSPC, "No space left on device"), 2, "No space left on device"),
    ],
)
def test_whatever_goes_wrong_ends_in_one_line(
    tmp_path, capsys, monkeypatch, error, status, message
):
    def failing(config, key):
        raise error

    monkeypatch.delenv(endings.VARIABLE, raising=False)
    actual, said = ended(capsys, ["--output", str(tmp_path)], failing)
    assert actual == status
    assert message in said
    monkeypatch.setenv(endings.VARIABLE, "1")
    kind = ZeroDivisionError if isinstance(error, ZeroDivisionError) else SystemExit
    with pytest.raises(kind):
        cli.main("some", PRESETS, failing, ["--output", str(tmp_path)])


def test_a_result_without_a_finite_number_ends_with_an_error(tmp_path, capsys):
    def all_failed(config, key):
        return results.Result({"a": np.full(3, np.nan)}, {"a": np.nan, "b": np.inf})

    status, said = ended(capsys, ["--output", str(tmp_path)], all_failed)
    assert (status, said) == (1, "error: some: every lane failed: no headline number is finite\n")
    assert np.isnan(results.load(tmp_path, "").headline["a"])


@pytest.fixture
def in_pieces(tmp_path, monkeypatch):
    """An experiment of two pieces, and the numbers of those that it computed."""
    monkeypatch.setattr(pieces, "RUNS", tmp_path / "runs")
    computed = []

    def compute(number):
        computed.append(number)
        return {"x": np.array([number])}

    def experiment(config, key):
        folder = pieces.folder("some", config, [])
        stored = [
            pieces.load_or_compute(folder / f"{number}.npz", lambda number=number: compute(number))
            for number in range(2)
        ]
        arrays = {"x": np.concatenate([piece["x"] for piece in stored])}
        return results.Result(arrays, {"x": 1.0}, pieces=(folder,))

    return experiment, computed


def test_pieces_are_kept_until_the_result_is_written(tmp_path, capsys, monkeypatch, in_pieces):
    experiment, computed = in_pieces
    argv = ["--output", str(tmp_path / "out")]

    def full(path, *rest, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(results, "write_arrays", full)
        status, said = ended(capsys, argv, experiment)
    assert status == 2
    assert f"got {tmp_path / 'out'} (No space left on device); free some space" in said
    assert computed == [0, 1]
    assert len(list((tmp_path / "runs").rglob("*.npz"))) == 2
    cli.main("some", PRESETS, experiment, argv)
    assert computed == [0, 1]
    assert results.load(tmp_path / "out", "").arrays["x"].tolist() == [0, 1]
    assert not list((tmp_path / "runs").rglob("*.npz"))


def test_a_damaged_or_moved_piece_is_named_and_computed_again(tmp_path, in_pieces):
    experiment, computed = in_pieces
    first = experiment(PRESETS["smoke"], None)
    (folder,) = first.pieces
    content = (folder / "0.npz").read_bytes()
    for damage in (content[:-5], b"", b"\x00" * 100, (folder / "1.npz").read_bytes()):
        (folder / "0.npz").write_bytes(damage)
        computed.clear()
        with pytest.warns(pieces.PieceWarning, match=rf"{folder}/0.npz.*computed again"):
            again = experiment(PRESETS["smoke"], None)
        assert computed == [0]
        assert again.arrays["x"].tolist() == [0, 1]
    os.unlink(folder / "0.npz")
    os.mkfifo(folder / "0.npz")
    with pytest.warns(pieces.PieceWarning, match="expected a plain file, got a named pipe"):
        experiment(PRESETS["smoke"], None)
    assert (folder / "0.npz").read_bytes() == content
    pieces.remove(first.pieces)


def test_what_a_killed_run_left_in_the_output_is_removed(tmp_path):
    (tmp_path / ".arrays.npz.4321.tmp").write_text("half")
    cli.main("some", PRESETS, experiment, ["--preset", "smoke", "--output", str(tmp_path)])
    assert not list(tmp_path.glob(".*"))
