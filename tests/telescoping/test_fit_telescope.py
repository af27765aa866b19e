"""`fit_telescope` end to end: a gap bridged without settings, by Newton's method and by gradient
descent.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nce_jax
from nce_jax import telescoping

KEYS = jax.random.split(jax.random.key(0), 3)
X_DATA, X_NOISE = 8 + jax.random.normal(KEYS[0], (1000, 1)), jax.random.normal(KEYS[1], (1000, 1))


def linear(theta, x):
    return x[:, 0] * theta


MODEL = (jnp.zeros(()), linear)


def fit(key, x_data, x_noise, model, **options):
    return nce_jax.fit_telescope(key, x_data, x_noise, model=model, progress=False, **options)


class Unhashable:
    """A function that equals others like it, and has no hash."""

    __hash__ = None

    def __eq__(self, other):
        return isinstance(other, Unhashable)

    def __call__(self, *args):
        return args[-1][:, 0]


@pytest.fixture(scope="module")
def result():
    return fit(KEYS[2], X_DATA, X_NOISE, MODEL)


@pytest.mark.costly
def test_the_schedule_is_found_and_every_stage_overlaps(result):
    """8 apart is four stages of overlap 0.45."""
    assert len(result.noise_levels) == 5
    assert np.all(result.stages.overlap > 0.3)
    assert np.all(result.stages.status == 0)
    assert result.num_pilot_steps > 0
    assert f"KL {result.kl:.3f} +- {result.kl_standard_error:.3f}" in result.summary()


@pytest.mark.costly
def test_the_log_ratio_is_the_truth_within_its_error(result):
    """u(x) = 8 x - 32 at the data, the noise and in between, KL = 32; 4 standard errors."""
    x = jnp.array([[0.0], [4.0], [8.0]])
    values, errors = result.log_ratio(x), result.log_ratio_standard_error(x)
    assert np.all(np.abs(values - (8 * x[:, 0] - 32)) < 4 * errors)
    assert np.all(errors < 3)
    assert abs(result.kl - 32) < 4 * result.kl_standard_error
    assert result.log_partition_standard_error < result.kl_standard_error
    model = result.log_ratio_fn(result.params, x) - result.log_partition
    np.testing.assert_allclose(values, model, rtol=1e-6)


@pytest.mark.costly
def test_its_normalizers_are_estimated_jointly_as_well(result):
    """At other pairs, for the parameters as they are: F within 4 standard errors, of either."""
    draws = jax.random.normal(jax.random.key(9), (2, 1000, 1))
    joint = result.joint_log_partitions(8 + draws[0], draws[1])
    error = np.hypot(joint.total_standard_error, result.log_partition_standard_error)
    assert abs(joint.total - result.log_partition) < 4 * error < 2
    assert abs(joint.kl - 32) < 4 * np.hypot(joint.kl_standard_error, result.kl_standard_error)
    x = result.bridges_fn(8 + draws[0], draws[1])
    values = telescoping.stage_log_ratios(result.stages_fn, result.params, x)
    pairs = nce_jax.solve_log_partition(*values).log_partition
    np.testing.assert_allclose(joint.log_partition, pairs, atol=0.1)
    with pytest.raises(ValueError, match="x_data: expected points of shape"):
        result.joint_log_partitions(draws[0, :, 0], draws[1])
    with pytest.raises(ValueError, match="x_noise: expected the shape of x_data"):
        result.joint_log_partitions(draws[0], draws[1, :5])


@pytest.mark.costly
def test_a_single_ratio_across_the_gap_knows_that_it_failed():
    """The two sets can be told apart: no optimum, and every error is infinite."""
    single = fit(KEYS[2], X_DATA, X_NOISE, MODEL, noise_levels=[0.0, 1.0])
    assert np.isinf(
        [single.log_partition_standard_error, single.kl_sampling_error, single.kl_standard_error]
    ).all()
    assert np.isinf(single.log_ratio_standard_error(X_DATA[:2])).all()


@pytest.mark.costly
def test_a_common_offset_changes_nothing(result):
    """Bridges are drawn about the noise's own location: 1,000 is as good an origin as 0."""
    moved = fit(KEYS[2], X_DATA + 1000, X_NOISE + 1000, MODEL)
    assert len(moved.noise_levels) == len(result.noise_levels)
    np.testing.assert_allclose(moved.kl, result.kl, atol=2 * result.kl_standard_error)


@pytest.mark.costly
def test_a_descent_that_has_not_arrived_says_so():
    """A rate too small for 16 apart: the pilots see no gap, since nothing is fitted, and the
    estimate still drifts.
    """
    slow = fit(KEYS[2], 8 + X_DATA, X_NOISE, MODEL, optimizer=optax.adam(1e-3), num_steps=400)
    assert slow.kl < 10  # the truth is 128
    assert not slow.is_converged
    assert slow.kl_sampling_error == np.inf
    assert "NOT CONVERGED: the mean log ratio still drifts (raise num_steps); " in slow.summary()


