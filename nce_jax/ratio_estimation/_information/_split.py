"""Folds, held-out pairs of them, and what is computed from the log ratios of such pairs."""

from typing import NamedTuple

import jax
import numpy as np
from scipy.special import expit

from nce_jax.log_partition import check_solution, solve_log_partition

MAX_SHIFTS = 4
"""Shuffled pairs of a held-out sample. More of them hardly lower the error, to which the joint
samples contribute most."""

WATCHED = 2_000
"""Held-out samples of a fold that choose the step of a training."""


class Split(NamedTuple):
    """Folds of equal size; samples that are left over help to fit all of them.

    Attributes:
      fold: the fold of every sample, (n,), or -1 for those left over.
      members: the samples of every fold, (folds, m).
      shifts: by how many places y is shifted against x within a fold, for the shuffled pairs.
    """

    fold: np.ndarray
    members: np.ndarray
    shifts: tuple[int, ...]

    def pairs(self, limit: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Rows of x and of y of all held-out pairs, (folds, (1 + shifts) m): joint ones first.

        With a limit there are so many samples of a fold at most.
        """
        members = self.members[:, :limit]
        columns = [np.roll(members, -shift, axis=1) for shift in (0, *self.shifts)]
        rows = np.tile(members, (1, len(columns)))
        return rows, np.concatenate(columns, axis=1)

    def training_rows(self) -> np.ndarray:
        """Samples outside of every fold, (folds, n - m)."""
        return np.stack([np.flatnonzero(self.fold != k) for k in range(len(self.members))])


class HeldOut(NamedTuple):
    """Log ratios of held-out pairs by fits without them.

    Attributes:
      joint: of the pairs, (folds, m).
      shuffled: of shuffled pairs, (folds, shifts, m).
      shifts: by how many places y was shifted, as in `Split`.
    """

    joint: np.ndarray
    shuffled: np.ndarray
    shifts: tuple[int, ...]

    def terms(self, log_partition: float = 0.0) -> np.ndarray:
        """Terms of the NCE loss at F, one per sample, (folds, m); their mean is the loss."""
        joint = np.logaddexp(0, log_partition - self.joint)
        return joint + np.logaddexp(0, self.shuffled - log_partition).mean(axis=1)

    def loss(self, log_partition: float = 0.0) -> float:
        """The NCE loss at a magnification of 1 and at F, in nats."""
        return float(self.terms(log_partition).mean())

    def solved(self) -> float:
        """F at a magnification of 1."""
        # In float32 on the host: a conversion would be a program for every number of samples.
        joint, shuffled = (
            jax.device_put(side.ravel().astype(np.float32)) for side in (self.joint, self.shuffled)
        )
        solution = solve_log_partition(joint, shuffled)
        check_solution(solution)
        return float(solution.log_partition)

    def influences(self, log_partition: float, *, is_solved: bool) -> np.ndarray:
        """Influence of every sample on mean s - F, (folds, m), for the log ratio as it is.

        A sample is in its own pair, in the shuffled pairs of its x, and in those of its y. F has an
        influence only where it was solved for.
        """
        of_mean = self.joint - self.joint.mean()
        if not is_solved:
            return of_mean
        wrong, false = expit(log_partition - self.joint), expit(self.shuffled - log_partition)
        slope = (wrong * (1 - wrong)).mean() + (false * (1 - false)).mean()
        if not slope > 0:
            return np.full_like(of_mean, np.inf)
        of_x = false.mean(axis=1) - false.mean()
        of_y = -false.mean() + np.mean(
            [np.roll(false[:, i], shift, axis=1) for i, shift in enumerate(self.shifts)], axis=0
        )
        return of_mean + (wrong - wrong.mean() - of_x - of_y) / slope


def split(rng: np.random.Generator, count: int, num_folds: int) -> Split:
    """Splits samples into folds at random."""
    size = count // num_folds
    order = rng.permutation(count)
    members = order[: size * num_folds].reshape(num_folds, size)
    fold = np.full(count, -1)
    fold[members] = np.arange(num_folds)[:, None]
    num_shifts = min(MAX_SHIFTS, size - 1)
    # Within the first samples of a fold too, which choose the step, no shift is a whole turn.
    span = min(size, WATCHED) - 1
    shifts = tuple(1 + place * span // num_shifts for place in range(num_shifts))
    return Split(fold, members, shifts)


def held_out(values: np.ndarray, shifts: tuple[int, ...]) -> HeldOut:
    """Log ratios of the pairs of `Split.pairs`, (folds, (1 + shifts) m), in their parts."""
    parts = values.reshape(len(values), 1 + len(shifts), -1)
    return HeldOut(parts[:, 0], parts[:, 1:], shifts)


def standard_error(influences: np.ndarray) -> float:
    """Standard error of a mean with these influences."""
    return float(np.sqrt(np.mean(np.square(influences)) / influences.size))
