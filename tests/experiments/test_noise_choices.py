"""noise_choices: measures with known values, the runner, and the smoke preset."""

import dataclasses

import distrax
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import pytest
from scipy import stats

import nce_jax
from experiments.common import results
from experiments.noise_choices import measures, noises, problems, statistics, table, train
from experiments.noise_choices.config import PRESETS, Config
from experiments.noise_choices.plot import draw
from experiments.noise_choices.run import experiment
from nce_jax import training
from nce_jax.toys import TOYS

pytestmark = pytest.mark.costly  # because of its compilation

PAPER, SMOKE = Config(), PRESETS["smoke"]
TINY = dataclasses.replace(SMOKE, hidden=(4,), num_points=200, plane_steps=6, plane_batch=16)


@pytest.fixture(scope="module", autouse=True)
def rank_promotion_as_distrax_needs_it():
    """distrax broadcasts samples (samples, dim) against parameters (dim,)."""
    with jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(scope="module")
def square():
    return measures.make_square(
        jax.jit(TOYS[PAPER.toy].log_density), PAPER.half_width, PAPER.num_cells
    )


@pytest.fixture(scope="module")
def plane():
    return problems.plane(TINY, jax.random.key(0))


def test_divergence_of_the_data_and_of_a_gaussian(square):
    """Zero for the data's own density; for N(0, v I) within 4 standard errors.

    The second is compared with 50,000 samples (seed 0).
    """
    own_divergence, log_z = measures.divergence(square, square.log_data + 3)
    np.testing.assert_allclose([own_divergence, log_z], [0, 3], atol=1e-4)
    phi = -jnp.sum(jnp.square(square.x), axis=-1) / 8
    actual, log_z = measures.divergence(square, phi)
    np.testing.assert_allclose(log_z, np.log(2 * np.pi * 4), atol=1e-3)
    x = np.asarray(TOYS[PAPER.toy].sample(jax.random.key(0), 50_000))
    log_data = np.asarray(jax.jit(TOYS[PAPER.toy].log_density)(x), np.float64)
    difference = log_data - stats.multivariate_normal(np.zeros(2), 4).logpdf(x)
    assert abs(actual - difference.mean()) < 4 * difference.std() / np.sqrt(difference.size)


def test_half_and_half_is_a_normalized_mixture(square):
    """Density by hand, unit mass, and equally frequent components (seed 4, 4 standard errors)."""
    first, second = (stats.norm([-6, 0], 0.5), stats.norm([2, 0], 1))
    parts = [
        distrax.MultivariateNormalDiag(jnp.array(part.mean()), jnp.array(part.std()))
        for part in (first, second)
    ]
    mixture = noises.HalfAndHalf(*parts)
    x = np.array([[-6.0, 0.5], [2.0, -1.0], [0.0, 0.0]], np.float32)
    expected = np.log(0.5 * (np.prod(first.pdf(x), axis=-1) + np.prod(second.pdf(x), axis=-1)))
    np.testing.assert_allclose(mixture.log_prob(x), expected, rtol=1e-5)
    np.testing.assert_allclose(
        measures.log_integral(mixture.log_prob(square.x), square.log_area), 0, atol=1e-4
    )
    draws, log_prob = mixture.sample_and_log_prob(seed=jax.random.key(4), sample_shape=(10_000,))
    np.testing.assert_allclose(log_prob, mixture.log_prob(draws), rtol=1e-5)
    assert abs(np.mean(draws[:, 0] < -3) - 0.5) < 4 * 0.5 / 100


def test_the_energy_begins_at_the_fitted_gaussian_and_is_normalized_there(plane):
    params, log_density_fn = problems.make_model(TINY, plane, jax.random.key(1))
    x = jnp.array([[0.0, 0.0], [3.0, -1.0], [-7.0, 2.5]])
    mean, covariance = np.mean(plane.x_train, axis=0), np.cov(plane.x_train.T, ddof=0)
    expected = stats.multivariate_normal(mean, covariance).logpdf(x)
    np.testing.assert_allclose(log_density_fn(params, x), expected, rtol=2e-3)
    params["output"]["bias"] = jnp.array([2.0])
    np.testing.assert_allclose(log_density_fn(params, x) - expected, 2, atol=2e-2)


