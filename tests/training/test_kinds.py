"""Runs of every kind end in the same bits however often they are killed, and on eight devices in
the same numbers up to rounding.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from nce_jax import training
from nce_jax._archives import read_arrays
from tests.training import kinds

ROOT = Path(__file__).parents[2]


def begin(folder):
    command = [sys.executable, "-m", "tests.training.kinds", str(folder)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def num_files(folder):
    """The number of files of all runs so far, whatever is renamed meanwhile."""
    return sum(len(files) for _, _, files in os.walk(folder))


def kill(process, folder, wait):
    """Kills some time after the runs have written a file; 0 if it was through before."""
    before = num_files(folder)
    while process.poll() is None and num_files(folder) == before:
        time.sleep(0.002)
    time.sleep(wait)
    if process.poll() is not None:
        return 0
    process.send_signal(signal.SIGKILL)
    return 1


@pytest.mark.costly
def test_killed_at_random_moments_every_kind_ends_in_the_same_bits(tmp_path):
    """SIGKILL at moments drawn with seed 0: soon after a write, or up to four seconds later."""
    alone = begin(tmp_path / "alone")
    assert alone.communicate()[0].startswith("through")
    moments, kills = random.Random(0), 0
    while True:
        wait = moments.choice([0.02, 4.0]) * moments.random()
        process, before = begin(tmp_path / "killed"), kills
        with process:
            if kills < 12:
                kills += kill(process, tmp_path / "killed", wait)
            out, _ = process.communicate()
        if kills == before:
            break
    assert out.startswith("through"), out
    assert kills >= 8, f"only {kills} kills"
    for name in kinds.KINDS:
        expected, found = (
            read_arrays(tmp_path / part / f"{name}.npz") for part in ("alone", "killed")
        )
        assert expected.keys() == found.keys()
        for leaf, value in expected.items():
            np.testing.assert_array_equal(found[leaf], value, err_msg=f"{name}, {leaf}")


WITHOUT_MESH = {"own_noise", "rows"}


@pytest.mark.costly
@pytest.mark.parametrize("name", [name for name in kinds.KINDS if name not in WITHOUT_MESH])
def test_eight_devices_end_where_one_does(name, x64):
    """In float64, where rounding is 1e-16 and grows by some powers of ten in 24 steps.

    Only that of L-BFGS, whose curvatures are differences of gradients of other batches, grows to
    1e-10 in the loss.
    """
    rtol = 1e-6 if name == "line_search" else 1e-9
    one, eight = (
        kinds.numbers(kinds.run(name, None, mesh)) for mesh in (None, training.make_mesh())
    )
    assert one.keys() == eight.keys()
    for leaf, value in one.items():
        np.testing.assert_allclose(eight[leaf], value, rtol=rtol, atol=rtol / 100, err_msg=leaf)
