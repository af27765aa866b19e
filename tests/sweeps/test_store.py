"""The chunk store: what was finished is read, what is damaged is named, what belongs to another
sweep is refused.
"""

import errno
import json
import math
import os
import shutil
import subprocess
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

import nce_jax
from nce_jax import sweeps
from nce_jax._archives import read_arrays, write_arrays
from nce_jax._disk import disk_error, sha256, sha256_of_json


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
    assert len(names) == 10
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
    with pytest.raises(sweeps.StoreError, match=r"axis b: expected None.*\); choose"):
        nce_jax.sweep(lambda b: b, axes={"b": axes["a"]}, folder=tmp_path, resume=True)


def test_another_constant_is_another_function(tmp_path):
    stored(tmp_path, with_constant(CONSTANT))
    stored(tmp_path, with_constant(jnp.arange(500.0)), resume=True)
    message = r"fn: expected program .*\); the function, or a constant in it, has changed; choose"
    with pytest.raises(sweeps.StoreError, match=message):
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


def flipped(content, bit):
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def resumed_with_a_new_manifest(folder):
    with pytest.warns(sweeps.ManifestWarning, match=r"manifest .*manifest.json: damaged"):
        return stored(folder, resume=True)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"format": 2}', "[" * 10**5, None])
def test_a_damaged_manifest_is_made_again_from_the_chunks(tmp_path, count, content):
    first = stored(tmp_path)
    path = tmp_path / "manifest.json"
    before = json.loads(path.read_text())
    path.unlink() if content is None else path.write_text(content)
    count.clear()
    result = resumed_with_a_new_manifest(tmp_path)
    assert_same_bytes(result, first)
    assert count == []
    assert result.chunking.sizes == first.chunking.sizes
    assert result.chunking.num_chunks == first.chunking.num_chunks
    after = json.loads(path.read_text())
    assert after["identity"] == before["identity"]
    assert_same_bytes(stored(tmp_path, resume=True), first)  # without a warning
    assert count == []


def test_a_flipped_bit_in_the_manifest_costs_no_chunk(tmp_path):
    stored(tmp_path)
    path, rng = tmp_path / "manifest.json", np.random.default_rng(0)
    content = path.read_bytes()
    store = sweeps._store.Store(tmp_path, resume=True)
    right = store.recorded()
    num_damaged = 0
    for bit in rng.choice(8 * len(content), 200, replace=False):
        path.write_bytes(flipped(content, bit))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            actual = store.recorded()
        assert (actual.identity, actual.sizes) == (right.identity, right.sizes)
        assert actual.chunking in (right.chunking, None)
        num_damaged += len(caught)
        assert len(caught) == (actual.chunking is None)
    store.close()
    assert num_damaged > 150  # the others changed white space


def test_a_damaged_manifest_of_another_sweep_is_still_refused(tmp_path):
    stored(tmp_path)
    (tmp_path / "manifest.json").write_text("")
    with (
        pytest.raises(sweeps.StoreError, match="which holds another sweep"),
        pytest.warns(sweeps.ManifestWarning),
    ):
        stored(tmp_path, other_fn, resume=True)


def test_without_chunks_a_damaged_manifest_costs_nothing(tmp_path, count):
    first = stored(tmp_path)
    for path in tmp_path.glob("chunk-*"):
        path.unlink()
    (tmp_path / "manifest.json").write_text("{")
    count.clear()
    assert_same_bytes(resumed_with_a_new_manifest(tmp_path), first)
    assert len(count) == 4


def seal(path):
    path.with_suffix(".sha256").write_text(f"{sha256(path)}  {path.name}\n")


def test_exchanged_chunks_are_computed_again(tmp_path, count):
    first = stored(tmp_path)
    for suffix in (".npz", ".sha256"):
        shutil.copy(tmp_path / f"chunk-1{suffix}", tmp_path / f"chunk-0{suffix}")
    count.clear()
    with pytest.warns(sweeps.ChunkWarning, match=r"chunk-0.npz: damaged \(expected its own digest"):
        assert_same_bytes(stored(tmp_path, resume=True), first)
    # With the name mended in the seal as well.
    shutil.copy(tmp_path / "chunk-1.npz", tmp_path / "chunk-0.npz")
    seal(tmp_path / "chunk-0.npz")
    with pytest.warns(sweeps.ChunkWarning, match=r"chunk-0.npz: damaged \(expected this chunk"):
        assert_same_bytes(stored(tmp_path, resume=True), first)
    assert len(count) == 2


