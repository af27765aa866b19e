"""The parts of the MNIST experiment that need no MNIST."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.common import pieces
from experiments.mnist import preprocessing, statistics, train
from experiments.mnist.config import PRESETS
from experiments.mnist.train import methods

pytestmark = pytest.mark.costly


@pytest.fixture(autouse=True)
def _rank_promotion():
    with jax.numpy_rank_promotion("allow"):
        yield


def test_every_preset_trains_the_claim_and_its_base():
    for config in PRESETS.values():
        assert {"NCE", "BAR"} <= methods(config).keys()
        assert (
            config.num_steps % config.evaluate_every
            == config.evaluate_every % config.log_every
            == 0
        )
    assert list(methods(PRESETS["cpu"]))[:5] == [
        "NCE",
        "NCE, raised rate",
        "BAR",
        "binary search",
        "Newton",
    ]
    assert methods(PRESETS["cpu"])["Newton, M = 100"].magnification == 100


def test_enlarged_digits_stand_in_for_mnist():
    loaded = preprocessing.load("digits", jax.random.key(0))
    assert (loaded.train.shape, loaded.test.shape) == ((1500, 784), (297, 784))
    assert loaded.train.dtype == jnp.uint8
    assert loaded.train.max() > 230
    assert ((loaded.test >= 0) & (loaded.test < 1)).all()
    sample, log_q = loaded.noise.sample_and_log_prob(seed=jax.random.key(1), sample_shape=(3,))
    assert sample.shape == (3, 784)
    assert np.isfinite(log_q).all()


def test_a_batch_depends_on_its_step_alone_and_keeps_the_gray_levels():
    train = jnp.arange(10, dtype=jnp.uint8)[:, None] * jnp.ones((1, 4), jnp.uint8)
    batch = preprocessing.batch_fn(train, 64, jax.random.key(0))
    np.testing.assert_array_equal(batch(3), batch(3))
    assert not np.array_equal(batch(3), batch(4))
    levels = np.floor(np.asarray(batch(3)) * 256)
    assert (levels == levels[:, :1]).all()  # every row is one of the images
    assert set(levels[:, 0]) <= set(range(10))


def test_a_finished_training_is_read_by_an_interrupted_run(tmp_path, monkeypatch):
    monkeypatch.setattr(pieces, "RUNS", tmp_path)
    params = {"a": jnp.arange(3.0), "b": {"c": jnp.ones((2, 2))}}
    history = {"loss": np.array([2.0, 1.0]), "step": np.array([1, 2])}
    trained = train.Trained(params, 0.25, history, {"held_out_loss": np.array([1.5])})

    def fit(config, data, model, method, key, folder):
        (folder / "checkpoints").mkdir(parents=True)
        return trained

    monkeypatch.setattr(train, "_fit", fit)
    config, model = PRESETS["smoke"], train.Model(params, None)
    arguments = config, None, model, "Newton, M = 2.5-0", None, jax.random.key(0)
    for _ in range(2):
        actual = train.train(*arguments)
        assert jax.tree.structure(actual) == jax.tree.structure(trained)
        for one, other in zip(jax.tree.leaves(actual), jax.tree.leaves(trained), strict=True):
            np.testing.assert_array_equal(one, other)
        monkeypatch.setattr(train, "_fit", lambda *_: pytest.fail("trained again"))
    folder = pieces.folder("mnist", config, train.COMPUTING)
    assert [path.name for path in folder.iterdir() if path.suffix] == ["Newton,-M-=-2.5-0.npz"]
    assert not any(path.is_dir() for path in folder.iterdir())
    pieces.remove([folder])
    assert not folder.exists()


def test_blocks_are_the_whole():
    x = jnp.arange(12.0).reshape(6, 2)
    np.testing.assert_array_equal(
        preprocessing.in_blocks(lambda rows: rows.sum(axis=1), x, largest=4), x.sum(axis=1)
    )


def test_orders_of_magnitude_and_gains_are_what_they_say():
    losses = np.array([np.full((2, 10), 1e-2), np.full((2, 10), 1e-5)])
    arrays = {
        "methods": np.array(["NCE", "BAR"]),
        "noise_bits": np.array(5.0),
        "held_out_loss": losses,
        "train_loss": losses,
        "eval_test_log_ratio": np.array([[1.0, 3.0], [5.0, 7.0]]),
        "eval_log_partition": np.array([0.5, 1.0]),
        "eval_standard_error": np.zeros(2),
    }
    numbers = statistics.headline(arrays)
    np.testing.assert_allclose(numbers["orders_below_NCE_BAR"], 3)
    np.testing.assert_allclose([numbers["gain_NCE"], numbers["gain_BAR"]], [1.5, 5.0])
    np.testing.assert_allclose(statistics.gains(arrays)[1], np.sqrt(2) / np.sqrt(2))


def test_the_late_loss_is_a_median_of_the_last_fifth_with_a_floor():
    np.testing.assert_allclose(
        statistics.late_median(np.array([*[1.0] * 12, 1e-2, 1e-4, 1e-6])), 1e-4
    )
    assert statistics.late_median(np.zeros(5)) == 1e-12
