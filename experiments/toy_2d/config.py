"""Settings. "Stated" means stated in the paper; all others are our choice."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    toys: tuple[str, ...] = ("8-gaussians", "pinwheel")
    """Names in `nce_jax.toys.TOYS`. Stated; their sizes are FFJORD's, which is our
    choice."""
    readings: tuple[str, ...] = ("energy", "ratio")
    """Meaning of the network: log p_theta + F (the paper speaks of an energy), or its ratio to the
    noise (as in the paper's MNIST model). The paper does not state which it is in two dimensions,
    so both are run."""
    noise_variance: float = 2.0
    """Variance of both coordinates of the Gaussian noise. Stated."""
    hidden: tuple[int, ...] = (128, 64)
    """Widths of the network. Stated; the slope of its leaky rectifiers, 0.2, and its initialization
    are the library's."""
    learning_rate: float = 1e-3
    """Learning rate of Adam, for the network and, in plain NCE, for F. Stated."""
    raised_rate: float = 1.0
    """Learning rate of F in "NCE, raised rate", by SGD on the paper's loss, half of ours. Our
    choice: that of a BAR step, as on MNIST."""
    starts: tuple[float, ...] = (4.0, 8.0)
    """F0 of further NCE runs on the first toy, network = log density. All other runs have F0 = 0.
    Our choice."""
    sizes: tuple[float, ...] = (0.5,)
    """Further sizes of the first toy, relative to FFJORD's, with three treatments and network = log
    density. The paper states no size."""
    num_steps: int = 4000
    """Number of training steps. Our choice."""
    batch_size: int = 512
    """Number of data samples, and of noise samples, drawn afresh per step. Our choice: the paper
    states it for figure 1 only."""
    num_seeds: int = 5
    """Number of runs. Our choice, and the paper's number in one dimension."""
    num_checkpoints: int = 40
    """Number of steps at which a model is measured, evenly spaced on a log scale. Our choice."""
    reported_steps: tuple[int, ...] = (100, 300, 1000, 4000)
    """Steps of the headline numbers, included in the checkpoints; maps leave out the second. Our
    choice."""
    half_width: float = 8.0
    """Half width of the square over which densities are integrated: 5.7 standard deviations of the
    noise."""
    num_cells: int = 160
    """Number of cells per side of the square, each half a standard deviation of a petal wide, the
    narrowest shape here."""
    seed: int = 0
    """Seed of all random numbers."""


PRESETS = {
    "paper": Config(),
    "smoke": Config(
        toys=("pinwheel",),
        hidden=(32, 16),
        starts=(8.0,),
        num_steps=200,
        batch_size=128,
        num_seeds=2,
        num_checkpoints=8,
        reported_steps=(20, 50, 100, 200),
        num_cells=64,
    ),
}
