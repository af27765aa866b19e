"""Status.LOW_OVERLAP: the effective number of samples behind a standard error, in closed cases, and
the coverage of intervals where the status is CONVERGED.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import nce_jax
from nce_jax import diagnostics, likelihood
from nce_jax._numerics import effective_samples
from nce_jax.log_partition import MIN_EFFECTIVE_SAMPLES, Status, interval_status

RNG = np.random.default_rng(15)


def count(*sides, block_size=1):
    """The effective number for influences without weights, or pairs of influences and weights."""
    pairs = [side if isinstance(side, tuple) else (side, None) for side in sides]
    pairs = [(jnp.asarray(x, float), None if w is None else jnp.asarray(w)) for x, w in pairs]
    return effective_samples(*pairs, block_size=block_size)


@pytest.mark.parametrize(
    ("sides", "expected"),
    [
        ([np.array([1.0, -1, 1, -1])], 4),
        ([np.array([3.0, -1, -1, -1])], 12 / 9),
        ([np.array([1.0, -1, 1, -1]), np.array([2.0, -2])], 12 / 4),
        ([np.array([1.0, -1]), np.array([1e-12, -1e-12, 0])], 2),
        ([1e-25 * np.array([1.0, -1, 1, -1, 0])], 4),
        ([np.zeros(7), np.zeros(5)], 12),  # constant ratios: an error of zero
        ([(np.zeros(7), np.array([1.0, 1, 1, 0, 0, 0, 0])), np.zeros(5)], 8),
        ([np.array([0.0]), np.array([1.0, -1, 1, -1])], 1),  # a single sample on a side
        ([(np.array([0.0, 0, 0]), np.array([1.0, 0, 0])), np.array([1.0, -1, 1, -1])], 1),
    ],
)
def test_the_number_is_one_over_the_largest_share(sides, expected):
    np.testing.assert_allclose(count(*sides), expected, rtol=1e-6)


def test_blocks_count_as_one():
    influence = np.array([1.0, 1, -1, -1, 1, 1, -1, -1])
    np.testing.assert_allclose(count(influence, block_size=2), 4)
    np.testing.assert_allclose(count(influence, block_size=8), 1)


def test_low_overlap_takes_the_place_of_converged_alone():
    statuses = jnp.array([*Status, Status.CONVERGED, Status.CONVERGED], jnp.int32)
    numbers = jnp.full(len(statuses), MIN_EFFECTIVE_SAMPLES - 0.1).at[-2].set(MIN_EFFECTIVE_SAMPLES)
    numbers = numbers.at[-1].set(jnp.nan)
    expected = [Status.LOW_OVERLAP, *list(Status)[1:], Status.CONVERGED, Status.LOW_OVERLAP]
    np.testing.assert_array_equal(interval_status(statuses, numbers), expected)


def test_the_solve_and_a_train_step_know_nothing_of_it():
    data, noise = gaussian(3.0, 20, 20)
    assert nce_jax.solve_log_partition(data, noise).status == Status.CONVERGED
    assert diagnostics.estimate_log_partition(data, noise).status == Status.LOW_OVERLAP


def gaussian(separation, n, m, lanes=(), rng=RNG):
    """Log ratios of N(d, 1) and N(0, 1) under the true ratio: F = 0. With d = sigma they are
    -w of Gaussian work.
    """
    shift = separation**2 / 2
    data = shift + separation * rng.normal(size=(*lanes, n))
    return jnp.asarray(data), jnp.asarray(separation * rng.normal(size=(*lanes, m)) - shift)


def bar(data, noise, **options):
    return nce_jax.bar(-noise, data, **options)


ESTIMATES = {
    "bar": lambda data, noise, weights: bar(
        data, noise, weights_forward=weights[1], weights_reverse=weights[0]
    ),
    "estimate_log_partition": lambda data, noise, weights: diagnostics.estimate_log_partition(
        data, noise, weights_data=weights[0], weights_noise=weights[1]
    ),
    "divergence": lambda data, noise, weights: nce_jax.divergence(
        data, noise, weights_data=weights[0], weights_noise=weights[1]
    ),
    "importance": lambda data, noise, weights: diagnostics.importance_log_partition(
        noise, weights_noise=weights[1]
    ),
}


@pytest.mark.parametrize("estimate", ESTIMATES.values(), ids=ESTIMATES)
def test_padding_does_not_count(estimate, x64):
    data, noise = gaussian(1.0, 60, 70)
    plain = estimate(data, noise, (None, None))
    padded = [jnp.pad(side, (0, 30), constant_values=np.nan) for side in (data, noise)]
    weights = [(jnp.arange(side.size) < side.size - 30).astype(float) for side in padded]
    result = jax.jit(estimate)(*padded, weights)
    np.testing.assert_allclose(result.effective_samples, plain.effective_samples, rtol=1e-9)
    assert result.status == plain.status


def test_constant_work_has_an_error_of_zero_from_all_samples():
    """Deviations are zero or rounding, the same for all samples of a side."""
    result = bar(jnp.full(12, 0.5), jnp.full(15, 0.5))
    assert result.status == Status.CONVERGED
    assert 12 <= result.effective_samples <= 27.001
    assert result.standard_error < 1e-6


@pytest.mark.parametrize(("separation", "status"), [(1.0, "CONVERGED"), (4.0, "LOW_OVERLAP")])
@pytest.mark.costly
def test_every_result_says_so(separation, status, x64):
    """50 samples a side, seed 1: at 4 apart the value is a number still, and so is the error."""
    data, noise = gaussian(separation, 50, 50, rng=np.random.default_rng(1))
    expected = Status[status]
    for result in (
        bar(data, noise),
        diagnostics.estimate_log_partition(data, noise),
        nce_jax.divergence(data, noise),
        likelihood.model_log_partition(data, noise),
        nce_jax.bootstrap_log_partition(jax.random.key(0), data, noise, num_replicates=20),
    ):
        assert result.status == expected, result
        assert (result.effective_samples >= MIN_EFFECTIVE_SAMPLES) == (expected == Status.CONVERGED)
        assert all(np.isfinite(np.asarray(field)).all() for field in result), result
    error = nce_jax.log_partition_standard_error(data, noise)
    assert np.isinf(error) == (expected == Status.LOW_OVERLAP)


def test_correlated_work_counts_by_its_inefficiency(x64):
    data, noise = gaussian(1.0, 50, 50, rng=np.random.default_rng(1))
    independent, correlated = bar(data, noise), bar(data, noise, statistical_inefficiency=4.0)
    np.testing.assert_allclose(
        correlated.effective_samples, independent.effective_samples / 4, rtol=1e-9
    )
    assert correlated.status == Status.LOW_OVERLAP


def test_lanes_are_judged_one_by_one():
    near, far = gaussian(1.0, 50, 50), gaussian(4.0, 50, 50)
    result = jax.jit(jax.vmap(bar))(*map(jnp.stack, zip(near, far, strict=True)))
    np.testing.assert_array_equal(result.status, [Status.CONVERGED, Status.LOW_OVERLAP])


# ---- coverage ------------------------------------------------------------------------------------

REPETITIONS = 2000
SIZES = [(20, 20), (200, 200), (1000, 1000), (200, 20)]
SEPARATIONS = [0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0]
KAPPAS = [1e-4, 1e-2, 1.0, 1e2, 1e4]


def exponential(rate, n, m, rng):
    """Forward work from an exponential distribution: F = log(rate / (rate + 1))."""
    forward = rng.exponential(1 / rate, size=(REPETITIONS, m))
    reverse = -rng.exponential(1 / (rate + 1), size=(REPETITIONS, n))
    truth = np.log(rate / (rate + 1))
    return jnp.asarray(reverse - truth), jnp.asarray(-forward - truth)


def student(separation, n, m, rng):
    """Data from Student's t with 3 degrees of freedom, noise from N(0, 1): F = 0."""
    x_data = separation + rng.standard_t(3, size=(REPETITIONS, n))
    x_noise = rng.normal(size=(REPETITIONS, m))

    def log_ratio(x):
        return scipy.stats.t.logpdf(x - separation, 3) - scipy.stats.norm.logpdf(x)

    return jnp.asarray(log_ratio(x_data)), jnp.asarray(log_ratio(x_noise))


