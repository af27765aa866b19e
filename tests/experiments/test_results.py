"""Results on disk: written results are read back, and missing or damaged ones are named."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.common import results

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


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.json"
    path.write_text("old")

    def write_and_be_interrupted():
        with results.atomic(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_and_be_interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_save_does_not_leave_the_old_result_as_the_new_one(saved):
    with pytest.raises(ValueError, match="could not convert"):
        results.save(saved, results.Result({"error": jnp.zeros(1)}, {"slope": "steep"}))
    with pytest.raises(results.ResultError, match="manifest"):
        results.load(saved, COMMAND)


def test_manifest_is_json_that_others_can_read(saved):
    assert isinstance(json.loads((saved / "manifest.json").read_text()), dict)
