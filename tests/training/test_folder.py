"""The folder of a run: one run at a time, and one sentence for whatever is wrong with it."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from nce_jax import _disk, training
from nce_jax.training._lines import RecordsFile
from tests.training.problems import assert_trees_equal
from tests.training.test_resume import fit, plain

ROOT = Path(__file__).parents[2]


def contents(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_second_run_in_the_folder_is_refused(tmp_path):
    """From within the first: the lock is of the run, not of the process."""

    def second(state):
        with pytest.raises(BlockingIOError, match=f"that no other run uses, got {tmp_path}, which"):
            fit(40, tmp_path)
        return {}

    whole = fit(20, tmp_path, evaluate=second, evaluate_every=20)
    assert_trees_equal(plain(whole.state), plain(fit(20, None, resume=False).state))
    fit(30, tmp_path)  # released at the end
    assert ".lock" not in contents(tmp_path)


HOLD = """
import sys, time
from tests.training.test_resume import fit
def wait(state):
    print("running", flush=True)
    time.sleep(600)
fit(20, __import__("pathlib").Path(sys.argv[1]), evaluate=wait, evaluate_every=20)
"""


@pytest.mark.costly
def test_a_killed_run_leaves_the_folder_free(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    first = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert first.stdout.readline() == "running\n"
        with pytest.raises(BlockingIOError, match=f"by process {first.pid} on .*; wait until it"):
            fit(20, tmp_path)
    finally:
        first.send_signal(signal.SIGKILL)
        first.communicate()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", training.CheckpointWarning)  # it may be unfinished
        resumed = fit(20, tmp_path)
    assert_trees_equal(plain(resumed.state), plain(fit(20, None, resume=False).state))


def test_an_error_releases_the_folder(tmp_path):
    with pytest.raises(ZeroDivisionError):
        fit(20, tmp_path, evaluate=lambda state: 1 / 0, evaluate_every=5)
    with pytest.raises(ValueError, match="batch_size"):
        fit(20, tmp_path, batch_size=99)
    fit(20, tmp_path)


def test_temporary_files_of_killed_processes_are_removed(tmp_path):
    fit(10, tmp_path)
    for name in (".metrics.jsonl.123.tmp", "checkpoints/.10.json.99999.tmp"):
        (tmp_path / name).write_text("half")
    fit(20, tmp_path)
    assert not [name for name in contents(tmp_path) if name.endswith(".tmp")]


@pytest.mark.parametrize("place", ["file", "file/below", "run/checkpoints"])
def test_what_is_no_folder_is_one_sentence_before_anything_is_computed(tmp_path, place):
    (tmp_path / "file").touch()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoints").touch()
    folder = tmp_path / place if place.startswith("file") else tmp_path / "run"
    with pytest.raises(OSError, match=f"folder: expected a .* got {folder} .*that is not a file$"):
        training.fit(
            lambda *_: pytest.fail("computed"),
            {"total": jnp.zeros(())},
            lambda step: pytest.fail("drawn"),
            jax.random.key(0),
            num_steps=1,
            folder=folder,
        )


@pytest.fixture
def read_only(monkeypatch):
    """A disk that cannot be written to, whoever the user is."""

    def refuse(path, *_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    def make():
        monkeypatch.setattr(_disk.os, "open", refuse)
        monkeypatch.setattr(_disk.os, "replace", refuse)
        monkeypatch.setattr(RecordsFile, "_rewrite", refuse)

    return make


def test_a_complete_run_is_read_from_a_read_only_disk(tmp_path, read_only):
    whole = fit(20, tmp_path)
    before = contents(tmp_path)
    read_only()
    again = fit(20, tmp_path)
    assert_trees_equal(plain(again.state), plain(whole.state))
    assert again.history["step"].tolist() == [5, 10, 15, 20]
    late = fit(20, tmp_path, evaluate=lambda state: {"total": state["total"]})
    assert late.evaluations["total"].tolist() == [float(whole.state["total"])]
    assert contents(tmp_path) == before


@pytest.mark.parametrize("options", [{"num_steps": 30}, {"num_steps": 20, "resume": False}])
def test_a_read_only_disk_is_one_sentence(tmp_path, read_only, options):
    fit(20, tmp_path)
    read_only()
    drawn = []
    with pytest.raises(
        OSError, match=rf"got {tmp_path} \(Read-only file system\); choose a folder"
    ):
        fit(folder=tmp_path, evaluate=drawn.append, evaluate_every=5, **options)
    assert drawn == []


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 300 kB, where the system permits to mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)]
    if (
        shutil.which("mount") is None
        or subprocess.run(mount, capture_output=True, check=False).returncode
    ):
        pytest.skip("no permission to mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def of_size(num_steps, folder, size=30_000):
    def step(state, batch, key):
        return {"t": state["t"] * 0.9 + batch.x_data.sum()}, {"loss": state["t"].sum()}

    noise = jax.random.normal(jax.random.key(0), (size,))  # which no format compresses
    options = {"checkpoint_every": 10, "log_every": 5, "progress": False}
    options["resume"] = folder is not None
    return training.fit(
        step,
        {"t": noise},
        jnp.arange(30.0),
        jax.random.key(1),
        num_steps=num_steps,
        folder=folder,
        **options,
    )


# A write that fails may leave another one, of orbax, behind its closed event loop.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_full_disk_is_one_sentence_and_the_run_can_be_resumed(small_disk, caplog, capfd):
    filler = small_disk / "filler"
    filler.write_bytes(b"0" * 100_000)
    with pytest.raises(OSError, match=r"run \(No space left on device\); free some space, or ch"):
        of_size(50, small_disk / "run")
    assert caplog.records == []
    assert "Traceback" not in capfd.readouterr().err
    filler.unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", training.CheckpointWarning)  # the unfinished one
        resumed = of_size(20, small_disk / "run")
    assert_trees_equal(resumed.state, of_size(20, None).state)
    shutil.rmtree(small_disk / "run")


def test_a_disk_that_is_full_for_records_is_one_sentence(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "metrics.jsonl")

    monkeypatch.setattr(RecordsFile, "append", full)
    with pytest.raises(OSError, match=rf"got {tmp_path} \(No space left on device\); free some"):
        fit(20, tmp_path)
    monkeypatch.undo()
    fit(20, tmp_path)


def test_a_device_is_no_folder():
    with pytest.raises(OSError, match="folder: expected a folder that can be written to, got /dev"):
        fit(10, Path("/dev/null"))
