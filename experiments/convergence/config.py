"""Settings. All are our choice: the paper states a theorem, with constants unknown."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    separations: tuple[float, ...] = (2.0, 4.0, 8.0, 16.0)
    """Mean of the data, N(m, 1), in the family of means; noise N(0, 1). KL = m^2 / 2."""
    precision_separations: tuple[float, ...] = (1.0, 2.0, 4.0)
    """Mean of the data in the family of means and precisions."""
    variance: float = 0.5
    """Of the data there."""
    magnifications: tuple[float, ...] = (1.0, 100.0, 10000.0)
    joint_rates: tuple[float, ...] = (1.0, 0.3, 0.1, 0.03, 0.01)
    """Learning rates with a joint gradient: the length of a normalized step. Steps to a distance
    are those of the best."""
    solved_rates: tuple[float, ...] = (0.3, 0.1, 0.03)
    """With F solved."""
    joint_steps: int = 8000
    solved_steps: int = 1500
    line_steps: int = 300
    """With F solved and one parameter, where a normalized gradient is a sign."""
    newton_steps: int = 120
    newton_radius: float = 1.0
    """Longest step of Newton's method."""
    distances: tuple[float, ...] = (3.0, 1.0, 0.3, 0.1, 0.03)
    """Parameter distances to reach."""
    flow_separations: tuple[float, ...] = (2.0, 3.0, 4.0, 6.0, 8.0, 10.0, 12.0, 16.0)
    flow_magnifications: int = 33
    """Values of M for the time of gradient flow: 1, 100, 1e4 and so on, to 1e64."""
    flow_distance: float = 0.1
    """Distance at which gradient flow has arrived."""
    num_points: int = 512
    """Of the quadrature."""
    num_positions: int = 11
    """Between start and truth, where curvatures are taken."""
    curvature_magnifications: tuple[float, ...] = (1.0, 1e2, 1e4, 1e8)
    seed: int = 0
    """Nothing is random."""


PRESETS = {
    "paper": Config(),
    "smoke": Config(
        separations=(2.0, 4.0),
        precision_separations=(1.0, 2.0),
        magnifications=(1.0, 10000.0),
        joint_rates=(0.3, 0.1),
        solved_rates=(0.3, 0.1),
        joint_steps=200,
        solved_steps=60,
        line_steps=60,
        newton_steps=20,
        flow_separations=(2.0, 3.0, 4.0),
        flow_magnifications=4,
        num_points=256,
        num_positions=3,
    ),
}
