"""Settings; all are our choice."""

from dataclasses import dataclass

from experiments.common.image_features import FeatureSettings


@dataclass(frozen=True)
class SpaceSettings:
    """The images and their coordinates, in which the energies live."""

    images: str = "mnist"
    """"mnist", "fashion-mnist", or "digits": scikit-learn's 8 x 8 set, enlarged, no download."""
    dim: int = 32
    """Number of principal coordinates that an energy sees, of 784."""
    num_dequantizations: int = 2
    """How often the training images are dequantized anew."""


@dataclass(frozen=True)
class TrainingSettings:
    """Energies and their training."""

    width: float = 1.2
    """Standard deviation of the noise, in units of the data's: beyond the data it is noise that
    tells the energies to fall."""
    hidden: tuple[int, ...] = (192, 192)
    """Widths of the perceptron of a stage."""
    num_steps: int = 4000
    """Number of training steps."""
    batch_size: int = 256
    """Number of images, and of noise samples, per step."""
    rate: float = 3e-3
    """Learning rate of AdamW, which falls to zero along a cosine."""
    decay: float = 1e-4
    """Weight decay of AdamW."""
    num_held_out: int = 5000
    """Number of test images of the stages' losses and overlaps."""


@dataclass(frozen=True)
class SamplingSettings:
    """How an energy is sampled, and its log Z bounded."""

    num_samples: int = 1000
    """Number of samples, and of test images that they are compared with."""
    num_temperatures: int = 60
    """Number of temperatures between noise and model, spread evenly over the stages."""
    num_leapfrog: int = 5
    """Number of leapfrog steps of a transition of Hamiltonian Monte Carlo."""
    acceptance: float = 0.75
    """Acceptance rate that the step size is steered to while it is annealed."""
    num_chain_steps: int = 40
    """Number of transitions of plain chains, which begin at noise samples."""
    oversampling: int = 100
    """Number of noise samples per sample that is resampled."""
    num_bound_chains: int = 128
    """Number of chains of either bound on log Z, and of test images of the upper one."""
    num_bound_temperatures: int = 100
    """Number of temperatures of the bounds."""


@dataclass(frozen=True)
class CellSettings(SpaceSettings, TrainingSettings, SamplingSettings):
    """All that a method of a seed depends on."""


@dataclass(frozen=True)
class Config(CellSettings):
    """One run of the experiment."""

    classifier_steps: int = 1500
    """Number of training steps of the classifier whose features are compared."""
    noise_levels: tuple[float, ...] = (0.0, 0.22, 0.45, 0.7, 1.0)
    """Noise levels of the K stages, from data to noise; K = 1 has the first and the last."""
    magnification: float = 100.0
    """M of the rows that do not have M = 1."""
    num_components: int = 10
    """Number of Gaussians of the mixture that energies are compared with."""
    max_mixture: int = 10_000
    """Largest number of images that the mixture is fitted to."""
    methods: tuple[str, ...] | None = None
    """Names in `train.methods`; None takes all."""
    num_seeds: int = 3
    """Number of seeds; a seed is the initial values, batches and chains."""
    keep_pieces: bool = False
    """Whether finished cells stay in build/runs. They do not follow changes of the library."""
    seed: int = 0
    """Seed of all random numbers."""


def features_of(config: Config) -> FeatureSettings:
    """Settings of the classifier."""
    return FeatureSettings(num_steps=config.classifier_steps)


PRESETS = {
    "smoke": Config(
        images="digits",
        dim=4,
        num_dequantizations=1,
        hidden=(8,),
        num_steps=10,
        batch_size=32,
        num_held_out=50,
        num_samples=30,
        num_temperatures=8,
        num_leapfrog=2,
        num_chain_steps=3,
        oversampling=4,
        num_bound_chains=8,
        num_bound_temperatures=6,
        classifier_steps=5,
        num_components=2,
        max_mixture=300,
        methods=("K = 1", "K = 4"),
        num_seeds=1,
    ),
    # The other rows are left to the preset gpu: the stages take most of the time.
    "cpu": Config(methods=("K = 1", "K = 4", "K = 1, M = 100")),
    "gpu": Config(
        dim=256,
        num_dequantizations=8,
        hidden=(1024, 1024, 1024),
        num_steps=100_000,
        batch_size=1024,
        rate=1e-3,
        noise_levels=(0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
        num_samples=10_000,
        num_temperatures=1000,
        num_chain_steps=1000,
        num_bound_chains=1024,
        num_bound_temperatures=2000,
        max_mixture=60_000,
        num_components=40,
    ),
}
