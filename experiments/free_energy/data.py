"""Published values of benzene's Coulomb leg, from the folder named by NCE_JAX_DATA."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.common.endings import CommandError
from nce_jax._archives import read_arrays
from nce_jax._disk import DamagedFileError, sha256

VARIABLE = "NCE_JAX_DATA"
NUM_PAIRS = 4
LIMIT = 2**20
"""Largest size in bytes of a file, and of its arrays; the published ones have less than that."""
_ORIGIN = (
    "the Coulomb leg of benzene, made from the GROMACS set that alchemtest publishes as"
    " load_benzene (BSD-3, https://github.com/alchemistry/alchemtest). NumPy arrays in kT: "
)


class DataFile(NamedTuple):
    """A file with its sha256, and what its arrays are."""

    name: str
    sha256: str
    content: str


WORK = DataFile(
    "benzene_coulomb_work_kT.npz",
    "a37e90f80eddbee42238b4ed47814e6b650d8b9b54b2457aa0a982cb3dfc18b1",
    _ORIGIN + "forward and reverse work Coulomb_0<k>_wF and Coulomb_0<k>_wR of the pairs k = 0 to 3"
    " of neighboring states, 4,001 values each, and Coulomb_bar, pymbar's BAR estimate and"
    " standard deviation per pair",
)
POTENTIALS = DataFile(
    "benzene_coulomb_u_kn_kT.npz",
    "b6a31afde9407430965e22f26f38f078284bbb2485766f381bafd9d637e5bcc2",
    _ORIGIN + "reduced potentials u_kn of all samples in all states, (5, 20005), num_samples of"
    " each state, and delta_f with standard_error, pymbar's MBAR estimates, (5, 5)",
)


class DataError(CommandError):
    """The data file is missing or is not the expected one."""


class Benzene(NamedTuple):
    """Work in kT, (pair, sample), and pymbar's estimates with standard deviations, (pair, 2)."""

    work_forward: np.ndarray
    work_reverse: np.ndarray
    reference: np.ndarray


class BenzeneStates(NamedTuple):
    """Potentials in kT, (state, sample), samples per state, and pymbar's estimates with errors.

    The samples are those of `Benzene`, ordered by state and then by time.
    """

    potentials: np.ndarray
    num_samples: np.ndarray
    reference: np.ndarray
    reference_error: np.ndarray


def load_benzene() -> tuple[Benzene, BenzeneStates] | None:
    """The verified work values and potentials; None if NCE_JAX_DATA is not set."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        return None
    return read_benzene(Path(folder) / WORK.name), read_states(Path(folder) / POTENTIALS.name)


def read_benzene(path: Path) -> Benzene:
    """Reads the work values and verifies their digest.

    Raises:
      DataError: the file is missing or not the published one; the message names the expected file.
    """
    arrays = _read(path, WORK)
    forward, reverse = (
        np.stack([arrays[f"Coulomb_{pair:02d}_w{side}"] for pair in range(NUM_PAIRS)])
        for side in "FR"
    )
    return Benzene(forward, reverse, arrays["Coulomb_bar"])


def read_states(path: Path) -> BenzeneStates:
    """Reads the potentials and verifies their digest; raises as `read_benzene`."""
    arrays = _read(path, POTENTIALS)
    return BenzeneStates(
        *(arrays[name] for name in ("u_kn", "num_samples", "delta_f", "standard_error"))
    )


def _read(path: Path, file: DataFile) -> dict[str, np.ndarray]:
    """The arrays of a file with the right digest."""
    expected = f"Expected {file.name} (sha256 {file.sha256}): {file.content}"
    if not path.is_file():
        raise DataError(f"{path}: no such file ({VARIABLE} names its folder). {expected}")
    try:
        digest = sha256(path, LIMIT)
    except DamagedFileError as error:
        raise DataError(f"{error}. {expected}") from error
    if digest != file.sha256:
        raise DataError(f"{path}: sha256 is {digest}, expected {file.sha256}. {expected}")
    return read_arrays(path, LIMIT)
