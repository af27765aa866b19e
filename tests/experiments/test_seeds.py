"""`--seed` changes the keys of every cell, and at 0 these are the numbers of the cells."""

import dataclasses

import jax
import numpy as np
import pytest

from experiments.anomaly import config as anomaly
from experiments.anomaly import image_arrays, tables
from experiments.common import pieces
from experiments.common.over_seeds import cell_seeds
from experiments.diffusion_digits import config as diffusion_digits
from experiments.diffusion_digits import train
from experiments.latent_digits import cells as latent_digits_cells
from experiments.latent_digits import config as latent_digits
from experiments.latent_digits import run as latent_digits_run
from experiments.latent_energy import config as latent_energy
from experiments.latent_energy import run as latent_energy_run

KEY = jax.random.key(0)


class _Seen(Exception):
    """What a cell was called with, in the place of its computation."""


def _stop(*arguments):
    raise _Seen(arguments[-1])


def seen(experiment, config, seed):
    with pytest.raises(_Seen) as caught:
        experiment(dataclasses.replace(config, seed=seed), KEY)
    return caught.value.args[0]


def test_no_two_runs_share_a_cell():
    assert list(cell_seeds(0, 3)) == [0, 1, 2]
    assert set(cell_seeds(1, 1000)).isdisjoint({*cell_seeds(0, 1000), *cell_seeds(2, 1000)})


def test_latent_energy(monkeypatch):
    smoke = dataclasses.replace(latent_energy.PRESETS["smoke"], num_seeds=2)
    monkeypatch.setattr(latent_energy_run.cells, "set_rows", _stop)
    monkeypatch.setattr(latent_energy_run.joint, "set_rows", _stop)
    for config in (smoke, dataclasses.replace(smoke, sets=())):
        assert list(seen(latent_energy_run.experiment, config, 0)) == [0, 1]
        assert list(seen(latent_energy_run.experiment, config, 3)) == [3000, 3001]


def test_anomaly(monkeypatch):
    monkeypatch.setattr(image_arrays, "latent_cells", _stop)
    smoke = anomaly.PRESETS["smoke"]
    for seed in (0, 3):
        found = seen(lambda config, _: image_arrays.of_images(config), smoke, seed)
        assert list(found) == [1000 * seed]
        settings = anomaly.TableSettings(table_seeds=2, seed=seed)
        assert list(tables.seeds_of(settings)) == [1000 * seed, 1000 * seed + 1]


def test_latent_digits(monkeypatch, tmp_path):
    monkeypatch.setattr(pieces, "RUNS", tmp_path)
    monkeypatch.setattr(latent_digits_cells, "method_cell", _stop)
    monkeypatch.setattr(latent_digits_cells, "make_judge", lambda *_: None)
    monkeypatch.setattr(latent_digits_run, "make_space", lambda *_: None)
    smoke = latent_digits.PRESETS["smoke"]
    assert [seen(latent_digits_run.experiment, smoke, seed) for seed in (0, 3)] == [0, 3000]


def test_diffusion_digits():
    first, other = (
        jax.random.key_data(train._keys(diffusion_digits.CellSettings(seed=seed), 2))
        for seed in (0, 3)
    )
    expected = jax.random.split(jax.random.fold_in(KEY, 2), 3)
    np.testing.assert_array_equal(first, jax.random.key_data(expected))
    assert (first != other).any()
