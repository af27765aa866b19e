"""What the parts of the device check compute from traces, records and rates."""

import json
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

import nce_jax
from benchmarks.device_check import fast_tests, mnist_epoch, pairs, parts, record, round_trips
from benchmarks.device_check.ceilings import Peaks
from benchmarks.device_check.solver import root_in_float64
from benchmarks.harness import Timed

FAILING = """
import pytest

def test_right():
    pass

@pytest.mark.parametrize("dtype", ["float32"])
def test_wrong(dtype):
    assert 1 == 2, "the reason"

def test_exact_only():
    import os
    assert os.environ.get("JAX_DEFAULT_MATMUL_PRECISION") == "highest"

@pytest.fixture
def torn_down():
    yield
    raise ValueError("afterwards")

def test_teardown(torn_down):
    pass

@pytest.mark.slow
def test_slow():
    assert False
"""


def trace(**lines):
    def events(names):
        return [SimpleNamespace(name=name) for name in names]

    streams = [SimpleNamespace(name=name, events=events(names)) for name, names in lines.items()]
    host = SimpleNamespace(name="x", events=events(["MemcpyD2H"]))
    return SimpleNamespace(
        planes=[
            SimpleNamespace(name="/device:GPU:0", lines=streams),
            SimpleNamespace(name="/host:CPU", lines=[host]),
        ]
    )


def test_copies_to_the_host_are_counted_on_streams_alone():
    lines = {
        "Stream #7(MemcpyD2H)": ["MemcpyD2H", "MemcpyD2H"],
        "Stream #8(Compute)": ["fusion", "MemcpyH2D"],
        "XLA Ops": ["MemcpyD2H"],
    }
    found = round_trips.count_events(trace(**lines))
    assert (found["to_host"], found["events"], len(found["lines"])) == (2, 4, 3)


def test_a_trace_without_a_device_counts_nothing():
    assert round_trips.count_events(SimpleNamespace(planes=[]))["events"] == 0


def test_the_roofline_is_the_longer_of_work_and_bytes():
    peaks = Peaks({"float32": np.array([1e12, 2e12, 9e12])}, np.array([1e9, 4e9, 2e9]))
    timed = {"any": Timed(np.ones(4), np.ones(4), None)}
    np.testing.assert_allclose(peaks.floor(flops=4e12).seconds(timed), np.full(4, 2.0))
    both = peaks.floor(flops=4e12, num_bytes=6e9)
    np.testing.assert_allclose(both.seconds(timed), np.full(4, 3.0))
    assert both.what == "the roofline (4e+03 Gflop, 6 GB)"


def test_the_root_in_float64_is_that_of_the_solver(x64):
    s_data, s_noise = np.random.default_rng(0).normal([[2.0], [-1.0]], size=(2, 400))
    solution = nce_jax.solve_log_partition(jnp.asarray(s_data), jnp.asarray(s_noise))
    root = root_in_float64([s_data, s_noise], float(solution.log_partition) + 1e-3)
    np.testing.assert_allclose(root, solution.log_partition, rtol=0, atol=1e-11)


def test_the_products_are_those_of_a_loss():
    x, y = np.random.default_rng(1).normal(size=(2, 12, 3)).astype(np.float32)
    of_x, of_y = pairs._products(jnp.asarray(x), jnp.asarray(y), 4)
    # Twelve terms of a few units, in float32.
    np.testing.assert_allclose(of_x, (x @ y.T) @ y, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(of_y, (y @ x.T) @ x, rtol=1e-4, atol=1e-4)


def test_files_of_images_are_looked_for_and_not_downloaded(tmp_path, monkeypatch):
    monkeypatch.setenv("NCE_JAX_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(parts.Skipped, match="the files of mnist are neither in NCE_JAX_DATA nor"):
        mnist_epoch.run("full")
    for files in mnist_epoch.SETS["mnist"].values():
        for file in files:
            (tmp_path / "data" / file.folder).mkdir(parents=True, exist_ok=True)
            (tmp_path / "data" / file.folder / file.name).touch()
    assert mnist_epoch.are_there("mnist")
    assert mnist_epoch._config("full").width == 64


@pytest.fixture
def failing(tmp_path, monkeypatch):
    """A checkout of its own, with one file of tests."""
    monkeypatch.setenv("PYTHONPATH", str(fast_tests.ROOT))
    monkeypatch.setattr(fast_tests, "ROOT", tmp_path)
    path = tmp_path / "room" / "test_failing.py"
    path.parent.mkdir()
    path.write_text(FAILING)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = slow\n  costly\n")
    return path


def test_failures_are_named_and_tried_again(failing, monkeypatch):
    monkeypatch.setitem(fast_tests.PATHS, "small", (str(failing),))
    report = fast_tests.run("small")
    differ = {item["test"].partition("::")[2]: item for item in report.details["differ"]}
    assert set(differ) == {"test_wrong[float32]", "test_exact_only", "test_teardown"}
    assert differ["test_wrong[float32]"]["message"].startswith("AssertionError: the reason")
    assert differ["test_exact_only"]["on the CPU"] == "failed"
    assert differ["test_exact_only"]["with exact products"] == "passed"
    assert differ["test_teardown"]["message"] == "ValueError: afterwards"
    counts = {amount.name: amount.value.median for amount in report.amounts}
    assert counts["float32: tests that fail"] == 1
    assert report.details["failures"] == ["3 tests fail, of 4; not on the CPU: none"]
    assert report.details["is_complete"]


def test_a_test_that_passes_on_the_cpu_alone_is_named():
    found = fast_tests.Run(
        {"tests/a/b.py::c": ("failed", "x"), "tests/a/b.py::d": ("passed", "")}, True
    )
    report = fast_tests._report(found, {fast_tests.CPU: {"tests/a/b.py::c": ("passed", "")}})
    assert report.details["failures"] == ["1 tests fail, of 2; not on the CPU: tests/a/b.py::c"]


def test_no_test_at_all_is_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="pytest, status 4: ended without a test"):
        fast_tests.run_tests([str(tmp_path / "test_none.py")], 60.0, {})


@pytest.mark.costly
def test_what_has_run_when_the_time_is_up_counts(failing):
    failing.write_text("import time\ndef test_a(): pass\ndef test_b(): time.sleep(60)\n")
    found = fast_tests.run_tests([str(failing)], 6.0, {})
    assert [outcome for outcome, _ in found.tests.values()] == ["passed"]
    assert not found.is_complete


def test_files_of_the_rooms_take_turns():
    names = ["t/a/1::x", "t/a/1::y", "t/a/2::x", "t/b/1::x", "t/b/2::x", "t/b/3::x"]
    items = [SimpleNamespace(nodeid=name) for name in names]
    record.pytest_collection_modifyitems(items)
    expected = ["t/a/1::x", "t/a/1::y", "t/b/1::x", "t/a/2::x", "t/b/2::x", "t/b/3::x"]
    assert [item.nodeid for item in items] == expected


def test_a_line_that_was_being_written_is_left_out(tmp_path):
    whole = json.dumps({"test": "a", "outcome": "passed", "message": ""})
    (tmp_path / "record").write_text(f"{whole}\n{whole[:9]}")
    assert fast_tests._read(tmp_path / "record") == {"a": ("passed", "")}
