"""Potentials of mean force: bins as states without samples, closed forms, coverage, honesty."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nce_jax
from nce_jax import Status, free_energy

# Arrays of the host, which the annotations do not have.
pytestmark = pytest.mark.bad_input

EDGES = np.array([-1.6, -1.0, -0.7, -0.2, 0.1, 0.6, 1.0, 1.6])
NUM_SAMPLES = 150
SPRING, CENTERS = 20.0, np.linspace(-1.4, 1.4, 6)
GRID = np.linspace(-3, 3, 6001)


class Umbrellas(NamedTuple):
    """Samples of a double well under harmonic biases; the state without one comes first."""

    potentials: np.ndarray
    x: np.ndarray
    num_samples: np.ndarray


def double_well(x):
    return 4 * (x**2 - 1) ** 2


def umbrellas(seed=0, offsets=0.0):
    rng = np.random.default_rng(seed)
    density = np.exp(-double_well(GRID) - SPRING / 2 * (GRID - CENTERS[:, None]) ** 2)
    density /= density.sum(axis=1, keepdims=True)
    x = np.concatenate([rng.choice(GRID, NUM_SAMPLES, p=row) for row in density])
    bias = SPRING / 2 * (x - CENTERS[:, None]) ** 2 + offsets
    potentials = double_well(x) + np.vstack([np.zeros_like(x), bias])
    return Umbrellas(potentials, x, np.array([0] + [NUM_SAMPLES] * len(CENTERS)))


def exact(edges=EDGES):
    """Minus the log of the density of the grid in every bin, (bins,)."""
    masses, _ = np.histogram(GRID, edges, weights=np.exp(-double_well(GRID)))
    return np.log(np.diff(edges)) - np.log(masses)


def of(pool, edges=EDGES, **options):
    return free_energy.potential_of_mean_force(*pool, edges=edges, **options)


def test_bins_are_states_that_allow_the_samples_inside_alone(x64):
    pool = umbrellas()
    result = of(pool)
    left, right = EDGES[:-1, None], EDGES[1:, None]
    bins = np.where((pool.x >= left) & (pool.x < right), pool.potentials[0], np.inf)
    states = nce_jax.mbar(np.vstack([pool.potentials, bins]), [*pool.num_samples, *[0] * len(bins)])
    first, lowest = len(pool.potentials), int(np.argmin(result.f))
    expected = states.delta_f[first + lowest, first:] + np.log(np.diff(EDGES))
    np.testing.assert_allclose(result.f, expected - expected[lowest], atol=1e-11)
    errors = states.standard_error[first + lowest, first:]
    np.testing.assert_allclose(result.standard_error, errors, atol=1e-11)
    # The covariance has the errors of all differences, not of those to the lowest bin alone.
    variance = np.diagonal(result.covariance)
    pairs = np.sqrt(np.maximum(variance[:, None] + variance - 2 * result.covariance, 0))
    np.testing.assert_allclose(pairs, states.standard_error[first:, first:], atol=1e-7)


def test_a_state_with_samples(x64):
    """Without umbrellas the masses are shares, and errors those of a multinomial distribution."""
    x = np.random.default_rng(1).normal(size=400)
    result = of(Umbrellas(x[None] ** 2 / 2, x, np.array([400])), edges=np.array([-1.0, 0, 2, 3]))
    shares, _ = np.histogram(x, [-1.0, 0, 2, 3])
    f = -np.log(shares / np.array([1, 2, 1]))
    lowest = np.argmin(f)
    np.testing.assert_allclose(result.f, f - f[lowest], atol=1e-12)
    errors = np.where(np.arange(3) == lowest, 0, np.sqrt(1 / shares + 1 / shares[lowest]))
    np.testing.assert_allclose(result.standard_error, errors, atol=1e-12)


def test_two_coordinates(x64):
    """Bins of a grid are bins of a line in another order; the volume is a product."""
    pool = umbrellas()
    y = np.random.default_rng(5).normal(size=len(pool.x))
    edges = [np.array([-1.5, -1.0, 0.5, 1.5]), np.array([-1.0, 0.5, 4.0])]
    grid = free_energy.potential_of_mean_force(
        pool.potentials, np.stack([pool.x, y], axis=1), pool.num_samples, edges=edges
    )
    assert grid.f.shape == (3, 2)
    assert grid.covariance.shape == (3, 2, 3, 2)
    along = [np.digitize(values, axis) - 1 for values, axis in zip((pool.x, y), edges, strict=True)]
    is_inside = (along[0] >= 0) & (along[0] < 3) & (along[1] >= 0) & (along[1] < 2)
    place = np.where(is_inside, 2.0 * along[0] + along[1], -1)
    line = of(pool._replace(x=place), edges=np.arange(-0.5, 6.0))
    volumes = np.outer(np.diff(edges[0]), np.diff(edges[1])).ravel()
    f = np.asarray(line.f) + np.log(volumes)
    lowest = np.argmin(f)
    np.testing.assert_allclose(grid.f.ravel(), f - f[lowest], atol=1e-11)
    covariance = np.asarray(line.covariance)
    moved = covariance - covariance[lowest] - covariance[:, [lowest]] + covariance[lowest, lowest]
    np.testing.assert_allclose(grid.covariance.reshape(6, 6), moved, atol=1e-11)
    np.testing.assert_allclose(
        grid.standard_error.ravel(), np.sqrt(np.abs(np.diagonal(moved))), atol=1e-7
    )


@pytest.mark.costly
def test_intervals_cover(x64):
    """300 repetitions: the share of all differences within 1.96 errors is .95, k = 4, seeds 0-299.

    Bins of a repetition are not independent: the error of the share is that of its mean by
    repetition.
    """
    truth, covered, scores = exact(), [], []
    for seed in range(300):
        result = of(umbrellas(seed))
        lowest = int(np.argmin(result.f))
        others = np.arange(len(truth)) != lowest
        deviations = (np.asarray(result.f) - truth + truth[lowest])[others]
        score = deviations / np.asarray(result.standard_error)[others]
        covered.append(np.mean(np.abs(score) < 1.96))
        scores.append(np.mean(score**2))
    for values, expected in ((covered, 0.95), (scores, 1.0)):
        error = np.std(values) / np.sqrt(len(values))
        # Bias of second order in the errors, which are up to .2 kT here.
        assert abs(np.mean(values) - expected) < 4 * error + 0.005 * expected


@pytest.mark.costly
def test_chunks_blocks_compilation_and_float32(x64):
    pool = umbrellas()
    whole = of(pool)
    blocks = np.split(pool.potentials, np.cumsum(pool.num_samples)[:-1], axis=1)
    compiled = jax.jit(lambda u, x: of((u, x, pool.num_samples)))
    for other in (
        of(pool, chunk_size=77),
        free_energy.potential_of_mean_force(blocks, pool.x, edges=list(EDGES)),
        compiled(jnp.asarray(pool.potentials), jnp.asarray(pool.x)),
        of(pool, target_state=-len(pool.potentials)),
    ):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11), whole, other
        )
    with jax.enable_x64(False):
        single = of(umbrellas(offsets=1e7 * np.arange(1.0, 7.0)[:, None]))
    np.testing.assert_allclose(single.f, whole.f, atol=2e-5)
    np.testing.assert_allclose(single.standard_error, whole.standard_error, rtol=1e-3, atol=1e-5)


def test_a_high_barrier_does_not_underflow():
    """A mass of e^-300 of another has its f, in float32."""
    centers = np.linspace(0.0, 10.0, 41)[:, None]
    # Umbrellas with a spring of 40 on an oscillator with 6: means are at 40 / 46 of the centers.
    x = 40 / 46 * centers + np.random.default_rng(0).normal(size=(41, 100)) / np.sqrt(46.0)
    bias = 20 * (x.ravel() - centers) ** 2
    potentials = 3 * x.ravel() ** 2 + np.vstack([np.zeros(x.size), bias])
    edges = np.linspace(-0.25, 8.75, 37)
    with jax.enable_x64(False):
        result = of((potentials, x.ravel(), [0] + [100] * 41), edges=edges)
    known = np.asarray(result.status) != Status.NO_OVERLAP
    assert known.sum() > 30
    fine = np.linspace(edges[0], edges[-1], 36_001)[:-1].reshape(36, 1000)
    exact = 3 * fine[:, :1].squeeze() ** 2
    exact = exact - np.log(np.exp(3 * fine[:, :1] ** 2 - 3 * fine**2).mean(axis=1))
    deviation = (np.asarray(result.f) - exact + exact[np.nanargmin(result.f)])[known]
    # k = 5 for each of the bins, seed 0.
    assert np.all(np.abs(deviation) <= 5 * np.asarray(result.standard_error)[known] + 1e-3)
    assert np.nanmax(result.f) > 200
    assert np.isfinite(result.standard_error)[known].all()


def test_weights_and_inefficiency(x64):
    pool = umbrellas()
    doubled = Umbrellas(
        np.repeat(pool.potentials, 2, axis=1), np.repeat(pool.x, 2), 2 * pool.num_samples
    )
    once, twice = of(pool), of(doubled, statistical_inefficiency=2.0)
    padded = of(doubled, weights=np.tile([1.0, 0.0], len(pool.x)))
    for other in (twice, padded):
        np.testing.assert_allclose(other.f, once.f, atol=1e-11)
        np.testing.assert_allclose(other.standard_error, once.standard_error, rtol=1e-9)
        np.testing.assert_allclose(other.effective_samples, once.effective_samples, rtol=1e-9)


@pytest.mark.costly
def test_derivative(x64):
    pool = umbrellas()
    arrays = jnp.asarray(pool.potentials), jnp.asarray(pool.x)
    direction = jnp.asarray(np.random.default_rng(3).normal(size=pool.potentials.shape))
    f = lambda t: of((arrays[0] + t * direction, arrays[1], pool.num_samples)).f[1:3].sum()
    slope = jax.jvp(f, (0.0,), (1.0,))[1]
    np.testing.assert_allclose(slope, (f(1e-5) - f(-1e-5)) / 2e-5, rtol=1e-6)
    assert np.isfinite(jax.grad(f)(0.0))
    error = lambda t: of((arrays[0] + t * direction, arrays[1], pool.num_samples)).standard_error[1]
    slope = jax.grad(error)(0.0)
    np.testing.assert_allclose(slope, (error(1e-5) - error(-1e-5)) / 2e-5, rtol=1e-5)


def test_empty_bins_and_lone_samples(x64):
    pool = umbrellas()
    result = of(pool, edges=np.array([-9.0, -8.0, -1.0, 0.0, 1.0, pool.x.max(), 9.0]))
    assert list(np.asarray(result.status)[[0, 5]]) == [Status.NO_OVERLAP, Status.LOW_OVERLAP]
    assert np.isnan(result.f[0])
    assert np.isnan(result.standard_error[0])
    assert np.isnan(result.covariance[0]).all()
    assert np.isfinite(result.f[1:]).all()
    np.testing.assert_allclose(result.effective_samples[5], 1, rtol=0.1)
    nowhere = of(pool, edges=np.array([7.0, 8.0]))
    assert nowhere.status[0] == Status.NO_OVERLAP
    assert np.isnan(nowhere.f[0])


@pytest.mark.parametrize("offset", [0.0, 20.0, -20.0])
def test_bins_of_other_components_have_no_number(offset, x64):
    """What two umbrellas without overlap say of each other is the constant of their potentials."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(-3, 0.1, 500), rng.normal(3, 0.1, 500)])
    bias = 50 * (x - np.array([[-3.0], [3.0]])) ** 2 + np.array([[0.0], [offset]])
    pool = Umbrellas(np.vstack([0 * x, bias]), x, np.array([0, 500, 500]))
    result = of(pool, edges=np.array([-3.2, -3.0, -2.8, 2.8, 3.0, 3.2]))
    known = np.asarray(result.status) != Status.NO_OVERLAP
    # Those of one component at most, whichever the offset makes the lower one; the bin between
    # holds samples of both.
    assert list(known[[0, 1, 3, 4]]) in ([True] * 2 + [False] * 2, [False] * 2 + [True] * 2)
    np.testing.assert_array_equal(np.isfinite(result.f), known)


