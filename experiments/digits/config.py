"""Settings of the digits experiment. No paper states any of them: every field is our choice, and
the comment says why.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """One run of the experiment."""

    # Data: 1,797 images of 8 x 8 pixels with 17 gray levels; what the split leaves over is trained
    # on.
    num_held_out: int = 300  # validation images, and as many test images
    logit_margin: float = 1e-6  # alpha of logit(alpha + (1 - 2 alpha) x): keeps the logit finite

    # The grid, in factors of ten on both axes, so that one kappa = noise_ratio * magnification lies
    # on a diagonal.
    magnifications: tuple[float, ...] = (1.0, 10.0, 100.0, 1000.0)
    # Prior odds in the loss; the noise samples stay `batch_size`.
    noise_ratios: tuple[float, ...] = (0.1, 1.0, 10.0)
    num_seeds: int = (
        5  # of initial weights, batches, noise and evaluation noise; all seeds share the split
    )

    # Model and training.
    # The library's default, the widths of the literature's 2-D experiments.
    hidden: tuple[int, ...] = (128, 64)
    log_ratio_bound: float | None = (
        5.0  # |f| stays below it (None: unbounded); chosen on validation images and noise
    )
    learning_rate: float = 1e-3  # Adam's default
    batch_size: int = 128  # images per step, and noise samples per step
    num_steps: int = 1000  # fixed in advance, not chosen by any held-out number

    # Small study: a noise ratio of real samples, `study_noise_per_image` per image, with M = kappa
    # / study_noise_per_image.
    study_noise_per_image: int = 10
    # Where the grid has them with one noise sample per image.
    study_kappas: tuple[float, ...] = (1.0, 10.0, 1000.0)

    # Evaluation, on fresh noise at every checkpoint; tables show the reported two.
    num_checkpoints: int = 10
    reported_steps: tuple[int, int] = (300, 1000)
    num_evaluation_noise: int = 50_000
    evaluation_chunk: int = 1_000  # noise samples in memory at once, per lane
    min_effective_samples: float = (
        100.0  # below it, or below the fraction, log Z and likelihood are withheld
    )
    min_effective_fraction: float = 0.005

    seed: int = 0


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
