"""Settings. Those marked as a paper's are its published ones; all others are our choice."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """One run of the experiment."""

    images: str = "cifar10"
    """"cifar10", "imagenet64", or "digits": scikit-learn's 8 x 8 set in color, no download."""
    sampler_teacher: str = "ddpm-cifar10"
    """The denoiser that the sampler begins as; "random" is a small one with random weights.
    DxMI's, in both presets."""
    student_teacher: str = "edm-cifar10"
    """The denoiser that is distilled. The paper's."""
    features: str = "inception-2015-12-05"
    """The network of whose features the Frechet distance is the FID; "random" needs no file."""
    num_measured: int = 50_000
    """Number of samples of a measurement, and of training images that they are compared with."""
    num_checkpoints: int = 6
    """Number of updates after which a generator is measured, evenly spaced: of the student, 20,000
    and 30,000 are among them."""
    num_many: int = 500
    """Number of steps of the sampler that shows what a teacher knows."""
    batch_size: int = 128
    """Images of an update of the sampler. DxMI's."""
    length: int = 10
    """Number of steps of the sampler. DxMI's."""
    last_scale: float = 0.001
    """Standard deviation of the last step, which is not trained. DxMI's."""
    num_differentiated: int = 10
    """Number of last steps of a path that the sampler's gradient goes through. DxMI has no gradient
    through a path: its value function moves every step by itself."""
    sampler_steps: int = 40_000
    """Number of updates of the sampler. DxMI has up to 78,000 for CIFAR-10 and 10,000 for ImageNet
    at 64 pixels, and keeps the best that it measures."""
    sampler_rate: float = 1e-7
    """Learning rate of the sampler's network. DxMI's."""
    scale_rate: float = 1e-5
    """Learning rate of the logarithms of its standard deviations. DxMI's."""
    critic_rate: float = 1e-5
    """Learning rate of both critics. DxMI's."""
    critic_channels: tuple[int, ...] = (128, 256, 256, 256)
    """Channels of the critics' strided convolutions."""
    strength: float = 1.0
    """gamma of the regularizer E[u^2]. DxMI's."""
    entropy_weight: float = 0.1
    """tau_1, per pixel. DxMI's."""
    path_weight: float = 0.01
    """tau_2, per pixel. DxMI's."""
    average_decay: float = 0.9995
    """Decay of the averages of the generators' parameters, which are measured."""
    student_batch: int = 256
    """Images of an update of the student. SiD2A's."""
    student_steps: int = 30_000
    """Number of updates of the student; the unit of the published 20K and 30K is not said."""
    student_start: str = "sid-cifar10"
    """What the student begins as: SiD's generator, from a file of this name, as in SiD2A; "teacher"
    begins at the teacher, as in SiDA."""
    student_rate: float = 1e-5
    """Learning rate of student and fake score. SiD2A's."""
    student_critic_weight: float = 0.01 * 3 * 32**2 / 100
    """Weight of the critic beside the score distillation, a sum over pixels. SiD2A's: 0.01 of a
    mean that is multiplied by the number of pixels and channels, beside 100."""
    init_level: float = 2.5
    """Noise level that the student's input has. SiD's."""
    alpha: float = 1.0
    """alpha of the score distillation. SiD2A's; SiD's generators were made with 1.2."""
    methods: tuple[str, ...] = ("contrastive", "joint", "solved", "solved, regularized")
    """Critics of the sampler, by the names in `critic_methods.METHODS`."""
    magnifications: tuple[float, ...] = (1.0, 100.0)
    """M of the sampler's critics. The paper's."""
    student_methods: tuple[str, ...] = ("solved",)
    """Critics of the student, by the names in `critic_methods.METHODS`."""
    student_magnifications: tuple[float, ...] = (0.0, 1.0, 50.0)
    """M of the student's critics, 0 for none. The paper's."""
    num_seeds: int = 1
    """Number of seeds of tuning and distillation. The published tables have one."""
    checkpoint_every: int = 1000
    """Number of updates after which a run is saved."""
    seed: int = 0
    """Seed of all random numbers."""

    def updates(self, kind: str) -> list[int]:
        """The numbers of updates after which a "sampler" or "student" is measured."""
        total = self.sampler_steps if kind == "sampler" else self.student_steps
        parts = range(1, self.num_checkpoints + 1)
        return [part * total // self.num_checkpoints for part in parts]


PRESETS = {
    "smoke": Config(
        images="digits",
        sampler_teacher="random",
        student_teacher="random",
        student_start="teacher",
        features="random",
        num_measured=40,
        num_checkpoints=1,
        num_many=3,
        batch_size=8,
        length=3,
        num_differentiated=2,
        sampler_steps=2,
        critic_channels=(4,),
        average_decay=0.5,
        student_batch=8,
        student_steps=2,
        methods=("solved, regularized",),
        magnifications=(100.0,),
        student_magnifications=(50.0,),
        checkpoint_every=1,
    ),
    "gpu": Config(),
    # The student of a denoiser that knows the ten classes; the sampler's has none.
    "gpu-classes": Config(
        sampler_teacher="edm-cifar10-classes",
        methods=(),
        student_teacher="edm-cifar10-classes",
        student_start="sid-cifar10-classes",
    ),
    "gpu-imagenet64": Config(
        images="imagenet64",
        sampler_teacher="openai-edm-imagenet64",
        student_teacher="edm-imagenet64",
        sampler_steps=10_000,
        sampler_rate=1e-8,
        scale_rate=1e-6,
        critic_channels=(128, 256, 256, 256, 256),
        student_start="sid-imagenet64",
        student_rate=4e-6,
        student_batch=8192,
        student_critic_weight=0.01 * 3 * 64**2 / 100,
    ),
}
