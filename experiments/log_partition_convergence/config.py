"""Settings. "Stated" is in the paper; everything else is a choice made here, because the paper
leaves it open.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Settings of both figures; steps are updates of F, rates follow the paper's loss (half of
    ours).
    """

    num_runs: int = 100
    """Figure 1: batches, each with its own F*. Stated."""
    batch_size: int = 512
    """Samples of the data, and as many of the noise. 512 is stated; that it counts each side is our
    reading."""
    dim: int = 20
    """Figure 1: dimension. Stated."""
    num_components: int = 10
    """Figure 1: unit Gaussians in the mixture. Stated."""
    radius: float = 4.0
    """Figure 1: of the circle of means in the (x1, x2)-plane. Stated."""
    random_angles: bool = False
    """Figure 1: whether the means are drawn on the circle instead of evenly spaced; the paper's
    words allow both."""
    log_partition: float = 3.0
    """log Z of the unnormalized model, both figures: what all methods have to find. Our choice."""
    initial: float = 0.0
    """Where F starts, both figures; outside their bracket, binary search and Newton start
    elsewhere. Our choice."""
    learning_rate: float = 1.0
    """Of NCE in the paper's convention. Stated for its figures 2 and 8 to 10, our choice here."""
    raised_factor: float = 10.0
    """By how much the raised rate is larger. Our choice."""
    num_gradient_steps: int = 700
    """Figure 1: steps of NCE shown. Our choice."""
    num_solver_steps: int = 40
    """Steps of BAR, binary search and Newton shown, both figures. Our choice."""
    tolerance: float = 1e-6
    """Nats of F; the paper's precision. Stated for figure 1."""
    separations: tuple[float, ...] = (1.0, 2.0, 4.0, 6.0, 8.0, 12.0, 16.0)
    """Figure 7: distance of the two means. Our choice: the paper says "low overlap"."""
    num_pairs: int = 20
    """Figure 7: batches per separation. Our choice."""
    max_steps: int = 10_000
    """Figure 7: steps after which BAR or NCE has not arrived. Our choice."""
    solve_max_steps: int = 200
    """Figure 7: evaluations that `solve_log_partition` may use. The library's default."""
    seed: int = 0
    """Of all draws."""


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
