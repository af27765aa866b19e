"""How far an estimate can be trusted: overlap, sample sizes, standard errors, from log ratios.

Two different quantities are called log Z, and have different names here. The *profiled normalizer*
F*(kappa) is what training needs; `estimate_log_partition`, `log_partition_standard_error` and
`bootstrap_log_partition` estimate its error. The *log Z of a model* is estimated by
`importance_log_partition`, from noise samples alone.

Three functions compare two sets of samples or features instead: `frechet_distance`,
`kernel_distance` and `c2st`. They compute on the host, in float64.
"""

from nce_jax.diagnostics._bootstrap import Bootstrap, bootstrap_log_partition
from nce_jax.diagnostics._classifier import ClassifierTest, c2st
from nce_jax.diagnostics._divergence import Divergence, divergence
from nce_jax.diagnostics._frechet import FrechetDistance, frechet_distance
from nce_jax.diagnostics._importance import (
    ImportanceEstimate,
    effective_sample_size,
    importance_log_partition,
)
from nce_jax.diagnostics._info_nce import InfoNCEBound, info_nce_bound
from nce_jax.diagnostics._kernel_distance import KernelDistance, kernel_distance
from nce_jax.diagnostics._overlap import overlap
from nce_jax.diagnostics._standard_error import (
    LogPartitionEstimate,
    estimate_log_partition,
    log_partition_standard_error,
)
from nce_jax.diagnostics._vocabulary import SelfNormalization, perplexity, self_normalization

__all__ = [
    "Bootstrap",
    "ClassifierTest",
    "Divergence",
    "FrechetDistance",
    "ImportanceEstimate",
    "InfoNCEBound",
    "KernelDistance",
    "LogPartitionEstimate",
    "SelfNormalization",
    "bootstrap_log_partition",
    "c2st",
    "divergence",
    "effective_sample_size",
    "estimate_log_partition",
    "frechet_distance",
    "importance_log_partition",
    "info_nce_bound",
    "kernel_distance",
    "log_partition_standard_error",
    "overlap",
    "perplexity",
    "self_normalization",
]
