"""Annealed importance sampling between Gaussians, where log Z is known: oracle, identities, limits,
bounds.
"""

import functools
import itertools

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nce_jax
from nce_jax import noise, samplers
from nce_jax.samplers._annealing import _estimate
from nce_jax.samplers._path import Annealed

pytestmark = [pytest.mark.costly, pytest.mark.usefixtures("rank_promotion_as_distrax_needs_it")]

MEAN, DEVIATION = 1.0, 0.6


def log_density_fn(x):
    """exp(phi) is N(MEAN, DEVIATION^2 I) without its constant."""
    return -0.5 * jnp.sum(((x - MEAN) / DEVIATION) ** 2, axis=-1)


def log_partition(dim):
    return dim * (0.5 * np.log(2 * np.pi) + np.log(DEVIATION))


def model_samples(key, num_samples, dim):
    return MEAN + DEVIATION * jax.random.normal(key, (num_samples, dim))


def forward(
    key,
    dim,
    num_stages,
    num_samples,
    kernel,
    log_density_fn=log_density_fn,
    schedule=None,
    num_steps=1,
):
    schedule = samplers.linear_schedule(num_stages) if schedule is None else schedule
    return samplers.annealed_importance_sampling(
        key, log_density_fn, noise.standard_normal(dim),
        kernel=kernel, schedule=schedule, num_samples=num_samples, num_steps=num_steps,
    )  # fmt: skip


def reverse(key, x_model, num_stages, kernel, log_density_fn=log_density_fn):
    return samplers.reverse_annealed_importance_sampling(
        key, log_density_fn, noise.standard_normal(x_model.shape[-1]), x_model,
        kernel=kernel, schedule=samplers.linear_schedule(num_stages),
    )  # fmt: skip


@functools.cache
def replicates(dim, num_stages, step_size, num_replicates=40, num_samples=50):
    """Both directions of many small runs, the reverse one from exact samples; seed 0."""

    @jax.jit
    @jax.vmap
    def run(key):
        keys = jax.random.split(key, 3)
        kernel = samplers.mala(step_size)
        x_model = model_samples(keys[1], num_samples, dim)
        return forward(keys[0], dim, num_stages, num_samples, kernel), reverse(
            keys[2], x_model, num_stages, kernel
        )

    return run(jax.random.split(jax.random.key(0), num_replicates))


def mean_and_error(values):
    values = np.asarray(values, np.float64)
    return values.mean(), values.std(ddof=1) / np.sqrt(values.size)


CASES = [(2, 30, 0.3), pytest.param((10, 100, 0.2), marks=pytest.mark.costly, id="10 dimensions")]


@pytest.mark.parametrize("case", CASES)
def test_weights_are_unbiased_in_both_directions(case):
    """E[w / Z] = E[Z w'] = 1 exactly, whatever the chains do: 2,000 weights within 4 standard
    errors.
    """
    truth = log_partition(case[0])
    ahead, back = replicates(*case)
    for log_weights in (ahead.log_weights - truth, back.log_weights + truth):
        mean, error = mean_and_error(np.exp(log_weights.ravel()))
        assert error < 0.06
        assert abs(mean - 1) < 4 * error


@pytest.mark.parametrize("case", CASES)
def test_bounds_enclose_the_truth_in_the_mean(case):
    """E[mean log w] < E[log mean w] < log Z < E[-log mean w'] < E[-mean log w'], over 40
    replicates.
    """
    truth = log_partition(case[0])
    ahead, back = replicates(*case)
    (low, low_error), (high, high_error) = mean_and_error(ahead.bound), mean_and_error(back.bound)
    assert low < truth - 4 * low_error
    assert high > truth + 4 * high_error
    low_mean, high_mean = mean_and_error(ahead.log_partition), mean_and_error(back.log_partition)
    assert low < low_mean[0] < truth + 4 * low_mean[1]
    assert high > high_mean[0] > truth - 4 * high_mean[1]


@pytest.mark.parametrize("case", CASES)
def test_standard_errors_are_the_spread_of_replicates(case):
    """The standard deviation of 40 replicates is known to 11 %: mean error over spread within 0.6
    and 1.5.
    """
    for estimate in replicates(*case):
        for value, error in (
            (estimate.log_partition, estimate.standard_error),
            (estimate.bound, estimate.bound_standard_error),
        ):
            assert 0.6 < error.mean() / np.std(value, ddof=1) < 1.5


