"""Density ratios with the interface of scikit-learn: cloned, searched, and put into pipelines.

`LogRatioEstimator` wraps `nce_jax.fit_log_ratio`. This room needs the extra `sklearn`.
"""

from nce_jax._extras import missing_extra

try:
    import sklearn as _sklearn  # noqa: F401
except ImportError as error:
    raise missing_extra("nce_jax.sklearn needs scikit-learn", "sklearn") from error

from nce_jax.sklearn._estimator import LogRatioEstimator

__all__ = ["LogRatioEstimator"]
