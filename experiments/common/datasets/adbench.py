"""Tables of ADBench for the detection of anomalies: samples, and which of them are anomalous."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.common.datasets.origin import DataError, Origin
from nce_jax._archives import read_arrays
from nce_jax._disk import DamagedFileError, sha256

__all__ = ["DIGESTS", "DataError", "Table", "load_table", "table_digest", "table_names"]

LIMIT = 2**30
ORIGIN = Origin(
    "adbench",
    "<number>_<name>.npz with arrays X (n, d) and y (n,), 1 for an anomaly",
    "https://github.com/Minqi824/ADBench/tree/main/adbench/datasets/Classical",
    "sha256 of the tables that have been run here, shapes and values of others",
)
DIGESTS = {
    "2_annthyroid": "e738f7c58a8740d2c4aac4c71ff49ce5e1d1aa16f44178135fc9c09df05fad1b",
    "4_breastw": "4f37ce07dbc25ddad8178fdc6d664ab46d2d0000ee28c2787c3c7ff3c03ef9f6",
    "6_cardio": "bc5009bde6930b4d298b594f31b34485a9a17210cff0e8fb00a8c3068b885a2d",
    "18_Ionosphere": "bca46cb0cfd1bf9ddef6cde5ad2215d54fb0189508d0d4c4eb98e788cad69001",
    "20_letter": "f986d3da80cf1fa2aea83a5ebe73b7d4800e0d4c01fdd1ae074b58d20f10d039",
    "22_magic.gamma": "0be375984d7af9ea7a63b12206c240840d8b7daa3607021c5fb8756407dd86f1",
    "23_mammography": "a0308ac9712d78321073b1c2dc98dc37665c0f35c1cc33019416fe8f8d7de7ea",
    "25_musk": "2ed3f4392197b76a1e59116ff880c7720a4b026cf4842073a53b56fdea265017",
    "26_optdigits": "60de17a375a278ba220a7849727d998aa02b5e2f9fd17732a004bba28de4656e",
    "28_pendigits": "c4936b89dcdad59d303020e492f763a0f54170080d787c77497609acbb9c2d79",
    "30_satellite": "1f048f5686f1b8c16a227fdfa3c81a62cd9a92715714a6b24c69b1c5ad96b46e",
    "32_shuttle": "26900b0f6be45d9ddb7a402c9b2f956ceda42d23a8ca4cf4406b8bc1352823d1",
    "38_thyroid": "8de161b3f235b7647bb0b39a836d983ff61d67bf234edac461da2d71e889cb87",
    "43_WDBC": "78d4606a1ab516f5b60b00c196497f3bbd6bd5e4548fd04cf5f2475209b34b85",
}


class Table(NamedTuple):
    """Samples, float64 (n, d), and labels, int32 (n,): 1 for an anomaly.

    `is_verified` says whether the file has the digest of a table that has been run here.
    """

    x: np.ndarray
    labels: np.ndarray
    is_verified: bool


def table_names() -> list[str]:
    """Returns the names of the tables in adbench/ below NCE_JAX_DATA, by their number."""
    names = [path.stem for path in ORIGIN.path().glob("*_*.npz")]
    numbered = [name for name in names if re.fullmatch(r"\d+_.+", name)]
    return sorted(numbered, key=lambda name: int(name.split("_")[0]))


def load_table(name: str) -> Table:
    """Returns a table by its file's name without the suffix, such as `"4_breastw"`.

    Raises:
        DataError: there is no such table, it is damaged, is known and has another digest, or its
            arrays are not X (n, d) of finite numbers and y (n,) of 0 and 1.

    References:
        Han, Hu, Huang, Jiang and Zhao, ADBench: anomaly detection benchmark, 2022.
    """
    path = _path(name)
    try:
        digest, arrays = sha256(path), read_arrays(path, LIMIT)
    except (DamagedFileError, OSError) as error:
        raise ORIGIN.error(str(error)) from error
    if digest != DIGESTS.get(name, digest):
        raise ORIGIN.error(f"{path}: expected sha256 {DIGESTS[name]}, got {digest}")
    x, labels = _check(arrays, path)
    return Table(x, labels, name in DIGESTS)


def table_digest(name: str) -> str:
    """Returns the sha256 of a table's file; raises DataError where there is none."""
    return sha256(_path(name))


def _path(name: str) -> Path:
    path = ORIGIN.path() / f"{name}.npz"
    if Path(name).name != name or not path.exists():
        raise ORIGIN.error(f"{path}: no such file")
    return path


def _check(arrays: dict[str, np.ndarray], path: Path) -> tuple[np.ndarray, np.ndarray]:
    if missing := {"X", "y"} - arrays.keys():
        raise DataError(f"{path}: expected arrays X and y, got no {min(missing)}")
    x, labels = arrays["X"], arrays["y"]
    if x.ndim != 2 or labels.shape != (len(x),) or not len(x):
        raise DataError(f"{path}: expected X (n, d) and y (n,), got {x.shape} and {labels.shape}")
    if x.dtype.kind not in "iuf" or not np.isfinite(x).all():
        raise DataError(f"{path}, X: expected finite numbers, got others ({x.dtype})")
    if labels.dtype.kind not in "iuf" or not np.isin(labels, (0, 1)).all():
        raise DataError(f"{path}, y: expected 0 and 1, got {np.unique(labels)[:5]}")
    return x.astype(np.float64), labels.astype(np.int32)
