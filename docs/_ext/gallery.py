"""How sphinx-gallery runs the examples, and in which order they are shown."""

from pathlib import Path

# From the first energy to grids of runs.
ORDER = [
    "energy_in_two_dimensions",
    "log_partition_three_ways",
    "evidence_of_a_model",
    "free_energy_from_work",
    "umbrella_sampling",
    "density_chasm",
    "covariate_shift",
    "contrastive_encoder",
    "vocabulary",
    "sweep_over_magnification",
    "noise_that_learns",
    "generator_and_critic",
    "choosing_magnification",
    "pictures_of_results",
]


def in_reading_order(name: str) -> int:
    return ORDER.index(Path(name).stem)


def restart_jax(gallery_conf, fname):
    """Begins every example as a new process would: with one device until it asks for more."""
    import jax
    from jax.extend.backend import clear_backends

    jax.clear_caches()
    clear_backends()
    jax.config.update("jax_num_cpu_devices", 1)


def setup(app):
    return {"parallel_read_safe": True}
