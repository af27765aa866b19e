"""The train step: gradients against the loss itself, reproducibility, one forward pass, compilation
count.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nce_jax
from nce_jax import noise, training
from tests.slow import slow_but
from tests.training.problems import assert_trees_equal, counted, samples, tilted_normal

TREATMENTS = {
    "joint": training.joint_gradient(),
    "joint_own_rate": training.joint_gradient(optax.sgd(10.0)),
    "bar": training.bar_step(),
    "solved": training.solved(),
    "bisection": training.solved(nce_jax.bisection()),
    "held": training.held(),
}


@pytest.fixture(params=TREATMENTS, name="treatment")
def _treatment(request):
    return TREATMENTS[request.param]


def one_step(treatment, criterion=None, optimizer=None, batch=None, log_partition=0.3, **options):
    params, log_density_fn, noise = tilted_normal()
    optimizer = optimizer or optax.sgd(1.0)
    criterion = criterion or nce_jax.criteria.nce()
    step = training.make_train_step(
        log_density_fn, noise, optimizer, criterion=criterion, treatment=treatment, **options
    )
    state = step.init(params, log_partition=log_partition)
    batch = training.Batch(samples(2.0), samples(0.0, 700, seed=1)) if batch is None else batch
    return (state, *jax.jit(step)(state, batch, jax.random.key(3)))


def log_ratios(params, batch):
    """s(x) = theta x, written out: the model's base measure is the noise."""
    return params[0] * batch.x_data[:, 0], params[0] * batch.x_noise[:, 0]


def test_the_gradient_is_that_of_the_loss_at_the_log_partition_used(treatment, x64):
    magnification = 100.0
    batch = training.Batch(samples(2.0), samples(0.0, 700, seed=1))
    criterion = nce_jax.criteria.nce(magnification=magnification)
    state, new, metrics = one_step(treatment, criterion, batch=batch)

    def loss(params, log_partition):
        return nce_jax.nce_loss(
            *log_ratios(params, batch), log_partition=log_partition, magnification=magnification
        )

    value, gradient = jax.jit(jax.value_and_grad(loss))(state.params, metrics.log_partition)
    np.testing.assert_allclose(metrics.loss, value, rtol=1e-12)
    np.testing.assert_allclose(state.params - new.params, gradient, rtol=1e-10)
    np.testing.assert_allclose(metrics.gradient_norm, jnp.abs(gradient[0]), rtol=1e-10)
    assert new.step == 1


@pytest.mark.costly
def test_joint_gradient_moves_the_log_partition_down_its_own_gradient(x64):
    batch = training.Batch(samples(2.0), samples(0.0, 700, seed=1))
    slope = jax.grad(
        lambda f: nce_jax.nce_loss(*log_ratios(jnp.array([0.5]), batch), log_partition=f)
    )(0.3)
    for treatment, rate in (
        (training.joint_gradient(), 1.0),
        (training.joint_gradient(optax.sgd(10.0)), 10.0),
    ):
        _, new, _ = one_step(treatment, batch=batch)
        np.testing.assert_allclose(new.log_partition, 0.3 - rate * slope, rtol=1e-10)


@pytest.mark.parametrize("rate", [1.0, 0.25])
def test_bar_step_is_the_papers_update(rate, x64):
    """Algorithm 1: F <- F - lr (log E_p[q / (p + q)] - log E_q[p / (p + q)]), gradient at the old
    F.
    """
    batch = training.Batch(samples(2.0), samples(0.0, 700, seed=1))
    _, new, metrics = one_step(training.bar_step(rate), batch=batch)
    s_data, s_noise = (np.asarray(s) for s in log_ratios(jnp.array([0.5]), batch))
    rho = np.log(np.mean(1 / (1 + np.exp(s_data - 0.3)))) - np.log(
        np.mean(1 / (1 + np.exp(0.3 - s_noise)))
    )
    np.testing.assert_allclose(new.log_partition, 0.3 - rate * rho, rtol=1e-12)
    assert metrics.log_partition == 0.3


