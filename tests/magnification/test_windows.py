"""Drift and noise of a training, told apart where both are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nce_jax.magnification._windows import (
    Measurements,
    advance,
    combine,
    initial_windows,
    solve_motion,
)

DRIFT, NOISE, SLOPE, DIM = 0.3, 0.02, 0.7, 40


@jax.jit
def windows_after(updates, acceptance, variance):
    """The windows after every step, from the steps' updates (steps, ...), A and nu."""

    def body(windows, step):
        windows = advance(windows, updates[step], acceptance[step], variance[step], step)
        return windows, windows

    start = initial_windows(updates[0], acceptance.dtype)
    return jax.lax.scan(body, start, jnp.arange(len(acceptance)))[1]


def weights(steps: int, lag: float) -> np.ndarray:
    """r_j of every past update after `steps` steps: what is kept at a width of `lag` eighths of the
    steps, or `lag`.
    """
    keep = [1 - 1 / (lag * max(1, (step + 1) / 8)) for step in range(steps)]
    return np.array([np.prod(keep[j + 1 :]) for j in range(steps)])


def history(steps=60, seed=0):
    generator = np.random.default_rng(seed)
    return (
        generator.uniform(0.1, 1, steps),
        generator.uniform(0.1, 2, steps),
        generator.standard_normal((steps, 3)),
    )


def test_the_windows_hold_the_sums_that_belong_to_their_displacements(x64):
    a, nu, updates = history()
    windows = windows_after(updates, a, nu)
    for steps in (1, 5, 8, 9, 20, 60):
        r, long = weights(steps, 1), weights(steps, 2)
        expected = {
            "short": r @ updates[:steps],
            "long": long @ updates[:steps],
            "drift": r @ a[:steps],
            "drift_long": long @ a[:steps],
            "noise_square": r**2 @ nu[:steps],
            "noise_cross": (r * long) @ nu[:steps],
            "noise": r @ nu[:steps],
        }
        for name, value in expected.items():
            np.testing.assert_allclose(
                getattr(windows, name)[steps - 1], value, rtol=1e-10, err_msg=f"{name} {steps}"
            )


def test_the_short_window_is_one_step_wide_up_to_the_eighth_and_then_grows(x64):
    ones = np.ones(800)
    windows = windows_after(np.ones((800, 2)), ones, ones)
    np.testing.assert_allclose(windows.drift[:8], 1)
    np.testing.assert_allclose(windows.drift_long[:8], 2 * (1 - 0.5 ** np.arange(1, 9)))
    assert windows.drift[8] > 1
    assert np.all(np.diff(windows.drift[8:]) > 0)
    # A width that grows as t / 8 lags: the weights reach back to where it was smaller. W with dW/dt
    # = 1 - 8 W / t is t / 9.
    np.testing.assert_allclose(windows.drift[-1], 800 / 9, rtol=0.02)
    np.testing.assert_allclose(windows.drift_long[-1], 800 / 5, rtol=0.02)


def test_exact_expectations_give_back_what_they_were_made_of(x64):
    """Through every stage, with a history of unequal A and nu and the loss at yet another
    acceptance.
    """
    a, nu, updates = history()
    path = windows_after(updates, a, nu)
    for steps in (3, 9, 60):
        r, long = weights(steps, 1), weights(steps, 2)
        (drift, drift_long), energy, cross = (
            (r @ a[:steps], long @ a[:steps]),
            r**2 @ nu[:steps],
            (r * long) @ nu[:steps],
        )
        acceptance = 0.37
        parts = (
            acceptance * (-SLOPE * drift + NOISE * (r @ nu[:steps])),
            acceptance * (DRIFT * drift**2 + NOISE * energy),
            acceptance * (DRIFT * drift * drift_long + NOISE * cross),
        )
        windows = jax.tree.map(lambda leaf, steps=steps: leaf[steps - 1], path)
        motion = solve_motion(combine(windows, *map(jnp.asarray, parts), jnp.asarray(acceptance)))
        np.testing.assert_allclose(motion, (SLOPE, DRIFT, NOISE), rtol=1e-8)


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        # slope, noise_per_drift, curvature, cross,
        # drift_square, drift_cross, noise_square, noise_cross
        ((0.5, 1.0, 2.0, 2.0, 4.0, 4.0, 1.0, 1.0), (0.5, 0.5, 0.0)),  # equal windows
        ((0.0,) * 8, (0.0, 0.0, 0.0)),  # nothing has moved
        (
            (0.5, 1.0, 2.0, 9.0, 4.0, 8.0, 1.0, 1.0),
            (0.5, 0.5, 0.0),
        ),  # a negative estimate of the noise counts as none
        (
            (0.5, 1.0, 2.0, 0.0, 4.0, 8.0, 1.0, 1.0),
            (2.5, 0.0, 2.0),
        ),  # all noise, and no more than there is motion
        ((0.5, 1.0, -2.0, 0.0, 4.0, 8.0, 1.0, 1.0), (-1.5, 0.0, -2.0)),
    ],
)
def test_degenerate_and_impossible_measurements(measured, expected):
    motion = solve_motion(Measurements(*map(jnp.float32, measured)))
    assert np.all(np.isfinite(motion))
    np.testing.assert_allclose(motion, expected, rtol=1e-6)


def test_drift_and_noise_of_a_simulated_training_are_found():
    """Updates A mu + xi of alternating A and nu with H = I; means over 400 runs, k = 4 standard
    errors, seed 0.
    """

    def run(key):
        direction = jnp.full(DIM, (DRIFT / DIM) ** 0.5)

        def body(carry, step):
            windows, parameters = carry
            acceptance = jnp.where(step % 2 == 0, 1.0, 0.5)
            variance = jnp.where(step % 2 == 0, 2.0, 0.4)
            xi = jnp.sqrt(variance * NOISE / DIM) * jax.random.normal(
                jax.random.fold_in(key, step), (DIM,)
            )
            update = acceptance * direction + xi
            return (advance(windows, update, acceptance, variance, step), parameters + xi), None

        start = initial_windows(jnp.zeros(DIM), jnp.float32), jnp.zeros(DIM)
        (windows, fluctuation), _ = jax.lax.scan(body, start, jnp.arange(100))
        # A gradient that is -SLOPE along mu plus what the noise of the past has left.
        gradient = -SLOPE * direction / DRIFT + fluctuation
        parts = (
            gradient @ windows.short,
            windows.short @ windows.short,
            windows.short @ windows.long,
        )
        return combine(windows, *parts, jnp.float32(1))

    runs = jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), 400))
    mean = solve_motion(jax.tree.map(lambda leaf: leaf.mean(), runs))
    batches = [
        solve_motion(jax.tree.map(lambda leaf, i=i: leaf[i::10].mean(), runs)) for i in range(10)
    ]
    error = np.std(batches, axis=0, ddof=1) / np.sqrt(10)
    assert np.all(np.abs(np.array(mean) - (SLOPE, DRIFT, NOISE)) < 4 * error), (mean, error)