@pytest.mark.parametrize("case", CASES)
def test_bennett_on_annealed_work_lies_between_the_bounds_and_at_the_truth(case):
    """Crooks: log w and log w' are works of a forward and a reverse process; all 2,000 of each at
    once.
    """
    ahead, back = (estimate.log_weights.ravel() for estimate in replicates(*case))
    result = nce_jax.bar(-ahead, -back)
    assert ahead.mean() < -result.delta_f < -back.mean()
    assert result.standard_error < 0.04
    assert abs(-result.delta_f - log_partition(case[0])) < 4 * result.standard_error


def test_hmc_and_a_sigmoid_schedule_serve_as_well():
    estimate = jax.jit(
        lambda key: forward(
            key,
            2,
            None,
            400,
            samplers.hmc(0.3, 3),
            schedule=samplers.sigmoid_schedule(10),
            num_steps=2,
        )
    )(jax.random.key(1))
    assert estimate.acceptance_rate.shape == (9,)
    assert (estimate.acceptance_rate > 0.8).all()
    assert estimate.standard_error < 0.05
    assert abs(estimate.log_partition - log_partition(2)) < 4 * estimate.standard_error


def test_equals_a_numpy_oracle(x64):
    """The weights replayed in NumPy from the positions that the same transitions reach."""
    key, schedule, kernel = jax.random.key(2), np.array([0.0, 0.2, 0.7, 1.0]), samplers.mala(0.2)
    estimate = forward(key, 2, None, 5, kernel, schedule=schedule)
    key_noise, key_moves = jax.random.split(key)
    x = noise.standard_normal(2).sample(seed=key_noise, sample_shape=(5,))
    log_weights = 0
    for index, (before, after) in enumerate(itertools.pairwise(schedule)):
        moved = np.asarray(x)
        log_ratio = (
            -0.5 * (((moved - MEAN) / DEVIATION) ** 2).sum(-1)
            + 0.5 * (moved**2).sum(-1)
            + np.log(2 * np.pi)
        )
        log_weights = log_weights + (after - before) * log_ratio
        if after < 1:
            # The geometric mean of two Gaussians is one: precisions and their means add.
            precision = (1 - after) + after / DEVIATION**2
            mean = after * MEAN / DEVIATION**2 / precision
            bridge = lambda x, p=precision, m=mean: -0.5 * p * jnp.sum((x - m) ** 2, axis=-1)
            x = replay(jax.random.fold_in(key_moves, index), bridge, moved, kernel)
    np.testing.assert_allclose(estimate.log_weights, log_weights, rtol=1e-10)
    weights = np.exp(log_weights)
    np.testing.assert_allclose(estimate.log_partition, np.log(weights.mean()), rtol=1e-10)
    error = weights.std(ddof=1) / np.sqrt(5) / weights.mean()
    np.testing.assert_allclose(estimate.standard_error, error, rtol=1e-10)
    np.testing.assert_allclose(
        estimate.effective_sample_size, weights.sum() ** 2 / (weights**2).sum(), rtol=1e-10
    )
    np.testing.assert_allclose(estimate.bound, log_weights.mean(), rtol=1e-10)
    np.testing.assert_allclose(
        estimate.bound_standard_error, log_weights.std(ddof=1) / np.sqrt(5), rtol=1e-10
    )


def replay(key, log_density_fn, x, kernel):
    """One transition of every chain with the keys that annealing gives them."""
    keys = jax.random.split(jax.random.fold_in(key, 0), x.shape[0])
    one_fn = lambda x: log_density_fn(x[None])[0]
    return jax.vmap(lambda key, x: kernel.step(key, kernel.init(x, one_fn), one_fn)[0].position)(
        keys, jnp.asarray(x)
    )


def test_one_stage_is_importance_sampling():
    key = jax.random.key(3)
    estimate = forward(key, 3, 1, 100, samplers.mala(0.1))
    x_noise, log_prob = noise.standard_normal(3).sample_and_log_prob(
        seed=jax.random.split(key)[0], sample_shape=(100,)
    )
    plain = nce_jax.diagnostics.importance_log_partition(log_density_fn(x_noise) - log_prob)
    fields = ("log_partition", "standard_error", "effective_sample_size", "effective_samples")
    for field in (*fields, "status"):
        np.testing.assert_allclose(getattr(estimate, field), getattr(plain, field), rtol=5e-5)
    np.testing.assert_array_equal(estimate.x, x_noise)
    assert estimate.acceptance_rate.shape == (0,)


