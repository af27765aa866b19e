"""Files are there as a whole or not at all, only plain ones are read; a folder has one writer."""

import errno
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nce_jax import _disk
from nce_jax._disk import (
    DamagedFileError,
    FolderLock,
    errors_name,
    is_full,
    move_aside,
    parse_json,
    read_json,
    remove,
    remove_temporary_files,
    sha256,
    sha256_of_json,
    write_atomic,
)

ROOT = Path(__file__).parents[1]


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


def test_temporary_files_of_killed_processes_are_removed_and_no_others(tmp_path):
    """The killed process is stopped in the middle of a write."""
    code = "\n".join(
        [
            "import os, sys, signal",
            "from pathlib import Path",
            "from nce_jax._disk import write_atomic",
            "write = lambda file: os.kill(os.getpid(), signal.SIGKILL)",
            f"write_atomic(Path({str(tmp_path)!r}) / 'result.json', write)",
        ]
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == -9
    (temporary,) = tmp_path.iterdir()
    for name in ("metrics.jsonl", ".hidden", ".note.tmp", "a.1.tmp"):
        (tmp_path / name).touch()
    remove_temporary_files(tmp_path)
    assert not temporary.exists()
    assert len(list(tmp_path.iterdir())) == 4
    remove_temporary_files(tmp_path / "no such folder")


def make_fifo(path):
    os.mkfifo(path)


def make_device(path):
    path.symlink_to("/dev/zero")


NOT_PLAIN = {
    "a named pipe": make_fifo,
    "a device": make_device,
    "a folder": Path.mkdir,
    "a link to nothing": lambda path: path.symlink_to("nothing"),
}


@pytest.mark.parametrize("kind", NOT_PLAIN)
def test_only_plain_files_are_read(tmp_path, kind):
    NOT_PLAIN[kind](tmp_path / "file")
    for read in (read_json, sha256):
        with pytest.raises(DamagedFileError, match=f"file: expected a plain file, got {kind}"):
            read(tmp_path / "file")


def test_a_file_of_an_impossible_size_is_refused_before_it_is_read(tmp_path):
    with (tmp_path / "file").open("wb") as file:
        file.truncate(2**36)  # sparse: it takes no space
    with pytest.raises(DamagedFileError, match=r"file: expected at most 268435456 bytes, got 687"):
        read_json(tmp_path / "file")
    with pytest.raises(DamagedFileError, match=r"file: expected at most 10 bytes, got 687"):
        sha256(tmp_path / "file", 10)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[" * 100_000, "nested too deeply"),
        ('{"step": 1}'.encode("utf-16"), "not UTF-8"),
        (b'{"step": ', r"other text \(Expecting value: line 1 column 10"),
        (b'{"step": ' + b"1" * 5000 + b"}", "integer string conversion"),
        (b"", "Expecting value"),
    ],
)
def test_whatever_is_wrong_with_a_json_text_is_one_error_that_names_it(tmp_path, content, reason):
    with pytest.raises(ValueError, match=f"line 3: expected JSON, got .*{reason}"):
        parse_json(content, "line 3")
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(DamagedFileError, match=f"{tmp_path}/file: expected JSON, got .*{reason}"):
        read_json(tmp_path / "file")


@pytest.mark.parametrize("kind", [*NOT_PLAIN, "a file", "nothing"])
def test_whatever_there_is_can_be_removed(tmp_path, kind):
    path = tmp_path / "file"
    {**NOT_PLAIN, "a file": Path.touch, "nothing": lambda path: None}[kind](path)
    remove(path)
    assert not os.path.lexists(path)
    assert Path("/dev/zero").exists()


def test_the_digest_of_a_json_value_does_not_depend_on_the_order_of_keys():
    assert sha256_of_json({"a": 1, "b": [2]}) == sha256_of_json({"b": [2], "a": 1})
    assert sha256_of_json({"a": 1, "b": [2]}) != sha256_of_json({"a": 1, "b": [3]})


