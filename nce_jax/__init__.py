"""nce_jax: noise-contrastive estimation in JAX.

Losses, normalisers and diagnostics are pure functions of log-ratio arrays, s(x) = log_density(x) -
log q(x) for data and for noise; they need jax (and jaxtyping) alone and are imported here. What
needs more loads on first use: `nce_jax.noise` (distrax), `nce_jax.models` (flax),
`nce_jax.samplers` (blackjax), `nce_jax.training` (optax), `nce_jax.adaptive_noise`,
`nce_jax.likelihood`, `nce_jax.telescoping`, `nce_jax.estimators`, `nce_jax.sweeps`."""

import importlib
from typing import Any

from nce_jax.criteria import Criterion as Criterion
from nce_jax.criteria import donsker_varadhan as donsker_varadhan
from nce_jax.criteria import exponential_nce as exponential_nce
from nce_jax.criteria import least_squares as least_squares
from nce_jax.criteria import nce as nce
from nce_jax.criteria import nwj as nwj
from nce_jax.criteria import profiled_nce_loss as profiled_nce_loss
from nce_jax.criteria import ranking_nce as ranking_nce
from nce_jax.criteria import ratio_regularised as ratio_regularised
from nce_jax.diagnostics import Bootstrap as Bootstrap
from nce_jax.diagnostics import Divergence as Divergence
from nce_jax.diagnostics import ImportanceEstimate as ImportanceEstimate
from nce_jax.diagnostics import InfoNCEBound as InfoNCEBound
from nce_jax.diagnostics import SelfNormalisation as SelfNormalisation
from nce_jax.diagnostics import bootstrap_log_partition as bootstrap_log_partition
from nce_jax.diagnostics import divergence as divergence
from nce_jax.diagnostics import effective_sample_size as effective_sample_size
from nce_jax.diagnostics import importance_log_partition as importance_log_partition
from nce_jax.diagnostics import info_nce_bound as info_nce_bound
from nce_jax.diagnostics import log_partition_standard_error as log_partition_standard_error
from nce_jax.diagnostics import overlap as overlap
from nce_jax.diagnostics import perplexity as perplexity
from nce_jax.diagnostics import self_normalisation as self_normalisation
from nce_jax.free_energy import FreeEnergy as FreeEnergy
from nce_jax.free_energy import bar as bar
from nce_jax.log_partition import Solution as Solution
from nce_jax.log_partition import Solver as Solver
from nce_jax.log_partition import Status as Status
from nce_jax.log_partition import bisection as bisection
from nce_jax.log_partition import check_solution as check_solution
from nce_jax.log_partition import fixed_point as fixed_point
from nce_jax.log_partition import newton as newton
from nce_jax.log_partition import solve_log_partition as solve_log_partition
from nce_jax.losses import balanced_nre_loss as balanced_nre_loss
from nce_jax.losses import clip_loss as clip_loss
from nce_jax.losses import conditional_nce_loss as conditional_nce_loss
from nce_jax.losses import donsker_varadhan_loss as donsker_varadhan_loss
from nce_jax.losses import exponential_log_partition as exponential_log_partition
from nce_jax.losses import exponential_nce_loss as exponential_nce_loss
from nce_jax.losses import full_softmax_loss as full_softmax_loss
from nce_jax.losses import info_nce_loss as info_nce_loss
from nce_jax.losses import info_nce_loss_terms as info_nce_loss_terms
from nce_jax.losses import least_squares_log_partition as least_squares_log_partition
from nce_jax.losses import least_squares_loss as least_squares_loss
from nce_jax.losses import nce_loss as nce_loss
from nce_jax.losses import nce_loss_terms as nce_loss_terms
from nce_jax.losses import nre_a_loss as nre_a_loss
from nce_jax.losses import nre_b_loss as nre_b_loss
from nce_jax.losses import nre_c_loss as nre_c_loss
from nce_jax.losses import nt_xent_loss as nt_xent_loss
from nce_jax.losses import nwj_loss as nwj_loss
from nce_jax.losses import profiled_exponential_nce_loss as profiled_exponential_nce_loss
from nce_jax.losses import ranking_nce_loss as ranking_nce_loss
from nce_jax.losses import ranking_nce_loss_terms as ranking_nce_loss_terms
from nce_jax.losses import sampled_softmax_loss as sampled_softmax_loss
from nce_jax.losses import siglip_loss as siglip_loss
from nce_jax.losses import vocabulary_log_partition as vocabulary_log_partition
from nce_jax.losses import vocabulary_log_ratios as vocabulary_log_ratios
from nce_jax.losses import vocabulary_nce_loss as vocabulary_nce_loss
from nce_jax.magnification import MagnificationRule as MagnificationRule
from nce_jax.magnification import adaptive_magnification as adaptive_magnification
from nce_jax.magnification import choose_magnification as choose_magnification

