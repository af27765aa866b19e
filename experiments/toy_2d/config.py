"""Settings. "Stated" is written in the paper; everything else is our choice, since the paper leaves
it open.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    toys: tuple[str, ...] = ("8-gaussians", "pinwheel")
    """Names in `experiments.common.toys.TOYS`. Stated; their sizes are FFJORD's, which is our
    choice."""
    readings: tuple[str, ...] = ("energy", "ratio")
    """What the network stands for: log p_theta + F (the paper speaks of an energy), or its ratio to
    the noise (as in the paper's MNIST model). Which it is in two dimensions is not stated: both are
    run."""
    noise_variance: float = 2.0
    """Of both coordinates of the Gaussian noise. Stated."""
    hidden: tuple[int, ...] = (128, 64)
    """Widths of the network. Stated; the slope of its leaky rectifiers, 0.2, and its random start
    are the library's."""
    learning_rate: float = 1e-3
    """Adam's, of the network and, in plain NCE, of F. Stated."""
    raised_rate: float = 1.0
    """Of F in "NCE, raised rate", by SGD on the paper's loss, half of ours. Our choice: that of a
    BAR step, as on MNIST."""
    starts: tuple[float, ...] = (4.0, 8.0)
    """F0 of more runs of NCE on the first toy, network = log density. Everywhere else F0 = 0. Our
    choice."""
    sizes: tuple[float, ...] = (0.5,)
    """Of the first toy, over FFJORD's: three treatments more, network = log density. The paper
    states no size."""
    num_steps: int = 4000
    """Training steps. Our choice."""
    batch_size: int = 512
    """Samples of data, and of noise, per step, drawn afresh. Our choice: the paper states it for
    figure 1 only."""
    num_seeds: int = 5
    """Runs. Our choice, and the paper's number in one dimension."""
    num_checkpoints: int = 40
    """Steps at which a model is measured, evenly spaced on a log scale. Our choice."""
    reported_steps: tuple[int, ...] = (100, 300, 1000, 4000)
    """Among them: the steps of the headline numbers, of which maps leave out the second. Our
    choice."""
    half_width: float = 8.0
    """Of the square over which densities are integrated: 5.7 standard deviations of the noise."""
    num_cells: int = 160
    """Per side of it: half a standard deviation of a petal across, the narrowest shape here."""
    seed: int = 0
    """Of everything random."""


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
