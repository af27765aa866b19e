"""Settings. All are our choice but those marked as a paper's."""

from dataclasses import dataclass

from experiments.common.image_features import FeatureSettings


@dataclass(frozen=True)
class TeacherSettings:
    """The images, the teacher, and the judge of samples."""

    images: str = "mnist"
    """"mnist", "fashion-mnist", or "digits": scikit-learn's 8 x 8 set, enlarged, no download."""
    side: int = 14
    """Pixels along an edge; 14 averages 2 x 2 pixels of 28."""
    channels: tuple[int, ...] = (16, 32)
    """Channels of the U-net at each resolution."""
    num_teacher_steps: int = 3000
    """Number of steps of the teacher's denoising."""
    teacher_batch: int = 64
    """Number of images of such a step."""
    teacher_rate: float = 2e-3
    """Learning rate of the teacher's Adam, which falls to zero along a cosine."""
    length: int = 10
    """Number of steps of the sampler that is tuned. The paper's."""
    num_many: int = 100
    """Number of steps of the sampler that shows what the teacher knows."""
    last_scale: float = 0.02
    """Standard deviation of the last step, which is not trained; pixels go from -1 to 1."""
    num_measured: int = 1000
    """Number of samples of a measurement."""
    classifier_steps: int = 1500
    """Number of training steps of the classifier whose features are compared."""
    seed: int = 0
    """Seed of all random numbers."""


@dataclass(frozen=True)
class CellSettings(TeacherSettings):
    """All that a method of a seed depends on."""

    batch_size: int = 32
    """Number of images, and of generated ones, of an update."""
    num_updates: int = 200
    """Number of updates of the sampler."""
    num_differentiated: int = 5
    """Number of last steps of a path that the sampler's gradient goes through."""
    sampler_rate: float = 5e-5
    """Learning rate of the sampler (Adam, b1 = 0.5)."""
    critic_channels: tuple[int, ...] = (16, 32)
    """Channels of the critic's strided convolutions."""
    critic_rate: float = 1e-3
    """Learning rate of the critic's Adam (b1 = 0.5)."""
    average_decay: float = 0.98
    """Decay of the average of the generator's parameters, which is measured."""
    strength: float = 0.05
    """gamma of the regularizer E[u^2] on both sides. The DxMI code takes 1."""
    path_weight: float = 1e-3
    """tau_2: what half a squared step costs, against a nat of the critic."""
    entropy_weight: float = 1e-4
    """tau_1: what a nat of the steps' entropy is worth."""
    num_checkpoints: int = 4
    """Number of updates after which a generator is measured, evenly spaced."""
    num_distillation_updates: int = 240
    """Number of updates of the one-step student."""
    student_rate: float = 3e-4
    """Learning rate of the student's Adam (b1 = 0), and of the fake score's."""
    init_level: float = 3.0
    """Noise level at which the student is the teacher: five times the images' deviation, as in
    SiD."""
    levels: tuple[float, float] = (0.05, 10.0)
    """Lowest and highest noise level of the scores and of the student's critic, log-uniform."""
    student_critic_weight: float = 1.0
    """Weight of the critic beside the score distillation, whose loss is a sum over pixels."""


@dataclass(frozen=True)
class Config(CellSettings):
    """One run of the experiment."""

    methods: tuple[str, ...] = (
        "contrastive", "value guidance", "joint", "solved", "solved, regularized",
        "adaptive, regularized",
    )  # fmt: skip
    """Critics of the sampler, by the names in `critic_methods.METHODS`."""
    magnifications: tuple[float, ...] = (1.0, 10.0, 100.0)
    """M of a solved F; 1 and 100 are the paper's."""
    fewer_magnifications: tuple[float, ...] = (1.0, 100.0)
    """M of the other methods."""
    students: tuple[float, ...] = (0.0, 1.0, 50.0)
    """M of the students' critics, 0 for none; 1 and 50 are the paper's."""
    student_methods: tuple[str, ...] = ("solved",)
    """The students' critics, by the names in `critic_methods.METHODS`."""
    num_seeds: int = 5
    """Number of seeds of tuning and distillation. The teacher is one and the same."""
    keep_pieces: bool = False
    """Whether finished cells stay in build/runs. They do not follow changes of the library."""


def features_of(settings: TeacherSettings) -> FeatureSettings:
    """Settings of the classifier."""
    return FeatureSettings(num_steps=settings.classifier_steps)


PRESETS = {
    "smoke": Config(
        images="digits",
        side=7,
        channels=(8,),  # four groups of one channel would normalize the time away
        num_teacher_steps=5,
        teacher_batch=8,
        length=3,
        num_many=4,
        num_measured=40,
        classifier_steps=5,
        batch_size=8,
        num_updates=2,
        num_differentiated=2,
        critic_channels=(4,),
        num_checkpoints=2,
        num_distillation_updates=2,
        methods=("value guidance", "solved"),
        magnifications=(1.0, 100.0),
        students=(0.0, 50.0),
        student_methods=("joint, regularized",),
        num_seeds=2,
    ),
    "cpu": Config(),
    "gpu": Config(
        side=28,
        channels=(64, 128, 128),
        num_teacher_steps=40_000,
        teacher_batch=256,
        teacher_rate=4e-4,
        num_many=500,
        num_measured=10_000,
        batch_size=128,
        num_updates=3000,
        num_differentiated=10,
        sampler_rate=1e-5,
        critic_channels=(64, 128, 256),
        critic_rate=1e-4,
        average_decay=0.995,
        num_checkpoints=10,
        num_distillation_updates=20_000,
        student_rate=1e-5,
        methods=(
            "contrastive", "value guidance", "joint", "joint, regularized", "solved",
            "solved, regularized", "adaptive", "adaptive, regularized",
        ),
        magnifications=(1.0, 10.0, 50.0, 100.0),
        fewer_magnifications=(1.0, 10.0, 50.0, 100.0),
        student_methods=("joint", "joint, regularized", "solved", "solved, regularized"),
    ),
}  # fmt: skip
