"""toy_2d: measures with known values, paths of the train step, and the smoke preset."""

import dataclasses

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import pytest

from experiments.common import results
from experiments.toy_2d.config import PRESETS, Config
from experiments.toy_2d.measures import imbalance, make_square, measure
from experiments.toy_2d.plot import draw
from experiments.toy_2d.run import experiment, resize
from experiments.toy_2d.statistics import excess_loss, headline
from experiments.toy_2d.train import checkpoints, make_model, noise, train
from nce_jax import training
from nce_jax.toys import TOYS

pytestmark = pytest.mark.costly

PAPER, SMOKE = Config(), PRESETS["smoke"]
TINY = dataclasses.replace(
    SMOKE, hidden=(4,), num_steps=5, batch_size=16, num_checkpoints=2, reported_steps=(2, 3, 5, 5)
)

MEASURE = jax.jit(measure)  # as in the experiment, and sooner than one operation at a time


@pytest.fixture(scope="module", autouse=True)
def rank_promotion_as_distrax_needs_it():
    """distrax broadcasts samples (samples, dim) against parameters (dim,).

    The setting is for all threads, since the experiment runs several.
    """
    before = jax.config.jax_numpy_rank_promotion
    jax.config.update("jax_numpy_rank_promotion", "allow")
    yield
    jax.config.update("jax_numpy_rank_promotion", before)


@pytest.fixture(scope="module", params=PAPER.toys)
def toy(request):
    return TOYS[request.param]


@pytest.fixture(scope="module")
def square(toy):
    return make_square(
        jax.jit(toy.log_density), noise(PAPER).log_prob, PAPER.half_width, PAPER.num_cells
    )


def heights(toy):
    return jax.jit(toy.log_density)(jnp.asarray(toy.centers, jnp.float32))


def test_the_data_as_a_model_have_nothing_left_to_learn(toy, square):
    """Zero divergence up to a constant, which is log Z and F*.

    Modes are equal by symmetry, and no other F has a smaller loss.
    """
    actual = MEASURE(square, square.log_data + 3, heights(toy) + 3, jnp.float32(3))
    np.testing.assert_allclose(actual.divergence, 0, atol=2e-5)
    np.testing.assert_allclose([actual.log_partition, actual.profiled], 3, atol=1e-4)
    np.testing.assert_allclose(actual.heights, heights(toy), atol=1e-4)
    np.testing.assert_allclose(imbalance(np.asarray(actual.heights)), 0, atol=1e-5)
    assert actual.outside < 1e-6
    for shift in (-0.3, 0.3):
        assert (
            MEASURE(square, square.log_data, heights(toy), jnp.float32(shift)).loss
            > actual.loss + 1e-3
        )


def test_profiled_f_minimizes_the_loss_at_every_magnification_and_noise_ratio(toy, square):
    """Of a wrong model, whose F* depends on kappa."""
    phi, at_modes = square.log_data / 2, heights(toy)
    found = {}
    for options in ((1.0, 1.0), (10.0, 1.0), (1.0, 10.0)):
        f = MEASURE(square, phi, at_modes, jnp.float32(0), *options).profiled
        losses = [MEASURE(square, phi, at_modes, f + shift, *options).loss for shift in (-1, 0, 1)]
        assert losses[1] < min(losses[0], losses[2])
        found[options] = float(f)
    assert len(set(np.round(list(found.values()), 2))) > 1


def test_the_noise_as_a_model_against_monte_carlo(toy, square):
    """KL(p* || q) within 4 standard errors of 20,000 samples (seed 0).

    Two equal densities have a loss of 2 log 2.
    """
    actual = MEASURE(square, square.log_noise, heights(toy), jnp.float32(0))
    x = toy.sample(jax.random.key(0), 20_000)
    difference = np.asarray(jax.jit(toy.log_density)(x) - noise(PAPER).log_prob(x), np.float64)
    error = difference.std(ddof=1) / np.sqrt(difference.size)
    assert error < 0.02
    assert abs(actual.divergence - difference.mean()) < 4 * error
    np.testing.assert_allclose(actual.loss, 2 * np.log(2), rtol=1e-5)


def test_a_resized_toy_keeps_its_mass_and_moves_its_modes(toy):
    small = resize(toy, 0.5)
    actual = make_square(
        jax.jit(small.log_density), noise(PAPER).log_prob, PAPER.half_width, PAPER.num_cells
    )
    mass = jnp.exp(jax.jit(small.log_density)(actual.x) + actual.log_area).sum()
    # Half the size, so cells as wide as a petal's standard deviation.
    np.testing.assert_allclose(mass, 1, atol=2e-3)
    x = jnp.asarray(small.centers, jnp.float32)
    np.testing.assert_allclose(small.log_density(x), heights(toy) + 2 * np.log(2), rtol=1e-5)
    key = jax.random.key(4)
    np.testing.assert_allclose(2 * small.sample(key, 5), toy.sample(key, 5), rtol=1e-6)