def exact_divergence(separation, kappa):
    x = np.linspace(-12, 12 + separation, 200_001)
    p, q = scipy.stats.norm.logpdf(x - separation), scipy.stats.norm.logpdf(x)
    mixture = np.logaddexp(p, np.log(kappa) + q) - np.log1p(kappa)
    terms = np.exp(p) * (p - mixture) + kappa * np.exp(q) * (q - mixture)
    return np.trapezoid(terms, x)


def check_coverage(label, value, result, truth):
    """At least 90 % of the intervals that are CONVERGED hold the truth, unless chance explains it
    (one in 10,000); where few are CONVERGED, at most 2.5 % of all repetitions are and miss it.

    A repetition in which the sample misses a heavy tail looks better than it is, so that settings
    in which nearly all others are LOW_OVERLAP have fewer right ones among the few CONVERGED.
    """
    is_given = np.asarray(result.status) == Status.CONVERGED
    is_right = np.abs(value - truth) <= 1.96 * np.asarray(result.standard_error)
    given, right = int(is_given.sum()), int((is_given & is_right).sum())
    if given >= REPETITIONS / 5:
        assert scipy.stats.binom.cdf(right, given, 0.9) > 1e-4, (label, given, right / given)
    else:
        assert given - right <= 0.025 * REPETITIONS, (label, given, right)
    return given


