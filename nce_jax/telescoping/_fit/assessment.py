"""The assessment of a trained chain and the path of its training, common to all methods."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._types import Params, PRNGKeyArray
from nce_jax.telescoping._fit.config import FitConfig
from nce_jax.telescoping._fit.errors import Evaluation, Pairs


class Path(NamedTuple):
    """The course of a training: c points, after some of the steps.

    Attributes:
      num_steps: steps taken at every point, (c,).
      models: the model's parameters, leaves with a leading axis c.
      log_partitions: the F_k that the method had, (c, K); None for gradient descent.
    """

    num_steps: np.ndarray
    models: Params
    log_partitions: jax.Array | None


class Assessment(NamedTuple):
    """The assessment of a trained chain, of which the padded stages come last.

    Attributes:
      evaluation: diagnostics and errors for the parameters as they are, of all padded stages.
      misfit: score of every stage's model in standard errors, (K,).
      has_ended: whether the training found its end.
      covariance: covariance of all theta_k and F_k; None where it is not known.
      kl_standard_error: standard error of the mean log ratio with the error of the parameters; NaN
        where it is not known.
      effective_samples: the effective number of pairs that determine F_k, the smallest of any
        stage.
      num_steps: batches that were drawn for the evaluation.
    """

    evaluation: Evaluation
    misfit: np.ndarray
    has_ended: bool
    covariance: np.ndarray | None
    kl_standard_error: float
    effective_samples: float
    num_steps: int


def make_path(points: list[tuple[int, Params, jax.Array]]) -> Path:
    """The path through points (steps, model's parameters, F_k)."""
    steps, models, roots = zip(*points, strict=True)
    return Path(np.array(steps), _stacked(models), jnp.stack(roots))


def make_path_without_roots(points: list[tuple[int, Params]]) -> Path:
    """The path through points (steps, model's parameters) of a method that keeps no F_k."""
    steps, models = zip(*points, strict=True)
    return Path(np.array(steps), _stacked(models), None)


def _stacked(models: Any) -> Params:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *models)


def evaluation_pairs(key: PRNGKeyArray, config: FitConfig) -> Pairs:
    """Pairs that are apart from the training, as many as the evaluation takes, or as there are."""
    num_pairs = config.num_evaluated * config.batch_size
    held_out = config.sampler.num_held_out
    return config.sampler.draw_held_out(key, min(num_pairs, held_out or num_pairs))
