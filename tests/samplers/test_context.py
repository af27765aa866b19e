"""Chains conditioned on a datum each: posteriors in closed form, and what is refused.

The latent-variable model is z ~ N(0, 1), y = z + N(0, NOISE^2), of which posterior and marginal
likelihood are Gaussian.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from nce_jax import Status, noise, samplers
from nce_jax.samplers._annealing import _estimate, _for_each_datum
from nce_jax.samplers._path import Annealed

pytestmark = pytest.mark.usefixtures("rank_promotion_as_distrax_needs_it")

NOISE = 1.0
DATA = np.array([-2.0, -0.5, 0.0, 1.0, 3.0], np.float32)
SHRINKAGE = 1 / (1 + NOISE**2)  # posterior mean over datum
DEVIATION = NOISE * np.sqrt(SHRINKAGE)


def log_joint(z, y):
    """log p(z, y) of positions (chains, 1) and data (chains,)."""
    squares = jnp.sum(z**2, axis=-1) + ((y - z[:, 0]) / NOISE) ** 2
    return -0.5 * squares - jnp.log(2 * jnp.pi * NOISE)


def log_marginal(y):
    return -0.5 * y**2 * SHRINKAGE + 0.5 * np.log(SHRINKAGE / (2 * np.pi))


@functools.cache
def chains_of_every_datum(kind="jit"):
    """1,000 chains per datum, seed 0."""

    def run(key, y):
        y = jnp.repeat(y, 1000)
        return samplers.sample_chains(
            key,
            lambda z, context: log_joint(z, context["y"]),
            jnp.zeros((y.size, 1)),
            kernel=samplers.mala(0.3),
            num_steps=40,
            keep_every=20,
            context={"y": y},
        )

    key, y = jax.random.key(0), jnp.asarray(DATA)
    if kind == "vmap":
        keys = jax.random.split(key, DATA.size)
        chains = jax.jit(jax.vmap(run))(keys, y[:, None])
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), chains)
    return jax.jit(run)(key, y)


@pytest.mark.parametrize("kind", ["jit", "vmap"])
def test_every_chain_samples_the_posterior_of_its_datum(kind):
    """Mean and variance of each datum's 1,000 independent chains, within 4 standard errors."""
    chains = chains_of_every_datum(kind)
    z = np.asarray(chains.x, np.float64).reshape(DATA.size, 1000)
    error = DEVIATION / np.sqrt(1000)
    assert (np.abs(z.mean(axis=1) - SHRINKAGE * DATA) < 4 * error).all()
    variance = z.var(axis=1, ddof=1) / DEVIATION**2
    assert (np.abs(variance - 1) < 4 * np.sqrt(2 / 1000)).all()
    expected = log_joint(chains.x, jnp.repeat(jnp.asarray(DATA), 1000))
    np.testing.assert_allclose(chains.log_density, expected, rtol=1e-5)
    assert chains.trajectory.shape == (5000, 2, 1)


@pytest.mark.costly
def test_a_context_that_is_the_same_for_all_changes_nothing():
    """The chains are bit for bit those of a density that closes over the datum."""
    x_initial, options = jnp.zeros((3, 1)), {"kernel": samplers.mala(0.1), "num_steps": 5}
    key, y = jax.random.key(1), jnp.full(3, 2.0)
    shared = samplers.sample_chains(key, lambda z: log_joint(z, 2.0), x_initial, **options)
    given = samplers.sample_chains(key, log_joint, x_initial, context=y, **options)
    np.testing.assert_array_equal(given.x, shared.x)


def test_a_step_size_is_found_for_conditioned_chains():
    """Posteriors of one width, at 5 places: the acceptance rate of further chains is the target's
    within 0.05; 1,000 chains, seeds 2 and 3.
    """
    y = jnp.repeat(jnp.asarray(DATA), 200)
    x_initial = SHRINKAGE * y[:, None] + DEVIATION * jax.random.normal(jax.random.key(2), (1000, 1))

    @jax.jit
    def tune(step_size):
        return samplers.adapt_step_size(
            jax.random.key(3),
            log_joint,
            x_initial,
            kernel_fn=samplers.mala,
            step_size=step_size,
            num_steps=100,
            context=y,
        )

    tuned = tune(0.1)
    chains = jax.jit(
        lambda step_size, x: samplers.sample_chains(
            jax.random.key(4),
            log_joint,
            x,
            kernel=samplers.mala(step_size),
            num_steps=20,
            context=y,
        )
    )(tuned.step_size, tuned.x)
    assert abs(chains.acceptance_rate.mean() - 0.6) < 0.05
    means = np.asarray(tuned.x).reshape(DATA.size, 200).mean(axis=1)
    assert (np.abs(means - SHRINKAGE * DATA) < 4 * DEVIATION / np.sqrt(200)).all()


