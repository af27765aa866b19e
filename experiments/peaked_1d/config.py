"""Settings. "Stated" means stated in the papers or their code; all others are our choice."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    spreads: tuple[float, ...] = (1e-3, 1e-6)
    """s of the data N(0, s^2). Stated: 1e-3 in the code of DRE-infinity, 1e-6 in that of TRE."""
    num_samples: tuple[int, ...] = (10, 100, 1_000, 10_000, 100_000)
    """n of data and of noise. Stated: 10,000."""
    num_published: int = 4
    """Number of stages of TRE. Stated."""
    power: float = 7.0
    """Power of the schedule a_k = (k / 4)^7. Stated."""
    magnification: float = 100.0
    """M of N2CE: the paper's usual value."""
    num_seeds: tuple[int, ...] = (10, 10, 6, 3, 1)
    """Number of runs per n. Our choice."""
    num_steps: int = 60
    """Maximum number of steps of Newton's method. Our choice."""
    seed: int = 0
    """Seed of all random numbers."""


PRESETS = {
    "paper": Config(),
    "smoke": Config(spreads=(1e-3,), num_samples=(100, 1_000), num_seeds=(2, 2), num_steps=30),
}
