"""Losses of rewards and preferences: oracles, minima of finite problems, identities, limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import root

import nce_jax
from nce_jax import losses

RNG = np.random.default_rng(0)
S = RNG.normal(size=(3, 5))
REWARDS = 3 * RNG.normal(size=(3, 5))
WEIGHTS = RNG.uniform(0.1, 2, size=(3, 5)) * np.array([[1, 1, 1, 0, 1], [0] * 2 + [1] * 3, [1] * 5])
# The finite problem: all answers to one prompt, by the reference, and what they are worth.
REFERENCE = np.array([0.3, 0.25, 0.2, 0.15, 0.1])
WORTH = np.array([0.5, -1.0, 2.0, 0.0, 1.5])
ALPHA = 0.8
MAGNIFICATIONS = (0.3, 1.0, 20.0, 1e4)


def of_jax_arrays(function):
    """The function, called with the arrays of NumPy as those of JAX, as it is annotated."""

    def call(*args, **options):
        convert = lambda x: jnp.asarray(x) if isinstance(x, np.ndarray) else x
        return function(*map(convert, args), **{k: convert(x) for k, x in options.items()})

    return call


bradley_terry_loss = of_jax_arrays(losses.bradley_terry_loss)
info_nca_loss = of_jax_arrays(losses.info_nca_loss)
nca_loss = of_jax_arrays(losses.nca_loss)
solve_log_partition = of_jax_arrays(nce_jax.solve_log_partition)


def softplus(x):
    return np.logaddexp(0, x)


def log_mean(values, weights):
    """log E[exp(values)] of normalized weights."""
    return np.log(weights @ np.exp(values))


def minimum(loss, size):
    """The minimizer of a convex function, as the root of its gradient, found from zero."""
    slope, curvature = jax.jit(jax.grad(loss)), jax.jit(jax.hessian(loss))
    found = root(
        lambda x: np.asarray(slope(jnp.asarray(x))),
        np.zeros(size),
        jac=lambda x: np.asarray(curvature(jnp.asarray(x))),
        tol=1e-14,
    ).x
    assert np.abs(slope(jnp.asarray(found))).max() < 1e-12
    assert np.linalg.eigvalsh(curvature(jnp.asarray(found))).min() > 0
    return found


# --- formulas ---------------------------------------------------------------------------------


def test_bradley_terry_equals_its_formula(x64):
    preference, weights = RNG.uniform(size=(3, 5)), np.abs(WEIGHTS)
    d = 5 * S - REWARDS
    terms = preference * softplus(-d) + (1 - preference) * softplus(d)
    found = bradley_terry_loss(5 * S, REWARDS, preference=preference, weights=weights)
    expected = (weights * terms).sum(-1) / weights.sum(-1)
    np.testing.assert_allclose(found, expected, rtol=1e-13)
    np.testing.assert_allclose(
        bradley_terry_loss(5 * S, REWARDS, preference=0.9),
        (0.9 * softplus(-d) + 0.1 * softplus(d)).mean(-1),
        rtol=1e-13,
    )


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_info_nca_and_nca_equal_their_formulas(weights, x64):
    """With a temperature, an M and an F per prompt."""
    alpha, f, m = np.array([0.5, 1.0, 4.0]), np.array([0.3, -1.0, 0.0]), np.array([1.0, 0.2, 30.0])
    w = np.ones_like(S) if weights is None else weights
    w = w * (w > 0).sum(-1, keepdims=True) / w.sum(-1, keepdims=True)
    p = w * np.exp(REWARDS / alpha[:, None])
    p /= p.sum(-1, keepdims=True)
    log_sum = np.log((w * np.exp(S)).sum(-1, keepdims=True))
    found = info_nca_loss(S, REWARDS, temperature=alpha, weights=weights)
    np.testing.assert_allclose(found, (p * (log_sum - S)).sum(-1), rtol=1e-12)
    v = S - f[:, None] - np.log(m[:, None])
    noise = (w * softplus(v)).sum(-1) / w.sum(-1)
    found = nca_loss(
        S, REWARDS, temperature=alpha, log_partition=f, magnification=m, weights=weights
    )
    np.testing.assert_allclose(found, (p * softplus(-v)).sum(-1) + m * noise, rtol=1e-12)


def test_a_certain_preference_of_two_is_the_published_pair_loss(x64):
    """-log sigma(s_w) - [log sigma(-s_w) + log sigma(-s_l)] / 2, as other packages have it."""
    s = jnp.asarray(S[:, :2])
    rewards = jnp.broadcast_to(jnp.array([0.0, -jnp.inf]), s.shape)
    chosen, rejected = s.T
    expected = softplus(-chosen) + 0.5 * softplus(chosen) + 0.5 * softplus(rejected)
    np.testing.assert_allclose(nca_loss(s, rewards), expected, rtol=1e-13)


# --- minima of the finite problem -------------------------------------------------------------


@pytest.mark.parametrize("magnification", MAGNIFICATIONS)
def test_nca_finds_the_log_ratio_of_every_answer(magnification, x64):
    """r / alpha - log E[exp(r / alpha)], whatever M: pi_ref exp(s) sums to one by itself, and an F
    that is solved for is zero.
    """
    options = {"magnification": magnification, "temperature": ALPHA, "weights": REFERENCE}
    found = minimum(lambda s: nca_loss(s, WORTH, **options), 5)
    expected = WORTH / ALPHA - log_mean(WORTH / ALPHA, REFERENCE)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert REFERENCE @ np.exp(found) == pytest.approx(1, abs=1e-9)
    solved = solve_log_partition(
        expected,
        expected,
        weights_data=REFERENCE * np.exp(WORTH / ALPHA),
        weights_noise=REFERENCE,
        magnification=magnification,
    )
    np.testing.assert_allclose(solved.log_partition, 0, atol=1e-10)
    slope = jax.jit(jax.grad(lambda f: nca_loss(expected, WORTH, log_partition=f, **options)))
    np.testing.assert_allclose(slope(0.0), 0, atol=1e-14)
    assert slope(0.1) > 1e-3


def policy(logits):
    """log pi - log pi_ref of a table of logits."""
    return jax.nn.log_softmax(logits) - jnp.log(REFERENCE)


def test_dpo_and_info_nca_find_the_policy_at_any_beta(x64):
    """pi proportional to pi_ref exp(r / (alpha beta)); DPO from the probabilities of all pairs."""
    beta = 0.5
    tilted = REFERENCE * np.exp(WORTH / (ALPHA * beta))
    a, b = np.triu_indices(5, 1)
    wins = 1 / (1 + np.exp((WORTH[b] - WORTH[a]) / ALPHA))
    pairs = REFERENCE[a] * REFERENCE[b]

    def dpo(s):
        return bradley_terry_loss(s[a], s[b], preference=wins, weights=pairs)

    def info_nca(s):
        return info_nca_loss(s, WORTH, temperature=ALPHA, weights=REFERENCE)

    for loss in (dpo, info_nca):
        # One logit is free; the others have one minimum, since the losses are convex in s.
        found = minimum(lambda x, loss=loss: loss(beta * policy(jnp.append(x, 0.0))), 4)
        np.testing.assert_allclose(
            jax.nn.softmax(jnp.append(found, 0.0)), tilted / tilted.sum(), atol=1e-9
        )


def test_a_partition_term_makes_up_for_a_beta_that_is_not_one(x64):
    """A normalized policy with F = 0 does not find it; with F learned or solved for, it does."""
    beta = 0.5
    tilted = np.log(REFERENCE) + WORTH / (ALPHA * beta)

    def loss(x, log_partition):
        s = beta * policy(jnp.append(x[:4], 0.0))
        options = {"temperature": ALPHA, "magnification": 5.0, "weights": REFERENCE}
        return nca_loss(s, WORTH, log_partition=log_partition, **options)

    at_zero = jax.nn.softmax(jnp.append(minimum(lambda x: loss(x, 0.0), 4), 0.0))
    learned = minimum(lambda x: loss(x, x[4]), 5)
    found = jax.nn.softmax(jnp.append(learned[:4], 0.0))
    np.testing.assert_allclose(found, jax.nn.softmax(tilted), atol=1e-8)
    assert np.abs(at_zero - found).max() > 0.01
    expected = log_mean(WORTH / (ALPHA * beta), REFERENCE) * -beta
    expected += log_mean(WORTH / ALPHA, REFERENCE)
    np.testing.assert_allclose(learned[4], expected, atol=1e-8)
    s = beta * policy(jnp.append(learned[:4], 0.0))
    targets = REFERENCE * np.exp(WORTH / ALPHA)
    solved = solve_log_partition(
        s, s, weights_data=targets, weights_noise=REFERENCE, magnification=5.0
    )
    np.testing.assert_allclose(solved.log_partition, expected, atol=1e-8)


def test_few_answers_per_prompt_move_the_minimum_of_nca_unless_f_is_solved_for(x64):
    """All 9 draws of two answers out of three, by their probabilities; InfoNCA is not moved."""
    reference, worth = np.array([0.5, 0.3, 0.2]), np.array([0.0, 1.0, 3.0])
    draws = np.indices((3, 3)).reshape(2, -1).T
    probability = reference[draws].prod(-1)
    p = np.exp(worth[draws])
    p /= p.sum(-1, keepdims=True)
    # log E[K p_1 | y_1 = y]
    expected = np.log([2 * p[draws[:, 0] == y, 0] @ reference for y in range(3)])
    for magnification in (1.0, 10.0):
        found = minimum(
            lambda s, m=magnification: (
                probability @ nca_loss(s[draws], jnp.asarray(worth[draws]), magnification=m)
            ),
            3,
        )
        np.testing.assert_allclose(found, expected, atol=1e-8)
    assert np.abs(expected - (worth - log_mean(worth, reference))).max() > 0.1

    def info_nca(s, magnification):
        return probability @ info_nca_loss(s[draws], jnp.asarray(worth[draws]))

    def solved(s, magnification):
        options = {"weights_data": jnp.asarray(p), "magnification": magnification}
        return probability @ nce_jax.profiled_nce_loss(s[draws], s[draws], **options)

    for loss, magnification in ((info_nca, 1.0), (solved, 0.5), (solved, 10.0)):
        slope = jax.jit(jax.grad(loss))
        np.testing.assert_allclose(slope(jnp.asarray(worth - 7), magnification), 0, atol=1e-13)
        assert np.abs(slope(jnp.asarray(expected), magnification)).max() > 1e-3


# --- identities and limits --------------------------------------------------------------------


def test_info_nca_of_two_is_dpo(x64):
    s, rewards = jnp.asarray(S[:, :2]), jnp.asarray(REWARDS[:, :2])
    wins = jax.nn.sigmoid((rewards[:, 0] - rewards[:, 1]) / ALPHA)
    as_pairs = (s[:, :1], s[:, 1:])
    np.testing.assert_allclose(
        info_nca_loss(s, rewards, temperature=ALPHA),
        bradley_terry_loss(*as_pairs, preference=wins[:, None]),
        rtol=1e-13,
    )
    # Certain preferences: a vanishing temperature, a reward of -inf, and the default of DPO.
    ordered = jnp.flip(jnp.sort(rewards), -1)
    for certain in (
        info_nca_loss(s, ordered, temperature=1e-4),
        info_nca_loss(s, ordered.at[:, 1].set(-jnp.inf)),
    ):
        np.testing.assert_allclose(certain, bradley_terry_loss(*as_pairs), rtol=1e-13)


def test_the_identities_with_other_losses(x64):
    chosen, rejected = jnp.asarray(S[0]), jnp.asarray(S[1])
    np.testing.assert_allclose(
        bradley_terry_loss(chosen, rejected),
        losses.ranking_nce_loss(chosen, rejected[:, None]),
        rtol=1e-13,
    )
    s, p = jnp.asarray(S), jax.nn.softmax(jnp.asarray(REWARDS))
    options = {"log_partition": 0.2, "magnification": 3.0}
    np.testing.assert_allclose(
        nca_loss(s, REWARDS, **options),
        losses.nce_loss(s, s, weights_data=p, **options),
        rtol=1e-13,
    )
    at_the_rewards = info_nca_loss(jnp.asarray(REWARDS) / ALPHA, REWARDS, temperature=ALPHA)
    p = jax.nn.softmax(jnp.asarray(REWARDS) / ALPHA)
    np.testing.assert_allclose(at_the_rewards, -jnp.sum(p * jnp.log(p), -1), rtol=1e-12)


def test_large_magnifications_are_maximum_likelihood(x64):
    """-E_p[u] + E[exp(u)] with F given, and InfoNCA with F solved for; off by O(1 / M)."""
    s, p = jnp.asarray(S), jax.nn.softmax(jnp.asarray(REWARDS))
    m = 1e7
    given = nca_loss(s, REWARDS, log_partition=0.4, magnification=m) - np.log(m)
    u = S - 0.4
    expected = np.exp(u).mean(-1) - np.sum(p * u, -1)
    np.testing.assert_allclose(given, expected, atol=1e-5)
    solved = nce_jax.profiled_nce_loss(s, s, weights_data=p, magnification=m)
    expected = info_nca_loss(s, REWARDS) - np.log(5) + np.log(m) + 1
    np.testing.assert_allclose(solved, expected, atol=1e-5)


@pytest.mark.costly
def test_with_a_mask_on_both_sides_a_solved_f_is_that_of_the_answers_alone(x64):
    """Padded answers of NaN: loss and gradient of the prompt cut to its own length."""
    mask = jnp.arange(5)[None] < 3
    s, r = (jnp.asarray(array)[:1] for array in (S, REWARDS))

    def total(s, r, mask=None):
        p = jax.nn.softmax(r if mask is None else jnp.where(mask, r, -jnp.inf))
        weights = None if mask is None else mask.astype(p.dtype)
        return nce_jax.profiled_nce_loss(
            s, s, weights_data=p, weights_noise=weights, magnification=10.0
        ).sum()

    padded = jnp.where(mask, s, jnp.nan)
    value, slope = jax.value_and_grad(total)(padded, jnp.where(mask, r, jnp.nan), mask)
    alone = jax.value_and_grad(total)(s[:, :3], r[:, :3])
    np.testing.assert_allclose(value, alone[0], rtol=1e-12)
    np.testing.assert_allclose(slope[:, :3], alone[1], atol=1e-12)
    np.testing.assert_array_equal(slope[:, 3:], 0)


def test_constants_cancel_where_they_should(x64):
    s, shifted = jnp.asarray(S), jnp.asarray(S) + 1e4
    np.testing.assert_allclose(info_nca_loss(shifted, REWARDS), info_nca_loss(s, REWARDS), 1e-11)
    for loss in (info_nca_loss, nca_loss):
        np.testing.assert_allclose(loss(s, REWARDS + 1e6), loss(s, REWARDS), 1e-9)
    single = jnp.asarray(S, jnp.float32) + 8192
    found = info_nca_loss(single, jnp.asarray(REWARDS, jnp.float32))
    expected = info_nca_loss(np.asarray(single - 8192, np.float64), REWARDS)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


# --- hostile answers --------------------------------------------------------------------------


def test_answers_without_weight_are_left_out():
    """Also where they are NaN: value and gradient are those of the others."""
    s, r = (jnp.asarray(values[0], jnp.float32) for values in (S, REWARDS))
    mask = jnp.arange(5) < 3
    for loss in (info_nca_loss, nca_loss):
        slopes_of = jax.jit(jax.value_and_grad(loss, (0, 1)))
        value, slopes = slopes_of(s[:3], r[:3])
        for bad in (jnp.nan, jnp.inf, -jnp.inf):
            found, masked = slopes_of(
                jnp.where(mask, s, bad), jnp.where(mask, r, bad), weights=mask
            )
            np.testing.assert_allclose(found, value, rtol=1e-6)
            for slope, one in zip(slopes, masked, strict=True):
                np.testing.assert_allclose(one[:3], slope, rtol=1e-5, atol=1e-7)
                np.testing.assert_array_equal(one[3:], 0)


def test_excluded_answers_have_values_and_slopes():
    """A reward of -inf asks for no probability, and a log ratio of -inf gives none."""
    r, s = jnp.array([0.0, 1.0, -jnp.inf]), jnp.array([0.2, 0.1, -jnp.inf])
    pair = jax.nn.softmax(r[:2]), s[:2]
    for loss, expected in (
        (info_nca_loss, info_nca_loss(s[:2], r[:2])),
        (
            nca_loss,
            jnp.sum(pair[0] * jnp.logaddexp(0, -pair[1])) + jnp.logaddexp(0, pair[1]).sum() / 3,
        ),
    ):
        slopes_of = jax.jit(
            jax.value_and_grad(
                lambda s, r, alpha, loss=loss: loss(s, r, temperature=alpha), (0, 1, 2)
            )
        )
        value, slopes = slopes_of(s, r, 1.0)
        assert value == pytest.approx(float(expected), rel=1e-6)
        assert all(np.isfinite(slope).all() for slope in slopes)
        assert slopes[0][2] == slopes[1][2] == 0
        # An answer that is asked for and impossible costs infinitely much.
        value, (slope, *_) = slopes_of(s, r.at[2].set(0.0), 1.0)
        assert value == jnp.inf
        assert np.isfinite(slope).all()
        for spoiled in ((s, r.at[0].set(jnp.inf)), (s, jnp.full(3, -jnp.inf)), (s, r * jnp.nan)):
            assert np.isnan(loss(*spoiled))


def test_impossible_answers_of_pairs_have_values_and_slopes():
    slope_of = jax.jit(jax.value_and_grad(bradley_terry_loss))
    value, slope = slope_of(jnp.array([-jnp.inf]), jnp.zeros(1))
    assert (value, slope[0]) == (jnp.inf, -1)
    for preference, expected in ((1.0, 0.0), (0.9, jnp.inf)):
        found = bradley_terry_loss(jnp.zeros(1), jnp.array([-jnp.inf]), preference=preference)
        assert found == expected
    impossible = jnp.array([-jnp.inf, 0.0])
    assert np.isnan(bradley_terry_loss(impossible, impossible))
    _, slope = slope_of(impossible, impossible, weights=jnp.array([False, True]))
    np.testing.assert_array_equal(slope, [0, -0.5])


def test_a_failed_solve_passes_no_gradient():
    s, r = jnp.asarray(S, jnp.float32), jnp.asarray(REWARDS, jnp.float32)
    f = jnp.array([0.0, jnp.nan, 0.0])

    @jax.jit
    def values_and_slopes(s, r):
        values, pullback = jax.vjp(lambda s, r: nca_loss(s, r, log_partition=f), s, r)
        return values, pullback(jnp.ones(3))

    values, slopes = values_and_slopes(s, r)
    np.testing.assert_array_equal(np.isnan(values), [False, True, False])
    for slope in slopes:
        np.testing.assert_array_equal(slope[1], 0)
        assert slope[0].any()
        assert np.isfinite(slope).all()


def test_magnifications_and_temperatures_are_a_batch_of_one_program():
    s, r = (jnp.broadcast_to(jnp.asarray(x[0], jnp.float32), (3, 5)) for x in (S, REWARDS))
    options = {"temperature": jnp.array([0.5, 1.0, 2.0]), "magnification": jnp.array([1.0, 3, 9])}
    found = nca_loss(s, r, **options)
    expected = [
        nca_loss(s[0], r[0], temperature=t, magnification=m)
        for t, m in zip(*options.values(), strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.bad_input
def test_bad_arguments_are_named():
    s = jnp.zeros((2, 3))
    for loss in (info_nca_loss, nca_loss):
        with pytest.raises(ValueError, match=r"rewards: expected one for every log_ratio, shape"):
            loss(s, s[0])
        with pytest.raises(TypeError, match="rewards: expected a floating array"):
            loss(s, jnp.zeros((2, 3), int))
        with pytest.raises(ValueError, match="temperature: expected"):
            loss(s, s, temperature=0.0)
    with pytest.raises(ValueError, match="score_rejected: expected one for every score_chosen"):
        bradley_terry_loss(s, s[:, :2])
    with pytest.raises(ValueError, match="preference: expected a probability, got 1.5"):
        bradley_terry_loss(s, s, preference=1.5)
    with pytest.raises(ValueError, match=r"preference: expected a number or one per pair, shape"):
        bradley_terry_loss(s, s, preference=jnp.ones(2))
    assert np.isnan(jax.jit(bradley_terry_loss)(s[0], s[0], preference=-0.5))


def test_a_preference_of_a_pair_without_weight_may_be_anything():
    """Of a padded pair it is NaN; with a pair that counts it is refused, or NaN where traced."""
    chosen, rejected = np.array([0.3, 0.1]), np.array([-0.1, 0.2])
    preference, weights = np.array([0.7, np.nan]), np.array([1.0, 0.0])
    expected = bradley_terry_loss(chosen[:1], rejected[:1], preference=0.7)
    pair = jnp.asarray(chosen), jnp.asarray(rejected)
    loss = lambda p, w: losses.bradley_terry_loss(*pair, preference=p, weights=w)
    given = jnp.asarray(preference), jnp.asarray(weights)
    for found in (
        loss(*given),
        jax.jit(loss)(*given),
        jax.jit(lambda w: loss(given[0], w))(given[1]),
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    slopes = jax.jit(jax.grad(loss, argnums=(0, 1)))(*given)
    assert np.isfinite(slopes).all()
    assert slopes[0][1] == 0
    with pytest.raises(ValueError, match="preference: expected a probability, got nan"):
        loss(given[0], given[1][::-1])
    assert np.isnan(jax.jit(loss)(given[0], given[1][::-1]))


def test_rewards_of_no_answer_are_not_hidden_by_a_mask():
    """All counted rewards are -inf: padding beside them is no better answer."""
    s, r = jnp.array([0.2, 0.1, 0.3]), jnp.array([-jnp.inf, -jnp.inf, 7.0])
    for loss in (info_nca_loss, nca_loss):
        assert np.isnan(loss(s, r, weights=jnp.array([1.0, 1.0, 0.0])))
        assert loss(s, r, weights=jnp.zeros(3)) == 0
