"""Criteria for a train step: each pairs a loss with its way to profile the normalizer."""

from nce_jax.criteria._interface import Criterion
from nce_jax.criteria._loss_criteria import (
    donsker_varadhan,
    exponential_nce,
    least_squares,
    nce,
    nwj,
    ranking_nce,
)
from nce_jax.criteria._profiled import profiled_nce_loss
from nce_jax.criteria._regularized import ratio_regularized

__all__ = [
    "Criterion",
    "donsker_varadhan",
    "exponential_nce",
    "least_squares",
    "nce",
    "nwj",
    "profiled_nce_loss",
    "ranking_nce",
    "ratio_regularized",
]
