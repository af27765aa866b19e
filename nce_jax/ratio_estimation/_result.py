"""The result of `fit_log_ratio`."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._checks import compute_dtype
from nce_jax._contracts import check_data
from nce_jax._grouped import side_mean, standard_error
from nce_jax._slope import CalibrationSlope, calibration_slope
from nce_jax._types import Array, Float, LogRatioFn, Params
from nce_jax.diagnostics import overlap
from nce_jax.log_partition import Status
from nce_jax.ratio_estimation._assessment import (
    Calibration,
    Errors,
    RocCurve,
    calibration_curve,
    effective_fraction,
    log_ratio_error,
    loss_terms,
    predictions,
    roc_curve,
    sampling_errors,
    solve,
)
from nce_jax.ratio_estimation._descent import Descent
from nce_jax.ratio_estimation._models import Assessed
from nce_jax.ratio_estimation._weights import both_as_jax, mean_one
from nce_jax.training import FitResult

GUESS = 2 * float(np.log(2))
"""The loss of a ratio of 1, in nats."""

_MIN_GAIN = 2.0
"""Standard errors by which the held-out loss must lie below that of a guess. The value is our
choice: of sets that do not differ, about 2 % pass by chance."""

_MAX_EXCESS = 1 / 25
"""The largest part of the gain over a guess that the lack of samples may take. Both are quadratic,
in the log ratio and in its error, which may thus be a fifth of it. The value is our choice."""

_MAX_SCORE = 4.0
"""Standard errors by which the calibration slope may differ from 1: a chance of 1 in 16,000. The
value is our choice."""

_MIN_OVERLAP = 0.1
"""Below this overlap the two sets are too far apart for a single ratio. The value is our choice;
unit Gaussians at a distance of 3.7 have it."""

_MIN_FRACTION = 0.1
"""The effective fraction of the noise samples below which weighted means are said to rest on few of
them. The value is our choice."""


class UnreliableRatioWarning(UserWarning):
    """A log ratio is not to be relied on; the text names the reasons with their numbers."""


class LogRatioEstimate(NamedTuple):
    """The result of `fit_log_ratio`: a log ratio, and its assessment on held-out samples.

    It is a `RatioEstimate`.

    Attributes:
      log_ratio_fn: the model, `log_ratio_fn(params, x)`: the log ratio up to a constant, (n, ...)
        -> (n,).
      params: the chosen parameters of the model.
      model: name of the model: "constant" for a ratio of 1, "linear", "squares" (linear, with the
        squares of the coordinates), "quadratic", "kernels" (with Gaussian kernels), "network" (a
        simple model with a perceptron), or "given" for a model of the caller's.
      log_partition: F, in nats: zero for the simple models, whose fit normalizes them; otherwise
        solved at kappa = 1 on the held-out samples.
      log_partition_standard_error: standard error of F in nats, for the parameters as they are; inf
        without overlap, or where `effective_samples` is below
        `log_partition.MIN_EFFECTIVE_SAMPLES`.
      kl: mean of the log ratio over the held-out data, in nats: an estimate of KL(p_data ||
        p_noise). A model that has not learned the ratio makes it too low, as a rule, and so does an
        overlap below 0.1, where `summary` does not print it.
      kl_sampling_error: standard error of `kl` in nats, for the parameters as they are, with the
        error of F; inf where that of F is.
      overlap: overlap of the two held-out sets at kappa = 1. Near 0 the ratio is an extrapolation
        between distant sets.
      is_solved: whether the solver converged to F; false also for sets without any overlap.
      held_out_loss: NCE loss at kappa = 1 on held-out samples, in nats; that of a guess is 2 log 2,
        or 1.386.
      held_out_loss_standard_error: its standard error in nats, also of its distance from a guess.
      selection_losses: cross-validated loss of the best model of every simple family; empty for a
        model of the caller's.
      best_step: the step whose parameters were chosen; 0 for the initial ones, or without training.
      signs_of_dependence: what points to samples that depend on one another, in words; empty for
        none, or where groups or blocks were given.
      calibration: calibration curve of the classifier that the ratio implies.
      roc: ROC curve of the same classifier.
      slope: whether the log ratio is too timid, as before the end of a training, or too bold.
      result: the `FitResult` of the training, also where its network was not chosen. Its
        evaluations have the held-out loss and the loss by which the step was chosen, from step 0
        on. Without a training its state is None, and it has one evaluation.
      effective_samples: the effective number of held-out samples (or groups) behind the error of F;
        1 without overlap.
      excess_loss: the part of the loss, in nats, that more samples would remove, with one standard
        error. Of a network it is what the simple model that it corrects lacks and it has not
        gained: a lower bound, and NaN where nothing is left. NaN for models of the caller's.
      log_ratio_error: root mean square error of the log ratio for want of samples, in nats, with
        the loss's own weights P (1 - P): an estimate from fits to half of the samples, mostly right
        within a factor of two. It does not include what a model of the chosen kind cannot express.
        NaN where `excess_loss` is.
      effective_noise_fraction: Kish's effective sample size of the weights exp(log ratio) over the
        held-out noise, as a fraction of its number. Means by these weights, as of importance
        sampling, rest on so few samples. It means nothing where the overlap is below 0.1: the
        weights are then extrapolated, and the fraction can be near 1.
    """

    log_ratio_fn: LogRatioFn
    params: Params
    model: str
    log_partition: float
    log_partition_standard_error: float
    kl: float
    kl_sampling_error: float
    overlap: float
    is_solved: bool
    held_out_loss: float
    held_out_loss_standard_error: float
    selection_losses: dict[str, float]
    best_step: int
    signs_of_dependence: tuple[str, ...]
    calibration: Calibration
    roc: RocCurve
    slope: CalibrationSlope
    result: FitResult
    effective_samples: float
    excess_loss: float
    log_ratio_error: float
    effective_noise_fraction: float

    @property
    def kl_standard_error(self) -> float:
        """Always NaN, since gradient descent gives no error of the parameters.

        `kl_sampling_error` is the error for the parameters as they are.
        """
        return np.nan

    @property
    def is_converged(self) -> bool:
        """Whether the estimate has passed all checks of the fit; `summary` names those it failed.

        The checks are that F was solved for, that the overlap is at least 0.1, that the held-out
        loss of the chosen step is within one standard error of its lowest value, and that no other
        scale of the log ratio (`slope`) lowers that loss by more than a 25th of the gain over a
        guess. Other gains of a longer training show in `result.evaluations` alone.
        """
        return not self._fit_problems()

    @property
    def is_reliable(self) -> bool:
        """Whether the fit converged, beats a guess, and has enough and independent samples.

        It beats a guess where the held-out loss is at least two standard errors below 2 log 2. It
        does not where the two sets do not differ: the ratio of 1 may then be right, but nothing
        shows how far from 1 the true one may be. A model of the library's has enough samples
        where `excess_loss` is at most a 25th of what the loss is below 2 log 2. `problems` has the
        reasons. That a log ratio is reliable does not mean that the weights exp(log ratio) are
        usable: they may rest on few samples, which `effective_noise_fraction` shows.
        """
        return not self.problems

    @property
    def problems(self) -> tuple[str, ...]:
        """What speaks against the estimate, in words and numbers; empty if it is reliable."""
        return (*self._fit_problems(), *self._evidence_problems())

    def log_ratio(self, x: Float[Array, "n *shape"]) -> Float[Array, " n"]:
        """Estimates log p_data(x) - log p_noise(x) of samples (n, ...), in nats.

        The method can be transformed by `jit` and `grad`. Tables are refused, since their columns
        may be in another order than in the fit.
        """
        check_data("x", x)
        values = self.log_ratio_fn(self.params, jnp.asarray(x))
        return values.astype(compute_dtype(values)) - self.log_partition

    def log_ratio_standard_error(self, x: Float[Array, "n *shape"]) -> Float[Array, " n"]:
        """Always NaN, one per sample, since gradient descent gives no error of the parameters."""
        check_data("x", x)
        values = jax.eval_shape(self.log_ratio, jnp.asarray(x))
        return jnp.full(values.shape, jnp.nan, values.dtype)

    def summary(self) -> str:
        """Returns the estimate, its errors and its diagnostics as text for printing."""
        lines = [
            f"F {self.log_partition:.3f} +- {self.log_partition_standard_error:.3f} for the"
            " parameters as they are",
            *self._estimates(),
            f"overlap {self.overlap:.2f}, ROC area {self.roc.area:.3f}, held-out loss"
            f" {self.held_out_loss:.3f} +- {self.held_out_loss_standard_error:.3f} (a guess has"
            f" {GUESS:.3f}), model: {self.model}",
        ]
        lines += [f"NOT CONVERGED: {problem}" for problem in self._fit_problems()]
        lines += [f"NOT RELIABLE: {problem}" for problem in self._evidence_problems()]
        return "\n".join(lines)

    def _estimates(self) -> list[str]:
        """KL and what rests on single log ratios, in words, unless they are extrapolations."""
        if not self.overlap >= _MIN_OVERLAP:
            return ["KL, log ratios and weights: no estimate, since the sets hardly overlap"]
        is_small = not self.effective_noise_fraction >= _MIN_FRACTION
        lines = [
            f"KL {self.kl:.3f} +- {self.kl_sampling_error:.3f} from sampling alone; the error of"
            " the parameters is not known",
            f"weights exp(log ratio): {100 * self.effective_noise_fraction:.2g} % of the noise"
            " samples are effective"
            + ("; means by these weights rest on few samples" if is_small else ""),
        ]
        if self.log_ratio_error >= 0:
            lines.append(
                f"log ratios off by about {self.log_ratio_error:.2g}, root mean square, for want"
                " of samples"
            )
        return lines

    def _excess_loss(self) -> float:
        """By how much the loss of the chosen step exceeds the lowest one of the training."""
        losses, steps = (self.result.evaluations[name] for name in ("held_out_loss", "step"))
        # The evaluations are those of a network, which may not have been chosen.
        if self.model not in ("given", "network"):
            return 0.0
        return float(losses[np.flatnonzero(steps == self.best_step)[0]] - np.min(losses))

    def _fit_problems(self) -> list[str]:
        excess = self._excess_loss()
        checks = {
            "F could not be solved for": self.is_solved,
            f"the overlap, {self.overlap:.2g}, is below {_MIN_OVERLAP}: the sets are too far apart"
            " for one ratio; fit_telescope bridges a gap": self.overlap >= _MIN_OVERLAP,
            f"the held-out loss of the chosen step, {self.held_out_loss:.4g}, is {excess:.3g} nats"
            " above its lowest value: the model overfits": not excess
            > self.held_out_loss_standard_error,
            f"a log ratio {self.slope.slope:.3g} times as large would lower the held-out loss by"
            f" {self.slope.gain:.2g} nats (its derivative is {abs(self.slope.score):.0f} standard"
            f" errors from zero): the model {self._scale_fault()}": not self._is_off_scale(),
        }
        return [problem for problem, is_passed in checks.items() if not is_passed]

    def _is_off_scale(self) -> bool:
        is_material = self.slope.gain > _MAX_EXCESS * (GUESS - self.held_out_loss)
        return bool(abs(self.slope.score) > _MAX_SCORE and is_material)

    def _scale_fault(self) -> str:
        if self.slope.slope < 1:
            return "is too bold; it overfits, or cannot express the ratio"
        if self.model not in ("given", "network"):
            return "is too timid, shrunk by its penalty, or cannot express the ratio"
        return "is too timid; train it for more steps"

    def _evidence_problems(self) -> list[str]:
        gain = GUESS - self.held_out_loss
        problems = []
        if self.model == "constant":
            problems.append(
                "no model predicts held-out samples better than a ratio of 1, which is returned:"
                " the two sets do not differ as far as so few samples can show"
            )
        elif not gain > _MIN_GAIN * self.held_out_loss_standard_error:
            problems.append(
                f"the held-out loss, {self.held_out_loss:.4g} +-"
                f" {self.held_out_loss_standard_error:.2g}, is no better than that of a guess,"
                f" {GUESS:.4g}, by {_MIN_GAIN:.0f} standard errors"
            )
        if self.excess_loss > _MAX_EXCESS * gain > 0:
            problems.append(
                f"fits to half of the samples show that more samples would lower the loss by about"
                f" {self.excess_loss:.2g} nats of the {gain:.2g} that were gained: log ratios are"
                f" off by about {self.log_ratio_error:.2g}, root mean square, and kl is too low"
            )
        cure = (
            ": if samples depend on one another, as repeated measurements and chains do, pass"
            " groups_data and groups_noise or block_size; if they were only sorted, shuffle them"
        )
        *others, last = self.signs_of_dependence or [""]
        return [*problems, *others, last + cure] if last else problems


def assess(
    assessed: Assessed, descent: Descent | None, signs: list[str], num_groups: int
) -> LogRatioEstimate:
    """The estimate with its assessment by log ratios of held-out samples."""
    ratios, num_data = assessed.held_out, len(assessed.held_out[0])
    weights = mean_one(assessed.weights[:num_data]), mean_one(assessed.weights[num_data:])
    solution = solve(*ratios, weights)
    root, has_overlap = solution.log_partition, solution.status != Status.NO_OVERLAP
    predicted = predictions(*ratios, weights)
    terms = np.concatenate(loss_terms(*ratios, float(root)))
    of_data = np.arange(len(terms)) < num_data
    loss = float(side_mean(terms, of_data, assessed.weights))
    errors = Errors(np.inf, np.inf, 1.0)
    if has_overlap:
        errors = sampling_errors(*ratios, assessed.group, weights)
    given = both_as_jax(weights, ratios[0].dtype)
    log_odds = [np.asarray(side, np.float64) - float(root) for side in ratios]
    evaluations = {"step": np.zeros(1), "held_out_loss": np.array([loss])}
    return LogRatioEstimate(
        log_ratio_fn=assessed.log_ratio_fn,
        params=assessed.params,
        model=assessed.name,
        log_partition=0.0 if assessed.is_normalized else float(root),
        log_partition_standard_error=errors.log_partition,
        kl=float(np.average(log_odds[0], weights=weights[0])),
        kl_sampling_error=errors.kl,
        overlap=float(overlap(*ratios, log_partition=root, **given)),
        is_solved=bool(solution.status == Status.CONVERGED),
        held_out_loss=loss,
        held_out_loss_standard_error=standard_error(
            terms, of_data, assessed.group, assessed.weights
        ),
        selection_losses=assessed.losses,
        best_step=0 if descent is None or assessed.is_normalized else int(descent.best_step[0]),
        signs_of_dependence=tuple(signs),
        calibration=calibration_curve(*predicted[:2], num_groups, predicted[2]),
        roc=roc_curve(*predicted),
        slope=calibration_slope(log_odds[0], log_odds[1], assessed.group, assessed.weights),
        result=FitResult(None, {}, evaluations) if descent is None else descent.result,
        effective_samples=errors.effective_samples,
        excess_loss=assessed.excess_loss,
        log_ratio_error=log_ratio_error(assessed.excess_loss, ratios, root, weights),
        effective_noise_fraction=effective_fraction(ratios[1], weights[1]),
    )