@pytest.mark.costly
def test_sixteen_apart_from_a_sampler():
    """At most 1,000 steps; KL 128 and F within 4 joint standard errors, which are below 0.3."""

    def draw_data(key, count):
        return 16 + jax.random.normal(key, (count, 1))

    def draw_noise(key, count):
        return jax.random.normal(key, (count, 1))

    result = fit(jax.random.key(5), draw_data, draw_noise, MODEL)
    x = jnp.zeros((1, 1))
    values, errors = result.log_ratio(x), result.log_ratio_standard_error(x)
    assert result.num_steps <= 1000
    assert errors[0] < 0.3
    assert abs(values[0] + 128) < 4 * errors[0]
    assert abs(result.kl - 128) < 4 * result.kl_standard_error
    steps, models, roots = result.path
    assert models.shape == roots.shape == (len(steps), len(result.noise_levels) - 1)


@pytest.mark.costly
def test_a_shared_body_by_gradient_descent():
    """6 apart, the body a rescaling: 3 stages, KL 18 within a twentieth; errors of parameters are
    not told.
    """
    model = telescoping.SharedBody(
        (jnp.ones(()), lambda b, x: b * x), (jnp.zeros(1), lambda theta, x: x @ theta)
    )
    x_data = 6 + jax.random.normal(KEYS[0], (4000, 1))
    x_noise = jax.random.normal(KEYS[1], (4000, 1))
    options = {"num_steps": 1000, "batch_size": 256, "optimizer": optax.adam(3e-2)}
    result = fit(KEYS[2], x_data, x_noise, model, **options)
    assert len(result.noise_levels) == 4
    assert abs(result.kl - 18) < 0.9
    assert np.isnan(result.kl_standard_error)
    assert result.is_converged
    assert np.isfinite(result.kl_sampling_error)
    assert np.all(result.stages.overlap > 0.2)
    assert result.log_ratio_fn(result.params, x_data[:3]).shape == (3,)


@pytest.mark.costly
def test_a_latent_space_gives_the_same_estimate(result):
    """exp of the same sets, with bridges drawn between their logarithms and a model of these: the
    same estimate.
    """
    model = (jnp.zeros(()), lambda theta, x: jnp.log(x[:, 0]) * theta)
    options = {"space": (jnp.log, jnp.exp), "standardize": False}
    bent = fit(KEYS[2], jnp.exp(X_DATA), jnp.exp(X_NOISE), model, **options)
    np.testing.assert_allclose(bent.noise_levels, result.noise_levels, atol=1e-3)
    np.testing.assert_allclose(bent.kl, result.kl, rtol=1e-3)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"x_data": X_DATA.astype(complex)}, "x_data: expected real numbers"),
        ({"x_data": X_DATA[:1]}, "x_data: expected at least 2 samples"),
        ({"x_noise": "normal"}, "x_noise: expected an array, a distribution or a function"),
        ({"x_noise": X_NOISE[:, 0]}, "x_noise: expected samples like the data's"),
        ({"x_data": X_DATA.at[3].set(jnp.nan)}, "x_data: expected finite samples, got 1 of 1000"),
        ({"x_noise": X_NOISE.at[0].set(jnp.inf)}, "x_noise: expected finite samples"),
        ({"x_noise": X_NOISE[:50]}, "x_noise: expected at least as many samples as x_data"),
        (
            {"x_data": lambda key, count: jax.random.normal(key, (count, 1))},
            "x_noise: expected a distribution or a function where x_data is one, got an array",
        ),
        ({"model": linear}, "model: expected"),
        ({"num_steps": 0}, "num_steps: expected at least 1"),
        (
            {"model": (jnp.zeros(()), lambda theta, x: x * theta)},
            r"log_ratio_fn: expected one value per sample, .* got shape \(512, 1\)",
        ),
        (
            {"model": (jnp.zeros((), jnp.int32), linear)},
            "model: params: expected a pytree of floating arrays, got dtype int32",
        ),
        (
            {"model": (jnp.zeros((), jnp.bfloat16), linear)},
            "model: expected parameters in float32 or float64 for Newton's method, got dtype b",
        ),
        (
            {"model": (jnp.zeros(()), lambda theta, x: jnp.ones(len(x), int))},
            "log_ratio_fn: expected floating values, got dtype int32",
        ),
        (
            {"model": (jnp.zeros(()), Unhashable())},
            "model: expected hashable functions, got a Unhashable",
        ),
        (
            {"space": (jnp.log, Unhashable())},
            "space: expected hashable functions, got a Unhashable",
        ),
        ({"space": jnp.log}, "space: expected a pair of functions"),
        ({"noise_levels": [0.0, 0.5]}, "noise_levels: expected"),
        (
            {"model": (jnp.zeros(()), lambda theta, x: theta * jnp.log(x[:, 0]))},
            "model: expected finite log ratios at the initial parameters, got 512 of 1024 that are"
            " not; the model sees samples with mean 0",
        ),
        (
            {"model": (jnp.zeros(()), lambda theta, x: x[:, 0] / theta), "standardize": False},
            r"model: expected finite log ratios at the initial parameters, got \d+ of 1024 that are"
            " not$",
        ),
        ({"magnification": 0.0}, "magnification: expected"),
    ],
)
def test_what_does_not_fit_is_named(changes, match):
    arguments = {"x_data": X_DATA, "x_noise": X_NOISE, "model": MODEL, **changes}
    with pytest.raises((TypeError, ValueError), match=match):
        fit(KEYS[2], **arguments)


