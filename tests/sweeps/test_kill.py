"""A sweep of 10,000 lanes that is killed at random moments and resumed ends with the bytes of one
that was left alone.
"""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SWEEP = """
import sys

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_num_cpu_devices", 2)
import nce_jax


def lane(a, seed):
    draws = jax.random.normal(jax.random.key(seed), (2_000,))
    solution = nce_jax.solve_log_partition(a + draws[:200], draws[200:400])
    return {"path": jnp.cumsum(a * draws), "root": solution.log_partition}


mesh = jax.sharding.Mesh(np.array(jax.devices()), ("lane",))
axes = {"a": jnp.linspace(0.1, 2.0, 5), "seed": jnp.arange(2_000)}
options = {"mesh": mesh, "folder": sys.argv[1], "resume": True, "max_lanes": int(sys.argv[3])}
found = nce_jax.sweep(lane, axes, **options)
assert found.failed.size == 10_000
np.savez(sys.argv[2], **found.values)
"""


def begin(folder, output, max_lanes=250):
    command = [sys.executable, "-c", SWEEP, str(folder), str(output), str(max_lanes)]
    with said(output).open("w") as file:
        return subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT)


def said(output):
    return output.with_suffix(".txt")


def wait_for_chunks(process, folder, output, count):
    deadline = time.monotonic() + 120
    while len(list(folder.glob("chunk-*.sha256"))) < count:
        assert process.poll() is None, said(output).read_text()
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.costly
def test_a_killed_sweep_ends_with_the_same_bytes(tmp_path):
    alone = begin(tmp_path / "alone", tmp_path / "alone.npz")
    assert alone.wait(timeout=300) == 0, (tmp_path / "alone.txt").read_text()
    dice, folder = random.Random(0), tmp_path / "killed"
    for fraction in (0.05, 0.4, 0.8):
        process = begin(folder, tmp_path / "never.npz")
        wait_for_chunks(process, folder, tmp_path / "never.npz", int(40 * fraction))
        time.sleep(dice.uniform(0, 0.02))
        process.kill()
        assert process.wait() == -9
    finished = {path.name: path.stat().st_mtime_ns for path in folder.glob("chunk-*.sha256")}
    assert 32 <= len(finished) < 40, "the last kill came too late to prove anything"
    # Other limits do not matter: the chunks are those that the sweep began with.
    last = begin(folder, tmp_path / "killed.npz", max_lanes=10_000)
    assert last.wait(timeout=300) == 0, (tmp_path / "killed.txt").read_text()
    assert (tmp_path / "killed.npz").read_bytes() == (tmp_path / "alone.npz").read_bytes()
    assert not (tmp_path / "never.npz").exists()
    assert not list(folder.glob(".*")), "half-written files were left behind"
    assert all(
        (folder / name).stat().st_mtime_ns == modified_at for name, modified_at in finished.items()
    ), "a finished chunk was repeated"