def test_one_reverse_stage_is_the_harmonic_mean():
    x_model = model_samples(jax.random.key(4), 50, 2)
    estimate = reverse(jax.random.key(5), x_model, 1, samplers.mala(0.1))
    log_weights = noise.standard_normal(2).log_prob(x_model) - log_density_fn(x_model)
    np.testing.assert_allclose(estimate.log_weights, log_weights, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        estimate.log_partition, -jax.nn.logsumexp(log_weights) + np.log(50), rtol=1e-5
    )
    np.testing.assert_allclose(estimate.bound, -log_weights.mean(), rtol=1e-5)


def test_more_stages_reduce_the_variance_of_the_weights():
    """Var(log w) falls about as 1 / stages: 8 and 64 of them, 400 chains, seed 6."""
    variances = [
        np.var(
            jax.jit(lambda key, n=n: forward(key, 2, n, 400, samplers.mala(0.2)))(
                jax.random.key(6)
            ).log_weights
        )
        for n in (8, 64)
    ]
    assert variances[1] < variances[0] / 4


def test_perfect_noise_gives_equal_weights(x64):
    """phi = log q + 3: every weight is e^3, in both directions, wherever the chains go."""
    normal = noise.standard_normal(2)

    def shifted(x):
        return normal.log_prob(x) + 3

    ahead = forward(jax.random.key(7), 2, 4, 20, samplers.mala(0.2), shifted)
    x_model = normal.sample(seed=jax.random.key(8), sample_shape=(20,))
    back = reverse(jax.random.key(7), x_model, 4, samplers.mala(0.2), shifted)
    np.testing.assert_allclose(ahead.log_weights, 3, rtol=1e-13)
    np.testing.assert_allclose(back.log_weights, -3, rtol=1e-13)
    for estimate in (ahead, back):
        np.testing.assert_allclose([estimate.log_partition, estimate.bound], 3, rtol=1e-13)
        np.testing.assert_allclose(estimate.standard_error, 0, atol=1e-13)
        assert estimate.status == nce_jax.Status.CONVERGED
        np.testing.assert_allclose(estimate.effective_sample_size, 20, rtol=1e-13)


def test_bounded_noise_gives_log_z_on_its_support():
    """Uniform on [-1, 1]^2, model exp(a x) there, NaN elsewhere: Z = (2 sinh(a) / a)^2; leaving is
    refused, not flagged.
    """
    slope = 1.5

    def log_density_fn(x):
        return jnp.where(jnp.all(jnp.abs(x) <= 1, axis=-1), slope * jnp.sum(x, axis=-1), jnp.nan)

    estimate = samplers.annealed_importance_sampling(
        jax.random.key(9), log_density_fn, noise.uniform_box(-jnp.ones(2), jnp.ones(2)),
        kernel=samplers.mala(0.3), schedule=samplers.linear_schedule(8), num_samples=1000,
    )  # fmt: skip
    assert (
        abs(estimate.log_partition - 2 * np.log(2 * np.sinh(slope) / slope))
        < 4 * estimate.standard_error
        < 0.2
    )
    assert (jnp.abs(estimate.x) <= 1).all()
    assert (estimate.acceptance_rate < 0.9).all()
    np.testing.assert_array_equal(estimate.num_nonfinite, 0)


def test_image_shaped_samples():
    """Noise of event shape (2, 2, 1), twice as wide as the model exp(-|x|^2 / 2): log Z = 2 log(2
    pi).
    """
    wide = distrax.Independent(
        distrax.Normal(jnp.zeros((2, 2, 1)), 2.0), reinterpreted_batch_ndims=3
    )
    estimate = samplers.annealed_importance_sampling(
        jax.random.key(10), lambda x: -0.5 * jnp.sum(x**2, axis=(1, 2, 3)), wide,
        kernel=samplers.mala(0.5), schedule=samplers.linear_schedule(10), num_samples=300,
    )  # fmt: skip
    assert estimate.x.shape == (300, 2, 2, 1)
    assert abs(estimate.log_partition - 2 * np.log(2 * np.pi)) < 4 * estimate.standard_error < 0.4


