"""Published image sets: found, downloaded, verified and parsed, with every way to fail."""

import gzip
import hashlib
import http.server
import io
import os
import threading
import time
from functools import partial

import numpy as np
import pytest

from experiments.common import idx, mnist_images, published

REAL_DATA = os.environ.get(mnist_images.VARIABLE)
NUM_IMAGES = 3
CLOSED = (  # the discard port, where nothing listens: a machine without a network
    "http://127.0.0.1:9/"
)


def idx_bytes(values, type_code=8):
    """The idx format written with NumPy, independently of the parser."""
    sizes = np.array(values.shape, ">u4").tobytes()
    return bytes([0, 0, type_code, values.ndim]) + sizes + values.tobytes()


def arrays():
    images = np.random.default_rng(0).integers(0, 256, (NUM_IMAGES, 28, 28), np.uint8)
    return images, np.array([5, 0, 4], np.uint8)


@pytest.fixture
def contents():
    """The compressed test images and labels of a small set, by file name."""
    names = ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")
    return {
        name: gzip.compress(idx_bytes(values), mtime=0)
        for name, values in zip(names, arrays(), strict=True)
    }


@pytest.fixture
def publish(contents, tmp_path, monkeypatch):
    """Publishes the small set as "mnist" at the given mirrors, with an empty cache.

    NCE_JAX_DATA is not set.
    """
    monkeypatch.delenv(mnist_images.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")

    def publish(*mirrors):
        files = [
            published.PublishedFile(
                "mnist", name, len(content), hashlib.sha256(content).hexdigest(), mirrors
            )
            for name, content in contents.items()
        ]
        monkeypatch.setitem(mnist_images.SETS, "mnist", {"test": mnist_images.ImageFiles(*files)})

    publish(CLOSED)
    return publish


@pytest.fixture
def folder(contents, publish, tmp_path, monkeypatch):
    """Sets NCE_JAX_DATA to a folder with the small set, and returns the set's folder in it."""
    monkeypatch.setenv(mnist_images.VARIABLE, str(tmp_path / "data"))
    return write(tmp_path / "data" / "mnist", contents)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache" / "nce_jax" / "mnist"


@pytest.fixture
def serve(tmp_path):
    """Serves files over HTTP; returns the address and a list that grows with every request."""
    servers = []

    def serve(files, label):
        requests, root = [], write(tmp_path / label, files)

        class Handler(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *_):
                requests.append(self.path)

        server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), partial(Handler, directory=str(root))
        )
        threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/", requests

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def write(folder, files):
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def check(loaded):
    for actual, expected in zip(loaded, arrays(), strict=True):
        assert actual.dtype == np.uint8
        np.testing.assert_array_equal(actual, expected)


def test_reads_from_the_users_folder_without_a_network(folder, cache):
    check(mnist_images.load_images("mnist", split="test"))
    assert not cache.exists()


def test_downloads_once_into_the_cache(publish, serve, contents, cache):
    address, requests = serve(contents, "mirror")
    publish(address)
    for _ in range(2):
        check(mnist_images.load_images("mnist", split="test"))
    assert len(requests) == 2
    assert {path.name: path.read_bytes() for path in cache.iterdir()} == contents


def test_a_set_that_is_not_in_the_users_folder_is_downloaded(
    folder, publish, serve, contents, cache
):
    publish(serve(contents, "mirror")[0])
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    check(mnist_images.load_images("mnist", split="test"))
    assert [path.name for path in cache.iterdir()] == ["t10k-labels-idx1-ubyte.gz"]


def damaged(content, how):
    return {"truncated": content[:-7], "altered": content[:-9] + b"\0" + content[-8:]}[how]


