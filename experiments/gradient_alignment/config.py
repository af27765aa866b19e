"""Settings. All are our choice: the paper gives the figure, but no means, covariances, rates or
numbers of steps.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    magnifications: tuple[float, ...] = (1.0, 10.0, 100.0, 1000.0, 10000.0)
    """M of the paths: the decades that the figure shows."""
    data_mean: tuple[float, float] = (1.2, 0.9)
    data_covariance: tuple[float, float, float] = (0.6, 0.25, 0.35)
    """Variance, covariance, variance. Below that of the noise, N(0, I), in every direction: ratios
    are bounded."""
    start_mean: tuple[float, float] = (-1.0, 0.8)
    start_variance: float = 0.5
    """Of the model where the covariance is free."""
    rates: tuple[float, float] = (0.3, 0.03)
    """Learning rates of plain gradient descent: mean only; mean and covariance."""
    steps: tuple[int, int] = (100, 300)
    half_width: float = 11.0
    """The grid covers [-half_width, half_width]^2: on the likelihood's path the model is wider than
    data and noise."""
    spacing: float = 0.2
    bias_magnifications: int = 41
    """Values of M for the bias, evenly from 1 to 1e8 on a log scale."""
    bias_steps: tuple[int, ...] = (0, 5, 20, 60)
    """Steps of the maximum-likelihood path at which the bias is taken."""
    offset: float = 0.5
    """Error of F, in nats, for the bias of a joint gradient whose F lags."""
    tails: tuple[tuple[float, float], ...] = (
        (0.5, 0.8),
        (0.5, 4.0),
        (1.6, 1.0),
        (3.0, 1.0),
        (1.3, 8.0),
        (3.0, 4.0),
    )
    """Variances of the model and of the data, isotropic, beside noise of variance 1."""
    tail_magnifications: int = 33
    """Values of M for the tails, evenly from 1 to 1e8 on a log scale."""
    seed: int = 0
    """Nothing is random."""


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
