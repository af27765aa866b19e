"""The candidates' table against a NumPy oracle in float64, its identities, and the error of
`overlooked` by simulation.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nce_jax.log_partition.problem import make_problem
from nce_jax.magnification._candidates import MIN_EFFECTIVE, sample_derivatives, tabulate
from tests import oracles

GRID = np.array([0.1, 1.0, 10.0, 100.0, 1e4])
PER_CANDIDATE = ("acceptance", "variance", "overlooked", "overlooked_variance")


@jax.jit
def compiled(s_data, s_noise, weights_data, weights_noise, ratio, grid):
    equation_at = lambda m: make_problem(s_data, s_noise, weights_data, weights_noise, m, ratio)
    return tabulate(equation_at, grid, jnp.full(grid.shape, jnp.nan, s_data.dtype))


pytestmark = pytest.mark.usefixtures("x64")


def table(s_data, s_noise, weights_data=None, weights_noise=None, ratio=1.0, grid=GRID):
    return compiled(s_data, s_noise, weights_data, weights_noise, ratio, jnp.asarray(grid))


def draws(
    seed: int, n: int = 300, m: int = 500, theta: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Log ratios of the tilt theta of N(0, 1) on data N(2, 1) and on noise."""
    generator = np.random.default_rng(seed)
    return theta * (2 + generator.standard_normal(n)), theta * generator.standard_normal(m)


def random_weights(seed: int, n: int = 300, m: int = 500) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return tuple(
        generator.exponential(size=size) * (generator.uniform(size=size) < 0.8) for size in (n, m)
    )


def oracle(
    s_data, s_noise, weights_data=None, weights_noise=None, ratio=1.0, grid=GRID
) -> dict[str, np.ndarray]:
    shares = oracles.shares(s_data, weights_data), oracles.shares(s_noise, weights_noise)
    n, m = (1 / np.square(weights).sum() for weights in shares)
    rows, influences = [], []
    for kappa in ratio * grid:
        f = oracles.root(
            s_data, s_noise, kappa=kappa, weights_data=weights_data, weights_noise=weights_noise
        )
        p, q = oracles.probabilities(s_data, s_noise, f, kappa)
        a, moment = shares[0] @ p, kappa * (shares[0] @ (p * (1 - p)))
        slope = shares[0] @ (p * (1 - p)) + kappa * (shares[1] @ (q * (1 - q)))
        influences.append(((p - a) / slope, kappa * (q - shares[1] @ q) / slope))
        rows.append(
            (
                f,
                a,
                shares[0] @ p**2 + n / m * moment,
                m * a**2 / max(moment, kappa**2 * (shares[1] @ q**2)),
            )
        )
    f, acceptance, variance, effective = np.array(rows).T
    largest = np.flatnonzero((effective >= MIN_EFFECTIVE) | (grid <= 1)).max()
    # F(largest) - F(M): to first order the mean of the samples' influences, data and noise
    # independent of each other.
    spread = [
        sum(
            weights @ (one - best) ** 2 / count
            for weights, one, best, count in zip(
                shares, influence, influences[largest], (n, m), strict=True
            )
        )
        for influence in influences
    ]
    below = np.arange(len(grid)) < largest
    return {
        "log_partition": f,
        "acceptance": acceptance,
        "variance": variance,
        "overlooked": np.where(below, f[largest] - f, 0),
        "overlooked_variance": np.where(below, spread, 0),
        "largest_supported": largest,
    }


@pytest.mark.parametrize("is_weighted", [False, True])
def test_the_table_equals_the_formulas(is_weighted):
    """300 data and 500 noise samples; too flat a tilt, and one so steep that little is
    supported.
    """
    largest = set()
    for theta, ratio in ((1.0, 1.0), (1.0, 3.0), (3.0, 1.0)):
        inputs = (
            *draws(0, theta=theta),
            *(random_weights(1) if is_weighted else (None, None)),
            ratio,
        )
        actual, expected = table(*inputs), oracle(*inputs)
        for name, value in expected.items():
            np.testing.assert_allclose(
                getattr(actual, name), value, rtol=1e-8, atol=1e-12, err_msg=name
            )
        largest.add(int(actual.largest_supported))
    assert len(largest) > 1