def test_edges_are_as_wide_as_they_were_given():
    x = 1e6 + np.random.default_rng(0).uniform(size=5000)
    with jax.enable_x64(False):
        result = of((np.zeros((1, 5000)), x, [5000]), edges=1e6 + np.linspace(0, 1, 11))
    assert np.max(result.f) < 0.3  # ten bins of 500 samples


def test_lone_samples_of_equal_states_are_those_of_one(x64):
    """A lone sample is the mean of its state, which must not hide its influence."""
    x = np.random.default_rng(0).normal(size=40)
    lone, pooled = (np.tile(x**2 / 2, (k, 1)) for k in (40, 1))
    edges = np.array([-3.0, -1.0, 0.0, 1.5, 3.0])
    calls = [
        lambda u, counts: free_energy.potential_of_mean_force(u, x, counts, edges=edges),
        lambda u, counts: free_energy.expectations(u, (x > 1.0).astype(float), counts),
    ]
    for call in calls:
        one, other = call(lone, [1] * 40), call(pooled, [40])
        np.testing.assert_allclose(
            one.effective_samples[: len(edges) - 1],
            np.broadcast_to(other.effective_samples, (4,)),
            rtol=1e-6,
        )
        assert np.min(one.effective_samples) < 35


def test_the_last_bin_holds_its_right_edge(x64):
    x = np.array([0.0, 0.5, 1.0, 1.0, 2.0, 2.0])
    result = of(Umbrellas(np.zeros((1, 6)), x, np.array([6])), edges=np.array([0.0, 1.0, 2.0]))
    np.testing.assert_allclose(result.f, [np.log(2), 0], atol=1e-12)


