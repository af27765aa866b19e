"""Files that are there as a whole or not at all, and their digests."""

import hashlib

import pytest

from nce_jax._disk import sha256, write_atomic


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("text with ü\n", "text with ü\n".encode()),
        (b"\x00bytes", b"\x00bytes"),
        (lambda file: file.write(b"written"), b"written"),
    ],
)
def test_text_bytes_and_writers_replace_the_file(tmp_path, content, expected):
    path = tmp_path / "new" / "file"
    for _ in range(2):
        write_atomic(path, content)
        assert path.read_bytes() == expected
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]
    assert sha256(path) == hashlib.sha256(expected).hexdigest()


def test_a_writer_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    write_atomic(path, "old")

    def fail(file):
        file.write(b"half of the n")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomic(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
