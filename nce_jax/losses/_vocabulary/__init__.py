"""Losses of the output layer of a language model, with sampled words or the whole vocabulary."""

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
