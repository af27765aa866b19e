"""One call from two sets of samples to the log ratio of their densities."""

import warnings
from collections.abc import Collection
from os import PathLike
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from nce_jax._checks import check_instance, check_key, check_positive_int, describe
from nce_jax._contracts import check_log_density_fn, check_optimizer, check_params, evaluate_model
from nce_jax._dependence import signs_without_groups
from nce_jax._folds import Side, as_groups, make_folds
from nce_jax._options import as_folder, check_changes, check_flag, check_fraction, check_resume
from nce_jax._samples import SampleSource
from nce_jax._types import ArrayLike, LogRatioFn, Params, PRNGKeyArray, Shaped
from nce_jax.criteria import Criterion, nce
from nce_jax.ratio_estimation._descent import STEPS, Descent, Parts, descend, usual_num_steps
from nce_jax.ratio_estimation._features import log_ratio
from nce_jax.ratio_estimation._models import (
    MIN_FOR_NETWORK,
    Assessed,
    Rows,
    SimpleModels,
    excess_of_network,
    have_both_sets,
    is_better,
    make_parts,
    network,
    pool_of,
)
from nce_jax.ratio_estimation._result import LogRatioEstimate, UnreliableRatioWarning, assess
from nce_jax.ratio_estimation._samples import Sets, make_sets
from nce_jax.ratio_estimation._settings import Settings, digest
from nce_jax.ratio_estimation._weights import kish, weighted_samples
from nce_jax.training import make_train_step


