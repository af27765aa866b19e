"""Settings. "Stated" means stated in the telescoping literature; all others are our choice."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    dims: tuple[int, ...] = (40, 80, 160, 320)
    """Stated: 10, 20, 40 and 80 nats."""
    published_stages: tuple[int, ...] = (2, 4, 6, 8)
    """Number of stages of TRE, per dimension. Stated."""
    correlation: float = 0.7951
    """Correlation of every pair of coordinates. Stated."""
    num_data: int = 100_000
    """Number of data samples, including those held out. Stated."""
    num_held_out: int = 10_000
    """Number of data samples that no fit uses. Our choice."""
    num_seeds: tuple[int, ...] = (5, 5, 5, 5)
    """Number of runs of every method, per dimension. Our choice."""
    num_coverage_seeds: tuple[int, ...] = (5, 5, 5, 5)
    """Number of runs of the natural gradient and of the plug-in, per dimension. Our choice."""
    magnifications: tuple[float, ...] = (10.0, 100.0, 1000.0)
    """M of the single N2CE ratios. Our choice."""
    batch_size: int = 512
    """Batch size of Adam. Stated."""
    single_rate: float = 5e-4
    """Learning rate of Adam for a single ratio. Stated."""
    stages_rate: float = 1e-4
    """Learning rate of Adam for TRE. Stated."""
    single_steps: int = 1_000
    """Number of Adam steps for a single ratio. Our choice, limited by the computing time."""
    stages_steps: int = 2_000
    """Number of Adam steps for TRE. Our choice, limited by the computing time."""
    num_records: int = 20
    """Number of points in the traces of Adam."""
    magnification: float = 100.0
    """M of every stage under the natural gradient: the paper's usual value."""
    min_overlap: float = 0.8
    """Smallest overlap of a stage (unit Gaussians 1 apart), which determines the number of stages.
    Our choice."""
    num_passes: int = 8
    """Number of natural gradient steps, each on all data. Our choice."""
    most_rate: float = 0.2
    """Largest learning rate of the natural gradient, min(this, 1 / t), after a first step of 1. Our
    choice."""
    seed: int = 0
    """Seed of all random numbers. The settings were chosen with other seeds."""


PRESETS = {
    "paper": Config(),
    "smoke": Config(
        dims=(6,),
        published_stages=(2,),
        num_data=6_000,
        num_held_out=2_000,
        num_seeds=(1,),
        num_coverage_seeds=(2,),
        magnifications=(10.0,),
        single_steps=40,
        stages_steps=40,
        num_records=8,
        num_passes=6,
    ),
}
