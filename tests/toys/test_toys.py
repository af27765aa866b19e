"""The toys: normalized densities that agree with NumPy and the samples, of published shapes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, stats

from nce_jax import toys

pytestmark = pytest.mark.slow  # because of its compilation

KEY_SEED, NUM_SAMPLES, NUM_CELLS = 0, 20_000, 12
# A pinwheel so wide that a good part of its mass lies where the map folds.
FOLDED = toys.pinwheel(3, radial_std=0.4, tangential_std=0.4, rate=0.4, scale=1.0)
WITH_DENSITY = {name: toy for name, toy in toys.TOYS.items() if toy.log_density is not None}
SMOOTH = {name: toy for name, toy in WITH_DENSITY.items() if name != "checkerboard"}
# The library does not jit for its users; here it saves the compilation of operations one by one.
LOG_DENSITY = {name: jax.jit(toy.log_density) for name, toy in WITH_DENSITY.items()}
# Half the side of a square that holds all but 1e-6 of the mass, and points per side of a cell.
GRIDS = {
    "8-gaussians": (5.4, 16),
    "pinwheel": (5.4, 20),
    "rings": (3.9, 30),
    "checkerboard": (4.8, 20),
}


@functools.cache
def on_grid(name):
    """Log density in float64 at the midpoints of a grid, and the area of a point."""
    extent, per_cell = GRIDS[name]
    num_points = NUM_CELLS * per_cell
    step = 2 * extent / num_points
    axis = -extent + step * (np.arange(num_points) + 0.5)
    points = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    with jax.enable_x64(True):
        log_density = np.asarray(LOG_DENSITY[name](jnp.asarray(points)))
    return log_density.reshape(num_points, num_points), step**2


@functools.cache
def draw(name, num_samples=NUM_SAMPLES):
    return np.asarray(toys.TOYS[name].sample(jax.random.key(KEY_SEED), num_samples), np.float64)


def histogram(x, extent):
    counts, *_ = np.histogram2d(*x.T, bins=NUM_CELLS, range=[[-extent, extent]] * 2)
    return counts


@pytest.mark.parametrize("name", WITH_DENSITY)
def test_density_integrates_to_one(name):
    log_density, area = on_grid(name)
    assert abs(np.exp(log_density).sum() * area - 1) < 1e-6


@pytest.mark.parametrize("name", WITH_DENSITY)
def test_samples_fill_cells_as_the_density_says(name):
    """Chi-square over 144 cells, rare ones merged; seed 0, within 4 standard deviations."""
    log_density, area = on_grid(name)
    extent, per_cell = GRIDS[name]
    cells = (
        np.exp(log_density).reshape(NUM_CELLS, per_cell, NUM_CELLS, per_cell).sum(axis=(1, 3))
        * area
    )
    expected, counts = NUM_SAMPLES * cells.ravel(), histogram(draw(name), extent).ravel()
    is_common = expected >= 10
    expected = np.append(expected[is_common], NUM_SAMPLES - expected[is_common].sum())
    counts = np.append(counts[is_common], NUM_SAMPLES - counts[is_common].sum())
    chi_square = np.sum(np.square(counts - expected) / np.maximum(expected, 1))
    dof = is_common.sum()
    assert abs(chi_square - dof) < 4 * np.sqrt(2 * dof)


@pytest.mark.parametrize("name", SMOOTH)
def test_mean_log_density_of_samples_is_minus_the_entropy(name):
    """Seed 0, within 4 standard errors."""
    log_density, area = on_grid(name)
    expected = np.sum(np.exp(log_density) * log_density) * area
    actual = np.asarray(LOG_DENSITY[name](jnp.asarray(draw(name), jnp.float32)), np.float64)
    assert abs(actual.mean() - expected) < 4 * actual.std() / np.sqrt(NUM_SAMPLES)


@pytest.mark.slow
def test_folded_pinwheel_has_the_density_of_its_samples(x64):
    """E exp(-|x - c|^2 / 2 s^2) with c around the fold; seed 1, within 4 standard errors."""
    x = np.asarray(FOLDED.sample(jax.random.key(1), 200_000))
    # At 0.04 the quadrature misses the singularities along the fold: more than a standard error.
    step = 0.02
    axis = np.arange(-2.8, 2.8, step) + step / 2
    points = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    points = points[np.abs(np.hypot(*points.T) - 1.9) < 0.9]
    density = np.exp(jax.jit(FOLDED.log_density)(jnp.asarray(points)))
    for center in 1.9 * np.stack([np.cos(np.arange(12.0)), np.sin(np.arange(12.0))], axis=-1):
        kernel = np.exp(-np.square(x - center).sum(axis=-1) / (2 * 0.2**2))
        expected = (
            np.sum(density * np.exp(-np.square(points - center).sum(axis=-1) / (2 * 0.2**2)))
            * step**2
        )
        assert abs(kernel.mean() - expected) < 4 * kernel.std() / np.sqrt(len(x))


def gaussians_oracle(x):
    angles = np.pi * np.arange(8) / 4
    means = np.sqrt(8) * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    return np.log(
        np.mean([stats.multivariate_normal(mean, 0.125).pdf(x) for mean in means], axis=0)
    )


def rings_oracle(x):
    """The mean over 4,000 points of every circle, exact to rounding for a periodic function."""
    angles = 2 * np.pi * np.arange(4000) / 4000
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    square = np.stack(
        [np.square(x[:, None] - radius * circle).sum(axis=-1) for radius in (0.75, 1.5, 2.25, 3.0)],
        axis=-1,
    )
    return np.log(np.mean(np.exp(-square / (2 * 0.08**2)), axis=(1, 2)) / (2 * np.pi * 0.08**2))


def checkerboard_oracle(x):
    rows, columns = (np.digitize(x[:, k], [-4, -2, 0, 2, 4]) for k in (0, 1))
    is_inside = (
        np.isin(rows, [1, 2, 3, 4]) & np.isin(columns, [1, 2, 3, 4]) & ((rows + columns) % 2 == 0)
    )
    return np.where(is_inside, -np.log(32), -np.inf)


def pinwheel_oracle(x, petals=5, radial_std=0.3, tangential_std=0.1, rate=0.25, scale=2.0):
    """Every feature of every petal by a scan of the circle |f| = |x| / scale.

    The determinant is from finite differences.
    """

    def forward(f, petal):
        angle = 2 * np.pi * petal / petals + rate * np.exp(f[0])
        return scale * np.array(
            [
                np.cos(angle) * f[0] + np.sin(angle) * f[1],
                np.cos(angle) * f[1] - np.sin(angle) * f[0],
            ]
        )

    def features(point, petal):
        radius = np.hypot(*point) / scale

        def sine(t):  # of the angle between where the feature goes and the point
            y = forward(radius * np.array([np.cos(t), np.sin(t)]), petal)
            return (y[0] * point[1] - y[1] * point[0]) / (scale * radius) ** 2

        grid = np.linspace(-np.pi, np.pi, 3001)
        values = sine(grid)
        for k in np.flatnonzero(values[:-1] * values[1:] < 0):
            t = optimize.brentq(sine, grid[k], grid[k + 1], xtol=1e-14)
            f = radius * np.array([np.cos(t), np.sin(t)])
            if forward(f, petal) @ point > 0:  # not the opposite point, whose sine is zero too
                yield f

    def density(point):
        total = 0.0
        for petal in range(petals):
            for f in features(point, petal):
                columns = [
                    (forward(f + h, petal) - forward(f - h, petal)) / 2e-6 for h in 1e-6 * np.eye(2)
                ]
                weight = stats.norm.pdf(f[0], 1, radial_std) * stats.norm.pdf(
                    f[1], 0, tangential_std
                )
                total += weight / abs(np.linalg.det(np.stack(columns)))
        return total / petals

    return np.log([density(point) for point in x])


ORACLES = {
    "8-gaussians": gaussians_oracle,
    "rings": rings_oracle,
    "checkerboard": checkerboard_oracle,
    "pinwheel": pinwheel_oracle,
}


@pytest.mark.parametrize("name", ORACLES)
def test_density_equals_numpy(name, x64):
    rng = np.random.default_rng(0)
    # Typical points, and atypical ones.
    x = np.concatenate([draw(name)[:20], rng.uniform(-4.5, 4.5, (30, 2))])
    if name == "rings":
        x = x[np.hypot(*x.T) < 4]  # further out the oracle underflows
    actual = LOG_DENSITY[name](jnp.asarray(x))
    np.testing.assert_allclose(actual, ORACLES[name](x), rtol=1e-7, atol=1e-7)


def test_folded_pinwheel_equals_numpy(x64):
    x = np.random.default_rng(0).uniform(-2.5, 2.5, (40, 2))
    expected = pinwheel_oracle(x, petals=3, radial_std=0.4, tangential_std=0.4, rate=0.4, scale=1.0)
    np.testing.assert_allclose(
        jax.jit(FOLDED.log_density)(jnp.asarray(x)), expected, rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("name", SMOOTH)
def test_score_matches_finite_differences(name, x64):
    x, step = jnp.asarray(draw(name)[:50]), 1e-6
    score = jax.jit(jax.grad(lambda x: LOG_DENSITY[name](x).sum()))(x)
    for axis in range(2):
        shift = step * jnp.eye(2)[axis][None]
        expected = (LOG_DENSITY[name](x + shift) - LOG_DENSITY[name](x - shift)) / (2 * step)
        np.testing.assert_allclose(score[:, axis], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", SMOOTH)
def test_density_is_finite_everywhere(name):
    x = jnp.asarray([[0.0, 0.0], [1e-20, 0.0], [0.0, -30.0], [200.0, 1.0], [-1e3, 1e3]])
    log_density, score = jax.jit(
        jax.vmap(jax.value_and_grad(lambda x: LOG_DENSITY[name](x[None])[0]))
    )(x)
    assert jnp.isfinite(log_density).all()
    assert jnp.isfinite(score).all()
    # Every toy looks the same after some rotation.
    np.testing.assert_allclose(score[0], 0, atol=1e-4)


def spirals_recipe(rng, n):
    """The published recipe."""
    angle = np.sqrt(rng.random((n // 2, 1))) * 540 * (2 * np.pi) / 360
    arm = np.hstack([-np.cos(angle) * angle, np.sin(angle) * angle]) + rng.random((n // 2, 2)) * 0.5
    x = np.vstack([arm, -arm]) / 3
    return x + rng.normal(size=x.shape) * 0.1


def swiss_roll_recipe(rng, n):
    angle = 1.5 * np.pi * (1 + 2 * rng.random((n, 1)))
    return (angle * np.hstack([np.cos(angle), np.sin(angle)]) + rng.normal(size=(n, 2))) / 5


@pytest.mark.parametrize(
    ("name", "recipe"), [("two-spirals", spirals_recipe), ("swiss-roll", swiss_roll_recipe)]
)
def test_samples_fill_cells_as_the_published_recipe(name, recipe):
    """Two-sample chi-square over 144 cells; seeds 0 and 0, within 4 standard deviations."""
    counts = histogram(draw(name), 4.0).ravel()
    expected_counts = histogram(recipe(np.random.default_rng(0), 10 * NUM_SAMPLES), 4.0).ravel()
    is_common = expected_counts >= 100
    counts, expected_counts = counts[is_common], expected_counts[is_common]
    chi_square = np.sum(
        np.square(np.sqrt(10) * counts - expected_counts / np.sqrt(10)) / (counts + expected_counts)
    )
    assert abs(chi_square - len(counts)) < 4 * np.sqrt(2 * len(counts))
    assert counts.sum() > 0.97 * NUM_SAMPLES


@pytest.mark.parametrize("name", toys.TOYS)
def test_samples_follow_the_key_alone(name):
    toy, key = toys.TOYS[name], jax.random.key(7)
    x = toy.sample(key, 6)
    assert x.shape == (6, 2)
    assert x.dtype == jnp.float32
    assert toy.name == name
    np.testing.assert_array_equal(x, toy.sample(key, 6))
    np.testing.assert_allclose(
        jax.jit(toy.sample, static_argnums=1)(key, 6), x, rtol=1e-5, atol=1e-6
    )
    assert not np.isclose(x, toy.sample(jax.random.key(8), 6)).any()
    with jax.enable_x64(True):
        assert toy.sample(key, 6).dtype == jnp.float64


@pytest.mark.parametrize("name", WITH_DENSITY)
def test_log_density_computes_in_the_dtype_given(name, x64):
    x = draw(name)[:200]
    single, double = (
        LOG_DENSITY[name](jnp.asarray(x, dtype)) for dtype in (np.float32, np.float64)
    )
    assert (single.dtype, double.dtype) == (np.float32, np.float64)
    assert single.shape == (200,)
    np.testing.assert_allclose(single, double, rtol=1e-4, atol=1e-4)


def test_every_sample_of_the_checkerboard_has_positive_density():
    x = toys.TOYS["checkerboard"].sample(jax.random.key(2), 100_000)
    np.testing.assert_allclose(toys.TOYS["checkerboard"].log_density(x), -np.log(32), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "variances"), [("8-gaussians", (0.125, 0.125)), ("pinwheel", (4 * 0.3**2, 4 * 0.1**2))]
)
def test_centers_are_the_middles_of_the_modes(name, variances, x64):
    """Where one Gaussian dominates and the determinant is one.

    The log density is that of 1 / (2 pi modes sqrt(det covariance)).
    """
    toy = toys.TOYS[name]
    expected = -np.log(2 * np.pi * len(toy.centers) * np.sqrt(np.prod(variances)))
    np.testing.assert_allclose(LOG_DENSITY[name](jnp.asarray(toy.centers)), expected, atol=1e-6)


def test_other_constants():
    toy = toys.gaussians(4, radius=10.0, std=1e-3)
    x = toy.sample(jax.random.key(3), 400)
    distance = np.linalg.norm(np.asarray(x)[:, None] - toy.centers, axis=-1)
    assert (distance.min(axis=1) < 5e-3).all()
    assert set(distance.argmin(axis=1)) == {0, 1, 2, 3}
    assert toy.name == "4-gaussians"


@pytest.mark.parametrize("name", WITH_DENSITY)
@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.zeros((3, 2), int), TypeError, "x: expected a floating array, got dtype int"),
        (np.zeros(2), ValueError, r"x: expected shape \(n, 2\), got shape \(2,\)"),
        (np.zeros((3, 1)), ValueError, r"x: expected shape \(n, 2\), got shape \(3, 1\)"),
    ],
)
def test_bad_points_are_named(name, x, error, message):
    with pytest.raises(error, match=message):
        WITH_DENSITY[name].log_density(jnp.asarray(x))