@pytest.mark.parametrize("how", ["truncated", "altered"])
def test_a_damaged_file_in_the_users_folder_is_an_error_and_stays(
    folder, publish, serve, contents, how
):
    publish(serve(contents, "mirror")[0])
    path = folder / "t10k-images-idx3-ubyte.gz"
    wrong, right = damaged(path.read_bytes(), how), path.read_bytes()
    path.write_bytes(wrong)
    expected = f"{len(right):,} bytes with sha256 {hashlib.sha256(right).hexdigest()}"
    message = (
        rf"{path}: {how}: {len(wrong):,} bytes .*, expected {expected}\. Put"
        rf" .*http://127.*{mnist_images.VARIABLE}"
    )
    with pytest.raises(mnist_images.DataError, match=message):
        mnist_images.load_images("mnist", split="test")
    assert path.read_bytes() == wrong


@pytest.mark.parametrize("how", ["truncated", "altered"])
def test_a_damaged_file_in_the_cache_is_reported_and_replaced(publish, serve, contents, cache, how):
    name = "t10k-images-idx3-ubyte.gz"
    write(cache, contents | {name: damaged(contents[name], how)})
    address, requests = serve(contents, "mirror")
    publish(address)
    with pytest.warns(UserWarning, match=f"{name}: {how}.*Downloading it again"):
        check(mnist_images.load_images("mnist", split="test"))
    assert len(requests) == 1
    assert (cache / name).read_bytes() == contents[name]


def test_the_next_mirror_serves_where_the_first_is_gone_or_wrong(publish, serve, contents):
    wrong = dict.fromkeys(contents, b"<html>log in to this network</html>" * 400)
    good, requests = serve(contents, "good")
    publish(CLOSED, serve({}, "empty")[0], serve(wrong, "wrong")[0], good)
    check(mnist_images.load_images("mnist", split="test"))
    assert len(requests) == 2


def test_without_network_the_error_says_what_to_do(
    publish, serve, contents, cache, tmp_path, monkeypatch
):
    name = "t10k-images-idx3-ubyte.gz"
    short = serve({name: damaged(contents[name], "truncated")}, "short")[0]
    publish(CLOSED, serve({}, "empty")[0], short)
    monkeypatch.setenv(mnist_images.VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(mnist_images.DataError) as caught:
        mnist_images.load_images("mnist", split="test")
    lines = str(caught.value).splitlines()
    digest = hashlib.sha256(contents[name]).hexdigest()
    assert (
        lines[0]
        == f"mnist/{name}: not found, expected {len(contents[name]):,} bytes with sha256 {digest}."
        " Tried:"
    )
    assert lines[1] == f"  {tmp_path}/nowhere/mnist/{name}: no such file"
    assert lines[2] == f"  {cache}/{name}: no such file"
    assert f"{CLOSED}{name}: <urlopen error" in lines[3]
    assert "HTTP Error 404" in lines[4]
    assert f"{short}{name}: truncated" in lines[5]
    assert lines[6].startswith(f"Put the published file ({CLOSED}{name} or http")
    assert lines[6].endswith(f" in mnist/ below the folder that {mnist_images.VARIABLE} names.")
    assert not list(cache.glob("*"))


def test_a_mirror_that_never_answers_is_given_up(publish, monkeypatch):
    monkeypatch.setattr(published, "TIMEOUT_SECONDS", 0.2)
    # Listens, never accepts.
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    publish(f"http://127.0.0.1:{server.server_port}/")
    start = time.monotonic()
    with server, pytest.raises(mnist_images.DataError, match="timed out"):
        mnist_images.load_images("mnist", split="test")
    assert time.monotonic() - start < 5


def test_a_mirror_that_never_ends_is_cut_off(publish, contents, monkeypatch):
    """At most one byte more than the published file is read, whatever a mirror sends."""
    read = []

    class Endless(io.RawIOBase):
        def read(self, count=-1):
            assert count >= 0
            read.append(count)
            assert sum(read) < 10**6, "read on without a limit"
            return bytes(count)

    monkeypatch.setattr(published.urllib.request, "urlopen", lambda *_, **__: Endless())
    publish("http://endless/")
    with pytest.raises(mnist_images.DataError, match="altered: more than .* bytes"):
        mnist_images.load_images("mnist", split="test")
    assert sum(read) == len(contents["t10k-images-idx3-ubyte.gz"]) + 1


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_file_is_refused_and_not_read(folder, kind):
    path = folder / "t10k-images-idx3-ubyte.gz"
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(mnist_images.DataError, match=f"{path}: cannot be read .*a plain file, got"):
        mnist_images.load_images("mnist", split="test")


def test_a_file_that_is_too_large_is_not_read_to_its_end(folder):
    path = folder / "t10k-images-idx3-ubyte.gz"
    with path.open("r+b") as file:
        file.truncate(2**40)  # a sparse file: it takes no room on the disk
    with pytest.raises(mnist_images.DataError, match="altered: more than"):
        mnist_images.load_images("mnist", split="test")


def test_an_idx_file_that_explodes_or_lies_is_refused(monkeypatch):
    with pytest.raises(idx.IdxError, match="values: expected 6 for shape .2, 3., got 7"):
        idx.parse_gzip(
            gzip.compress(idx_bytes(np.zeros((2, 3), np.uint8)) + bytes(10**7)), num_axes=2
        )
    claims = bytes([0, 0, 8, 3]) + b"\xff\xff\xff\xff" * 3
    with pytest.raises(idx.IdxError, match="shape: expected at most 268,435,456 values, got"):
        idx.parse_gzip(gzip.compress(claims + bytes(100)), num_axes=3)


def test_a_cache_that_cannot_be_written_costs_only_the_cache(
    publish, serve, contents, tmp_path, monkeypatch
):
    publish(serve(contents, "mirror")[0])
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="cannot be cached"):
        check(mnist_images.load_images("mnist", split="test"))


