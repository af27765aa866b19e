"""Settings, all our choice: the paper shows the figure without its means, rates or steps."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    magnifications: tuple[float, ...] = (1.0, 10.0, 100.0, 1000.0, 10000.0)
    """M of the paths: the decades in the figure."""
    data_mean: tuple[float, float] = (1.2, 0.9)
    """Mean of the data."""
    data_covariance: tuple[float, float, float] = (0.6, 0.25, 0.35)
    """Variance, covariance, variance. They are below those of the noise, N(0, I), in every
    direction, so that ratios are bounded."""
    start_mean: tuple[float, float] = (-1.0, 0.8)
    """Mean of the model at the start."""
    start_variance: float = 0.5
    """Variance of the model at the start, where the covariance is free."""
    rates: tuple[float, float] = (0.3, 0.03)
    """Learning rates of plain gradient descent: mean only; mean and covariance."""
    steps: tuple[int, int] = (100, 300)
    """Numbers of steps: mean only; mean and covariance."""
    half_width: float = 11.0
    """The grid covers [-half_width, half_width]^2, since the model on the likelihood's path is
    wider than data and noise."""
    spacing: float = 0.2
    """Spacing of the grid."""
    bias_magnifications: int = 41
    """Number of M for the bias, evenly spaced from 1 to 1e8 on a log scale."""
    bias_steps: tuple[int, ...] = (0, 5, 20, 60)
    """Steps of the maximum-likelihood path at which the bias is taken."""
    offset: float = 0.5
    """Error of F, in nats, in the bias of a joint gradient with an outdated F."""
    tails: tuple[tuple[float, float], ...] = (
        (0.5, 0.8),
        (0.5, 4.0),
        (1.6, 1.0),
        (3.0, 1.0),
        (1.3, 8.0),
        (3.0, 4.0),
    )
    """Variances of the model and of the data, isotropic, with noise of variance 1."""
    tail_magnifications: int = 33
    """Number of M for the tails, evenly spaced from 1 to 1e8 on a log scale."""
    seed: int = 0
    """Unused, since nothing is random."""


PRESETS = {
    "paper": Config(),
    "smoke": Config(
        magnifications=(1.0, 100.0, 10000.0),
        steps=(20, 20),
        half_width=8.0,
        spacing=0.3,
        bias_magnifications=17,
        bias_steps=(0, 10),
    ),
}
