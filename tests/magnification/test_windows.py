"""Drift and noise of a training, told apart where both are known."""

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax.magnification._windows import Measured, advance, combine, solve_motion, still

DRIFT, NOISE, SLOPE, DIM = 0.3, 0.02, 0.7, 40


def test_expectations_give_back_what_they_were_made_of():
    square, cross, energy, energy_cross, noise_per_drift = 6.0, 11.0, 2.5, 3.0, 0.9
    expected = Measured(
        slope=SLOPE - noise_per_drift * NOISE,
        noise_per_drift=noise_per_drift,
        curvature=DRIFT * square + NOISE * energy,
        cross=DRIFT * cross + NOISE * energy_cross,
        drift_square=square,
        drift_cross=cross,
        energy=energy,
        energy_cross=energy_cross,
    )
    motion = solve_motion(Measured(*map(jnp.float32, expected)))
    np.testing.assert_allclose(motion, (SLOPE, DRIFT, NOISE), rtol=1e-4)


def test_equal_windows_leave_everything_to_the_drift():
    motion = solve_motion(Measured(*map(jnp.float32, (0.5, 1.0, 2.0, 2.0, 4.0, 4.0, 1.0, 1.0))))
    np.testing.assert_allclose(motion, (0.5, 0.5, 0.0), rtol=1e-6)


def test_windows_keep_one_step_before_the_eighth_and_an_eighth_later():
    windows = still(jnp.zeros(2), jnp.float32)
    one = jnp.float32(1)
    for step in range(800):
        windows = advance(windows, jnp.ones(2), one, one, jnp.int32(step))
        if step == 5:
            np.testing.assert_allclose((windows.short[0], windows.drift), 1)
    # A width that grows as t / 8 lags: weights r^j reach back to where it was smaller.
    assert 70 < windows.drift < 100
    assert 120 < windows.drift_long < 200
    np.testing.assert_allclose(windows.short, windows.drift, rtol=1e-5)


def test_drift_and_noise_of_a_simulated_training_are_found():
    """Updates A mu + xi of alternating A and nu with H = I; means over 400 runs, k = 4 standard errors, seed 0."""

    def run(key):
        direction = jnp.full(DIM, (DRIFT / DIM) ** 0.5)

        def body(carry, step):
            windows, parameters = carry
            acceptance = jnp.where(step % 2 == 0, 1.0, 0.5)
            variance = jnp.where(step % 2 == 0, 2.0, 0.4)
            xi = jnp.sqrt(variance * NOISE / DIM) * jax.random.normal(jax.random.fold_in(key, step), (DIM,))
            update = acceptance * direction + xi
            return (advance(windows, update, acceptance, variance, step), parameters + xi), None

        start = still(jnp.zeros(DIM), jnp.float32), jnp.zeros(DIM)
        (windows, fluctuation), _ = jax.lax.scan(body, start, jnp.arange(100))
        # A gradient that is -SLOPE along mu plus what the noise of the past has left.
        gradient = -SLOPE * direction / DRIFT + fluctuation
        parts = gradient @ windows.short, windows.short @ windows.short, windows.short @ windows.long
        return combine(windows, *parts, jnp.float32(1))

    runs = jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), 400))
    mean = solve_motion(jax.tree.map(lambda leaf: leaf.mean(), runs))
    batches = [solve_motion(jax.tree.map(lambda leaf, i=i: leaf[i::10].mean(), runs)) for i in range(10)]
    error = np.std(batches, axis=0, ddof=1) / np.sqrt(10)
    assert np.all(np.abs(np.array(mean) - (SLOPE, DRIFT, NOISE)) < 4 * error), (mean, error)


