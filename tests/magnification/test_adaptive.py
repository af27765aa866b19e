"""The adaptive M in the train step: what it does, what it leaves alone, what it refuses, and how it goes on."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nce_jax
from nce_jax import noise, training

RULE = nce_jax.adaptive_magnification()
DIM, BATCH = 5, 512


@pytest.fixture(autouse=True)
def rank_promotion_as_distrax_needs_it():
    with jax.numpy_rank_promotion("allow"):
        yield


def log_ratio(theta, x):
    return x @ theta


def make(optimizer, rule=RULE, criterion=None, model=log_ratio, dim=DIM):
    options = {"relative_to_noise": True, "magnification_rule": rule, "criterion": criterion or nce_jax.nce()}
    return training.make_train_step(model, noise.standard_normal(dim), optimizer, **options)


def train(step, optimizer, key, num_steps, rule=RULE, dim=DIM, mean=1.0, batch=BATCH):
    """Parameters and M after every step, from theta = 0."""

    def body(state, number):
        x_data = mean + jax.random.normal(jax.random.fold_in(key, number), (batch, dim))
        state, metrics = step(state, x_data, key)
        return state, (state.params, jnp.nan if metrics.magnification is None else metrics.magnification)

    state = training.init_train_state(jnp.zeros(dim), optimizer, magnification_rule=rule)
    return jax.lax.scan(body, state, jnp.arange(num_steps))


@pytest.mark.slow
def test_it_begins_at_maximum_likelihood_comes_down_and_beats_m_1_at_once():
    """5-D Gaussians, KL 2.5 nats, SGD: 20 paired seeds from key 0."""
    optimizer = optax.sgd(0.3)
    keys = jax.random.split(jax.random.key(0), 20)
    adaptive = jax.jit(jax.vmap(lambda key: train(make(optimizer), optimizer, key, 200)[1]))(keys)
    plain = jax.jit(jax.vmap(lambda key: train(make(optimizer, None), optimizer, key, 20, None)[1]))(keys)
    errors = [np.sum((np.asarray(paths[0])[:, 19] - 1) ** 2, axis=-1) / 2 for paths in (adaptive, plain)]
    assert (errors[0] < errors[1]).sum() >= 18
    chosen = np.asarray(adaptive[1])
    np.testing.assert_allclose(chosen[:, 0], 1e4, rtol=1e-5)
    assert np.median(chosen[:, -1]) < 3


def test_a_range_of_next_to_nothing_is_a_fixed_m():
    optimizer, narrow = optax.sgd(0.3), nce_jax.adaptive_magnification(9.99, 10.01)
    key = jax.random.key(1)
    found = jax.jit(lambda: train(make(optimizer, narrow), optimizer, key, 15, narrow)[0].params)()
    fixed = make(optimizer, None, nce_jax.nce(magnification=10.0))
    expected = jax.jit(lambda: train(fixed, optimizer, key, 15, None)[0].params)()
    np.testing.assert_allclose(found, expected, rtol=2e-3)  # M differs by a thousandth


@pytest.mark.parametrize(
    ("optimizer", "response"),
    [
        (optax.sgd(0.1), 1),
        (optax.adam(0.01), 0),
        pytest.param(optax.sgd(0.1, momentum=0.9), 1, marks=pytest.mark.slow),
        pytest.param(optax.contrib.muon(0.01), 0, marks=pytest.mark.slow),
    ],
)
def test_the_response_of_an_optimizer_to_scale_is_found(optimizer, response):
    params = {"matrix": jnp.zeros((DIM, 2)), "vector": jnp.zeros(DIM)}
    step = make(optimizer, model=lambda params, x: jnp.sum((x @ params["matrix"]) ** 2, -1) + x @ params["vector"])
    state = training.init_train_state(params, optimizer, magnification_rule=RULE)
    x_data = 1 + jax.random.normal(jax.random.key(0), (64, DIM))
    found = jax.jit(step)(state, x_data, jax.random.key(1))[0].magnification_state.response
    np.testing.assert_allclose(found, response, atol=1e-3)


@pytest.mark.slow
def test_a_constant_in_the_energy_changes_nothing():
    optimizer = optax.sgd(0.3)
    runs = [
        jax.jit(lambda model=model: train(make(optimizer, model=model), optimizer, jax.random.key(2), 12))()
        for model in (log_ratio, lambda theta, x: x @ theta + 3.0)
    ]
    np.testing.assert_allclose(runs[1][1][0], runs[0][1][0], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(runs[1][1][1], runs[0][1][1], rtol=1e-4)


def test_without_overlap_m_stays_at_one_or_below_and_everything_finite():
    optimizer = optax.sgd(0.1)
    apart = {"dim": 1, "mean": 16.0}
    run = jax.jit(lambda: train(make(optimizer, dim=1), optimizer, jax.random.key(3), 40, **apart))
    state, (thetas, chosen) = run()
    assert np.isfinite(thetas).all()
    assert np.all(np.asarray(chosen)[5:] <= 1 + 1e-5)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.magnification_state.measured))


def test_a_bad_batch_leaves_no_trace_in_the_memory():
    optimizer = optax.sgd(0.3)
    step = jax.jit(make(optimizer))
    state = training.init_train_state(jnp.zeros(DIM), optimizer, magnification_rule=RULE)
    x_data = 1 + jax.random.normal(jax.random.key(0), (BATCH, DIM))
    for _ in range(3):
        state, _ = step(state, x_data, jax.random.key(4))
    bad, metrics = step(state, x_data.at[0].set(jnp.nan), jax.random.key(4))
    assert metrics.status == nce_jax.Status.NONFINITE
    before, after = state.magnification_state, bad.magnification_state
    assert metrics.magnification > 0
    for name in ("measured", "unseen", "place", "at"):
        for old, new in zip(*(jax.tree.leaves(getattr(memory, name)) for memory in (before, after)), strict=True):
            np.testing.assert_array_equal(new, old, err_msg=name)


def test_the_regulariser_keeps_its_strength_and_gets_the_m():
    criterion = nce_jax.ratio_regularised(nce_jax.nce(noise_ratio=2.0), strength=0.3).at_magnification(7.0)
    same = nce_jax.ratio_regularised(nce_jax.nce(magnification=7.0, noise_ratio=2.0), strength=0.3)
    ratios = jnp.array([0.5, 2.0]), jnp.array([-1.0, 0.2, 0.1])
    assert criterion.loss(*ratios, log_partition=0.4) == same.loss(*ratios, log_partition=0.4)
    assert criterion.profile(*ratios).log_partition == same.profile(*ratios).log_partition


def test_what_cannot_adapt_is_refused_by_name():
    for criterion, treatment, message in (
        (nce_jax.exponential_nce(), training.solved(), "exponential_nce has no magnification"),
        (nce_jax.nce(), training.bar_step(), "expected a solved F.*bar_step"),
        (nce_jax.nce(), training.joint_gradient(), "expected a solved F.*joint_gradient"),
        (nce_jax.nce(), training.held(), "expected a solved F.*held"),
    ):
        options = {"criterion": criterion, "treatment": treatment, "magnification_rule": RULE}
        with pytest.raises(ValueError, match=message):
            training.make_train_step(log_ratio, noise.standard_normal(DIM), optax.sgd(0.1), **options)
    with pytest.raises(ValueError, match="0 < smallest < largest"):
        nce_jax.adaptive_magnification(10.0, 1.0)


@pytest.mark.bad_input
def test_a_number_is_no_rule():
    with pytest.raises(TypeError, match="magnification_rule: expected adaptive_magnification"):
        training.make_train_step(log_ratio, noise.standard_normal(DIM), optax.sgd(0.1), magnification_rule=10.0)


@pytest.mark.slow
def test_a_run_that_goes_on_ends_in_the_same_bits_and_records_m(tmp_path):
    optimizer = optax.adam(0.05)
    x_data = 1 + jax.random.normal(jax.random.key(0), (1000, DIM))
    options = {"batch_size": 100, "log_every": 5, "checkpoint_every": 5, "progress": False}

    def run(num_steps, **more):
        state = training.init_train_state(jnp.zeros(DIM), optimizer, magnification_rule=RULE)
        return training.fit(make(optimizer), state, x_data, jax.random.key(1), num_steps=num_steps, **options, **more)

    whole = run(20)
    run(10, folder=tmp_path / "run")
    resumed = run(20, folder=tmp_path / "run", resume=True)
    for one, other in zip(jax.tree.leaves(whole.state), jax.tree.leaves(resumed.state), strict=True):
        np.testing.assert_array_equal(one, other)
    assert whole.history["magnification"].shape == (4,)
    assert whole.history["magnification"][0] > whole.history["magnification"][-1]
