"""The joint step of generator, inference and prior, where everything is Gaussian and known."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from scipy import stats

import nce_jax
from nce_jax import criteria, latent, samplers, telescoping, training
from nce_jax.noise import fitted_gaussian, standard_normal, uniform_box
from tests.slow import slow_but
from tests.training.problems import assert_trees_equal

KEY = jax.random.key(3)

SCALE, SLOPE = 0.5, 2.0
MEAN, SPREAD = 0.8, 0.6
"""z ~ N(MEAN, SPREAD^2) and x = SLOPE z + SCALE e."""


def quadratic(theta, z):
    return theta[0] * z[:, 0] + theta[1] * z[:, 0] ** 2


def exact_prior():
    """The parameters of the true prior's log ratio to N(0, 1)."""
    return jnp.array([MEAN / SPREAD**2, (1 - 1 / SPREAD**2) / 2])


def generate(params, z):
    return params["slope"] * z


def encode(params, x):
    return params["weight"] * x + params["bias"], 0 * x + params["log_scale"]


def exact_params():
    """Generator and exact posterior N(v (SLOPE x / SCALE^2 + MEAN / SPREAD^2), v)."""
    variance = 1 / (SLOPE**2 / SCALE**2 + 1 / SPREAD**2)
    return {
        "slope": jnp.array(SLOPE),
        "weight": jnp.array(variance * SLOPE / SCALE**2),
        "bias": jnp.array(variance * MEAN / SPREAD**2),
        "log_scale": jnp.array(0.5 * np.log(variance)),
    }


def data(count=4096):
    z, error = jax.random.normal(jax.random.key(0), (2, count, 1))
    return SLOPE * (MEAN + SPREAD * z) + SCALE * error


def one_stage(**options):
    return training.make_train_step(
        noise=standard_normal(1), optimizer=optax.adam(0.05), log_ratio_fn=quadratic, **options
    )


def three_stages(**options):
    return training.make_stage_step(
        telescoping.separate(quadratic),
        standard_normal(1),
        optax.adam(0.05),
        noise_levels=[0.0, 0.4, 0.8, 1.0],
        **options,
    )


def by_chains():
    kernel = samplers.langevin(0.05)
    return latent.make_chain_step(
        quadratic, standard_normal(1), optax.adam(0.05), kernel=kernel, num_steps=30
    )


def make(prior, optimizer=None, inference=None):
    likelihood = latent.gaussian_likelihood(generate, scale=SCALE)
    inference = inference or latent.amortized(encode)
    return latent.make_latent_step(
        likelihood, inference, optimizer or optax.adam(0.02), prior=prior
    )


def run(train, state, x, num_steps):
    step = jax.jit(
        lambda state: jax.lax.scan(lambda s, _: train(s, x, KEY), state, None, num_steps)
    )
    return step(state)


PRIORS = {
    "nce_joint": lambda: one_stage(treatment=training.joint_gradient()),
    "nce": one_stage,
    "n2ce": lambda: one_stage(criterion=criteria.nce(magnification=100.0)),
    "three_stages": lambda: three_stages(criterion=criteria.nce(magnification=100.0)),
    "chains": by_chains,
}


@pytest.mark.parametrize("name", slow_but(["nce"], PRIORS))
@pytest.mark.costly
def test_every_prior_finds_the_law_of_the_latent_variables(name, x64):
    """With the true generator and posterior; within 0.05 of mean and standard deviation.

    The standard errors at 4,096 data are 0.011 and 0.009; chains of 30 steps have a bias.
    """
    train = make(PRIORS[name](), optimizer=optax.set_to_zero())
    shape = (3, 2) if name == "three_stages" else (2,)
    state = train.init(exact_params(), jnp.zeros(shape))
    state, _ = run(train, state, data(), 400)
    theta = jnp.reshape(state.prior.params, (-1, 2)).sum(0)
    variance = 1 / (1 - 2 * theta[1])
    np.testing.assert_allclose(theta[0] * variance, MEAN, atol=0.05)
    np.testing.assert_allclose(jnp.sqrt(variance), SPREAD, atol=0.05)
    assert_trees_equal(state.params, train.init(exact_params(), jnp.zeros(shape)).params)


def test_a_step_by_chains_moves_the_log_ratio_towards_the_data():
    """The first step from a log ratio of zero: up by the rate times the difference of means."""
    kernel = samplers.langevin(0.05)
    train = latent.make_chain_step(
        quadratic, standard_normal(1), optax.sgd(1.0), kernel=kernel, num_steps=5
    )
    state, _ = jax.jit(train)(train.init(jnp.zeros(2)), 3 + 0 * data(1024), KEY)
    # Of N(0, 1) the moments are 0 and 1: k = 4 standard errors at 1,024 chains.
    np.testing.assert_allclose(state.params, [3, 9 - 1], atol=4 * np.sqrt(2 / 1024))