def test_digits_are_split_by_image_and_covered_by_the_box():
    config = dataclasses.replace(PAPER, num_dequantizations=2)
    digits = problems.digits(config, jax.random.key(0))
    assert digits.x_train.shape == (2 * 1497, 64)
    assert digits.x_test.shape == (300, 64)
    levels = [
        np.floor(17 * jax.nn.sigmoid(x)).astype(int)
        for x in (digits.x_train[:1497], digits.x_train[1497:])
    ]
    # The same images in the same order, dequantized twice.
    assert (levels[0] == levels[1]).mean() > 0.999
    assert not np.array_equal(digits.x_train[:1497], digits.x_train[1497:])
    assert np.isfinite(
        noises.make(config, digits, "box", jax.random.key(0)).noise.log_prob(digits.x_train)
    ).all()


def test_a_run_is_that_of_the_train_step_by_hand(plane):
    """Parameters, F and overlap after every step, with the draws of `train`."""
    noise = noises.make(TINY, plane, "standard normal", jax.random.key(2)).noise
    key, checkpoint_steps = jax.random.key(3), train.checkpoints(TINY, plane)
    run = train.make_runner(TINY, plane, noise)(key, 2.0)
    key_begin, key_steps = jax.random.split(key)
    params, log_density_fn = problems.make_model(TINY, plane, key_begin)
    optimizer = optax.adam(TINY.learning_rate)
    by_hand = training.make_train_step(
        log_density_fn, noise, optimizer, criterion=nce_jax.criteria.nce(magnification=2.0)
    )
    step = jax.jit(by_hand)
    state, (key_data, key_step) = by_hand.init(params), jax.random.split(key_steps)
    actual = []
    for index in range(TINY.plane_steps):
        rows = jax.random.randint(
            jax.random.fold_in(key_data, index), (TINY.plane_batch,), 0, TINY.num_points
        )
        state, metrics = step(state, plane.x_train[rows], key_step)
        actual.append(metrics)
    np.testing.assert_array_equal(checkpoint_steps, [1, 2, 6])
    np.testing.assert_allclose(run.log_partition[-1], actual[-1].log_partition, atol=1e-4)
    np.testing.assert_allclose(
        run.overlap[-1], np.mean([metrics.overlap for metrics in actual[2:]]), atol=1e-4
    )
    kernel = run.params["hidden_0"]["kernel"][-1]
    np.testing.assert_allclose(kernel, state.params["hidden_0"]["kernel"], atol=1e-4)
    np.testing.assert_array_equal(run.unsolved, 0)


def test_a_noise_is_withheld_whole():
    """Two noises, two seeds: one lane of the second has too few effective samples."""
    arrays = {
        "digits_effective_samples": np.array([[[300.0, 101.0]], [[400.0, 99.0]]]),
        "min_effective_samples": 100.0,
        "digits_log_density": np.full((2, 1, 2, 3), -7.0),
        "digits_log_partition": np.array([[[1.0, 2.0]], [[0.0, 0.0]]]),
        "digits_log_gaussian": np.full(3, -10.0),
    }
    np.testing.assert_array_equal(statistics.gain(arrays), [[[2, 1]], [[np.nan, np.nan]]])
    assert statistics.mean_and_error([1.0, 3.0]) == (2.0, 1.0)


@pytest.mark.costly
def test_annealed_log_z_of_a_known_model():
    """The constant network 1.5: log Z = 1.5 by both estimates, and phi is shifted by it."""
    problem = problems.digits(SMOKE, jax.random.key(0))
    params, _ = problems.make_model(SMOKE, problem, jax.random.key(1))
    params["output"]["bias"] = jnp.array([1.5])
    actual = measures.digits_evaluator(SMOKE, problem)(params, jax.random.key(2))
    np.testing.assert_allclose([actual.log_partition, actual.bennett], 1.5, atol=1e-3)
    np.testing.assert_allclose(
        actual.log_density, problem.gaussian.log_prob(problem.x_test) + 1.5, rtol=1e-4
    )


@pytest.fixture(scope="module")
def smoke(smoke_result):
    return smoke_result("noise_choices", SMOKE, experiment)


@pytest.mark.costly
def test_the_smoke_preset_has_every_noise_and_is_drawn(smoke, tmp_path):
    arrays, count = smoke.arrays, len(SMOKE.noises)
    assert arrays["plane_divergence"].shape == (count, 1, SMOKE.num_seeds, 3)
    assert arrays["digits_log_density"].shape == (count, 1, SMOKE.num_seeds, SMOKE.num_held_out)
    assert np.isfinite(arrays["plane_divergence"]).all()
    assert statistics.headline(arrays) == smoke.headline
    results.save(tmp_path, smoke)
    stored = results.load(tmp_path, "")
    assert set(draw(stored)) == {"noise_choices_plane", "noise_choices_digits"}
    plt.close("all")
    assert (
        table.plane_table(stored.arrays).count("\n")
        == table.digits_table(stored.arrays).count("\n")
        == count + 1
    )
