"""Settings, all our choice: the paper states the family and its two ends."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    log10_kappas: tuple[float, float] = (-3.0, 6.0)
    """Smallest and largest kappa, as powers of ten."""
    num_kappas: int = 19
    """Number of kappa, evenly spaced on a log scale: two per decade."""
    num_samples: int = 1000
    """Number of data samples, and of noise samples, in every replicate of every pair."""
    other_num_samples: tuple[int, ...] = (100, 10_000)
    """Further sample sizes, for the farthest pair."""
    num_seeds: int = 200
    """Number of replicates behind a mean, a spread or a coverage."""
    num_grid: int = 8001
    """Number of quadrature points."""
    scales: tuple[float, ...] = (-1.0, 0.25, 0.5, 0.8, 1.25, 1.5)
    """Wrong log ratios, as multiples of the true one."""
    offsets: tuple[float, ...] = (-2.0, -0.5, 0.5, 2.0)
    """Wrong values at which F is held, with the true log ratio."""
    seed: int = 0
    """Seed of all random numbers."""

    @property
    def kappas(self) -> list[float]:
        first, last = self.log10_kappas
        step = (last - first) / (self.num_kappas - 1)
        return [10 ** (first + step * index) for index in range(self.num_kappas)]


PRESETS = {
    "paper": Config(),
    "smoke": Config(
        num_kappas=10, num_samples=100, other_num_samples=(), num_seeds=40, num_grid=2001
    ),
}