@pytest.mark.costly
def test_the_loss_is_minus_the_log_likelihood_at_the_exact_model(x64):
    """Here the bound is tight for every draw of z: equal to rounding, not in the mean only."""
    train = make(one_stage(treatment=training.held()))
    prior_f = jnp.log(SPREAD) + MEAN**2 / (2 * SPREAD**2)
    state = train.init(exact_params(), exact_prior())
    state = state._replace(prior=state.prior._replace(log_partition=prior_f))
    x = data(64)
    _, metrics = train(state, x, KEY)
    law = stats.norm(SLOPE * MEAN, np.sqrt(SLOPE**2 * SPREAD**2 + SCALE**2))
    np.testing.assert_allclose(metrics["loss"], -law.logpdf(np.asarray(x)).mean(), rtol=1e-9)


@pytest.mark.costly
@pytest.mark.parametrize("name", ["nce", "n2ce", "three_stages"])
def test_encoder_and_prior_learn_the_law_of_the_data_together(name, x64):
    """The log-likelihood, k = 4 standard errors, and moments of data from the resampled prior.

    The generator is given: with a prior of free mean and width the scale of z is not determined.
    """
    likelihood = latent.gaussian_likelihood(lambda params, z: SLOPE * z, scale=SCALE)
    rates = optax.cosine_decay_schedule(0.02, 800)
    train = latent.make_latent_step(
        likelihood, latent.amortized(encode), optax.adam(rates), prior=PRIORS[name]()
    )
    params = {"weight": 0.2 * jnp.ones(()), "bias": jnp.zeros(()), "log_scale": jnp.zeros(())}
    shape = (3, 2) if name == "three_stages" else (2,)
    state, metrics = run(train, train.init(params, jnp.zeros(shape)), x := data(), 800)
    law = stats.norm(SLOPE * MEAN, np.sqrt(SLOPE**2 * SPREAD**2 + SCALE**2))
    terms = law.logpdf(np.asarray(x))
    loss = metrics["loss"][-50:].mean()
    assert abs(loss + terms.mean()) < 4 * terms.std() / np.sqrt(len(terms))
    result = samplers.resample(
        jax.random.key(1),
        lambda z: latent.prior_log_ratio(train.prior, state.prior, z),
        standard_normal(1),
        4000,
    )
    assert result.effective_sample_size > 4000
    np.testing.assert_allclose(result.x.mean(), MEAN, atol=0.05)
    np.testing.assert_allclose(result.x.std(), SPREAD, atol=0.05)


@pytest.mark.costly
def test_a_standard_normal_prior_is_the_usual_autoencoder(x64):
    """The loss is that of a variational autoencoder, term by term, in NumPy."""
    train, params = make(None), exact_params()
    x = data(32)
    _, metrics = train(train.init(params), x, KEY)
    key = jax.random.fold_in(jax.random.split(KEY)[0], 0)
    draw = np.asarray(jax.random.normal(key, (32, 1)))
    mean, scale = np.asarray(params["weight"] * x + params["bias"]), np.exp(params["log_scale"])
    z = mean + scale * draw
    log_joint = stats.norm(SLOPE * z, SCALE).logpdf(np.asarray(x)) + stats.norm.logpdf(z)
    bound = log_joint - stats.norm(mean, scale).logpdf(z)
    np.testing.assert_allclose(metrics["loss"], -bound.mean(), rtol=1e-10)
    reconstruction = -stats.norm(SLOPE * z, SCALE).logpdf(np.asarray(x)).mean()
    np.testing.assert_allclose(metrics["reconstruction"], reconstruction, rtol=1e-10)


def test_a_step_evaluates_the_likelihood_once():
    """Compiled programs merge equal evaluations; steps that are not compiled pay for each."""
    calls = []

    def log_likelihood_fn(params, z, x):
        calls.append(z.shape)
        return -jnp.sum((x - generate(params, z)) ** 2, axis=-1)

    train = latent.make_latent_step(
        log_likelihood_fn, latent.amortized(encode), optax.sgd(0.1), prior=None
    )
    _, metrics = train(train.init(exact_params()), data(8), KEY)
    assert calls == [(8, 1)]
    assert np.isfinite(metrics["reconstruction"])


