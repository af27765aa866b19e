"""Likelihoods of held-out data in nats and bits, with log Z by Bennett's method.

A held-out image with integer levels becomes a real vector in two steps, `dequantize` and
`logit_transform`. With a model of density p_y of the result, log p_x(x) = log p_y(y) + log_det, and
`bits_per_dimension(..., num_levels=256)` is, on average, an upper bound on the code length of the
image under the model.
"""

from nce_jax.likelihood._held_out import (
    HeldOutLikelihood,
    UnreliableLikelihoodWarning,
    held_out_log_likelihood,
)
from nce_jax.likelihood._partition import (
    LogLikelihood,
    ModelLogPartition,
    bits_per_dimension,
    log_likelihood,
    model_log_partition,
)
from nce_jax.likelihood._transforms import dequantize, inverse_logit_transform, logit_transform

__all__ = [
    "HeldOutLikelihood",
    "LogLikelihood",
    "ModelLogPartition",
    "UnreliableLikelihoodWarning",
    "bits_per_dimension",
    "dequantize",
    "held_out_log_likelihood",
    "inverse_logit_transform",
    "log_likelihood",
    "logit_transform",
    "model_log_partition",
]
