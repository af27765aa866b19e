"""nce_jax: noise-contrastive estimation in JAX.

Losses, normalizers and diagnostics are pure functions of log-ratio arrays, s(x) = log_density(x) -
log q(x) for data and for noise; they need jax (and jaxtyping) alone and are imported here. Modules
that need more load on first use: `nce_jax.noise` (distrax), `nce_jax.models` (flax),
`nce_jax.samplers` (blackjax), `nce_jax.training`, `nce_jax.critics`, `nce_jax.telescoping` and
`nce_jax.ratio_estimation` (optax), `nce_jax.adaptive_noise`, `nce_jax.latent`, `nce_jax.sweeps`
(xarray), `nce_jax.alchemlyb` (pandas, scikit-learn), `nce_jax.sklearn` (scikit-learn),
`nce_jax.plots` (matplotlib), `nce_jax.toys` and `nce_jax.commands` (tyro).
"""

import importlib
from typing import TYPE_CHECKING, Any

from nce_jax import (
    criteria,
    diagnostics,
    free_energy,
    likelihood,
    log_partition,
    losses,
    magnification,
)
from nce_jax.criteria import profiled_nce_loss
from nce_jax.diagnostics import (
    bootstrap_log_partition,
    divergence,
    log_partition_standard_error,
    overlap,
)
from nce_jax.free_energy import bar, mbar
from nce_jax.log_partition import (
    Solution,
    Status,
    bisection,
    check_solution,
    fixed_point,
    newton,
    solve_log_partition,
)
from nce_jax.losses import nce_loss
from nce_jax.magnification import (
    adaptive_magnification,
    sufficient_magnification,
    suggested_magnification,
)

if TYPE_CHECKING:  # what loads on first use, for type checkers and editors
    from nce_jax import (
        adaptive_noise,
        alchemlyb,
        commands,
        critics,
        latent,
        models,
        noise,
        plots,
        ratio_estimation,
        samplers,
        sklearn,
        sweeps,
        telescoping,
        toys,
        training,
    )
    from nce_jax.ratio_estimation import fit_log_ratio, mutual_information
    from nce_jax.sweeps import sweep
    from nce_jax.telescoping import fit_telescope
    from nce_jax.training import make_train_step

# The one place of the version: the build, the docs and RELEASING.md take it from here.
__version__ = "0.1.0"

_MODULES = {
    "adaptive_noise",
    "alchemlyb",
    "commands",
    "critics",
    "latent",
    "models",
    "noise",
    "plots",
    "ratio_estimation",
    "samplers",
    "sklearn",
    "sweeps",
    "telescoping",
    "toys",
    "training",
}
_FUNCTIONS = {
    "fit_log_ratio": "ratio_estimation",
    "fit_telescope": "telescoping",
    "make_train_step": "training",
    "mutual_information": "ratio_estimation",
    "sweep": "sweeps",
}

# Names of earlier checkouts; the error of the old name gives the new one.
_RENAMED = {
    "SelfNormalisation": "nce_jax.diagnostics.SelfNormalization",
    "choose_magnification": "nce_jax.suggested_magnification",
    "estimators": "nce_jax.ratio_estimation and nce_jax.telescoping",
    "profiled_exponential_nce_loss": "nce_jax.losses.log_profiled_exponential_nce_loss",
    "ratio_regularised": "nce_jax.criteria.ratio_regularized",
    "self_normalisation": "nce_jax.diagnostics.self_normalization",
}

__all__ = [
    "Solution",
    "Status",
    "adaptive_magnification",
    "adaptive_noise",
    "alchemlyb",
    "bar",
    "bisection",
    "bootstrap_log_partition",
    "check_solution",
    "commands",
    "criteria",
    "critics",
    "diagnostics",
    "divergence",
    "fit_log_ratio",
    "fit_telescope",
    "fixed_point",
    "free_energy",
    "latent",
    "likelihood",
    "log_partition",
    "log_partition_standard_error",
    "losses",
    "magnification",
    "make_train_step",
    "mbar",
    "models",
    "mutual_information",
    "nce_loss",
    "newton",
    "noise",
    "overlap",
    "plots",
    "profiled_nce_loss",
    "ratio_estimation",
    "samplers",
    "sklearn",
    "solve_log_partition",
    "sufficient_magnification",
    "suggested_magnification",
    "sweep",
    "sweeps",
    "telescoping",
    "toys",
    "training",
]


def _attribute(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"nce_jax.{name}")
    if name in _FUNCTIONS:
        return getattr(importlib.import_module(f"nce_jax.{_FUNCTIONS[name]}"), name)
    if name in _RENAMED:
        raise AttributeError(f"module 'nce_jax' has no attribute {name!r}; now {_RENAMED[name]}")
    rooms = (losses, criteria, diagnostics, log_partition, free_energy, likelihood, magnification)
    hint = "".join(
        f"; did you mean {room.__name__}.{name}?" for room in rooms if name in room.__all__
    )
    raise AttributeError(f"module 'nce_jax' has no attribute {name!r}{hint}")


if not TYPE_CHECKING:  # with it, a checker would take any misspelled name
    __getattr__ = _attribute


def __dir__() -> list[str]:
    return sorted(__all__)
