"""Settings. All are our choice but those marked as SiD's (Zhou et al., 2024) or the paper's."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """One run of the experiment."""

    radius: float = 4.0
    """Distance of the eight modes from the origin."""
    std: float = 0.3
    """Standard deviation of a mode of the data."""
    teacher_std: float = 0.5
    """Standard deviation of a mode of the teacher, which has the data's modes and wrong widths."""
    num_seeds: int = 6
    """Number of seeds of weights and draws."""
    hidden: tuple[int, ...] = (64, 64)
    """Widths of generator, fake score and critic."""
    num_fit_steps: int = 4000
    """Number of steps that fit a network to the teacher, with which both networks begin."""
    fit_rate: float = 3e-3
    """Learning rate of this fit (Adam), which falls to zero."""
    num_steps: int = 3000
    """Number of updates of the generator."""
    batch_size: int = 128
    """Number of data, and of generated samples, of an update."""
    init_level: float = 1.0
    """Noise level at which the network is the generator, in units of the data's scale. SiD takes
    five times the scale of the data, from where the teacher's denoiser finds no modes here."""
    levels: tuple[float, float] = (0.05, 3.0)
    """Lowest and highest noise level of scores and critic, log-uniform, in these units."""
    alpha: float = 1.0
    """alpha of SiD's loss; SiD's own are 1 and 1.2."""
    critic_weight: float = 0.3
    """Weight of the critic's loss of the generator. SiDA's is 0.01, for images."""
    strength: float = 0.05
    """gamma of the regularizer E[u^2] on both sides."""
    magnifications: tuple[float, ...] = (1.0, 50.0)
    """Values of M, the paper's."""
    methods: tuple[str, ...] = (
        "none", "joint", "joint, regularized", "solved", "solved, regularized", "adaptive",
        "adaptive, regularized", "joint, doubled", "solved, doubled",
    )  # fmt: skip
    """The critics, by the names in `players.METHODS`."""
    generator_rate: float = 3e-4
    """Learning rate of the generator (Adam; b1 = 0 is SiD's)."""
    fake_rate: float = 1e-3
    """Learning rate of the fake score (Adam; b1 = 0 is SiD's)."""
    critic_rate: float = 5e-3
    """Learning rate of the critic (Adam, b1 = 0)."""
    average_decay: float = 0.98
    """Decay of the average of the generator's parameters, which is measured."""
    num_checkpoints: int = 40
    """Number of times that a generator is measured, at evenly spaced updates."""
    num_measured: int = 8192
    """Number of samples of a measurement."""
    num_projections: int = 32
    """Number of directions of the sliced distance."""
    seed: int = 0
    """Seed of all random numbers."""

    @property
    def scale(self) -> float:
        """By what data are divided before any network sees them: about their spread."""
        return self.radius / 2**0.5


PRESETS = {
    "paper": Config(),
    "smoke": Config(
        num_seeds=2,
        hidden=(16,),
        num_fit_steps=20,
        num_steps=20,
        methods=("none", "solved, regularized"),
        batch_size=64,
        num_checkpoints=4,
        num_measured=256,
        num_projections=8,
    ),
}