@pytest.mark.costly
@pytest.mark.parametrize("name", ["nce", "three_stages"])
def test_a_step_over_eight_devices_is_that_of_one(name, x64):
    """Data lie in parts on the devices, the state on all; the prior shares its pairs over them."""
    make_prior = {"nce": one_stage, "three_stages": three_stages}[name]
    shape = (3, 2) if name == "three_stages" else (2,)
    states = []
    for mesh in (None, training.make_mesh()):
        train = make(make_prior(mesh=mesh), optimizer=optax.sgd(0.1))
        state, x = train.init(exact_params(), 0.1 * jnp.ones(shape)), data(64)
        if mesh is not None:
            assert mesh.shape["data"] == 8
            state = training.shard_state(state, mesh)
            x = jax.device_put(x, NamedSharding(mesh, PartitionSpec("data")))
        step = training.jit_train_step(train, state)
        for _ in range(3):
            state, metrics = step(state, x, KEY)
        states.append((state, metrics))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9), *states)
    assert np.abs(states[0][0].prior.params - 0.1).max() > 0.01


@pytest.mark.costly
def test_chains_infer_the_posterior_of_their_own_datum(x64):
    inference = latent.short_run(samplers.mala(0.05), num_steps=60, dim=1)
    train = make(one_stage(treatment=training.held()), inference=inference)
    state = train.init({"slope": jnp.array(SLOPE)}, exact_prior())
    x = jnp.repeat(jnp.array([[-2.0], [1.0], [4.0]]), 1000, axis=0)
    z = train.infer(state, x, KEY).reshape(3, 1000)
    params = exact_params()
    expected = params["weight"] * x[::1000, 0] + params["bias"]
    spread = np.exp(params["log_scale"])
    np.testing.assert_allclose(z.mean(1), expected, atol=4 * spread / np.sqrt(1000))
    np.testing.assert_allclose(z.std(1), spread, rtol=0.1)


@pytest.mark.costly
def test_chains_train_a_generator(x64):
    inference = latent.short_run(samplers.langevin(0.02), num_steps=30, dim=1)
    train = make(one_stage(), inference=inference, optimizer=optax.adam(0.05))
    state = train.init({"slope": jnp.array(0.5)}, jnp.zeros(2))
    state, _ = run(train, state, data(512), 300)
    theta = state.prior.params
    variance = 1 / (1 - 2 * theta[1])
    spread = state.params["slope"] * jnp.sqrt(variance)
    np.testing.assert_allclose(spread, SLOPE * SPREAD, rtol=0.15)


@pytest.mark.costly
def test_the_prior_is_fixed_for_generator_and_encoder(x64):
    """Their gradient is that of the bound alone, the prior's that of its own loss alone."""
    prior = one_stage(criterion=criteria.nce(magnification=10.0))
    train = make(prior, optimizer=optax.sgd(1.0))
    state = train.init(exact_params(), jnp.array([0.3, -0.2]))
    x = data(64)
    new, _ = train(state, x, KEY)
    key = jax.random.split(KEY)[0]

    def loss(params):
        z, log_q = latent.amortized(encode).infer(params, jax.random.fold_in(key, 0), x, None)
        likelihood = latent.gaussian_likelihood(generate, scale=SCALE)(params, z, x)
        log_prior = jax.scipy.stats.norm.logpdf(z[:, 0]) + quadratic(state.prior.params, z)
        return -jnp.mean(likelihood + log_prior - log_q)

    gradient = jax.grad(loss)(state.params)
    moved = jax.tree.map(lambda old, new: old - new, state.params, new.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9), moved, gradient)
    z = train.infer(state, x, jax.random.fold_in(key, 0))
    alone, _ = prior(state.prior, z, jax.random.split(KEY)[1])
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9), new.prior.params, alone.params
    )


@pytest.mark.costly
def test_fit_resumes_it_to_the_same_bits(tmp_path):
    def fitted(folder, num_steps, **options):
        train = make(three_stages())
        state = train.init(exact_params(), jnp.zeros((3, 2)))
        return training.fit(
            train, state, data(256), KEY, num_steps=num_steps, batch_size=64, folder=folder,
            progress=False, **options,
        ).state  # fmt: skip

    whole = fitted(tmp_path / "whole", 9)
    fitted(tmp_path / "cut", 5)
    assert_trees_equal(fitted(tmp_path / "cut", 9, resume=True), whole)


def test_the_log_ratio_of_a_chain_is_that_of_its_sum():
    prior = three_stages()
    state = prior.init(jnp.ones((3, 2)), log_partition=0.5)
    z = jnp.array([[2.0]])
    np.testing.assert_allclose(latent.prior_log_ratio(prior, state, z), [3 * 6 - 1.5], rtol=1e-6)
    np.testing.assert_array_equal(latent.prior_log_ratio(None, None, z), [0.0])


