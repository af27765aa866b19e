"""The packages to compare with, imported when they are needed."""

import functools
import importlib
import logging
import sys
from types import ModuleType
from typing import Any
from unittest import mock

import jax
import numpy as np

PYMBAR_METHODS = ("false-position", "bisection", "self-consistent-iteration")


class MissingPeerError(ImportError):
    """A peer is not installed; the message names the extra."""


def peer(name: str) -> ModuleType:
    """Imports a peer; x64, which pymbar enables for the whole process, is disabled again."""
    x64 = jax.config.read("jax_enable_x64")
    try:
        # pymbar prints an advertisement of its accelerator on import.
        logging.getLogger("pymbar").setLevel(logging.ERROR)
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingPeerError(
            f"needs {name}: pip install -e '.[bench]', or run `make bench`"
        ) from error
    finally:
        jax.config.update("jax_enable_x64", x64)


@functools.cache
def pymbar_in_numpy() -> ModuleType:
    """A second copy of pymbar, which finds no JAX and therefore computes in NumPy."""
    peer("pymbar")
    loaded = {name: sys.modules.pop(name) for name in list(sys.modules) if _is_pymbar(name)}
    hidden = dict.fromkeys(("jax", "jax.numpy", "jax.numpy.linalg", "jax.scipy.special"))
    try:
        with mock.patch.dict(sys.modules, hidden):
            return importlib.import_module("pymbar")
    finally:
        for name in [name for name in sys.modules if _is_pymbar(name)]:
            del sys.modules[name]
        sys.modules.update(loaded)


def _is_pymbar(name: str) -> bool:
    return name.partition(".")[0] == "pymbar"


def pymbar_bar(
    work_forward: np.ndarray, work_reverse: np.ndarray, method: str, error_bar: bool = False
) -> Any:
    """pymbar's answer: the free energy difference, or the pair with its standard error."""
    result = peer("pymbar").bar(
        work_forward, work_reverse, method=method, compute_uncertainty=error_bar
    )
    return (result["Delta_f"], result["dDelta_f"]) if error_bar else result["Delta_f"]
