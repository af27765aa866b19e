"""Settings. "Stated" means stated in the paper; all others are our choice."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Settings of both figures; steps are updates of F, and rates are for the paper's loss.

    The paper's loss is half of ours.
    """

    num_runs: int = 100
    """Figure 1: number of batches, each with its own F*. Stated."""
    batch_size: int = 512
    """Number of data samples, and of noise samples. 512 is stated; that it counts each side is our
    reading."""
    dim: int = 20
    """Figure 1: number of dimensions. Stated."""
    num_components: int = 10
    """Figure 1: number of unit Gaussians in the mixture. Stated."""
    radius: float = 4.0
    """Figure 1: radius of the circle of means in the (x1, x2)-plane. Stated."""
    random_angles: bool = False
    """Figure 1: whether the means are random on the circle instead of evenly spaced; the paper's
    words admit both."""
    log_partition: float = 3.0
    """log Z of the unnormalized model in both figures, which all methods have to find. Our
    choice."""
    initial: float = 0.0
    """Initial F in both figures; if it lies outside their bracket, binary search and Newton start
    elsewhere. Our choice."""
    learning_rate: float = 1.0
    """Learning rate of NCE in the paper's convention. Stated for its figures 2 and 8 to 10, our
    choice here."""
    raised_factor: float = 10.0
    """Factor of the raised rate. Our choice."""
    num_gradient_steps: int = 700
    """Figure 1: number of NCE steps shown. Our choice."""
    num_solver_steps: int = 40
    """Number of steps of BAR, binary search and Newton shown in both figures. Our choice."""
    tolerance: float = 1e-6
    """Tolerance of F in nats: the paper's precision. Stated for figure 1."""
    separations: tuple[float, ...] = (1.0, 2.0, 4.0, 6.0, 8.0, 12.0, 16.0)
    """Figure 7: distances of the two means. Our choice: the paper says "low overlap"."""
    num_pairs: int = 20
    """Figure 7: number of batches per separation. Our choice."""
    max_steps: int = 10_000
    """Figure 7: maximum number of steps of BAR and NCE. Our choice."""
    solve_max_steps: int = 200
    """Figure 7: maximum number of evaluations of `solve_log_partition`. The library's default."""
    seed: int = 0
    """Seed of all random numbers."""


PRESETS = {
    "smoke": Config(
        num_runs=4,
        num_gradient_steps=30,
        num_solver_steps=40,
        separations=(2.0, 16.0),
        num_pairs=3,
        max_steps=50,
    ),
    "paper": Config(),
}
