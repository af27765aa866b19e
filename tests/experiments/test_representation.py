"""representation: views, encoder and probe by hand; the smoke preset runs and plots."""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest

from experiments.common import results
from experiments.representation import images
from experiments.representation.config import PRESETS, Config
from experiments.representation.measures import accuracy
from experiments.representation.plot import draw
from experiments.representation.run import experiment
from experiments.representation.train import embed, init, losses

CONFIG = PRESETS["smoke"]


def test_the_digits_are_split_once_and_for_all():
    split = images.load(Config(), "digits")
    assert (len(split.x_train), len(split.x_test)) == (1437, 360)
    assert split.x_train.max() == 1
    assert images.load(CONFIG, "digits").x_train.shape == (300, 8, 8)


def test_a_view_keeps_the_size_and_changes_with_the_key():
    x = jnp.ones((5, 28, 28))
    one, repeated_view, other = (images.view(jax.random.key(seed), x) for seed in (0, 0, 1))
    assert one.shape == x.shape
    np.testing.assert_array_equal(one, repeated_view)
    assert not np.allclose(one, other)
    # A square of 9 x 9 is erased, and what is left is dimmed: with moves of up to 3, most pixels
    # still shine.
    shining = (np.asarray(one) > 0.4).mean((1, 2))
    assert ((shining > 0.6) & (shining < 0.92)).all()


@pytest.mark.costly
def test_embeddings_have_length_one_and_every_loss_a_gradient():
    params = init(CONFIG, jax.random.key(0), 64)
    x = jax.random.uniform(jax.random.key(1), (6, 8, 8))
    np.testing.assert_allclose(jnp.linalg.norm(embed(params, x), axis=-1), 1, rtol=1e-5)
    assert np.isfinite(embed(params, jnp.zeros_like(x))).all()
    for name, loss in losses(CONFIG).items():
        slope = jax.grad(lambda p, loss=loss: loss(embed(p, x), embed(p, x[::-1]), 0.2, p["bias"]))(
            params
        )
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope)), name
        assert np.abs(slope["hidden"]).max() > 0, name


def test_the_probe_separates_what_is_separable():
    split = images.load(CONFIG, "digits")
    one_hot = [np.eye(10)[labels] for labels in (split.y_train, split.y_test)]
    assert accuracy(*one_hot, split) == 1.0
    noise = [
        np.random.default_rng(0).normal(size=(len(labels), 5))
        for labels in (split.y_train, split.y_test)
    ]
    assert accuracy(*noise, split) < 0.25


@pytest.mark.costly
def test_the_smoke_preset_runs_and_is_drawn(smoke_result, tmp_path):
    result = smoke_result("representation", CONFIG, experiment)
    assert result.arrays["digits_accuracy"].shape == (len(losses(CONFIG)), 1, 1, CONFIG.num_seeds)
    assert result.arrays["digits_picture"].shape == (CONFIG.num_shown, 2)
    assert 0.2 < result.headline["digits_infonce"] < 1
    results.save(tmp_path, result)
    assert set(draw(results.load(tmp_path, ""))) == {
        "representation_accuracy",
        "representation_digits",
    }
    plt.close("all")
