"""The result of `fit_log_ratio`: the common interface, the error of KL, and when it is not to be
trusted.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nce_jax import models
from nce_jax.ratio_estimation import RatioEstimate, fit_log_ratio
from nce_jax.ratio_estimation._assessment import kl_sampling_error, loss_terms

KEYS = jax.random.split(jax.random.key(0), 3)


def linear(dim=1):
    return models.exponential_family(models.linear_statistics, jnp.zeros(dim))


@pytest.fixture(name="estimate", scope="module")
def _estimate():
    x_data = 1 + jax.random.normal(KEYS[0], (2000, 1))
    x_noise = jax.random.normal(KEYS[1], (1500, 1))
    return fit_log_ratio(
        KEYS[2], x_data, x_noise, model=linear(), num_steps=10, batch_size=64, progress=False
    )


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


def test_the_summary_names_the_error_that_it_prints(estimate):
    lines = estimate.summary().splitlines()
    assert (
        f"KL {estimate.kl:.3f} +- {estimate.kl_sampling_error:.3f} from sampling alone" in lines[1]
    )


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
    error = kl_sampling_error(jnp.asarray(data), jnp.asarray(noise))
    np.testing.assert_allclose(error, expected, rtol=1e-6)


def test_the_loss_is_the_sum_of_its_terms(estimate):
    """The stored loss is the last of the training's evaluations."""
    np.testing.assert_allclose(
        estimate.held_out_loss, estimate.result.evaluations["held_out_loss"][-1], rtol=1e-5
    )
    terms = loss_terms(jnp.array([2.0]), jnp.array([-1.0]), jnp.array(0.5))
    np.testing.assert_allclose(terms, np.log1p(np.exp([[-1.5], [-1.5]])), rtol=1e-6)


def changed(estimate, **fields):
    """The same estimate with other evaluations or fields."""
    evaluations = {"held_out_loss": np.array(fields.pop("losses", [estimate.held_out_loss]))}
    result = estimate.result._replace(evaluations=evaluations)
    return estimate._replace(result=result, **fields)


def test_a_settled_loss_with_overlap_counts_as_converged(estimate):
    excess = 0.9 * estimate.held_out_loss_standard_error
    settled = changed(estimate, losses=[2.0, estimate.held_out_loss - excess])
    assert settled.is_converged
    assert "NOT CONVERGED" not in settled.summary()


def test_a_loss_that_has_risen_again_is_overfitting(estimate):
    excess = 1.1 * estimate.held_out_loss_standard_error
    overfitted = changed(estimate, losses=[estimate.held_out_loss - excess, estimate.held_out_loss])
    assert not overfitted.is_converged
    assert "NOT CONVERGED: the held-out loss ended" in overfitted.summary()


def test_too_little_overlap_and_a_failed_solve_are_reported(estimate):
    assert not changed(estimate, overlap=0.09).is_converged
    assert "fit_telescope bridges a gap" in changed(estimate, overlap=0.09).summary()
    assert not changed(estimate, is_solved=False).is_converged
    assert "F could not be solved for" in changed(estimate, is_solved=False).summary()


def test_sets_without_any_overlap_have_infinite_errors():
    """A linear model that starts with a slope of 3,000: P and Q are zero in float32."""
    model = models.exponential_family(models.linear_statistics, jnp.full(1, 3000.0))
    x_data = 60 + jax.random.normal(KEYS[0], (100, 1))
    x_noise = jax.random.normal(KEYS[1], (100, 1))
    with pytest.warns(Warning, match="overlap"):
        estimate = fit_log_ratio(
            KEYS[2], x_data, x_noise, model=model, num_steps=1, batch_size=64, progress=False
        )
    assert not estimate.is_solved
    assert not estimate.is_converged
    assert np.isinf([estimate.kl_sampling_error, estimate.log_partition_standard_error]).all()