def test_solved_uses_and_keeps_the_root_at_the_losss_own_kappa(x64):
    batch = training.Batch(samples(2.0), samples(0.0, 700, seed=1))
    root = nce_jax.solve_log_partition(
        *log_ratios(jnp.array([0.5]), batch), magnification=50.0
    ).log_partition
    _, new, metrics = one_step(
        training.solved(), nce_jax.criteria.nce(magnification=50.0), batch=batch
    )
    np.testing.assert_allclose([new.log_partition, metrics.log_partition], root, atol=1e-11)
    assert metrics.num_evaluations >= 1


def test_held_keeps_the_log_partition():
    _, new, _ = one_step(training.held())
    assert new.log_partition == jnp.float32(0.3)


def test_exponential_nce_is_solved_in_closed_form(x64):
    batch = training.Batch(samples(2.0), samples(0.0, 700, seed=1))
    _, new, metrics = one_step(training.solved(), nce_jax.criteria.exponential_nce(), batch=batch)
    expected = nce_jax.losses.exponential_log_partition(*log_ratios(jnp.array([0.5]), batch))
    np.testing.assert_allclose(new.log_partition, expected, rtol=1e-12)
    assert metrics.status == nce_jax.Status.CONVERGED


@pytest.mark.bad_input
def test_an_unsupported_pair_is_refused_by_name():
    params, log_density_fn, noise = tilted_normal()
    with pytest.raises(
        ValueError,
        match="treatment: expected one that supports criterion exponential_nce, got bar_step: ",
    ):
        training.make_train_step(
            log_density_fn,
            noise,
            optax.sgd(1.0),
            criterion=nce_jax.criteria.exponential_nce(),
            treatment=training.bar_step(),
        )
    nothing = nce_jax.criteria.Criterion("made_up", nce_jax.nce_loss)
    with pytest.raises(
        ValueError, match="treatment: expected one that supports criterion made_up, got solved: "
    ):
        training.make_train_step(log_density_fn, noise, optax.sgd(1.0), criterion=nothing)
    with pytest.raises(TypeError, match="num_noise"):
        training.make_train_step(log_density_fn, noise, optax.sgd(1.0), num_noise=1.5)
    del params


def test_every_treatment_calls_the_model_once_on_data_and_once_on_noise(treatment):
    params, log_density_fn, noise = tilted_normal()
    log_density_fn, calls = counted(log_density_fn)
    optimizer = optax.sgd(1.0)
    train = training.make_train_step(
        log_density_fn, noise, optimizer, treatment=treatment, num_noise=33
    )
    state = train.init(params)
    jax.eval_shape(train, state, samples(2.0, 17), jax.random.key(0))
    assert calls == [(17, 1), (33, 1)]


def test_samples_of_weight_zero_change_nothing(treatment, x64):
    plain = training.Batch(samples(2.0, 50), samples(0.0, 70, seed=1))
    padded = training.Batch(
        jnp.concatenate([plain.x_data, jnp.full((6, 1), 7.0)]),
        plain.x_noise,
        weights_data=jnp.repeat(jnp.array([1.0, 0.0]), jnp.array([50, 6])),
    )
    _, expected, _ = one_step(treatment, batch=plain)
    _, actual, _ = one_step(treatment, batch=padded)
    chex.assert_trees_all_close(actual, expected, rtol=1e-10)


@pytest.mark.parametrize("name", slow_but(["solved"], ["joint", "bar", "solved"]))
def test_a_run_resumed_in_the_middle_repeats_bit_for_bit(name):
    treatment = TREATMENTS[name]
    params, log_density_fn, noise = tilted_normal()
    optimizer = optax.adam(1e-2)
    train = training.make_train_step(log_density_fn, noise, optimizer, treatment=treatment)
    step = jax.jit(train)
    start = train.init(params)

    batch = samples(2.0, 64)

    def go(state, count):
        for _ in range(count):
            state, _ = step(state, batch, jax.random.key(5))
        return state

    whole = go(start, 6)
    saved = jax.tree.map(np.asarray, go(start, 3))
    assert_trees_equal(go(jax.tree.map(jnp.asarray, saved), 3), whole)


