"""Criteria: each pairs a loss with its way to profile the normaliser; a train step takes such a
pair."""

from nce_jax.criteria._criterion import Criterion as Criterion
from nce_jax.criteria._family import donsker_varadhan as donsker_varadhan
from nce_jax.criteria._family import exponential_nce as exponential_nce
from nce_jax.criteria._family import least_squares as least_squares
from nce_jax.criteria._family import nce as nce
from nce_jax.criteria._family import nwj as nwj
from nce_jax.criteria._family import ranking_nce as ranking_nce
from nce_jax.criteria._profiled import profiled_nce_loss as profiled_nce_loss
from nce_jax.criteria._regularised import ratio_regularised as ratio_regularised

__all__ = [
    "Criterion",
    "donsker_varadhan",
    "exponential_nce",
    "least_squares",
    "nce",
    "nwj",
    "profiled_nce_loss",
    "ranking_nce",
    "ratio_regularised",
]
