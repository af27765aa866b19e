"""Batches without a finite loss are named, bounded models train, and padding is passed over."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nce_jax import criteria, noise, training
from nce_jax.log_partition import Status
from tests.slow import slow_but

TREATMENTS = {
    "solved": training.solved(),
    "fixed_steps": training.solved(fixed_steps=4),
    "bar_step": training.bar_step(),
    "joint_gradient": training.joint_gradient(),
    "held": training.held(),
}
CRITERIA = {
    "nce": criteria.nce(magnification=3.0),
    "exponential_nce": criteria.exponential_nce(),
    "nwj": criteria.nwj(),
    "donsker_varadhan": criteria.donsker_varadhan(),
    "least_squares": criteria.least_squares(),
    "ranking_nce": criteria.ranking_nce(),
}
X_DATA = jax.random.normal(jax.random.key(0), (64, 1))
NOISE = noise.standard_normal(1)


def tilted(theta, x):
    return theta * x[:, 0] - 0.5 * x[:, 0] ** 2


def fit(model=tilted, source=NOISE, batches=X_DATA, *, num_steps=6, optimizer=None, **options):
    train = training.make_train_step(model, source, optimizer or optax.adam(0.1), **options)
    return training.fit(
        train,
        train.init(jnp.array(0.3)),
        batches,
        jax.random.key(1),
        num_steps=num_steps,
        log_every=num_steps,
        progress=False,
    )


@pytest.mark.parametrize("treatment", slow_but(["solved"], ["solved", "fixed_steps", "bar_step"]))
def test_a_model_of_bounded_support_trains_as_one_that_falls_steeply(treatment):
    """Outside of [-1, 1] the model is zero, or e^-10000, which no sum distinguishes from zero."""
    x_data = jax.random.uniform(jax.random.key(0), (64, 1), minval=-1, maxval=1)
    fits = [
        fit(
            lambda theta, x, low=low: jnp.where(jnp.abs(x[:, 0]) < 1, theta * x[:, 0], low),
            batches=x_data,
            treatment=TREATMENTS[treatment],
        )
        for low in (-jnp.inf, -1e4)
    ]
    for name in ("params", "log_partition"):
        bounded, steep = (getattr(result.state, name) for result in fits)
        np.testing.assert_allclose(bounded, steep, rtol=1e-4)
    assert fits[0].history["failed_solves"].sum() == fits[1].history["failed_solves"].sum()


@pytest.mark.parametrize("name", CRITERIA)
def test_a_model_of_bounded_support_trains_with_every_criterion(name):
    def bounded(theta, x):
        return jnp.where(jnp.abs(x[:, 0]) < 1, theta * x[:, 0], -jnp.inf)

    result = fit(bounded, batches=jnp.clip(X_DATA, -0.9, 0.9), criterion=CRITERIA[name])
    assert np.isfinite(result.state.params)
    assert result.state.params != 0.3


@pytest.mark.parametrize("treatment", TREATMENTS)
def test_data_that_the_noise_does_not_cover_are_counted(treatment):
    box = noise.uniform_box(jnp.array([-1.0]), jnp.array([1.0]))
    lost = int((jnp.abs(X_DATA) > 1).sum())
    message = f"the noise does not cover {lost} of 64 data samples .its log_prob is -inf there"
    with pytest.raises(training.NonFiniteError, match=message):
        fit(source=box, treatment=TREATMENTS[treatment])


def at(values, row, bad):
    return jnp.where(jnp.arange(len(values)) == row, bad, values)


class Broken:
    """Standard normal noise with one bad log density among the draws."""

    def __init__(self, bad):
        self.bad, self.event_shape = bad, (1,)

    def log_prob(self, value):
        return NOISE.log_prob(value)

    def sample_and_log_prob(self, *, seed, sample_shape):
        x, log_prob = NOISE.sample_and_log_prob(seed=seed, sample_shape=sample_shape)
        return x, at(log_prob, 5, self.bad)


MESSAGES = {
    "model nan": (
        lambda theta, x: at(tilted(theta, x), 7, jnp.nan),
        NOISE,
        X_DATA,
        "log_density_fn is NaN at 1 of 64 data samples, first in row 7 of the batch; log_density_fn"
        " is NaN at 1 of 64 noise samples, first in row 7",
    ),
    "model +inf": (
        lambda theta, x: at(tilted(theta, x), 3, jnp.inf),
        NOISE,
        X_DATA,
        "log_density_fn is infinite at 1 of 64 data samples, first in row 3 of the batch;"
        " log_density_fn is [+]inf at 1 of 64 noise samples",
    ),
    "model -inf": (
        lambda theta, x: at(tilted(theta, x), 3, -jnp.inf),
        NOISE,
        X_DATA,
        "log_density_fn is infinite at 1 of 64 data samples, first in row 3 of the batch; there",
    ),
    "sample nan": (
        tilted,
        NOISE,
        X_DATA.at[9].set(jnp.nan),
        "log_prob of the noise is NaN or [+]inf at 1 of 64 data samples .are these samples finite",
    ),
    "noise nan": (tilted, Broken(jnp.nan), X_DATA, "the noise is NaN .* 1 of 64 noise .* row 5"),
    "noise -inf": (tilted, Broken(-jnp.inf), X_DATA, "the noise is -inf at 1 of 64 noise .*row 5"),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_what_is_not_finite_is_named(name):
    model, source, x_data, message = MESSAGES[name]
    with pytest.raises(training.NonFiniteError, match=message):
        fit(model, source, x_data)


@pytest.mark.costly
def test_a_log_ratio_and_ignored_samples():
    def log_ratio(theta, x):
        return at(at(theta * x[:, 0], 2, jnp.nan), 4, jnp.inf)

    weights = jnp.ones(64).at[jnp.array([2, 4])].set(0)
    batch = training.Batch(X_DATA, X_DATA - 1, weights, weights)
    options = {"model": None, "log_ratio_fn": log_ratio, "source": None}
    assert np.isfinite(fit(batches=batch, **options).state.params)
    message = "the log ratio is NaN at 1 of 63 data samples, first in row 2 of the batch$"
    with pytest.raises(training.NonFiniteError) as caught:
        fit(batches=batch._replace(weights_data=weights.at[2].set(1)), **options)
    assert message[:-1] in str(caught.value)
    message = r"the log ratio is infinite at 1 of 63 data samples .\+inf where the noise does not"
    with pytest.raises(training.NonFiniteError, match=message):
        fit(batches=batch._replace(weights_data=weights.at[4].set(1)), **options)


@pytest.mark.parametrize("treatment", slow_but(["solved", "bar_step", "held"], TREATMENTS))
@pytest.mark.parametrize("side", [pytest.param("data", marks=pytest.mark.costly), "noise"])
def test_batches_of_padding_leave_no_trace_and_are_counted(treatment, side):
    """Steps 1, 3 and 4 of 6 are padding: the run is the one of the other three batches, which are
    the same ones with momentum and all. Padding may hold NaN.
    """
    x_noise = X_DATA - 1
    is_padding = jnp.array([False, True, False, True, True, False])

    def batch(step, all_of_it):
        weights = jnp.where(all_of_it & is_padding[step], 0.0, 1.0) * jnp.ones(64)
        samples = {"data": X_DATA, "noise": x_noise}
        samples[side] = jnp.where(weights[:, None] == 0, jnp.nan, samples[side])
        return training.Batch(samples["data"], samples["noise"], **{f"weights_{side}": weights})

    options = {"treatment": TREATMENTS[treatment]}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = fit(batches=lambda step: batch(step, True), **options)
    wanted = fit(batches=lambda step: batch(step, False), num_steps=3, **options)
    np.testing.assert_array_equal(result.state.params, wanted.state.params)
    np.testing.assert_array_equal(result.state.log_partition, wanted.state.log_partition)
    assert result.state.step == 6
    assert result.history["empty_batches"].tolist() == [3]
    assert result.history["failed_solves"] == wanted.history["failed_solves"]
    for name in ("loss", "overlap", "gradient_norm"):
        np.testing.assert_allclose(result.history[name], wanted.history[name], rtol=1e-6)


def test_nothing_but_padding():
    batch = training.Batch(X_DATA, weights_data=jnp.zeros(64))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = fit(batches=batch)
    assert result.state.params == jnp.float32(0.3)
    assert result.history["empty_batches"].tolist() == [6]
    assert result.history["loss"].tolist() == [0]
    assert "empty_batches" not in fit().history


def test_the_record_has_no_column_of_faults():
    assert not any("fault" in name for name in fit().history)


@pytest.mark.costly
def test_a_training_over_seeds_with_a_shared_parameter():
    """The derivative of masked losses after two steps, by the initial parameter of all seeds."""

    def log_density_fn(params, x):
        theta, offset = params
        return jnp.where(offset > 0, jnp.inf, theta * x[:, 0])

    train = training.make_train_step(log_density_fn, noise.standard_normal(1), optax.adam(0.1))
    x_data = 1 + jax.random.normal(jax.random.key(0), (64, 1))

    def run(theta, offset, key):
        state = train.init((theta, offset))
        for _ in range(2):
            state, metrics = train(state, x_data, key)
        return metrics, state

    def total(theta):
        keys = jax.random.split(jax.random.key(1), 3)
        metrics, state = jax.vmap(run, (None, 0, 0))(theta, jnp.array([-1.0, 1.0, -1.0]), keys)
        is_solved = metrics.status == Status.CONVERGED
        return jnp.where(is_solved, metrics.loss, 0).sum(), (is_solved, state.params[0])

    gradient, (is_solved, theta) = jax.jit(jax.grad(total, has_aux=True))(0.3)
    assert is_solved.tolist() == [True, False, True]
    assert np.isfinite(gradient)
    # The lane itself is not hidden.
    assert np.isnan(theta).tolist() == [False, True, False]
