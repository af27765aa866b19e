"""Published work values of benzene's Coulomb leg, from the folder named by NCE_JAX_DATA."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.common.endings import CommandError
from nce_jax._archives import read_arrays
from nce_jax._disk import DamagedFileError, sha256

VARIABLE = "NCE_JAX_DATA"
FILE = "benzene_coulomb_work_kT.npz"
SHA256 = "a37e90f80eddbee42238b4ed47814e6b650d8b9b54b2457aa0a982cb3dfc18b1"
NUM_PAIRS = 4
LIMIT = 2**20
"""Largest size in bytes of the file, and of its arrays; the published one has a quarter."""
SOURCE = (
    f"{FILE} (sha256 {SHA256}): the Coulomb leg of benzene, made from the GROMACS set that"
    " alchemtest publishes as load_benzene (BSD-3, https://github.com/alchemistry/alchemtest)."
    " NumPy arrays in kT: forward and reverse work Coulomb_0<k>_wF and Coulomb_0<k>_wR of the"
    " pairs k = 0 to 3 of neighboring states, 4,001 values each, and Coulomb_bar, pymbar's BAR"
    " estimate and standard deviation per pair"
)


class DataError(CommandError):
    """The data file is missing or is not the expected one."""


class Benzene(NamedTuple):
    """Work in kT, (pair, sample), and pymbar's estimates with standard deviations, (pair, 2)."""

    work_forward: np.ndarray
    work_reverse: np.ndarray
    reference: np.ndarray


def load_benzene() -> Benzene | None:
    """The verified work values; None if NCE_JAX_DATA is not set."""
    folder = os.environ.get(VARIABLE)
    return None if not folder else read_benzene(Path(folder) / FILE)


def read_benzene(path: Path) -> Benzene:
    """Reads the file and verifies its digest.

    Raises:
      DataError: the file is missing or not the published one; the message names the expected file.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file ({VARIABLE} names its folder). Expected {SOURCE}")
    try:
        digest = sha256(path, LIMIT)
    except DamagedFileError as error:
        raise DataError(f"{error}. Expected {SOURCE}") from error
    if digest != SHA256:
        raise DataError(f"{path}: sha256 is {digest}, expected {SHA256}. Expected {SOURCE}")
    arrays = read_arrays(path, LIMIT)
    forward, reverse = (
        np.stack([arrays[f"Coulomb_{pair:02d}_w{side}"] for pair in range(NUM_PAIRS)])
        for side in "FR"
    )
    return Benzene(forward, reverse, arrays["Coulomb_bar"])
