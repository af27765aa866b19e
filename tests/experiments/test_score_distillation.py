"""Score identity distillation against the closed form of Gaussians."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.common import score_distillation

KEY = jax.random.key(0)
LEVEL, CENTER, STD = 0.7, 0.5, 0.8
"""The noise level, and the teacher's mean and standard deviation."""
MEAN, WIDTH = 1.3, 1.5
"""The generator's mean and standard deviation."""
A, B = 1 / (STD**2 + LEVEL**2), 1 / (WIDTH**2 + LEVEL**2)
"""Inverse variances of noised samples of teacher and generator."""
SHIFT = MEAN - CENTER


def _denoiser(mean, std):
    def denoise(y, level):
        level = score_distillation.of_samples(level, y)
        return (level**2 * mean + std**2 * y) / (std**2 + level**2)

    return denoise


def _losses(params, key, alpha):
    """Losses of single samples, weighted such that they match scores; the fake score is exact."""
    z = jax.random.normal(key, (1, 1))
    x = params[0] + params[1] * z
    level = jnp.full(1, LEVEL)
    return score_distillation.score_identity_loss(
        _denoiser(CENTER, STD), _denoiser(MEAN, WIDTH), x, level, jax.random.fold_in(key, 1),
        alpha=alpha, weights=level**-4,
    )  # fmt: skip


@pytest.mark.parametrize("alpha", [0.0, 1.0, 1.2])
def test_with_an_exact_fake_score_it_is_explicit_score_matching(alpha):
    """Scores -A (y - c) and -B (y - m): E of their squared difference is (B-A)^2/B + (A d)^2."""
    keys = jax.random.split(KEY, 100_000)
    losses = jax.vmap(lambda key: _losses(jnp.array([MEAN, WIDTH]), key, alpha))(keys)
    expected = (1 - alpha) * ((B - A) ** 2 / B + (A * SHIFT) ** 2)
    error = losses.std() / len(keys) ** 0.5
    assert abs(losses.mean() - expected) < 4 * error
    assert error < 0.01


@pytest.mark.parametrize("alpha", [0.0, 1.0, 1.2])
def test_its_gradient_is_that_of_the_closed_form(alpha):
    """With g fixed: 2 (1 - a) E[h h'] + E[h' (g - e)] + E[h g'] along x, and along z x."""
    keys = jax.random.split(jax.random.key(1), 100_000)
    gradient = jax.vmap(
        lambda key: jax.grad(_losses)(jnp.array([MEAN, WIDTH]), key, alpha)
    )(keys)  # fmt: skip
    of_mean = A * B * SHIFT - 2 * (1 - alpha) * (B - A) * A * SHIFT
    of_width = 2 * B * WIDTH * (A - B) + 2 * (1 - alpha) * WIDTH * (B - A) ** 2
    errors = gradient.std(axis=0) / len(keys) ** 0.5
    assert np.all(np.abs(gradient.mean(axis=0) - jnp.array([of_mean, of_width])) < 4 * errors)
    assert np.all(errors < 0.01)
    if alpha == 1:  # a generator that is too wide and too far to the right: both fall
        assert of_mean > 0
        assert of_width > 0


@pytest.mark.parametrize("weights", [None, jnp.linspace(1.0, 2.0, 6)])
def test_its_gradient_vanishes_where_generator_and_teacher_agree(weights):
    """For every sample, not in the mean alone; for images as for vectors."""
    teacher = _denoiser(CENTER, STD)

    def loss(x, fake):
        level = jnp.linspace(0.1, 2.0, 6)
        return score_distillation.score_identity_loss(
            teacher, fake, x, level, KEY, alpha=1.0, weights=weights
        )

    x = jax.random.normal(KEY, (6, 3, 4))
    np.testing.assert_array_equal(jax.grad(loss)(x, teacher), 0)
    assert np.all(jax.grad(loss)(x, _denoiser(CENTER, 2 * STD)) != 0)


def test_the_papers_weights_make_it_of_the_degree_of_the_samples():
    """Twice the samples, levels and denoisers: terms of degree two over an error of degree one."""

    def loss(factor):
        x = factor * jax.random.normal(KEY, (5, 2))
        return score_distillation.score_identity_loss(
            _denoiser(0.0, factor * STD), _denoiser(0.0, factor * WIDTH), x,
            factor * jnp.linspace(0.5, 1.0, 5), KEY,
        )  # fmt: skip

    np.testing.assert_allclose(loss(2.0), 2 * loss(1.0), rtol=1e-5)


def test_denoising_finds_the_conditional_mean():
    """Among a + b y, the weighted error is least at E[x | y], a line for normal x."""

    def loss(params, x, target=None):
        def denoise(y, level):
            return params[0] + params[1] * y

        level = jnp.full(len(x), LEVEL)
        return score_distillation.denoising_loss(denoise, x, level, KEY, target=target)

    x = CENTER + STD * jax.random.normal(jax.random.key(2), (50_000, 1))
    slope = STD**2 / (STD**2 + LEVEL**2)
    best = jnp.array([(1 - slope) * CENTER, slope])
    # The gradient's standard error: that of a mean of 50,000 products of size about 3.
    np.testing.assert_allclose(jax.grad(loss)(best, x), 0, atol=4 * 3 / 50_000**0.5)
    assert np.abs(jax.grad(loss)(best + 0.2, x)).min() > 0.3
    assert loss(best, x, _denoiser(CENTER, STD)) < 1e-10


def test_a_network_of_zeros_is_the_denoiser_of_normal_data():
    denoise = score_distillation.preconditioned(lambda y, time: jnp.zeros_like(y), STD)
    y, level = jnp.array([[1.0, 2.0], [-3.0, 0.5]]), jnp.array([0.1, 2.0])
    np.testing.assert_allclose(denoise(y, level), _denoiser(0.0, STD)(y, level), rtol=1e-6)


def test_levels_are_uniform_in_their_logarithms():
    level = score_distillation.log_uniform_levels(KEY, 10_000, 0.1, 10.0)
    assert level.min() >= 0.1
    assert level.max() <= 10.0
    place = np.log10(level) / 2 + 0.5
    assert abs(place.mean() - 0.5) < 4 / (12 * 10_000) ** 0.5


def test_errors_of_a_denoiser_have_the_weights_of_karras():
    """An error of s l / sqrt(s^2 + l^2), at levels l of data of scale s, counts as one at all l."""
    level = jnp.linspace(0.1, 3.0, 8)
    teacher = _denoiser(CENTER, STD)

    def denoise(y, level):
        return teacher(y, level) + (level * STD / jnp.sqrt(level**2 + STD**2))[:, None]

    loss = score_distillation.denoising_loss(
        denoise, jnp.ones((8, 3)), level, KEY, target=teacher, scale=STD
    )
    np.testing.assert_allclose(loss, 1, rtol=1e-5)