def test_what_cannot_be_read_is_named(folder):
    path = folder / "t10k-images-idx3-ubyte.gz"
    path.unlink()
    path.mkdir()
    with pytest.raises(mnist_images.DataError, match=f"{path}: cannot be read"):
        mnist_images.load_images("mnist", split="test")


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for value in ("", "relative"):  # the XDG specification has relative paths ignored
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert published.cache_folder() == tmp_path / ".cache" / "nce_jax"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert published.cache_folder() == tmp_path / ".cache" / "nce_jax"


def test_images_and_labels_must_match(contents, publish, tmp_path, monkeypatch):
    contents["t10k-labels-idx1-ubyte.gz"] = gzip.compress(idx_bytes(np.zeros(4, np.uint8)))
    publish(CLOSED)
    write(tmp_path / "data" / "mnist", contents)
    monkeypatch.setenv(mnist_images.VARIABLE, str(tmp_path / "data"))
    with pytest.raises(
        mnist_images.DataError, match=r"expected shape \(4, 28, 28\), .*got shape \(3, 28, 28\)"
    ):
        mnist_images.load_images("mnist", split="test")


def test_a_wrong_format_under_the_right_digest_is_named(contents, publish, tmp_path, monkeypatch):
    name = "t10k-labels-idx1-ubyte.gz"
    contents[name] = gzip.compress(idx_bytes(np.zeros((3, 1), np.uint8)))
    publish(CLOSED)
    write(tmp_path / "data" / "mnist", contents)
    monkeypatch.setenv(mnist_images.VARIABLE, str(tmp_path / "data"))
    with pytest.raises(
        mnist_images.DataError, match=f"mnist/{name}: number of axes: expected 1, got 2"
    ):
        mnist_images.load_images("mnist", split="test")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "cifar"}, "name: expected one of 'mnist', 'fashion-mnist', got 'cifar'"),
        (
            {"name": "mnist", "split": "valid"},
            "split: expected one of 'train', 'test', got 'valid'",
        ),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        mnist_images.load_images(**arguments)