def test_log_partition_of_a_gaussian_energy(square):
    """phi = 1 - |x - a|^2 / 2 v: log Z = 1 + log(2 pi v); a wide one has mass far out."""
    center, variance = jnp.array([0.7, -1.1]), 0.3
    phi = 1 - jnp.sum(jnp.square(square.x - center), axis=-1) / (2 * variance)
    actual = MEASURE(square, phi, jnp.zeros(5), jnp.float32(0))
    np.testing.assert_allclose(actual.log_partition, 1 + np.log(2 * np.pi * variance), atol=1e-5)
    flat = MEASURE(square, jnp.zeros(square.x.shape[0]), jnp.zeros(5), jnp.float32(0))
    np.testing.assert_allclose(flat.log_partition, 2 * np.log(16), atol=1e-5)
    np.testing.assert_allclose(flat.outside, 1 - (12 / 16) ** 2, atol=1e-5)


def test_imbalance_by_hand():
    np.testing.assert_allclose(imbalance(np.array([[1.0, 3.0], [2.0, 2.0]])), [1, 0])


def test_a_path_is_that_of_the_train_step_by_hand():
    """Entry k: parameters after k updates, F, and the mean loss since the previous entry.

    With BAR: at a solved F the network's last bias has no gradient but rounding, which Adam blows
    up to its learning rate.
    """
    toy = TOYS["8-gaussians"]
    keys = jax.random.split(jax.random.key(3), 1)
    treatment = training.bar_step()
    path = train(TINY, toy, "energy", treatment, keys)
    key_model, key_data, key_noise = jax.random.split(keys[0], 3)
    params, log_density_fn = make_model(TINY, "energy", key_model)
    optimizer = optax.adam(TINY.learning_rate)
    by_hand = training.make_train_step(log_density_fn, noise(TINY), optimizer, treatment=treatment)
    state, step = by_hand.init(params), jax.jit(by_hand)
    losses = []
    for index in range(TINY.num_steps + 1):
        before = state
        state, metrics = step(
            state, toy.sample(jax.random.fold_in(key_data, index), TINY.batch_size), key_noise
        )
        losses.append(metrics.loss)
    np.testing.assert_array_equal(checkpoints(TINY), [0, 1, 2, 3, 5])
    expected = [*losses[:4], (losses[4] + losses[5]) / 2]
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(path.loss[0], expected, rtol=1e-5)
    np.testing.assert_allclose(path.log_partition[0, -1], metrics.log_partition, rtol=1e-5)
    for actual, leaf in zip(
        jax.tree.leaves(path.params), jax.tree.leaves(before.params), strict=True
    ):
        np.testing.assert_allclose(actual[0, -1], leaf, rtol=1e-4, atol=1e-6)


def test_readings_differ_by_the_noise():
    x = jax.random.normal(jax.random.key(1), (7, 2))
    (params, energy), (ratio_params, ratio) = (
        make_model(TINY, reading, jax.random.key(2)) for reading in ("energy", "ratio")
    )
    np.testing.assert_allclose(
        ratio(ratio_params, x) - energy(params, x), noise(TINY).log_prob(x), rtol=1e-5
    )
    np.testing.assert_allclose(noise(TINY).variance(), 2)


@pytest.fixture(scope="module")
def smoke(smoke_result):
    return smoke_result("toy_2d", SMOKE, experiment)


def test_the_smoke_preset_learns_and_its_solvers_agree(smoke):
    arrays, num_records = smoke.arrays, checkpoints(SMOKE).size
    for reading, count in (("energy", 5), ("ratio", 4)):
        assert arrays[f"pinwheel_{reading}_heights"].shape == (
            count,
            SMOKE.num_seeds,
            num_records,
            5,
        )
        assert arrays[f"pinwheel_{reading}_map"].shape == (
            count,
            3,
            SMOKE.num_cells,
            SMOKE.num_cells,
        )
        excess = excess_loss(arrays, f"pinwheel_{reading}")
        assert excess.shape == (count, SMOKE.num_seeds, num_records)
        assert (excess[..., -1] < excess[..., 0]).all()
    search, newton = arrays["pinwheel_energy_divergence"][3:]
    np.testing.assert_allclose(search, newton, rtol=1e-2)
    assert smoke.failed_lanes == {}
    last = excess_loss(arrays, "pinwheel_ratio")[2, :, -1]
    np.testing.assert_allclose(headline(arrays)["pinwheel_ratio_bar_excess_200"], last.mean())


def test_plots_come_from_stored_results(smoke, tmp_path):
    results.save(tmp_path, smoke)
    figures = draw(results.load(tmp_path, ""))
    names = ("figure_11", "figure_12", "figure_12_ratio", "measures_pinwheel", "starts", "sizes")
    assert set(figures) == {f"toy_2d_{name}" for name in names}
    plt.close("all")
