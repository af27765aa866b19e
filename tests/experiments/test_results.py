"""Results on disk: written results are read back, and missing or damaged ones are named."""

import dataclasses
import errno
import json
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.common import results
from nce_jax._archives import write_arrays
from nce_jax._disk import sha256

COMMAND = "python -m experiments.some.run --preset paper"


@dataclasses.dataclass(frozen=True)
class Config:
    seed: int = 3
    rates: tuple[float, ...] = (0.1, 1.0)


@pytest.fixture
def saved(tmp_path):
    result = results.Result(
        arrays={"error": jnp.arange(6.0).reshape(2, 3)},
        headline={"slope": jnp.float32(1.5)},
        failed_lanes={"BAR": np.array([4])},
    )
    results.save(tmp_path / "some", result, topic="some", config=Config(), seed=3)
    return tmp_path / "some"


def test_arrays_and_headline_come_back(saved):
    stored = results.load(saved, COMMAND)
    np.testing.assert_array_equal(stored.arrays["error"], np.arange(6.0).reshape(2, 3))
    assert stored.headline == {"slope": 1.5}


def test_manifest_says_where_the_numbers_come_from(saved):
    manifest = results.load(saved, COMMAND).manifest
    assert manifest["config"] == {"seed": 3, "rates": [0.1, 1.0]}
    assert manifest["failed_lanes"] == {"BAR": [4]}
    assert manifest["versions"]["jax"] == jax.__version__
    assert {"commit", "dirty", "device", "finished"} <= manifest.keys()


def test_only_the_three_files_are_left(saved):
    assert sorted(path.name for path in saved.iterdir()) == [
        "arrays.npz",
        "headline.json",
        "manifest.json",
    ]


@pytest.mark.parametrize("name", ["arrays.npz", "headline.json", "manifest.json"])
def test_a_missing_file_is_named_with_its_command(saved, name):
    (saved / name).unlink()
    with pytest.raises(
        results.ResultError, match=rf"{name}: no such file\. Make it with: {COMMAND}"
    ):
        results.load(saved, COMMAND)


@pytest.mark.parametrize("name", ["arrays.npz", "headline.json", "manifest.json"])
@pytest.mark.parametrize("keep", [0, 10])
def test_a_truncated_file_is_named_with_its_command(saved, name, keep):
    (saved / name).write_bytes((saved / name).read_bytes()[:keep])
    with pytest.raises(results.ResultError, match=rf"{name}: .*Make it again with: {COMMAND}"):
        results.load(saved, COMMAND)


def test_arrays_of_another_run_are_refused(saved):
    np.savez(saved / "arrays.npz", error=np.zeros(3))
    with pytest.raises(results.ResultError, match="not the file of its manifest"):
        results.load(saved, COMMAND)


@pytest.mark.parametrize("kind", ["pipe", "device"])
@pytest.mark.parametrize("name", ["arrays.npz", "headline.json", "manifest.json"])
def test_what_is_no_file_is_named_and_not_read(saved, name, kind):
    (saved / name).unlink()
    if kind == "pipe":
        os.mkfifo(saved / name)
    else:
        (saved / name).symlink_to("/dev/zero")
    with pytest.raises(results.ResultError, match=rf"{name}: damaged .*expected a plain file"):
        results.load(saved, COMMAND)


@pytest.mark.parametrize("name", ["arrays.npz", "headline.json", "manifest.json"])
def test_a_file_of_an_impossible_size_is_named_and_not_read(saved, name):
    os.truncate(saved / name, 2**43)
    with pytest.raises(results.ResultError, match=rf"{name}: damaged .*expected at most .* bytes"):
        results.load(saved, COMMAND)


def sealed(folder, **changes):
    """Writes the digest of the arrays into the manifest, as somebody could by hand."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest |= {"arrays_sha256": sha256(folder / "arrays.npz"), **changes}
    path.write_text(json.dumps(manifest))


def test_arrays_that_explode_are_refused_before_they_are_read(saved, monkeypatch):
    write_arrays(saved / "arrays.npz", {"error": np.zeros(10**6)}, is_compressed=True)
    sealed(saved)
    with pytest.raises(results.ResultError, match="bytes unpacked, got 8000128"):
        results.load(saved, COMMAND)
    monkeypatch.setattr(results, "ARRAYS_LIMIT", 10**6)
    sealed(saved, arrays={"error": "float64[1000000]"})
    with pytest.raises(results.ResultError, match="at most 1000000 bytes unpacked, got 8000128"):
        results.load(saved, COMMAND)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"error": "float32[3, 2]"}, "not the arrays of its manifest"),
        ({"wrong": "float32[2, 3]"}, "not the arrays of its manifest"),
        ({"error": "float32"}, "its manifest describes no arrays"),
        ({"error": 3}, "its manifest describes no arrays"),
        (None, "its manifest describes no arrays"),
    ],
)
def test_arrays_that_the_manifest_does_not_describe_are_refused(saved, arrays, message):
    sealed(saved, arrays=arrays)
    with pytest.raises(results.ResultError, match=f"arrays.npz: .*{message}"):
        results.load(saved, COMMAND)


def test_json_that_is_nested_too_deeply_is_named(saved):
    (saved / "manifest.json").write_text("[" * 10**6)
    with pytest.raises(results.ResultError, match=r"manifest.json: damaged .*nested"):
        results.load(saved, COMMAND)


def test_a_full_disk_is_one_sentence_that_names_the_folder(saved, monkeypatch):
    def full(path, *rest, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(results, "write_arrays", full)
    with pytest.raises(OSError, match=f"output: expected a folder .* got {saved} .No space") as e:
        results.save(saved, results.Result({"a": np.zeros(1)}))
    assert "\n" not in str(e.value)


def test_a_failed_save_does_not_leave_the_old_result_as_the_new_one(saved):
    with pytest.raises(ValueError, match="could not convert"):
        results.save(saved, results.Result({"error": jnp.zeros(1)}, {"slope": "steep"}))
    with pytest.raises(results.ResultError, match="manifest"):
        results.load(saved, COMMAND)


def test_manifest_is_json_that_others_can_read(saved):
    assert isinstance(json.loads((saved / "manifest.json").read_text()), dict)
