"""The result of `fit_log_ratio`: the common interface, the error of KL, and when it is not to be
trusted.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from nce_jax import models
from nce_jax.ratio_estimation import (
    CalibrationSlope,
    RatioEstimate,
    UnreliableRatioWarning,
    fit_log_ratio,
)
from nce_jax.ratio_estimation._assessment import effective_fraction, loss_terms, sampling_errors
from nce_jax.training import LowOverlapWarning

KEYS = jax.random.split(jax.random.key(0), 3)


def linear(dim=1):
    return models.exponential_family(models.linear_statistics, jnp.zeros(dim))


@pytest.fixture(name="estimate", scope="module")
def _estimate():
    x_data = 1 + jax.random.normal(KEYS[0], (2000, 1))
    x_noise = jax.random.normal(KEYS[1], (1500, 1))
    with pytest.warns(UnreliableRatioWarning, match="train it for more steps"):
        found = fit_log_ratio(
            KEYS[2], x_data, x_noise, model=linear(), num_steps=10, batch_size=64, progress=False
        )
    assert not found.is_converged
    return found._replace(slope=CalibrationSlope(1.0, 0.0, 0.0))


@pytest.mark.costly
def test_it_has_the_common_interface(estimate):
    """The two errors that no descent knows are NaN; the others are finite."""
    assert isinstance(estimate, RatioEstimate)
    x = jnp.array([[0.0], [1.0]])
    expected = estimate.log_ratio_fn(estimate.params, x) - estimate.log_partition
    np.testing.assert_allclose(estimate.log_ratio(x), expected, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(estimate.log_ratio)(x), expected, rtol=1e-6)
    assert np.isnan(estimate.log_ratio_standard_error(x)).tolist() == [True, True]
    assert np.isnan(estimate.kl_standard_error)
    assert np.isfinite([estimate.kl_sampling_error, estimate.log_partition_standard_error]).all()


@pytest.mark.costly
def test_the_summary_names_the_error_that_it_prints(estimate):
    lines = estimate.summary().splitlines()
    assert (
        f"KL {estimate.kl:.3f} +- {estimate.kl_sampling_error:.3f} from sampling alone" in lines[1]
    )


@pytest.mark.costly
def test_the_error_of_kl_is_the_formula(x64):
    """Influences of data and of noise on mean s - F, by hand; the numbers of samples differ."""
    rng = np.random.default_rng(0)
    data, noise = rng.normal(1, 1.5, 200), rng.normal(0, 1, 300)
    low, high = -20.0, 20.0
    for _ in range(100):
        middle = (low + high) / 2
        p, q = 1 / (1 + np.exp(data - middle)), 1 / (1 + np.exp(middle - noise))
        low, high = (low, middle) if p.mean() > q.mean() else (middle, high)
    slope = (p * (1 - p)).mean() + (q * (1 - q)).mean()
    of_data = data - data.mean() + (p - p.mean()) / slope
    of_noise = (q - q.mean()) / slope
    expected = np.sqrt(of_data.var(ddof=1) / 200 + of_noise.var(ddof=1) / 300)
    errors = sampling_errors(jnp.asarray(data), jnp.asarray(noise), np.arange(500))
    np.testing.assert_allclose(errors.kl, expected, rtol=1e-6)
    of_root = p.var(ddof=1) / 200 + q.var(ddof=1) / 300
    np.testing.assert_allclose(errors.log_partition, np.sqrt(of_root) / slope, rtol=1e-6)
    # Every sample four times, as one group: the estimates and their errors are the same, but for
    # the correction G / (G - 1).
    copies = [jnp.repeat(jnp.asarray(side), 4) for side in (data, noise)]
    grouped = sampling_errors(*copies, np.repeat(np.arange(500), 4))
    np.testing.assert_allclose(grouped, errors, rtol=1e-6)
    assert sampling_errors(*copies, np.arange(2000)).kl < 0.51 * errors.kl


def test_the_loss_is_the_sum_of_its_terms(estimate):
    """The stored loss is that of the chosen step in the course of the training."""
    evaluations = estimate.result.evaluations
    assert evaluations["step"][0] == 0
    np.testing.assert_allclose(
        estimate.held_out_loss,
        evaluations["held_out_loss"][evaluations["step"] == estimate.best_step][0],
        rtol=1e-5,
    )
    assert estimate.best_step == evaluations["step"][np.argmin(evaluations["selection_loss"])]
    terms = loss_terms(jnp.array([2.0]), jnp.array([-1.0]), jnp.array(0.5))
    np.testing.assert_allclose(terms, np.log1p(np.exp([[-1.5], [-1.5]])), rtol=1e-6)


def changed(estimate, **fields):
    """The same estimate with other evaluations, of which the last is chosen, or other fields."""
    losses = np.array(fields.pop("losses", [estimate.held_out_loss]))
    evaluations = {"step": np.arange(len(losses)), "held_out_loss": losses}
    result = estimate.result._replace(evaluations=evaluations)
    return estimate._replace(result=result, best_step=len(losses) - 1, **fields)


def test_a_settled_loss_with_overlap_counts_as_converged(estimate):
    excess = 0.9 * estimate.held_out_loss_standard_error
    settled = changed(estimate, losses=[2.0, estimate.held_out_loss - excess])
    assert settled.is_converged
    assert "NOT CONVERGED" not in settled.summary()


def test_a_chosen_loss_above_the_lowest_is_overfitting(estimate):
    excess = 1.1 * estimate.held_out_loss_standard_error
    overfitted = changed(estimate, losses=[estimate.held_out_loss - excess, estimate.held_out_loss])
    assert not overfitted.is_converged
    assert not overfitted.is_reliable
    assert "NOT CONVERGED: the held-out loss of the chosen step" in overfitted.summary()
    # The course of a network that was not chosen is no fault of the simple model.
    assert overfitted._replace(model="linear").is_converged


def test_a_loss_that_does_not_beat_a_guess_is_not_reliable(estimate):
    """Two standard errors below 2 log 2 are the limit."""
    error = estimate.held_out_loss_standard_error
    for errors_below, is_reliable in ((1.9, False), (2.1, True)):
        loss = 2 * np.log(2) - errors_below * error
        moved = changed(estimate, held_out_loss=loss, losses=[loss])
        assert moved.is_converged
        assert moved.is_reliable == is_reliable
        assert ("is no better than that of a guess, 1.386" in moved.summary()) != is_reliable


def test_signs_of_dependence_are_among_the_problems(estimate):
    moved = changed(estimate, signs_of_dependence=("x_data: 9 of 10 samples occur more than once",))
    assert moved.is_converged
    assert not moved.is_reliable
    assert "NOT RELIABLE: x_data: 9 of 10 samples occur more than once: if" in moved.summary()


def test_too_little_overlap_and_a_failed_solve_are_reported(estimate):
    assert not changed(estimate, overlap=0.09).is_converged
    assert "fit_telescope bridges a gap" in changed(estimate, overlap=0.09).summary()
    assert not changed(estimate, is_solved=False).is_converged
    assert "F could not be solved for" in changed(estimate, is_solved=False).summary()


def test_without_overlap_the_summary_has_no_kl_no_error_and_no_weights(estimate):
    whole = changed(estimate, excess_loss=0.0, log_ratio_error=0.25)
    for text in (f"KL {estimate.kl:.3f}", "off by about 0.25", "of the noise samples"):
        assert text in whole.summary()
        assert text not in whole._replace(overlap=0.09).summary()
    assert "KL, log ratios and weights: no estimate" in whole._replace(overlap=0.09).summary()


def test_the_effective_noise_is_that_of_the_weights(estimate):
    """Of N(d, 1) over N(0, 1) it is exp(-d^2). With V = w^2 / E[w^2] - 2 w, whose variance is
    e^{4 d^2} + 4 e^{d^2} - 4 e^{2 d^2} - 1 to first order, k = 4.
    """
    d, n = 0.5, 100_000
    y = np.random.default_rng(0).normal(size=n)
    log_ratios, ones = jnp.asarray(700 + d * y), np.ones(n)
    variance = np.exp(4 * d**2) + 4 * np.exp(d**2) - 4 * np.exp(2 * d**2) - 1
    error = np.exp(-(d**2)) * np.sqrt(variance / n)
    assert abs(effective_fraction(log_ratios, ones) - np.exp(-(d**2))) < 4 * error
    # A sample of weight 2 counts as one sample, of twice the importance weight.
    got = effective_fraction(jnp.log(jnp.array([1.0, 2.0, 3.0])), np.array([2.0, 1.0, 1.0]))
    np.testing.assert_allclose(got, 7**2 / (4 + 4 + 9) / 3, rtol=1e-5)
    few = changed(estimate, effective_noise_fraction=0.0045)
    assert "0.45 % of the noise samples are effective; means by these weights" in few.summary()
    many = changed(estimate, effective_noise_fraction=0.11)
    assert "11 % of the noise samples are effective\n" in many.summary()


@pytest.mark.bad_input
def test_tables_are_refused_since_their_columns_may_be_in_another_order(estimate):
    table = pd.DataFrame({"a": [0.0, 1.0]})
    for method in (estimate.log_ratio, estimate.log_ratio_standard_error):
        with pytest.raises(TypeError, match=r"^x: expected .* a pandas DataFrame; x.to_numpy\(\)"):
            method(table)


@pytest.mark.costly
def test_sets_without_any_overlap_have_infinite_errors():
    """A linear model that starts with a slope of 3,000: P and Q are zero in float32."""
    model = models.exponential_family(models.linear_statistics, jnp.full(1, 3000.0))
    x_data = 60 + jax.random.normal(KEYS[0], (100, 1))
    x_noise = jax.random.normal(KEYS[1], (100, 1))
    with (
        pytest.warns(LowOverlapWarning),
        pytest.warns(UnreliableRatioWarning, match="the overlap, 0, is below 0.1"),
    ):
        estimate = fit_log_ratio(
            KEYS[2], x_data, x_noise, model=model, num_steps=1, batch_size=64, progress=False
        )
    assert not estimate.is_solved
    assert not estimate.is_converged
    assert np.isinf([estimate.kl_sampling_error, estimate.log_partition_standard_error]).all()
