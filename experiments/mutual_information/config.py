"""Settings. "Stated" is written in the telescoping literature; everything else is our choice."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    dims: tuple[int, ...] = (40, 80, 160, 320)
    """Stated: 10, 20, 40 and 80 nats."""
    published_stages: tuple[int, ...] = (2, 4, 6, 8)
    """Of TRE, per dimension. Stated."""
    correlation: float = 0.7951
    """Of every pair of coordinates. Stated."""
    num_data: int = 100_000
    """Stated; those held out are among them."""
    num_held_out: int = 10_000
    """Data that no fit sees. Our choice."""
    num_seeds: tuple[int, ...] = (5, 5, 5, 5)
    """Runs of every method, per dimension. Our choice."""
    num_coverage_seeds: tuple[int, ...] = (5, 5, 5, 5)
    """Runs of the natural gradient and of the plug-in. Our choice."""
    magnifications: tuple[float, ...] = (10.0, 100.0, 1000.0)
    """M of the single N2CE ratios. Our choice."""
    batch_size: int = 512
    """Of Adam. Stated."""
    single_rate: float = 5e-4
    """Adam's, for one ratio. Stated."""
    stages_rate: float = 1e-4
    """Adam's, for TRE. Stated."""
    single_steps: int = 1_000
    """Our choice: what the time allows."""
    stages_steps: int = 2_000
    """Our choice: what the time allows."""
    num_records: int = 20
    """Points of the traces of Adam."""
    magnification: float = 100.0
    """M of every stage under the natural gradient: the paper's usual value."""
    min_overlap: float = 0.8
    """Of its stages (unit Gaussians 1 apart): the threshold that sets their number. Our choice."""
    num_passes: int = 8
    """Its steps, each on all data. Our choice."""
    most_rate: float = 0.2
    """Its rate is the smaller of this and 1 / t; that of the first step is 1. Our choice."""
    seed: int = 0
    """Of everything random. The settings were found with others."""


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
