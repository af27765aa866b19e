"""Samples of a model, by Markov chains of blackjax or by resampling, and its annealed log Z.

`log_density_fn(x)` maps positions (chains, ...) to unnormalized log densities (chains,). Bind the
parameters of a model with `lambda x: log_density_fn(params, x)`. The functions are not jitted: wrap
calls in `jax.jit` (step sizes may be traced). With `context=data` every chain is conditioned on its
own datum, as `log_density_fn(x, context)`. This room needs the extra `samplers`.
"""

from nce_jax._extras import missing_extra

try:
    import blackjax as _blackjax  # noqa: F401
except ImportError as error:
    raise missing_extra("nce_jax.samplers needs blackjax", "samplers") from error

from nce_jax.samplers._adaptation import AdaptedStepSize, adapt_step_size
from nce_jax.samplers._annealing import (
    AnnealedEstimate,
    annealed_importance_sampling,
    reverse_annealed_importance_sampling,
)
from nce_jax.samplers._chains import Chains, sample_chains
from nce_jax.samplers._kernels import Kernel, Transition, gradient_ascent, hmc, langevin, mala
from nce_jax.samplers._resample import Resampled, resample
from nce_jax.samplers._schedules import linear_schedule, sigmoid_schedule

__all__ = [
    "AdaptedStepSize",
    "AnnealedEstimate",
    "Chains",
    "Kernel",
    "Resampled",
    "Transition",
    "adapt_step_size",
    "annealed_importance_sampling",
    "gradient_ascent",
    "hmc",
    "langevin",
    "linear_schedule",
    "mala",
    "resample",
    "reverse_annealed_importance_sampling",
    "sample_chains",
    "sigmoid_schedule",
]
