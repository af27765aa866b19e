"""latent_digits: exact densities of coordinates, samples of known laws, and the smoke preset."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from experiments.common import gray_images, image_features, pieces
from experiments.common.results import Stored
from experiments.latent_digits import energy, sampling, space, statistics
from experiments.latent_digits.config import PRESETS, CellSettings
from experiments.latent_digits.plot import draw
from experiments.latent_digits.run import experiment
from experiments.latent_digits.train import Method, methods
from nce_jax import likelihood

SMALL = CellSettings(dim=2, hidden=(3,), num_samples=2000, num_temperatures=8, width=1.2)
CHAIN = Method((0.0, 0.5, 1.0))


@pytest.fixture(autouse=True)
def _rank_promotion():
    with jax.numpy_rank_promotion("allow"):
        yield


def gaussian_params(settings, precisions):
    """Stages that are -precision / 2 |x|^2 in closed form: the perceptron is switched off."""
    params = energy.initial(settings, jax.random.key(0), len(precisions))
    params["perceptron"] = jax.tree.map(jnp.zeros_like, params["perceptron"])
    rows = jnp.asarray(precisions)[:, None] * jnp.ones(settings.dim)
    return params | {"quadratic": jnp.log(jnp.expm1(rows))}


@pytest.mark.costly
def test_a_stage_is_a_concave_quadratic_beside_its_perceptron():
    x = np.array([[1.0, 2.0], [0.0, -1.0]], np.float32)
    params = jax.tree.map(lambda leaf: leaf[0], gaussian_params(SMALL, [0.7]))
    values = energy.log_ratio_fn(SMALL)(params, jnp.asarray(x))
    np.testing.assert_allclose(values, -0.35 * (x**2).sum(axis=1), rtol=1e-5)


@pytest.mark.costly
def test_annealing_through_stages_draws_the_product_and_its_log_z():
    # N(0, w^2) exp(-(a + b) x^2 / 2) has precision w^-2 + a + b; k = 2,000 particles, seed 0.
    params = gaussian_params(SMALL, [3.0, 1.0])
    found = jax.jit(sampling.anneal, static_argnums=(0, 1))(SMALL, CHAIN, params, jax.random.key(0))
    precision = SMALL.width**-2 + 4.0
    # Five standard errors of a variance, with a tenth of the particles taken as independent.
    error = 5 * np.sqrt(2 / (0.1 * found.x.size))
    np.testing.assert_allclose(np.var(found.x), 1 / precision, rtol=error)
    log_z = -0.5 * SMALL.dim * np.log(SMALL.width**2 * precision)
    np.testing.assert_allclose(found.log_partition, log_z, atol=0.15)
    assert 0 < found.smallest < 1


def test_resampling_keeps_particles_in_proportion_to_their_weights():
    x = jnp.arange(4.0)[:, None]
    weights = jnp.log(jnp.array([2.0, 0.0, 4.0, 2.0]))
    zero = jnp.zeros(())
    state = sampling.Particles(x, weights, zero + 3, zero, zero, zero)
    found = sampling._resampled(jax.random.key(0), state)
    assert found.x[:, 0].tolist() == [0, 2, 2, 3]
    assert float(found.log_partition) == pytest.approx(3 + np.log(2), abs=1e-6)  # mean weight 2
    assert not found.log_weights.any()


@pytest.mark.costly
def test_coordinates_have_an_exact_density_and_lead_back():
    images = gray_images.gray_images("digits")
    assert images.train.shape == (1400, 784)
    settings = CellSettings(images="digits", dim=5, num_dequantizations=2)
    key = jax.random.key(0)
    made = space.make_space(settings, key, images)
    assert made.train.shape == (2800, 5)
    np.testing.assert_allclose(made.train.std(axis=0), 1, rtol=0.02)
    # The same dequantization of the test images, and scipy's density of their logits.
    x = likelihood.dequantize(jax.random.split(key, 3)[-1], jnp.asarray(images.test))
    back = space.to_images(made, made.test[:, :5], made.test[:, 5:])
    np.testing.assert_allclose(back, x, atol=2e-3)
    y, log_det = likelihood.logit_transform(x[:20])
    law = stats.multivariate_normal(made.mean, made.axes @ made.axes.T)
    expected = law.logpdf(np.asarray(y, np.float64)) + np.asarray(log_det)
    np.testing.assert_allclose(made.log_base[:20], expected, rtol=2e-3)


def test_gains_and_bits_of_a_known_energy():
    squares = np.array([[[2.0, 4.0]]])
    arrays = {
        "width": np.array(2.0),
        "dim": np.array(3),
        "test_squares": squares,
        "test_log_ratio": np.array([[[1.0, 2.0]]]),
        "log_partition": np.array([[[0.5, np.nan]]]),
        "forward": np.array([[[0.25, 0.1, 9.0]]]),
        "reverse_bound": np.array([[[0.75, 0.1]]]),
        "log_base": np.array([784 * np.log(2.0)]),
        "mixture_gain": np.array([0.0]),
    }
    # log N(x; 0, 4 I) - log N(x; 0, I) = 3/8 |x|^2 - 3 log 2.
    mean = 1.5 + 0.375 * 3 - 3 * np.log(2)
    gains = statistics.gains(arrays)
    assert gains["F"][0, 0] == pytest.approx(mean - 0.5)
    assert gains["annealed"][0, 0] == pytest.approx(mean - 0.25)
    assert gains["reverse"][0, 0] == pytest.approx(mean - 0.75)
    bits = statistics.bits(arrays)
    assert bits["Gaussian"] == pytest.approx(7.0)
    assert bits["annealed"][0, 0] == pytest.approx(7 - (mean - 0.25) / (784 * np.log(2)))


def test_the_headline_has_both_bounds_and_its_numbers_are_committed():
    """The invented arrays have log Z from test images 0.5 nats above that from the noise."""
    names = list(PRESETS["cpu"].methods)
    shape = len(names), 3
    arrays = {
        "methods": np.array(names),
        "width": np.array(1.0),
        "dim": np.array(3),
        "test_squares": np.zeros((*shape, 2)),
        "test_log_ratio": np.ones((*shape, 2)),
        "log_partition": np.zeros((*shape, 4)),
        "overlap": np.ones((*shape, 4)),
        "forward": np.zeros((*shape, 3)),
        "reverse_bound": np.full((*shape, 2), 0.5),
        "log_base": np.zeros(2),
        "mixture_gain": np.array([2.0, 4.0]),
        "annealed: frechet_drawn": np.ones((*shape, 1)),
        **{f"{name}: frechet_drawn": np.ones(1) for name in statistics.BASELINES},
    }
    numbers = statistics.headline(arrays)
    path = Path(statistics.__file__).with_name("headline-cpu.json")
    committed = json.loads(path.read_text())
    assert set(numbers) == set(committed)
    assert numbers["gain_mixture"] == 3
    for row in ("K1", "K4", "K1_M100"):
        assert numbers[f"gain_annealed_{row}"] - numbers[f"gain_reverse_{row}"] == 0.5
        lost = numbers[f"bits_reverse_{row}"] - numbers[f"bits_{row}"]
        np.testing.assert_allclose(lost, 0.5 / (784 * np.log(2)))
        # The committed ones are of one run: gains and bits are the same numbers in other units.
        for kind in ("annealed", "reverse"):
            bits = committed[f"bits_{row}" if kind == "annealed" else f"bits_{kind}_{row}"]
            gain = committed["bits_Gaussian"]["value"] - bits["value"]
            nats = committed[f"gain_{kind}_{row}"]["value"]
            np.testing.assert_allclose(gain * 784 * np.log(2), nats, atol=0.35)


def test_every_preset_has_one_stage_and_more():
    for config in PRESETS.values():
        stages = {method.num_stages for method in methods(config).values()}
        assert 1 in stages
        assert len(stages) == 2


@pytest.mark.costly
def test_a_classifier_learns_and_its_features_are_its_own():
    images = gray_images.gray_images("digits")
    settings = image_features.FeatureSettings(num_steps=300)
    params = image_features.train_classifier(
        settings, jax.random.key(0), images.train / 255, images.train_labels
    )
    log_probabilities = image_features.predicted(settings, params, images.test / 255)
    assert (log_probabilities.argmax(axis=1) == images.test_labels).mean() > 0.85
    features = image_features.features(settings, params, images.test / 255)
    assert features.shape == (len(images.test), image_features.NUM_FEATURES)
    logits = features @ params["output"]["kernel"][...] + params["output"]["bias"][...]
    np.testing.assert_allclose(jax.nn.log_softmax(logits), log_probabilities, atol=1e-3)


@pytest.mark.costly
def test_the_smoke_preset_runs_resumes_and_draws(tmp_path, monkeypatch):
    monkeypatch.setattr(pieces, "RUNS", tmp_path)
    config = dataclasses.replace(PRESETS["smoke"], keep_pieces=True)
    result = experiment(config, jax.random.key(0))
    assert all(np.isfinite(value) for value in result.headline.values())
    assert result.arrays["overlap"].shape == (2, 1, 4)
    assert result.pieces == ()
    assert sorted(path.stem for path in tmp_path.rglob("*.npz")) == ["K1-0", "K4-0", "baselines"]
    figures = draw(Stored(result.arrays, result.headline, {}))
    assert set(figures) == {"latent_digits_samples", "latent_digits_distances"}
