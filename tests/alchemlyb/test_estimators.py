"""The estimators of alchemlyb's kind: labels, units, missing potentials, and honesty."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import sklearn.base

import nce_jax
from nce_jax import free_energy
from nce_jax.alchemlyb import BAR, MBAR
from nce_jax.alchemlyb._bar import _between_all_states
from tests.free_energy.networks import oscillators

STATES = [0.0, 0.25, 0.5, 1.0]
POOL = oscillators((300, 200, 0, 250), spacing=0.7)  # the state 0.5 has no samples


def table(states=STATES, pool=POOL, **attrs) -> pd.DataFrame:
    owners = np.repeat(np.arange(len(states)), pool.num_samples)
    keys = [(time, *np.atleast_1d(states[owner])) for time, owner in enumerate(owners)]
    names = ["time", *(f"lambda_{level}" for level in range(len(keys[0]) - 1))]
    index = pd.MultiIndex.from_tuples(keys, names=names)
    frame = pd.DataFrame(pool.potentials.T.copy(), index, states)  # pandas 2 would share
    frame.attrs = {"temperature": 300.0, "energy_unit": "kT"} | attrs
    return frame


def assert_equal(frame, values):
    np.testing.assert_array_equal(np.asarray(frame), np.asarray(values))


@pytest.fixture(scope="module")
def network():
    return MBAR().fit(table())


def test_mbar_is_that_of_this_library(network):
    with jax.enable_x64(True):
        expected = nce_jax.mbar(POOL.potentials, POOL.num_samples, max_steps=10000)
    assert_equal(network.delta_f_, expected.delta_f)
    assert_equal(network.d_delta_f_, expected.standard_error)
    assert_equal(network.overlap_matrix, expected.overlap)
    assert_equal(network.theta_, expected.covariance)
    assert network.delta_f_.to_numpy().dtype == np.float64
    assert (network.delta_h_, network.delta_sT_) == (None, None)


def test_labels_and_attributes_are_kept(network):
    u_nk = table()
    for frame in (network.delta_f_, network.d_delta_f_, network.theta_):
        assert frame.index.equals(u_nk.columns)
        assert frame.columns.equals(u_nk.columns)
        assert frame.attrs == u_nk.attrs
    assert network.states_ == STATES


def test_rows_may_come_in_any_order_and_states_be_tuples(network):
    states = [(0.0, 0.0), (0.25, 0.0), (0.5, 0.1), (1.0, 1.0)]
    rows = np.random.default_rng(0).permutation(POOL.num_samples.sum())
    shuffled = MBAR().fit(table(states).iloc[rows])
    assert shuffled.states_ == states
    np.testing.assert_allclose(shuffled.delta_f_, network.delta_f_, atol=1e-12)


@pytest.mark.parametrize(
    ("unit", "kt"), [("kJ/mol", 0.00831446261815324 * 310), ("kcal/mol", 0.0019872042586 * 310)]
)
def test_energies_are_divided_by_kt(network, unit, kt):
    u_nk = table(temperature=310.0, energy_unit=unit) * kt
    result = MBAR().fit(u_nk)
    np.testing.assert_allclose(result.delta_f_, network.delta_f_, atol=1e-10)
    assert result.delta_f_.attrs == {"temperature": 310.0, "energy_unit": "kT"}


def test_a_state_without_potentials_has_no_results(network):
    u_nk = table()
    u_nk.insert(2, 0.3, np.nan)
    result = MBAR().fit(u_nk)
    assert result.states_ == [0.0, 0.25, 0.3, 0.5, 1.0]
    assert result.delta_f_.loc[0.3].isna().all()
    known = result.delta_f_.loc[STATES, STATES]
    np.testing.assert_array_equal(known, network.delta_f_)
    assert np.isnan(result.overlap_matrix[2]).all()


@pytest.mark.costly
def test_a_bootstrap_gives_the_errors(network):
    result = MBAR(n_bootstraps=200, seed=1).fit(table())
    np.testing.assert_array_equal(result.delta_f_, network.delta_f_)
    np.testing.assert_array_equal(np.diag(result.d_delta_f_), 0)
    ratio = result.d_delta_f_.loc[0.0, 1.0] / network.d_delta_f_.loc[0.0, 1.0]
    assert 0.7 < ratio < 1.5  # the error of 200 replicates is 5 %; the samples are few


@pytest.mark.costly
def test_enthalpy_and_entropy_on_request():
    result = MBAR().fit(table(), compute_entropy_enthalpy=True)
    with jax.enable_x64(True):
        expected = free_energy.enthalpy_and_entropy(POOL.potentials, POOL.num_samples)
    assert_equal(result.delta_h_, expected.delta_h)
    assert_equal(result.d_delta_h_, expected.delta_h_standard_error)
    assert_equal(result.delta_sT_, expected.delta_s)
    assert_equal(result.d_delta_sT_, expected.delta_s_standard_error)


def work(source, target):
    starts = np.concatenate([[0], np.cumsum(POOL.num_samples)])
    part = POOL.potentials[:, starts[source] : starts[source + 1]]
    return part[target] - part[source]


@pytest.fixture(scope="module")
def chain():
    return BAR().fit(table())


def test_bar_connects_the_states_that_have_samples(chain):
    with jax.enable_x64(True):
        expected = free_energy.bar_chain([work(0, 1), work(1, 3)], [work(1, 0), work(3, 1)])
    assert chain.states_ == [0.0, 0.25, 1.0]
    np.testing.assert_allclose(chain.delta_f_.loc[0.0, 1.0], expected.total, rtol=1e-12)
    joint = chain.d_delta_f_.loc[0.0, 1.0]
    np.testing.assert_allclose(joint, expected.total_standard_error, rtol=1e-12)
    neighbors = [chain.d_delta_f_.loc[0.0, 0.25], chain.d_delta_f_.loc[0.25, 1.0]]
    np.testing.assert_allclose(neighbors, expected.standard_error, rtol=1e-12)
    np.testing.assert_array_equal(chain.delta_f_, -chain.delta_f_.T)
    np.testing.assert_array_equal(np.diag(chain.d_delta_f_), 0)


def test_bar_needs_potentials_of_neighbors_only(chain):
    u_nk = table()
    is_first = u_nk.index.get_level_values(1) == 0.0
    u_nk.loc[is_first, [0.5, 1.0]] = np.nan
    np.testing.assert_array_equal(BAR().fit(u_nk).delta_f_, chain.delta_f_)
    with pytest.raises(ValueError, match=r"state 0\.0 in the states \[1\.0\], got NaN; `BAR`"):
        MBAR().fit(u_nk)
    u_nk.loc[is_first, 0.25] = np.nan
    with pytest.raises(ValueError, match=r"samples of state 0\.0 in the states \[0\.25\], got NaN"):
        BAR().fit(u_nk)


@pytest.fixture
def gap():
    """Two states, a gap that no sample crosses, and two more."""
    centers = np.array([0.0, 1.0, 1000.0, 1001.0])
    x = np.repeat(centers, 50) + np.random.default_rng(0).normal(size=200)
    potentials = (x - centers[:, None]) ** 2 / 2
    return table(pool=POOL._replace(potentials=potentials, num_samples=np.full(4, 50)))


def test_bar_says_where_there_is_no_overlap(gap):
    with pytest.warns(UserWarning, match=r"windows \[\(0\.25, 0\.5\)\]: NO_OVERLAP"):
        result = BAR().fit(gap)
    is_known = np.kron(np.eye(2), np.ones((2, 2))).astype(bool)
    for frame in (result.delta_f_, result.d_delta_f_):
        np.testing.assert_array_equal(frame.notna(), is_known)


@pytest.mark.costly
def test_mbar_says_where_there_is_no_overlap(gap):
    with pytest.warns(UserWarning, match=r"no estimate for the states \[0\.5, 1\.0\]: NO_OVERLAP"):
        result = MBAR().fit(gap)
    is_known = np.kron(np.eye(2), np.ones((2, 2))).astype(bool)
    np.testing.assert_array_equal(result.delta_f_.notna(), is_known)


def test_few_effective_samples_are_said():
    with pytest.warns(UserWarning, match=r"too small, as a rule, for the states \[0\.5, 1\.0\]"):
        result = MBAR().fit(table(pool=oscillators()))
    assert result.delta_f_.notna().all(axis=None)


def test_the_precision_of_the_process_is_left_alone(network):
    assert jnp.ones(1).dtype == jnp.float32
    assert network.result_.f.dtype == np.float64


@pytest.mark.parametrize("estimator", [BAR, MBAR])
def test_estimators_are_those_of_scikit_learn(estimator):
    changed = estimator(statistical_inefficiency=3.0)
    assert sklearn.base.clone(changed).get_params() == changed.get_params()
    assert (estimator().delta_f_, estimator().d_delta_f_, estimator().states_) == (None,) * 3


@pytest.mark.costly
@pytest.mark.parametrize("estimator", [BAR, MBAR])
def test_correlated_samples_widen_errors(estimator, chain, network):
    correlated = estimator(statistical_inefficiency=[4.0, 4.0, 4.0, 4.0]).fit(table())
    independent = chain if estimator is BAR else network
    np.testing.assert_allclose(correlated.d_delta_f_, 2 * independent.d_delta_f_, rtol=1e-9)


def no_time(u_nk):
    return u_nk.reset_index(level=0, drop=True)


def other_state(u_nk):
    return u_nk.rename(index={0.25: 0.3}, level=1)


def spoiled(value, column=0):
    def spoil(u_nk):
        u_nk = u_nk.copy()
        u_nk.iloc[3, column] = value
        return u_nk

    return spoil


BAD = {
    "no DataFrame": (lambda u_nk: u_nk.to_numpy(), TypeError, "expected a pandas DataFrame, got"),
    "no index": (no_time, ValueError, "an index of time and state"),
    "no rows": (lambda u_nk: u_nk.iloc[:0], ValueError, "got 0 rows"),
    "a state twice": (
        lambda u_nk: u_nk.set_axis([0.0, 0.25, 0.25, 1.0], axis=1),
        ValueError,
        "expected different states as columns",
    ),
    "another state": (other_state, ValueError, r"among the columns, .*, got samples of \[0\.3\]"),
    "texts": (lambda u_nk: u_nk.astype(str), TypeError, "expected numbers, got columns of string"),
    "truth values": (lambda u_nk: u_nk > 1, TypeError, "got columns of boolean"),
    "complex numbers": (lambda u_nk: u_nk * 1j, TypeError, "got columns of complex"),
    "no columns": (lambda u_nk: u_nk[[]], ValueError, "a column per state, got 750 rows"),
    "no energy": (
        spoiled(np.inf),
        ValueError,
        r"samples of state 0\.0 in that state, and .* number 3",
    ),
    "minus infinity": (spoiled(-np.inf, 1), ValueError, r"any but -inf, got others in 1 of 300"),
}


@pytest.mark.parametrize("estimator", [BAR, MBAR])
@pytest.mark.parametrize(("spoil", "error", "message"), BAD.values(), ids=list(BAD))
@pytest.mark.bad_input
def test_a_wrong_table_is_named(estimator, spoil, error, message):
    with pytest.raises(error, match=f"u_nk: .*{message}"):
        estimator().fit(spoil(table()))


@pytest.mark.parametrize(
    ("attrs", "message"),
    [
        ({"energy_unit": "eV"}, "one of kT, kJ/mol, kcal/mol, got 'eV'"),
        ({"energy_unit": "kJ/mol", "temperature": None}, r"attrs\['temperature'\] in kelvin"),
        ({"energy_unit": "kJ/mol", "temperature": 0.0}, r"attrs\['temperature'\] in kelvin"),
    ],
)
def test_a_wrong_unit_is_named(attrs, message):
    with pytest.raises(ValueError, match=message):
        BAR().fit(table(**attrs))


def test_a_bootstrap_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match="n_bootstraps: expected 0 or at least 2"):
        MBAR(n_bootstraps=1).fit(table())
    with pytest.raises(ValueError, match="n_bootstraps: expected 0 beside a statistical_ineff"):
        MBAR(n_bootstraps=50, statistical_inefficiency=3.0).fit(table())
    with pytest.raises(ValueError, match="initial_f_k: expected 'BAR' or values, got 'MBAR'"):
        MBAR(initial_f_k="MBAR").fit(table())


def test_a_window_of_infinite_error_spoils_no_other():
    covariance = np.diag([np.inf, 1e14, 1e-6, 1e-6])
    covariance[2, 3] = covariance[3, 2] = 5e-7
    chain = free_energy.ChainFreeEnergy(
        np.arange(4.0), np.sqrt(np.diag(covariance)), covariance, *[None] * 5
    )
    delta_f, errors = _between_all_states(chain)
    np.testing.assert_array_equal(delta_f[0], [0, 0, 1, 3, 6])
    np.testing.assert_array_equal(np.diag(errors), 0)
    assert np.isinf(errors[0, 1:]).all()
    np.testing.assert_allclose(errors[2:, 2:][0], [0, 1e-3, np.sqrt(3e-6)])


def test_samples_of_one_state_have_no_work_to_contradict():
    """MBAR is then exponential averaging; no warning speaks of windows that there are not."""
    u_nk = table([0.0, 0.1], oscillators((400, 0), spacing=0.1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = MBAR().fit(u_nk).delta_f_.loc[0.0, 0.1]
    work = u_nk[0.1] - u_nk[0.0]
    assert found == pytest.approx(-np.log(np.mean(np.exp(-work))), rel=1e-9)


def test_an_error_of_the_check_is_no_contradiction(monkeypatch):
    """Only what the samples contradict becomes a warning; any other error is an error."""

    def broken(*_, **__):
        raise ValueError("work_forward: expected something else")

    monkeypatch.setattr("nce_jax.alchemlyb._estimator.check_work", broken)
    for estimator in (BAR(), MBAR()):
        with pytest.raises(ValueError, match="expected something else"):
            estimator.fit(table())


def test_one_state_is_no_chain():
    u_nk = table()
    with pytest.raises(ValueError, match="samples of two or more states, got 1"):
        BAR().fit(u_nk[u_nk.index.get_level_values(1) == 0.0])
