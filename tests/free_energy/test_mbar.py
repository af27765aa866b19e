"""`mbar` and `expectations`: the formulas by NumPy, identities, closed forms, and honesty."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nce_jax
from nce_jax import Status, free_energy, training
from nce_jax._laplacian import narrowest
from nce_jax.free_energy._network import Network, make_network, relative
from nce_jax.free_energy._solve import moments_of
from tests.free_energy import networks
from tests.free_energy.networks import NUM_SAMPLES, oscillators

K = len(NUM_SAMPLES)


@pytest.fixture
def pool(x64):
    return oscillators()


@pytest.fixture
def result(pool):
    return nce_jax.mbar(pool.potentials, pool.num_samples)


def assert_close(actual, expected, atol=1e-12):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=atol)


def test_equals_the_formulas(pool, result):
    oracle = networks.solve(*pool[:2])
    assert_close(result.f, oracle.f, 1e-11)
    assert_close(result.standard_error, oracle.standard_error, 1e-10)
    assert_close(result.overlap, oracle.weights @ oracle.weights.T * pool.num_samples, 1e-11)
    sampled = pool.num_samples > 0
    eigenvalues = np.linalg.eigvals(np.asarray(result.overlap)[np.ix_(sampled, sampled)])
    assert_close(result.gap, 1 - np.sort(eigenvalues.real)[-2])
    assert np.all(np.isin(result.status, (Status.CONVERGED, Status.LOW_OVERLAP)))


@pytest.mark.costly
def test_expectations_equal_the_formulas(pool):
    oracle = networks.solve(*pool[:2])
    observable = np.sin(np.arange(pool.potentials.shape[1])) + pool.potentials[1]
    result = free_energy.expectations(pool.potentials, observable, pool.num_samples)
    value, error = networks.expectation(oracle, pool.num_samples, observable)
    assert_close(result.value, value, 1e-11)
    assert_close(result.standard_error, error, 1e-10)
    by_state = np.broadcast_to(observable, pool.potentials.shape)
    again = free_energy.expectations(pool.potentials, by_state, pool.num_samples)
    assert_close(again.value, result.value)


@pytest.mark.costly
def test_two_states_are_bar(x64):
    pool = oscillators((60, 90), spacing=2.0)
    work = pool.potentials[1] - pool.potentials[0]
    bar = nce_jax.bar(work[:60], -work[60:])
    result = nce_jax.mbar(*pool[:2])
    assert_close(result.f[1], bar.delta_f)
    assert_close(result.effective_samples[1], bar.effective_samples, 1e-9)
    assert result.status[1] == bar.status
    # Bennett's error is another estimate of the same number.
    np.testing.assert_allclose(result.standard_error[0, 1], bar.standard_error, rtol=0.02)


@pytest.mark.parametrize("spacing", [4.0, 5.0, 6.0, 7.0, 8.0, 20.0])
def test_two_states_overlap_where_they_do_for_bar(spacing, x64):
    pool = oscillators((60, 90), spacing=spacing)
    work = pool.potentials[1] - pool.potentials[0]
    result = nce_jax.mbar(*pool[:2])
    assert result.status[1] == nce_jax.bar(work[:60], -work[60:]).status
    is_estimate = result.status[1] in (Status.CONVERGED, Status.LOW_OVERLAP)
    assert np.isfinite(result.f[1]) == is_estimate


def test_order_of_the_states_does_not_matter(pool, result):
    order = [3, 1, 2, 0]
    blocks = np.split(pool.potentials, np.cumsum(pool.num_samples)[:-1], axis=1)
    other = nce_jax.mbar([blocks[k][order] for k in order])
    assert_close(other.delta_f, np.asarray(result.delta_f)[np.ix_(order, order)])
    assert_close(other.standard_error, np.asarray(result.standard_error)[np.ix_(order, order)])
    covariance = np.asarray(other.sandwich_covariance)
    moved = covariance - covariance[3] - covariance[:, [3]] + covariance[3, 3]
    assert_close(moved[np.ix_(order, order)], result.sandwich_covariance)


def test_a_shift_of_a_state_shifts_its_free_energy(pool, result):
    shift = np.array([0.0, 1e3, -5.0, 1e5])
    each = 1e4 * np.random.default_rng(0).normal(size=pool.potentials.shape[1])
    moved = nce_jax.mbar(pool.potentials + shift[:, None] + each, pool.num_samples)
    assert_close(moved.f - shift, result.f, 1e-9)
    assert_close(moved.standard_error, result.standard_error, 1e-9)


def test_a_state_that_occurs_twice_is_one(pool, result):
    rows = [0, 0, 1, 3]
    counts = np.array([25, 35, 40, 50])
    twice = nce_jax.mbar(pool.potentials[rows], counts)
    assert_close(twice.f, np.asarray(result.f)[rows])
    assert_close(twice.standard_error[0], np.asarray(result.standard_error)[0, rows], 1e-7)


@pytest.mark.costly
def test_weights(pool, result):
    rng = np.random.default_rng(1)
    equal = np.repeat([0.5, 3.0, 1.0, 2.0], pool.num_samples)
    scaled = nce_jax.mbar(*pool[:2], weights=equal)
    assert_close(scaled.f, result.f)
    assert_close(scaled.standard_error, result.standard_error)
    kept = rng.random(len(equal)) < 0.7
    counts = np.add.reduceat(kept[: sum(NUM_SAMPLES)], [0, 60, 100])
    fewer = nce_jax.mbar(pool.potentials[:, kept], [counts[0], counts[1], 0, counts[2]])
    masked = np.where(kept, pool.potentials, np.nan)
    left_out = nce_jax.mbar(masked, pool.num_samples, weights=kept.astype(float))
    for name in ("f", "standard_error", "sandwich_covariance", "effective_samples"):
        assert_close(getattr(left_out, name), getattr(fewer, name), 1e-9)


@pytest.mark.costly
def test_statistical_inefficiency(pool, result):
    one = nce_jax.mbar(*pool[:2], statistical_inefficiency=4.0)
    assert_close(one.f, result.f)
    assert_close(one.standard_error, 2 * result.standard_error)
    assert_close(one.sandwich_covariance, 4 * result.sandwich_covariance)
    # The first state's samples are counted for half as many: as if every other were missing.
    by_state = nce_jax.mbar(*pool[:2], statistical_inefficiency=np.array([2.0, 1, 1, 1]))
    doubled = [
        np.repeat(part, times, axis=1)
        for part, times in zip(
            np.split(pool.potentials, np.cumsum(pool.num_samples)[:-1], axis=1),
            (1, 2, 1, 2),
            strict=True,
        )
    ]
    expected = nce_jax.mbar(doubled)
    assert_close(by_state.f, expected.f)
    assert_close(by_state.standard_error, np.sqrt(2) * expected.standard_error)


@pytest.mark.costly
def test_derivatives(pool):
    direction = np.random.default_rng(2).normal(size=pool.potentials.shape)
    step = 1e-5

    def outputs(t):
        result = nce_jax.mbar(pool.potentials + t * direction, pool.num_samples)
        return result.f, result.standard_error[0]

    values, slopes = jax.jit(lambda t: jax.jvp(outputs, (t,), (1.0,)))(0.0)
    second = jax.jit(jax.grad(jax.grad(lambda t: outputs(t)[0][3])))(0.0)
    up, down = outputs(step), outputs(-step)
    for slope, high, low in zip(slopes, up, down, strict=True):
        assert_close(slope, (high - low) / (2 * step), 1e-8)
    curvature = (up[0][3] - 2 * values[0][3] + down[0][3]) / step**2
    assert_close(second, curvature, 2e-5 * (1 + abs(curvature)))


@pytest.mark.costly
def test_jit_vmap_and_chunks(pool, result):
    potentials = jnp.asarray(pool.potentials)
    lanes = jnp.stack([potentials, potentials + jnp.linspace(0, 1, K)[:, None]])
    mapped = jax.vmap(lambda u: nce_jax.mbar(u, jnp.asarray(pool.num_samples)))(lanes)
    assert_close(mapped.f, [result.f, result.f + np.linspace(0, 1, K)])
    chunks = nce_jax.mbar(*pool[:2], chunk_size=37)
    for part, whole in zip(chunks, result, strict=True):
        assert_close(part, whole, 1e-11)
    observable = pool.potentials[2]
    whole = free_energy.expectations(pool.potentials, observable, pool.num_samples)
    parts = free_energy.expectations(pool.potentials, observable, pool.num_samples, chunk_size=37)
    assert_close(parts.standard_error, whole.standard_error)


@pytest.mark.costly
def test_sharded_samples_give_the_same_numbers(pool, result):
    mesh = training.make_mesh()
    size = 152
    padded = np.pad(pool.potentials, ((0, 0), (0, size - pool.potentials.shape[1])))
    weights = jnp.arange(size) < pool.potentials.shape[1]
    split = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(None, "data"))
    counts = np.add(NUM_SAMPLES, (0, 0, 0, 2))
    sharded = nce_jax.mbar(jax.device_put(padded, split), counts, weights=weights.astype(float))
    for name in ("f", "standard_error", "effective_samples"):
        assert_close(getattr(sharded, name), getattr(result, name), 1e-10)


@pytest.mark.costly
def test_an_evaluation_on_a_mesh_is_one_collective(pool):
    mesh = training.make_mesh()
    split = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    every = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    samples = jnp.asarray(pool.potentials), jnp.array(NUM_SAMPLES), None, 1.0
    network = relative(make_network(*samples))
    pad = 152 - len(network.owners)
    shares = {
        "potentials": jnp.pad(network.potentials, ((0, pad), (0, 0))),
        "weights": jnp.pad(network.weights, (0, pad)),
        "owners": jnp.pad(network.owners, (0, pad), constant_values=K - 1),
    }
    others = jax.device_put(network._asdict(), every)
    network = Network(**(others | jax.device_put(shares, split)))
    evaluate = jax.jit(partial(moments_of, chunk_size=None))
    program = evaluate.lower(network, jax.device_put(jnp.zeros(K), every)).compile().as_text()
    assert len(re.findall(r"all-reduce\(|all-gather\(|collective-permute\(", program)) == 1


@pytest.mark.costly
def test_float32_of_host_arrays_with_offsets(x64):
    pool = oscillators()
    expected = nce_jax.mbar(*pool[:2])
    with jax.enable_x64(False):
        shift = np.array([0.0, 100.0, -500.0, 30.0])
        each = 1e6 * np.random.default_rng(0).normal(size=pool.potentials.shape[1])
        result = nce_jax.mbar(pool.potentials + shift[:, None] + each, pool.num_samples)
        assert result.f.dtype == jnp.float32
        assert_close(result.f - shift, expected.f, 5e-5)
        far = np.array([0.0, 3e8, 0.0, 0.0])[:, None]
        with pytest.raises(ValueError, match="reduced_potentials: .* float32 can represent"):
            nce_jax.mbar(pool.potentials + far, pool.num_samples)


@pytest.mark.parametrize("spacing", [20.0, 200.0])
def test_a_network_in_parts_names_them(spacing, x64):
    near, far = oscillators((30, 40)), oscillators((20, 60))
    joined = np.full((4, 150), 0.0)
    joined[:2, :70], joined[2:, 70:] = near.potentials, far.potentials
    joined[2:, :70], joined[:2, 70:] = near.potentials + spacing, far.potentials + spacing
    result = nce_jax.mbar(joined, [30, 40, 20, 60])
    assert result.components.tolist() == [0, 0, 2, 2]
    assert result.status[2:].tolist() == [Status.NO_OVERLAP] * 2
    assert np.all(np.isnan(result.f[2:]))
    assert np.all(np.isnan(result.delta_f[:2, 2:]))
    assert_close(result.f[:2], nce_jax.mbar(near.potentials, [30, 40]).f, 1e-6)
    parts = nce_jax.mbar(far.potentials, [20, 60])
    assert_close(result.delta_f[2:, 2:], parts.delta_f, 1e-6)
    with pytest.raises(FloatingPointError, match="NO_OVERLAP"):
        nce_jax.check_solution(result, allow_no_overlap=False)


def test_a_clash_is_a_zero(pool):
    clash = pool.potentials.copy()
    clash[3, :10] = np.inf
    huge = np.where(np.isinf(clash), 1e3, clash)
    actual, expected = (nce_jax.mbar(u, pool.num_samples) for u in (clash, huge))
    assert_close(actual.f, expected.f)
    assert_close(actual.standard_error, expected.standard_error)


@pytest.mark.parametrize(("state", "sample"), [(0, 5), (1, 5), (3, 5), (0, 70)])
@pytest.mark.parametrize("bad", [np.nan, -np.inf])
def test_potentials_without_meaning_fail(state, sample, bad, pool):
    potentials = pool.potentials.copy()
    potentials[state, sample] = bad
    result = nce_jax.mbar(potentials, pool.num_samples)
    assert result.status.tolist() == [Status.NONFINITE] * K
    assert np.all(np.isnan(result.f))
    assert np.all(np.isnan(result.standard_error))


def test_a_sample_that_its_own_state_forbids_fails(pool):
    potentials = pool.potentials.copy()
    potentials[1, 70] = np.inf
    result = nce_jax.mbar(potentials, pool.num_samples)
    assert result.status.tolist() == [Status.NONFINITE] * K


def test_a_bad_state_without_samples_fails_alone(pool, result):
    potentials = pool.potentials.copy()
    potentials[2, 3] = np.nan
    other = nce_jax.mbar(potentials, pool.num_samples)
    assert other.status[2] == Status.NONFINITE
    assert np.isnan(other.f[2])
    kept = np.array([0, 1, 3])
    assert_close(other.f[kept], np.asarray(result.f)[kept])
    assert_close(other.standard_error[0, kept], np.asarray(result.standard_error)[0, kept])
    observable = pool.potentials[0].copy()
    observable[3] = np.inf
    values = free_energy.expectations(pool.potentials, observable, pool.num_samples)
    assert np.all(np.isnan(values.value))
    assert values.status.tolist() == [Status.NONFINITE] * K


@pytest.mark.costly
def test_a_single_sample_has_no_error(x64):
    pool = oscillators((60, 1, 50), spacing=0.5)
    result = nce_jax.mbar(*pool[:2])
    assert np.isfinite(result.f).all()
    assert np.isinf(result.standard_error[0, 1])
    assert result.status[1] == Status.LOW_OVERLAP
    assert result.effective_samples[1] == 1
    assert np.isfinite(result.standard_error[0, 2])


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_samples": None}, "num_samples: expected the number of samples of every state"),
        ({"num_samples": [60, 40, 50]}, "num_samples: expected one number per state"),
        ({"num_samples": [60, 40, 0, 51]}, "num_samples: expected numbers >= 0 that add up to"),
        ({"num_samples": [60, 40, -1, 51]}, "num_samples: expected numbers >= 0 that add up to"),
        ({"num_samples": [60.0, 40.0, 0.0, 50.0]}, "num_samples: expected integers"),
        ({"reduced_potentials": np.zeros(150)}, "reduced_potentials: expected shape"),
        (
            {"reduced_potentials": np.zeros((K, 150), int)},
            "reduced_potentials: expected a floating",
        ),
        ({"reduced_potentials": [np.zeros((2, 3))]}, "reduced_potentials: expected K blocks"),
        ({"weights": np.ones(149)}, "weights: expected one weight per sample"),
        ({"weights": -np.ones(150)}, "weights: expected weights >= 0"),
        ({"statistical_inefficiency": 0.5}, "statistical_inefficiency: expected a finite number"),
        ({"statistical_inefficiency": np.ones(3)}, "statistical_inefficiency: expected"),
        ({"tolerance": 0.0}, "tolerance: expected"),
        ({"max_steps": 0}, "max_steps: expected"),
        ({"chunk_size": 0}, "chunk_size: expected"),
    ],
)
def test_wrong_arguments(change, message):
    arguments = {"reduced_potentials": np.zeros((K, 150)), "num_samples": NUM_SAMPLES}
    with pytest.raises((TypeError, ValueError), match=message):
        nce_jax.mbar(**(arguments | change))


@pytest.mark.costly
@pytest.mark.parametrize(("num_states", "spacing"), [(5, 1.0), (5, 2.5)])
def test_intervals_cover_the_closed_form(num_states, spacing, x64):
    """At k = 4 standard errors of a share, of 1,000 repetitions; seeds 0 to 999."""
    counts = np.full(num_states, 100)
    pools = [oscillators(counts, spacing=spacing, seed=seed) for seed in range(1000)]
    stacked = jnp.asarray(np.stack([pool.potentials for pool in pools]))
    result = jax.jit(jax.vmap(lambda u: nce_jax.mbar(u, counts)))(stacked)
    error = np.abs(np.asarray(result.f) - pools[0].exact)[:, -1]
    for name, variance in (
        ("asymptotic", np.square(result.standard_error[:, 0, -1])),
        ("sandwich", result.sandwich_covariance[:, -1, -1]),
    ):
        share = np.mean(error < 1.96 * np.sqrt(variance))
        assert abs(share - 0.95) < 4 * np.sqrt(0.95 * 0.05 / len(pools)), (name, share)


@pytest.mark.costly
def test_sums_of_many_samples_keep_their_digits():
    """200,000 samples in float32: f of two nearly equal states against `bar`."""
    size = 100_000
    z = np.random.default_rng(0).normal(size=2 * size)
    z[size:] /= np.sqrt(1.3)
    potentials = np.stack([z**2 / 2, 1.3 * z**2 / 2]).astype(np.float32)
    work = potentials[1] - potentials[0]
    result = nce_jax.mbar(potentials, [size, size])
    bar = nce_jax.bar(work[:size], -work[size:])
    assert abs(result.f[1] - bar.delta_f) < 2e-5
    np.testing.assert_allclose(result.standard_error[0, 1], bar.standard_error, rtol=0.01)


@pytest.mark.costly
@pytest.mark.parametrize("ratio", [1.0, 1.0 + 1e-3])
def test_errors_of_nearly_equal_states_keep_their_digits(ratio, float_dtype):
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=60), rng.normal(size=90) / np.sqrt(ratio)])
    potentials = np.stack([x**2, ratio * x**2, (1.0 + 2e-3) * x**2]).astype(float_dtype) / 2
    result = nce_jax.mbar(potentials, [60, 90, 0])
    variance = np.diag(result.sandwich_covariance)
    np.testing.assert_allclose(result.standard_error[0], np.sqrt(variance), rtol=0.2, atol=1e-7)
    assert result.standard_error[0, 2] > 1e-5


@pytest.mark.costly
def test_a_finite_clash_does_not_hide_a_pair(x64):
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=500), rng.normal(size=500), 25 + rng.normal(size=500)])
    clash = np.where((x > 2.2) & (x < 2.6), 1e6, 0)
    potentials = np.stack([x**2 / 2, x**2 / 2 + clash, (x - 25) ** 2 / 2])
    result = nce_jax.mbar(potentials, [500] * 3)
    alone = nce_jax.mbar(potentials[:2, :1000], [500] * 2)
    assert result.components.tolist() == [0, 0, 2]
    assert_close(result.f[1], alone.f[1], 1e-9)


@pytest.mark.costly
def test_a_far_state_without_samples_changes_no_other():
    pool = oscillators()
    near = pool.potentials.astype(np.float32)
    far = near.copy()
    far[2] += 95
    result, expected = (nce_jax.mbar(u, pool.num_samples) for u in (far, near))
    assert result.status.tolist() == expected.status.tolist()
    np.testing.assert_allclose(result.effective_samples, expected.effective_samples, rtol=1e-3)
    assert_close(result.f[2] - 95, expected.f[2], 1e-4)


@pytest.mark.costly
@pytest.mark.parametrize("scale", [4e-21, 1e30])
def test_units_of_an_observable_scale_its_error(scale):
    pool = oscillators()
    one = nce_jax.free_energy.expectations(*_observed(pool, 1.0))
    other = nce_jax.free_energy.expectations(*_observed(pool, scale))
    np.testing.assert_allclose(other.value / scale, one.value, rtol=1e-4)
    np.testing.assert_allclose(other.standard_error / scale, one.standard_error, rtol=1e-4)
    assert other.status.tolist() == one.status.tolist()


def _observed(pool, scale):
    return pool.potentials, scale * pool.potentials[0], pool.num_samples


@pytest.mark.costly
@pytest.mark.parametrize("scale", [1e26, 1e-40, 1e38])
def test_only_ratios_of_weights_within_a_state_matter(scale):
    pool = oscillators()
    weights = np.random.default_rng(0).lognormal(size=150)
    of_one_state = np.where(np.arange(150) < 60, scale, 1.0)
    one, other = (nce_jax.mbar(*pool[:2], weights=w) for w in (weights, weights * of_one_state))
    assert_close(other.f, one.f, 1e-5)
    assert other.status.tolist() == one.status.tolist()


@pytest.mark.costly
@pytest.mark.parametrize("counts", [[200, 40, 0, 50], [60, -40, 0, 130]])
def test_traced_numbers_that_do_not_fit_fail(counts, x64):
    pool = oscillators()
    result = jax.jit(lambda n: nce_jax.mbar(jnp.asarray(pool.potentials), n))(jnp.array(counts))
    assert result.status.tolist() == [Status.NONFINITE] * K


@pytest.mark.costly
def test_derivatives_in_what_is_traced_alone(x64):
    pool = oscillators()
    error = lambda g: nce_jax.mbar(*pool[:2], statistical_inefficiency=g).standard_error[0, 3]
    assert_close(jax.grad(error)(4.0), error(4.0) / 8, 1e-9)
    row = jnp.asarray(pool.potentials[0])
    mean = lambda a: free_energy.expectations(pool.potentials, a * row, pool.num_samples).value[0]
    assert_close(jax.grad(mean)(1.0), mean(1.0), 1e-9)


@pytest.mark.costly
@pytest.mark.bad_input
def test_values_that_would_be_rounded_or_masked_are_refused():
    pool = oscillators()
    far = pool.potentials + 5e7
    with pytest.raises(ValueError, match="reduced_potentials: .* before jit or grad"):
        jax.jit(lambda n: nce_jax.mbar(far, n))(pool.num_samples)
    masked = np.ma.masked_array(pool.potentials, pool.potentials > 3)
    with pytest.raises(TypeError, match="reduced_potentials: .* masked array"):
        nce_jax.mbar(masked, pool.num_samples)
    exact = nce_jax.mbar(*pool[:2])
    wide = nce_jax.mbar(far.astype(np.longdouble), pool.num_samples)
    assert_close(wide.f, exact.f, 1e-5)
    with pytest.raises(ValueError, match="block_size: expected at most 40"):
        free_energy.bootstrap_mbar(jax.random.key(0), *pool[:2], num_replicates=2, block_size=50)


@pytest.mark.costly
def test_effective_samples_come_from_the_derivatives_in_the_weights(pool):
    """A sample's influence is the derivative of the result in its weight."""
    observable = np.sin(np.arange(150)) + pool.potentials[1]

    def results(weights):
        result = nce_jax.mbar(*pool[:2], weights=weights)
        mean = free_energy.expectations(
            pool.potentials, observable, pool.num_samples, weights=weights
        )
        return (result.f, mean.value), (result.effective_samples, mean.effective_samples)

    (of_f, of_means), (number, number_of_means) = jax.jacrev(results, has_aux=True)(jnp.ones(150))

    def count(influences):
        return np.square(influences).sum() / np.square(influences).max()

    expected = [count(influences) for influences in of_means]
    np.testing.assert_allclose(number_of_means, expected, rtol=1e-8)
    # The way from state 0 leads over 1 to 3, and state 2 has most of its weight in 3.
    links = [count(of_f[k] - of_f[j]) for j, k in ((0, 1), (1, 3), (3, 2))]
    expected = [links[0], min(links), min(links[:2])]
    np.testing.assert_allclose(number[1:], expected, rtol=1e-8)


