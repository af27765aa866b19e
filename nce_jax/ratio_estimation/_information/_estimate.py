"""One call from pairs of samples to their mutual information."""

import warnings
from typing import Any

import jax
import numpy as np

from nce_jax._checks import check_key, check_positive_int
from nce_jax._dependence import signs_without_groups
from nce_jax._numerics import host_products
from nce_jax._samples import as_host_samples
from nce_jax._types import ArrayLike, PRNGKeyArray, Shaped
from nce_jax.ratio_estimation._information._candidates import (
    MIN_FOR_NETWORK,
    Candidate,
    Trained,
    best_copula,
    best_table,
    is_better,
    train,
)
from nce_jax.ratio_estimation._information._result import MutualInformation
from nce_jax.ratio_estimation._information._split import split, standard_error
from nce_jax.ratio_estimation._information._table import is_exact
from nce_jax.ratio_estimation._result import UnreliableRatioWarning

MIN_SAMPLES = 10
"""The smallest number of pairs."""


def mutual_information(
    key: PRNGKeyArray,
    x: Shaped[ArrayLike, "n dim_x"],
    y: Shaped[ArrayLike, "n dim_y"],
    *,
    max_training_steps: int = 1500,
    num_folds: int = 5,
) -> MutualInformation:
    r"""Estimates the mutual information of x and y from independent pairs.

    It is the mean, over pairs, of the log ratio of the joint density to the product of both
    margins; shuffled pairs are samples of the product. Three models of the log ratio are compared:

    1. a Gaussian copula, whose log ratio has a closed form;
    2. a t copula, with degrees of freedom by maximum likelihood, for tails that come together;
    3. of 200 samples or more, networks that correct the better copula by NCE. They see normal
       scores and their squared norms.

    Where x and y both have few values, as labels and counts do, a table of counts comes first: it
    needs no order of the values. The copula and the networks have to be better than the table, and
    of 50 samples for every cell of the table, none of them is fitted.

    All of them see the ranks of every coordinate alone: increasing maps of single coordinates
    change nothing, and heavy tails do no harm. Every log ratio is computed for pairs that its fit
    has not seen, by `num_folds` fits without a fold each. The held-out loss chooses the copula, the
    step of the training, and whether the networks are used, which takes a gain of one standard
    error. Of fewer than 50 samples per coordinate, and where a coordinate has few values,
    correlations are shrunk, by a share that the held-out loss chooses. A copula is normalized over
    continuous coordinates; of few values F is solved for, as it is for networks.

    A mean over pairs that fits have not seen is too low, and one over pairs that they have seen too
    high. By maximum likelihood both are off by the same amount to first order (Akaike), and the
    estimate is the middle of the two. For networks this has been seen to hold roughly, mostly on
    the low side.

    Args:
      key: typed key for the folds and the networks.
      x: one sample a row, (n, dim_x).
      y: the sample that belongs to each row of x, (n, dim_y).
      max_training_steps: the largest number of training steps of the networks, in rounds of 100;
        the training ends after three rounds without a lower held-out loss.
      num_folds: number of folds, from 2 to half of the samples.

    Returns:
      A `MutualInformation`. An `UnreliableRatioWarning` names what speaks against it.

    Raises:
      TypeError: a key that is not typed, or samples that are no numbers.
      ValueError: samples that are not finite, of other shapes or of different numbers, or fewer
        than 10 of them.

    Examples:
      >>> import jax
      >>> import nce_jax
      >>> key_x, key_y, key = jax.random.split(jax.random.key(0), 3)
      >>> x = jax.random.normal(key_x, (900, 1))
      >>> y = 0.8 * x + 0.6 * jax.random.normal(key_y, (900, 1))  # correlation 0.8
      >>> found = nce_jax.mutual_information(key, x, y)
      >>> found.model, found.is_reliable
      ('gaussian copula', True)
      >>> abs(found.value - 0.511) < 3 * found.standard_error  # the truth is -log(1 - 0.64) / 2
      True

    References:
      Gutmann and Hyvärinen, Noise-contrastive estimation of unnormalized statistical models, 2012.
      Akaike, Information theory and an extension of the maximum likelihood principle, 1973.
      Demarta and McNeil, The t copula and related copulas, 2005.
      Kent, Tyler and Vardi, A curious likelihood identity for the multivariate t-distribution,
        1994.
      McAllester and Stratos, Formal limitations on the measurement of mutual information, 2020.
    """
    check_key(key, cure_of_samples="the key comes before the samples")
    check_positive_int("max_training_steps", max_training_steps)
    check_positive_int("num_folds", num_folds)
    x, y = _pair_of_samples(x, y)
    _check_folds(num_folds, len(x))
    signs = signs_without_groups({"x": x, "y": y}, {"x": False, "y": False})
    x, y = (side[:, (side != side[:1]).any(axis=0)] for side in (x, y))
    if 0 in (x.shape[1], y.shape[1]):
        found = _of_constants(len(x), max_training_steps)
    else:
        found = _estimate(key, x, y, max_training_steps, num_folds, tuple(signs))
    if not found.is_reliable:
        warnings.warn(
            "mutual_information: " + "; ".join(found.problems), UnreliableRatioWarning, stacklevel=2
        )
    return found