@pytest.mark.bad_input
@pytest.mark.costly
def test_a_later_draw_that_is_not_finite_is_named():
    """The first ones, of one or two batches, are finite."""

    def draw(key, count):
        x = jax.random.normal(key, (count, 1))
        return x.at[77].set(jnp.nan) if count > 200 else x

    options = {"noise_levels": [0.0, 1.0], "batch_size": 64, "num_steps": 40}
    with pytest.raises(ValueError, match="x_noise: expected finite samples"):
        fit(KEYS[2], lambda key, count: jnp.ones((count, 1)), draw, MODEL, **options)


@pytest.mark.costly
def test_the_bridges_of_a_pair_are_the_same_in_any_company(result):
    """The offset about which they are made is that of the fit, and not of the samples at hand."""
    x = result.bridges_fn(X_DATA[:100], X_NOISE[:100])
    for alone in (slice(0, 1), slice(7, 10)):
        bridges = result.bridges_fn(X_DATA[alone], X_NOISE[alone])
        np.testing.assert_allclose(bridges, x[:, alone], rtol=1e-5)


@pytest.mark.costly
def test_too_few_stages_are_refused_by_name():
    """Reuses the shapes of the first fit: two rounds of pilots, and the third would need more than
    two stages.
    """
    with pytest.raises(
        telescoping.ScheduleError,
        match="max_stages: expected enough stages to bridge data and noise, got 2; after",
    ):
        fit(KEYS[2], X_DATA, X_NOISE, MODEL, max_stages=2)


@pytest.mark.bad_input
@pytest.mark.parametrize(("optimizer", "fewest"), [(None, 14), (optax.adam(1e-2), 44)])
def test_more_steps_than_allowed_are_never_taken(optimizer, fewest):
    """4 steps to evaluate, and 10 for Newton's method on a stream or 40 for a descent: fewer are
    refused.
    """

    def draw(key, count):
        return jax.random.normal(key, (count, 1))

    options = {"noise_levels": [0.0, 1.0], "optimizer": optimizer, "batch_size": 64}
    with pytest.raises(
        ValueError,
        match=f"num_steps: expected at least {fewest}, got {fewest - 1}: 0 for the search",
    ):
        fit(KEYS[2], draw, draw, MODEL, num_steps=fewest - 1, **options)


@pytest.mark.costly
@pytest.mark.parametrize(("optimizer", "fewest"), [(None, 14), (optax.adam(1e-2), 44)])
def test_the_fewest_steps_suffice(optimizer, fewest):
    def draw(key, count):
        return jax.random.normal(key, (count, 1))

    options = {"noise_levels": [0.0, 1.0], "optimizer": optimizer, "batch_size": 64}
    result = fit(KEYS[2], draw, draw, MODEL, num_steps=fewest, **options)
    assert result.num_steps == fewest


@pytest.mark.costly
@pytest.mark.parametrize("optimizer", [None, optax.adam(1e-2)])
def test_levels_next_to_one_keep_their_part_of_the_data(optimizer):
    """Noise 3e-5 wide: 1 - 1e-9 is 1 in float32, where its bridge would be the noise."""
    x_data, x_noise = X_DATA - 8, 3e-5 * X_NOISE
    options = {"num_steps": 400, "batch_size": 100, "optimizer": optimizer}
    levels = [0.0, 1 - 1e-9, 1.0]
    found = fit(KEYS[2], x_data, x_noise, None, noise_levels=levels, **options)
    x = found.bridges_fn(x_data, x_noise)
    np.testing.assert_allclose(x[1], np.sqrt(2e-9) * x_data + x_noise, rtol=1e-4, atol=1e-8)
    # Gaussians of widths in the ratio 1.8 overlap to 0.9; the noise and itself to one.
    assert found.stages.overlap[1] < 0.95
