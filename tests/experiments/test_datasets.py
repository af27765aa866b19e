"""Loaders of published sets on small files of the same formats, whole and damaged in every way."""

import gzip
import hashlib
import io
import json
import os
import tarfile
import zipfile

import numpy as np
import pytest
import scipy.io
from PIL import Image

from experiments.common import published
from experiments.common.datasets import (
    adbench,
    celeba,
    cifar10,
    cifar10_binary,
    cifar10_png,
    design_bench,
    imagenet64,
    members,
    npy,
    pictures,
    prepared,
    squares,
    svhn,
)
from experiments.common.datasets.origin import VARIABLE, DataError

REAL_DATA = os.environ.get(VARIABLE)
needs_data = pytest.mark.skipif(not REAL_DATA, reason=f"{VARIABLE} is not set")


@pytest.fixture
def data(tmp_path, monkeypatch):
    """The folder that NCE_JAX_DATA names, with an empty cache and no network."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(published, "_fetch", lambda *_: refuse())
    return tmp_path / "data"


def refuse():
    raise OSError("no network in tests")


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def encode(image, kind="PNG", **options):
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **options)
    return file.getvalue()


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def zipped(path, files, method=zipfile.ZIP_DEFLATED):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def saved(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


# ---- members of folders and archives


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_members_of_a_folder_and_of_an_archive_are_the_same(tmp_path, kind):
    files = {"b/2.png": b"two", "a/1.png": b"one", "__MACOSX/x.png": b"", "a/.hidden.png": b""}
    if kind == "zip":
        path = zipped(tmp_path / "set.zip", files)
    else:
        path = tmp_path / "set"
        for name, content in files.items():
            put(path / name, content)
    with members.open_members(path) as found:
        assert found.names == ("a/1.png", "b/2.png")
        assert found.read("b/2.png") == b"two"
        assert found.identity("b/2.png")[:2] == ["b/2.png", 3]
        with pytest.raises(DataError, match="expected at most 2 bytes, got 3"):
            found.read("b/2.png", 2)


@pytest.mark.parametrize(
    "name", ["../x.png", "/etc/x.png", "a/../../x.png", "..\\x.png", "c:/x.png"]
)
def test_names_that_lead_out_of_an_archive_are_refused(tmp_path, name):
    path = zipped(tmp_path / "set.zip", {"a.png": b"", name: b""})
    with (
        pytest.raises(DataError, match="set.zip: expected names below the archive, got"),
        members.open_members(path),
    ):
        pass


def test_a_name_that_is_there_twice_is_refused(tmp_path):
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.png", b"2")
    with pytest.raises(DataError, match="every name once"), members.open_members(path):
        pass


def lying(tmp_path, claimed, method):
    """An archive whose member is 1,000 bytes long and claims another size, in both headers."""
    path = zipped(tmp_path / "set.zip", {"a.png": bytes(1000)}, method)
    content = bytearray(path.read_bytes())
    true = (1000).to_bytes(4, "little")
    directory = content.rindex(b"PK\x01\x02")
    places = [22, directory + 24] if method else [18, 22, directory + 20, directory + 24]
    for place in places:
        assert content[place : place + 4] == true
        content[place : place + 4] = claimed.to_bytes(4, "little")
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("claimed", [10, 1100, 2**31])
def test_a_member_that_lies_about_its_size_is_refused(tmp_path, claimed, method):
    path = lying(tmp_path, claimed, method)
    with pytest.raises(DataError, match="set.zip"), members.open_members(path) as found:
        found.read("a.png")


@pytest.mark.parametrize("how", ["truncated", "altered", "no zip", "pipe", "missing"])
def test_a_damaged_archive_is_refused_by_name(tmp_path, how):
    path = zipped(tmp_path / "set.zip", {"a.png": bytes(1000)}, zipfile.ZIP_STORED)
    content = path.read_bytes()
    path.unlink()
    if how == "pipe":
        os.mkfifo(path)
    elif how != "missing":
        changed = {
            "truncated": content[:-60],
            "altered": content.replace(bytes(1000), bytes(999) + b"\1"),
            "no zip": b"x" * 100,
        }
        path.write_bytes(changed[how])
    with pytest.raises(DataError, match="set.zip"), members.open_members(path) as found:
        found.read("a.png")


def test_a_pipe_in_a_folder_is_refused_and_not_read(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with (
        members.open_members(tmp_path) as found,
        pytest.raises(DataError, match="expected a plain file, got a named pipe"),
    ):
        found.read("a.png")


# ---- NumPy's format and images


@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_are_parsed_as_they_were_saved(order):
    array = np.asarray(np.arange(6.0).reshape(2, 3), order=order)
    np.testing.assert_array_equal(npy.parse(saved(array), "x"), array)


def test_arrays_that_lie_or_hold_objects_are_refused():
    content = saved(np.arange(6))
    claims = content.replace(b"(6,)", b"(9,)")
    for wrong in (content[:-1], content + b"\0", claims, b"", b"text", content[:20]):
        with pytest.raises(DataError, match=r"^name: expected"):
            npy.parse(wrong, "name")
    with pytest.raises(DataError, match="expected numbers in .* got object"):
        npy.parse(saved(np.array([{}, {}], object)), "name")
    # Two addresses of objects, of the very size that the header says.
    addresses = saved(np.zeros(2, np.int64)).replace(b"'<i8'", b"'|O' ")
    with pytest.raises(DataError, match="expected numbers in 16 bytes, got object"):
        npy.parse(addresses, "name")


def test_an_image_is_decoded_without_loss_and_checked_by_size():
    image = noise(5, 7, 3)
    np.testing.assert_array_equal(pictures.decode(encode(image), "x", (5, 7)), image)
    gray = pictures.decode(encode(image[..., 0]), "x")
    np.testing.assert_array_equal(gray, np.repeat(image[..., :1], 3, axis=2))
    with pytest.raises(DataError, match="x: expected 7 x 5 pixels, got 5 x 7"):
        pictures.decode(encode(image), "x", (7, 5))
    with pytest.raises(DataError, match="x: expected 6 pixels a side or more, got 5 x 7"):
        pictures.decode(encode(image), "x", side=6)


def test_an_image_is_cropped_around_its_center():
    """218 x 178 pixels, resized to 78 x 64, lose 7 rows at each end."""
    rows = np.repeat(np.arange(218, dtype=np.uint8)[:, None], 178, axis=1)
    square = pictures.decode(encode(np.stack([rows] * 3, axis=-1)), "x", (218, 178), side=64)
    assert square.shape == (64, 64, 3)
    # The center of row k of 78 is at (k + 1/2) 218 / 78 - 1/2 of the original; gray levels there
    # are its number, and an average over a symmetric window keeps a linear function.
    expected = (np.arange(7, 71) + 0.5) * 218 / 78 - 0.5
    np.testing.assert_allclose(square[:, 30, 0], expected, atol=0.51)


def test_damaged_images_are_refused_by_name(monkeypatch):
    for kind in ("PNG", "JPEG"):
        content = encode(noise(32, 32, 3), kind)
        for wrong in (content[:-40], content[: len(content) // 2], b"", b"text" * 10):
            with pytest.raises(DataError, match="name: expected a whole PNG or JPEG image, got"):
                pictures.decode(wrong, "name")
    with pytest.raises(DataError, match="expected a whole PNG or JPEG"):
        pictures.decode(encode(noise(4, 4, 3), "BMP"), "name")
    monkeypatch.setattr(pictures, "MAX_PIXELS", 15)
    with pytest.raises(DataError, match="expected at most 15 pixels, got 4 x 4"):
        pictures.decode(encode(noise(4, 4, 3)), "name")


# ---- prepared arrays in the cache


def test_rows_are_prepared_once_and_then_read(data):
    images, calls = noise(3, 4, 4, 3), []

    def rows():
        calls.append(1)
        yield images[0]
        yield images[1:]

    for _ in range(2):
        array = prepared.load_or_make("set", {"a": 1}, images.shape, rows)
        np.testing.assert_array_equal(array, images)
        assert not array.flags.writeable
    assert len(calls) == 1
    prepared.load_or_make("set", {"a": 2}, images.shape, rows)
    assert len(calls) == 2


def cached_file(data):
    (path,) = (data.parent / "cache").rglob("*.npy")
    return path


@pytest.mark.parametrize("how", ["truncated", "altered", "no digest"])
def test_a_damaged_prepared_file_is_made_again(data, how):
    images = noise(3, 4, 4, 3)
    prepared.load_or_make("set", 1, images.shape, lambda: images)
    path = cached_file(data)
    content = path.read_bytes()
    if how == "no digest":  # a process was stopped between the two files
        path.with_suffix(".sha256").unlink()
        prepared.load_or_make("set", 1, images.shape, lambda: images)
    else:
        wrong = content[:-1] if how == "truncated" else content[:-1] + bytes([content[-1] ^ 1])
        path.write_bytes(wrong)
        with pytest.warns(UserWarning, match="expected sha256 .* prepared again"):
            array = prepared.load_or_make("set", 1, images.shape, lambda: images)
        np.testing.assert_array_equal(array, images)
    assert path.read_bytes() == content
    assert path.with_suffix(".sha256").read_text() == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("count", [2, 4])
def test_another_number_of_rows_leaves_no_file(data, count):
    with pytest.raises(DataError, match=f"expected 3 images, got {count}"):
        prepared.load_or_make("set", 1, (3, 4, 4, 3), lambda: noise(count, 4, 4, 3))
    assert not list((data.parent / "cache").rglob("*.*"))


def test_without_a_cache_rows_are_prepared_in_memory(data, monkeypatch):
    put(data.parent / "cache", b"not a folder")
    with pytest.warns(UserWarning, match="cannot be cached .* XDG_CACHE_HOME"):
        array = prepared.load_or_make("set", 1, (3, 4, 4, 3), lambda: noise(3, 4, 4, 3))
    np.testing.assert_array_equal(array, noise(3, 4, 4, 3))


# ---- CIFAR-10


@pytest.fixture
def small_cifar(monkeypatch):
    """Two records a file; images, labels and records of the training files."""
    monkeypatch.setattr(cifar10_binary, "RECORDS_PER_FILE", 2)
    images, labels = noise(10, 32, 32, 3), np.arange(10)
    digests = (cifar10.order_free_digest(images), cifar10.order_free_digest(images, labels))
    monkeypatch.setitem(cifar10.NUM_IMAGES, "train", 10)
    monkeypatch.setitem(cifar10.DIGESTS, "train", digests)
    return images, labels


def records(images, labels):
    return b"".join(
        bytes([label]) + image.transpose(2, 0, 1).tobytes()
        for image, label in zip(images, labels, strict=True)
    )


def cifar_files(images, labels):
    return {
        f"data_batch_{k + 1}.bin": records(images[2 * k : 2 * k + 2], labels[2 * k : 2 * k + 2])
        for k in range(5)
    }


def tarred(files):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def publish(monkeypatch, data, content):
    file = cifar10_binary.ARCHIVE._replace(
        num_bytes=len(content), sha256=hashlib.sha256(content).hexdigest()
    )
    monkeypatch.setattr(cifar10_binary, "ARCHIVE", file)
    return put(data / "cifar10" / file.name, content)


@pytest.mark.parametrize("where", ["archive", "files", "unpacked", "folder", "zip"])
def test_cifar_in_every_format_is_the_same_set(small_cifar, data, monkeypatch, where):
    images, labels = small_cifar
    folder, files = data / "cifar10", cifar_files(images, labels)
    by_class = {
        f"train/{cifar10_png.CLASSES[label]}/image_{label}.png": encode(image)
        for image, label in zip(images, labels, strict=True)
    }
    if where == "archive":
        publish(monkeypatch, data, tarred(files))
    elif where == "zip":
        zipped(
            folder / "cifar10.zip", {f"set-main/{name}": file for name, file in by_class.items()}
        )
    else:
        below = folder / "cifar-10-batches-bin" if where == "unpacked" else folder
        for name, content in (by_class if where == "folder" else files).items():
            put(below / name, content)
    loaded = cifar10.load_cifar10("train")
    np.testing.assert_array_equal(loaded.images, images)
    np.testing.assert_array_equal(loaded.labels, labels)
    assert loaded.labels.dtype == np.int32
    assert loaded.is_verified
    assert "the whole lossless set: 10 of 10 images" in loaded.check


def test_the_digest_depends_on_pixels_and_labels_and_not_on_the_order(small_cifar):
    images, labels = small_cifar
    order = np.random.default_rng(1).permutation(10)
    assert cifar10.compare("train", images[order], labels[order])[0]
    changed = images.copy()
    changed[3, 4, 5, 0] ^= 1
    is_whole, check = cifar10.compare("train", changed, labels)
    assert not is_whole
    assert "not the published pixels" in check
    is_whole, check = cifar10.compare("train", images, labels[order])
    assert not is_whole
    assert "other labels" in check
    is_whole, check = cifar10.compare("train", images[:9], labels[:9])
    assert not is_whole
    assert "part of the set: 9 of 10" in check


def test_damaged_cifar_files_are_refused_by_name(small_cifar, data):
    files = cifar_files(*small_cifar)
    for name, content in files.items():
        put(data / "cifar10" / name, content)
    path = data / "cifar10" / "data_batch_2.bin"
    right = path.read_bytes()
    for wrong in (right[:-1], right[:3073]):
        path.write_bytes(wrong)
        with pytest.raises(DataError, match=f"{path}: expected 6,146 bytes, .* got {len(wrong):,}"):
            cifar10.load_cifar10()
    path.write_bytes(right + b"\0\0")
    with pytest.raises(DataError, match=f"{path}: .*expected at most 6147 bytes"):
        cifar10.load_cifar10()
    path.write_bytes(right[:3073] + b"\x0a" + right[3074:])
    with pytest.raises(DataError, match=f"{path}, label of record 1: expected 0 to 9, got 10"):
        cifar10.load_cifar10()
    path.unlink()
    with pytest.raises(DataError, match=r"data_batch_2.bin.*kriz/cifar-10-binary.tar.gz.*cifar10/"):
        cifar10.load_cifar10()


def test_damaged_cifar_archives_are_refused_by_name(small_cifar, data, monkeypatch):
    files = cifar_files(*small_cifar)
    right = tarred(files)
    path = publish(monkeypatch, data, right)
    path.write_bytes(right[:-9])
    with pytest.raises(DataError, match=rf"{path}: truncated.*sha256"):
        cifar10.load_cifar10()
    # What follows has the digest that is expected, and is wrong nevertheless.
    publish(monkeypatch, data, right[: len(right) // 2])
    with pytest.raises(DataError, match=r"expected a whole tar.gz archive"):
        cifar10.load_cifar10()
    publish(monkeypatch, data, tarred({**files, "data_batch_3.bin": bytes(10**6)}))
    with pytest.raises(DataError, match=r"data_batch_3.bin: expected 6,146 bytes.* got 6,147"):
        cifar10.load_cifar10()
    del files["data_batch_3.bin"]
    publish(monkeypatch, data, tarred(files))
    with pytest.raises(DataError, match=r"expected cifar-10-batches-bin/data_batch_3.bin"):
        cifar10.load_cifar10()


def test_a_member_of_a_tar_archive_that_claims_more_than_there_is_is_refused(
    small_cifar, data, monkeypatch
):
    info = tarfile.TarInfo("cifar-10-batches-bin/data_batch_1.bin")
    info.size = 6146
    publish(monkeypatch, data, gzip.compress(info.tobuf() + bytes(1024)))
    with pytest.raises(DataError, match=r"expected a whole tar.gz archive"):
        cifar10.load_cifar10()


def test_without_cifar_the_error_names_archive_address_and_digest(data):
    with pytest.raises(DataError) as caught:
        cifar10.load_cifar10()
    for part in (
        "cifar-10-binary.tar.gz",
        "https://www.cs.toronto.edu/~kriz/",
        "c4a38c50",
        VARIABLE,
    ):
        assert part in str(caught.value)
    with pytest.raises(ValueError, match="split: expected one of 'train', 'test', got 'valid'"):
        cifar10.load_cifar10("valid")


def test_wrong_folders_of_cifar_are_named(small_cifar, data):
    path = put(data / "cifar10" / "train" / "cat" / "a.png", encode(noise(32, 31, 3)))
    with pytest.raises(DataError, match=r"a.png: expected 32 x 32 pixels, got 32 x 31"):
        cifar10.load_cifar10()
    path.unlink()
    with pytest.raises(DataError, match=r"no images train/<class>/<name>.png.*github.com/cyizhuo"):
        cifar10.load_cifar10()
    put(data / "cifar10" / "train" / "zebra" / "a.png", encode(noise(32, 32, 3)))
    with pytest.raises(DataError, match="expected folders .* got 'zebra'"):
        cifar10.load_cifar10()


def packed(images, labels):
    files = [encode(image) for image in images]
    return {
        "png": np.frombuffer(b"".join(files), np.uint8),
        "offsets": np.cumsum([0, *map(len, files)]),
        "labels": np.asarray(labels, np.uint8),
    }


def test_packed_cifar_is_read_and_checked(data):
    images, path = noise(2, 32, 32, 3), data / "cifar10" / "cifar10_train.npz"
    path.parent.mkdir(parents=True)
    right = packed(images, [3, 7])
    np.savez(path, **right)
    loaded = cifar10.load_cifar10()
    np.testing.assert_array_equal(loaded.images, images)
    assert loaded.labels.tolist() == [3, 7]
    assert not loaded.is_verified
    offsets = right["offsets"]
    for name, value, message in (
        ("labels", np.array([3, 10], np.uint8), "labels: expected 0 to 9, got 10 at 1"),
        ("labels", np.array([3], np.uint8), "offsets: expected 2 rising numbers"),
        ("offsets", offsets[[0, 2, 1]], "offsets: expected 3 rising numbers"),
        ("offsets", offsets + 1, "offsets: expected 3 rising numbers"),
        ("offsets", offsets - [0, 9, 0], "image 1: expected a whole PNG .* got another file"),
        ("png", right["png"].astype(object), "NumPy archive|expected .* bytes of numbers"),
    ):
        np.savez(path, **{**right, name: value})
        with pytest.raises(DataError, match=message):
            cifar10.load_cifar10()
    np.savez(path, png=right["png"], offsets=offsets)
    with pytest.raises(DataError, match="got no labels"):
        cifar10.load_cifar10()
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match="cifar10_train.npz: expected a NumPy archive"):
        cifar10.load_cifar10()


# ---- SVHN


def matlab(**arrays):
    file = io.BytesIO()
    scipy.io.savemat(file, arrays, do_compression=True)
    return file.getvalue()


@pytest.fixture
def publish_svhn(data, monkeypatch):
    def publish(content):
        file = svhn.FILES["test"]._replace(
            num_bytes=len(content), sha256=hashlib.sha256(content).hexdigest()
        )
        monkeypatch.setitem(svhn.FILES, "test", file)
        monkeypatch.setitem(svhn.NUM_IMAGES, "test", 2)
        return put(data / "svhn" / file.name, content)

    return publish


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_svhn_is_read_with_the_sample_axis_first_and_ten_as_zero(publish_svhn, dtype):
    images = noise(2, 32, 32, 3)
    publish_svhn(matlab(X=np.moveaxis(images, 0, -1), y=np.array([[10], [3]], dtype)))
    loaded = svhn.load_svhn("test")
    np.testing.assert_array_equal(loaded.images, images)
    assert loaded.labels.tolist() == [0, 3]
    assert loaded.labels.dtype == np.int32
    assert loaded.is_verified


def test_damaged_svhn_is_refused_by_name(publish_svhn):
    x, y = np.moveaxis(noise(2, 32, 32, 3), 0, -1), np.array([[10], [3]], np.uint8)
    right = matlab(X=x, y=y)
    path = publish_svhn(right)
    path.write_bytes(right[:-20])
    with pytest.raises(DataError, match=f"{path}: truncated.*ufldl.stanford.edu"):
        svhn.load_svhn("test")
    for content, message in (
        (right[: len(right) // 2], "expected a whole MATLAB 5 file"),
        (b"text", "expected a whole MATLAB 5 file"),
        (matlab(X=x), r"y: expected numbers of shape .2, 1., got none"),
        (matlab(X=x[..., :1], y=y), r"X: expected .* got uint8.32, 32, 3, 1."),
        (matlab(X=x.astype(float), y=y), "X: expected .* got float64"),
        (matlab(X=x, y=y + 1), "labels: expected 1 to 10, got 11 at 0"),
        (matlab(X=x, y=y * 0), "labels: expected 1 to 10, got 0 at 0"),
        (matlab(X=x, y=y + 0.5), "labels: expected integers, got float64"),
    ):
        publish_svhn(content)
        with pytest.raises(DataError, match=message):
            svhn.load_svhn("test")


def test_without_svhn_the_error_names_file_address_and_digest(data):
    with pytest.raises(
        DataError, match=r"train_32x32.mat: not found.*435e94d6[\s\S]*ufldl.stanford"
    ):
        svhn.load_svhn()


# ---- CelebA and CelebA-HQ


@pytest.fixture
def faces(data, monkeypatch):
    monkeypatch.setattr(celeba, "NUM_FACES", 3)
    folder = data / "celeba"
    lines = [f"{k:06d}.jpg {part}" for k, part in ((1, 0), (2, 2), (3, 0))]
    put(folder / celeba.LIST, "\n".join(lines).encode())
    for k in (1, 2, 3):
        content = encode(noise(218, 178, 3, seed=k), "JPEG", quality=95)
        put(folder / "img_align_celeba" / f"{k:06d}.jpg", content)
    return folder


def test_faces_of_a_split_come_from_a_folder_and_from_a_zip_alike(faces):
    loaded = celeba.load_celeba("train", side=16)
    assert loaded.images.shape == (2, 16, 16, 3)
    assert loaded.images.dtype == np.uint8
    assert loaded.labels is None
    third = (faces / "img_align_celeba" / "000003.jpg").read_bytes()
    np.testing.assert_array_equal(loaded.images[1], pictures.decode(third, "x", side=16))
    assert len(celeba.load_celeba("all", side=16).images) == 3
    assert len(celeba.load_celeba("test", side=16).images) == 1
    files = {f"img_align_celeba/{p.name}": p.read_bytes() for p in faces.rglob("*.jpg")}
    zipped(faces / "img_align_celeba.zip", files)
    (faces / "img_align_celeba").rename(faces / "elsewhere")
    np.testing.assert_array_equal(celeba.load_celeba("train", side=16).images, loaded.images)


def test_the_second_start_decodes_no_face_unless_one_has_changed(faces, monkeypatch):
    first = np.array(celeba.load_celeba("train", side=16).images)
    decode = pictures.decode
    monkeypatch.setattr(pictures, "decode", lambda *_: pytest.fail("decoded again"))
    np.testing.assert_array_equal(celeba.load_celeba("train", side=16).images, first)
    monkeypatch.setattr(pictures, "decode", decode)
    put(faces / "img_align_celeba" / "000001.jpg", encode(noise(218, 178, 3, seed=9), "JPEG"))
    assert np.any(celeba.load_celeba("train", side=16).images != first)


def test_damaged_faces_are_refused_by_name(faces):
    path = faces / "img_align_celeba" / "000003.jpg"
    right = path.read_bytes()
    path.write_bytes(right[: len(right) // 2])
    with pytest.raises(DataError, match=r"000003.jpg: expected a whole PNG or JPEG"):
        celeba.load_celeba("train")
    path.write_bytes(encode(noise(178, 218, 3), "JPEG"))
    with pytest.raises(DataError, match=r"000003.jpg: expected 218 x 178 pixels, got 178 x 218"):
        celeba.load_celeba("train")
    path.unlink()
    with pytest.raises(DataError, match=r"000003.jpg is missing.*mmlab"):
        celeba.load_celeba("train")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("000001.jpg 0\n000002.jpg 0", "expected 3 different names, got 2"),
        ("000001.jpg 0\n000001.jpg 0\n000002.jpg 0", "expected 3 different names"),
        ("000001.jpg 0\n000002.jpg 3\n000003.jpg 0", "line 2: expected a name and 0, 1 or 2"),
        ("../../x.jpg 0", "line 1"),
        ("\xff", "cannot be read"),
    ],
)
def test_damaged_partitions_are_refused(faces, text, message):
    put(faces / celeba.LIST, text.encode("latin-1"))
    with pytest.raises(DataError, match=f"{celeba.LIST}.*{message}"):
        celeba.load_celeba("train")


def test_celeba_hq_is_read_in_numeric_order(data, monkeypatch):
    monkeypatch.setattr(celeba, "NUM_HQ", 2)
    folder = data / "celeba-hq"
    for number in (10, 2):
        put(folder / f"{number}.jpg", encode(noise(40, 40, 3, seed=number), "PNG"))
    images = celeba.load_celeba_hq(side=32).images
    for image, number in zip(images, (2, 10), strict=True):
        content = (folder / f"{number}.jpg").read_bytes()
        np.testing.assert_array_equal(image, pictures.decode(content, "x", side=32))
    with pytest.raises(DataError, match=r"10.jpg|2.jpg: expected 64 pixels a side or more"):
        celeba.load_celeba_hq(side=64)
    (folder / "2.jpg").unlink()
    with pytest.raises(DataError, match="expected 2 images, got 1"):
        celeba.load_celeba_hq()


@pytest.mark.parametrize(
    "load",
    [
        celeba.load_celeba,
        celeba.load_celeba_hq,
        imagenet64.load_imagenet64_box,
        imagenet64.load_imagenet64_cropped,
        adbench.table_names,
        lambda: adbench.load_table("4_breastw"),
        lambda: design_bench.load_task("utr"),
    ],
)
def test_a_missing_set_is_named_with_its_files_and_address(data, monkeypatch, load):
    with pytest.raises(DataError, match=f"no such folder. Expected .* at https.*{VARIABLE}"):
        load()
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(DataError, match=f"{VARIABLE} is not set. Expected .* at https"):
        load()


def test_names_are_sorted_by_their_numbers():
    names = ["a10/2.png", "a2/10.png", "a2/9.png"]
    assert sorted(names, key=squares.in_numeric_order) == ["a2/9.png", "a2/10.png", "a10/2.png"]


# ---- ImageNet 64


@pytest.fixture
def small_imagenet(data, monkeypatch):
    monkeypatch.setattr(imagenet64, "NUM_IMAGES", {"train": 3, "val": 2})
    monkeypatch.setitem(
        imagenet64.BATCHES, "train", ("train_data_batch_1.npz", "train_data_batch_2.npz")
    )
    return data


def test_the_box_version_is_read_in_batches_with_labels_from_one(small_imagenet):
    folder, images, labels = small_imagenet / "imagenet64-box", noise(3, 64, 64, 3), [1, 1000, 7]
    folder.mkdir(parents=True)
    planes = images.transpose(0, 3, 1, 2).reshape(3, -1)
    batch = folder / "train_data_batch_2.npz"
    np.savez(folder / "train_data_batch_1.npz", data=planes[:2], labels=labels[:2], mean=planes[0])
    np.savez_compressed(batch, data=planes[2:], labels=labels[2:])
    for _ in range(2):
        loaded = imagenet64.load_imagenet64_box()
        np.testing.assert_array_equal(loaded.images, images)
        assert loaded.labels.tolist() == [0, 999, 6]
    right = batch.read_bytes()
    for arrays, message in (
        ({"data": planes[2:], "labels": [1001]}, "labels: expected 1 to 1000, got 1001 at 0"),
        ({"data": planes[2:], "labels": [0]}, "labels: expected 1 to 1000, got 0 at 0"),
        ({"data": planes[2:, :-1], "labels": [1]}, r"data: expected uint8.1, 12288."),
        ({"data": planes[1:], "labels": [1]}, r"data: expected uint8.1, 12288."),
        ({"data": planes[1:], "labels": [1, 1]}, "expected 3 images, got 4"),
        ({"data": planes[2:]}, "expected an array labels"),
    ):
        np.savez(batch, **arrays)
        with pytest.raises(DataError, match=message):
            imagenet64.load_imagenet64_box()
    for wrong in (right[:-50], b""):
        batch.write_bytes(wrong)
        with pytest.raises(DataError, match=r"train_data_batch_2.npz: expected a zip archive"):
            imagenet64.load_imagenet64_box()
    batch.unlink()
    with pytest.raises(DataError, match=r"train_data_batch_2.npz: no such file.*image-net.org"):
        imagenet64.load_imagenet64_box()


def test_the_cropped_version_is_read_from_a_zip_with_its_labels(small_imagenet):
    path, images = small_imagenet / "imagenet64-cropped" / "imagenet-64x64.zip", noise(3, 64, 64, 3)
    names = [f"00000/img0000000{k}.png" for k in range(3)]
    files = {name: encode(image) for name, image in zip(names, images, strict=True)}
    pairs = [[names[2], 5], [names[0], 999], [names[1], 0]]

    def write(labels, **changes):
        path.unlink(missing_ok=True)
        described = {"dataset.json": json.dumps({"labels": labels})} if labels else {}
        zipped(path, {**files, **changes, **described})

    write(pairs)
    loaded = imagenet64.load_imagenet64_cropped()
    np.testing.assert_array_equal(loaded.images, images)
    assert loaded.labels.tolist() == [999, 0, 5]
    write(None)
    assert imagenet64.load_imagenet64_cropped().labels is None
    for labels, message in (
        (pairs[:2], "expected a name and a class for every image"),
        ([[name, 1000] for name in names], "labels: expected 0 to 999, got 1000"),
        ([[name, 1.5] for name in names], "labels: expected integers"),
        ([[name, [1, 2]] for name in names], "expected a class for every image"),
        (7, "expected a name and a class for every image"),
    ):
        write(labels)
        with pytest.raises(DataError, match=message):
            imagenet64.load_imagenet64_cropped()
    write(pairs, **{names[1]: encode(noise(64, 63, 3))})
    with pytest.raises(DataError, match="expected 64 x 64 pixels, got 64 x 63"):
        imagenet64.load_imagenet64_cropped()
    write(pairs, **{"00000/img00000003.png": b""})
    with pytest.raises(DataError, match="expected 3 images, got 4"):
        imagenet64.load_imagenet64_cropped()


# ---- Design-Bench and ADBench


def write_shards(folder, count, stem):
    xs, ys = [], []
    for number in range(count):
        xs.append(np.full((2, 4), number, np.int32))
        ys.append(np.full((2, 1), number, np.float32))
        put(folder / f"{stem}-x-{number}.npy", saved(xs[-1]))
        put(folder / f"{stem}-y-{number}.npy", saved(ys[-1]))
    return np.concatenate(xs), np.concatenate(ys)


@pytest.mark.parametrize(("task", "stem"), [("utr", "utr"), ("tf_bind_8-SIX6", "tf_bind_8")])
def test_shards_are_joined_in_numeric_order(data, task, stem):
    x, y = write_shards(data / "design-bench" / task, 12, stem)
    loaded = design_bench.load_task(task)
    np.testing.assert_array_equal(loaded.x, x)
    np.testing.assert_array_equal(loaded.y, y)
    assert (loaded.x.dtype, loaded.y.dtype) == (np.int32, np.float32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("x-1", None), "x: expected shards 0, 1, ..., got .0, 2."),
        (("y-2", None), "shards x and y of every number, got one of 2"),
        (("y-1", np.zeros((3, 1))), r"x-1.npy: expected x .* and y .n, 1., got .2, 4. and .3, 1."),
        (("y-1", np.zeros(2)), "expected x .* and y"),
        (("y-1", np.array([[np.nan], [0]])), "y: expected finite numbers"),
        (("x-1", np.full((2, 4), np.inf)), "x: expected finite numbers"),
        (("x-1", np.full((2, 4), "a")), "x: expected finite numbers"),
        (("x-1", np.zeros((2, 5), np.int32)), "x-1.npy.*as in the first shard"),
        (("x-1", np.full((2, 4), {}, object)), "x-1.npy: expected numbers"),
        (("x-1", saved(np.zeros((2, 4)))[:-1]), "x-1.npy: expected numbers in 63 bytes"),
    ],
)
def test_damaged_shards_are_refused_by_name(data, change, message):
    folder = data / "design-bench" / "utr"
    write_shards(folder, 3, "utr")
    path, value = folder / f"utr-{change[0]}.npy", change[1]
    path.unlink()
    if value is not None:
        path.write_bytes(value if isinstance(value, bytes) else saved(value))
    with pytest.raises(DataError, match=message):
        design_bench.load_task("utr")
    for outside in ("../design-bench/utr", "ant"):
        with pytest.raises(DataError, match="no such folder.*huggingface"):
            design_bench.load_task(outside)


def test_tfbind8_is_verified_by_digest(data):
    put(data / "tfbind8" / "tf_bind_8-x-0.npy", saved(np.zeros((2, 8), np.int32)))
    with pytest.raises(DataError, match=r"tf_bind_8-x-0.npy: truncated.*8957a728"):
        design_bench.load_tfbind8()


def test_tables_are_read_and_checked(data):
    folder, x, y = data / "adbench", np.arange(6, dtype=np.uint8).reshape(3, 2), [0, 1, 0]
    folder.mkdir(parents=True)
    for name in ("10_cover", "2_other", "no table"):
        np.savez(folder / f"{name}.npz", X=x, y=y)
    assert adbench.table_names() == ["2_other", "10_cover"]
    table = adbench.load_table("2_other")
    np.testing.assert_array_equal(table.x, x)
    assert (table.x.dtype, table.labels.dtype, table.is_verified) == (np.float64, np.int32, False)
    assert table.labels.tolist() == y
    path = folder / "2_other.npz"
    for arrays, message in (
        ({"X": x}, "got no y"),
        ({"X": x, "y": y[:2]}, r"expected X .n, d. and y .n,., got .3, 2. and .2,."),
        ({"X": x[0], "y": y}, r"expected X .n, d."),
        ({"X": x * np.nan, "y": y}, "X: expected finite numbers"),
        ({"X": x, "y": [0, 1, 2]}, "y: expected 0 and 1, got"),
        ({"X": x.astype(object), "y": y}, "2_other.npz"),
    ):
        np.savez(path, **arrays)
        with pytest.raises(DataError, match=message):
            adbench.load_table("2_other")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"2_other.npz.*github.com/Minqi824/ADBench"):
        adbench.load_table("2_other")
    for outside in ("../adbench/10_cover", "11_donors"):
        with pytest.raises(DataError, match="no such file"):
            adbench.load_table(outside)
    np.savez(folder / "4_breastw.npz", X=x, y=y)
    with pytest.raises(DataError, match="4_breastw.npz: expected sha256 4f37ce07.*, got"):
        adbench.load_table("4_breastw")


# ---- the real files


@needs_data
def test_the_part_of_cifar_in_the_folder():
    loaded = cifar10.load_cifar10("test")
    if loaded.is_verified:
        pytest.skip("the whole set is there")
    assert loaded.images.shape == (5000, 32, 32, 3)
    assert np.bincount(loaded.labels).tolist() == [500] * 10
    # Means of the published training set, by channel; a mean of 5,000 images has an error of about
    # 0.12 / sqrt(5000) = 0.0017, taking the s.d. of an image's mean as 0.12.
    means = loaded.images.mean((0, 1, 2)) / 255
    np.testing.assert_allclose(means, [0.4914, 0.4822, 0.4465], atol=4 * 0.0017)


@needs_data
def test_the_whole_landscape_of_tfbind8():
    x, y = design_bench.load_tfbind8()
    assert (x.shape, y.shape) == ((65_792, 8), (65_792, 1))
    assert (x.min(), x.max(), y.min(), y.max()) == (0, 3, 0, 1)
    assert len(np.unique(x @ 4 ** np.arange(8))) == 65_536


@needs_data
def test_every_table_of_adbench_is_the_one_that_was_run():
    names = adbench.table_names()
    assert set(adbench.DIGESTS) <= set(names)
    assert all(adbench.load_table(name).is_verified for name in adbench.DIGESTS)
    table = adbench.load_table("18_Ionosphere")
    assert table.x.shape == (351, 32)
    assert table.labels.sum() == 126
