"""Neural ratio estimation: on a finite problem, solved exactly, every loss finds the log ratio;
logits of any size.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nce_jax

JOINT = np.array([[0.20, 0.05, 0.05, 0.02], [0.05, 0.20, 0.03, 0.05], [0.02, 0.03, 0.10, 0.20]])
"""p(theta, x) of three parameters and four observations."""
PRIOR, EVIDENCE = JOINT.sum(axis=1), JOINT.sum(axis=0)
LOG_RATIO = np.log(JOINT / np.outer(PRIOR, EVIDENCE))


def a_loss(table, function, **options):
    """Over all pairs with their probabilities as weights; the losses take none, so that repeated
    draws stand for them.
    """
    counts = np.round(100 * JOINT).astype(int)
    joint_pairs = np.repeat(np.arange(12), counts.ravel())
    independent_pairs = np.round(1e4 * np.outer(PRIOR, EVIDENCE)).astype(int)
    return function(
        table.ravel()[joint_pairs],
        table.ravel()[np.repeat(np.arange(12), independent_pairs.ravel())],
        **options,
    )


def b_loss(table):
    """K = 2 in addition to the first: all (theta, x, theta', theta'')."""
    draws = list(itertools.product(range(3), range(4), range(3), range(3)))
    weights = jnp.array([JOINT[t, x] * PRIOR[a] * PRIOR[b] for t, x, a, b in draws])
    t, x, a, b = (np.array(column) for column in zip(*draws, strict=True))
    terms = jax.vmap(lambda s, s_noise: nce_jax.losses.nre_b_loss(s[None], s_noise[None]))(
        table[t, x], jnp.stack([table[a, x], table[b, x]], axis=-1)
    )
    return weights @ terms


def c_loss(table, gamma):
    """K = 2: all (theta, x, theta') with their joint probabilities, and all (theta', theta'', x)
    with the probabilities of independent draws.
    """
    draws = list(itertools.product(range(3), range(4), range(3)))
    t, x, a = (np.array(column) for column in zip(*draws, strict=True))
    joint_pairs = jnp.array(JOINT[t, x] * PRIOR[a])
    independent_pairs = jnp.array(PRIOR[t] * EVIDENCE[x] * PRIOR[a])

    @jax.vmap
    def loss(s, c, noise):
        return nce_jax.losses.nre_c_loss(
            s[None], noise[None], log_ratio_contrast=c[None, None], gamma=gamma
        )

    noise = jnp.stack([table[t, x], table[a, x]], axis=-1)
    # The loss is a sum of a part of the first two arguments and one of the third.
    far = jnp.full(len(draws), 1e4), jnp.full(len(draws), -1e4)  # where the first part is zero
    of_noise = loss(*far, noise)
    of_data = loss(table[t, x], table[a, x], jnp.full_like(noise, -1e4))
    return joint_pairs @ of_data + independent_pairs @ of_noise


LOSSES = {
    "A": lambda table: a_loss(table, nce_jax.losses.nre_a_loss),
    "balanced": lambda table: a_loss(table, nce_jax.losses.balanced_nre_loss),
    "B": b_loss,
    "C": lambda table: c_loss(table, 1.0),
    "C, gamma 5": lambda table: c_loss(table, 5.0),
}


@pytest.mark.parametrize("name", LOSSES)
def test_the_optimum_is_the_exact_log_ratio(name, x64):
    """Newton's method on the table of s from zero. B leaves a function of x open: there it is
    compared less its mean.
    """
    loss = LOSSES[name]
    step = jax.jit(lambda table: (jax.grad(loss)(table), jax.hessian(loss)(table).reshape(12, 12)))
    table = jnp.zeros((3, 4))
    for _ in range(40):
        slope, curvature = step(table)
        move = np.linalg.lstsq(np.asarray(curvature), np.asarray(slope).ravel(), rcond=1e-10)[0]
        table = table - move.reshape(3, 4) / max(1.0, np.abs(move).max() / 0.5)
    np.testing.assert_allclose(step(table)[0], 0, atol=1e-12)
    centered = (lambda t: t - t.mean(axis=0)) if name == "B" else (lambda t: t)
    np.testing.assert_allclose(centered(np.asarray(table)), centered(LOG_RATIO), atol=1e-6)


def test_one_parameter_and_even_odds_is_half_of_a(x64):
    rng = np.random.default_rng(0)
    joint_pairs, independent_pairs = jnp.array(rng.normal(size=50)), jnp.array(rng.normal(size=50))
    expected = nce_jax.losses.nre_a_loss(joint_pairs, independent_pairs)
    np.testing.assert_allclose(
        2 * nce_jax.losses.nre_c_loss(joint_pairs, independent_pairs[:, None]), expected, rtol=1e-13
    )
    np.testing.assert_allclose(
        nce_jax.losses.balanced_nre_loss(joint_pairs, independent_pairs, strength=0.0),
        expected,
        rtol=1e-13,
    )
    # The class "none" is never asked for.
    large = nce_jax.losses.nre_c_loss(joint_pairs, independent_pairs[:, None], gamma=1e12)
    np.testing.assert_allclose(large, 0, atol=1e-9)


def test_c_equals_its_formula(x64):
    rng = np.random.default_rng(0)
    data, contrast, noise = rng.normal(size=9), rng.normal(size=(9, 3)), rng.normal(size=(9, 4))
    gamma = 2.5
    joint = np.concatenate([data[:, None], contrast], axis=1)
    first = gamma * np.exp(data) / (4 + gamma * np.exp(joint).sum(axis=1))
    none = 4 / (4 + gamma * np.exp(noise).sum(axis=1))
    expected = -gamma / (1 + gamma) * np.log(first).mean() - 1 / (1 + gamma) * np.log(none).mean()
    loss = nce_jax.losses.nre_c_loss(
        jnp.array(data), jnp.array(noise), log_ratio_contrast=jnp.array(contrast), gamma=gamma
    )
    np.testing.assert_allclose(loss, expected, rtol=1e-13)


@pytest.mark.parametrize("size", [17.0, 30.0, 1e4])
def test_large_logits_have_their_gradient(size):
    """float32: log(1 - sigmoid(s)) is flat above 17, where the slope of the loss is one per
    sample.
    """
    right, wrong = jnp.array([-size]), jnp.array([size])
    for loss in (
        nce_jax.losses.nre_a_loss,
        lambda s, t: 2 * nce_jax.losses.nre_c_loss(s, t[:, None]),
    ):
        value, (of_data, of_noise) = jax.value_and_grad(loss, (0, 1))(right, wrong)
        np.testing.assert_allclose(value, 2 * size, rtol=1e-5)
        np.testing.assert_allclose([of_data[0], of_noise[0]], [-1, 1], rtol=1e-5)
    slope = jax.grad(lambda s: nce_jax.losses.nre_b_loss(s, wrong[:, None]))(right)
    np.testing.assert_allclose(slope, -1, rtol=1e-5)


@pytest.mark.parametrize("gamma", [1e6, 1e9])
def test_a_large_gamma_keeps_both_losses(gamma):
    """float32 and K = 1: both are of the order 1 / gamma, which 1 - sigmoid(log gamma) is not."""
    data, noise = np.array([0.5, -1.0]), np.array([[0.3], [-0.4]])
    sides = jnp.array(data, jnp.float32), jnp.array(noise, jnp.float32)
    joint = gamma / (1 + gamma) * np.log1p(np.exp(-data) / gamma).mean()
    none = np.log1p(gamma * np.exp(noise)).mean() / (1 + gamma)
    value, slope = jax.value_and_grad(nce_jax.losses.nre_c_loss, 1)(*sides, gamma=gamma)
    np.testing.assert_allclose(value, joint + none, rtol=1e-5)
    acceptance = gamma * np.exp(noise) / (1 + gamma * np.exp(noise))
    np.testing.assert_allclose(slope, acceptance / 2 / (1 + gamma), rtol=1e-5)


@pytest.mark.bad_input
def test_bad_arguments_are_named():
    with pytest.raises(
        ValueError, match=r"log_ratio_contrast: expected shape \(4, 1\), one column less"
    ):
        nce_jax.losses.nre_c_loss(jnp.ones(4), jnp.ones((4, 2)))
    with pytest.raises(ValueError, match="gamma: expected a finite positive number, got 0"):
        nce_jax.losses.nre_c_loss(jnp.ones(4), jnp.ones((4, 1)), gamma=0)
    with pytest.raises(
        ValueError,
        match=r"log_ratio_noise: expected shape \(4, K\) for log_ratio_data of.*got shape \(2,\)",
    ):
        nce_jax.losses.nre_b_loss(jnp.ones(4), jnp.ones(2))
