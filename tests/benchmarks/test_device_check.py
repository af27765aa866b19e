"""The check of a device: one part's failure, death or hanging leaves the others, and the file says
so. The parts here are invented; the real ones run once, at their smallest.
"""

import json
import time

import pytest

from benchmarks.device_check import __main__ as device_check
from benchmarks.device_check import table
from benchmarks.device_check.parts import DEVICES, PARTS, Part
from benchmarks.device_check.runner import run_parts
from experiments.common.endings import CommandError

GOOD = """
import os
from types import SimpleNamespace
def run(size):
    return SimpleNamespace(rows=[], amounts=[], details={"size": size, "process": os.getpid()})
"""
MODULES = {
    "part_good": GOOD,
    "part_raises": "def run(size):\n    raise ValueError('out of order')\n",
    "part_dies": "import os, sys\nprint('last words', file=sys.stderr)\nos._exit(7)\n",
    "part_hangs": "import time\ndef run(size):\n    time.sleep(60)\n",
    "part_leaves_another": (
        "import pathlib, subprocess, sys, time\n"
        'beat = \'import sys, time\\nwhile True:\\n open(sys.argv[1], "a").write("x")\'\n'
        "beat += '\\n time.sleep(0.02)'\n"
        "def run(size):\n"
        "    path = pathlib.Path(__file__).with_name('beats')\n"
        "    subprocess.Popen([sys.executable, '-c', beat, str(path)])\n"
        "    while not path.exists():\n"
        "        time.sleep(0.01)\n"
        "    time.sleep(60)\n"
    ),
    "part_cannot": (
        "from benchmarks.device_check.parts import Skipped\n"
        "def run(size):\n    raise Skipped('no data')\n"
    ),
    "part_wrong": GOOD.replace('{"size"', '{"failures": ["a test differs"], "size"'),
    "part_broken": "import no_such_package\n",
}
OUTPUT = 'import os, sys\nos.write(1, b"noise")\n' + GOOD


@pytest.fixture
def modules(tmp_path, monkeypatch):
    for name, text in {**MODULES, "part_noisy": OUTPUT}.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def entries_of(folder, *names, seconds=1.0, deadline=60.0, **options):
    """Entries of invented parts by name, in the order in which they were reported."""
    parts = [Part(name, name.partition(".")[0], seconds, **options) for name in names]
    found = {}
    (folder / "log").write_bytes(b"")
    run_parts(
        parts,
        "full",
        deadline=time.monotonic() + deadline,
        log=folder / "log",
        report=lambda part, entry: found.update({part.name: entry}),
    )
    return found


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("part_raises", "ValueError: out of order (part_raises.py:2)"),
        ("part_dies", "its process died with status 7: last words"),
        ("part_hangs", "it was ended after 2 s"),
        ("part_wrong", "a test differs"),
        ("part_broken", "No module named 'no_such_package'"),
    ],
)
def test_a_part_that_fails_leaves_the_others(modules, name, expected):
    found = entries_of(modules, "part_good", name, "part_good.again", seconds=0.5)
    assert [entry["status"] for entry in found.values()] == ["ok", "failed", "ok"]
    assert expected in found[name]["error"]
    first, last = (found[part]["details"] for part in ("part_good", "part_good.again"))
    assert first["process"] != last["process"]  # a device may be useless to the one that failed


def test_parts_share_a_process_and_may_write_what_they_like(modules):
    found = entries_of(modules, "part_good", "part_noisy", "part_cannot", "part_good.again")
    assert [entry["status"] for entry in found.values()] == ["ok", "ok", "skipped", "ok"]
    assert found["part_cannot"]["error"] == "no data"
    processes = {entry["details"]["process"] for entry in found.values() if "details" in entry}
    assert len(processes) == 1
    assert b"noise" in (modules / "log").read_bytes()


def test_a_part_that_asks_for_it_has_a_process_of_its_own(modules):
    found = entries_of(modules, "part_good", "part_good.again", "part_good.more", is_alone=True)
    assert len({entry["details"]["process"] for entry in found.values()}) == 3


