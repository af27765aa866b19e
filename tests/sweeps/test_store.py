"""The chunk store: what was finished is read, what is damaged is named, what belongs to another
sweep is refused.
"""

import json
import math
import os
import shutil
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

import nce_jax
from nce_jax import sweeps


def fn(a, key):
    draw = jax.random.normal(key, (3,))
    return {
        "half": (a * draw).astype(jnp.bfloat16),
        "keys": jax.random.split(key),
        "sign": draw[0] > 0,
        "sum": a + draw.sum(),
    }


def grid(num=7):
    return {"a": jnp.array([1.0, 2.0]), "key": jax.random.split(jax.random.key(0), num)}


def stored(folder, fn=fn, **options):
    axes = {name: options.pop(name, values) for name, values in grid().items()}
    return nce_jax.sweep(fn, axes, folder=folder, **{"max_lanes": 4, **options})


def leaves(result):
    plain = jax.tree.map(
        lambda leaf: jax.random.key_data(leaf) if sweeps._program.is_key(leaf) else leaf,
        result.values,
    )
    return {name: np.asarray(leaf) for name, leaf in plain.items()}


def assert_same_bytes(first, second):
    for name, leaf in leaves(first).items():
        other = leaves(second)[name]
        assert (leaf.dtype, leaf.shape) == (other.dtype, other.shape)
        assert leaf.tobytes() == other.tobytes(), name


@pytest.fixture
def count(monkeypatch):
    """Numbers of chunks that were computed."""
    computed = []
    inner = sweeps._grid._compute

    def counted(fn, axes, layout, chunking, block):
        computed.append(block.start)
        return inner(fn, axes, layout, chunking, block)

    monkeypatch.setattr(sweeps._grid, "_compute", counted)
    return computed


def test_a_stored_sweep_is_that_of_memory(tmp_path, count):
    result = stored(tmp_path / "s")
    assert_same_bytes(result, nce_jax.sweep(fn, axes=grid(), max_lanes=4))
    assert result.values["keys"].dtype == grid()["key"].dtype
    assert len(count) == 2 * result.num_chunks == 8


def test_a_finished_sweep_is_read_and_not_computed(tmp_path, count):
    first = stored(tmp_path)
    count.clear()
    assert_same_bytes(stored(tmp_path, resume=True), first)
    assert count == []


@pytest.mark.parametrize("last_chunk", [0, 1, 3])
def test_an_interrupted_sweep_goes_on(tmp_path, count, last_chunk):
    def stop(done, total):
        if done > last_chunk * 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stored(tmp_path, progress=stop)
    before = len(count)
    assert before == last_chunk + 1
    progress = []
    resumed = stored(tmp_path, resume=True, progress=lambda done, total: progress.append(done))
    assert len(count) == resumed.num_chunks
    assert progress == [4, 8, 12, 14]
    assert_same_bytes(resumed, nce_jax.sweep(fn, axes=grid(), max_lanes=4))


def test_a_resumed_sweep_keeps_its_chunks(tmp_path):
    first = stored(tmp_path)
    again = stored(tmp_path, resume=True, max_lanes=100)
    assert again.chunking == first.chunking
    assert again.chunking.sizes == {"a": 2, "key": 2}


def test_resume_begins_in_an_empty_folder(tmp_path):
    assert_same_bytes(stored(tmp_path / "new", resume=True), stored(tmp_path / "other"))


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_chunk_is_named_and_computed_again(tmp_path, count, damage):
    first = stored(tmp_path)
    path = tmp_path / "chunk-2.npz"
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content[:40] if damage == "cut" else content))
    if damage == "remove":
        path.unlink()
    count.clear()
    with pytest.warns(sweeps.ChunkWarning, match=r"chunk .*chunk-2.npz: damaged"):
        assert_same_bytes(stored(tmp_path, resume=True), first)
    assert len(count) == 1
    count.clear()
    assert_same_bytes(stored(tmp_path, resume=True), first)  # mended
    assert count == []


def test_a_chunk_without_its_digest_is_unfinished(tmp_path, count):
    first = stored(tmp_path)
    (tmp_path / "chunk-1.sha256").unlink()
    count.clear()
    assert_same_bytes(stored(tmp_path, resume=True), first)
    assert len(count) == 1