def test_a_way_is_as_narrow_as_its_links(x64):
    """A weak link, and good ones behind it, whose states have no more effective samples."""
    counts, scales = np.array(NUM_SAMPLES), np.array([1.0, 300.0, 600.0, 900.0])
    x = np.random.default_rng(1).exponential(size=150) / np.repeat(scales, counts)
    number = np.asarray(nce_jax.mbar(np.outer(scales, x), counts).effective_samples)
    np.testing.assert_allclose(number[2:], number[1], rtol=1e-12)
    assert number[1] < 10


@pytest.mark.costly
def test_weak_links_are_said_at_the_end_of_a_long_chain(x64):
    """Each of 15 windows has few effective samples; of the sum no sample has a large share."""
    scales = 200.0 ** np.arange(16)
    x = np.random.default_rng(0).exponential(size=(16, 200)) / scales[:, None]
    result = nce_jax.mbar(np.outer(scales, x), [200] * 16)
    windows = free_energy.bar_chain(
        [(scales[k + 1] - scales[k]) * x[k] for k in range(15)],
        [(scales[k] - scales[k + 1]) * x[k + 1] for k in range(15)],
    )
    assert result.status[-1] == Status.LOW_OVERLAP
    np.testing.assert_allclose(
        result.effective_samples[-1], windows.effective_samples.min(), rtol=0.05
    )


