"""Distributions of numpyro, TFP and flowjax as noise, beside the closed form and distrax."""

import warnings

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nce_jax import Status, noise, samplers, training
from nce_jax._samples import as_draw_fn

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of TFP, on import
    from tensorflow_probability.substrates.jax import distributions as tfd
dist = pytest.importorskip("numpyro.distributions")
flowjax = pytest.importorskip("flowjax.distributions")

LOC, SCALE = (1.0, -0.5), (0.5, 2.0)


class WithSeed:
    """A distribution of nobody's library that draws by a seed."""

    event_shape = (2,)

    def sample(self, seed, sample_shape=()):
        return gaussians()["distrax"].sample(seed=seed, sample_shape=sample_shape)

    def log_prob(self, x):
        return gaussians()["distrax"].log_prob(x)


def gaussians(loc=LOC):
    loc, scale = jnp.asarray(loc), jnp.asarray(SCALE)
    return {
        "distrax": distrax.MultivariateNormalDiag(loc, scale),
        "numpyro": dist.Normal(loc, scale).to_event(1),
        "tfp": tfd.MultivariateNormalDiag(loc, scale),
        "tfp_independent": tfd.Independent(tfd.Normal(loc, scale), 1),
        "flowjax": flowjax.Normal(loc, scale),
    }


OTHERS = ["numpyro", "tfp", "tfp_independent", "flowjax"]


def log_density_fn(theta, x):
    return x @ theta - jnp.sum(x**2, axis=-1) / 2


def x_data(count=64):
    return 1 + jax.random.normal(jax.random.key(1), (count, 2))


def closed_form(x):
    z = (np.asarray(x, np.float64) - LOC) / SCALE
    return -np.sum(z**2 / 2 + np.log(SCALE) + np.log(2 * np.pi) / 2, axis=-1)


@pytest.mark.parametrize("name", OTHERS)
def test_the_density_is_the_closed_form_and_draws_have_it(name, float_dtype):
    q = noise.as_noise(gaussians()[name])
    draw = jax.jit(lambda key: q.sample_and_log_prob(seed=key, sample_shape=(5000,)))
    x, log_prob = draw(jax.random.key(0))
    assert (x.shape, x.dtype, q.event_shape, q.batch_shape) == ((5000, 2), float_dtype, (2,), ())
    tolerance = 20 * jnp.finfo(float_dtype).eps * 10
    np.testing.assert_allclose(log_prob, closed_form(x), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(jax.vmap(q.log_prob)(x), log_prob, rtol=tolerance, atol=tolerance)
    alone = q.sample(seed=jax.random.key(0), sample_shape=5000)
    np.testing.assert_allclose(alone, x, rtol=tolerance, atol=tolerance)
    # k = 4 standard errors of the mean, and of the variance.
    error = 4 * np.asarray(SCALE) / np.sqrt(5000)
    assert (np.abs(x.mean(axis=0) - np.asarray(LOC)) < error).all()
    assert (np.abs(x.var(axis=0) / np.square(SCALE) - 1) < 4 * np.sqrt(2 / 5000)).all()


@pytest.mark.costly
@pytest.mark.parametrize("name", OTHERS)
def test_a_train_step_is_that_with_the_noise_of_distrax(name):
    """On given noise samples to rounding; with draws of its own, within the library's rules."""
    steps = {
        key: training.make_train_step(log_density_fn, gaussians()[key], optax.sgd(0.1))
        for key in ("distrax", name)
    }
    batch = training.Batch(x_data(), 2 * jax.random.normal(jax.random.key(2), (64, 2)))
    new = {
        key: step(step.init(jnp.zeros(2)), batch, jax.random.key(0)) for key, step in steps.items()
    }
    np.testing.assert_allclose(new[name][0].params, new["distrax"][0].params, rtol=1e-5)
    np.testing.assert_allclose(new[name][1].loss, new["distrax"][1].loss, rtol=1e-5)
    drawn, metrics = jax.jit(steps[name])(
        steps[name].init(jnp.zeros(2)), x_data(), jax.random.key(0)
    )
    assert jnp.isfinite(drawn.params).all()
    assert int(metrics.status) == Status.CONVERGED


@pytest.mark.parametrize("name", OTHERS)
def test_parameters_of_a_noise_are_traced_and_differentiated(name):
    """In a function that makes the noise; and as an argument, where the library's are pytrees."""
    x = x_data(4)

    def mean(loc):
        return noise.as_noise(gaussians(loc)[name]).log_prob(x).mean()

    expected = ((np.asarray(x, np.float64) - LOC) / np.square(SCALE)).mean(axis=0)
    np.testing.assert_allclose(jax.jit(jax.grad(mean))(jnp.asarray(LOC)), expected, rtol=1e-5)
    q = noise.as_noise(gaussians()[name])
    leaves = jax.tree.leaves(q)
    if leaves and all(isinstance(leaf, jax.Array) for leaf in leaves):
        by_argument = jax.jit(lambda q: q.log_prob(x))(q)
        np.testing.assert_allclose(by_argument, closed_form(x), rtol=1e-5)


def test_noises_of_numpyro_and_flowjax_are_pytrees_of_their_parameters():
    for name in ("numpyro", "flowjax"):
        assert len(jax.tree.leaves(noise.as_noise(gaussians()[name]))) >= 2


@pytest.mark.costly
@pytest.mark.parametrize("name", OTHERS)
def test_eight_devices_are_one(name):
    mesh = training.make_mesh()
    results = []
    for on in (None, mesh):
        step = training.make_train_step(log_density_fn, gaussians()[name], optax.sgd(0.1), mesh=on)
        state = step.init(jnp.zeros(2))
        compiled = jax.jit(step)
        if on is not None:
            state = training.shard_state(state, on)
            compiled = training.jit_train_step(step, state)
        new, metrics = compiled(state, x_data(), jax.random.key(0))
        results.append((np.asarray(new.params), float(metrics.loss)))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-5)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-5)


