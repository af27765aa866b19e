"""How far an estimate can be trusted: overlap, effective sample size, standard errors, bootstrap;
from log-ratio arrays.

Two different quantities are called log Z; both appear here, under different names. The *profiled
normaliser* F*(kappa) is what training needs; its error is `log_partition_standard_error` or
`bootstrap_log_partition`. The *log Z of a model* is estimated by `importance_log_partition`, from
noise samples alone."""

from nce_jax.diagnostics._bootstrap import Bootstrap as Bootstrap
from nce_jax.diagnostics._bootstrap import bootstrap_log_partition as bootstrap_log_partition
from nce_jax.diagnostics._divergence import Divergence as Divergence
from nce_jax.diagnostics._divergence import divergence as divergence
from nce_jax.diagnostics._importance import ImportanceEstimate as ImportanceEstimate
from nce_jax.diagnostics._importance import effective_sample_size as effective_sample_size
from nce_jax.diagnostics._importance import importance_log_partition as importance_log_partition
from nce_jax.diagnostics._info_nce import InfoNCEBound as InfoNCEBound
from nce_jax.diagnostics._info_nce import info_nce_bound as info_nce_bound
from nce_jax.diagnostics._overlap import overlap as overlap
from nce_jax.diagnostics._standard_error import (
    log_partition_standard_error as log_partition_standard_error,
)
from nce_jax.diagnostics._vocabulary import SelfNormalisation as SelfNormalisation
from nce_jax.diagnostics._vocabulary import perplexity as perplexity
from nce_jax.diagnostics._vocabulary import self_normalisation as self_normalisation

__all__ = [
    "Bootstrap",
    "Divergence",
    "ImportanceEstimate",
    "InfoNCEBound",
    "SelfNormalisation",
    "bootstrap_log_partition",
    "divergence",
    "effective_sample_size",
    "importance_log_partition",
    "info_nce_bound",
    "log_partition_standard_error",
    "overlap",
    "perplexity",
    "self_normalisation",
]
