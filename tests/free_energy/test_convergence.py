"""Free energies from growing parts of the samples: each is the estimate of that part alone."""

import jax
import numpy as np
import pytest

import nce_jax
from nce_jax import Status, free_energy
from tests.free_energy.states import oscillators

# Arrays of the host, which the annotations do not have.
pytestmark = pytest.mark.bad_input


@pytest.mark.costly
def test_parts_are_bar_of_the_first_and_the_last(x64):
    forward, reverse, _ = oscillators(103, num_states=2, lanes=(2,))
    forward, reverse = forward[:, 0], reverse[:, 0, :57]
    result = free_energy.bar_convergence(
        forward, reverse, num_fractions=5, statistical_inefficiency=2.0
    )
    np.testing.assert_allclose(result.fraction, [0.2, 0.4, 0.6, 0.8, 1.0])
    for index in range(5):
        m, n = 103 * (index + 1) // 5, 57 * (index + 1) // 5
        for end, pair in (
            ("forward", (forward[:, :m], reverse[:, :n])),
            ("backward", (forward[:, -m:], reverse[:, -n:])),
        ):
            one = nce_jax.bar(*pair, statistical_inefficiency=2.0)
            for name, expected in (
                (end, one.delta_f),
                (f"{end}_error", one.standard_error),
                (f"{end}_status", one.status),
            ):
                np.testing.assert_allclose(getattr(result, name)[index], expected, rtol=1e-8)


@pytest.mark.costly
def test_parts_of_a_chain(x64):
    forward, reverse, _ = oscillators(60, num_states=4)
    g = np.array([1.0, 2.0, 1.0, 3.0])
    sizes = [60, 40, 55, 31]
    lists = (
        [row[:size] for row, size in zip(forward, sizes[:-1], strict=True)],
        [row[:size] for row, size in zip(reverse, sizes[1:], strict=True)],
    )
    result = free_energy.bar_chain_convergence(*lists, num_fractions=2, statistical_inefficiency=g)
    for end, part in (
        ("forward", lambda row: row[: len(row) // 2]),
        ("backward", lambda row: row[len(row) - len(row) // 2 :]),
    ):
        halves = [[part(row) for row in side] for side in lists]
        one = free_energy.bar_chain(*halves, statistical_inefficiency=g)
        np.testing.assert_allclose(getattr(result, end)[0], one.total, rtol=1e-9)
        np.testing.assert_allclose(
            getattr(result, f"{end}_error")[0], one.total_standard_error, rtol=1e-8
        )
    np.testing.assert_allclose(result.forward[1], result.backward[1], rtol=1e-12)


def test_one_program_serves_all_parts():
    forward, reverse, _ = oscillators(64, num_states=2)
    run = jax.jit(lambda f, r: free_energy.bar_convergence(f, r, num_fractions=20))
    run(forward[0].astype(np.float32), reverse[0].astype(np.float32))
    assert run._cache_size() == 1


def test_a_drift_shows_and_a_constant_drops_out():
    """Work that is higher at first; float64 values beyond float32."""
    forward, reverse, _ = oscillators(400, num_states=2, spacing=1.0)
    drift = np.where(np.arange(400) < 100, 2.0, 0.0)
    forward, reverse = forward[0] + drift, reverse[0] - drift
    result = free_energy.bar_convergence(forward, reverse, num_fractions=4)
    difference = result.forward[0] - result.backward[0]
    assert difference > 4 * np.hypot(result.forward_error[0], result.backward_error[0])
    assert (result.forward_status == Status.CONVERGED).all()
    moved = free_energy.bar_convergence(forward + 4e3, reverse - 4e3, num_fractions=4)
    np.testing.assert_allclose(moved.forward, result.forward + 4e3, atol=3e-4)
    np.testing.assert_allclose(moved.backward_error, result.backward_error, rtol=1e-4)


@pytest.mark.costly
def test_the_status_of_a_chain_is_its_worst():
    forward, reverse, _ = oscillators(100, num_states=4)
    reverse[0] += 100
    forward[0] += 100
    result = free_energy.bar_chain_convergence(forward, reverse, num_fractions=2)
    assert (result.forward_status == Status.NO_OVERLAP).all()
    assert np.isnan(result.forward).all()
    reverse[1, :50] = np.nan
    result = free_energy.bar_chain_convergence(forward, reverse, num_fractions=2)
    np.testing.assert_array_equal(result.forward_status, [Status.NONFINITE] * 2)
    np.testing.assert_array_equal(result.backward_status, [Status.NO_OVERLAP, Status.NONFINITE])


def test_bad_arguments_are_named():
    forward, reverse, _ = oscillators(20)
    for function in (free_energy.bar_convergence, free_energy.bar_chain_convergence):
        with pytest.raises(ValueError, match="num_fractions: expected at least 1, got 0"):
            function(forward, reverse, num_fractions=0)
        with pytest.raises(ValueError, match="statistical_inefficiency: expected a finite number"):
            function(forward, reverse, statistical_inefficiency=0.5)