def fit_log_ratio(
    key: PRNGKeyArray,
    x_data: SampleSource,
    x_noise: SampleSource,
    *,
    model: tuple[Params, LogRatioFn] | None = None,
    criterion: Criterion = nce(),
    optimizer: optax.GradientTransformation | None = None,
    num_steps: int | None = None,
    batch_size: int = 512,
    held_out: float = 0.2,
    groups_data: Shaped[ArrayLike, " n"] | None = None,
    groups_noise: Shaped[ArrayLike, " m"] | None = None,
    block_size: int | None = None,
    weights_data: Shaped[ArrayLike, " n"] | None = None,
    weights_noise: Shaped[ArrayLike, " m"] | None = None,
    num_groups: int = 10,
    folder: str | PathLike[str] | None = None,
    resume: bool = False,
    allow_changes: Collection[str] = (),
    progress: bool = True,
) -> LogRatioEstimate:
    """Estimates log p_data(x) / p_noise(x) from samples of both: neither density need be known.

    With `model=None` the capacity of the model follows the number of samples. The candidates are a
    ratio of 1, a log ratio linear in the coordinates, one with their squares, a quadratic form,
    and, in at most 22 dimensions, one with 300 Gaussian kernels, all fitted by penalized logistic
    regression. With 2,000 samples of each set or
    more, a perceptron is also trained by NCE, as a correction to the best of them, which is zero at
    first. Cross-validation chooses the penalty, and the simplest model whose loss is within one
    standard error of the lowest; the standard error is that of the difference of the two losses.
    These models are constant in a coordinate from three ranges of its middle 98 per cent beyond it
    on.
    No sample is used to assess a model that it has helped to fit or to choose:

    - *Simple models* are fitted without each of about 1 / `held_out` folds. The log ratios of a
      fold come from a fit without it, with a penalty and a model chosen by the losses of the other
      folds. All samples are thus assessed (at most about 10,000 of each set), and the model that is
      returned is fitted to all of them.
    - *Networks and models of your own* are trained on a part of the samples. Another part, a tenth
      of each set where that is 500 to 10,000 samples and at most a fold, chooses the step: the
      parameters of the lowest loss among those of 41 steps are returned, the initial ones included.
      The share `held_out` takes part in nothing but the assessment.

    The loss, the overlap, the calibration curve, the ROC curve, KL(p_data || p_noise) and all
    errors are computed from log ratios of this kind. An `UnreliableRatioWarning` is given where
    `is_reliable` is false; it names the reasons with their numbers.

    Args:
      key: typed key for the folds, the draws, the initial model and the training.
      x_data: samples of the numerator, (n, ...); a distribution with `sample(seed=key,
        sample_shape=(n,))`; or a function `x_data(key, n)` that draws samples. A distribution or a
        function is drawn from once: as many samples as the other set has, or, where both sets are
        drawn, `num_steps * batch_size` of them and at most 100,000.
      x_noise: samples of the denominator, (m, ...), in any of the same three forms; m and n may
        differ.
      model: `(params, log_ratio_fn)`, where `log_ratio_fn(params, x)` is the log ratio up to a
        constant; None chooses a model for samples (n, dim), as described above.
      criterion: the loss of the training of a network or of `model`, for example
        `nce(magnification=10.0)`. All models are compared by `nce()`.
      optimizer: an optax transformation for the training; None takes Adam with a rate that falls
        from 1e-3 to zero along a cosine (our choice).
      num_steps: number of training steps; None takes 250 passes over the training samples, at least
        200 steps and at most 2,000.
      batch_size: samples of each set in a step, or all where a set has fewer.
      held_out: fraction of each set in fold 0, between 0 and 1. The others, so that there are about
        1 / `held_out` folds (3 to 10), have equal shares.
      groups_data: labels of the data, (n,), where samples depend on one another: a person's visits,
        views of an object. Samples of one label are held out together, and all standard errors are
        those of independent groups. None takes all samples to be independent.
      groups_noise: labels of the noise, (m,). A label that occurs in both sets is one group. Where
        a fold has a single group of a set, nothing can judge a network, and none is trained.
      block_size: number of consecutive samples that form a group, in both sets, for chains and time
        series; a few times their correlation length. It excludes labels.
      weights_data: weights >= 0 of the data, (n,), as of a survey or of importance sampling: the
        fit, the choices and the assessment are those of the weighted sets. Only their ratios
        matter. A sample of weight zero takes part in nothing, be it NaN. A network needs
        2,000 *effective* samples of each set. None means equal weights.
      weights_noise: the same for the noise, (m,).
      num_groups: number of groups of the calibration curve.
      folder: where to keep metrics and checkpoints of a training, as in `training.fit`.
      resume: whether to continue the run in `folder`, which must have the same samples and
        settings.
      allow_changes: what may differ from the run in `folder`, as in `training.fit`: a tuple of
        "batches" (samples, groups and folds), "batch_size", "key", "state" and "step". The step is
        compared as a whole, so that another optimizer, criterion, model or number of steps is a
        change of "step", and other samples are one of "batches" and "step".
      progress: whether to show a progress bar.

    Returns:
      A `LogRatioEstimate`, which is a `RatioEstimate`.

    Raises:
      TypeError: a key that is not typed, samples that are no numbers, or a model of another form.
      ValueError: samples of different shapes, samples that are not finite, too few samples or
        groups, samples that float32 cannot distinguish, `held_out` outside (0, 1), a resumed run
        with other samples or settings, or `resume` without a folder.
      FloatingPointError: the training diverged (`training.NonFiniteError`), or F could not be
        solved for.

    Examples:
      >>> import jax
      >>> from nce_jax import ratio_estimation
      >>> key_data, key_noise, key = jax.random.split(jax.random.key(0), 3)
      >>> x_data = 1 + jax.random.normal(key_data, (1000, 1))
      >>> x_noise = jax.random.normal(key_noise, (1000, 1))
      >>> estimate = ratio_estimation.fit_log_ratio(key, x_data, x_noise)
      >>> estimate.model, estimate.is_reliable
      ('linear', True)
      >>> estimate.log_ratio(x_data[:3]).shape  # the truth is x - 1/2
      (3,)
      >>> abs(estimate.kl - 0.5) < 4 * estimate.kl_sampling_error
      True
      >>> abs(estimate.roc.area - 0.76) < 0.04  # the largest possible area: Phi(1 / sqrt(2))
      True

    References:
      Sugiyama, Suzuki and Kanamori, Density Ratio Estimation in Machine Learning, 2012, section 4
        (probabilistic classification).
      Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, 2009, section 7.10
        (cross-validation, and the one-standard-error rule).
      Breiman, Friedman, Olshen and Stone, Classification and Regression Trees, 1984, section 3.4.3
        (the one-standard-error rule).
      Gutmann and Hyvärinen, Noise-contrastive estimation of unnormalized statistical models, 2012.
    """
    _check_numbers(batch_size=batch_size, num_groups=num_groups, num_steps=num_steps)
    check_fraction("held_out", held_out)
    check_key(key, cure_of_samples="the key comes before the samples")
    check_resume(resume, folder)
    check_changes(allow_changes)
    check_flag("progress", progress)
    check_instance("criterion", criterion, Criterion, "nce_jax.criteria.nce()")
    if optimizer is not None:
        check_optimizer(optimizer)
    folder = as_folder(folder)
    key_data, key_noise, key_model, key_fit, key_folds = jax.random.split(key, 5)
    num_visited = (num_steps or STEPS[1]) * batch_size
    x_data, of_data, is_kept_data = weighted_samples("data", x_data, weights_data)
    x_noise, of_noise, is_kept_noise = weighted_samples("noise", x_noise, weights_noise)
    sets = make_sets(key_data, key_noise, x_data, x_noise, num_visited=num_visited)
    _check_model(model, sets)
    is_kept = is_kept_data, is_kept_noise
    groups = as_groups(groups_data, groups_noise, block_size, _sizes(sets, is_kept), is_kept)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key_folds)).tolist())
    sides = make_folds(rng, groups, held_out, (of_data, of_noise))
    problem = _Problem(
        rng=rng, sets=sets, sides=sides, key_model=key_model, key_fit=key_fit,
        criterion=criterion, optimizer=optimizer, num_steps=num_steps, batch_size=batch_size,
        files={
            "folder": folder, "resume": resume, "allow_changes": allow_changes, "progress": progress
        },
    )  # fmt: skip
    # After all that can be refused: a call that is corrected must not meet the file of its error.
    settings = Settings(
        folder,
        num_steps=num_steps,
        batch_size=batch_size,
        held_out=held_out,
        block_size=block_size,
        criterion=criterion.name,
        **_digests("x", *sets),
        **_digests("groups", groups_data, groups_noise),
        **_digests("weights", of_data, of_noise),
    )
    settings.check(allow_changes)
    assessed, descent = problem.automatic() if model is None else problem.given(*model)
    settings.keep()
    signs = _signs(sets, block_size, groups_data, groups_noise)
    estimate = assess(assessed, descent, signs, num_groups)
    if not estimate.is_reliable:
        warnings.warn(
            "fit_log_ratio: " + "; ".join(estimate.problems), UnreliableRatioWarning, stacklevel=2
        )
    return estimate


