"""Settings. All are our choice but those marked as the DxMI code's or the paper's."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """One run of the experiment."""

    radius: float = 4 / 1.414
    """Distance of the eight modes from the origin. That of the DxMI code."""
    std: float = 0.5 / 1.414
    """Standard deviation of a mode. That of the DxMI code."""
    lengths: tuple[int, ...] = (5, 10)
    """Numbers of steps of the sampler; 10 is the paper's, for images."""
    num_seeds: int = 8
    """Number of seeds of weights and draws."""
    hidden: tuple[int, ...] = (64, 64)
    """Widths of sampler, critic and value function."""
    num_steps: int = 2000
    """Number of steps of the two players."""
    num_teacher_steps: int = 3000
    """Number of steps of the teacher's denoising."""
    batch_size: int = 128
    """Number of data samples, and of generated ones, drawn afresh per step."""
    methods: tuple[str, ...] = (
        "contrastive", "value guidance", "joint", "joint, regularized", "solved",
        "solved, regularized", "adaptive", "adaptive, regularized",
    )  # fmt: skip
    """The critics, by the names in `critic_methods.METHODS`."""
    critic_rate: float = 1e-3
    """Learning rate of the critic's Adam (b1 = 0.5), and of the value function's."""
    scratch_rate: float = 1e-3
    """Learning rate of a sampler from random weights (Adam, b1 = 0.5)."""
    teacher_rate: float = 3e-4
    """The same, of a sampler that begins as the teacher."""
    average_decay: float = 0.99
    """Decay of the average of the sampler's parameters, which is measured."""
    magnifications: tuple[float, ...] = (1.0, 10.0, 50.0, 100.0)
    """Values of M; 1 and 100 are the paper's."""
    strength: float = 0.05
    """gamma of the regularizer E[u^2] on both sides. The DxMI code takes 1, for images."""
    entropy_weight: float = 0.01
    """tau_1: what a nat of the steps' entropy is worth, against a nat of the critic."""
    path_weight: float = 0.01
    """tau_2: what half a squared step, in units of the data's scale, costs."""
    last_scale: float = 0.02
    """Standard deviation of the last step, which is not trained, in units of the data's scale. That
    it is fixed is the DxMI code's choice."""
    num_checkpoints: int = 10
    """Number of steps at which a sampler is measured, evenly spaced."""
    num_measured: int = 4096
    """Number of samples of a measurement."""
    num_projections: int = 64
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
        lengths=(2,),
        num_seeds=2,
        hidden=(16,),
        num_steps=20,
        num_teacher_steps=20,
        methods=("value guidance", "solved, regularized"),
        batch_size=64,
        magnifications=(1.0, 100.0),
        num_checkpoints=2,
        num_measured=256,
        num_projections=8,
    ),
}
