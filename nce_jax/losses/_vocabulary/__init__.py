"""Losses of a vocabulary's output layer: words scored against sampled ones, and against all of
them.
"""

from nce_jax.losses._vocabulary.binary import vocabulary_log_ratios, vocabulary_nce_loss
from nce_jax.losses._vocabulary.softmax import (
    full_softmax_loss,
    sampled_softmax_loss,
    vocabulary_log_partition,
)

__all__ = [
    "full_softmax_loss",
    "sampled_softmax_loss",
    "vocabulary_log_partition",
    "vocabulary_log_ratios",
    "vocabulary_nce_loss",
]
