"""The bootstrap of free energies: what is redrawn together, its spread, intervals that cover."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nce_jax import Status, free_energy
from tests.free_energy.states import autoregressive, chain_work, oscillators

# Arrays of the host, which the annotations do not have.
pytestmark = pytest.mark.bad_input

KEY = jax.random.key(0)
bootstrap_bar = jax.jit(free_energy.bootstrap_bar, static_argnames=("num_replicates", "block_size"))
bootstrap_chain = jax.jit(
    free_energy.bootstrap_bar_chain,
    static_argnames=("num_replicates", "block_size", "shared_samples"),
)


def one_window(num_samples, **options):
    forward, reverse, exact = oscillators(num_samples, num_states=2, spacing=2.0, **options)
    return forward[..., 0, :], reverse[..., 0, :], exact[0]


@pytest.mark.costly
def test_a_replicate_is_bar_of_values_that_are_redrawn(x64):
    """Values of three kinds: a replicate is one of the answers that their counts can have."""
    forward = np.array([0.5, 0.5, 2.0])
    reverse = np.array([1.0, 1.0, -0.25])
    result = bootstrap_bar(KEY, forward, reverse, num_replicates=100)
    kinds = [
        (np.repeat([0.5, 2.0], [3 - i, i]), np.repeat([1.0, -0.25], [3 - j, j]))
        for i in range(4)
        for j in range(4)
    ]
    possible = free_energy.bar(*map(np.stack, zip(*kinds, strict=True)))
    distance = np.abs(np.asarray(result.replicates)[:, None] - np.asarray(possible.delta_f))
    assert distance.min(axis=1).max() < 1e-10
    # Each with its own error. A third of the values are of the second kind, on both sides.
    errors = np.asarray(possible.standard_error)[distance.argmin(axis=1)]
    np.testing.assert_allclose(result.replicate_errors, errors, rtol=1e-7, atol=1e-12)
    counts = np.bincount(distance.argmin(axis=1), minlength=16).reshape(4, 4) / 100
    binomial = np.array([8, 12, 6, 1]) / 27
    np.testing.assert_allclose(counts, binomial[:, None] * binomial, atol=0.13)


@pytest.mark.costly
def test_the_spread_is_the_error(x64):
    """300 values a side, 400 replicates, seeds 0 and 1: within 15 %, four errors of the spread."""
    forward, reverse, _ = one_window(300, seed=1)
    result = bootstrap_bar(KEY, forward, reverse, num_replicates=400)
    one = free_energy.bar(forward, reverse)
    np.testing.assert_allclose(result.delta_f, one.delta_f, rtol=1e-9)
    np.testing.assert_allclose(result.influence_error, one.standard_error, rtol=1e-9)
    np.testing.assert_allclose(result.effective_samples, one.effective_samples, rtol=1e-9)
    np.testing.assert_allclose(result.standard_error, one.standard_error, rtol=0.15)
    np.testing.assert_allclose(result.standard_error, np.std(result.replicates, ddof=1))
    np.testing.assert_allclose(np.mean(result.replicate_errors), one.standard_error, rtol=0.1)


@pytest.mark.parametrize("shared", [True, pytest.param(False, marks=pytest.mark.costly)])
@pytest.mark.costly
def test_a_configuration_is_redrawn_with_all_its_work(shared, x64):
    """Six oscillators, 300 samples each, 400 replicates: the error of the sum within 15 %."""
    forward, reverse, _ = oscillators(300)
    joint = free_energy.bar_chain(forward, reverse)
    expected = joint.total_standard_error if shared else np.linalg.norm(joint.standard_error)
    result = bootstrap_chain(KEY, forward, reverse, num_replicates=400, shared_samples=shared)
    np.testing.assert_allclose(result.delta_f, joint.total, rtol=1e-9)
    np.testing.assert_allclose(result.influence_error, expected, rtol=1e-9)
    np.testing.assert_allclose(result.standard_error, expected, rtol=0.15)
    np.testing.assert_allclose(np.mean(result.replicate_errors), expected, rtol=0.1)
    assert result.status == Status.CONVERGED


@pytest.mark.parametrize("block_size", [pytest.param(1, marks=pytest.mark.costly), 20])
@pytest.mark.costly
def test_padding_draws_the_same(block_size, x64):
    """Eagerly the values are padded to a size class, and windows to the longest."""
    forward, reverse, _ = oscillators(100, num_states=4)
    options = {"num_replicates": 3, "block_size": block_size}
    eager = free_energy.bootstrap_bar_chain(KEY, forward, reverse, **options)
    traced = bootstrap_chain(KEY, forward, reverse, **options)
    for one, other in zip(eager, traced, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-7)
    mask = np.arange(130) < 100
    padded = [np.pad(work, ((0, 0), (0, 30)), mode="edge") for work in (forward, reverse)]
    options |= {"weights_forward": mask, "weights_reverse": mask}
    masked = free_energy.bootstrap_bar_chain(KEY, *padded, **options)
    np.testing.assert_allclose(masked.replicates, eager.replicates, rtol=1e-7)


@pytest.mark.costly
def test_moving_blocks_keep_the_correlation(x64):
    """Chains with g = 1.8 / 0.2 = 9, 4,000 samples: blocks of 100 see the error that single values
    miss by a factor of 3, to 25 % (40 blocks, 200 replicates, seed 3).
    """
    num_states, means = 4, np.arange(4.0)
    x = means[:, None] + autoregressive(4000, 0.8, seed=3, lanes=(num_states,))
    forward, reverse = chain_work(x, means, np.ones(num_states))
    g = [free_energy.statistical_inefficiency(series) for series in x]
    expected = free_energy.bar_chain(
        forward, reverse, statistical_inefficiency=np.array(g)
    ).total_standard_error
    blocks = bootstrap_chain(KEY, forward, reverse, num_replicates=200, block_size=100)
    singles = free_energy.bar_chain(forward, reverse).total_standard_error
    assert 2.5 < expected / singles < 3.5
    np.testing.assert_allclose(blocks.standard_error, expected, rtol=0.25)
    np.testing.assert_allclose(blocks.influence_error, expected, rtol=0.25)
    np.testing.assert_allclose(np.mean(blocks.replicate_errors), expected, rtol=0.25)


@pytest.mark.costly
def test_blocks_are_runs_of_consecutive_values(x64):
    """Two blocks of half the values: 0 to 20 ones of a step in each of them, but the last value at
    most once.
    """
    values = np.stack([np.arange(40) >= 20, np.arange(40) == 39]).astype(float)
    result = bootstrap_bar(KEY, values, 0 * values, num_replicates=50, block_size=20)
    ones = np.arange(41)[:, None] > np.arange(40)
    possible = free_energy.bar(ones.astype(float), np.zeros((41, 40))).delta_f
    distance = np.abs(np.asarray(result.replicates)[..., None] - np.asarray(possible))
    assert distance.min(axis=-1).max() < 1e-10
    of_step, of_last = distance.argmin(axis=-1).T
    assert len(np.unique(of_step)) > 15
    assert of_last.max() <= 2


@pytest.mark.parametrize(
    "interval", [free_energy.percentile_interval, free_energy.studentized_interval]
)
def test_intervals_are_quantiles(interval):
    replicates = jnp.linspace(0.0, 1.0, 1001)
    bootstrap = free_energy.FreeEnergyBootstrap(
        delta_f=jnp.float32(0.4),
        standard_error=jnp.float32(0.3),
        replicates=replicates,
        influence_error=jnp.float32(2.0),
        replicate_errors=jnp.full(1001, 4.0),
        status=jnp.int32(0),
        effective_samples=jnp.float32(50),
    )
    low, high = interval(bootstrap, level=0.8)
    expected = (0.1, 0.9)
    if interval is free_energy.studentized_interval:
        # t runs from (0.1 - 0.4) / 4 to (0.9 - 0.4) / 4, and is turned around.
        expected = 0.4 - 2 * 0.5 / 4, 0.4 + 2 * 0.3 / 4
    np.testing.assert_allclose([low, high], expected, rtol=1e-5)
    failed = bootstrap._replace(replicates=replicates.at[0].set(jnp.nan))
    assert np.isnan(interval(failed)).all()


@pytest.mark.costly
def test_an_interval_of_no_spread_is_a_point():
    result = free_energy.bootstrap_bar(KEY, np.full(5, 3.0), np.full(5, -3.0), num_replicates=20)
    for interval in (free_energy.percentile_interval, free_energy.studentized_interval):
        np.testing.assert_allclose(interval(result), [3, 3], atol=1e-5)


@pytest.mark.costly
def test_no_overlap_has_no_error():
    result = free_energy.bootstrap_bar(
        KEY, np.arange(100.0, 140.0), np.arange(100.0, 140.0), num_replicates=20
    )
    assert result.status == Status.NO_OVERLAP
    assert np.isnan([result.delta_f, result.standard_error, result.influence_error]).all()
    assert np.isnan(free_energy.studentized_interval(result)).all()


@pytest.mark.costly
@pytest.mark.parametrize("is_chain", [False, True])
def test_intervals_cover(is_chain, x64):
    """Oscillators, 40 samples a state, 200 repetitions of 500 replicates, seed 7: 95 % intervals of
    both kinds contain the truth in 90 to 99 %; three standard errors of 200 are 4.6 %.
    """
    lanes = (200,)
    if is_chain:
        forward, reverse, exact = oscillators(40, num_states=3, seed=7, lanes=lanes)
        result = bootstrap_chain(KEY, forward, reverse, num_replicates=500)
    else:
        forward, reverse, exact = one_window(40, seed=7, lanes=lanes)
        result = bootstrap_bar(KEY, forward, reverse, num_replicates=500)
    for interval in (free_energy.percentile_interval, free_energy.studentized_interval):
        low, high = interval(result)
        covered = np.mean((low <= exact.sum()) & (exact.sum() <= high))
        assert 0.90 <= covered <= 0.99, (interval.__name__, covered)


@pytest.mark.parametrize("name", ["bootstrap_bar", "bootstrap_bar_chain"])
def test_bad_arguments_are_named(name):
    function = getattr(free_energy, name)
    forward, reverse, _ = oscillators(20)
    for options, error, words in (
        ({"num_replicates": 0}, ValueError, ["num_replicates", "0"]),
        ({"num_replicates": 2, "block_size": 21}, ValueError, ["block_size", "20", "21"]),
        ({"num_replicates": 2, "block_size": 2.0}, TypeError, ["block_size", "integer", "2.0"]),
    ):
        with pytest.raises(error) as caught:
            function(KEY, forward, reverse, **options)
        assert all(word in str(caught.value) for word in words), str(caught.value)
    with pytest.raises(TypeError, match="key: expected a typed key"):
        function(forward, reverse, reverse, num_replicates=2)


@pytest.mark.costly
def test_bad_intervals_are_named():
    result = free_energy.bootstrap_bar(KEY, np.full(5, 3.0), np.full(5, -3.0), num_replicates=20)
    for interval in (free_energy.percentile_interval, free_energy.studentized_interval):
        with pytest.raises(ValueError, match="level: expected a number between 0 and 1, got 95"):
            interval(result, level=95)
        with pytest.raises(TypeError, match="bootstrap: expected a FreeEnergyBootstrap"):
            interval(result.replicates)


@pytest.mark.parametrize("kind", ["rbg", "unsafe_rbg"])
@pytest.mark.costly
def test_keys_of_other_generators_redraw_shared_states_once(kind):
    """300 samples of six states, 400 replicates, key 0: the error of the sum within 15 %, of which
    windows that are redrawn on their own lose a fifth. `vmap` takes the first of many such keys.
    """
    forward, reverse, _ = oscillators(300)
    key = jax.random.key(0, impl=kind)
    result = bootstrap_chain(key, forward, reverse, num_replicates=400, block_size=1)
    np.testing.assert_allclose(result.standard_error, result.influence_error, rtol=0.15)


@pytest.mark.parametrize("name", ["bootstrap_bar", "bootstrap_bar_chain"])
def test_blocks_are_compared_with_the_smallest_set(name):
    """Padding is no sample, in an array with weights and in a list."""
    function = getattr(free_energy, name)
    forward, reverse, _ = oscillators(20, num_states=3)
    mask = np.arange(20) < np.array([[20], [5]])
    with pytest.raises(ValueError, match="block_size: expected at most 5 values, got 6"):
        function(KEY, forward, reverse, num_replicates=2, block_size=6, weights_reverse=mask)
    if name == "bootstrap_bar_chain":
        lists = [forward[0], forward[1][:5]], [reverse[0][:5], reverse[1]]
        for call in (function, bootstrap_chain):
            with pytest.raises(ValueError, match="block_size: expected at most 5 values, got 6"):
                call(KEY, *lists, num_replicates=2, block_size=6)


@pytest.mark.costly
def test_a_side_of_one_block_has_no_error():
    """Where weights are traced, nothing is known of the blocks at the call."""
    forward, reverse, _ = oscillators(20, num_states=2)
    mask = np.arange(20) < 5
    for function, sides in (
        (free_energy.bootstrap_bar, (forward[0], reverse[0])),
        (free_energy.bootstrap_bar_chain, (forward, reverse)),
    ):
        result = jax.jit(
            lambda weights, function=function, sides=sides: function(
                KEY, *sides, num_replicates=3, block_size=6, weights_reverse=weights
            )
        )(mask)
        assert np.isinf(result.influence_error)
        assert np.isinf(result.replicate_errors).all()
        assert result.status == Status.LOW_OVERLAP
