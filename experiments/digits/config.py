"""Settings of the digits experiment. All are our choice, since no paper states them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """One run of the experiment."""

    num_held_out: int = 300
    """Number of validation images, and of test images, out of 1,797; the others are trained on."""
    logit_margin: float = 1e-6
    """alpha of logit(alpha + (1 - 2 alpha) x), which keeps the logit finite."""

    magnifications: tuple[float, ...] = (1.0, 10.0, 100.0, 1000.0)
    """Grid of M. Cells of equal kappa = noise_ratio * magnification lie on its diagonals."""
    noise_ratios: tuple[float, ...] = (0.1, 1.0, 10.0)
    """Prior odds in the loss; the number of noise samples stays `batch_size`."""
    num_seeds: int = 5
    """Number of seeds of weights, batches and noise; all seeds share the split."""

    hidden: tuple[int, ...] = (128, 64)
    """Widths of the network: those of the literature's 2-D experiments, our library's default."""
    log_ratio_bound: float | None = 5.0
    """Bound on |f| (None: unbounded), chosen on validation images and noise."""
    learning_rate: float = 1e-3
    """Learning rate of Adam: its default."""
    batch_size: int = 128
    """Number of images, and of noise samples, per step."""
    num_steps: int = 1000
    """Number of training steps, fixed in advance and not chosen by any held-out number."""

    study_noise_per_image: int = 10
    """Noise samples per image in the study of real noise ratios, where M = kappa / this number."""
    study_kappas: tuple[float, ...] = (1.0, 10.0, 1000.0)
    """Values of kappa in that study; the grid has the same with one noise sample per image."""

    num_checkpoints: int = 10
    """Number of checkpoints, each evaluated on fresh noise."""
    reported_steps: tuple[int, int] = (300, 1000)
    """Steps whose evaluations are shown in the tables."""
    num_evaluation_noise: int = 50_000
    """Number of noise samples of an evaluation."""
    evaluation_chunk: int = 1_000
    """Number of noise samples in memory at once, per lane."""
    min_effective_samples: float = 100.0
    """Effective sample size below which log Z and likelihood are withheld."""
    min_effective_fraction: float = 0.005
    """Fraction of effective noise samples below which they are withheld as well."""

    seed: int = 0
    """Seed of all random numbers."""


PRESETS = {
    "paper": Config(),
    "smoke": Config(
        num_held_out=100,
        magnifications=(1.0, 10.0),
        noise_ratios=(1.0, 10.0),
        num_seeds=2,
        hidden=(32, 32),
        learning_rate=3e-3,
        batch_size=64,
        num_steps=400,
        study_noise_per_image=2,
        study_kappas=(1.0, 10.0),
        num_checkpoints=2,
        reported_steps=(200, 400),
        num_evaluation_noise=2_000,
        evaluation_chunk=500,
    ),
}
