"""Settings that a run would stop at after days, refused before it begins."""

import jax

from experiments.common import settings
from experiments.common.critic_methods import METHODS
from experiments.common.endings import CommandError
from experiments.diffusion_images.config import Config
from experiments.diffusion_images.data import Images
from experiments.diffusion_images.denoisers import Teacher


def check(config: Config, images: Images, teachers: dict[str, Teacher]) -> None:
    """Raises CommandError for settings that a run would stop at, perhaps after days."""
    settings.check_methods((*config.methods, *config.student_methods), METHODS)
    settings.check_least(config, 1, "num_seeds", "length", "num_many", "checkpoint_every")
    settings.check_least(config, 4, "num_measured")
    for name in ("sampler_steps", "student_steps"):
        settings.steps_between(config, name)
    count = jax.device_count()
    for name in ("batch_size", "student_batch"):
        if (size := getattr(config, name)) < 1 or size % count:
            raise CommandError(f"{name}: expected a multiple of {count}, the devices, got {size}")
    side = images.x.shape[1]
    for name, teacher in teachers.items():
        if teacher.side != side:
            raise CommandError(
                f"images: expected those of {name}, {teacher.side} pixels high, got {side};"
                " choose another teacher"
            )