def test_the_narrowest_link_of_a_way():
    parents, widths = jnp.array([2, 4, 2, 0, 0, 5]), jnp.array([3.0, 1.0, 0.0, 5.0, 4.0, 9.0])
    # 2 - 0 (3), 0 - 3 (5), 0 - 4 (4), 4 - 1 (1); 5 is alone.
    expected = [np.inf, 1.0, 3.0, 5.0, 4.0, 0.0]
    np.testing.assert_array_equal(narrowest(widths, parents), expected)


@pytest.mark.parametrize("function", [nce_jax.mbar, free_energy.enthalpy_and_entropy])
def test_products_are_of_full_precision_on_every_device(pool, function):
    program = str(jax.make_jaxpr(function)(jnp.asarray(pool.potentials), pool.num_samples))
    assert "dot_general" in program
    assert "precision=None" not in program


@pytest.mark.costly
def test_second_derivatives_where_a_chunk_has_nothing_of_a_state(x64):
    """No sample of the first two chunks is allowed in the state without samples."""
    pool = oscillators((60, 40, 0, 50))
    is_allowed = np.ones_like(pool.potentials, bool)
    is_allowed[2, :60] = False

    def free_energy_of(shift, chunk_size):
        moved = jnp.where(is_allowed, jnp.asarray(pool.potentials) * (1 + shift), jnp.inf)
        return nce_jax.mbar(moved, pool.num_samples, chunk_size=chunk_size).f[2]

    for derivative in (jax.grad(jax.grad(free_energy_of)), jax.hessian(free_energy_of)):
        assert_close(derivative(0.0, 30), derivative(0.0, None), 1e-8)
        assert np.isfinite(derivative(0.0, 30))


