"""The result of `fit_log_ratio`."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._checks import compute_dtype
from nce_jax._types import Array, Float, LogRatioFn, Params
from nce_jax.ratio_estimation._assessment import Calibration, RocCurve
from nce_jax.training import FitResult

_MIN_OVERLAP = 0.1
"""Below this overlap the two sets are too far apart for a single ratio. The value is our choice;
unit Gaussians at a distance of 3.7 have it."""


class LogRatioEstimate(NamedTuple):
    """The result of `fit_log_ratio`: a log ratio, and its assessment on held-out samples.

    It is a `RatioEstimate`.

    Attributes:
      log_ratio_fn: the model, `log_ratio_fn(params, x)`: the log ratio up to a constant, (n, ...)
        -> (n,).
      params: the trained parameters of the model.
      log_partition: F, in nats, solved at kappa = 1 on the held-out samples.
      log_partition_standard_error: standard error of F in nats, for the parameters as they are; inf
        without overlap.
      kl: mean of the log ratio over the held-out data, in nats: an estimate of KL(p_data ||
        p_noise). A model that has not learned the ratio makes it too low, as a rule.
      kl_sampling_error: standard error of `kl` in nats, for the parameters as they are, with the
        error of F; inf without overlap.
      overlap: overlap of the two held-out sets at kappa = 1. Near 0 the ratio is an extrapolation
        between distant sets.
      is_solved: whether the solver converged to F; false also for sets without any overlap.
      held_out_loss: NCE loss at kappa = 1 of the final model on the held-out samples, in nats.
      held_out_loss_standard_error: its standard error in nats.
      calibration: calibration curve of the classifier that the ratio implies.
      roc: ROC curve of the same classifier.
      result: the `FitResult` of the training, with the held-out loss among its evaluations.
    """

    log_ratio_fn: LogRatioFn
    params: Params
    log_partition: float
    log_partition_standard_error: float
    kl: float
    kl_sampling_error: float
    overlap: float
    is_solved: bool
    held_out_loss: float
    held_out_loss_standard_error: float
    calibration: Calibration
    roc: RocCurve
    result: FitResult

    @property
    def kl_standard_error(self) -> float:
        """Always NaN, since gradient descent gives no error of the parameters.

        `kl_sampling_error` is the error for the parameters as they are.
        """
        return np.nan

    @property
    def is_converged(self) -> bool:
        """Whether the estimate has passed all checks; `summary` names those that it has failed.

        The checks are that F was solved for, that the overlap is at least 0.1, and that the
        held-out loss ended within one standard error of its lowest value. The last one reveals
        overfitting. Whether a longer training would lower the loss further shows in
        `result.evaluations` alone.
        """
        return not self._problems()

    def log_ratio(self, x: Float[Array, "n *shape"]) -> Float[Array, " n"]:
        """Estimates log p_data(x) - log p_noise(x) of samples (n, ...), in nats.

        The method can be transformed by `jit` and `grad`.
        """
        values = self.log_ratio_fn(self.params, jnp.asarray(x))
        return values.astype(compute_dtype(values)) - self.log_partition

    def log_ratio_standard_error(self, x: Float[Array, "n *shape"]) -> Float[Array, " n"]:
        """Always NaN, one per sample, since gradient descent gives no error of the parameters."""
        values = jax.eval_shape(self.log_ratio, jnp.asarray(x))
        return jnp.full(values.shape, jnp.nan, values.dtype)

    def summary(self) -> str:
        """Returns the estimate, its errors and its diagnostics as text for printing."""
        lines = [
            f"F {self.log_partition:.3f} +- {self.log_partition_standard_error:.3f} for the"
            " parameters as they are",
            f"KL {self.kl:.3f} +- {self.kl_sampling_error:.3f} from sampling alone; the error of"
            " the parameters is not known",
            f"overlap {self.overlap:.2f}, ROC area {self.roc.area:.3f}, held-out loss"
            f" {self.held_out_loss:.3f} +- {self.held_out_loss_standard_error:.3f}",
        ]
        return "\n".join(lines + [f"NOT CONVERGED: {problem}" for problem in self._problems()])

    def _problems(self) -> list[str]:
        lowest = float(np.min(self.result.evaluations["held_out_loss"]))
        excess = self.held_out_loss - lowest
        checks = {
            "F could not be solved for": self.is_solved,
            f"the overlap, {self.overlap:.2g}, is below {_MIN_OVERLAP}: the sets are too far apart"
            " for one ratio; fit_telescope bridges a gap": self.overlap >= _MIN_OVERLAP,
            f"the held-out loss ended {excess:.3g} nats above its lowest value: the model"
            " overfits": excess <= self.held_out_loss_standard_error,
        }
        return [problem for problem, is_passed in checks.items() if not is_passed]