def test_failures_have_their_status(x64):
    pool = umbrellas()
    far = pool.potentials.copy()
    far[4:] += np.where(np.arange(far.shape[1]) < 450, np.inf, 0)
    far[:4] += np.where(np.arange(far.shape[1]) < 450, 0, np.inf)
    far[0] = double_well(pool.x)
    # Bins of the component with the lowest one are known; the others are not.
    parted = of(pool._replace(potentials=far))
    assert list(parted.status) == [Status.NO_OVERLAP] * 5 + [Status.CONVERGED] * 2
    assert list(np.isfinite(parted.f)) == [False] * 5 + [True] * 2
    broken = pool.potentials.copy()
    broken[0, 3] = np.nan
    result = of(pool._replace(potentials=broken))
    assert np.all(np.asarray(result.status) == Status.NONFINITE)
    assert np.isnan(result.f).all()
    short = of(pool, max_steps=1)
    assert np.all(np.asarray(short.status) == Status.MAX_STEPS)
    assert np.isnan(short.f).all()
    table = np.stack([pool.x, pool.x], axis=1)
    table[0, 1] = np.nan
    table[1, 0] = -99
    grid = lambda x: of((jnp.asarray(pool.potentials), x, pool.num_samples), edges=[EDGES, EDGES])
    assert np.all(np.asarray(jax.jit(grid)(jnp.asarray(table)).status) == Status.NONFINITE)
    table[0, 1] = -99
    assert not np.any(np.asarray(jax.jit(grid)(jnp.asarray(table)).status) == Status.NONFINITE)
    unknown = jax.jit(lambda x: of((jnp.asarray(pool.potentials), x, pool.num_samples)).status)
    assert np.all(unknown(jnp.asarray(pool.x).at[0].set(jnp.nan)) == Status.NONFINITE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"edges": [1.0, 0.0]}, "edges: expected finite numbers that increase"),
        ({"edges": [0.0]}, r"edges: expected shape \(bins \+ 1,\)"),
        ({"edges": [0.0, np.inf]}, "edges: expected finite numbers"),
        ({"target_state": 7}, "target_state: expected the index of a row"),
        ({"target_state": True}, "target_state: expected the index of a row"),
        ({"coordinate": np.zeros(3)}, "coordinate: expected one number per sample"),
        ({"edges": [EDGES, EDGES]}, "coordinate: expected one number per axis of edges"),
        ({"coordinate": np.zeros((900, 2))}, "coordinate: expected one number per sample"),
        ({"coordinate": np.full(900, np.nan)}, "coordinate: expected numbers, got NaN for 900"),
    ],
)
def test_refusals(options, message):
    pool = umbrellas()
    with pytest.raises(ValueError, match=message):
        free_energy.potential_of_mean_force(
            pool.potentials,
            options.pop("coordinate", pool.x),
            pool.num_samples,
            **{"edges": EDGES, **options},
        )