@pytest.mark.costly
@pytest.mark.parametrize("name", OTHERS)
def test_annealing_starts_at_it(name):
    """log Z of an unnormalized Gaussian, 0.5 log det of the covariance and log 2 pi."""
    estimate = samplers.annealed_importance_sampling(
        jax.random.key(0),
        lambda x: log_density_fn(jnp.ones(2), x),
        gaussians()[name],
        kernel=samplers.mala(0.3),
        schedule=samplers.linear_schedule(20),
        num_samples=500,
    )
    assert abs(estimate.log_partition - (np.log(2 * np.pi) + 1)) < 4 * estimate.standard_error < 0.3


@pytest.mark.parametrize("name", OTHERS)
def test_samples_are_drawn_from_it(name):
    draw = as_draw_fn("x_data", gaussians()[name])
    np.testing.assert_array_equal(
        draw(jax.random.key(3), 7),
        noise.as_noise(gaussians()[name]).sample(seed=jax.random.key(3), sample_shape=(7,)),
    )


def test_other_objects_that_draw_by_a_seed_are_taken_too():
    q = noise.as_noise(WithSeed())
    x, log_prob = q.sample_and_log_prob(seed=jax.random.key(0), sample_shape=(3,))
    np.testing.assert_allclose(log_prob, closed_form(x), rtol=1e-5)


def test_those_of_distrax_and_adapted_ones_stay_as_they_are():
    own = gaussians()["distrax"]
    assert noise.as_noise(own) is own
    adapted = noise.as_noise(gaussians()["numpyro"])
    assert noise.as_noise(adapted) is adapted
    assert adapted == noise.as_noise(adapted.distribution)
    assert adapted != noise.as_noise(gaussians()["numpyro"])


def test_outside_of_its_support_a_noise_has_no_density():
    box = dist.Uniform(jnp.zeros(2), jnp.ones(2), validate_args=False).to_event(1)
    boxes = [
        box,
        flowjax.Uniform(jnp.zeros(2), jnp.ones(2)),
        tfd.Independent(tfd.Uniform(jnp.zeros(2), jnp.ones(2)), 1),
    ]
    x = jnp.array([[0.5, 0.5], [0.5, 1.5]])
    assert jnp.isfinite(box.log_prob(x)).all()  # as numpyro has it: the reason for the adapter's
    for q in map(noise.as_noise, boxes):
        assert jax.jit(q.log_prob)(x).tolist() == [0.0, -np.inf]


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (dist.Normal(jnp.zeros(2), 1.0), r"batch shape \(2,\).*noise.to_event\(1\)"),
        (dist.Normal(0.0, 1.0).expand([3, 2]), r"noise.to_event\(2\)"),
        (tfd.Normal(jnp.zeros(2), 1.0), r"batch shape \(2,\).*tfd.Independent\(noise, 1\)"),
        (distrax.Normal(jnp.zeros(2), 1.0), r"distrax.Independent\(noise, 1\)"),
    ],
)
def test_a_batch_of_distributions_is_refused_with_the_cure_of_its_library(wrong, message):
    for make in (
        noise.as_noise,
        lambda q: training.make_train_step(log_density_fn, q, optax.sgd(0.1)),
        lambda q: training.make_stage_step(
            lambda p, x: p @ x, q, optax.sgd(0.1), noise_levels=[0.0, 1.0]
        ),
    ):
        with pytest.raises(ValueError, match=message):
            make(wrong)


@pytest.mark.bad_input
def test_what_is_no_noise_is_refused_by_name():
    from flowjax import flows

    conditional = flows.masked_autoregressive_flow(
        jax.random.key(0), base_dist=flowjax.Normal(jnp.zeros(2)), cond_dim=3, flow_layers=1
    )
    with pytest.raises(ValueError, match=r"noise: .* conditioned on an array of shape \(3,\)"):
        noise.as_noise(conditional)
    with pytest.raises(TypeError, match="call the class"):
        noise.as_noise(dist.Normal)

    class Keyless:
        def sample(self, sample_shape=()):
            raise AssertionError

        def log_prob(self, value):
            raise AssertionError

    with pytest.raises(TypeError, match="without sample_and_log_prob"):
        noise.as_noise(Keyless())
    scalar = training.make_train_step(log_density_fn, flowjax.Normal(), optax.sgd(0.1))
    with pytest.raises(ValueError, match=r"x_data: expected shape \(samples,\)"):
        scalar(scalar.init(jnp.zeros(2)), x_data(), jax.random.key(0))


def test_outside_of_its_support_a_density_that_numpyro_cannot_give_is_zero():
    """The log of a negative number is NaN there; NaN itself stays NaN."""
    gamma = noise.as_noise(dist.Gamma(2 * jnp.ones(2), 1.0, validate_args=False).to_event(1))
    x = jnp.array([[1.0, 1.0], [1.0, -1.0], [1.0, jnp.nan]])
    found = np.asarray(gamma.log_prob(x))
    assert found[0] == pytest.approx(-2.0)
    assert found[1] == -np.inf
    assert np.isnan(found[2])