def _signs(sets: Sets, block_size: int | None, of_data: Any, of_noise: Any) -> list[str]:
    """Signs of dependent samples in the sets without groups, in words."""
    labels = {"x_data": of_data, "x_noise": of_noise}
    is_grouped = {name: block_size is not None or labels[name] is not None for name in labels}
    return signs_without_groups({"x_data": sets.data, "x_noise": sets.noise}, is_grouped)


def _sizes(sets: Sets, is_kept: tuple[Any, Any]) -> tuple[int, int]:
    """The numbers of samples as they were given, of which some are kept."""
    data, noise = (
        len(side) if isinstance(kept, slice) else len(kept)
        for side, kept in zip(sets, is_kept, strict=True)
    )
    return data, noise


def _digests(name: str, of_data: Any, of_noise: Any) -> dict[str, str | None]:
    return {f"{name}_data": digest(of_data), f"{name}_noise": digest(of_noise)}


def _check_numbers(**counts: int | None) -> None:
    for name, value in counts.items():
        if not (name == "num_steps" and value is None):
            check_positive_int(name, value)


def _check_model(model: Any, sets: Sets) -> None:
    """Raises unless `model` is a pair of parameters and a log ratio, or None for (n, dim)."""
    shape = sets.data.shape
    if model is None and len(shape) != 2:
        hint = ", or for numbers x[:, None]" if len(shape) == 1 else ""
        raise ValueError(
            f"model: expected samples (n, dim) for the default model, got shape {shape}; pass a"
            f" pair (params, log_ratio_fn){hint}"
        )
    if model is None:
        return
    if not (isinstance(model, tuple) and len(model) == 2):
        raise TypeError(f"model: expected a pair (params, log_ratio_fn), got {describe(model)}")
    params, log_ratio_fn = model
    check_log_density_fn(log_ratio_fn, "log_ratio_fn")
    check_params(params)
    # Shapes alone, before the loss meets a column of values in place of a value per sample.
    jax.eval_shape(
        lambda p, x: evaluate_model(log_ratio_fn, p, x, "log_ratio_fn"), params, sets.data
    )