@pytest.mark.costly
def test_derivatives_in_the_weights_of_potentials_on_the_host():
    """Constants are taken out of the potentials and of the observable, or of neither."""
    pool = oscillators()
    far = pool.potentials + np.array([0.0, 500.0, -300.0, 100.0])[:, None]

    def mean(weights):
        result = free_energy.expectations(far, far[1], pool.num_samples, weights=weights)
        entropy = free_energy.enthalpy_and_entropy(far, pool.num_samples, weights=weights)
        return result.value[0] + entropy.delta_s[0, 1]

    assert np.isfinite(jax.grad(mean)(jnp.ones(150))).all()


@pytest.mark.parametrize("chunk_size", [None, pytest.param(300, marks=pytest.mark.costly)])
def test_a_constant_of_an_observable_keeps_its_digits(chunk_size):
    """In float32 the free energies, near 300, are known to 3e-5, and so are the sums of W: that
    many times a constant of 1,000 would be many errors of the mean.
    """
    x = np.random.default_rng(0).normal(size=1000) / np.sqrt(np.repeat([1.0, 2.0], 500))
    potentials = jnp.asarray(np.stack([x**2 / 2, x**2 + 300.3]), jnp.float32)
    result, moved = (
        free_energy.expectations(
            potentials, jnp.asarray(values, jnp.float32), [500, 500], chunk_size=chunk_size
        )
        for values in (np.full(1000, 1000.0), 1000 + x**2)
    )
    np.testing.assert_allclose(result.value, 1000, rtol=1.2e-7)
    with jax.enable_x64(True):
        exact = free_energy.expectations(np.float64(potentials), x**2, [500, 500])
    np.testing.assert_allclose(moved.value, 1000 + np.asarray(exact.value), rtol=2e-7)
