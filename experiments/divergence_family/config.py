"""Settings. The paper states the family and its two ends; every value here is our choice."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    log10_kappas: tuple[float, float] = (-3.0, 6.0)
    """Smallest and largest kappa, as powers of ten."""
    num_kappas: int = 19
    """Values of kappa, evenly spaced on a log scale: two per decade."""
    num_samples: int = 1000
    """Of data, and of noise, in every replicate of every pair."""
    other_num_samples: tuple[int, ...] = (100, 10_000)
    """Sizes of the farthest pair besides."""
    num_seeds: int = 200
    """Replicates behind a mean, a spread or a coverage."""
    num_grid: int = 8001
    """Points of the quadrature."""
    scales: tuple[float, ...] = (-1.0, 0.25, 0.5, 0.8, 1.25, 1.5)
    """Wrong log-ratios: the true one times these."""
    offsets: tuple[float, ...] = (-2.0, -0.5, 0.5, 2.0)
    """Wrong normalizers: the true log-ratio at these F, held."""
    seed: int = 0
    """Of everything random."""

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