class _Problem(NamedTuple):
    """Both sets with their groups and folds, and how a network is trained on them."""

    rng: np.random.Generator
    sets: Sets
    sides: tuple[Side, Side]
    key_model: PRNGKeyArray
    key_fit: PRNGKeyArray
    criterion: Criterion
    optimizer: optax.GradientTransformation | None
    num_steps: int | None
    batch_size: int
    files: dict[str, Any]

    def given(self, params: Params, log_ratio_fn: LogRatioFn) -> tuple[Assessed, Descent]:
        """A model that the caller gave."""
        parts, rows = make_parts(self.rng, self.sets, self.sides, num_choices=1)
        descent = self._descend(params, log_ratio_fn, parts)
        return self._assessed("given", descent, log_ratio_fn, parts, rows, {}), descent

    def automatic(self) -> tuple[Assessed, Descent | None]:
        """The best of the simple models, or a network on top of it."""
        pool = pool_of(self.sets, self.sides)
        simple = SimpleModels(self.rng, pool, self.sets.data.dtype)
        assessed = simple.assessed()
        if min(kish(side.weights) for side in self.sides) < MIN_FOR_NETWORK:
            return assessed, None
        parts, rows = make_parts(self.rng, self.sets, self.sides, num_choices=3)
        if not have_both_sets(parts):  # nothing could judge a network
            return assessed, None
        start = simple.start_of_network(rows.train)
        of_train = pool.weights[rows.train]
        params, log_ratio_fn = network(
            self.key_model, start, jnp.concatenate(parts.train), of_train
        )
        descent = self._descend(params, log_ratio_fn, parts)
        chosen = pool.group[rows.select], pool.weights[rows.select]
        if not is_better(descent, log_ratio_fn, start, parts, *chosen):
            return assessed, descent
        fitted = self._assessed("network", descent, log_ratio_fn, parts, rows, assessed.losses)
        below = [log_ratio(start, side) for side in parts.held_out]
        left = excess_of_network(assessed.excess_loss, below, fitted.held_out, fitted.weights)
        return fitted._replace(excess_loss=left), descent

    def _descend(self, params: Params, log_ratio_fn: LogRatioFn, parts: Parts) -> Descent:
        num_train = max(len(side) for side in parts.train)
        num_steps = self.num_steps or usual_num_steps(num_train, self.batch_size)
        optimizer = self.optimizer or optax.adam(optax.cosine_decay_schedule(1e-3, num_steps))
        train = make_train_step(
            optimizer=optimizer, log_ratio_fn=log_ratio_fn, criterion=self.criterion
        )
        return descend(
            train, params, log_ratio_fn, parts, self.key_fit,
            num_steps=num_steps, batch_size=self.batch_size, **self.files,
        )  # fmt: skip

    def _assessed(
        self,
        name: str,
        descent: Descent,
        log_ratio_fn: LogRatioFn,
        parts: Parts,
        rows: Rows,
        losses: dict[str, float],
    ) -> Assessed:
        params, jitted = descent.chosen(0), jax.jit(log_ratio_fn)
        data, noise = (jitted(params, side) for side in parts.held_out)
        group = np.concatenate([side.group for side in self.sides])[rows.held_out]
        weights = np.concatenate([side.weights for side in self.sides])[rows.held_out]
        return Assessed(
            name, params, log_ratio_fn, (data, noise), group, weights, False, losses, np.nan
        )
