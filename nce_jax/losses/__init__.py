"""Losses: pure functions of log-ratio arrays. They know no models; but for those of embeddings, no
samples."""

from nce_jax.losses._binary import nce_loss as nce_loss
from nce_jax.losses._binary import nce_loss_terms as nce_loss_terms
from nce_jax.losses._divergence import donsker_varadhan_loss as donsker_varadhan_loss
from nce_jax.losses._divergence import least_squares_log_partition as least_squares_log_partition
from nce_jax.losses._divergence import least_squares_loss as least_squares_loss
from nce_jax.losses._divergence import nwj_loss as nwj_loss
from nce_jax.losses._exponential import exponential_log_partition as exponential_log_partition
from nce_jax.losses._exponential import exponential_nce_loss as exponential_nce_loss
from nce_jax.losses._exponential import (
    profiled_exponential_nce_loss as profiled_exponential_nce_loss,
)
from nce_jax.losses._ranking import balanced_nre_loss as balanced_nre_loss
from nce_jax.losses._ranking import clip_loss as clip_loss
from nce_jax.losses._ranking import conditional_nce_loss as conditional_nce_loss
from nce_jax.losses._ranking import info_nce_loss as info_nce_loss
from nce_jax.losses._ranking import info_nce_loss_terms as info_nce_loss_terms
from nce_jax.losses._ranking import nre_a_loss as nre_a_loss
from nce_jax.losses._ranking import nre_b_loss as nre_b_loss
from nce_jax.losses._ranking import nre_c_loss as nre_c_loss
from nce_jax.losses._ranking import nt_xent_loss as nt_xent_loss
from nce_jax.losses._ranking import ranking_nce_loss as ranking_nce_loss
from nce_jax.losses._ranking import ranking_nce_loss_terms as ranking_nce_loss_terms
from nce_jax.losses._ranking import siglip_loss as siglip_loss
from nce_jax.losses._vocabulary import full_softmax_loss as full_softmax_loss
from nce_jax.losses._vocabulary import sampled_softmax_loss as sampled_softmax_loss
from nce_jax.losses._vocabulary import vocabulary_log_partition as vocabulary_log_partition
from nce_jax.losses._vocabulary import vocabulary_log_ratios as vocabulary_log_ratios
from nce_jax.losses._vocabulary import vocabulary_nce_loss as vocabulary_nce_loss

__all__ = [
    "balanced_nre_loss",
    "clip_loss",
    "conditional_nce_loss",
    "donsker_varadhan_loss",
    "exponential_log_partition",
    "exponential_nce_loss",
    "full_softmax_loss",
    "info_nce_loss",
    "info_nce_loss_terms",
    "least_squares_log_partition",
    "least_squares_loss",
    "nce_loss",
    "nce_loss_terms",
    "nre_a_loss",
    "nre_b_loss",
    "nre_c_loss",
    "nt_xent_loss",
    "nwj_loss",
    "profiled_exponential_nce_loss",
    "ranking_nce_loss",
    "ranking_nce_loss_terms",
    "sampled_softmax_loss",
    "siglip_loss",
    "vocabulary_log_partition",
    "vocabulary_log_ratios",
    "vocabulary_nce_loss",
]
