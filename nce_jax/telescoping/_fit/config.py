"""The settings of a fit, and its stages as arrays."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from nce_jax._levels import as_coefficients
from nce_jax._types import Params
from nce_jax.telescoping._fit.pair_sampler import PairSampler
from nce_jax.telescoping._fit.progress import Report
from nce_jax.telescoping._fit.stage_model import (
    Chain,
    Moments,
    StageModel,
    identity_moments,
    stage_moments,
)

BATCHES_PER_PROGRAM = 20
"""Number of batches that one call of a compiled program takes."""

_NEWTON_PILOT_STEPS = 10
"""Number of steps of a pilot fit by Newton's method."""

_DESCENT_PILOTS = 20
"""A pilot fit by gradient descent takes `num_steps` over this number of steps."""

_EVALUATION_FRACTION = 10
"""The evaluation takes `num_steps` over this number of batches."""

_MIN_PADDED_STAGES = 16
"""Stages are padded to at least this number, so that most fits share their compiled programs."""


class FitConfig(NamedTuple):
    """The settings of a fit.

    Attributes:
      model: the functions of the stages' model.
      template: initial parameters of one stage.
      sampler: draws the pairs.
      optimizer: an optax transformation; None is Newton's method.
      magnification: M of every stage.
      num_steps: largest number of training steps.
      batch_size: pairs in a step.
      is_standardized: whether the stages' models see standardized samples.
      min_overlap: the overlap that a stage must have.
      max_stages: the number of stages at which the search gives up.
      report: reports the progress.
      offset: the point about which all bridges of the fit are made.
    """

    model: StageModel
    template: Params
    sampler: PairSampler
    optimizer: optax.GradientTransformation | None
    magnification: float
    num_steps: int
    batch_size: int
    is_standardized: bool
    min_overlap: float
    max_stages: int
    report: Report
    offset: jax.Array | float = 0.0

    @property
    def is_full_batch(self) -> bool:
        """Newton's method on a finite set of data takes all of it at once."""
        return self.optimizer is None and self.sampler.num_data is not None

    @property
    def pilot_steps(self) -> int:
        """Number of steps of one pilot fit."""
        if self.optimizer is None:
            return _NEWTON_PILOT_STEPS
        return max(self.num_steps // _DESCENT_PILOTS, 10)

    @property
    def num_evaluated(self) -> int:
        """Number of batches that the evaluation takes."""
        return max(self.num_steps // _EVALUATION_FRACTION, 4)

    def training_steps(self, num_pilot_steps: int) -> int:
        """Number of steps left for training.

        Raises ValueError if that is less than the method needs, or less than a quarter of all
        steps.
        """
        if self.is_full_batch:
            return self.num_steps
        needed = self.pilot_steps if self.optimizer is None else 2 * BATCHES_PER_PROGRAM
        fewest, fixed = max(self.num_steps // 4, needed), num_pilot_steps + self.num_evaluated
        if fixed + fewest > self.num_steps:
            raise ValueError(
                f"num_steps: expected at least {fixed + fewest}, got {self.num_steps}:"
                f" {num_pilot_steps} for the search of noise levels, {fewest} to train and"
                f" {self.num_evaluated} to evaluate"
            )
        return self.num_steps - fixed

    def moments(self, x: jax.Array) -> Moments:
        """The standardization of every stage, from bridges x, (K + 1, n, ...)."""
        moments_fn = stage_moments if self.is_standardized else identity_moments
        return jax.lax.stop_gradient(moments_fn(x))

    def chain(self, levels: "Levels", *, magnification: float | None = None) -> Chain:
        """The padded stages as arrays, at M = `magnification` (None: that of the fit)."""
        magnification = self.magnification if magnification is None else magnification
        dtype = jnp.result_type(float)
        kappa = jnp.full(len(levels.padded) - 1, magnification, dtype)
        return Chain(as_coefficients(levels.padded, dtype), kappa, self.offset)


class Levels(NamedTuple):
    """The noise levels of a fit, and how they were found.

    Attributes:
      values: a_0 = 0 < ... < a_K = 1, float64.
      is_searched: whether they come from a search; those given by the user are not padded.
      num_pilot_steps: training steps that the search took.
    """

    values: np.ndarray
    is_searched: bool
    num_pilot_steps: int = 0

    @property
    def num_stages(self) -> int:
        """K, without padding."""
        return len(self.values) - 1

    @property
    def padded(self) -> np.ndarray:
        """The levels with stages added up to a power of two, at least 16, to save compilations.

        The added stages lie between the noise and itself. Their log ratio is zero.
        """
        if not self.is_searched:
            return self.values
        num_padded = max(_MIN_PADDED_STAGES, 1 << (self.num_stages - 1).bit_length())
        return np.concatenate([self.values, np.ones(num_padded - self.num_stages)])