def anneal(direction, context, log_density_fn=log_joint, num_samples=400):
    """From exact posterior samples in the reverse direction."""
    options = {"kernel": samplers.mala(0.3), "schedule": samplers.linear_schedule(40)}
    q, key = noise.standard_normal(1), jax.random.key(5)
    if direction == "forward":
        return samplers.annealed_importance_sampling(
            key, log_density_fn, q, num_samples=num_samples, context=context, **options
        )
    y = jnp.asarray(DATA) if context is None else jax.tree.leaves(context)[0]
    normal = jax.random.normal(jax.random.key(6), (y.size, num_samples, 1))
    x_model = SHRINKAGE * y[:, None, None] + DEVIATION * normal
    x_model = x_model[0] if context is None else x_model
    return samplers.reverse_annealed_importance_sampling(
        key, log_density_fn, q, x_model, context=context, **options
    )


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_every_datum_has_its_marginal_likelihood(direction):
    """400 chains for each of 5 data, seed 5: log p(y) within 4 standard errors, below 0.1."""
    estimate = jax.jit(functools.partial(anneal, direction))(jnp.asarray(DATA))
    expected = log_marginal(np.asarray(DATA, np.float64))
    assert (estimate.standard_error < 0.1).all()
    assert (np.abs(estimate.log_partition - expected) < 4 * estimate.standard_error).all()
    assert estimate.x.shape == (5, 400, 1)
    assert estimate.log_weights.shape == estimate.num_nonfinite.shape == (5, 400)
    assert estimate.acceptance_rate.shape == (5, 39)
    sign = 1 if direction == "forward" else -1
    log_weights = np.asarray(estimate.log_weights, np.float64)
    np.testing.assert_allclose(estimate.bound, sign * log_weights.mean(axis=1), rtol=1e-4)
    weights = np.exp(log_weights - log_weights.max(axis=1, keepdims=True))
    squares = (weights / weights.mean(axis=1, keepdims=True) - 1) ** 2
    count = squares.sum(axis=1) / squares.max(axis=1)
    np.testing.assert_allclose(estimate.effective_samples, count, rtol=1e-3)
    assert (estimate.status == np.where(count < 10, Status.LOW_OVERLAP, Status.CONVERGED)).all()


@pytest.mark.costly
def test_few_chains_that_carry_the_weight_are_said():
    """A target of a tenth of the noise's width in 3 dimensions, at once: a few draws of 200."""
    estimate = samplers.annealed_importance_sampling(
        jax.random.key(0),
        lambda x: -50 * jnp.sum(x**2, axis=-1),
        noise.standard_normal(3),
        kernel=samplers.mala(0.1),
        schedule=samplers.linear_schedule(1),
        num_samples=200,
    )
    assert estimate.effective_samples < 10
    assert estimate.status == Status.LOW_OVERLAP


@pytest.mark.costly
@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_each_datum_s_estimate_is_that_of_the_datum_alone(direction):
    """In distribution: the two differ by less than 4 of their joint standard errors."""
    every = anneal(direction, jnp.asarray(DATA[:2]))
    alone = anneal(direction, None, lambda z: log_joint(z, DATA[0]))
    error = np.hypot(every.standard_error[0], alone.standard_error)
    assert abs(every.log_partition[0] - alone.log_partition) < 4 * error
    assert alone.log_partition.shape == ()


@pytest.mark.costly
def test_every_datum_has_moves_of_its_own():
    """Also where data and positions are equal: their estimates are independent, not copies."""

    def estimate(key, x, datum):
        drawn = jax.random.normal(key, (4,))
        return _estimate(Annealed(x, drawn, jnp.zeros(4, jnp.int32), jnp.ones(2)), sign=1)

    every = _for_each_datum(estimate, jax.random.key(7), jnp.zeros((12, 1)), jnp.ones(3))
    assert len(np.unique(every.log_weights)) == 12


