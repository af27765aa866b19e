"""Settings, all our choice: no paper says how M should be chosen under a schedule."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    problems: tuple[str, ...] = (
        "1-D, 2 apart",
        "1-D, 4 apart",
        "5-D",
        "20-D",
        "10-D, narrow",
        "5-D, wide",
        "5-D, Adam",
        "100-D, Adam",
        "8 Gaussians",
        "pinwheel",
        "digits",
        "wine",
        "50-D",
        "8-D, both",
        "3-D, momentum",
        "rings",
        "elevators",
    )
    """Names in `problems.PROBLEMS`: those of `choosing_m`."""
    further: tuple[str, ...] = (
        "30-D",
        "2-D, 3 apart",
        "6-D, narrow and apart",
        "checkerboard",
        "breast cancer",
    )
    """Names in `problems.FURTHER`, counted apart."""
    magnifications: tuple[float, ...] = (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000)
    """Grid of fixed M; the best of it is chosen in hindsight, by the mean over seeds."""
    candidates: tuple[str, ...] = ("averaged", "averaged, one F", "annealed")
    """Names in `candidates.CANDIDATES`."""
    matchings: tuple[float, ...] = (0.0, 0.5, 1.0)
    """Of `sufficient_magnification`: how far the gradient is scaled to its size at M = 1."""
    largest_magnification: float = 30_000.0
    """Upper bound on M for the candidates."""
    num_seeds: int = 20
    """Number of paired runs: a seed draws the same data, noise and start for every choice of M."""
    group_size: int = 10
    """Seeds that are trained together; further runs at other rates have the first group only."""
    average_share: float = 0.1
    """The average of the parameters covers about this fraction of the budget."""
    rate_factors: tuple[float, ...] = (1 / 3, 3.0)
    """Factors on the peak rate of further runs, at the medium budget."""
    share: float = 1.0
    """Fraction of every problem's budgets; below one in the smoke preset."""
    reference_seeds: int = 4
    reference_magnifications: tuple[float, ...] = (1, 10, 100)
    reference_length: int = 4
    """Factor by which the reference runs of real data are longer than the longest budget."""
    reference_records: int = 10
    """Steps at which they are measured. The least of their errors is the least held-out loss."""
    seed: int = 0
    """Seed of all random numbers."""


PRESETS = {
    "paper": Config(),
    "smoke": Config(
        problems=("5-D", "digits"),
        further=("30-D",),
        magnifications=(1, 100),
        candidates=("averaged, one F", "annealed"),
        matchings=(0.5,),
        num_seeds=2,
        group_size=1,
        rate_factors=(3.0,),
        share=0.05,
        reference_seeds=1,
        reference_magnifications=(1,),
        reference_length=1,
        reference_records=2,
    ),
}