def test_weights_that_are_not_finite_leave_no_estimate():
    def log_density_fn(x):
        return jnp.where(x[:, 0] > 1, jnp.nan, 0.0)

    estimate = forward(jax.random.key(11), 2, 3, 50, samplers.mala(0.1), log_density_fn)
    assert np.isnan(estimate.log_partition)
    assert np.isnan(estimate.bound)
    assert 0 < np.isnan(estimate.log_weights).sum() < 50
    assert (estimate.num_nonfinite > 0).any()
    assert (np.isnan(estimate.log_weights) <= (estimate.num_nonfinite > 0)).all()


@pytest.mark.parametrize(
    "schedule", [[0.0, 0.5], [0.1, 1.0], [1.0, 0.5, 0.0], [0.0, 0.9, 0.1, 1.0]]
)
def test_a_schedule_that_does_not_run_from_noise_to_model_leaves_no_estimate(schedule):
    estimate = forward(
        jax.random.key(12), 2, None, 10, samplers.mala(0.1), schedule=jnp.array(schedule)
    )
    assert np.isnan(estimate.log_partition)
    assert np.isnan(estimate.log_weights).all()


@pytest.mark.parametrize("num_stages", [1, 7, 1000])
def test_schedules_run_from_exactly_zero_to_exactly_one(num_stages):
    for schedule in (samplers.linear_schedule(num_stages), samplers.sigmoid_schedule(num_stages)):
        assert schedule.shape == (num_stages + 1,)
        assert (schedule[0], schedule[-1]) == (0, 1)
        assert (np.diff(schedule) > 0).all()
    np.testing.assert_allclose(
        samplers.sigmoid_schedule(7, slope=1e-2), samplers.linear_schedule(7), atol=1e-4
    )


def test_a_single_chain_supports_no_error():
    estimate = forward(jax.random.key(13), 2, 2, 1, samplers.mala(0.1))
    assert np.isinf(estimate.standard_error)
    assert np.isinf(estimate.bound_standard_error)
    np.testing.assert_allclose(estimate.log_partition, estimate.bound, rtol=1e-6)


@pytest.mark.bad_input
def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="kernel: expected one with a Metropolis test"):
        forward(jax.random.key(0), 2, 3, 10, samplers.langevin(0.1))
    with pytest.raises(
        ValueError, match=r"schedule: expected at least two values on one axis, got shape \(1,\)"
    ):
        forward(jax.random.key(0), 2, 3, 10, samplers.mala(0.1), schedule=jnp.ones(1))
    with pytest.raises(TypeError, match="kernel: expected a Kernel such as mala.*call it"):
        forward(jax.random.key(0), 2, 3, 10, samplers.mala)
    with pytest.raises(
        ValueError,
        match=r"x_model: expected samples of shape \(2,\), as the noise draws, got \(1,\)",
    ):
        samplers.reverse_annealed_importance_sampling(
            jax.random.key(0),
            lambda x: x.sum(axis=-1),
            noise.standard_normal(2),
            jnp.zeros((4, 1)),
            kernel=samplers.mala(0.1),
            schedule=samplers.linear_schedule(2),
        )
    with pytest.raises(ValueError, match="num_samples: expected at least 1, got 0"):
        forward(jax.random.key(0), 2, 3, 0, samplers.mala(0.1))
    with pytest.raises(ValueError, match="log_density_fn: expected one value .* shape .10,."):
        forward(jax.random.key(0), 2, 3, 10, samplers.mala(0.1), log_density_fn=lambda x: x)
    with pytest.raises(
        TypeError, match="schedule: expected inverse .*, got the function linear_schedule: call it"
    ):
        forward(jax.random.key(0), 2, 3, 10, samplers.mala(0.1), schedule=samplers.linear_schedule)
    with pytest.raises(ValueError, match=r"x_model: .* x_model\[None\] is one chain"):
        reverse(jax.random.key(0), jnp.zeros(2), 3, samplers.mala(0.1))
    with pytest.raises(ValueError, match="num_stages: expected at least 1, got 0"):
        samplers.linear_schedule(0)
    with pytest.raises(TypeError, match="x_model: expected a floating array, got dtype int32"):
        reverse(jax.random.key(0), jnp.zeros((3, 2), int), 3, samplers.mala(0.1))


def test_a_chain_of_weight_zero_hides_no_chain_that_dominates():
    """One weight is e^10 times the others, whether or not one of them is zero."""
    log_weights = jnp.zeros(100).at[0].set(10.0)
    for values in (log_weights, log_weights.at[1].set(-jnp.inf)):
        annealed = Annealed(jnp.zeros(100), values, jnp.zeros((), jnp.int32), jnp.ones(()))
        estimate = _estimate(annealed, sign=1)
        assert estimate.status == nce_jax.Status.LOW_OVERLAP
        assert estimate.effective_samples < 2


