"""The result of `fit_telescope`."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._bridges import StagesFn, bridge_log_ratios, telescoped
from nce_jax._checks import as_floating
from nce_jax._contracts import check_data
from nce_jax._levels import as_coefficients
from nce_jax._types import Array, Float, LogRatioFn, Params
from nce_jax.log_partition import MIN_EFFECTIVE_SAMPLES
from nce_jax.telescoping._errors import StageDiagnostics
from nce_jax.telescoping._fit.assessment import Assessment
from nce_jax.telescoping._fit.config import FitConfig, Levels
from nce_jax.telescoping._fit.curvature import num_params
from nce_jax.telescoping._fit.descent import DescentTraining
from nce_jax.telescoping._fit.misfit import is_misfit, misfit_limit
from nce_jax.telescoping._fit.newton_methods import FullBatchTraining, StreamTraining
from nce_jax.telescoping._fit.stage_model import Chain, StageModel, centered_bridges
from nce_jax.telescoping._joint_log_partitions import JointLogPartitions, joint_log_partitions

_PAIRS_PER_PARAMETER = 10
"""Effective pairs that each parameter of a stage must have with Newton's method. With fewer, KL is
too high by half a standard error and more. The value is our choice."""

Training = FullBatchTraining | StreamTraining | DescentTraining
"""A trained chain, by one of the three methods."""


class Telescope(NamedTuple):
    """The result of `fit_telescope`: a log ratio as a sum over K stages, with its errors.

    It is a `RatioEstimate`. Arrays of stages run from data to noise.

    Attributes:
      log_ratio_fn: `log_ratio_fn(params, x)`, the sum of the stages' log ratios s(x), (n, ...) ->
        (n,): an estimate of log p(x) - log q(x) + F.
      params: its parameters: `{"model": ..., "location": (K, ...), "scale": (K, ...)}`.
      log_partition: F = sum_k F_k, in nats.
      log_partition_standard_error: standard error of F in nats, joint over stages, for the
        parameters as they are; inf where a stage has no overlap.
      kl: mean of s - F over the data, an estimate of KL(p || q), in nats.
      kl_standard_error: standard error of `kl` with the error of the parameters; inf where
        `is_converged` is false; NaN for gradient descent, where the error of the parameters is not
        known.
      kl_sampling_error: standard error of `kl` for the parameters as they are; inf where a stage
        has no overlap, or `is_converged` is false.
      covariance: covariance of the parameters (stage after stage) and, behind them, of all F_k; inf
        where a stage has no optimum (sets that the model separates perfectly have none) or a
        misfit, or where `effective_samples` is too small; None for gradient descent.
      is_converged: whether `is_trained` is true, no stage's overlap ended below half of
        `min_overlap` (a gap that the pilot fits missed), no stage's model shows a misfit, and
        `effective_samples` is at least `min_effective_samples`.
      is_trained: whether the training found its end. For Newton's method this is an optimum in
        every stage, for gradient descent a mean log ratio that no longer drifts.
      misfit: how clearly the model of every stage does not contain the log ratio, (K,), in standard
        errors. About two fits of true models in 1,000 are flagged (beyond about 4).
        docs/design.md says what is tested.
      noise_levels: a_0 = 0 < ... < a_K = 1.
      stages: a `StageDiagnostics`: overlap, effective samples, fraction of the variance and status
        of every stage.
      num_steps: training steps in all, with those of the pilot fits and of the evaluation.
      num_pilot_steps: training steps of the search for noise levels.
      path: (steps, model, F_k) along the training: steps (c,), leaves with a leading axis c; F_k is
        None for gradient descent.
      effective_samples: the smallest effective number of pairs behind the F_k of any stage;
        `stages.effective_samples` has them all.
      min_effective_samples: the number of them that the errors presume:
        `log_partition.MIN_EFFECTIVE_SAMPLES`, and for Newton's method at least ten for each
        parameter of a stage (our choice).
      stages_fn: `stages_fn(params, x)`, the log ratios of all stages, (K, n, ...) -> (K, n).
      bridges_fn: `bridges_fn(x_data, x_noise)`, the bridges of the chain as it was trained,
        (K + 1, n, ...).
    """

    log_ratio_fn: LogRatioFn
    params: Params
    log_partition: float
    log_partition_standard_error: float
    kl: float
    kl_standard_error: float
    kl_sampling_error: float
    covariance: np.ndarray | None
    is_converged: bool
    is_trained: bool
    misfit: np.ndarray
    noise_levels: np.ndarray
    stages: StageDiagnostics
    num_steps: int
    num_pilot_steps: int
    path: tuple[np.ndarray, Any, Any]
    effective_samples: float
    min_effective_samples: float
    stages_fn: StagesFn
    bridges_fn: Callable[[Any, Any], jax.Array]

    @property
    def overlap(self) -> float:
        """The smallest overlap of any stage; `stages.overlap` has them all."""
        return float(np.min(self.stages.overlap))

    @property
    def misfit_limit(self) -> float:
        """The `misfit` in standard errors beyond which the model of a stage does not fit."""
        return misfit_limit(len(self.misfit))

    def log_ratio(self, x: Float[Array, "n *shape"]) -> Float[Array, " n"]:
        """Estimates log p(x) - log q(x) at points (n, ...), in nats."""
        self._check_points("x", x)
        return self.log_ratio_fn(self.params, jnp.asarray(x)) - self.log_partition

    def log_ratio_standard_error(self, x: Float[Array, "n *shape"]) -> Float[Array, " n"]:
        """Standard error of `log_ratio(x)` with the error of the parameters, in nats.

        It is inf where `covariance` is, and NaN for gradient descent, where the error of the
        parameters is not known.
        """
        self._check_points("x", x)
        shape = jax.eval_shape(self.log_ratio, jnp.asarray(x))
        if self.covariance is None:
            return jnp.full(shape.shape, jnp.nan, shape.dtype)
        if not np.isfinite(self.covariance).all():
            return jnp.full(shape.shape, jnp.inf, shape.dtype)
        gradient = self._gradient(jnp.asarray(x))
        variance = np.einsum("np,pq,nq->n", gradient, self.covariance, gradient)
        return jnp.asarray(np.sqrt(variance), shape.dtype)

    def joint_log_partitions(
        self, x_data: Float[Array, "n *shape"], x_noise: Float[Array, "n *shape"]
    ) -> JointLogPartitions:
        """Estimates all F_k jointly from pairs (x, y), for the parameters as they are.

        Every stage is evaluated at the samples of all bridges, (K, (K + 1) n, ...) at once. `total`
        is an alternative to `log_partition`, which comes from adjacent bridges, and `disagreement`
        shows whether the stages hold beyond their own two bridges. Whatever the magnification of
        the fit, F is that of M = 1. The errors presume pairs that did not train the chain, or many
        more of them than parameters. The error of the parameters is not in them: if no more pairs
        trained the chain than are given here, `disagreement` is up to twice as large as a standard
        normal number, where the model is right.

        Args:
          x_data: samples of the data, (n, ...).
          x_noise: the same number of noise samples, in any order that does not depend on the data.

        Returns:
          A `JointLogPartitions`.

        Raises:
          ValueError: samples of other shapes.
        """
        self._check_points("x_data", x_data)
        x = self.bridges_fn(x_data, x_noise)
        return joint_log_partitions(bridge_log_ratios(self.stages_fn, self.params, x))

    def summary(self) -> str:
        """Returns a table of the stages, F and KL with their errors, as text for printing."""
        return "\n".join([*self._stage_rows(), *self._totals(), *self._problems()])

    def _check_points(self, name: str, x: Any) -> None:
        check_data(name, x)
        shape = jnp.shape(self.params["location"])[1:]
        if jnp.shape(x)[1:] != shape or not jnp.shape(x):
            raise ValueError(
                f"{name}: expected points of shape (n, {', '.join(map(str, shape))}), got shape"
                f" {jnp.shape(x)}"
            )

    def _gradient(self, x: jax.Array) -> np.ndarray:
        """Gradient of the log ratio at every point, (n, K P + K), in the order of `covariance`."""
        fixed = {name: self.params[name] for name in ("location", "scale")}

        def value(model: Params, x: Any) -> jax.Array:
            return self.log_ratio_fn({"model": model, **fixed}, x[None])[0]

        slopes = jax.vmap(jax.grad(value), in_axes=(None, 0))(self.params["model"], x)
        num_points, num_stages = len(x), len(self.noise_levels) - 1
        flat = [leaf.reshape(num_points, num_stages, -1) for leaf in jax.tree.leaves(slopes)]
        of_theta = np.concatenate(flat, axis=-1).reshape(num_points, -1)
        return np.concatenate([of_theta, -np.ones((num_points, num_stages))], axis=-1)

    def _stage_rows(self) -> list[str]:
        stages = self.stages
        columns = (
            stages.overlap,
            stages.effective_sample_size,
            stages.variance_fraction,
            stages.log_partition,
            self.misfit,
        )
        rows = [
            f"{'from':>9} {'to':>9} {'overlap':>8} {'ESS':>8} {'share of variance':>18} {'F':>9}"
            f" {'misfit (s.e.)':>14}"
        ]
        row_format = "{:9.3g} {:9.3g} {:8.2f} {:8.0f} {:18.2f} {:9.3f} {:14.1f}"
        ends = self.noise_levels[:-1], self.noise_levels[1:]
        values = zip(*ends, *map(np.asarray, columns), strict=True)
        return rows + [row_format.format(*row) for row in values]

    def _totals(self) -> list[str]:
        if np.isnan(self.kl_standard_error):
            error = (
                f"+- {self.kl_sampling_error:.3f} from sampling alone; the error of the parameters"
                " is not known"
            )
        else:
            error = f"+- {self.kl_standard_error:.3f} ({self.kl_sampling_error:.3f} from sampling)"
        return [
            f"F {self.log_partition:.3f} +- {self.log_partition_standard_error:.3f} for the"
            " parameters as they are",
            f"KL {self.kl:.3f} {error}; {self.num_steps} steps",
        ]

    def _problems(self) -> list[str]:
        flagged = np.flatnonzero(is_misfit(self.misfit)).tolist()
        lines = []
        if flagged:
            lines.append(
                f"MISFIT in stages {flagged}: the model does not contain the log ratio there"
            )
        if not self.is_converged:
            reasons = " and ".join(self._reasons(is_flagged=bool(flagged)))
            lines.append(f"NOT CONVERGED: {reasons}; the value of KL is not an estimate")
        elif self.kl_standard_error > max(abs(self.kl) / 2, 1):
            lines.append("IMPRECISE: the standard error of KL is more than half of KL")
        return lines

    def _reasons(self, *, is_flagged: bool) -> list[str]:
        """Why the estimate has not converged, each reason with its cure."""
        reasons = []
        if is_flagged:
            reasons.append("the model does not fit (pass a model that contains the log ratio)")
        if not self.is_trained and self.covariance is None:
            reasons.append("the mean log ratio still drifts (raise num_steps)")
        elif not self.is_trained:
            reasons.append(
                "a stage has not reached an optimum (raise num_steps, or add noise levels where the"
                " overlap is near zero)"
            )
        if self.effective_samples < self.min_effective_samples:
            reasons.append(
                f"a stage has only {self.effective_samples:.1f} effective pairs of the"
                f" {self.min_effective_samples:.0f} that its parameters ask for (pass more data, a"
                " larger min_overlap, or a model of fewer parameters)"
            )
        if not reasons:
            stage = int(np.argmin(self.stages.overlap))
            reasons.append(
                f"the overlap of stage {stage}, {self.overlap:.2g}, is less than half of"
                " min_overlap, which the pilot fits missed (raise num_steps, or pass noise_levels)"
            )
        return reasons


def make_telescope(
    config: FitConfig, levels: Levels, training: Training, assessment: Assessment
) -> Telescope:
    """Gathers a fit, without the padded stages."""
    num_stages, stages = levels.num_stages, assessment.evaluation.stages
    has_fit = assessment.has_ended and not is_misfit(assessment.misfit).any()
    min_effective_samples = _min_effective_samples(config)
    has_errors = assessment.effective_samples >= min_effective_samples
    is_converged = has_fit and has_errors and not _has_missed_gap(config, levels, stages)
    kl, sampling_error, _ = assessment.evaluation.mean
    covariance = assessment.covariance
    if covariance is not None and not (has_fit and has_errors):
        covariance = np.full_like(covariance, np.inf)
    return Telescope(
        log_ratio_fn=telescoped(config.model.stages_fn, num_stages),
        params=_first_stages(training.params, config, num_stages),
        log_partition=float(np.sum(np.asarray(stages.log_partition[:num_stages], np.float64))),
        log_partition_standard_error=float(assessment.evaluation.log_partition_standard_error),
        kl=float(kl),
        kl_standard_error=_full_error(assessment, is_converged),
        kl_sampling_error=float(sampling_error) if is_converged else np.inf,
        covariance=covariance,
        is_converged=is_converged,
        is_trained=assessment.has_ended,
        misfit=assessment.misfit,
        noise_levels=levels.values,
        stages=jax.tree.map(lambda leaf: leaf[:num_stages], stages),
        num_steps=training.num_steps + levels.num_pilot_steps + assessment.num_steps,
        num_pilot_steps=levels.num_pilot_steps,
        path=_path(training, config, levels),
        effective_samples=assessment.effective_samples,
        min_effective_samples=min_effective_samples,
        stages_fn=config.model.stages_fn,
        bridges_fn=partial(_bridges, config.model, levels.values, config.offset),
    )


def _bridges(
    model: StageModel, noise_levels: np.ndarray, offset: Any, x_data: Any, x_noise: Any
) -> jax.Array:
    pairs = as_floating("x_data", x_data), as_floating("x_noise", x_noise)
    dtype = jnp.result_type(float)
    kappa = jnp.ones(len(noise_levels) - 1, dtype)
    chain = Chain(as_coefficients(noise_levels, dtype), kappa, offset)
    return centered_bridges(model, pairs, chain)


def _min_effective_samples(config: FitConfig) -> float:
    """How many effective pairs the errors of a stage presume."""
    if config.optimizer is not None:
        return MIN_EFFECTIVE_SAMPLES
    return float(max(MIN_EFFECTIVE_SAMPLES, _PAIRS_PER_PARAMETER * num_params(config.template)))


def _full_error(assessment: Assessment, is_converged: bool) -> float:
    if is_converged or np.isnan(assessment.kl_standard_error):
        return assessment.kl_standard_error
    return np.inf


def _has_missed_gap(config: FitConfig, levels: Levels, stages: StageDiagnostics) -> bool:
    """Whether a searched chain has a stage with a gap.

    Pilot fits may be too short to fit the model, and then they reveal no gap; the trained stages
    do.
    """
    overlap = np.asarray(stages.overlap)[: levels.num_stages]
    return levels.is_searched and bool(np.any(overlap < config.min_overlap / 2))


def _path(training: Training, config: FitConfig, levels: Levels) -> tuple[np.ndarray, Any, Any]:
    steps, models, roots = training.path
    first = _first_stages({"model": models}, config, levels.num_stages, axis=1)["model"]
    roots = None if roots is None else roots[:, : levels.num_stages]
    return steps + levels.num_pilot_steps, first, roots


def _first_stages(params: Params, config: FitConfig, num_stages: int, axis: int = 0) -> Params:
    """The parameters without those of the padded stages, which lie on one axis of every leaf."""

    def cut(tree: Any) -> Any:
        return jax.tree.map(lambda leaf: jax.lax.slice_in_dim(leaf, 0, num_stages, axis=axis), tree)

    if config.model.body_fn is None:
        return cut(params)
    model = {**params["model"], "heads": cut(params["model"]["heads"])}
    return {**cut({name: leaf for name, leaf in params.items() if name != "model"}), "model": model}