def _pair_of_samples(x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    sides = {"x": x, "y": y}
    for name, side in sides.items():
        # Of these ranks alone count, whatever float32 makes of the values.
        as_host_samples(name, side)
        shape = np.shape(side)
        if len(shape) != 2:
            cure = f"; pass {name}[:, None]" if len(shape) == 1 else ""
            raise ValueError(f"{name}: expected samples (n, dim_{name}), got shape {shape}{cure}")
    if len(x) != len(y):
        raise ValueError(f"y: expected one row for each of the {len(x)} of x, got {len(y)}")
    if len(x) < MIN_SAMPLES:
        raise ValueError(f"x: expected {MIN_SAMPLES} samples or more, got {len(x)}")
    return np.asarray(x, np.float64), np.asarray(y, np.float64)


def _check_folds(num_folds: int, count: int) -> None:
    if not 2 <= num_folds <= count // 2:
        raise ValueError(
            f"num_folds: expected from 2 to {count // 2}, half of the samples, got {num_folds}"
        )


def _estimate(
    key: PRNGKeyArray,
    x: np.ndarray,
    y: np.ndarray,
    max_training_steps: int,
    num_folds: int,
    signs: tuple[str, ...],
) -> MutualInformation:
    key_folds, key_train = jax.random.split(key)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key_folds)).tolist())
    parts = split(rng, len(x), num_folds)
    table, trained = best_table(x, y, parts), Trained(None, 0, 0)
    tried = [] if table is None else [table]
    if table is None or not is_exact(x, y):
        tried.append(best_copula(x, y, parts))
        if len(x) >= MIN_FOR_NETWORK:
            trained = train(key_train, tried[-1], x, y, parts, max_training_steps)
    if trained.candidate is not None:
        tried.append(trained.candidate)
    chosen = tried[0]
    for other in tried[1:]:
        chosen = other if is_better(other, chosen) else chosen
    if chosen is trained.candidate:
        chosen = chosen.normalized()
    losses = {candidate.name: candidate.loss() for candidate in tried}
    return _result(chosen, trained, losses, max_training_steps, len(x), signs)


@host_products
def _result(
    chosen: Candidate,
    trained: Trained,
    losses: dict[str, float],
    max_training_steps: int,
    count: int,
    signs: tuple[str, ...],
) -> MutualInformation:
    ratios, root = chosen.held_out, chosen.log_partition or 0.0
    is_solved = chosen.log_partition is not None
    terms, mean = ratios.terms(root), float(ratios.joint.mean())
    optimism = chosen.in_sample - mean
    return MutualInformation(
        value=mean - root + optimism / 2,
        standard_error=standard_error(ratios.influences(root, is_solved=is_solved)),
        model=chosen.name,
        degrees_of_freedom=chosen.degrees_of_freedom,
        held_out_value=mean - root,
        optimism=optimism,
        held_out_losses=losses,
        held_out_loss_standard_error=standard_error(terms - terms.mean()),
        log_partition=root,
        best_step=trained.best_step,
        num_steps=trained.num_steps,
        max_training_steps=max_training_steps,
        num_samples=count,
        signs_of_dependence=signs,
        unexplained=chosen.unexplained,
    )


def _of_constants(count: int, max_training_steps: int) -> MutualInformation:
    return MutualInformation(
        0.0, 0.0, "constant", np.inf, 0.0, 0.0, {}, 0.0, 0.0, 0, 0, max_training_steps, count, ()
    )
