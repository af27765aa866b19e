"""Damaged metrics and evaluations: what is whole stays, the rest is moved aside, by name."""

import json
import os
import shutil
import warnings

import numpy as np
import pytest

from nce_jax import training
from nce_jax._disk import DamagedFileError
from nce_jax.training._lines import RecordsFile
from tests.training.test_resume import fit

NAMES = ("metrics.jsonl", "evaluations.jsonl")


def evaluate(state):
    return {"total": state["total"]}


def run(folder, num_steps):
    return fit(num_steps, folder, evaluate=evaluate, evaluate_every=5)


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "origin"
    run(folder, 20)
    return folder


@pytest.fixture
def folder(origin, tmp_path):
    shutil.copytree(origin, tmp_path / "run")
    return tmp_path / "run"


def replace_line(text):
    def harm(path):
        lines = path.read_bytes().split(b"\n")
        path.write_bytes(b"\n".join([lines[0], text, *lines[2:]]))

    return harm


def steps(path):
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


LINES = {
    "a step of the wrong type": b'{"step": "70"}',
    "no step": b'{"step": null}',
    "a fraction of a step": b'{"step": 7.5}',
    "a truth value": b'{"step": true}',
    "a text": b'{"step": 10, "loss": "none"}',
    "nested too deeply": b"[" * 100_000,
    "nested almost too deeply": b'{"a":' * 990 + b"1" + b"}" * 990,
    "a list": b"[1, 2]",
    "not UTF-8": b"\xff\xfe\x00",
    "a number that is too long": b'{"step": ' + b"1" * 5000 + b"}",
    "edited": b'{"step": 10, "loss": 1.0, "checksum": "00000000"}',
    "without a checksum": b'{"step": 10, "loss": 1.0}',
    "not a number": b'{"step": NaN, "checksum": "00000000"}',
}


@pytest.mark.parametrize("file", NAMES)
@pytest.mark.parametrize("kind", LINES)
def test_a_damaged_line_is_moved_aside_and_named(tmp_path, kind, file):
    """On the file alone; a run is resumed with one of them below."""
    path = tmp_path / file
    records = RecordsFile(path)
    for step in (5, 10, 15, 20):
        records.append([{"step": step, "loss": step / 7}])
    replace_line(LINES[kind])(path)
    again = RecordsFile(path)
    with (
        pytest.warns(training.RecordWarning, match="expected 4 records up to step 20, got 3"),
        pytest.warns(training.RecordWarning, match=f"{file}: line 2 is damaged .*moved to .*aged"),
    ):
        again.keep_until(20, 4)
    assert again.records == [records.records[i] for i in (0, 2, 3)]
    assert steps(path) == [5, 15, 20]
    assert path.with_name(f"{file}.damaged").read_bytes() == LINES[kind] + b"\n"


WHOLE = {
    "in UTF-16": (lambda path: path.write_bytes(path.read_text().encode("utf-16")), []),
    "of noise": (lambda path: path.write_bytes(np.random.default_rng(0).bytes(5000)), []),
    "empty": (lambda path: os.truncate(path, 0), []),
    "absent": (os.remove, []),
    "twice": (lambda path: path.write_bytes(2 * path.read_bytes()), [5, 10, 15, 20]),
    "cut": (lambda path: os.truncate(path, path.stat().st_size - 4), [5, 10, 15]),
    "without its last newline": (
        lambda path: os.truncate(path, path.stat().st_size - 1),
        [5, 10, 15, 20],
    ),
    "with one line that is damaged": (replace_line(b'{"step": "70"}'), [5, 15, 20]),
}


@pytest.mark.parametrize("file", NAMES)
@pytest.mark.parametrize("kind", WHOLE)
def test_the_run_goes_on_whatever_became_of_the_file(folder, kind, file):
    harm, kept = WHOLE[kind]
    harm(folder / file)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = run(folder, 30)
    assert steps(folder / file) == [*kept, 25, 30]
    assert (result.history if file == NAMES[0] else result.evaluations)["step"][-1] == 30
    texts = [str(w.message) for w in caught if w.category is training.RecordWarning]
    assert all(str(folder / file) in text for text in texts)
    assert bool(texts) == (kind != "without its last newline")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the new checkpoint counts what there is
        run(folder, 30)


def make_link_to_a_device(path):
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("file", NAMES)
def test_a_file_of_an_impossible_size_is_refused_before_it_is_read(tmp_path, file):
    with (tmp_path / file).open("wb") as sparse:
        sparse.truncate(2**43)
    with pytest.raises(DamagedFileError, match=f"{file}: expected at most 4294967296 bytes, got 8"):
        RecordsFile(tmp_path / file).keep_until(10, 2)


@pytest.mark.parametrize("file", NAMES)
@pytest.mark.parametrize("make", [os.mkfifo, make_link_to_a_device, os.mkdir])
def test_what_is_no_plain_file_is_refused_before_it_is_read(folder, make, file):
    (folder / file).unlink()
    make(folder / file)
    with pytest.raises(DamagedFileError, match=f"{file}: expected a plain file, got a"):
        run(folder, 30)


@pytest.mark.costly
def test_every_flipped_bit_is_noticed(tmp_path):
    """One bit at a time: a warning, or the same numbers (white space and case in an escape)."""
    path = tmp_path / "metrics.jsonl"
    original = RecordsFile(path)
    for step in (5, 10):
        original.append([{"step": step, "loss": step / 7, "note": float("nan")}])
    original.keep_until(10, 2)
    content = path.read_bytes()
    silent = 0
    for position in range(8 * len(content)):
        harmed = bytearray(content)
        harmed[position // 8] ^= 1 << position % 8
        path.write_bytes(harmed)
        records = RecordsFile(path)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            records.keep_until(10, 2)
        for damaged in tmp_path.glob("*.damaged*"):
            damaged.unlink()
        if not caught:
            silent += 1
            assert records.records == original.records
    assert silent < 0.02 * 8 * len(content)


def test_the_lines_are_read_by_eye_and_by_pandas(folder):
    pandas = pytest.importorskip("pandas")
    table = pandas.read_json(folder / "metrics.jsonl", lines=True)
    assert table["step"].tolist() == [5, 10, 15, 20]
    assert {"loss", "checksum"} < set(table.columns)
    assert "checksum" not in run(folder, 20).history