def test_one_compilation_serves_every_magnification():
    params, log_density_fn, noise = tilted_normal()
    optimizer = optax.sgd(0.1)

    @jax.jit
    @chex.assert_max_traces(n=1)
    def first_loss(magnification, learning_rate):
        treatment = training.bar_step(learning_rate)
        step = training.make_train_step(
            log_density_fn,
            noise,
            optimizer,
            criterion=nce_jax.criteria.nce(magnification=magnification),
            treatment=treatment,
        )
        state = step.init(params)
        return step(state, samples(2.0, 64), jax.random.key(0))[1].loss

    chex.clear_trace_counter()
    losses = [first_loss(m, rate) for m in (1.0, 10.0, 1000.0) for rate in (0.1, 1.0)]
    assert len({float(loss) for loss in losses}) == 3


def test_a_failed_solve_is_not_hidden():
    batch = training.Batch(samples(2.0).at[3].set(jnp.nan), samples(0.0, 700, seed=1))
    _, new, metrics = one_step(training.solved(), batch=batch)
    assert metrics.status == nce_jax.Status.NONFINITE
    assert jnp.isnan(metrics.loss)
    assert jnp.isnan(new.log_partition)


def test_bfloat16_parameters_keep_a_float32_log_partition():
    params, log_density_fn, noise = tilted_normal(dtype=jnp.bfloat16)
    optimizer = optax.sgd(0.1)
    train = training.make_train_step(log_density_fn, noise, optimizer)
    step = jax.jit(train)
    state, metrics = step(train.init(params), samples(2.0, dtype=jnp.bfloat16), jax.random.key(0))
    assert (state.params.dtype, state.log_partition.dtype, metrics.loss.dtype) == (
        jnp.bfloat16,
        jnp.float32,
        jnp.float32,
    )


@pytest.mark.parametrize("kappa", slow_but([10.0], [1.0, 10.0]))
def test_training_finds_the_closed_form(kappa):
    """Data N(2, 1): theta = 2 and F = log Z = 2, within k = 4 standard errors of the average over
    steps 200 to 600 (seed 0).

    Iterates at rate 0.2 are correlated over about ten steps: their averages' standard errors are
    taken from 20 blocks. The noise batch is large because a solved F is biased by O(1 / num_noise),
    kappa times as much as at kappa = 1.
    """
    params, log_density_fn, noise = tilted_normal(theta=0.0)
    optimizer = optax.sgd(0.2)
    step = training.make_train_step(
        log_density_fn,
        noise,
        optimizer,
        criterion=nce_jax.criteria.nce(magnification=kappa),
        num_noise=8192,
    )

    def body(state, index):
        x_data = 2.0 + jax.random.normal(jax.random.fold_in(jax.random.key(0), index), (512, 1))
        state, _ = step(state, x_data, jax.random.key(1))
        return state, (state.params[0], state.log_partition)

    _, path = jax.lax.scan(body, step.init(params), jnp.arange(600))
    for values in path:
        blocks = values[200:].reshape(20, -1).mean(1)
        assert abs(blocks.mean() - 2.0) < 4 * blocks.std(ddof=1) / 20**0.5


def test_nan_in_padding_reaches_no_gradient():
    """The derivative of the model at NaN is NaN, which zero does not cancel; nor at an infinity."""
    x_data = samples(2.0, 8)
    for value in (jnp.nan, jnp.inf):
        train = training.make_train_step(
            lambda theta, x: theta * x[:, 0] - x[:, 0] ** 2 / 2,
            noise.standard_normal(1),
            optax.sgd(0.1),
        )
        weights = jnp.ones(8).at[0].set(0)
        batch = training.Batch(x_data.at[0].set(value), weights_data=weights)
        other = batch._replace(x_data=x_data)
        first, second = (
            train(train.init(jnp.array(0.3)), b, jax.random.key(1))[0] for b in (batch, other)
        )
        assert_trees_equal(first, second)
        assert jnp.isfinite(first.params)
