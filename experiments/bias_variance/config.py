"""Settings. The paper gives five dimensions, Gaussians and the rule M <= C sqrt(n); everything else
is our choice.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    dim: int = 5
    """Stated."""
    means: tuple[float, ...] = (0.5, 1.0, 2.0)
    """Data N(mu 1, I) for the exact study: KL(data : noise) = 5 mu^2 / 2 = 0.6, 2.5 and 10 nats."""
    mean: float = 1.0
    """The one that is sampled."""
    points: tuple[float, ...] = (0.5, 0.8, 1.0)
    """theta as a share of the data's own, where gradients are taken."""
    sample_sizes: tuple[int, ...] = (100, 300, 1000, 3000, 10000)
    """n of the data and, equally, of the noise."""
    exact_per_decade: int = 20
    """Values of M per decade from 0.1 to 1e7, by quadrature."""
    gradient_seeds: tuple[int, ...] = (800, 600, 300, 150, 80)
    """Samples drawn per n. Fewer at large n, where errors are small: the time goes there."""
    gradient_per_decade: int = 4
    """Values of M per decade from 0.1 to 1e5, on samples."""
    descent_seeds: tuple[int, ...] = (200, 120, 60, 30, 16)
    descent_per_decade: int = 2
    """Of M per decade from 0.1 to 1e5."""
    budgets: tuple[int, ...] = (5, 20, 60)
    """Gradient steps, of the whole sample each, from theta = 0: the model starts as the noise."""
    rate: float = 0.3
    """Learning rate of plain gradient descent. For a joint gradient it is F's as well."""
    estimator_seeds: tuple[int, ...] = (800, 500, 250, 120, 80)
    estimator_per_decade: int = 3
    """Of M per decade from 0.1 to 1e3."""
    newton_steps: int = 8
    slope_magnifications: tuple[float, ...] = (1.0, 100.0, 10000.0)
    """M at which the variance is fitted against n, and the windows between which it is fitted
    against M."""
    resamples: int = 500
    """Bootstrap draws of the seeds behind every interval."""
    seed: int = 0


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
