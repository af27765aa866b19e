"""A program for an installed wheel, outside any checkout: losses, solve, bar, and a train step.

With names of extras it also imports the modules that need them; without, it sees that these say
what to install. It uses nothing but the wheel and what the wheel requires.
"""

import importlib
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import optax

import nce_jax
from nce_jax import models, noise, toys

ROOMS = {"alchemlyb": "alchemlyb", "plots": "plots", "samplers": "samplers", "sklearn": "sklearn"}


def missing(extra: str) -> str:
    """What the import of an extra's module says is missing; nothing where it is there."""
    try:
        importlib.import_module(f"nce_jax.{ROOMS[extra]}")
    except ImportError as error:
        return str(error)
    return ""


def main() -> None:
    package = Path(nce_jax.__file__).parent
    assert not (package.parent / "pyproject.toml").exists(), f"{package} is a checkout"
    assert (package / "py.typed").is_file()
    x = 1 + jax.random.normal(jax.random.key(0), (2000,))
    y = jax.random.normal(jax.random.key(1), (2000,))
    log_ratio = lambda z: z - 0.5  # of N(1, 1) and N(0, 1): F is 0
    loss = nce_jax.nce_loss(log_ratio(x), log_ratio(y), log_partition=0.0)
    solution = nce_jax.solve_log_partition(log_ratio(x), log_ratio(y))
    free_energy = nce_jax.bar(1 - log_ratio(x), 1 + log_ratio(y))
    assert jnp.isfinite(loss)
    assert solution.status == nce_jax.Status.CONVERGED
    assert abs(solution.log_partition) < 0.2
    assert jnp.isfinite(free_energy.delta_f)
    data = toys.TOYS["pinwheel"].sample(jax.random.key(4), 2000)
    params, log_density_fn = models.mlp_energy(jax.random.key(2), 2)
    train = nce_jax.make_train_step(log_density_fn, noise.fitted_gaussian(data), optax.adam(1e-2))
    state = train.init(params)
    state, metrics = train(state, data, jax.random.key(3))
    assert jnp.isfinite(metrics.loss)
    for extra in ROOMS:
        command = f"pip install 'nce_jax[{extra}]'"
        assert missing(extra) == "" if extra in sys.argv[1:] else command in missing(extra)
    print(f"nce_jax {nce_jax.__version__} works, from {package}, with jax {jax.__version__}")


if __name__ == "__main__":
    main()
