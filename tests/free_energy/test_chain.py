"""`bar_chain`: each window is `bar`; the error of the sum is that of windows with shared states."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nce_jax
from nce_jax import Status, free_energy
from tests import oracles
from tests.free_energy.states import oscillators

# Arrays of the host, which the annotations do not have.
pytestmark = pytest.mark.bad_input

chain = jax.jit(free_energy.bar_chain, static_argnames=("shared_samples", "solver", "max_steps"))


def test_equals_the_sums_over_windows_and_configurations(x64):
    forward, reverse, _ = oscillators(200)
    values, covariance = oracles.bar_chain_covariance(forward, reverse)
    result = chain(forward, reverse)
    np.testing.assert_allclose(result.delta_f, values, rtol=0, atol=1e-11)
    np.testing.assert_allclose(result.covariance, covariance, rtol=1e-8, atol=1e-14)
    np.testing.assert_allclose(result.total, values.sum(), rtol=0, atol=1e-11)
    np.testing.assert_allclose(result.total_standard_error, np.sqrt(covariance.sum()), rtol=1e-8)
    assert result.total_standard_error > 1.2 * np.linalg.norm(result.standard_error)


@pytest.mark.costly
def test_one_inefficiency_per_state(x64):
    forward, reverse, _ = oscillators(200)
    inefficiency = np.array([1.0, 2.0, 5.0, 1.5, 3.0, 1.0])
    _, covariance = oracles.bar_chain_covariance(forward, reverse, inefficiency)
    for given in (inefficiency, jnp.asarray(inefficiency), list(inefficiency)):
        result = free_energy.bar_chain(forward, reverse, statistical_inefficiency=given)
        np.testing.assert_allclose(result.covariance, covariance, rtol=1e-8, atol=1e-14)
    once = free_energy.bar_chain(forward, reverse)
    np.testing.assert_allclose(
        result.effective_samples * np.maximum(inefficiency[:-1], inefficiency[1:]),
        once.effective_samples,
        rtol=1e-9,
    )


@pytest.mark.parametrize("num_reverse", [pytest.param(60, marks=pytest.mark.costly), 41])
def test_two_states_are_bar(num_reverse, float_dtype):
    forward, reverse, _ = oscillators(60, num_states=2)
    forward, reverse = (jnp.asarray(w, float_dtype) for w in (forward, reverse[:, :num_reverse]))
    one = chain(forward, reverse, statistical_inefficiency=3.0)
    other = jax.jit(nce_jax.bar)(forward, reverse, statistical_inefficiency=3.0)
    rtol = 8 * float(jnp.finfo(float_dtype).eps)
    for name in other._fields:
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=rtol)
    np.testing.assert_allclose(one.total, other.delta_f[0], rtol=rtol)
    np.testing.assert_allclose(one.total_standard_error, other.standard_error[0], rtol=rtol)


@pytest.mark.costly
def test_windows_of_their_own_are_independent():
    forward, reverse, _ = oscillators(200)
    result = free_energy.bar_chain(forward, reverse, shared_samples=False)
    np.testing.assert_array_equal(result.covariance, np.diag(np.diag(result.covariance)))
    np.testing.assert_allclose(
        result.total_standard_error, np.linalg.norm(result.standard_error), rtol=1e-6
    )
    # They may differ in length then, which shared configurations may not.
    free_energy.bar_chain(forward[:, :150], reverse, shared_samples=False)


@pytest.mark.costly
def test_windows_of_different_lengths(x64):
    forward, reverse, _ = oscillators(200)
    sizes = [200, 120, 80, 150, 60, 31]
    lists = (
        [row[:size] for row, size in zip(forward, sizes[:-1], strict=True)],
        [row[:size] for row, size in zip(reverse, sizes[1:], strict=True)],
    )
    values, covariance = oracles.bar_chain_covariance(*lists)
    for sides in (lists, [[jnp.asarray(row) for row in side] for side in lists]):
        result = free_energy.bar_chain(*sides)
        np.testing.assert_allclose(result.delta_f, values, rtol=0, atol=1e-11)
        np.testing.assert_allclose(result.covariance, covariance, rtol=1e-8, atol=1e-14)


@pytest.mark.costly
def test_padding_of_a_batch_counts_for_nothing(x64):
    forward, reverse, _ = oscillators(50, lanes=(2,))
    widths = [(0, 0), (0, 0), (0, 7)]
    padded = [np.pad(side, widths, constant_values=np.nan) for side in (forward, reverse)]
    weights = np.arange(57) < 50
    one = chain(*padded, weights_forward=weights, weights_reverse=weights)
    other = chain(forward, reverse)
    assert one.total.shape == (2,)
    for first, second in zip(one, other, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-9, atol=1e-15)


@pytest.mark.costly
def test_a_window_without_overlap_takes_the_sum_with_it():
    forward, reverse, exact = oscillators(300, lanes=(2,))
    forward[0, 2], reverse[0, 2] = 200 + 20 * forward[0, 2], 200 + 20 * reverse[0, 2]
    result = free_energy.bar_chain(forward, reverse)
    expected = np.full((2, 5), Status.CONVERGED)
    expected[0, 2] = Status.NO_OVERLAP
    np.testing.assert_array_equal(result.status, expected)
    np.testing.assert_array_equal(np.isnan(result.delta_f), expected != 0)
    np.testing.assert_array_equal(np.isnan(result.total), [True, False])
    np.testing.assert_array_equal(np.isnan(result.total_standard_error), [True, False])
    is_known = ~np.isnan(np.asarray(result.covariance[0]))
    assert not is_known[2].any()
    assert not is_known[:, 2].any()
    assert is_known.sum() == 16
    assert abs(result.total[1] - exact.sum()) < 4 * result.total_standard_error[1]


@pytest.mark.costly
def test_a_window_that_failed_passes_no_gradient():
    """Neither to its neighbors, with which it shares samples, nor to other chains."""
    forward, reverse, _ = oscillators(50, num_states=4, lanes=(2,))
    forward[0, 1, 3] = np.nan

    def loss(change):
        result = free_energy.bar_chain(forward + change, reverse)
        return sum(jnp.sum(jnp.where(jnp.isfinite(part), part, 0)) for part in result[:5])

    gradient = jax.jit(jax.grad(loss))(jnp.zeros(forward.shape))
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[0, 1], 0)
    assert (gradient[0, 2] != 0).any()


def test_clashes_are_the_zeros_they_are(x64):
    """Work of +inf counts among the values and adds zero; a very large one does the same."""
    forward, reverse, _ = oscillators(200)
    clashes = np.random.default_rng(1).uniform(size=(2, 5, 200)) < 0.2
    infinite = [np.where(c, np.inf, w) for c, w in zip(clashes, (forward, reverse), strict=True)]
    large = [np.where(c, 1e4, w) for c, w in zip(clashes, (forward, reverse), strict=True)]
    result, expected = free_energy.bar_chain(*infinite), free_energy.bar_chain(*large)
    assert (result.status == Status.CONVERGED).all()
    for first, second in zip(result, expected, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-9, atol=1e-14)


@pytest.mark.costly
def test_work_of_minus_infinity_is_named_and_stays_in_its_window():
    forward, reverse, _ = oscillators(100)
    clean = free_energy.bar_chain(forward, reverse)
    reverse[1, 3] = -np.inf  # the final state forbids a configuration that was sampled in it
    result = free_energy.bar_chain(forward, reverse)
    np.testing.assert_array_equal(result.status, [0, Status.NONFINITE, 0, 0, 0])
    kept = [0, 2, 3, 4]
    np.testing.assert_array_equal(result.delta_f[np.array(kept)], clean.delta_f[np.array(kept)])
    assert np.isnan(result.total)
    problem = nce_jax.log_partition.make_problem(jnp.asarray(reverse), -jnp.asarray(forward))
    with pytest.raises(FloatingPointError, match=r"log_ratio_data is -inf at 1 of 100"):
        nce_jax.check_solution(result, problem=problem)


@pytest.mark.costly
def test_constants_of_windows_are_taken_out_on_the_host():
    """float64 work in a float32 program; constants cancel in the sum of all windows."""
    forward, reverse, _ = oscillators(200)
    plain = free_energy.bar_chain(forward, reverse)
    constants = np.array([3e3, -2e3, 0.0, 4e3, -5e3])[:, None] + 0.25
    moved = free_energy.bar_chain(forward + constants, reverse - constants)
    # Values of 5e3 have a spacing of 5e-4 in float32.
    np.testing.assert_allclose(moved.delta_f, plain.delta_f + constants[:, 0], atol=3e-4)
    np.testing.assert_allclose(moved.total, plain.total + 1.25, atol=2e-5)
    np.testing.assert_allclose(moved.covariance, plain.covariance, rtol=1e-4, atol=1e-9)
    with pytest.raises(ValueError, match=r"work_forward: expected values that lead to a result"):
        free_energy.bar_chain(forward + 1e8, reverse - 1e8)
    # Lists of windows of different lengths, of which a short one is mostly padding.
    lists = [[*(w + c)[:-1], (w + c)[-1, :20]] for w, c in ((forward, 5e3), (reverse, -5e3))]
    lists[1][3] = lists[1][3][:200]
    short = free_energy.bar_chain(*lists, shared_samples=False)
    expected = nce_jax.bar(forward[-1, :20], reverse[-1, :20])
    np.testing.assert_allclose(short.delta_f[-1], expected.delta_f + 5e3, atol=3e-4)


def test_the_stated_error_is_the_spread(x64):
    """Six oscillators, 300 samples each, 400 repetitions, seed 5: the mean within 4 of its errors,
    the stated error within 10 %, coverage 95 +- 4 %. The windows as if independent: 20 % too small.
    """
    num_lanes = 400
    forward, reverse, exact = oscillators(300, seed=5, lanes=(num_lanes,))
    result = chain(forward, reverse)
    deviation = np.asarray(result.total) - exact.sum()
    spread = np.std(deviation, ddof=1)
    assert abs(deviation.mean()) < 4 * spread / np.sqrt(num_lanes)
    # The spread of 400 is known to 3.5 %.
    np.testing.assert_allclose(np.mean(result.total_standard_error), spread, rtol=0.1)
    assert 0.91 < np.mean(np.abs(deviation) < 1.96 * result.total_standard_error) < 0.99
    independent = np.linalg.norm(result.standard_error, axis=-1)
    assert 0.7 < np.mean(independent) / spread < 0.9
    # Differences of other states: the covariance of every pair of windows.
    empirical = np.cov(np.asarray(result.delta_f).T)
    np.testing.assert_allclose(
        np.mean(result.covariance, axis=0), empirical, atol=0.2 * empirical.max()
    )


@pytest.mark.costly
def test_gradients_of_the_sum(x64):
    forward, reverse, _ = oscillators(30)
    gradient = jax.grad(lambda f: chain(f, reverse).total)(jnp.asarray(forward))
    step = np.zeros_like(forward)
    step[1, 3] = 1e-4
    difference = chain(forward + step, reverse).total - chain(forward - step, reverse).total
    np.testing.assert_allclose(gradient[1, 3], difference / 2e-4, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda f, r: ((f[0], r[0]), {}), ValueError, ["work_forward", "num_windows", "(20,)"]),
        (lambda f, r: ((f[:4], r), {}), ValueError, ["work_reverse", "4 windows", "5"]),
        (
            lambda f, r: ((f[:, :9], r), {}),
            ValueError,
            ["work_forward", "20 values in window 1", "got 9", "shared_samples=False"],
        ),
        (lambda f, r: (([*f[:4], f[4, :3]], list(r)), {}), ValueError, ["window 4", "got 3"]),
        (lambda f, r: ((list(f), [*r[:4], r]), {}), ValueError, ["work_reverse[4]", "(n,)"]),
        (lambda f, r: (([], []), {}), ValueError, ["work_forward", "one window", "empty"]),
        (lambda f, r: ((f, r), {"shared_samples": 1}), TypeError, ["shared_samples", "1"]),
        (
            lambda f, r: ((f, r), {"statistical_inefficiency": np.ones(5)}),
            ValueError,
            ["statistical_inefficiency", "(6,)", "(5,)"],
        ),
        (
            lambda f, r: ((f, r), {"statistical_inefficiency": [1, 1, 1, 1, 1, 0.5]}),
            ValueError,
            ["statistical_inefficiency", "at least 1", "0.5"],
        ),
    ],
)
def test_bad_arguments_are_named(change, error, words):
    forward, reverse, _ = oscillators(20)
    arguments, options = change(forward, reverse)
    with pytest.raises(error) as caught:
        free_energy.bar_chain(*arguments, **options)
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize("block_size", [1, pytest.param(7, marks=pytest.mark.costly)])
def test_the_longest_windows_of_both_sides_may_differ(block_size, x64):
    """Traced lists are padded to the longest row of their own side: 60 values against 80."""
    forward, reverse, _ = oscillators(80, num_states=4)
    sizes = [80, 50, 60, 40]
    lists = (
        [row[:size] for row, size in zip(forward, sizes[:-1], strict=True)],
        [row[:size] for row, size in zip(reverse, sizes[1:], strict=True)],
    )
    if block_size == 1:
        result = chain(*lists)
        values, covariance = oracles.bar_chain_covariance(*lists)
        np.testing.assert_allclose(result.delta_f, values, rtol=0, atol=1e-11)
        np.testing.assert_allclose(result.covariance, covariance, rtol=1e-8, atol=1e-14)
        parts = jax.jit(free_energy.bar_chain_convergence, static_argnames="num_fractions")(
            *lists, num_fractions=2
        )
        np.testing.assert_allclose(parts.forward_error[-1], result.total_standard_error)
        return
    options = {"num_replicates": 2, "block_size": block_size}
    static = ("num_replicates", "block_size")
    traced, eager = (
        function(jax.random.key(0), *lists, **options)
        for function in (
            jax.jit(free_energy.bootstrap_bar_chain, static_argnames=static),
            free_energy.bootstrap_bar_chain,
        )
    )
    for one, other in zip(traced, eager, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-7)