def test_a_chunk_of_another_sweep_is_computed_again(tmp_path, count):
    first, _ = stored(tmp_path / "a"), stored(tmp_path / "b", other_fn)
    for suffix in (".npz", ".sha256"):
        shutil.copy(tmp_path / "b" / f"chunk-0{suffix}", tmp_path / "a")
    count.clear()
    with pytest.warns(sweeps.ChunkWarning, match="expected this chunk, got one of another place"):
        assert_same_bytes(stored(tmp_path / "a", resume=True), first)
    assert len(count) == 1


@pytest.mark.parametrize("change", ["shape", "dtype", "one more", "one less", "no record"])
def test_a_sealed_chunk_of_other_arrays_is_computed_again(tmp_path, count, change):
    first = stored(tmp_path)
    path = tmp_path / "chunk-2.npz"
    arrays = read_arrays(path)
    if change == "shape":
        arrays["leaf_3"] = arrays["leaf_3"][:1, :1]
    elif change == "dtype":
        arrays["leaf_3"] = arrays["leaf_3"].astype(np.float64)
    elif change == "one more":
        arrays["leaf_4"] = np.zeros(3)
    else:
        del arrays["record" if change == "no record" else "leaf_3"]
    write_arrays(path, arrays)
    seal(path)
    count.clear()
    with pytest.warns(sweeps.ChunkWarning, match=r"chunk-2.npz: damaged"):
        assert_same_bytes(stored(tmp_path, resume=True), first)
    assert len(count) == 1


def test_stores_of_other_formats_are_named(tmp_path):
    stored(tmp_path)
    path = tmp_path / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["sha256"]
    message = "expected a sweep in format 2 of the store, got .* in format"
    path.write_text(json.dumps({**manifest, "format": 1}))
    with pytest.raises(sweeps.StoreError, match=f"{message} 1; finish it with the version"):
        stored(tmp_path, resume=True)
    # Its chunks have no record, which tells the format where the manifest is damaged.
    path.write_text("")
    for chunk in tmp_path.glob("chunk-*.npz"):
        arrays = read_arrays(chunk)
        del arrays["record"]
        write_arrays(chunk, arrays)
        seal(chunk)
    with pytest.raises(sweeps.StoreError, match=f"{message} 1"):
        stored(tmp_path, resume=True)
    manifest["format"] = 3
    path.write_text(json.dumps({**manifest, "sha256": sha256_of_json(manifest)}))
    with pytest.raises(sweeps.StoreError, match=f"{message} 3"):
        stored(tmp_path, resume=True)


@pytest.mark.parametrize("kind", ["pipe", "device"])
@pytest.mark.parametrize("name", ["manifest.json", "chunk-1.npz", "chunk-1.sha256"])
def test_what_is_no_file_is_not_read(tmp_path, name, kind):
    first = stored(tmp_path)
    path = tmp_path / name
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    warning = sweeps.ManifestWarning if name == "manifest.json" else sweeps.ChunkWarning
    with pytest.warns(warning, match="expected a plain file, got a"):
        assert_same_bytes(stored(tmp_path, resume=True), first)


def test_a_folder_in_place_of_the_manifest_is_one_sentence(tmp_path):
    stored(tmp_path)
    path = tmp_path / "manifest.json"
    path.unlink()
    path.mkdir()
    with (
        pytest.raises(OSError, match=f"folder: expected .* got {tmp_path} "),
        pytest.warns(sweeps.ManifestWarning, match="expected a plain file, got a folder"),
    ):
        stored(tmp_path, resume=True)