__version__ = "0.1.0"

_LAZY = {
    "adaptive_noise": "nce_jax.adaptive_noise",
    "noise": "nce_jax.noise",
    "models": "nce_jax.models",
    "training": "nce_jax.training",
    "estimators": "nce_jax.estimators",
    "likelihood": "nce_jax.diagnostics.likelihood",
    "samplers": "nce_jax.samplers",
    "fit_log_ratio": "nce_jax.estimators",
    "fit_telescope": "nce_jax.estimators",
    "telescoping": "nce_jax.telescoping",
    "sweeps": "nce_jax.sweeps",
    "make_train_step": "nce_jax.training",
    "sweep": "nce_jax.sweeps",
}

__all__ = [
    "Bootstrap",
    "Criterion",
    "Divergence",
    "FreeEnergy",
    "ImportanceEstimate",
    "InfoNCEBound",
    "MagnificationRule",
    "SelfNormalisation",
    "Solution",
    "Solver",
    "Status",
    "adaptive_magnification",
    "adaptive_noise",
    "balanced_nre_loss",
    "bar",
    "bisection",
    "bootstrap_log_partition",
    "check_solution",
    "choose_magnification",
    "clip_loss",
    "conditional_nce_loss",
    "divergence",
    "donsker_varadhan",
    "donsker_varadhan_loss",
    "effective_sample_size",
    "estimators",
    "exponential_log_partition",
    "exponential_nce",
    "exponential_nce_loss",
    "fit_log_ratio",
    "fit_telescope",
    "fixed_point",
    "full_softmax_loss",
    "importance_log_partition",
    "info_nce_bound",
    "info_nce_loss",
    "info_nce_loss_terms",
    "least_squares",
    "least_squares_log_partition",
    "least_squares_loss",
    "likelihood",
    "log_partition_standard_error",
    "make_train_step",
    "models",
    "nce",
    "nce_loss",
    "nce_loss_terms",
    "newton",
    "noise",
    "nre_a_loss",
    "nre_b_loss",
    "nre_c_loss",
    "nt_xent_loss",
    "nwj",
    "nwj_loss",
    "overlap",
    "perplexity",
    "profiled_exponential_nce_loss",
    "profiled_nce_loss",
    "ranking_nce",
    "ranking_nce_loss",
    "ranking_nce_loss_terms",
    "ratio_regularised",
    "sampled_softmax_loss",
    "samplers",
    "self_normalisation",
    "siglip_loss",
    "solve_log_partition",
    "sweep",
    "sweeps",
    "telescoping",
    "training",
    "vocabulary_log_partition",
    "vocabulary_log_ratios",
    "vocabulary_nce_loss",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'nce_jax' has no attribute {name!r}")
    module = importlib.import_module(_LAZY[name])
    return module if _LAZY[name].endswith(f".{name}") else getattr(module, name)


def __dir__() -> list[str]:
    return sorted(__all__)
