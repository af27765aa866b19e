"""Settings; all are our choice where no protocol is named."""

import dataclasses

from experiments.common.latent_model import GeneratorSettings
from experiments.common.latent_priors import PriorSettings


@dataclasses.dataclass(frozen=True)
class TableSettings:
    """Settings of the ADBench tables that a cell depends on."""

    train_share: float = 0.5
    """Share of the normal rows that is trained on; the rest and all anomalies are scored."""
    max_train: int = 1500
    """Largest number of training rows; of more, a random subset is taken. From 2,000 on
    `fit_log_ratio` would train a network as well, which the chains do here."""
    max_test: int = 5000
    """Largest number of scored rows; of more, a random subset is taken."""
    widening: float = 1.25
    """Standard deviations of the noise, in those of the Gaussian fitted to the training rows."""
    ridge: float = 0.01
    """Ridge of that Gaussian, relative to its variances."""
    clip: float = 5.0
    """Standardized values beyond it look alike to the networks; the noise's density does not."""
    table_hidden: tuple[int, ...] = (64, 64)
    """Widths of the networks of a chain."""
    table_steps: int = 800
    """Number of training steps of a chain."""
    table_batch: int = 128
    """Number of rows, and of noise samples, per step."""
    table_rate: float = 1e-3
    """Learning rate of Adam, which falls to zero along a cosine."""
    table_seeds: int = 3
    """Number of seeds; a seed is split, subset, noise samples and initial values."""
    seed: int = 0
    """Seed of the run: another one numbers the seeds of the cells anew."""


@dataclasses.dataclass(frozen=True)
class ImageSettings:
    """Settings of the images that a cell depends on."""

    images: str = "mnist"
    """"mnist": all 70,000 images; "digits": scikit-learn's 8 x 8 set."""
    image_share: float = 0.8
    """Share of the normal images that is trained on: the published protocol's."""
    num_neighbor_axes: int = 40
    """Number of principal coordinates of the nearest neighbor."""
    num_residual_axes: int = 32
    """Number of principal coordinates of the residual, and of the Gaussian mixture."""
    num_components: int = 40
    """Number of components of the Gaussian mixture."""
    max_mixture: int = 10_000
    """Largest number of images that the mixture is fitted to."""


@dataclasses.dataclass(frozen=True)
class LatentSettings(GeneratorSettings, PriorSettings):
    """Settings of the latent model that a cell depends on.

    Sigma is in units where the coordinates have mean variance one.
    """

    num_axes: int = 64
    """Number of principal coordinates of the unit-norm images that the model is of."""
    magnification: float = 100.0
    """M of N2CE: the published one."""
    num_stages: int = 3
    """Number of stages of the longer chain."""


@dataclasses.dataclass(frozen=True)
class ModelSettings(ImageSettings, LatentSettings):
    """All that a cell of the latent model depends on."""


@dataclasses.dataclass(frozen=True)
class Config(TableSettings, ModelSettings):
    tables: tuple[str, ...] | None = None
    """Tables of adbench/ below NCE_JAX_DATA; None takes every table that is there."""
    validation: tuple[int, ...] = (0, 2, 3, 6, 8)
    """Digits held out in turn to choose sigma, nz, and the rules that combine the score's terms."""
    grid_sigmas: tuple[float, ...] = (0.2, 0.4)
    """Sigma that are tried on the validation digits, with one seed each."""
    grid_nz: tuple[int, ...] = (8, 16)
    """Dimensions of z that are tried with each."""
    grid_steps: int = 1000
    """Number of training steps of encoder and generator there."""
    digits: tuple[int, ...] = (1, 4, 5, 7, 9)
    """Digits held out in turn for the results: the published ones."""
    latent_seeds: int = 5
    """Number of seeds of the latent model; a seed is split and initial values."""
    simple_digits: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9)
    """Digits held out in turn for the simple scores; they include those of the results."""
    simple_seeds: int = 5
    """Number of splits of the simple scores."""
    keep_pieces: bool = False
    """Whether finished cells stay in build/runs, so that a run with more seeds goes on from them.
    They do not follow changes of the library."""


PRESETS = {
    "smoke": Config(
        max_train=300,
        max_test=600,
        table_hidden=(8,),
        table_steps=20,
        table_batch=32,
        table_seeds=1,
        tables=(),
        images="digits",
        num_neighbor_axes=20,
        num_residual_axes=16,
        num_components=4,
        num_axes=16,
        nz=3,
        hidden=(16,),
        latent_steps=30,
        latent_batch=64,
        prior_hidden=(8,),
        prior_steps=20,
        prior_batch=64,
        chain_steps=3,
        validation=(0,),
        grid_sigmas=(0.2,),
        grid_nz=(3,),
        grid_steps=30,
        digits=(1,),
        latent_seeds=2,
        simple_digits=(1,),
        simple_seeds=1,
    ),
    "cpu": Config(hidden=(512, 512), sigma=0.4, nz=16, latent_steps=2000, keep_pieces=True),
    # Wider and longer than the pilots in which the reconstruction was seen to converge (512 and
    # 8,000 steps). It has not been run.
    "gpu": Config(
        hidden=(1024, 1024),
        sigma=0.4,
        nz=16,
        grid_steps=5000,
        latent_steps=20_000,
        prior_hidden=(128, 128),
        prior_steps=5000,
        chain_steps=60,
    ),
}
