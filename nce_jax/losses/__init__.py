"""Losses: pure functions of log-ratio arrays. They know neither samples nor models."""

from nce_jax.losses._binary import nce_loss as nce_loss
from nce_jax.losses._binary import nce_loss_terms as nce_loss_terms
from nce_jax.losses._divergence import donsker_varadhan_loss as donsker_varadhan_loss
from nce_jax.losses._divergence import least_squares_log_partition as least_squares_log_partition
from nce_jax.losses._divergence import least_squares_loss as least_squares_loss
from nce_jax.losses._divergence import nwj_loss as nwj_loss
from nce_jax.losses._exponential import exponential_log_partition as exponential_log_partition
from nce_jax.losses._exponential import exponential_nce_loss as exponential_nce_loss
from nce_jax.losses._exponential import profiled_exponential_nce_loss as profiled_exponential_nce_loss

__all__ = [
    "donsker_varadhan_loss",
    "exponential_log_partition",
    "exponential_nce_loss",
    "least_squares_log_partition",
    "least_squares_loss",
    "nce_loss",
    "nce_loss_terms",
    "nwj_loss",
    "profiled_exponential_nce_loss",
]
