"""Settings, all our choice: the paper states a theorem, with unknown constants."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    separations: tuple[float, ...] = (2.0, 4.0, 8.0, 16.0)
    """Means of the data, N(m, 1), in the family of means, with noise N(0, 1) and KL = m^2 / 2."""
    precision_separations: tuple[float, ...] = (1.0, 2.0, 4.0)
    """Means of the data in the family of means and precisions."""
    variance: float = 0.5
    """Variance of the data in that family."""
    magnifications: tuple[float, ...] = (1.0, 100.0, 10000.0)
    """Grid of M."""
    joint_rates: tuple[float, ...] = (1.0, 0.3, 0.1, 0.03, 0.01)
    """Learning rates of the joint gradient, i.e. lengths of a normalized step. Reported steps are
    those of the best rate."""
    solved_rates: tuple[float, ...] = (0.3, 0.1, 0.03)
    """Learning rates with F solved."""
    joint_steps: int = 8000
    """Number of steps of the joint gradient."""
    solved_steps: int = 1500
    """Number of steps with F solved."""
    line_steps: int = 300
    """Number of steps with F solved and one parameter, where a normalized gradient is a sign."""
    newton_steps: int = 120
    """Number of steps of Newton's method."""
    newton_radius: float = 1.0
    """Maximum step length of Newton's method."""
    distances: tuple[float, ...] = (3.0, 1.0, 0.3, 0.1, 0.03)
    """Parameter distances to reach."""
    flow_separations: tuple[float, ...] = (2.0, 3.0, 4.0, 6.0, 8.0, 10.0, 12.0, 16.0)
    """Means of the data for gradient flow."""
    flow_magnifications: int = 33
    """Number of M for gradient flow: 1, 100, 1e4 and so on, to 1e64."""
    flow_distance: float = 0.1
    """Distance at which gradient flow counts as converged."""
    num_points: int = 512
    """Number of quadrature points."""
    num_positions: int = 11
    """Number of points between start and truth where curvatures are taken."""
    curvature_magnifications: tuple[float, ...] = (1.0, 1e2, 1e4, 1e8)
    """M for curvatures."""
    seed: int = 0
    """Unused, since nothing is random."""


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
