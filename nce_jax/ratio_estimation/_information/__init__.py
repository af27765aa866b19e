"""Mutual information from pairs of samples: a copula, corrected by networks where that helps."""

from nce_jax.ratio_estimation._information._estimate import mutual_information
from nce_jax.ratio_estimation._information._result import MutualInformation

__all__ = ["MutualInformation", "mutual_information"]