@pytest.mark.slow
@pytest.mark.parametrize("sizes", SIZES)
def test_intervals_of_bar_cover_where_it_is_converged(sizes, x64):
    """2,000 repetitions of every setting, seed 1."""
    rng, estimate = np.random.default_rng(1), jax.jit(bar)
    for separation in SEPARATIONS:
        samples = gaussian(separation, *sizes, lanes=(REPETITIONS,), rng=rng)
        result = estimate(*samples)
        given = check_coverage(("bar", separation), -result.delta_f, result, 0.0)
        if separation >= (5 if min(sizes) < 1000 else 8):
            assert given <= 0.01 * REPETITIONS, separation
        if separation <= 2 and min(sizes) >= 200:
            assert given >= 0.99 * REPETITIONS, separation
    for sample, parameter in ((exponential, 0.5), (exponential, 3.0), (student, 0.0)):
        result = estimate(*sample(parameter, *sizes, rng))
        check_coverage(("bar", sample, parameter), -result.delta_f, result, 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("size", [20, 100, 1000])
def test_intervals_of_importance_sampling_cover_where_it_is_converged(size, x64):
    """2,000 repetitions of every setting, seed 2."""
    rng, estimate = np.random.default_rng(2), jax.jit(diagnostics.importance_log_partition)
    for separation in (0.5, 1.0, 1.5, 2.0, 3.0, 4.0):
        _, noise = gaussian(separation, 1, size, lanes=(REPETITIONS,), rng=rng)
        result = estimate(noise)
        check_coverage(("importance", separation), result.log_partition, result, 0.0)
        few = (result.effective_sample_size > 4) & (result.effective_sample_size < 14)
        assert np.sum(result.status[few] == Status.CONVERGED) <= 0.01 * np.sum(few)
    for sample, parameter in ((exponential, 0.5), (student, 0.0)):
        result = estimate(sample(parameter, 1, size, rng)[1])
        check_coverage(("importance", sample), result.log_partition, result, 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("size", [100, 1000])
def test_intervals_at_any_kappa_cover_where_they_are_converged(size, x64):
    """Normalizers and divergences, 2,000 repetitions of every setting, seed 3."""
    rng = np.random.default_rng(3)
    normalizer = jax.jit(functools.partial(diagnostics.estimate_log_partition))
    divergence = jax.jit(nce_jax.divergence)
    for separation in (0.5, 1.0, 2.0, 3.0, 4.0):
        samples = gaussian(separation, size, size, lanes=(REPETITIONS,), rng=rng)
        for kappa in KAPPAS:
            result = normalizer(*samples, magnification=kappa)
            label = (separation, kappa)
            given = check_coverage(("normalizer", *label), result.log_partition, result, 0.0)
            if kappa in (1e-4, 1e4) and separation >= 2:
                assert given <= 0.02 * REPETITIONS, label
            result = divergence(*samples, magnification=kappa)
            truth = exact_divergence(separation, kappa)
            check_coverage(("divergence", *label), result.value, result, truth)


@pytest.mark.parametrize("name", ["importance", "estimate"])
def test_the_error_covers_the_rounding_of_the_samples(name):
    """Samples near 1e8 that were float32 before they came are off by up to four nats."""
    rng = np.random.default_rng(0)
    data, noise = rng.normal(1, 1, 400), rng.normal(0, 1, 400)
    estimate = {
        "importance": lambda data, noise: diagnostics.importance_log_partition(noise),
        "estimate": diagnostics.estimate_log_partition,
    }[name]
    exact = float(estimate(data, noise).log_partition)
    offset = 1e8 + 3.7
    rounded = estimate(*(jnp.float32(side + offset) for side in (data, noise)))
    miss = float(np.float64(rounded.log_partition)) - offset - exact
    spacing = float(np.spacing(np.float32(offset)))
    assert spacing / 2 <= rounded.standard_error <= spacing
    assert abs(miss) <= 2 * float(rounded.standard_error)
