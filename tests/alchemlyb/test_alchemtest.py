"""The sets of alchemtest: the estimators agree with alchemlyb's, which pymbar computes for.

Each third set of an engine; with NCE_JAX_ALL_SETS=1, all of them (25 legs, two minutes).
"""

import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from nce_jax.alchemlyb import BAR, MBAR

ROOT = Path(__file__).parents[2]
TOLERANCE = 1e-8  # kT
ALL = os.environ.get("NCE_JAX_ALL_SETS") == "1"


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alchemtest")
    options = [str(folder), "--every", "1" if ALL else "3"]
    command = [sys.executable, "-m", "tests.alchemlyb.reference", *options]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return {path.stem: pickle.loads(path.read_bytes()) for path in sorted(folder.iterdir())}


def fitted(estimator, u_nk):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return estimator.fit(u_nk)


def distance(ours, theirs):
    return np.abs(np.asarray(ours) - np.asarray(theirs)).max()


@pytest.mark.costly
def test_every_set_agrees(sets):
    assert len(sets) == 25 if ALL else len(sets) > 6
    distances = {}
    for name, reference in sets.items():
        u_nk, chain = reference["u_nk"], fitted(BAR(), reference["u_nk"])
        theirs = reference["BAR"]
        assert chain.delta_f_.index.equals(theirs["delta_f_"].index)
        assert chain.delta_f_.attrs == theirs["delta_f_"].attrs
        distances[name, "BAR"] = distance(chain.delta_f_, theirs["delta_f_"])
        is_neighbor = theirs["d_delta_f_"].notna().to_numpy()
        errors = np.where(is_neighbor, chain.d_delta_f_, np.nan)
        distances[name, "BAR's errors"] = np.nanmax(np.abs(errors - theirs["d_delta_f_"]))
        if u_nk.isna().any(axis=None):
            with pytest.raises(ValueError, match="u_nk: expected potentials of the samples of"):
                MBAR().fit(u_nk)
            continue
        network, theirs = fitted(MBAR(), u_nk), reference["MBAR"]
        for attribute in ("delta_f_", "d_delta_f_", "overlap_matrix"):
            difference = distance(getattr(network, attribute), theirs[attribute])
            distances[name, f"MBAR.{attribute}"] = difference
    assert {key: value for key, value in distances.items() if not value < TOLERANCE} == {}