def test_pulls_and_curvatures_are_those_of_the_loss():
    """Pulls: minus the loss's slope by each data sample's log ratio, and the slope by each noise
    sample's, times n, m.
    """
    s_data, s_noise = map(jnp.asarray, draws(2))
    for kappa in GRID:
        root, _, derivatives = sample_derivatives(
            make_problem(s_data, s_noise, magnification=kappa), jnp.asarray(jnp.nan)
        )
        p, q = oracles.probabilities(s_data, s_noise, float(root), kappa)
        np.testing.assert_allclose(derivatives.first_data, p, rtol=1e-9)
        np.testing.assert_allclose(derivatives.first_noise, kappa * q, rtol=1e-9)
        np.testing.assert_allclose(derivatives.second_data, p * (1 - p), rtol=1e-9, atol=1e-15)
        np.testing.assert_allclose(
            derivatives.second_noise, kappa * q * (1 - q), rtol=1e-9, atol=1e-15
        )
        # Both sides weigh the same at the root.
        np.testing.assert_allclose(
            derivatives.first_noise.mean(), derivatives.first_data.mean(), rtol=1e-8
        )


def test_the_clearest_has_the_most_drift_for_its_noise_among_the_supported():
    candidates = table(*draws(2))
    clearness = np.asarray(candidates.acceptance**2 / candidates.variance)[
        : int(candidates.largest_supported) + 1
    ]
    assert candidates.clearest == clearness.argmax()


def test_noise_ratio_and_m_enter_as_their_product():
    samples = draws(3)
    by_ratio, by_m = table(*samples, ratio=7.0), table(*samples, grid=7 * GRID)
    assert by_ratio.largest_supported == by_m.largest_supported
    for name in ("log_partition", *PER_CANDIDATE):
        np.testing.assert_allclose(
            getattr(by_ratio, name), getattr(by_m, name), rtol=1e-9, atol=1e-12, err_msg=name
        )


def test_a_shift_moves_f_and_nothing_else():
    s_data, s_noise = draws(4)
    here, there = table(s_data, s_noise), table(s_data + 7.0, s_noise + 7.0)
    np.testing.assert_allclose(there.log_partition - here.log_partition, 7, rtol=1e-9)
    for name in PER_CANDIDATE:
        np.testing.assert_allclose(
            getattr(there, name), getattr(here, name), atol=1e-9, err_msg=name
        )


def test_samples_of_weight_zero_take_no_part():
    s_data, s_noise = draws(5)
    weights_data, weights_noise = np.arange(300) < 270, np.arange(500) < 440
    bad = np.where(weights_data, s_data, np.nan), np.where(weights_noise, s_noise, 50.0)
    masked = table(*bad, weights_data * 1.0, weights_noise * 1.0)
    expected = oracle(s_data[:270], s_noise[:440])
    for name, value in expected.items():
        np.testing.assert_allclose(
            getattr(masked, name), value, rtol=1e-8, atol=1e-12, err_msg=name
        )


def test_a_large_m_accepts_everything_and_a_small_one_what_it_must():
    """A -> 1 as kappa -> infinity; A <= kappa, since A = kappa E_noise[Q]; A grows with kappa."""
    candidates = table(*draws(6), grid=np.array([1e-6, 1e-3, 1.0, 1e3, 1e6]))
    np.testing.assert_allclose(candidates.acceptance[-1], 1, atol=1e-3)
    assert np.all(np.diff(candidates.acceptance) > 0)
    assert np.all(candidates.acceptance[:2] <= np.array([1e-6, 1e-3]))


@pytest.mark.costly
def test_the_sampling_variance_of_what_is_unseen_is_that_of_many_draws():
    """1,600 draws of 500 and 500, seed 0: their variance has a relative standard error of some
    .035; k = 3.5.
    """
    generator = np.random.default_rng(0)
    s_data = 2 + generator.standard_normal((1600, 500))
    s_noise = generator.standard_normal((1600, 500))
    grid = np.array([0.1, 1.0, 10.0])
    candidates = jax.jit(jax.vmap(lambda data, noise: table(data, noise, grid=grid)))(
        s_data, s_noise
    )
    assert np.all(candidates.largest_supported == 2)
    for candidate in (0, 1):
        expected = candidates.overlooked[:, candidate].var(ddof=1)
        np.testing.assert_allclose(
            candidates.overlooked_variance[:, candidate].mean(), expected, rtol=0.12
        )