@pytest.mark.parametrize("shape", [(3,), (0,), (2, 3), (2, 3, 4)])
def test_parser_returns_what_was_written(shape):
    values = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    actual = idx.parse_gzip(gzip.compress(idx_bytes(values)), num_axes=len(shape))
    np.testing.assert_array_equal(actual, values)
    assert actual.dtype == np.uint8
    assert actual.flags.writeable


GOOD = idx_bytes(np.zeros((2, 3), np.uint8))
ZIPPED = gzip.compress(GOOD, mtime=0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "magic number: expected 00 00 08 02, got nothing"),
        (b"\0\0\x08", "magic number"),
        (b"\x01" + GOOD[1:], "magic number: expected 00 00 08 02, got 01 00 08 02"),
        (
            idx_bytes(np.zeros((2, 3), ">f4"), type_code=13),
            r"type of the values: expected 8 \(unsigned bytes\), got 13",
        ),
        (idx_bytes(np.zeros(6, np.uint8)), "number of axes: expected 2, got 1"),
        (GOOD[:9], "header: expected 12 bytes, got 9"),
        (GOOD[:-1], r"values: expected 6 for shape \(2, 3\), got 5"),
        (GOOD + b"\0", r"values: expected 6 for shape \(2, 3\), got 7"),
        # Sizes whose product overflows 64 bits must not wrap round to the number of values.
        (bytes([0, 0, 8, 2]) + b"\x80\0\0\0" * 2, r"shape: expected at most 268,435,456 values"),
    ],
    ids=[
        "empty",
        "too short",
        "not zero",
        "type",
        "axes",
        "no sizes",
        "too few",
        "too many",
        "overflow",
    ],
)
def test_parser_names_what_is_wrong(content, message):
    with pytest.raises(idx.IdxError, match=message):
        idx.parse(content, num_axes=2)


@pytest.mark.parametrize(
    "content",
    [b"", GOOD, ZIPPED[:-5], ZIPPED[:-8] + bytes(8), ZIPPED[:10] + b"\xff" * 30],
    ids=["empty", "not compressed", "truncated", "wrong checksum", "wrong blocks"],
)
def test_what_is_not_gzip_is_named(content):
    with pytest.raises(idx.IdxError, match="gzip: expected a whole|magic number: .*got nothing"):
        idx.parse_gzip(content, num_axes=2)


@pytest.mark.skipif(not REAL_DATA, reason=f"{mnist_images.VARIABLE} is not set")
@pytest.mark.parametrize(
    ("name", "split", "num_images", "first_labels"),
    [
        ("mnist", "train", 60_000, [5, 0, 4, 1, 9]),
        ("mnist", "test", 10_000, [7, 2, 1, 0, 4]),
        ("fashion-mnist", "train", 60_000, [9, 0, 0, 3, 0]),
        ("fashion-mnist", "test", 10_000, [9, 2, 1, 1, 6]),
    ],
)
def test_the_published_sets(name, split, num_images, first_labels):
    images, labels = mnist_images.load_images(name, split=split)
    assert images.shape == (num_images, 28, 28)
    assert images.dtype == labels.dtype == np.uint8
    assert labels[:5].tolist() == first_labels
    assert set(labels.tolist()) == set(range(10))
    if name == "fashion-mnist":
        assert (np.bincount(labels) == num_images // 10).all()
    if (name, split) == ("mnist", "train"):  # the mean gray level that everybody normalizes by
        assert f"{images.mean() / 255:.4f}" == "0.1307"


def test_digests_are_of_eight_different_files():
    files = [
        file
        for name in mnist_images.SETS
        for pair in mnist_images.SETS[name].values()
        for file in pair
    ]
    assert len({file.sha256 for file in files}) == 8
    for file in files:
        assert len(file.sha256) == 64
        assert all(mirror.startswith("http") and mirror.endswith("/") for mirror in file.mirrors)
