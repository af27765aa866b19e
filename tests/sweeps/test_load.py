"""A stored sweep is read back as its result; what is unfinished or damaged is said with numbers."""

import json
import re
import shutil
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nce_jax
from nce_jax import sweeps
from nce_jax._disk import sha256_of_json
from nce_jax.sweeps import ChunkWarning, ManifestWarning, StoreError, load_sweep
from tests.sweeps.test_store import assert_same_bytes, fn, grid, stored


class Pair(NamedTuple):
    first: jax.Array
    second: jax.Array


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A stored sweep of four chunks, with typed keys as an axis, and its result."""
    folder = tmp_path_factory.mktemp("sweeps") / "whole"
    return folder, stored(folder, progress=False)


@pytest.fixture
def folder(whole, tmp_path):
    shutil.copytree(whole[0], tmp_path / "copy")
    return tmp_path / "copy"


def remove(folder, *numbers):
    for number in numbers:
        (folder / f"chunk-{number}.sha256").unlink()


def test_it_is_the_result_that_was_stored(whole):
    folder, result = whole
    loaded = load_sweep(folder)
    assert_same_bytes(loaded, result)
    assert loaded.values["keys"].dtype == result.values["keys"].dtype  # typed again
    assert list(loaded.axes) == ["a", "key"]
    np.testing.assert_array_equal(loaded.axes["a"], grid()["a"])
    assert (loaded.axes["key"] == grid()["key"]).all()
    assert loaded.chunking == result.chunking
    assert loaded.missing is None
    assert not loaded.failed.any()


def test_it_opens_in_xarray_with_its_labels(whole):
    folder, result = whole
    dataset, expected = load_sweep(folder).to_xarray(), result.to_xarray()
    assert list(dataset.variables) == list(expected.variables)
    for name, variable in expected.variables.items():  # xarray does not compare bfloat16
        assert dataset[name].dims == variable.dims
        np.testing.assert_array_equal(dataset[name].values, variable.values)
    assert set(dataset.attrs) == {"devices", "jax", "jax_enable_x64"}
    assert jax.__version__ in dataset.attrs["jax"]


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        (lambda a: a, lambda a: a),
        (lambda a: (a, {"x": 2 * a}), lambda a: (a, {"x": 2 * a})),
        (lambda a: Pair(a, a + 1), lambda a: {"first": a, "second": a + 1}),
        (lambda a: {"p": Pair(a, a), 3: [a]}, None),
        (lambda a: (None, a), lambda a: {1: a}),
    ],
)
def test_trees_come_back_as_dictionaries_and_tuples(tmp_path, returned, expected):
    """The names in xarray are those of the result itself."""
    if expected is None:
        returned, expected = (
            (lambda a: {"p": Pair(a, a), "q": [a]}),
            (lambda a: {"p": {"first": a, "second": a}, "q": (a,)}),
        )
    axes = {"a": jnp.arange(3.0)}
    result = nce_jax.sweep(returned, axes, folder=tmp_path, progress=False)
    loaded = load_sweep(tmp_path)
    wanted = expected(np.arange(3.0, dtype=np.float32))
    assert jax.tree.structure(loaded.values) == jax.tree.structure(wanted)
    jax.tree.map(np.testing.assert_array_equal, loaded.values, wanted)
    assert loaded.to_xarray().equals(result.to_xarray())


def test_missing_chunks_are_counted(folder):
    remove(folder, 1, 3)
    message = (
        r"with 2 missing \(1, 3\) of 4 chunks; .*resume=True\) completes it, and allow_missing"
    )
    with pytest.raises(StoreError, match=message):
        load_sweep(folder)


def test_what_is_there_can_be_read_and_the_rest_counts_as_failed(whole, folder):
    remove(folder, 1, 3)
    loaded, result = load_sweep(folder, allow_missing=True), whole[1]
    assert loaded.missing.sum() == 6 == loaded.to_xarray().attrs["missing_lanes"]
    np.testing.assert_array_equal(loaded.failed, loaded.missing)
    for name in ("sum", "half"):
        values = np.asarray(loaded.values[name], np.float32)
        assert np.isnan(values[loaded.missing]).all()
        np.testing.assert_array_equal(
            values[~loaded.missing], np.asarray(result.values[name], np.float32)[~loaded.missing]
        )
    # Leaves that cannot be NaN alone would pass for results.
    assert not loaded.values["sign"][loaded.missing].any()
    axes = {"a": jnp.arange(4)}
    nce_jax.sweep(lambda a: a + 1, axes, folder=folder / "ints", max_lanes=2, progress=False)
    remove(folder / "ints", 0)
    assert (
        load_sweep(folder / "ints", allow_missing=True).failed.tolist() == [True] * 2 + [False] * 2
    )


def test_a_damaged_chunk_is_named_and_left_out_if_allowed(folder):
    path = folder / "chunk-2.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        StoreError, match=r"1 damaged \(chunk .*chunk-2.npz: damaged .* of 4 chunks"
    ):
        load_sweep(folder)
    with pytest.warns(ChunkWarning, match="chunk-2.npz: damaged .*; left out"):
        loaded = load_sweep(folder, allow_missing=True)
    assert 0 < loaded.missing.sum() < loaded.missing.size


def test_a_damaged_manifest_costs_nothing(whole, folder):
    (folder / "manifest.json").write_text("{")
    with pytest.warns(ManifestWarning, match="made again from the chunks, and the sweep is read"):
        assert_same_bytes(load_sweep(folder), whole[1])
    assert (folder / "manifest.json").read_text() == "{"  # nothing is written


@pytest.mark.parametrize("position", [0.1, 0.5, 0.9])
def test_a_damaged_description_is_said_and_made_again(whole, folder, position):
    path = folder / "contents.npz"
    content = bytearray(path.read_bytes())
    content[int(position * len(content))] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreError, match="expected a description of the sweep .*contents.npz"):
        load_sweep(folder)
    stored(folder, resume=True, progress=False)
    assert_same_bytes(load_sweep(folder), whole[1])


def test_a_sweep_of_an_earlier_version_is_described_when_it_is_resumed(whole, folder):
    (folder / "contents.npz").unlink()
    message = "contents.npz is not there, as in sweeps of earlier versions; .*resume=True"
    with pytest.raises(StoreError, match=message):
        load_sweep(folder)
    stored(folder, resume=True, progress=False)
    assert_same_bytes(load_sweep(folder), whole[1])


def test_a_description_of_another_sweep_is_refused(folder, tmp_path):
    stored(tmp_path / "other", a=jnp.array([1.0, 3.0]), progress=False)
    shutil.copy(tmp_path / "other" / "contents.npz", folder)
    with pytest.raises(StoreError, match="expected the axes of the manifest, got others"):
        load_sweep(folder)


def test_a_later_format_is_refused(folder):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text()) | {"format": 9}
    manifest.pop("sha256")
    path.write_text(json.dumps(manifest | {"sha256": sha256_of_json(manifest)}))
    with pytest.raises(StoreError, match="in format 2 of the store, got .* in format 9"):
        load_sweep(folder)


def test_lanes_of_several_devices_are_read_on_one(tmp_path):
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:2]), ("lane",))
    result = nce_jax.sweep(fn, grid(), mesh=mesh, folder=tmp_path, max_lanes=4, progress=False)
    assert_same_bytes(load_sweep(tmp_path), result)


@pytest.mark.bad_input
def test_what_is_no_stored_sweep_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="which holds no chunk of a sweep"):
        load_sweep(tmp_path)
    with pytest.raises(FileNotFoundError, match="which is no folder"):
        load_sweep(tmp_path / "nowhere")
    with pytest.raises(TypeError, match="folder: expected the folder of a sweep, got None"):
        load_sweep(None)
    with pytest.raises(TypeError, match=re.escape("allow_missing: expected True or False, got")):
        load_sweep(tmp_path, allow_missing=1)
    assert sweeps.load_sweep is load_sweep


def test_a_sweep_in_float64_is_read_where_x64_is_off(tmp_path):
    with jax.enable_x64(True):
        axes = {"a": jnp.array([0.1, 0.2]), "seed": jnp.arange(3)}
        result = nce_jax.sweep(
            lambda a, seed: a * seed, axes, folder=tmp_path / "wide", progress=False
        )
    loaded = load_sweep(tmp_path / "wide")
    assert loaded.axes["a"].dtype == np.float64
    np.testing.assert_array_equal(loaded.values, result.values)
    np.testing.assert_array_equal(loaded.to_xarray()["a"], [0.1, 0.2])
