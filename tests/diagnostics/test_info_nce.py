"""The mutual information that InfoNCE certifies: its formula, its ceiling, the truth, and its error
bar.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nce_jax


def terms_of(correlation, n, key):
    """InfoNCE with the true log ratio of a Gaussian pair, in-batch negatives."""
    key_x, key_y = jax.random.split(key)
    x = jax.random.normal(key_x, (n, 1))
    y = correlation * x + np.sqrt(1 - correlation**2) * jax.random.normal(key_y, (n, 1))
    # <(x, x^2, 1), (2 c y, -c^2, -c^2 y^2)> / (2 (1 - c^2)) is the log ratio up to a constant
    one = jnp.ones_like(x)
    anchors = jnp.concatenate([2 * correlation * x, -(correlation**2) * x**2, one], axis=1)
    partners = jnp.concatenate([y, one, -(correlation**2) * y**2], axis=1)
    return nce_jax.losses.info_nce_loss_terms(
        anchors, partners, temperature=2 * (1 - correlation**2)
    )


def test_it_is_the_log_of_the_candidates_less_the_loss(x64):
    terms = jnp.array([0.3, 2.0, 1.1])
    weights = jnp.array([1.0, 0.0, 2.0])
    candidates = jnp.array([4, 5, 6])
    bound = nce_jax.diagnostics.info_nce_bound(terms, candidates, weights=weights)
    gains = np.log([4, 6]) - np.array([0.3, 1.1])
    np.testing.assert_allclose(bound.value, gains @ [1, 2] / 3, rtol=1e-13)
    np.testing.assert_allclose(bound.ceiling, np.log([4, 6]) @ [1, 2] / 3, rtol=1e-13)
    assert np.isinf(nce_jax.diagnostics.info_nce_bound(terms[:1], 4).standard_error)
    assert nce_jax.diagnostics.info_nce_bound(jnp.ones((2, 3)), 4).value.shape == (2,)


def test_terms_of_both_directions_give_the_mean_of_two_bounds(x64):
    x, y = jax.random.normal(jax.random.key(0), (2, 20, 3))
    bound, forward, backward = (
        nce_jax.diagnostics.info_nce_bound(terms, 20).value
        for terms in (
            nce_jax.losses.clip_loss_terms(x, y),
            nce_jax.losses.info_nce_loss_terms(x, y),
            nce_jax.losses.info_nce_loss_terms(y, x),
        )
    )
    np.testing.assert_allclose(bound, (forward + backward) / 2, rtol=1e-12)


def test_truth_and_spread():
    """100 batches of 200, seed 0: within 4 standard errors of I, and .01 for the slack of the bound
    at 200 candidates.

    The error bar is the spread over batches, within a third: in-batch negatives are shared.
    """
    correlation = 0.6
    truth = -np.log(1 - correlation**2) / 2
    keys = jax.random.split(jax.random.key(0), 100)
    bounds = jax.jit(
        jax.vmap(
            lambda key: nce_jax.diagnostics.info_nce_bound(terms_of(correlation, 200, key), 200)
        )
    )(keys)
    spread = bounds.value.std()
    assert abs(bounds.value.mean() - truth) < 4 * spread / np.sqrt(100) + 0.01
    np.testing.assert_allclose(bounds.standard_error.mean(), spread, rtol=1 / 3)


def test_the_ceiling_holds_where_the_truth_is_beyond_it():
    terms = terms_of(0.99999, 16, jax.random.key(0))  # I = 5.4 nats
    bound = nce_jax.diagnostics.info_nce_bound(terms, 16)
    assert 0.9 * bound.ceiling < bound.value <= bound.ceiling
    np.testing.assert_allclose(bound.ceiling, np.log(16), rtol=1e-6)


@pytest.mark.bad_input
def test_bad_arguments_are_named():
    with pytest.raises(
        ValueError, match="num_candidates: expected a finite positive number, got 0"
    ):
        nce_jax.diagnostics.info_nce_bound(jnp.ones(3), 0)


@pytest.mark.bad_input
def test_numbers_of_candidates_fit_the_anchors():
    with pytest.raises(ValueError, match=r"^num_candidates: expected one number, or one per anch"):
        nce_jax.diagnostics.info_nce_bound(jnp.ones(2), np.array([3, 4, 5]))
