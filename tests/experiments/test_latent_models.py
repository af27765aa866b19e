"""The shared latent model: a generator with its encoder, and priors of latent variables."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.common import latent_model, latent_priors
from experiments.common.latent_model import GeneratorSettings
from experiments.common.latent_priors import Prior, PriorSettings

GENERATOR = GeneratorSettings(nz=1, hidden=(16,), sigma=0.1, latent_steps=300, latent_rate=1e-2)
PRIOR = PriorSettings(prior_hidden=(8,), prior_steps=300, prior_rate=1e-2, chain_steps=20)


@pytest.fixture(autouse=True)
def _ranks():
    with jax.numpy_rank_promotion("allow"):
        yield


@pytest.mark.costly
def test_a_line_is_encoded_and_padding_is_not_trained_on():
    line = np.linspace(-1, 1, 200, dtype=np.float32)[:, None] * np.float32([[1.0, 2.0]])
    x = np.concatenate([line, np.full((50, 2), 1e6, np.float32)])
    fit = jax.jit(latent_model.train_generator, static_argnums=0)
    params = fit(GENERATOR, jax.random.key(0), x, 200)
    mean, log_scale = latent_model.encode(params, line)
    errors = latent_model.generate(params, mean) - line
    assert jnp.mean(errors**2) < 0.1 * line.var()
    draws = latent_model.posterior_samples(params, jax.random.key(1), line)
    standardized = (draws - mean) / jnp.exp(log_scale)
    # 200 draws of N(0, 1): k = 5 standard errors of mean and variance.
    assert abs(standardized.mean()) < 5 / 200**0.5
    assert abs(standardized.var() - 1) < 5 * (2 / 200) ** 0.5


@pytest.mark.parametrize(
    ("prior", "slope"),
    [
        # Chains of 20 steps stop short of the model, and the model overshoots for them.
        (Prior("chains", "chains"), 1.3),
        (Prior("stages", noise_levels=(0.0, 0.5, 1.0), treatment="joint"), 1.0),
        pytest.param(Prior("adaptive", magnification=None), 1.0, marks=pytest.mark.costly),
    ],
    ids=["chains", "stages", "adaptive"],
)
@pytest.mark.costly
def test_a_prior_learns_a_shift(prior, slope):
    z = 1 + jax.random.normal(jax.random.key(0), (1000, 1))
    train = jax.jit(latent_priors.train_prior, static_argnums=(0, 1))
    state = train(PRIOR, prior, jax.random.key(1), z, 900)
    ratios = latent_priors.log_ratio(PRIOR, prior, state, jnp.array([[0.0], [1.0]]))
    # The truth is z - 1/2. Five standard deviations, as twelve keys had them: 0.08 and 0.05.
    np.testing.assert_allclose(ratios[1] - ratios[0], slope, atol=0.4)
    if prior.kind == "stages":
        np.testing.assert_allclose(ratios[1], 0.5, atol=0.25)
        metrics = latent_priors.step_metrics(PRIOR, prior, state, jax.random.key(2), z)
        assert 0.5 < metrics.overlap < 1


@pytest.mark.costly
def test_a_traced_magnification_replaces_the_priors():
    z = 1 + jax.random.normal(jax.random.key(0), (100, 1))
    few = PriorSettings(prior_hidden=(4,), prior_steps=2)

    def log_partition(prior, magnification=None):
        key = jax.random.key(1)
        return latent_priors.train_prior(few, prior, key, z, 100, magnification).log_partition

    lanes = jax.jit(jax.vmap(lambda m: log_partition(Prior("any"), m)))(jnp.array([1.0, 100.0]))
    np.testing.assert_allclose(lanes[1], log_partition(Prior("N2CE", magnification=100.0)), 1e-3)
    assert not np.allclose(lanes[0], lanes[1], rtol=1e-2)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="kind: expected 'chains' or 'stages', got 'flow'"):
        latent_priors.log_ratio(PRIOR, Prior("x", "flow"), None, jnp.zeros((1, 1)))
