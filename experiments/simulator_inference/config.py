"""Settings, all our choice: the papers on the losses have other simulators."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    budgets: tuple[int, ...] = (512, 2_048, 8_192)
    """Numbers of simulations for training."""
    noise_scale: float = 0.5
    """Standard deviation of the simulator's noise."""
    num_classes: int = 8
    """K of NRE-C; NRE-B contrasts one joint parameter with K - 1 independent ones."""
    gamma: float = 1.0
    """Prior odds of NRE-C."""
    strength: float = 100.0
    """Strength of the balance in balanced NRE, which is its authors' value."""
    magnification: float = 10.0
    """M of "NRE-A, M"."""
    hidden: tuple[int, ...] = (64, 64)
    """Widths of the perceptron on (theta, x)."""
    num_steps: int = 2_000
    """Number of Adam steps."""
    batch_size: int = 128
    """Number of simulations per step."""
    learning_rate: float = 1e-3
    """Initial learning rate, decayed to zero on a cosine."""
    num_seeds: int = 5
    """Number of seeds of the simulations and networks."""
    num_test: int = 1_000
    """Number of fresh pairs of parameters and observations behind every measure."""
    num_cells: int = 81
    """Number of cells per side of the square on which posteriors are represented."""
    half_width: float = 4.0
    """Half width of that square, in standard deviations of the prior."""
    num_classified: int = 3
    """Number of observations of the first seed for which a classifier is trained."""
    num_samples: int = 1_000
    """Number of samples of either posterior for the classifier."""
    seed: int = 0
    """Seed of all random numbers."""


PRESETS = {
    "paper": Config(),
    "smoke": Config(
        budgets=(512,),
        hidden=(16,),
        num_steps=200,
        num_seeds=2,
        num_test=20,
        num_cells=31,
        num_classified=1,
        num_samples=100,
    ),
}