def test_damaged_files_are_moved_to_names_that_are_free(tmp_path):
    for expected in ("file.damaged", "file.damaged-2", "file.damaged-3"):
        (tmp_path / "file").write_text(expected)
        assert move_aside(tmp_path / "file").name == expected
        assert (tmp_path / expected).read_text() == expected


@pytest.mark.parametrize(
    ("number", "kind", "cure"),
    [
        (errno.ENOSPC, OSError, "free some space"),
        (errno.EROFS, OSError, "where you may write"),
        (errno.EACCES, PermissionError, "where you may write"),
        (errno.ENOTDIR, NotADirectoryError, "a path that is not a file"),
    ],
)
def test_errors_of_the_disk_are_one_sentence_with_the_folder_and_the_cure(number, kind, cure):
    with pytest.raises(kind) as caught, errors_name(Path("runs/7")), errors_name(Path("other")):
        raise OSError(number, os.strerror(number), "runs/7/checkpoints/x")
    expected = "folder: expected a folder that can be written to, got other "
    assert str(caught.value).startswith(f"{expected}({os.strerror(number)}); ")
    assert cure in str(caught.value)
    assert caught.value.errno == number
    assert is_full(caught.value) == (number == errno.ENOSPC)


def test_a_full_disk_is_found_among_the_causes():
    error = ValueError("writing failed")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert is_full(error)
    assert not is_full(ValueError("writing failed"))


def test_a_folder_has_one_user_at_a_time(tmp_path):
    folder = tmp_path / "new"
    with (
        FolderLock(folder),
        pytest.raises(
            BlockingIOError,
            match=rf"folder: expected a folder that no other run uses, got {folder}, which is in"
            rf" use by process {os.getpid()} on .*\(this process\); wait until it ends",
        ),
    ):
        FolderLock(folder)
    assert list(folder.iterdir()) == []
    lock = FolderLock(folder)
    lock.release()
    lock.release()
    FolderLock(folder).release()


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_lock_on_a_file_that_was_just_removed_is_taken_again(tmp_path, monkeypatch, is_replaced):
    """Its holder gave it back between our opening and our locking, and another run may follow."""
    opened, open_file = [], os.open

    def open_and_lose(path, *options):
        opened.append(open_file(path, *options))
        if len(opened) == 1:
            os.unlink(path)
            if is_replaced:
                os.close(open_file(path, *options))
        return opened[-1]

    monkeypatch.setattr(os, "open", open_and_lose)
    lock = FolderLock(tmp_path)
    monkeypatch.undo()
    assert len(opened) == 2
    with pytest.raises(BlockingIOError):
        FolderLock(tmp_path)
    lock.release()


HOLD = """
import sys, time
from pathlib import Path
from nce_jax._disk import FolderLock
lock = FolderLock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(600)
"""


def test_a_killed_process_holds_no_lock(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    holder = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(BlockingIOError, match=f"in use by process {holder.pid} on "):
            FolderLock(tmp_path)
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    FolderLock(tmp_path).release()


def test_a_forked_worker_does_not_keep_the_lock(tmp_path):
    code = HOLD.replace("print", "import os\nif os.fork() == 0: time.sleep(600)\nprint")
    command = [sys.executable, "-c", code, str(tmp_path)]
    holder = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert holder.stdout.readline() == b"held\n"
        time.sleep(0.1)  # the child closes its copy
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        FolderLock(tmp_path).release()
    finally:
        os.killpg(holder.pid, signal.SIGKILL)
        holder.stdout.close()


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_folder_that_cannot_be_is_one_sentence(tmp_path, place):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="output: expected a folder that can be written to, got "):
        FolderLock(tmp_path / place, "output")


def test_a_full_disk_refuses_the_lock_and_leaves_nothing(tmp_path, monkeypatch):
    def write(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError, match=rf"got {tmp_path} \(No space left on device\); free some"):
        FolderLock(tmp_path)
    monkeypatch.undo()
    FolderLock(tmp_path).release()


def test_a_file_system_without_locks_is_warned_of(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(_disk.fcntl, "flock", flock)
    with pytest.warns(RuntimeWarning, match="make sure that no other run writes there"):
        FolderLock(tmp_path).release()
