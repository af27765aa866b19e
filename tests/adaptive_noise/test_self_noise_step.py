"""Training against the model's own past: what an error in log Z does, what the gradient is, and
that data are recovered.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nce_jax
from nce_jax import models, noise, samplers, training
from nce_jax.adaptive_noise import make_self_noise_step, self_noise
from nce_jax.adaptive_noise._self_noise import SelfNoise
from nce_jax.log_partition import Status
from tests.adaptive_noise.gaussians import (
    KERNEL,
    VARIANCE,
    log_density_fn,
    make_snapshot,
    samples,
    true_log_partition,
)

KEY = jax.random.key(7)


def exact_snapshot(key, theta, num_samples=400):
    """A self-noise without chains: exact samples and the true log Z."""
    x = samples(key, theta, num_samples)
    return SelfNoise(
        params=theta,
        log_partition=jnp.asarray(true_log_partition(theta), theta.dtype),
        standard_error=jnp.zeros((), theta.dtype),
        effective_sample_size=jnp.asarray(num_samples, theta.dtype),
        acceptance_rate=jnp.ones((), theta.dtype),
        num_nonfinite=jnp.int32(0),
        status=jnp.int32(Status.CONVERGED),
        x=x,
        log_density=log_density_fn(theta, x),
        log_density_fn=log_density_fn,
    )


def problem(treatment):
    """Data at theta = (1, 1), model and snapshot at (0.5, -0.5), in float64: to be called under
    `x64`.
    """
    snapshot = exact_snapshot(jax.random.key(0), jnp.array([0.5, -0.5]))
    x_data = samples(jax.random.key(1), jnp.ones(2), 400)
    optimizer = optax.sgd(0.5)

    def run(noise, log_partition, num_steps=10):
        step = training.make_train_step(log_density_fn, noise, optimizer, treatment=treatment)
        state = step.init(snapshot.params, log_partition=log_partition)
        return jax.lax.scan(
            lambda state, _: (step(state, x_data, KEY)[0], None), state, None, num_steps
        )[0]

    return snapshot, jax.jit(run)


TREATMENTS = {
    "solved": training.solved(),
    "bar_step": training.bar_step(),
    "joint_gradient": training.joint_gradient(),
}


@pytest.mark.costly
@pytest.mark.parametrize("name", TREATMENTS)
def test_an_error_in_log_z_shifts_f_and_nothing_else(name, x64):
    """u = phi - F - (phi_old - log Z_old): an error e in log Z_old is an error e in F, along the
    whole path of theta.

    F that is solved for finds it by itself; F that moves by small steps has to start e higher.
    """
    snapshot, run = problem(TREATMENTS[name])
    shifted = dataclasses.replace(snapshot, log_partition=snapshot.log_partition + 3.0)
    start = float(true_log_partition(snapshot.params))
    state = run(snapshot, start)
    state_shifted = run(shifted, start if name == "solved" else start + 3.0)
    assert abs(state.params - snapshot.params).max() > 0.1
    np.testing.assert_allclose(state_shifted.params, state.params, atol=1e-10)
    np.testing.assert_allclose(state_shifted.log_partition - state.log_partition, 3.0, atol=1e-9)


def test_an_error_in_log_z_does_move_theta_where_f_is_held(x64):
    snapshot, run = problem(training.held())
    shifted = dataclasses.replace(snapshot, log_partition=snapshot.log_partition + 3.0)
    start = float(true_log_partition(snapshot.params))
    assert abs(run(shifted, start).params - run(snapshot, start).params).max() > 0.1


@pytest.mark.costly
@pytest.mark.parametrize("kappa", [1.0, 5.0])
def test_at_the_snapshot_the_gradient_is_a_share_of_the_likelihood_s(kappa, x64):
    """u = 0 on every sample, so that the weights are kappa / (1 + kappa): half at kappa = 1. Exact
    for finite samples.
    """
    theta = jnp.array([0.5, -0.5])
    snapshot = exact_snapshot(jax.random.key(0), theta)
    x_data = samples(jax.random.key(1), jnp.ones(2), 300)
    optimizer = optax.sgd(1.0)
    step = training.make_train_step(
        log_density_fn, snapshot, optimizer, criterion=nce_jax.criteria.nce(magnification=kappa)
    )
    state, metrics = jax.jit(step)(step.init(theta), x_data, KEY)
    x_noise = snapshot.sample(seed=jax.random.fold_in(KEY, 0), sample_shape=300)
    expected = kappa / (1 + kappa) * (x_data.mean(0) - x_noise.mean(0))
    np.testing.assert_allclose(state.params - theta, expected, rtol=1e-9)
    np.testing.assert_allclose(metrics.log_partition, true_log_partition(theta), rtol=1e-9)
    np.testing.assert_allclose(metrics.overlap, 1.0, rtol=1e-9)


def make_run(num_samples, num_stages=4, **options):
    optimizer = optax.sgd(1.0)
    options = {"refresh_every": 10, "num_steps": 5} | options
    step = make_self_noise_step(log_density_fn, optimizer, kernel=KERNEL, **options)

    def start(key, theta):
        snapshot = make_snapshot(key, theta, num_samples=num_samples, num_stages=num_stages)
        return step.init(theta, snapshot)

    return step, start


@pytest.mark.costly
def test_data_are_recovered_within_their_error():
    """30 seeds of 500 data at theta = 1.2, model and first snapshot at -0.3.

    The mean is within 4 standard errors. The likelihood's standard deviation is sqrt(1 / (v n)); a
    noise equal to the model with as many samples as there are data, the buffer's 500, doubles the
    variance. A spread of 30 is known to 13 %.
    """
    step, start = make_run(500)

    def lane(key):
        keys = jax.random.split(key, 3)
        x_data = samples(keys[1], jnp.array([1.2]), 500)
        state = start(keys[0], jnp.array([-0.3]))
        state, metrics = jax.lax.scan(
            lambda state, _: step(state, x_data, keys[2]), state, None, 60
        )
        return (
            state.params[0],
            state.train.log_partition,
            metrics["noise_standard_error"][-1],
            x_data.mean() / VARIANCE,
        )

    theta, log_partition, standard_error, likelihood = map(
        np.asarray, jax.jit(jax.vmap(lane))(jax.random.split(jax.random.key(3), 30))
    )
    assert abs(theta.mean() - 1.2) < 4 * theta.std(ddof=1) / np.sqrt(30) < 0.1
    np.testing.assert_allclose(theta.std(ddof=1), np.sqrt(2 / (VARIANCE * 500)), rtol=3 * 0.13)
    assert np.corrcoef(theta, likelihood)[0, 1] > 0.4
    # F follows the model's log Z, up to the error of the snapshot's.
    residual = log_partition - true_log_partition(theta[:, None])
    assert abs(residual.mean()) < 4 * residual.std(ddof=1) / np.sqrt(30)
    assert residual.std(ddof=1) < 3 * standard_error.mean() < 0.5


@pytest.mark.costly
def test_the_snapshot_is_renewed_on_time_and_compiled_once():
    step, start = make_run(200, refresh_every=3)
    traces = []

    def counted(state, x_data):
        traces.append(1)
        return step(state, x_data, KEY)

    state = jax.jit(start)(jax.random.key(0), jnp.array([0.5]))
    run, x_data = jax.jit(counted), samples(jax.random.key(1), jnp.array([1.0]), 200)
    params, snapshots = [state.params], []
    for _ in range(7):
        state, metrics = run(state, x_data)
        params.append(state.params)
        snapshots.append(state.noise.params)
    # Steps 0 to 2 see the first snapshot; step 3 makes one of the parameters it is handed; and so
    # on.
    np.testing.assert_array_equal(
        np.concatenate(snapshots), np.concatenate([params[i] for i in (0, 0, 0, 3, 3, 3, 6)])
    )
    assert len(traces) == 1
    assert {
        "loss",
        "log_partition",
        "status",
        "noise_standard_error",
        "noise_effective_sample_size",
    } <= metrics.keys()
    assert metrics["noise_standard_error"] == state.noise.standard_error


@pytest.mark.costly
def test_fit_runs_it_and_resumes_it_bit_for_bit(tmp_path):
    step, start = make_run(200, refresh_every=4)
    x_data = samples(jax.random.key(1), jnp.array([1.0]), 400)
    state = jax.jit(start)(jax.random.key(0), jnp.array([0.5]))
    options = {"batch_size": 100, "log_every": 5, "checkpoint_every": 5, "progress": False}
    whole = training.fit(step, state, x_data, KEY, num_steps=20, **options)
    training.fit(step, state, x_data, KEY, num_steps=10, folder=tmp_path, **options)
    resumed = training.fit(
        step, state, x_data, KEY, num_steps=20, folder=tmp_path, resume=True, **options
    )
    jax.tree.map(np.testing.assert_array_equal, resumed.state, whole.state)
    assert np.isfinite(whole.history["noise_standard_error"]).all()
    assert abs(whole.state.params[0] - 1.0) < 0.5


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"refresh_every": 0}, "refresh_every: expected at least 1, got 0"),
        ({"num_steps": 0}, "num_steps: expected at least 1, got 0"),
        ({"kernel": samplers.langevin(0.1)}, "kernel: expected one with a Metropolis test"),
        (
            {"criterion": nce_jax.criteria.exponential_nce(), "treatment": training.bar_step()},
            "criterion exponential_nce, got bar_step",
        ),
    ],
)
def test_bad_arguments_are_named(options, message):
    options = {"kernel": KERNEL, "refresh_every": 1} | options
    with pytest.raises(ValueError, match=message):
        make_self_noise_step(log_density_fn, optax.sgd(1.0), **options)


@pytest.mark.bad_input
def test_a_step_takes_its_own_states_and_snapshots_only():
    train = make_self_noise_step(log_density_fn, optax.sgd(1.0), kernel=KERNEL, refresh_every=1)
    theta = jnp.array([0.5, -0.5])
    snapshot = exact_snapshot(jax.random.key(0), theta)
    with pytest.raises(TypeError, match=r"noise: expected a SelfNoise such as self_noise\(...\)"):
        train.init(theta, noise.standard_normal(2))
    with pytest.raises(TypeError, match="params: expected a pytree of floating arrays"):
        train.init(jnp.arange(2), snapshot)
    state, x_data = train.init(theta, snapshot), samples(jax.random.key(1), theta, 10)
    with pytest.raises(TypeError, match="state: expected a SelfNoiseState such as train.init"):
        train(state.train, x_data, KEY)
    with pytest.raises(TypeError, match="key: expected a typed key"):
        train(state, x_data, 0)


@pytest.mark.costly
def test_a_step_is_hashable_and_its_states_are_copies():
    train = make_self_noise_step(log_density_fn, optax.sgd(1.0), kernel=KERNEL, refresh_every=2)
    theta = jnp.array([0.5, -0.5])
    snapshot, x_data = exact_snapshot(jax.random.key(0), theta, 20), jnp.ones((10, 2))
    state, metrics = jax.jit(train, donate_argnums=0)(train.init(theta, snapshot), x_data, KEY)
    assert hash(train) == hash(train)
    assert np.isfinite(snapshot.x).all()  # not donated
    assert np.isfinite(metrics["loss"])
    assert int(state.train.step) == 1


@pytest.mark.costly
def test_log_z_is_followed_where_a_model_fits_the_very_buffer():
    """600 refreshes of a flexible model with a buffer of 2 x 100, seed 0: log Z by quadrature,
    within k = 4 standard errors.

    Were the samples that are drawn the ones that weigh, log Z would come out too low, by nats.
    """
    params, network = models.mlp_energy(jax.random.key(0), 1, hidden=(32, 32))

    def energy(params, x):
        return network(params, x) - 0.5 * jnp.sum(x**2, axis=-1)

    optimizer, kernel = optax.adam(1e-2), samplers.mala(0.3)
    snapshot = self_noise(
        jax.random.key(1),
        energy,
        params,
        noise.standard_normal(1),
        kernel=kernel,
        schedule=jnp.array([0.0, 1.0]),
        num_samples=200,
        num_steps=20,
    )
    step = make_self_noise_step(energy, optimizer, kernel=kernel, refresh_every=1)
    x_data = jax.random.normal(jax.random.key(2), (100, 1))
    state = step.init(params, snapshot)
    scan = jax.jit(
        lambda state: jax.lax.scan(
            lambda state, _: (step(state, x_data, KEY)[0], None), state, None, 600
        )[0]
    )
    state = scan(state)
    grid = jnp.linspace(-12, 12, 4001)
    truth = jax.scipy.special.logsumexp(energy(state.noise.params, grid[:, None])) + jnp.log(
        grid[1] - grid[0]
    )
    assert abs(state.noise.log_partition - truth) < 4 * state.noise.standard_error < 2.0