def test_a_part_that_would_not_fit_is_named(modules):
    found = entries_of(modules, "part_good", deadline=0.5)
    assert found["part_good"]["status"] == "skipped"
    assert "it takes about 1" in found["part_good"]["error"]


def test_a_hanging_part_ends_with_the_total_limit(modules):
    start = time.monotonic()
    found = entries_of(modules, "part_hangs", "part_good", deadline=1.5)
    assert time.monotonic() - start < 10
    assert [entry["status"] for entry in found.values()] == ["failed", "skipped"]


def test_what_a_part_has_started_ends_with_it(modules):
    entries_of(modules, "part_leaves_another", seconds=0.5)
    beats = modules / "beats"
    size = beats.stat().st_size
    time.sleep(0.3)
    assert size == beats.stat().st_size > 0


def test_the_command_writes_a_file_and_its_status(modules, capsys):
    output = modules / "folder" / "check.json"
    arguments = device_check.Arguments(size="small", output=output)
    bad = [Part(name, name, 1.0) for name in ("part_good", "part_raises", "part_cannot")]
    assert device_check.check(arguments, bad[:1]) == 0
    assert device_check.check(arguments, bad) == 1
    stored = json.loads(output.read_text())
    assert (stored["failed"], stored["skipped"]) == (["part_raises"], ["part_cannot"])
    assert list(stored["parts"]) == [part.name for part in bad]
    printed = capsys.readouterr().out
    assert "part_raises" in printed
    assert "failed: part_raises" in printed


def test_the_size_follows_the_device(modules):
    (modules / "gpu.py").write_text(
        GOOD.replace('{"size"', '{"platform": "gpu", "size"')  # as the first part reports it
    )
    output = modules / "check.json"
    parts = [DEVICES._replace(module="gpu"), Part("part_good", "part_good", 1.0)]
    assert device_check.check(device_check.Arguments(output=output), parts) == 0
    assert json.loads(output.read_text())["parts"]["part_good"]["details"]["size"] == "full"


def test_parts_are_chosen_by_name():
    assert [part.name for part in device_check.chosen(["solver"])] == ["devices", "solver"]
    assert device_check.chosen([]) == list(PARTS)
    with pytest.raises(CommandError, match="--only: expected parts of devices, .*, got stairs"):
        device_check.chosen(["stairs"])


def test_all_parts_are_expected_to_fit_into_the_limit():
    assert sum(part.seconds for part in PARTS) <= device_check.Arguments().limit


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (0.0123, "s", "12.3 ms"),
        (2e-6, "s", "2 µs"),
        (3.5e12, "B/s", "3.5 TB/s"),
        (7, "tests", "7 tests"),
    ],
)
def test_quantities_are_readable(value, unit, expected):
    assert table.quantity(value, unit) == expected


@pytest.mark.costly
def test_every_part_runs_at_its_smallest(tmp_path, capsys):
    """On the CPU, as `make device-check` does without an accelerator."""
    output = tmp_path / "check.json"
    assert device_check.main(["--size", "small", "--output", str(output)]) == 0
    stored = json.loads(output.read_text())
    assert (stored["schema"], stored["size"]) == (1, "small")
    assert (stored["failed"], stored["skipped"]) == ([], [])
    assert list(stored["parts"]) == [part.name for part in PARTS]
    printed = capsys.readouterr().out
    for name, entry in stored["parts"].items():
        assert set(entry) == {
            "status", "error", "rows", "amounts", "details", "seconds", "peak_bytes",
        }, name  # fmt: skip
        assert all(row["our_seconds"]["median"] > 0 for row in entry["rows"])
        assert all(set(item) >= {"name", "unit", "value", "target"} for item in entry["amounts"])
        assert f"{name}, {entry['seconds']:.1f} s: ok" in printed
    measured = {name for name, entry in stored["parts"].items() if entry["rows"]}
    assert measured == {"solver", "train_steps", "pairs", "grid", "words", "half_precision"}
    assert stored["parts"]["devices"]["details"]["platform"] == "cpu"
    assert set(stored["parts"]["round_trips"]["details"]) >= {"train step, 4 fixed steps"}
    assert stored["parts"]["fast_tests"]["details"]["is_complete"]
