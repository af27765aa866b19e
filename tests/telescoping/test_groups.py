"""`fit_telescope` holds groups out whole, and warns of arrays that look dependent."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nce_jax
from nce_jax.telescoping._fit import fit as fit_module
from nce_jax.telescoping._fit.pair_sampler import make_pair_sampler

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
LABELS = np.repeat(np.arange(40), 10)
# The label of a sample is its first coordinate, so that a draw shows where each group went.
X_DATA = np.stack([LABELS, RNG.normal(size=400)], 1).astype(np.float32)
X_NOISE = X_DATA[RNG.permutation(400)]


def draw_normal(key, count):
    return jax.random.normal(key, (count, 2))


def linear(theta, x):
    return x @ theta


def labels_drawn(draw, side):
    return set(np.asarray(draw(KEY, 2000)[side])[:, 0].tolist())


def test_a_group_is_on_one_side_of_the_split_in_both_sets():
    labels = X_DATA[:, 0], X_NOISE[:, 0]
    sampler = make_pair_sampler(KEY, X_DATA, X_NOISE, is_holding_out=True, labels=labels)
    for side in (0, 1):
        trained = labels_drawn(sampler.draw, side)
        assert trained == labels_drawn(sampler.draw, 0)
        held_out = labels_drawn(sampler.draw_held_out, side)
        assert not trained & held_out
        assert len(trained | held_out) == 40
    assert sampler.num_data == 320
    assert sampler.num_held_out == 80


def test_labels_of_data_go_with_noise_that_is_drawn_or_independent():
    for noise in (draw_normal, X_NOISE):
        sampler = make_pair_sampler(KEY, X_DATA, noise, is_holding_out=True, labels=(LABELS, None))
        assert not labels_drawn(sampler.draw, 0) & labels_drawn(sampler.draw_held_out, 0)
        assert sampler.num_held_out == 80


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("sources", "labels", "is_holding_out", "message"),
    [
        ((X_DATA, X_NOISE), (LABELS, None), False, "groups_data: expected None for Newton's"),
        ((draw_normal, draw_normal), (LABELS, None), True, "groups_data: expected None where x_d"),
        ((X_DATA, draw_normal), (None, LABELS), True, "groups_noise: expected None where x_noise"),
        ((X_DATA, X_NOISE), (None, LABELS[:5]), True, "groups_noise: expected one label per samp"),
    ],
)
def test_labels_without_effect_are_refused(sources, labels, is_holding_out, message):
    with pytest.raises(ValueError, match=message):
        make_pair_sampler(KEY, *sources, is_holding_out=is_holding_out, labels=labels)


REPEATED = np.repeat(RNG.normal(size=(60, 2)), 5, axis=0)
INDEPENDENT = RNG.normal(size=(300, 2))


class Stop(Exception):
    """Ends a fit before it trains."""


def messages(monkeypatch, *args, **options):
    def stop(*_, **__):
        raise Stop

    monkeypatch.setattr(fit_module, "progress_bar", stop)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(Stop):
            nce_jax.fit_telescope(KEY, *args, model=(jnp.zeros(2), linear), **options)
    return [str(entry.message) for entry in caught if "fit_telescope: " in str(entry.message)]


def test_samples_that_look_dependent_are_named_with_the_cure(monkeypatch):
    (newton,) = messages(monkeypatch, REPEATED, INDEPENDENT)
    assert "x_data: 300 of 300 samples occur more than once" in newton
    assert "one sample per group" in newton
    groups = np.repeat(np.arange(60), 5)
    adam = {"optimizer": optax.adam(1e-3)}
    assert "pass groups_data" in messages(monkeypatch, REPEATED, INDEPENDENT, **adam)[0]
    assert messages(monkeypatch, REPEATED, INDEPENDENT, groups_data=groups, **adam) == []
    # Labels of the data do not silence the alarm of the noise.
    (of_noise,) = messages(monkeypatch, REPEATED, REPEATED + 1, groups_data=groups, **adam)
    assert "x_noise: " in of_noise
    assert "x_data: " not in of_noise
