"""Processes of one job: wrong arguments are named, and one that dies stops the others, whose work
is taken up again.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.common import processes
from nce_jax import training

ROOT = Path(__file__).parents[2]
STEPS = 60


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("localhost:1", 2, 2), "process_id: expected 0 to 1, got 2"),
        (("localhost:1", 2, None), "process_id: expected with the others of"),
        ((None, 2, 0), "coordinator: expected with the others of"),
    ],
)
def test_places_that_do_not_exist_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        training.start_processes(*arguments)
    with pytest.raises(ValueError, match="patience: expected at least 1, got 0"):
        training.start_processes(patience=0)


def test_the_launcher_names_the_process_that_failed(capfd):
    with pytest.raises(
        processes.ProcessFailed,
        match="process 0 of 1 ended with exit status 1; the others were stopped",
    ):
        processes.launch(["experiments.no_such_module"], 1, 1)
    assert "no_such_module" in capfd.readouterr().err


def command(folder, num_steps):
    sizes = ["--num-steps", str(num_steps), "--batch-size", "32", "--checkpoint-every", "20"]
    return ["experiments.scaling.train", "--folder", str(folder), *sizes]


def start(folder, number, port, num_steps=STEPS):
    variables = {
        "NCE_JAX_PROCESS": f"{number}/2",
        "JAX_COORDINATOR_ADDRESS": f"localhost:{port}",
        "JAX_NUM_CPU_DEVICES": "2",
    }
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "cwd": ROOT}
    return subprocess.Popen(
        [sys.executable, "-m", *command(folder, num_steps)], env=os.environ | variables, **options
    )


def last_loss(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return json.loads(lines[-1])["loss"]


@pytest.mark.costly
@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_that_dies_stops_the_others_and_the_run_goes_on(tmp_path, victim):
    """Killed after a checkpoint; the survivor ends by itself, and says why; the resumed job ends as
    one process would.

    A checkpoint of two processes of two devices resumes on one process of eight, and that on two of
    four.
    """
    port = processes.free_port()
    running = [start(tmp_path / "run", number, port, num_steps=100_000) for number in (0, 1)]
    try:
        until(lambda: (tmp_path / "run/checkpoints/20.json").exists(), running)
        running[victim].send_signal(signal.SIGKILL)
        said, _ = running[1 - victim].communicate(timeout=120)
    finally:
        for process in running:
            process.kill()
            process.stdout.close()
            process.wait()
    assert running[1 - victim].returncode != 0
    assert "another task died" in said
    steps = max(int(path.stem) for path in (tmp_path / "run/checkpoints").glob("*.json"))
    for num_processes, num_devices in ((1, 8), (2, 4)) if victim == 0 else ((2, 2),):
        steps += 20
        processes.launch(command(tmp_path / "run", steps), num_processes, num_devices)
    processes.launch(command(tmp_path / "alone", steps), 1, 1)
    assert last_loss(tmp_path / "run") == pytest.approx(last_loss(tmp_path / "alone"), rel=1e-4)


@pytest.mark.costly
def test_processes_that_were_given_different_things_say_so(capfd):
    processes.launch(["tests.training.disagree"], 2, 2)
    said = capfd.readouterr().out
    for name in ("key, num_steps, checkpoint_every", "batches"):
        assert (
            f"{name}: expected the same on every process, got other values than process 0's on [1]"
            in said
        )
    assert said.count("make_array_from_process_local_data") == 6
    assert said.count("the same: trained") == said.count("a share of each: trained") == 2


def until(is_true, running, patience=180.0):
    end = time.monotonic() + patience
    while not is_true():
        assert all(process.poll() is None for process in running), running[0].communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.2)
