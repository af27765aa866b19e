"""Settings, all our choice: the papers give no rule to compare with except M <= C sqrt(n)."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    designed_on: tuple[str, ...] = (
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
        "3-D, momentum",
        "elevators",
    )
    """Names in `magnification_problems.PROBLEMS` used in the design of the rule, or in its
    corrections (the last two)."""
    fresh: tuple[str, ...] = ("50-D", "8-D, both", "rings")
    """Names of problems fixed when the rule was first complete, and not used since."""
    magnifications: tuple[float, ...] = (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000)
    """Grid of M; the best of it is chosen in hindsight, by the mean over seeds."""
    num_seeds: int = 20
    """Number of paired runs: a seed draws the same data, noise and start for every M."""
    share: float = 1.0
    """Fraction of every problem's budgets; below one in the smoke preset."""
    reference_seeds: int = 4
    reference_magnifications: tuple[float, ...] = (1, 10, 100)
    reference_length: int = 4
    """Factor by which the reference runs are longer; their rate decays to zero. Their error is the
    least held-out loss of real data."""
    seed: int = 0
    """Seed of all random numbers."""


PRESETS = {
    "paper": Config(),
    "smoke": Config(
        designed_on=("5-D", "digits"),
        fresh=(),
        magnifications=(1, 100),
        num_seeds=2,
        share=0.05,
        reference_seeds=1,
        reference_magnifications=(1,),
        reference_length=1,
    ),
}