def test_a_chunk_that_lies_about_its_size_is_computed_again(tmp_path):
    first = stored(tmp_path)
    path = tmp_path / "chunk-1.npz"
    arrays = read_arrays(path)
    with path.open("r+b") as file:
        file.truncate(2**40)  # a sparse file: it takes no room on the disk
    (tmp_path / "chunk-1.sha256").write_text("0  chunk-1.npz\n")
    with pytest.warns(sweeps.ChunkWarning, match="expected at most .* bytes, got 1099511627776"):
        assert_same_bytes(stored(tmp_path, resume=True), first)
    write_arrays(path, {**arrays, "leaf_3": np.zeros(10**6)}, is_compressed=True)
    seal(path)
    with pytest.warns(sweeps.ChunkWarning, match="bytes unpacked, got"):
        assert_same_bytes(stored(tmp_path, resume=True), first)


def test_a_manifest_is_not_made_again_from_a_chunk_that_pretends_to_be_huge(tmp_path):
    first = stored(tmp_path)
    (tmp_path / "manifest.json").unlink()
    with (tmp_path / "chunk-0.npz").open("r+b") as file:
        file.truncate(2**43)
    with (
        pytest.warns(sweeps.ManifestWarning, match="made again from the chunks"),
        pytest.warns(sweeps.ChunkWarning, match="chunk-0.npz: damaged .expected at most"),
    ):
        assert_same_bytes(stored(tmp_path, resume=True), first)


def test_a_second_run_in_the_folder_is_refused(tmp_path):
    errors = []

    def begin_another(done, total):
        with pytest.raises(BlockingIOError, match=f"no other run uses, got {tmp_path}") as error:
            stored(tmp_path, resume=True)
        errors.append(error)

    result = stored(tmp_path, progress=begin_another)
    assert len(errors) == 4
    assert_same_bytes(stored(tmp_path, resume=True), result)


def test_a_folder_that_cannot_be_written_to_is_refused_before_the_computation(tmp_path, count):
    file = tmp_path / "file"
    file.write_text("")
    for folder in (file, file / "below"):
        with pytest.raises(OSError, match=f"folder: expected a folder .* got {folder} ") as error:
            stored(folder)
        assert "\n" not in str(error.value)
    assert count == []


def read_only(monkeypatch):
    """Every lock is refused as on a disk that is mounted read-only; root may write anywhere."""

    def refused(folder, argument="folder"):
        raise disk_error(OSError(errno.EROFS, "Read-only file system"), folder, argument)

    monkeypatch.setattr(sweeps._store, "FolderLock", refused)


def test_a_finished_sweep_is_read_from_a_read_only_folder(tmp_path, monkeypatch, count):
    first = stored(tmp_path)
    count.clear()
    read_only(monkeypatch)
    assert_same_bytes(stored(tmp_path, resume=True), first)
    (tmp_path / "chunk-3.sha256").unlink()
    with pytest.raises(OSError, match=rf"got {tmp_path} \(Read-only file system\)"):
        stored(tmp_path, resume=True)
    assert count == []
    with pytest.raises(OSError, match="Read-only file system"):
        stored(tmp_path / "new")


def test_a_full_disk_is_one_sentence_that_names_the_folder(tmp_path, monkeypatch):
    def full(path, arrays):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(sweeps._store, "write_arrays", full)
        with pytest.raises(OSError, match=rf"got {tmp_path} \(No space left.*free some space") as e:
            stored(tmp_path)
    assert e.value.errno == errno.ENOSPC
    assert "\n" not in str(e.value)
    assert_same_bytes(stored(tmp_path, resume=True), nce_jax.sweep(fn, axes=grid(), max_lanes=4))


def test_what_a_killed_process_left_is_removed(tmp_path):
    stored(tmp_path)
    left = [tmp_path / ".chunk-0.npz.1234.tmp", tmp_path / ".manifest.json.99.tmp"]
    for path in left:
        path.write_text("half")
    stored(tmp_path, resume=True)
    assert not any(tmp_path.glob(".*"))


def test_limits_may_be_integers_of_numpy(tmp_path):
    limits = {"max_lanes": np.int64(4), "memory_limit": np.int64(10**9)}
    axes = {"lane": jnp.arange(8.0)}
    result = nce_jax.sweep(
        lambda lane: lane**2, axes=axes, folder=tmp_path / "s", progress=False, **limits
    )
    np.testing.assert_array_equal(result.values, np.arange(8.0) ** 2)