def half_plane(x):
    """The density of the noise where x_0 > 0, and none elsewhere: Z = 1/2."""
    return jnp.where(x[:, 0] > 0, -0.5 * jnp.sum(jnp.square(x), -1) - np.log(2 * np.pi), -jnp.inf)


@pytest.mark.parametrize(
    "schedule", [[0.0, 0.5, 0.5, 1.0], [0.0, 0.0, 0.5, 1.0], [0.0, 0.5, 1.0, 1.0]]
)
def test_a_temperature_may_repeat_where_log_ratios_are_infinite(schedule):
    """Within 4 standard errors of log(1/2), seed 0; all weights are zero or one."""
    estimate = forward(
        jax.random.key(0), 2, None, 400, samplers.mala(0.1), half_plane, jnp.array(schedule)
    )
    assert abs(estimate.log_partition - np.log(0.5)) < 4 * estimate.standard_error < 0.3
    np.testing.assert_array_equal(estimate.num_nonfinite, 0)


def test_weights_of_zero_leave_a_bound():
    """In the mean over 400 sets of 50 weights, of which 30 % are zero and the others log-normal of
    mean 1: within 4 standard errors above log 0.7 less half their variance, and not 0.02 below;
    its error is its spread to 15 %; seed 0.
    """
    key_zero, key_weight = jax.random.split(jax.random.key(0))
    values = 0.5 * jax.random.normal(key_weight, (400, 50)) - 0.125
    values = jnp.where(jax.random.uniform(key_zero, (400, 50)) < 0.3, -jnp.inf, values)

    def bound(values, sign):
        annealed = Annealed(values, values, jnp.zeros((), jnp.int32), jnp.ones(()))
        estimate = _estimate(annealed, sign=sign)
        return estimate.bound, estimate.bound_standard_error

    bounds, errors = map(np.asarray, jax.vmap(lambda values: bound(values, 1))(values))
    mean, error = mean_and_error(bounds)
    assert np.log(0.7) - 0.125 - 0.02 < mean < np.log(0.7) - 0.125 + 4 * error
    np.testing.assert_allclose(np.sqrt(np.mean(errors**2)), bounds.std(), rtol=0.15)
    assert bound(values[0], -1)[0] == np.inf


def test_noise_and_model_may_differ_in_dtype(x64):
    normal = noise.standard_normal(2, dtype=jnp.float32)
    options = {"kernel": samplers.mala(0.1), "schedule": samplers.linear_schedule(3)}

    def model(x):
        return log_density_fn(x.astype(jnp.float64))

    key = jax.random.key(0)
    ahead = samplers.annealed_importance_sampling(key, model, normal, num_samples=4, **options)
    back = samplers.reverse_annealed_importance_sampling(key, model, normal, ahead.x, **options)
    assert ahead.x.dtype == back.x.dtype == jnp.float32
    assert ahead.log_weights.dtype == back.log_weights.dtype == jnp.float64


def test_the_rounding_of_log_weights_is_in_both_errors():
    """At 1e8 float32 rounds to 8 nats, and so the model's own log densities."""
    estimate = samplers.annealed_importance_sampling(
        jax.random.key(0), lambda x: 1e8 + log_density_fn(x), noise.standard_normal(1),
        kernel=samplers.mala(0.1), schedule=samplers.linear_schedule(4), num_samples=100,
    )  # fmt: skip
    assert estimate.standard_error > 4
    assert estimate.bound_standard_error > 4


@pytest.mark.parametrize("slope", [1e-30, 1e-8, 1e-4, 1e-2, 0.99, 1.01, 30.0, 1e4])
def test_a_sigmoid_schedule_of_any_slope_is_one(slope):
    """Against the definition in float64, and in order from 0 to 1."""
    schedule = np.asarray(samplers.sigmoid_schedule(50, slope=slope))
    assert schedule[0] == 0
    assert schedule[-1] == 1
    assert (np.diff(schedule) >= 0).all()
    steepness = max(slope, 1e-3) / 2
    tangents = np.tanh(steepness * np.linspace(-1, 1, 51))
    np.testing.assert_allclose(schedule, (1 + tangents / tangents[-1]) / 2, atol=1e-6)