def step_of(x=None, encoded=lambda x: x, prior=one_stage):
    """One step with an encoder whose two moments are `encoded(x)`."""
    train = make(prior(), inference=latent.amortized(lambda params, x: (encoded(x),) * 2))
    return train(train.init(exact_params(), jnp.zeros(2)), data(8) if x is None else x, KEY)


def density_prior():
    return training.make_train_step(
        lambda theta, z: quadratic(theta, z), standard_normal(1), optax.adam(0.1)
    )


@pytest.mark.parametrize(
    ("act", "text"),
    [
        (lambda: make(density_prior()), "prior: expected a train step of a log ratio"),
        (lambda: make(3.0), "prior: expected a TrainStep"),
        (lambda: latent.make_latent_step(generate, encode, optax.adam(0.1)), "log_likelihood_fn"),
        (lambda: make(None, inference=encode), "inference: expected"),
        (lambda: make(None).init(exact_params(), jnp.zeros(2)), "prior_params: expected"),
        (lambda: make(one_stage()).init(exact_params()), "prior_params: expected"),
        (lambda: make(None)(make(None).init(exact_params()), 3.0, KEY), "x_data: expected"),
        (lambda: make(None)(exact_params(), data(8), KEY), "state: expected a LatentState"),
        (lambda: make(None)(make(None).init(exact_params()), data(8), 3), "key: expected"),
        (lambda: latent.gaussian_likelihood(generate, scale=-1.0), "scale: expected"),
        (lambda: latent.short_run(None, num_steps=2, dim=1), "kernel: expected"),
        (lambda: latent.short_run(samplers.mala(0.1), num_steps=0, dim=1), "num_steps: expected"),
        (
            lambda: make(None, inference=latent.amortized(lambda params, x: x))(
                make(None).init(exact_params()), data(8), KEY
            ),
            "encode_fn: expected a pair",
        ),
        (
            lambda: make(None, inference=latent.amortized(lambda params, x: (x[:3], x[:3])))(
                make(None).init(exact_params()), data(8), KEY
            ),
            "encode_fn: expected a pair .* with n = 8",
        ),
        (
            lambda: latent.gaussian_likelihood(lambda params, z: z[:, 0], scale=1.0)(
                (), jnp.ones((2, 1)), jnp.ones((2, 1))
            ),
            "generate_fn: expected the shape of x",
        ),
        (lambda: latent.prior_log_ratio(one_stage(), None, jnp.ones((1, 1))), "state: expected"),
        (lambda: latent.prior_log_ratio(None, None, jnp.ones((1, 1), int)), "z: expected a float"),
        (lambda: step_of(encoded=lambda x: x.astype(int)), "encode_fn: expected a floating array"),
        (lambda: step_of(x=data(0)), "x_data: expected at least one sample"),
        (lambda: step_of(x={"a": data(8), "b": data(3)}), "x_data: .* got 3 and 8"),
        (lambda: step_of(x={"a": data(8)}, encoded=lambda x: x["a"]), "x: expected one array"),
        (lambda: step_of(encoded=lambda x: jnp.tile(x, 2)), r"z: expected shape \(samples, 1\)"),
        (
            lambda: make(None).infer(make(None).init(exact_params()), [1.0], KEY),
            "x: expected an arr",
        ),
        (lambda: latent.gaussian_likelihood(generate, scale=jnp.ones(2)), "scale: expected one"),
        (
            lambda: latent.gaussian_likelihood(lambda a, z: z.astype(jnp.uint8), scale=1.0)(
                (), jnp.ones((2, 1)), jnp.zeros((2, 1), jnp.uint8)
            ),
            "generate_fn: expected a floating array",
        ),
    ],
)
def test_wrong_objects_are_named(act, text):
    with pytest.raises((TypeError, ValueError), match=text):
        act()


@pytest.mark.costly
def test_a_failed_prior_shows_in_the_metrics():
    train = make(one_stage())
    _, metrics = train(train.init(exact_params(), jnp.array([jnp.nan, 0.0])), data(8), KEY)
    assert metrics["status"] == nce_jax.Status.NONFINITE
    assert np.isnan(metrics["loss"])


@pytest.mark.parametrize("field", ["weights_data", "weights_noise", "x_noise"])
def test_what_a_step_would_ignore_is_refused(field):
    batch = training.Batch(data(8), **{field: jnp.ones((8, 1)[: 1 + (field == "x_noise")])})
    chains = by_chains()
    for act in (lambda: step_of(batch), lambda: chains(chains.init(jnp.zeros(2)), batch, KEY)):
        with pytest.raises(ValueError, match=f"{field}: expected None"):
            act()


