"""CelebA (aligned and cropped faces) and CelebA-HQ, resized to squares."""

import re
from pathlib import Path
from typing import Literal

from experiments.common.datasets.members import first_of, open_members
from experiments.common.datasets.origin import DataError, ImageSet, Origin, check_option
from experiments.common.datasets.squares import in_numeric_order, is_picture, load_squares
from nce_jax._disk import DamagedFileError, read_bytes

__all__ = ["NUM_FACES", "SPLITS", "DataError", "load_celeba", "load_celeba_hq"]

NUM_FACES, NUM_HQ = 202_599, 30_000
SHAPE = (218, 178)
SPLITS = {"train": 0, "valid": 1, "test": 2}
LIST = "list_eval_partition.txt"
FACES = Origin(
    "celeba",
    f"img_align_celeba/, or img_align_celeba.zip, with {NUM_FACES:,} JPEG images of 178 x 218"
    f" pixels, and {LIST}",
    "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
    "their number and size",
)
HQ = Origin(
    "celeba-hq",
    f"{NUM_HQ:,} square PNG or JPEG images, or celeba-hq.zip with them",
    "https://github.com/tkarras/progressive_growing_of_gans and"
    " https://github.com/switchablenorms/CelebAMask-HQ",
    "their number, not their content",
)
_LINE = re.compile(r"(\d{6}\.jpg)\s+([012])")


def load_celeba(
    split: Literal["train", "valid", "test", "all"] = "train", *, side: int = 64
) -> ImageSet:
    """Returns the faces of CelebA, uint8 (n, side, side, 3), without labels.

    The shorter side is resized to `side`, and the center cropped. The result is kept in the cache,
    so that the second start reads no JPEG.

    Args:
        split: of the published partition (162,770, 19,867 and 19,962 images), or all of it.
        side: of the squares, at most 178.

    Raises:
        ValueError: there is no such split.
        DataError: files are missing, damaged, of another size or another number.

    References:
        Liu, Luo, Wang and Tang, Deep learning face attributes in the wild, 2015.
    """
    check_option("split", split, (*SPLITS, "all"))
    path = FACES.path()
    wanted = _partition(path / LIST, split)
    where = first_of(path, "img_align_celeba", "img_align_celeba.zip")
    if where is None:
        raise FACES.error(f"{path}: no images")
    with open_members(where) as members:
        by_name = {name.rsplit("/", 1)[-1]: name for name in members.names}
        if missing := [name for name in wanted if name not in by_name]:
            raise FACES.error(f"{where}: {missing[0]} is missing, one of {len(missing):,}")
        names = [by_name[name] for name in wanted]
        images = load_squares(f"celeba-{split}", members, names, side, SHAPE)
    return ImageSet(images, None, False, f"{len(images):,} images; number and size alone")


def load_celeba_hq(*, side: int = 256) -> ImageSet:
    """Returns the faces of CelebA-HQ, uint8 (30,000, side, side, 3), without labels.

    Files come in the order of their names, with numbers in numeric order. They are kept in the
    cache as those of CelebA are.

    Raises:
        DataError: files are missing, damaged, or smaller than `side`.

    References:
        Karras, Aila, Laine and Lehtinen, Progressive growing of GANs for improved quality,
          stability, and variation, 2018.
    """
    path = HQ.path()
    where = first_of(path, "celeba-hq.zip") or path
    with open_members(where) as members:
        names = sorted(filter(is_picture, members.names), key=in_numeric_order)
        if len(names) != NUM_HQ:
            raise HQ.error(f"{where}: expected {NUM_HQ:,} images, got {len(names):,}")
        images = load_squares("celeba-hq", members, names, side)
    return ImageSet(images, None, False, f"{len(images):,} images; their number alone")


def _partition(path: Path, split: str) -> list[str]:
    """Returns the file names of a split, in the order of the list."""
    try:
        text = read_bytes(path).decode()
    except (DamagedFileError, OSError, UnicodeDecodeError) as error:
        raise FACES.error(f"{path}: cannot be read ({error})") from error
    lines = text.splitlines()
    matches = [_LINE.fullmatch(line.strip()) for line in lines]
    if wrong := [number for number, match in enumerate(matches, 1) if match is None]:
        raise FACES.error(f"{path}, line {wrong[0]}: expected a name and 0, 1 or 2")
    pairs = [(match[1], int(match[2])) for match in matches if match]
    if len({name for name, _ in pairs}) != NUM_FACES or len(pairs) != NUM_FACES:
        raise FACES.error(f"{path}: expected {NUM_FACES:,} different names, got {len(pairs):,}")
    return [name for name, part in pairs if split == "all" or part == SPLITS[split]]
