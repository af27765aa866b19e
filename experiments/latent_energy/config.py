"""Settings; all are our choice where the origin is not named."""

import dataclasses
from typing import Any

from experiments.common.latent_priors import Prior, PriorSettings
from experiments.latent_energy.features import FeatureSettings


@dataclasses.dataclass(frozen=True)
class ModelSettings:
    """Settings of the generators that are trained first, with the prior N(0, I)."""

    nz: int = 8
    """Dimension of z for gray images."""
    hidden: tuple[int, ...] = (256, 256)
    """Widths of encoder and generator."""
    sigma: float = 0.3
    """Standard deviation of the generator's errors, in units of a pixel from 0 to 1."""
    color_nz: int = 24
    """Dimension of z for color images."""
    color_axes: int = 256
    """Number of principal coordinates that color images are modeled in."""
    color_sigma: float = 0.15
    """The standard deviation for color images."""
    latent_steps: int = 3000
    """Number of training steps of encoder and generator."""
    latent_batch: int = 256
    """Number of images per step."""
    latent_rate: float = 3e-3
    """Learning rate of Adam, which falls to zero along a cosine."""
    draws_per_image: int = 4
    """Number of posterior draws of each training image, which the priors learn from."""


@dataclasses.dataclass(frozen=True)
class EvaluationSettings:
    """How a prior is sampled and judged."""

    oversampling: int = 50
    """Number of draws from N(0, I) for each sample of a prior."""
    normalizer_draws: int = 200_000
    """Number of draws from N(0, I) for the normalizer of a prior."""
    kernel_subset: int = 2500
    """Size of the subsets of the kernel distance."""
    num_pictures: int = 12
    """Number of samples that are kept as pictures, of the first seed."""
    num_components: int = 50
    """Number of Gaussians of the mixture."""
    max_mixture: int = 20_000
    """Largest number of posterior draws that the mixture is fitted to."""


@dataclasses.dataclass(frozen=True)
class MethodSettings(PriorSettings):
    """The priors and their training."""

    prior_hidden: tuple[int, ...] = (128, 128)
    prior_steps: int = 2000
    chain_rate: float = 2e-4
    """Learning rate of maximum likelihood: at `prior_rate` its short chains diverge."""
    magnification: float = 100.0
    """M of N2CE: the published one."""
    noise_levels: tuple[float, ...] = (0.0, 0.3, 0.6, 1.0)
    """Noise levels of the K = 3 stages, from data to noise."""


@dataclasses.dataclass(frozen=True)
class JointSettings:
    """Joint training of encoder, convolutional generator and prior."""

    inference: str = "amortized"
    """"amortized", by an encoder, or "chains", from N(0, I) as the origin does."""
    joint_nz: int = 100
    """Dimension of z: the origin's. CelebA-HQ has `hq_nz`."""
    hq_nz: int = 512
    """Dimension of z for CelebA-HQ: the origin's."""
    width: int = 64
    """Unit of the numbers of channels: the origin's for SVHN and CelebA, and half of CIFAR-10's."""
    encoder_width: int = 64
    """The same of the encoder, which the origin's published code does not have."""
    joint_sigma: float = 0.3
    """Standard deviation of the generator's errors, in units of a pixel from -1 to 1: the origin's.
    """
    joint_steps: int = 50_000
    """Number of training steps."""
    joint_batch: int = 128
    """Number of images per step."""
    joint_rate: float = 1e-4
    """Learning rate of Adam (0.5, 0.999) for encoder and generator: the origin's order."""
    posterior_steps: int = 20
    """Number of Langevin steps of the posterior, if inferred by chains: the origin's."""
    posterior_step: float = 0.1
    """Their size s: the origin's."""


@dataclasses.dataclass(frozen=True)
class SetSettings(FeatureSettings, ModelSettings, EvaluationSettings, MethodSettings):
    """All that a cell of the two-stage training depends on."""


@dataclasses.dataclass(frozen=True)
class JointSetSettings(SetSettings, JointSettings):
    """All that a cell of the joint training depends on."""


@dataclasses.dataclass(frozen=True)
class Config(JointSetSettings):
    sets: tuple[str, ...] = ("mnist", "fashion-mnist")
    """Sets of the two-stage training: a generator with N(0, I) first, then the priors. "cifar10" is
    ready to run."""
    joint_sets: tuple[str, ...] = ()
    """Sets of the joint training."""
    joint_methods: tuple[str, ...] = ()
    """Names of its priors; () takes N(0, I) and all that are trained by steps."""
    num_seeds: int = 3
    """Number of seeds; a seed is the initial values, batches and draws of generator and priors."""
    keep_pieces: bool = False
    """Whether finished cells stay in build/runs. They do not follow changes of the library."""
    seed: int = 0
    """Seed of the run: another one numbers the seeds of the cells anew."""


def part(config: Any, kind: type) -> Any:
    """The settings of one kind that a config holds."""
    return kind(**{field.name: getattr(config, field.name) for field in dataclasses.fields(kind)})


def priors(settings: Any) -> list[Prior]:
    """The priors that are trained by steps, in the order of tables."""
    many, levels = settings.magnification, tuple(settings.noise_levels)
    long = {"noise_levels": levels}
    stages = f"K = {len(levels) - 1}"
    return [
        Prior("MLE", "chains"),
        Prior("NCE, F joint", magnification=1.0, treatment="joint"),
        Prior("NCE", magnification=1.0),
        Prior(f"N2CE, M = {many:g}, F joint", magnification=many, treatment="joint"),
        Prior(f"N2CE, M = {many:g}", magnification=many),
        Prior("M by the rule", magnification=None),
        Prior(f"NCE, {stages}", magnification=1.0, **long),
        Prior(f"N2CE, M = {many:g}, {stages}, F joint", "stages", many, levels, "joint"),
        Prior(f"N2CE, M = {many:g}, {stages}", magnification=many, **long),
    ]


PRESETS = {
    "smoke": Config(
        sets=("digits",),
        nz=3,
        hidden=(32,),
        latent_steps=100,
        latent_batch=64,
        feature_hidden=(32, 16),
        feature_steps=100,
        prior_hidden=(16,),
        prior_steps=30,
        prior_batch=64,
        chain_steps=3,
        oversampling=10,
        normalizer_draws=2000,
        kernel_subset=100,
        num_components=4,
        num_seeds=1,
        joint_sets=("digits",),
        joint_methods=("N2CE, M = 100",),
        joint_nz=3,
        width=2,
        encoder_width=2,
        joint_steps=5,
        joint_batch=16,
    ),
    "cpu": Config(keep_pieces=True),
    "gpu": Config(
        sets=(),
        prior_hidden=(200, 200),
        chain_steps=60,
        color_channels=(64, 128, 256),
        feature_hidden=(512, 128),
        color_steps=20_000,
        joint_sets=("cifar10", "svhn", "celeba", "celeba-hq"),
        keep_pieces=True,
    ),
}