def test_two_runs_write_the_same_files(tmp_path):
    stored(tmp_path / "a")
    stored(tmp_path / "b")
    names = sorted(os.listdir(tmp_path / "a"))
    assert names == sorted(os.listdir(tmp_path / "b"))
    assert len(names) == 9
    for name in names:
        if name != "manifest.json":  # the free memory that it records differs
            assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum")
def test_the_digests_are_those_of_sha256sum(tmp_path):
    stored(tmp_path)
    process = subprocess.run(
        "sha256sum -c *.sha256",
        shell=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.count("OK") == 4


def test_the_manifest_holds_what_was_chosen_and_measured(tmp_path):
    result = stored(tmp_path, memory_limit=10_000_000)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["chunking"]["bytes_limit"] == 10_000_000
    assert manifest["chunking"]["bytes_per_lane"] == result.chunking.bytes_per_lane > 0
    assert manifest["chunking"]["sizes"] == result.chunking.sizes
    assert manifest["identity"]["axis a"] == "float32[2] [1.0, 2.0]"


def test_an_unknown_limit_is_no_number(tmp_path, monkeypatch):
    monkeypatch.setattr(sweeps._chunks, "free_memory", lambda layout: math.inf)
    first = stored(tmp_path)
    assert json.loads((tmp_path / "manifest.json").read_text())["chunking"]["bytes_limit"] is None
    assert stored(tmp_path, resume=True).chunking == first.chunking


CONSTANT = jnp.arange(500.0)


def other_fn(a, key):
    return fn(2 * a, key)


def with_constant(constant):
    return lambda a, key: a + constant.sum() + jax.random.normal(key)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"fn": other_fn}, "fn: expected program"),
        (
            {"a": jnp.array([1.0, 3.0])},
            r"axis a: expected float32\[2\] \[1.0, 2.0\], got float32\[2\] \[1.0, 3.0\]",
        ),
        ({"key": jax.random.split(jax.random.key(1), 7)}, "axis key: expected key<fry>"),
        ({"key": jax.random.split(jax.random.key(0), 6)}, "axis key: expected key<fry>"),
        ({"mesh": "two"}, r"devices: expected 1 x cpu \(cpu\), got 2 x cpu"),
    ],
)
def test_another_sweep_is_refused_by_what_differs(tmp_path, change, named):
    stored(tmp_path)
    if "mesh" in change:
        change = {"mesh": Mesh(np.array(jax.devices()[:2]), ("lane",))}
    with pytest.raises(
        sweeps.StoreError, match=rf"got {tmp_path}, which holds another sweep \({named}"
    ):
        stored(tmp_path, resume=True, **change)


def test_another_axis_or_order_is_refused(tmp_path):
    stored(tmp_path)
    axes = grid()
    with pytest.raises(sweeps.StoreError, match="order of the axes: expected a, key, got key, a"):
        nce_jax.sweep(fn, axes={"key": axes["key"], "a": axes["a"]}, folder=tmp_path, resume=True)
    with pytest.raises(sweeps.StoreError, match="axis b: expected None"):
        nce_jax.sweep(lambda b: b, axes={"b": axes["a"]}, folder=tmp_path, resume=True)


def test_another_constant_is_another_function(tmp_path):
    stored(tmp_path, with_constant(CONSTANT))
    stored(tmp_path, with_constant(jnp.arange(500.0)), resume=True)
    with pytest.raises(sweeps.StoreError, match="fn: expected program"):
        stored(tmp_path, with_constant(CONSTANT.at[250].add(1)), resume=True)


def test_another_precision_is_refused(tmp_path):
    stored(tmp_path)
    with (
        jax.enable_x64(True),
        pytest.raises(sweeps.StoreError, match="jax_enable_x64: expected False, got True"),
    ):
        stored(tmp_path, resume=True)


def test_a_held_folder_is_not_overwritten(tmp_path):
    stored(tmp_path)
    with pytest.raises(FileExistsError, match="which holds one; resume=True continues it"):
        stored(tmp_path)
    with pytest.raises(ValueError, match="resume: expected a folder"):
        nce_jax.sweep(fn, axes=grid(), resume=True)


@pytest.mark.parametrize("content", ["", "{}", None])
def test_a_damaged_manifest_is_named(tmp_path, content):
    stored(tmp_path)
    path = tmp_path / "manifest.json"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(
        sweeps.StoreError, match=r"got a missing or damaged .*manifest.json .* to start again"
    ):
        stored(tmp_path, resume=True)
