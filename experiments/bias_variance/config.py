"""Settings. The paper states dimension, Gaussians and M <= C sqrt(n); all else is our choice."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    dim: int = 5
    """Number of dimensions. Stated."""
    means: tuple[float, ...] = (0.5, 1.0, 2.0)
    """mu of the data N(mu 1, I) in the exact study: KL(data : noise) = 5 mu^2 / 2 = 0.6, 2.5 and 10
    nats."""
    mean: float = 1.0
    """The mu of the sampled studies."""
    points: tuple[float, ...] = (0.5, 0.8, 1.0)
    """Points theta where gradients are taken, as fractions of the data's own parameters."""
    sample_sizes: tuple[int, ...] = (100, 300, 1000, 3000, 10000)
    """n of the data, and of the noise."""
    exact_per_decade: int = 20
    """Number of M per decade from 0.1 to 1e7, by quadrature."""
    gradient_seeds: tuple[int, ...] = (800, 600, 300, 150, 80)
    """Number of samples drawn for gradients, per n. Large n cost more and have smaller errors."""
    gradient_per_decade: int = 4
    """Number of M per decade from 0.1 to 1e5, on samples."""
    descent_seeds: tuple[int, ...] = (200, 120, 60, 30, 16)
    """Number of samples drawn for descents, per n."""
    descent_per_decade: int = 2
    """Number of M per decade from 0.1 to 1e5."""
    budgets: tuple[int, ...] = (5, 20, 60)
    """Numbers of full-batch gradient steps from theta = 0, where the model is the noise."""
    rate: float = 0.3
    """Learning rate of plain gradient descent, which a joint gradient applies to F as well."""
    estimator_seeds: tuple[int, ...] = (800, 500, 250, 120, 80)
    """Number of samples drawn for estimators, per n."""
    estimator_per_decade: int = 3
    """Number of M per decade from 0.1 to 1e3."""
    newton_steps: int = 8
    """Number of Newton steps of an estimator."""
    slope_magnifications: tuple[float, ...] = (1.0, 100.0, 10000.0)
    """M at which the slope of the variance in n is fitted; the slope in M is fitted between
    them."""
    resamples: int = 500
    """Number of bootstrap draws of the seeds behind every interval."""
    seed: int = 0
    """Seed of all random numbers."""


PRESETS = {
    "paper": Config(),
    "smoke": Config(
        means=(0.5, 1.0),
        mean=0.5,
        points=(0.8, 1.0),
        sample_sizes=(100, 400),
        exact_per_decade=8,
        gradient_seeds=(60, 30),
        gradient_per_decade=2,
        descent_seeds=(8, 8),
        descent_per_decade=1,
        budgets=(5, 20),
        estimator_seeds=(20, 10),
        estimator_per_decade=1,
        resamples=50,
    ),
}
