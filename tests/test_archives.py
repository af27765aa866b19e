"""Archives come back as they were written; what is damaged, lies or explodes is refused."""

import io
import os
import struct
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest

from nce_jax import _archives
from nce_jax._archives import read_arrays, write_arrays
from nce_jax._disk import DamagedFileError, memory_bytes

ARRAYS = {
    "a": np.arange(6.0).reshape(2, 3),
    "half": np.asarray(jnp.ones(3, jnp.bfloat16)).view("V2"),
    "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "none": np.zeros((0, 3)),
    "scalar": np.array(2.5),
    "text": np.array(["one", "three"]),
    "flags": np.array([True, False]),
}
NAMED = r"a\.npz(: expected a NumPy archive|, \S+: expected .*), got"


def test_what_is_read_as_a_whole_fits_into_memory(tmp_path, monkeypatch):
    assert 2**28 < memory_bytes() < 2**50
    write_arrays(tmp_path / "a.npz", {"x": np.zeros(100)})
    monkeypatch.setattr(_archives, "memory_bytes", lambda: 900)
    with pytest.raises(DamagedFileError, match=r"a.npz, .*at most 900 bytes unpacked, got 928"):
        read_arrays(tmp_path / "a.npz")


@pytest.mark.parametrize("is_compressed", [False, True])
def test_arrays_come_back(tmp_path, is_compressed):
    path = tmp_path / "a.npz"
    write_arrays(path, ARRAYS, is_compressed)
    actual = read_arrays(path, 10_000)
    assert actual.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert (actual[name].dtype, actual[name].shape) == (array.dtype, array.shape)
        assert actual[name].tobytes() == array.tobytes()
        assert actual[name].flags.writeable
    if not is_compressed:
        assert read_arrays(path).keys() == ARRAYS.keys()


def test_no_single_bit_changes_a_number_in_silence(tmp_path):
    path = tmp_path / "a.npz"
    write_arrays(path, {"a": np.arange(3.0), "b": np.array([7])})
    content = path.read_bytes()
    refused = 0
    for index in range(len(content)):
        flipped = bytearray(content)
        flipped[index] ^= 1 << index % 8
        path.write_bytes(flipped)
        try:
            actual = read_arrays(path)
        except DamagedFileError:
            refused += 1
            continue
        assert {name: array.tolist() for name, array in actual.items()} == {
            "a": [0.0, 1.0, 2.0],
            "b": [7],
        }
    assert refused > len(content) / 2


@pytest.mark.parametrize("keep", [0, 1, 30, 200, -1])
def test_a_truncated_archive_is_named(tmp_path, keep):
    path = tmp_path / "a.npz"
    write_arrays(path, ARRAYS)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DamagedFileError, match=NAMED):
        read_arrays(path)


def member(array_header: str, content: bytes = b"") -> bytes:
    text = array_header.encode().ljust(118 - 1) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + content


def header(shape: str, dtype: str = "<f8") -> str:
    return f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (header("(5000000000000,)"), r"24 bytes of numbers, got float64\(5000000000000,\)"),
        (header("(-3,)"), r"got float64\(-3,\)"),
        (header(f"({10**30},)"), "expected 24 bytes of numbers"),
        (header("(1,)", "|O"), "object"),
        ("(" * 100, "expected a NumPy archive"),
    ],
)
def test_a_header_that_lies_is_refused_before_memory_is_taken(tmp_path, text, reason):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", member(text, bytes(24)))
    with pytest.raises(DamagedFileError, match=reason):
        read_arrays(path)


def test_an_archive_that_explodes_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    write_arrays(path, {"a": np.zeros(10**6)}, is_compressed=True)
    assert path.stat().st_size < 10**5
    for limit in (None, 10**6):
        with pytest.raises(DamagedFileError, match="bytes unpacked, got 8000128"):
            read_arrays(path, limit)
    # A directory that says less than there is in the archive.
    content = path.read_bytes().replace(struct.pack("<I", 8_000_128), struct.pack("<I", 152))
    path.write_bytes(content)
    with pytest.raises(DamagedFileError):
        read_arrays(path, 10**6)


@pytest.mark.parametrize("kind", ["lzma", "text", "twice", "not a zip"])
def test_other_archives_are_refused(tmp_path, kind):
    path, array = tmp_path / "a.npz", io.BytesIO()
    np.save(array, np.arange(3.0))
    if kind == "not a zip":
        path.write_bytes(array.getvalue())
    else:
        compression = zipfile.ZIP_LZMA if kind == "lzma" else zipfile.ZIP_STORED
        with zipfile.ZipFile(path, "w", compression) as archive:
            archive.writestr("a.txt" if kind == "text" else "a.npy", array.getvalue())
            if kind == "twice":
                with pytest.warns(UserWarning, match="Duplicate name"):
                    archive.writestr("a.npy", array.getvalue())
    with pytest.raises(DamagedFileError, match=NAMED):
        read_arrays(path, 10**6)


def test_what_is_no_file_is_refused_and_not_read(tmp_path):
    pipe, device = tmp_path / "pipe.npz", tmp_path / "device.npz"
    os.mkfifo(pipe)
    device.symlink_to("/dev/zero")
    for path in (pipe, device, tmp_path):
        with pytest.raises(DamagedFileError, match=f"{path}: expected a plain file, got"):
            read_arrays(path)
    with pytest.raises(FileNotFoundError):
        read_arrays(tmp_path / "none.npz")
