"""Fitting a flow: it gains what there is to gain, and held-out data choose what is kept."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nce_jax import noise
from nce_jax.adaptive_noise import _fit_flow, fit_flow
from nce_jax.adaptive_noise._fit_flow import _split

SMALL = {"num_layers": 2, "hidden": (4,), "num_bins": 3, "progress": False}
Center, DEVIATION = 2.0, 0.5


def mixture(key, num_samples):
    """Two Gaussians in the plane, at (2, 2) and (-2, -2)."""
    key_side, key_spread = jax.random.split(key)
    side = jnp.where(jax.random.bernoulli(key_side, 0.5, (num_samples, 1)), 1.0, -1.0)
    return Center * side + DEVIATION * jax.random.normal(key_spread, (num_samples, 2))


def mixture_log_prob(x):
    x = np.asarray(x, np.float64)
    squares = [np.square(x - side * Center).sum(-1) / DEVIATION**2 for side in (1, -1)]
    return np.logaddexp(-squares[0] / 2, -squares[1] / 2) - np.log(4 * np.pi * DEVIATION**2)


def mean_and_error(values):
    values = np.asarray(values, np.float64)
    return values.mean(), values.std(ddof=1) / np.sqrt(values.size)


@pytest.mark.costly
def test_it_reaches_the_entropy_of_a_mixture():
    """Seed 0. KL(p* || Gaussian) is known, 1.055 nats; of it the flow leaves less than 0.05, and
    none leaves less than 0.
    """
    keys = jax.random.split(jax.random.key(0), 3)
    x_data, x_test = mixture(keys[0], 8000), mixture(keys[2], 20_000)
    options = {"optimizer": optax.adam(5e-3), "num_layers": 2, "hidden": (16,), "progress": False}
    result = fit_flow(keys[1], x_data, num_steps=600, batch_size=512, **options)
    true_log_prob = mixture_log_prob(x_test)
    flow_log_prob = np.asarray(jax.jit(result.noise.log_prob)(x_test), np.float64)
    gap, error = mean_and_error(true_log_prob - flow_log_prob)
    assert -4 * error < gap < 0.05
    gaussian_gap, gaussian_error = mean_and_error(
        true_log_prob - noise.fitted_gaussian(x_data).log_prob(x_test)
    )
    # The centers are 11 standard deviations apart: the entropy of the mixture is log 2 more than
    # that of one side.
    covariance = Center**2 + DEVIATION**2 * np.eye(2)
    known_gap = 0.5 * np.linalg.slogdet(covariance)[1] - 2 * np.log(DEVIATION) - np.log(2)
    assert abs(gaussian_gap - known_gap) < 4 * gaussian_error < 0.05
    # What is reported of held-out data agrees with fresh data: the choice among six evaluations
    # costs little.
    fresh, fresh_error = mean_and_error(flow_log_prob)
    assert abs(result.log_likelihood - fresh) < 4 * np.hypot(result.standard_error, fresh_error)
    best = np.argmax(result.evaluations["log_likelihood"])
    assert result.best_step == result.evaluations["step"][best]
    assert result.history["loss"][-1] < result.history["loss"][0]
    np.testing.assert_allclose(
        result.log_likelihood, result.evaluations["log_likelihood"][best], rtol=1e-6
    )


@pytest.mark.costly
def test_a_run_that_only_gets_worse_keeps_the_gaussian():
    """A negative learning rate ascends the loss: the evaluation before the first step is the
    best.
    """
    x_data = mixture(jax.random.key(0), 500)
    key = jax.random.key(1)
    result = fit_flow(
        key, x_data, num_steps=5, evaluate_every=2, optimizer=optax.sgd(-0.1), **SMALL
    )
    x_train, x_held_out = _split(jax.random.split(key, 3)[0], x_data, 0.1)
    gaussian = noise.fitted_gaussian(x_train)
    assert result.best_step == 0
    np.testing.assert_allclose(
        result.noise.log_prob(x_held_out), gaussian.log_prob(x_held_out), atol=1e-5
    )
    mean, error = mean_and_error(gaussian.log_prob(x_held_out))
    np.testing.assert_allclose(
        [result.log_likelihood, result.standard_error], [mean, error], rtol=1e-5
    )
    assert result.evaluations["step"].tolist() == [2, 4, 5]
    assert (result.evaluations["log_likelihood"] < result.log_likelihood).all()


@pytest.mark.costly
def test_a_resumed_run_chooses_and_ends_the_same(tmp_path):
    """Without an optimizer, by Adam."""
    x_data, key = mixture(jax.random.key(0), 500), jax.random.key(1)
    options = {"evaluate_every": 1, "batch_size": 100, "optimizer": None, **SMALL}
    whole = fit_flow(key, x_data, num_steps=20, folder=tmp_path / "whole", **options)
    fit_flow(key, x_data, num_steps=10, folder=tmp_path / "parts", **options)
    resumed = fit_flow(key, x_data, num_steps=20, folder=tmp_path / "parts", resume=True, **options)
    assert resumed.best_step == whole.best_step > 0
    jax.tree.map(np.testing.assert_array_equal, resumed.noise.params, whole.noise.params)
    np.testing.assert_array_equal(
        resumed.evaluations["log_likelihood"], whole.evaluations["log_likelihood"]
    )


@pytest.mark.costly
def test_a_run_goes_on_with_a_change_that_is_insisted_on(tmp_path):
    """Otherwise the error names the argument that `fit_flow` has."""
    x_data = mixture(jax.random.key(0), 60)
    options = {"folder": tmp_path, "evaluate_every": 1, **SMALL}
    fit_flow(jax.random.key(1), x_data, num_steps=1, optimizer=optax.sgd(0.1), **options)
    options |= {"num_steps": 2, "resume": True, "optimizer": optax.sgd(1e-3)}
    with pytest.raises(ValueError, match=r"^step: expected .*pass allow_changes=\('step',\)"):
        fit_flow(jax.random.key(1), x_data, **options)
    result = fit_flow(jax.random.key(1), x_data, allow_changes=("step",), **options)
    assert result.history["step"][-1] == 2


def test_the_split_is_a_partition():
    x_data = jnp.arange(40.0).reshape(20, 2)
    x_train, x_held_out = _split(jax.random.key(0), x_data, 0.25)
    assert (x_train.shape, x_held_out.shape) == ((15, 2), (5, 2))
    np.testing.assert_array_equal(
        np.sort(np.concatenate([x_train, x_held_out])[:, 0]), x_data[:, 0]
    )
    assert (np.sort(x_held_out[:, 0]) != np.arange(0.0, 10.0, 2.0)).any()


def test_nan_in_the_data_is_refused():
    """Even one: in the held-out part it would look like a flow that never improves."""
    x_data = mixture(jax.random.key(0), 100).at[3, 0].set(jnp.nan)
    with pytest.raises(ValueError, match="x_data: expected finite samples, got NaN or infinity"):
        fit_flow(jax.random.key(1), x_data, num_steps=2, **SMALL)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"held_out": 0.0}, "held_out: expected a number between 0 and 1, got 0.0"),
        (
            {"held_out": 0.01},
            "x_data: expected at least 2 samples on each side of the split, got 50",
        ),
        ({"batch_size": 0}, "batch_size: expected at least 1, got 0"),
        ({"evaluate_every": 0}, "evaluate_every: expected at least 1, got 0"),
        ({"num_steps": 0}, "num_steps: expected at least 1, got 0"),
        ({"num_layers": 1}, "num_layers: expected at least 2"),
        (
            {"x_data": np.zeros(5, np.float32)},
            r"x_data: expected shape \(samples, dim\), got shape \(5,\)",
        ),
        ({"x_data": np.zeros((5, 2), int)}, "x_data: expected a floating array, got dtype int"),
        ({"key": 0}, "key: expected a typed key"),
    ],
)
def test_bad_arguments_are_named(options, message):
    options = {"key": jax.random.key(0), "x_data": np.zeros((50, 2), np.float32)} | options
    with pytest.raises((TypeError, ValueError), match=message):
        fit_flow(options.pop("key"), options.pop("x_data"), progress=False, **options)


def test_groups_are_held_out_whole_and_repeated_rows_without_them_warned_of(monkeypatch):
    """60 rows, five times each: by rows nearly every held-out sample has copies to train on."""
    rng = np.random.default_rng(0)
    rows = np.repeat(rng.normal(size=(60, 2)).astype(np.float32), 5, axis=0)
    groups = np.repeat(np.arange(60), 5)
    train, held_out = _split(jax.random.key(0), jnp.asarray(rows), 0.1, groups)
    assert len(train) + len(held_out) == 300
    assert len(held_out) == 30
    assert not {*map(tuple, np.asarray(train))} & {*map(tuple, np.asarray(held_out))}

    def stop(*_, **__):
        raise InterruptedError

    monkeypatch.setattr(_fit_flow, "flow", stop)  # nothing is trained
    warned = pytest.warns(UserWarning, match="fit_flow: x_data: 300 of 300 samples occur more than")
    with warned, pytest.raises(InterruptedError):
        fit_flow(jax.random.key(0), rows)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        with pytest.raises(InterruptedError):
            fit_flow(jax.random.key(0), rows, groups_data=groups)
