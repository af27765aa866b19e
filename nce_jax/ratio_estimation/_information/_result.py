"""The result of `mutual_information`."""

from typing import NamedTuple

import numpy as np

from nce_jax.ratio_estimation._information._copula import RESOLVED

GUESS = 2 * float(np.log(2))
"""The loss of a ratio of 1, in nats."""

_BELOW_CEILING = 2.0
"""Nats below log n above which an estimate is not relied on; the value is our choice."""

_MAX_CORRECTION, _SMALLEST = 0.25, 0.1
"""The largest correction for overfitting as a share of the value, if it is above so many nats. A
loss above that of independence matters to larger values alone. The values are our choice."""


class MutualInformation(NamedTuple):
    """The result of `mutual_information`.

    Attributes:
      value: the estimate in nats; it may be slightly below zero where x and y are independent.
      standard_error: its standard error in nats for the log ratio as it is; it does not include
        what the model cannot express or has not learned.
      model: "gaussian copula", "t copula", "network" (networks that correct one of the two),
        "table" (of counts, where both sides have few values), "independent" where few samples show
        no dependence, or "constant" where x or y is.
      degrees_of_freedom: of the copula, also of the one that networks correct; inf for a Gaussian.
      held_out_value: mean log ratio of pairs by fits without them, less F, in nats. It errs on the
        low side by what the fits lack for want of samples.
      optimism: mean log ratio of pairs that the fits have seen, less that of pairs that they have
        not, in nats. `value` is `held_out_value` and half of it.
      held_out_losses: NCE loss on held-out pairs of the models that were compared, in nats, by
        name; that of independence is 2 log 2, or 1.386.
      held_out_loss_standard_error: standard error of the held-out loss of `model`, in nats.
      log_partition: F, in nats; zero for tables and for copulas of continuous coordinates, which
        are normalized.
      best_step: the step of the networks' lowest held-out loss; 0 where none helped.
      num_steps: steps of the training; 0 without one.
      max_training_steps: the largest number of steps that was allowed.
      num_samples: number of pairs.
      signs_of_dependence: what points to samples that depend on one another, in words.
      unexplained: by the copula, the smallest share of the variance of a linear combination of y's
        scores that those of x leave unexplained. Below 1e-5 the copula cannot tell y from a
        function of x. 1 where a coordinate has few values.
    """

    value: float
    standard_error: float
    model: str
    degrees_of_freedom: float
    held_out_value: float
    optimism: float
    held_out_losses: dict[str, float]
    held_out_loss_standard_error: float
    log_partition: float
    best_step: int
    num_steps: int
    max_training_steps: int
    num_samples: int
    signs_of_dependence: tuple[str, ...]
    unexplained: float = 1.0

    @property
    def ceiling(self) -> float:
        """log n, in nats: about the largest value that n samples can show."""
        return float(np.log(self.num_samples))

    @property
    def is_reliable(self) -> bool:
        """Whether nothing speaks against the estimate; `problems` has the reasons."""
        return not self.problems

    @property
    def problems(self) -> tuple[str, ...]:
        """What speaks against the estimate, in words and numbers; empty if it is reliable."""
        if self.model == "constant":
            return ("x or y is the same in all samples, which tell nothing of another",)
        correction = self.optimism / 2
        limit = max(_MAX_CORRECTION * abs(self.value), _SMALLEST)
        is_rising = self.model == "network" and self.best_step == self.num_steps
        is_at_the_end = self.num_steps >= self.max_training_steps
        loss, error = self.held_out_losses[self.model], self.held_out_loss_standard_error
        # Of independent x and y both losses are about equal, and a value near zero is right.
        is_worse = loss - error > GUESS and abs(self.value) > _SMALLEST
        passed = {
            f"the held-out loss, {loss:.4g} +- {error:.2g}, is above that of independence,"
            f" {GUESS:.4g}: {self.model} does not describe the dependence": not is_worse,
            f"{self.value:.3g} nats are near the ceiling log n, {self.ceiling:.3g}: the mutual"
            " information may be larger by any amount": self.value < self.ceiling - _BELOW_CEILING,
            f"x leaves {self.unexplained:.1g} of a variance of y unexplained, next to nothing: the"
            " mutual information may be larger by any amount": self.unexplained > RESOLVED,
            f"the correction for overfitting, {correction:.2g} nats, is a large part of"
            f" {self.value:.3g}: too few samples for so many coordinates": correction <= limit,
            f"the held-out loss still fell at step {self.best_step}, the last one: the value may be"
            " too low; raise max_training_steps": not (is_rising and is_at_the_end),
            f"the standard error is {self.standard_error:.3g}: joint and shuffled pairs hardly"
            " overlap": np.isfinite(self.standard_error),
        }
        found = [problem for problem, is_passed in passed.items() if not is_passed]
        return (*found, *self.signs_of_dependence)

    def summary(self) -> str:
        """Returns the estimate, its errors and its diagnostics as text for printing."""
        lines = [
            f"mutual information {self.value:.3f} +- {self.standard_error:.3f} nats from sampling"
            f" alone, of {self.num_samples} pairs (ceiling log n: {self.ceiling:.2f})",
            f"model: {self.model}; by held-out pairs {self.held_out_value:.3f}, and half of the"
            f" optimism, {self.optimism:.3f}",
            "held-out loss: "
            + ", ".join(f"{name} {loss:.4f}" for name, loss in self.held_out_losses.items())
            + f" (independence has {GUESS:.4f})",
        ]
        return "\n".join([*lines, *(f"NOT RELIABLE: {problem}" for problem in self.problems)])
