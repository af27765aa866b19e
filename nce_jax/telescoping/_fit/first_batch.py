"""What the first batch settles for a whole fit: the offset of its bridges, and that it begins."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._bridges import stage_log_ratios
from nce_jax._types import Params, PRNGKeyArray
from nce_jax.telescoping._fit.config import FitConfig, Levels
from nce_jax.telescoping._fit.stage_model import (
    StageModel,
    centered_bridges,
    initial_params,
    noise_offset,
)

_ENDS = Levels(np.array([0.0, 1.0]), is_searched=False)


def begin(key: PRNGKeyArray, config: FitConfig, levels: Levels | None) -> FitConfig:
    """The settings with the offset of all bridges; raises if the model cannot begin.

    Without `levels` the model is tried on a single stage.
    """
    pairs = config.sampler.draw(key, config.batch_size)
    config = config._replace(offset=noise_offset(config.model, pairs[1]))
    chain = config.chain(levels or _ENDS)
    x = centered_bridges(config.model, pairs, chain)
    template = initial_params(config.template, config.model, chain.num_stages)
    params = {"model": template, **config.moments(x)}
    num_bad = int(_count_bad(config.model, params, x))
    if num_bad:
        cure = (
            "; the model sees samples with mean 0 and standard deviation 1: standardize=False if it"
            " needs them as they are"
        )
        raise ValueError(
            f"model: expected finite log ratios at the initial parameters, got {num_bad} of"
            f" {2 * chain.num_stages * config.batch_size} that are not"
            f"{cure if config.is_standardized else ''}"
        )
    return config


@partial(jax.jit, static_argnames="model")
def _count_bad(model: StageModel, params: Params, x: jax.Array) -> jax.Array:
    """How many log ratios leave no loss: NaN, or infinite against the side of their sample."""
    data, noise = stage_log_ratios(model.stages_fn, params, x)
    return jnp.sum(~(-data < jnp.inf)) + jnp.sum(~(noise < jnp.inf))
