"""Runs that were cut off end where an uninterrupted run does; checkpoints that were harmed are
passed over by name.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nce_jax import training
from nce_jax.training._stored import Stored
from tests.slow import slow_but
from tests.training import kill_me
from tests.training.problems import assert_trees_equal

ROOT = Path(__file__).parents[2]
KEY = jax.random.key(4)


def count(state, batch, key):
    """A step whose state depends on every batch, in order, and on the step's key."""
    total = (
        0.9 * state["total"]
        + batch.x_data.sum()
        + jax.random.uniform(jax.random.fold_in(key, state["step"]))
    )
    return {"total": total, "step": state["step"] + 1, "key": state["key"]}, {"loss": total}


def fit(num_steps, folder, **options):
    state = {"total": jnp.float32(0), "step": jnp.int32(0), "key": jax.random.key(9)}
    options = {
        "checkpoint_every": 10,
        "log_every": 5,
        "batch_size": 7,
        "progress": False,
        "resume": True,
    } | options
    return training.fit(
        count, state, jnp.arange(30.0), KEY, num_steps=num_steps, folder=folder, **options
    )


def records(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [
        {k: v for k, v in json.loads(line).items() if k not in ("examples_per_second", "checksum")}
        for line in lines
    ]


def plain(state):
    return {**state, "key": jax.random.key_data(state["key"])}


def test_a_resumed_run_is_the_uninterrupted_one(tmp_path):
    whole = fit(45, tmp_path / "whole")
    for num_steps in (10, 20, 32, 45, 45):
        parts = fit(num_steps, tmp_path / "parts")
    assert_trees_equal(plain(parts.state), plain(whole.state))
    assert_trees_equal(plain(fit(45, None, resume=False).state), plain(whole.state))
    # One record was cut in two where a part ended; all others are the same.
    cut = (32, 35)
    parts, wanted = (
        [r for r in records(tmp_path / name) if r["step"] not in cut] for name in ("parts", "whole")
    )
    assert parts == wanted


def test_an_iterable_goes_on_where_it_was(tmp_path):
    """Position: the batches that were seen are drawn and dropped."""
    batches = [training.Batch(jnp.full(3, float(value))) for value in range(7)]
    state = {"total": jnp.float32(0), "step": jnp.int32(0), "key": jax.random.key(9)}
    options = {"checkpoint_every": 1, "log_every": 1, "progress": False}
    whole = training.fit(count, state, batches, KEY, num_steps=17, **options)
    for num_steps in (3, 11, 17):
        parts = training.fit(
            count, state, batches, KEY, num_steps=num_steps, folder=tmp_path, resume=True, **options
        )
    assert_trees_equal(plain(parts.state), plain(whole.state))


@pytest.mark.parametrize("keep", [2, 3, 5, 7, 12])
def test_the_newest_few_checkpoints_are_kept(tmp_path, keep):
    """Also while fewer than that have been written."""
    fit(100, tmp_path, keep=keep)
    names = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    steps = range(10, 101, 10)[-keep:]
    assert names == {f"{step}{ending}" for step in steps for ending in ("", ".json")}


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def largest_file(folder):
    return max(
        (path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size
    )


def edit(**changes):
    """Edits the record by hand, without its digest."""

    def harm(folder):
        record = json.loads((folder / "30.json").read_text())
        (folder / "30.json").write_text(json.dumps(record | changes))

    return harm


def put(name, make):
    """Puts something else in the place of a file, or beside the files."""

    def harm(folder):
        path = largest_file(folder / "30") if name is None else folder / name
        if path.exists():
            path.unlink()
        make(path)

    return harm


def make_huge(path):
    with path.open("wb") as file:
        file.truncate(2**43)  # 8 TB of nothing


HARMS = {
    "a byte flipped": lambda folder: flip_a_byte(largest_file(folder / "30")),
    "a file cut short": lambda folder: os.truncate(largest_file(folder / "30"), 10),
    "a file gone": lambda folder: largest_file(folder / "30").unlink(),
    "everything gone but the digests": lambda folder: shutil.rmtree(folder / "30"),
    "half-written": lambda folder: (folder / "30.json").unlink(),
    "its digests cut short": lambda folder: os.truncate(folder / "30.json", 20),
    "its digests emptied": lambda folder: (folder / "30.json").write_text("{}"),
    "its digests a list": lambda folder: (folder / "30.json").write_text("[]"),
    "its digests nested": lambda folder: (folder / "30.json").write_text("[" * 100_000),
    "its digests in UTF-16": lambda folder: (folder / "30.json").write_text("{}", "utf-16"),
    "its digests a pipe": put("30.json", os.mkfifo),
    "its digests endless": put("30.json", lambda path: path.symlink_to("/dev/zero")),
    "its digests a folder": put("30.json", os.mkdir),
    "its context edited": edit(context=None),
    "its leaves edited": edit(leaves=None),
    "its files edited": edit(files={}),
    "one more file": put("30/more", lambda path: path.write_text("more")),
    "one more pipe": put("30/more", os.mkfifo),
    "one more link": put("30/more", lambda path: path.symlink_to("/dev")),
    "a pipe for a file": put(None, os.mkfifo),
    "a device for a file": put(None, lambda path: path.symlink_to("/dev/zero")),
    "a file that pretends to be huge": put(None, make_huge),
    "that of another step": lambda folder: copy_checkpoint(folder, 20, 30),
    "a file": lambda folder: (shutil.rmtree(folder / "30"), (folder / "30").touch()),
}


def copy_checkpoint(folder, step, other):
    """Under the name of another step, with its digests."""
    shutil.rmtree(folder / str(other))
    shutil.copytree(folder / str(step), folder / str(other))
    shutil.copy(folder / f"{step}.json", folder / f"{other}.json")


def test_a_file_that_is_not_of_a_checkpoint_is_damage(tmp_path):
    (tmp_path / "30").mkdir()
    (tmp_path / "30" / "array").write_text("numbers")
    stored = Stored(tmp_path, 30)
    stored.seal({}, {})
    assert stored.fault() is None
    (tmp_path / "30" / "more").touch()
    assert stored.fault() == "damaged (more is not of it)"


@pytest.fixture(scope="module")
def thirty(tmp_path_factory):
    """A run of thirty steps, and the state that one of forty ends with."""
    folder = tmp_path_factory.mktemp("runs") / "thirty"
    fit(30, folder)
    return folder, fit(40, None, resume=False)


@pytest.mark.parametrize(
    "harm",
    slow_but(
        ("a byte flipped", "half-written", "its digests nested", "that of another step"), HARMS
    ),
)
def test_a_harmed_checkpoint_is_passed_over_by_name(thirty, tmp_path, harm):
    begun, whole = thirty
    shutil.copytree(begun, tmp_path, dirs_exist_ok=True)
    HARMS[harm](tmp_path / "checkpoints")
    with pytest.warns(
        training.CheckpointWarning,
        match=r"checkpoints/30: (damaged|unfinished).*; using .*/20 instead",
    ):
        again = fit(40, tmp_path)
    assert_trees_equal(plain(again.state), plain(whole.state))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # what was harmed has been written anew
        fit(40, tmp_path)


def test_every_flipped_bit_of_a_record_is_noticed(tmp_path):
    """Every thirteenth bit; none is taken for another fault, such as other data."""
    fit(10, tmp_path)
    stored = Stored(tmp_path / "checkpoints", 10)
    content = stored.record_path.read_bytes()
    assert stored.fault() is None
    for position in range(0, 8 * len(content), 13):
        harmed = bytearray(content)
        harmed[position // 8] ^= 1 << position % 8
        stored.record_path.write_bytes(harmed)
        fault = stored.fault()
        same = fault is None and json.loads(harmed) == json.loads(content)  # white space
        assert same or fault.startswith("damaged (")


def test_with_no_whole_checkpoint_the_run_begins_anew(tmp_path):
    fit(10, tmp_path)
    flip_a_byte(largest_file(tmp_path / "checkpoints" / "10"))
    with pytest.warns(training.CheckpointWarning, match="starting from the beginning"):
        again = fit(20, tmp_path)
    assert_trees_equal(plain(again.state), plain(fit(20, None, resume=False).state))


def test_a_torn_line_of_metrics_is_dropped(tmp_path):
    fit(20, tmp_path)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 25, "lo')
    fit(30, tmp_path)
    assert [record["step"] for record in records(tmp_path)] == [5, 10, 15, 20, 25, 30]


def test_a_checkpoint_counts_as_soon_as_it_is_written(tmp_path):
    """Not only when the next one is: a run killed in between loses nothing that was on disk."""

    def evaluate(state):
        if state["step"] == 15:
            vouched, deadline = tmp_path / "checkpoints" / "10.json", time.monotonic() + 20
            while not vouched.exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            is_complete.append(vouched.exists())
        return {}

    is_complete = []
    fit(20, tmp_path, evaluate=evaluate, evaluate_every=5)
    assert is_complete == [True]


def test_an_interrupted_run_goes_on_in_the_same_process(tmp_path):
    whole = fit(40, None, resume=False)

    def interrupt(state):
        if state["step"] == 25:
            raise KeyboardInterrupt
        return {}

    with pytest.raises(KeyboardInterrupt):
        fit(40, tmp_path, evaluate=interrupt, evaluate_every=5)
    assert (tmp_path / "checkpoints" / "20.json").exists()
    assert_trees_equal(plain(fit(40, tmp_path).state), plain(whole.state))


def test_weak_types_cannot_make_a_difference(tmp_path):
    """bfloat16 times a weak float32 is bfloat16, times a restored one float32: weak types are
    dropped from the start.
    """

    def step(state, batch, key):
        return {"w": state["w"] * state["c"] + 0.1, "c": state["c"]}, {"loss": jnp.float32(0)}

    def run(num_steps, folder, dtype):
        state = {"w": jnp.ones((), dtype), "c": jnp.asarray(1.01)}
        options = {
            "checkpoint_every": 1,
            "log_every": 1,
            "progress": False,
            "folder": folder,
            "resume": folder is not None,
        }
        return training.fit(step, state, [jnp.ones(3)], KEY, num_steps=num_steps, **options).state

    run(3, tmp_path, jnp.float32)
    assert_trees_equal(run(9, tmp_path, jnp.float32), run(9, None, jnp.float32))
    with pytest.raises(
        ValueError, match=r"step: expected a state with bfloat16\[\] at \['w'\], .* got float32"
    ):
        run(1, None, jnp.bfloat16)


def test_numbers_of_numpy_are_those_of_python(tmp_path):
    numbers = {
        "checkpoint_every": np.int64(10),
        "log_every": np.int64(5),
        "batch_size": np.int64(7),
    }
    fit(np.int64(10), tmp_path, **numbers)
    assert_trees_equal(plain(fit(20, tmp_path).state), plain(fit(20, None, resume=False).state))


def test_fewer_steps_than_there_are_is_refused(tmp_path):
    fit(30, tmp_path)
    with pytest.raises(
        ValueError, match="num_steps: expected at least the 30 steps of the run in .*, got 10"
    ):
        fit(10, tmp_path)


def test_an_evaluation_that_was_not_asked_for_before_is_caught_up(tmp_path):
    fit(20, tmp_path)
    assert fit(20, tmp_path, evaluate=lambda state: {"total": state["total"]}).evaluations[
        "step"
    ].tolist() == [20]


def test_a_refused_resumption_leaves_the_records_alone(tmp_path):
    fit(20, tmp_path)
    before = (tmp_path / "metrics.jsonl").read_text() + '{"step": 25}'
    (tmp_path / "metrics.jsonl").write_text(before)
    with pytest.raises(ValueError, match="batch_size"):
        fit(30, tmp_path, batch_size=3)
    assert (tmp_path / "metrics.jsonl").read_text() == before


def test_what_was_passed_over_is_neither_kept_nor_called_good(tmp_path):
    def broken(state, batch, key):
        state, metrics = count(state, batch, key)
        return state, {"loss": jnp.where(state["step"] > 26, jnp.nan, metrics["loss"])}

    fit(30, tmp_path)
    flip_a_byte(largest_file(tmp_path / "checkpoints" / "30"))
    state = {"total": jnp.float32(0), "step": jnp.int32(0), "key": jax.random.key(9)}
    options = {
        "checkpoint_every": 10,
        "log_every": 5,
        "batch_size": 7,
        "progress": False,
        "resume": True,
    }
    with (
        pytest.warns(training.CheckpointWarning),
        pytest.raises(training.NonFiniteError, match=r"good checkpoint: .*/20; .*load_checkpoint"),
    ):
        training.fit(
            broken,
            state,
            jnp.arange(30.0),
            KEY,
            num_steps=40,
            folder=tmp_path,
            allow_changes=("step",),
            **options,
        )
    with pytest.warns(training.CheckpointWarning):
        fit(25, tmp_path, keep=2, checkpoint_every=5)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        "20",
        "20.json",
        "25",
        "25.json",
    ]


@pytest.mark.costly
def test_a_run_on_two_devices_is_resumed(tmp_path):
    """Data over two devices and a state on none in particular: restored, it is free to move to
    both.
    """
    program = """
import sys, jax, jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from nce_jax import training
from nce_jax.training._stored import Stored
sharding = NamedSharding(Mesh(jax.devices(), "data"), PartitionSpec("data"))
x = jax.device_put(jnp.arange(8.0), sharding)
def step(state, batch, key):
    return {"t": 0.5 * state["t"] + batch.x_data.sum()}, {"loss": state["t"]}
for num_steps in (2, 4):
    every = {"checkpoint_every": 1, "log_every": 1}
    options = {"folder": sys.argv[1], "resume": True, "progress": False, **every}
    state, key = {"t": jnp.zeros(())}, jax.random.key(0)
    result = training.fit(step, state, x, key, num_steps=num_steps, **options)
print(float(result.state["t"]))
"""
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == 28 * (1 + 0.5 + 0.25 + 0.125)


@pytest.mark.costly
def test_killed_at_random_moments_it_ends_in_the_same_bits(tmp_path):
    """SIGKILL, at least ten times, at moments drawn with seed 0; then the run is left to end."""
    moments, kills, deadline = random.Random(0), 0, time.monotonic() + 500
    while True:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.training.kill_me", str(tmp_path)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        before = kills
        with process:
            if kills < 12:
                kills += kill_within(process, tmp_path / "checkpoints", moments)
            out, _ = process.communicate()
        if before == kills:
            break
        assert time.monotonic() < deadline, "the run never ends"
    assert kills >= 10, f"only {kills} kills before the run was through"
    assert out.startswith("through"), out
    resumed = kill_me.run(str(tmp_path))  # at its end already: this reads the last checkpoint
    whole = kill_me.run(None)
    assert_trees_equal(resumed.state, whole.state)


def kill_within(process, folder, moments):
    """Kills once the run has written something new, a random moment later; 1 if that came before
    its end.
    """
    checkpoint = newest(folder)
    while process.poll() is None and newest(folder) == checkpoint:
        time.sleep(0.002)
    time.sleep(moments.uniform(0, 0.15))
    if process.poll() is not None:
        return 0
    process.send_signal(signal.SIGKILL)
    return 1


def newest(folder):
    """When something in a folder was last written; what the run renames meanwhile is left out."""
    times = [0]
    for path in folder.glob("*"):
        with contextlib.suppress(FileNotFoundError):
            times.append(path.stat().st_mtime_ns)
    return max(times)
