"""Ranking losses: a sample, or a pair of embeddings, among noise. `pairs` and `spread` hold the
sums over all pairs."""

from nce_jax.losses._ranking.contrastive import clip_loss as clip_loss
from nce_jax.losses._ranking.contrastive import info_nce_loss as info_nce_loss
from nce_jax.losses._ranking.contrastive import info_nce_loss_terms as info_nce_loss_terms
from nce_jax.losses._ranking.contrastive import nt_xent_loss as nt_xent_loss
from nce_jax.losses._ranking.inference import balanced_nre_loss as balanced_nre_loss
from nce_jax.losses._ranking.inference import nre_a_loss as nre_a_loss
from nce_jax.losses._ranking.inference import nre_b_loss as nre_b_loss
from nce_jax.losses._ranking.inference import nre_c_loss as nre_c_loss
from nce_jax.losses._ranking.ranking import conditional_nce_loss as conditional_nce_loss
from nce_jax.losses._ranking.ranking import ranking_nce_loss as ranking_nce_loss
from nce_jax.losses._ranking.ranking import ranking_nce_loss_terms as ranking_nce_loss_terms
from nce_jax.losses._ranking.siglip import siglip_loss as siglip_loss

__all__ = [
    "balanced_nre_loss",
    "clip_loss",
    "conditional_nce_loss",
    "info_nce_loss",
    "info_nce_loss_terms",
    "nre_a_loss",
    "nre_b_loss",
    "nre_c_loss",
    "nt_xent_loss",
    "ranking_nce_loss",
    "ranking_nce_loss_terms",
    "siglip_loss",
]
