"""Training of the stages, and their losses and overlaps on test images."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from experiments.common.settings import check_methods
from experiments.latent_digits.config import CellSettings, Config
from experiments.latent_digits.energy import initial, stages_fn, wide_normal
from nce_jax import criteria, diagnostics, log_partition, losses, telescoping, training

TREATMENTS = {"joint": training.joint_gradient, "solved": training.solved}


class Method(NamedTuple):
    """A row of the tables. It is hashable, and a static argument of compiled functions."""

    noise_levels: tuple[float, ...]
    magnification: float = 1.0
    treatment: str = "solved"

    @property
    def num_stages(self) -> int:
        """K."""
        return len(self.noise_levels) - 1


class Trained(NamedTuple):
    """Parameters of the stages; F, loss at M = 1 and overlap of each on test images, (K,)."""

    params: Any
    log_partition: jax.Array
    loss: jax.Array
    overlap: jax.Array


def methods(config: Config) -> dict[str, Method]:
    """Rows by name, in the order of the tables."""
    single, chain = (0.0, 1.0), config.noise_levels
    stages, m = f"K = {len(chain) - 1}", config.magnification
    rows = {
        "K = 1": Method(single),
        stages: Method(chain),
        f"K = 1, M = {m:g}": Method(single, m),
        f"{stages}, M = {m:g}": Method(chain, m),
        "K = 1, F joint": Method(single, treatment="joint"),
    }
    check_methods(config.methods or (), rows)
    return {name: rows[name] for name in config.methods or rows}


def train(
    settings: CellSettings, method: Method, key: jax.Array, x: jax.Array, x_test: jax.Array
) -> Trained:
    """Trains all stages at once on coordinates x, (n, dim)."""
    key_init, key_rows, key_test = jax.random.split(key, 3)
    step = _train_step(settings, method)

    def advance(state, number):
        key_batch = jax.random.fold_in(key_rows, number)
        rows = jax.random.randint(key_batch, (settings.batch_size,), 0, len(x))
        return step(state, training.Batch(x[rows], None), key_rows)[0], None

    state = step.init(initial(settings, key_init, method.num_stages))
    params = jax.lax.scan(advance, state, jnp.arange(settings.num_steps))[0].params
    return Trained(params, *_held_out(settings, method, params, key_test, x_test))


def _train_step(settings: CellSettings, method: Method) -> Any:
    rate = optax.cosine_decay_schedule(settings.rate, settings.num_steps)
    return training.make_stage_step(
        stages_fn(settings),
        wide_normal(settings),
        optax.adamw(rate, weight_decay=settings.decay),
        noise_levels=method.noise_levels,
        criterion=criteria.nce(magnification=method.magnification),
        treatment=TREATMENTS[method.treatment](),
    )


def _held_out(settings, method, params, key, x_test) -> tuple[jax.Array, jax.Array, jax.Array]:
    """F, NCE loss and overlap of every stage at M = 1."""
    noise = wide_normal(settings).sample(seed=key, sample_shape=(len(x_test),))
    x = telescoping.bridges(x_test, noise, noise_levels=method.noise_levels)
    pair = telescoping.stage_log_ratios(stages_fn(settings), params, x)
    solved = log_partition.solve_log_partition(*pair).log_partition
    return (
        solved,
        losses.nce_loss(*pair, log_partition=solved),
        diagnostics.overlap(*pair, log_partition=solved),
    )
