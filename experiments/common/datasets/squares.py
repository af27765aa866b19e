"""Folders and archives of images as one array of squares, read image by image."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import PIL

from experiments.common.datasets import pictures, prepared
from experiments.common.datasets.members import Members
from experiments.common.progress import track


def load_squares(
    title: str, members: Members, names: list[str], side: int, shape: tuple[int, int] | None = None
) -> np.ndarray:
    """Returns images as squares, from the cache if they were prepared before."""
    made_from: Any = [PIL.__version__, shape, [members.identity(name) for name in names]]

    def rows() -> Iterator[np.ndarray]:
        for name in track(names, f"preparing {title}"):
            yield pictures.decode(members.read(name), f"{members.path}, {name}", shape, side)

    return prepared.load_or_make(f"{title}-{side}", made_from, (len(names), side, side, 3), rows)


def is_picture(name: str) -> bool:
    return name.lower().endswith(pictures.SUFFIXES)


def in_numeric_order(name: str) -> list[tuple[int, str]]:
    """Key that sorts file 10 after file 2."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), part) if part.isdigit() else (-1, part) for part in parts]
