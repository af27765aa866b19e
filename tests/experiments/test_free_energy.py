"""BAR on a few oscillators, and the loader of the published data."""

import dataclasses
import os

import jax
import numpy as np
import pytest

import nce_jax
from experiments.common import results
from experiments.free_energy import config, data, plot, run, statistics

pytestmark = pytest.mark.costly  # nearly all of it to compile

SMOKE = config.PRESETS["smoke"]


@pytest.fixture(scope="module")
def result():
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(data.VARIABLE, raising=False)
        return run.experiment(SMOKE, jax.random.key(SMOKE.seed))


def test_shapes(result):
    shape = (len(SMOKE.spring_constants), len(SMOKE.separations), SMOKE.num_seeds)
    for name in ("delta_f", "standard_error", "overlap", "status", "unguarded"):
        assert result.arrays[f"oscillators_{name}"].shape == shape
    assert result.arrays["unequal_delta_f"].shape == (SMOKE.num_unequal_seeds,)
    assert not any(name.startswith("benzene") for name in [*result.arrays, *result.headline])


def test_error_bars_are_honest_where_states_overlap(result):
    z = statistics.z_scores(result.arrays)[:, 0]  # one standard deviation apart
    assert abs(z.mean()) < 4 / np.sqrt(z.size)
    assert abs(z.std() - 1) < 4 / np.sqrt(2 * z.size)


def test_no_number_where_they_do_not(result):
    status = result.arrays["oscillators_status"][:, -1]  # twelve apart
    assert (status == nce_jax.Status.NO_OVERLAP).all()
    assert np.isnan(result.arrays["oscillators_delta_f"][:, -1]).all()
    assert (
        result.failed_lanes["k = 1, mu = 12"]
        == f"{SMOKE.num_seeds} of {SMOKE.num_seeds} seeds NO_OVERLAP"
    )


def test_bennetts_kappa_has_the_smaller_spread(result):
    assert result.headline["unequal_sd"] < result.headline["unequal_sd_at_kappa_one"]


def test_draws_repeat():
    draws = [run.work(jax.random.key(seed), 4.0, 1.0, 5, 3) for seed in (3, 3, 4)]
    np.testing.assert_array_equal(draws[0][0], draws[1][0])
    assert not np.array_equal(draws[0][1], draws[2][1])


def test_a_missing_file_is_named_with_its_source(tmp_path, monkeypatch):
    monkeypatch.setenv(data.VARIABLE, str(tmp_path))
    with pytest.raises(
        data.DataError,
        match=rf"{data.WORK.name}: no such file .*{data.WORK.sha256}.*alchemtest.*BSD-3",
    ):
        data.load_benzene()


@pytest.mark.parametrize(
    ("file", "read"),
    [(data.WORK, data.read_benzene), (data.POTENTIALS, data.read_states)],
    ids=["work", "potentials"],
)
def test_other_files_are_refused(tmp_path, file, read):
    path = tmp_path / file.name
    path.write_bytes(b"something else")
    with pytest.raises(data.DataError, match=f"sha256 is .*, expected {file.sha256}"):
        read(path)
    with path.open("wb") as sparse:  # named, and not read
        sparse.truncate(2**43)
    with pytest.raises(data.DataError, match=rf"{file.name}: expected at most 1048576 bytes"):
        read(path)


@pytest.mark.skipif(not os.environ.get(data.VARIABLE), reason=f"{data.VARIABLE} is not set")
def test_benzene_agrees_with_pymbar(x64):
    benzene, _ = data.load_benzene()
    actual = nce_jax.bar(*map(jax.numpy.asarray, benzene[:2]))
    np.testing.assert_allclose(actual.delta_f, benzene.reference[:, 0], atol=1e-10)
    np.testing.assert_allclose(actual.standard_error, benzene.reference[:, 1], atol=1e-10)
    assert f"{np.sum(actual.delta_f):.4f}" == "3.0444"


@pytest.mark.skipif(not os.environ.get(data.VARIABLE), reason=f"{data.VARIABLE} is not set")
def test_benzenes_sum_has_the_error_of_pairs_that_share_states(x64):
    """Its standard error is that of 200 bootstrap replicates within 20 %, four of their errors."""
    benzene, _ = data.load_benzene()
    arrays = run._benzene(
        benzene, dataclasses.replace(SMOKE, num_replicates=200), jax.random.key(0)
    )
    error = arrays["benzene_sum_standard_error"]
    assert f"{error:.4f}" == "0.0216"
    np.testing.assert_allclose(arrays["benzene_sum_bootstrap_error"], error, rtol=0.2)
    np.testing.assert_allclose(arrays["benzene_sum"], benzene.reference[:, 0].sum(), atol=1e-10)


def test_figures_from_stored_results(result, tmp_path):
    results.save(tmp_path, result, config=SMOKE)
    assert set(plot.draw(results.load(tmp_path, ""))) == {
        "free_energy_error_bars",
        "free_energy_separation",
        "free_energy_many_states",
    }