@pytest.mark.parametrize(
    "noise",
    [
        uniform_box(-jnp.ones(1), jnp.ones(1)),
        fitted_gaussian(1 + jnp.linspace(-1.0, 1.0, 9)[:, None]),
        None,
    ],
)
def test_a_prior_relative_to_another_noise_is_refused(noise):
    prior = training.make_train_step(
        noise=noise, optimizer=optax.adam(0.05), log_ratio_fn=quadratic
    )
    with pytest.raises((TypeError, ValueError), match=r"prior: expected .* N\(0, I\)"):
        make(prior)


def test_states_of_other_steps_are_named():
    params, theta = exact_params(), jnp.zeros(2)
    plain, other = make(None), make(None, optax.sgd(0.1))
    tilted, chains = make(one_stage()), by_chains()
    for act in (
        lambda: plain(other.init(params), data(8), KEY),
        lambda: other(plain.init(params), data(8), KEY),
        lambda: plain(tilted.init(params, theta), data(8), KEY),
        lambda: tilted(plain.init(params), data(8), KEY),
        lambda: chains(one_stage().init(theta), data(8), KEY),
        lambda: chains(plain.init(params), data(8), KEY),
    ):
        with pytest.raises((TypeError, ValueError), match=r"state(.prior)?: expected"):
            act()


def test_data_of_a_chain_step_have_the_shape_of_its_noise():
    chains = by_chains()
    with pytest.raises(ValueError, match=r"x_data: expected shape \(samples, 1\)"):
        chains(chains.init(jnp.zeros(2)), jnp.ones((8, 2)), KEY)


@pytest.mark.parametrize("scale", [0.0, -1.0])
def test_a_traced_scale_that_is_not_positive_gives_nan(scale):
    def gradient(scale):
        log_likelihood_fn = latent.gaussian_likelihood(lambda a, z: a * z, scale=scale)
        return jax.value_and_grad(lambda a: log_likelihood_fn(a, z, z).sum())(2.0)

    z = jnp.ones((2, 1))
    assert np.isnan(jax.jit(gradient)(scale)).all()
    assert np.isfinite(jax.jit(gradient)(1.0)).all()


def test_integer_data_are_not_rounded():
    log_likelihood_fn = latent.gaussian_likelihood(lambda a, z: z, scale=2.0)
    x = jnp.array([[0], [255]], jnp.uint8)
    values = log_likelihood_fn((), jnp.array([[1.5], [254.0]]), x)
    np.testing.assert_allclose(values, stats.norm.logpdf([-1.5, 1.0], scale=2.0), rtol=1e-6)


@pytest.mark.parametrize("data_dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["stages", "chains"])
@pytest.mark.costly
def test_dtypes_mix_under_strict_promotion(kind, data_dtype, x64):
    """Noise in float64, parameters in float32, data in either."""

    def log_ratio(theta, z):
        return quadratic(theta.astype(z.dtype), z)

    kernel = samplers.langevin(0.01)
    if kind == "stages":
        prior = training.make_stage_step(
            telescoping.separate(log_ratio), standard_normal(1), optax.sgd(0.1), noise_levels=[0, 1]
        )
    else:
        prior = latent.make_chain_step(
            log_ratio, standard_normal(1), optax.sgd(0.1), kernel=kernel, num_steps=2
        )
    train = latent.make_latent_step(
        latent.gaussian_likelihood(lambda a, z: a.astype(z.dtype) * z, scale=SCALE),
        latent.short_run(kernel, num_steps=2, dim=1),
        optax.sgd(0.1),
        prior=prior,
    )
    theta = jnp.zeros((1, 2) if kind == "stages" else 2, jnp.float32)
    x = data(8).astype(data_dtype)
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        state, metrics = jax.jit(train)(train.init(jnp.float32(1), theta), x, KEY)
    assert np.isfinite(metrics["loss"])
    assert state.params.dtype == state.prior.params.dtype == jnp.float32


def test_draws_of_an_encoder_in_bfloat16_keep_their_scale():
    """At a mean of 100 the spacing of bfloat16 is 0.5."""

    def encode_coarsely(params, x):
        mean = jnp.full((x.shape[0], 1), 100.0, jnp.bfloat16)
        return mean, jnp.full_like(mean, -4.0)

    inferred = latent.amortized(encode_coarsely).infer(None, KEY, jnp.ones((64, 1)), None)
    assert inferred.z.dtype == inferred.log_q.dtype == jnp.float32
    assert 0.5 < jnp.std(inferred.z) / jnp.exp(-4.0) < 1.5
