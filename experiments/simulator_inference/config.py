"""Settings; all are our choice: the papers of the losses have other simulators."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    budgets: tuple[int, ...] = (512, 2_048, 8_192)
    """Simulations to train on."""
    noise_scale: float = 0.5
    """Standard deviation of the simulator's noise."""
    num_classes: int = 8
    """K of NRE-C; NRE-B takes one parameter together with x and K - 1 apart."""
    gamma: float = 1.0
    """Prior odds of NRE-C."""
    strength: float = 100.0
    """Of the balance of balanced NRE, which is its authors' value."""
    magnification: float = 10.0
    """M of "NRE-A, M"."""
    hidden: tuple[int, ...] = (64, 64)
    """Of the perceptron on (theta, x)."""
    num_steps: int = 2_000
    """Of Adam."""
    batch_size: int = 128
    """Simulations per step."""
    learning_rate: float = 1e-3
    """At the start; it falls to zero on a cosine."""
    num_seeds: int = 5
    """Simulations and networks."""
    num_test: int = 1_000
    """Pairs of parameters and observations, fresh, behind every measure."""
    num_cells: int = 81
    """Per side of the square on which posteriors are held."""
    half_width: float = 4.0
    """Of that square, in standard deviations of the prior."""
    num_classified: int = 3
    """Observations, of the first seed, on which a classifier is trained."""
    num_samples: int = 1_000
    """Of either posterior, for the classifier."""
    seed: int = 0
    """Of everything random."""


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
