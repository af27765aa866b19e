"""Losses, which are pure functions of arrays and independent of models.

Most take log ratios. The contrastive losses take embeddings, and the vocabulary losses hidden
states, because their log ratios of all pairs should not be stored.
"""

from nce_jax.losses._binary import nce_loss, nce_loss_terms
from nce_jax.losses._clip import clip_loss, clip_loss_terms
from nce_jax.losses._contrastive import (
    info_nce_loss,
    info_nce_loss_terms,
    nt_xent_loss,
    nt_xent_loss_terms,
)
from nce_jax.losses._divergence import (
    donsker_varadhan_loss,
    least_squares_log_partition,
    least_squares_loss,
    nwj_log_partition,
    nwj_loss,
)
from nce_jax.losses._exponential import (
    exponential_log_partition,
    exponential_nce_loss,
    log_profiled_exponential_nce_loss,
)
from nce_jax.losses._generator import generator_loss
from nce_jax.losses._inference import balanced_nre_loss, nre_a_loss, nre_b_loss, nre_c_loss
from nce_jax.losses._pairs.sharded import Sharded
from nce_jax.losses._preference import bradley_terry_loss, info_nca_loss, nca_loss
from nce_jax.losses._rank import conditional_nce_loss, ranking_nce_loss, ranking_nce_loss_terms
from nce_jax.losses._siglip import siglip_loss, siglip_loss_terms
from nce_jax.losses._supervised import (
    supervised_contrastive_loss,
    supervised_contrastive_loss_terms,
)
from nce_jax.losses._vocabulary import (
    full_softmax_loss,
    sampled_softmax_loss,
    vocabulary_log_partition,
    vocabulary_log_ratios,
    vocabulary_nce_loss,
)

__all__ = [
    "Sharded",
    "balanced_nre_loss",
    "bradley_terry_loss",
    "clip_loss",
    "clip_loss_terms",
    "conditional_nce_loss",
    "donsker_varadhan_loss",
    "exponential_log_partition",
    "exponential_nce_loss",
    "full_softmax_loss",
    "generator_loss",
    "info_nca_loss",
    "info_nce_loss",
    "info_nce_loss_terms",
    "least_squares_log_partition",
    "least_squares_loss",
    "log_profiled_exponential_nce_loss",
    "nca_loss",
    "nce_loss",
    "nce_loss_terms",
    "nre_a_loss",
    "nre_b_loss",
    "nre_c_loss",
    "nt_xent_loss",
    "nt_xent_loss_terms",
    "nwj_log_partition",
    "nwj_loss",
    "ranking_nce_loss",
    "ranking_nce_loss_terms",
    "sampled_softmax_loss",
    "siglip_loss",
    "siglip_loss_terms",
    "supervised_contrastive_loss",
    "supervised_contrastive_loss_terms",
    "vocabulary_log_partition",
    "vocabulary_log_ratios",
    "vocabulary_nce_loss",
]
