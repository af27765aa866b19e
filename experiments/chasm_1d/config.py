"""Settings. "Stated" means stated in the paper; all others are our choice."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    separations: tuple[float, ...] = (8.0, 16.0, 32.0, 64.0)
    """Distances of the means, for the chain. All but 16 are ours, with the same call."""
    separation: float = 16.0
    """Distance of the means for everything else: KL is 128 nats. Stated."""
    num_runs: int = 5
    """Number of runs of a curve in the figure. Stated."""
    num_seeds: tuple[int, ...] = (10, 20, 10, 10)
    """Number of runs of a reported statistic, per separation. Our choice."""
    num_steps: int = 1000
    """Maximum number of training steps, including pilots and evaluation. Our choice."""
    batch_size: int = 512
    """Number of data samples, and of noise samples, drawn afresh per step. Our choice: the paper
    states it for its figure 1 only."""
    learning_rate: float = 1.0
    """Learning rate of theta and F in the single-stage methods, on the scale of the paper's loss.
    Stated. On our loss it is half."""
    magnification: float = 100.0
    """M of the single-stage N2CE: the paper's usual value."""
    seed: int = 0
    """Seed of all random numbers."""


PRESETS = {
    "paper": Config(),
    "smoke": Config(separations=(16.0,), num_runs=2, num_seeds=(2,), num_steps=200, batch_size=256),
}