CHAINS, Y = jnp.zeros((5, 1)), jnp.asarray(DATA)
CLOSURES = {
    "broadcasting": lambda z: log_joint(z, Y),
    "mapping": lambda z: jax.vmap(lambda z, y: log_joint(z[None], y[None])[0])(z, Y),
}
CALLS = {
    "sample_chains": lambda fn, **options: samplers.sample_chains(
        jax.random.key(0), fn, CHAINS, kernel=samplers.mala(0.1), num_steps=2, **options
    ),
    "adapt_step_size": lambda fn, **options: samplers.adapt_step_size(
        jax.random.key(0),
        fn,
        CHAINS,
        kernel_fn=samplers.mala,
        step_size=0.1,
        num_steps=2,
        **options,
    ),
    "annealed_importance_sampling": lambda fn, **options: samplers.annealed_importance_sampling(
        jax.random.key(0),
        fn,
        noise.standard_normal(1),
        kernel=samplers.mala(0.1),
        schedule=samplers.linear_schedule(2),
        num_samples=5,
        **options,
    ),
    "reverse_annealed_importance_sampling": lambda fn, **options: (
        samplers.reverse_annealed_importance_sampling(
            jax.random.key(0),
            fn,
            noise.standard_normal(1),
            jnp.zeros((5, 3, 1)) if options else CHAINS,
            kernel=samplers.mala(0.1),
            schedule=samplers.linear_schedule(2),
            **options,
        )
    ),
}


@pytest.mark.bad_input
@pytest.mark.parametrize("closure", CLOSURES)
@pytest.mark.parametrize("name", CALLS)
def test_a_density_that_closes_over_one_datum_per_chain_is_refused(name, closure):
    message = r"^log_density_fn: expected one value for one chain alone.*context=data"
    with pytest.raises(ValueError, match=message):
        CALLS[name](CLOSURES[closure])


@pytest.mark.bad_input
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(
    ("context", "error", "got"),
    [
        ({"y": Y, "w": 1.0}, TypeError, r"float 1\.0 at context\['w'\]"),
        ([0.0] * 5, TypeError, "(float 0.0|a list of length 5)"),
        ({"a": Y, "b": jnp.zeros(4)}, ValueError, r"shape \(4,\) at context\['b'\]"),
        (np.array(["a"] * 5), TypeError, "an array of shape"),
        (jax.random.split(jax.random.key(0), 5), TypeError, "an array of shape"),
        (pd.Series(np.zeros(5)), TypeError, r"an array of .* of a Series; \.to_numpy\(\) is the"),
    ],
)
def test_a_wrong_context_is_named(name, context, error, got):
    with pytest.raises(error, match=f"^context: expected arrays with .* got {got}"):
        CALLS[name](log_joint, context=context)


@pytest.mark.bad_input
@pytest.mark.parametrize("name", CALLS)
def test_a_density_has_to_take_the_context(name):
    with pytest.raises(TypeError, match="^log_density_fn: expected a function of positions and co"):
        CALLS[name](lambda z: log_joint(z, 1.0), context=Y)
    with pytest.raises(TypeError, match="positions alone.*context= passes one datum per chain"):
        CALLS[name](log_joint)


class Conditional:
    """A noise that closes over one datum per sample."""

    def log_prob(self, z):
        return -0.5 * (z[:, 0] - Y) ** 2

    def sample_and_log_prob(self, *, seed, sample_shape):
        z = jax.random.normal(seed, (*sample_shape, 1))
        return z, -0.5 * z[:, 0] ** 2


@pytest.mark.bad_input
def test_a_noise_that_closes_over_one_datum_per_chain_is_refused():
    options = {"kernel": samplers.mala(0.1), "schedule": samplers.linear_schedule(2)}
    arguments = jax.random.key(0), lambda z: log_joint(z, 1.0), Conditional()
    message = "^noise: expected one value for one chain alone"
    with pytest.raises(ValueError, match=message):
        samplers.annealed_importance_sampling(*arguments, num_samples=5, **options)
    with pytest.raises(ValueError, match=message):
        samplers.reverse_annealed_importance_sampling(*arguments, CHAINS, **options)
    with pytest.raises(ValueError, match=r"^x_model: expected shape \(data, samples, \.\.\.\)"):
        samplers.reverse_annealed_importance_sampling(
            arguments[0], log_joint, noise.standard_normal(1), CHAINS[:4], context=Y, **options
        )
