"""Settings. "Stated" means stated in the paper; all others are our choice."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    dim: int = 16
    """Number of dimensions. Stated."""
    smallest_variance: float = 6.0
    """Smallest variance of the data. Stated: entries in [6, 12]."""
    largest_variance: float = 12.0
    """Largest variance of the data. Stated. Their distribution is not: ours are uniform, drawn once
    per seed of the experiment."""
    learning_rate: float = 0.1
    """Learning rate on the scale of the paper's loss. Stated. Our loss is twice theirs, so that SGD
    has half of it."""
    num_runs: int = 5
    """Number of runs behind the mean and the band of a figure. Stated."""
    raised_rates: tuple[float, ...] = (0.3, 1.0, 3.0, 10.0)
    """Learning rates of F, on the paper's scale, in NCE with a raised rate. Our choice: the paper
    does not state them."""
    raised_rate: float = 1.0
    """The raised rate in figure 3: the rate of the BAR step, as in the paper's MNIST figure. Our
    choice."""
    num_steps: int = 2000
    """Number of training steps. Our choice."""
    batch_size: int = 512
    """Number of data samples, and of noise samples, drawn afresh per step. Our choice: the paper
    states it for figure 1 only."""
    num_seeds: int = 10
    """Number of runs of a reported statistic; the first `num_runs` are those of the figure. Our
    choice."""
    num_steps_starts: int = 1000
    """Number of training steps from other starts. Our choice."""
    num_batches: int = 20
    """Number of fresh batches on which overlap and effective sample size are measured. Our
    choice."""
    seed: int = 0
    """Seed of all random numbers."""


PRESETS = {
    "paper": Config(),
    "smoke": Config(
        dim=4,
        num_runs=2,
        raised_rates=(1.0,),
        num_steps=100,
        batch_size=64,
        num_seeds=2,
        num_steps_starts=30,
        num_batches=2,
    ),
}
