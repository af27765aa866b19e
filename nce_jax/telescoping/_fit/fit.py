"""One call from data and noise to a chain of log ratios with its errors."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax

from nce_jax._bridges import Space
from nce_jax._checks import check_key, check_positive_int
from nce_jax._contracts import check_optimizer
from nce_jax._dependence import signs_without_groups, warn_of_dependence
from nce_jax._levels import NumbersPerStage, check_noise_levels
from nce_jax._options import check_flag, check_fraction, check_number
from nce_jax._samples import SampleSource, as_draw_fn
from nce_jax._types import ArrayLike, LogRatioFn, Params, PRNGKeyArray, Shaped
from nce_jax.telescoping._fit.config import FitConfig, Levels
from nce_jax.telescoping._fit.curvature import num_params
from nce_jax.telescoping._fit.descent import train_descent
from nce_jax.telescoping._fit.first_batch import begin
from nce_jax.telescoping._fit.newton import check_dtypes
from nce_jax.telescoping._fit.newton_methods import train_full_batch, train_stream
from nce_jax.telescoping._fit.noise_level_search import search_noise_levels
from nce_jax.telescoping._fit.pair_sampler import make_pair_sampler, sample_shape
from nce_jax.telescoping._fit.progress import progress_bar
from nce_jax.telescoping._fit.result import Telescope, Training, make_telescope
from nce_jax.telescoping._fit.stage_model import (
    SharedBody,
    StageModel,
    default_model,
    make_stage_model,
)
from nce_jax.telescoping._noise_levels import MIN_OVERLAP

_MAX_PARAMS_FOR_NEWTON = 32
"""Models with more parameters per stage are trained by gradient descent."""

_CURES = {
    True: "the standard errors presume independent samples: pass one sample per group or"
    " correlation length; if they were only sorted, shuffle them",
    False: "copies of training samples may be held out, and the errors presume independent samples:"
    " pass groups_data and groups_noise; if they were only sorted, shuffle them",
}
"""What to do about dependent samples, with Newton's method and without."""


def fit_telescope(
    key: PRNGKeyArray,
    x_data: SampleSource,
    x_noise: SampleSource,
    *,
    model: tuple[Params, LogRatioFn] | SharedBody | None = None,
    noise_levels: NumbersPerStage | None = None,
    min_overlap: float = MIN_OVERLAP,
    max_stages: int = 128,
    magnification: float = 1.0,
    optimizer: optax.GradientTransformation | None = None,
    num_steps: int = 1000,
    batch_size: int = 512,
    groups_data: Shaped[ArrayLike, " n"] | None = None,
    groups_noise: Shaped[ArrayLike, " m"] | None = None,
    space: Space | None = None,
    standardize: bool = True,
    progress: bool = True,
) -> Telescope:
    r"""Estimates log p / q across a gap by a chain of K log ratios between bridges that overlap.

    With :math:`p_k` the distribution of the bridge :math:`\sqrt{1 - a_k^2}\, x + a_k y`,

    .. math::
        \log\frac{p}{q} = \sum_{k=0}^{K-1} \log\frac{p_k}{p_{k+1}}.

    Every stage is an NCE problem of its own. All stages are trained as one vectorized program on
    the same pairs (x, y), and every F_k is solved for. The noise levels a are found by pilot fits,
    starting from a single stage: stages whose overlap is below `min_overlap` are cut in two, then
    all are spaced evenly (`refine_noise_levels`, `even_noise_levels`). The number of stages is an
    outcome.

    Models with up to 32 parameters are trained by Newton's method: on an array of data all at once,
    on a sampler with one step per fresh batch, where every batch has the same weight in the end.
    Larger models are trained by gradient descent with F solved for on every batch, and the
    iterates of the second half are averaged. F and the errors come from fresh batches, a tenth of
    `num_steps`; from a fifth of an array, which is kept from training; or, for Newton's method on
    an array, from all of it.

    The sum is evaluated at the data, where the stages near the noise have seen no samples. A model
    must therefore extrapolate as the truth does; an exponential family that contains the truth
    does so. A misspecified model does not, and the sum is then no bound on KL either. Every stage's
    model is tested for that: if one fails, `is_converged` is false and the errors are infinite. The
    test is sensitive only where the two sets of a stage overlap, so that a neural network may pass
    it and extrapolate badly all the same. The errors of Newton's method presume many more pairs
    than parameters: a stage with fewer than ten effective pairs for each parameter, where KL is too
    high by half a standard error and more, has not converged either.

    Args:
      key: typed key for draws, pairs and splits.
      x_data: samples (n, ...); a distribution with `sample(seed=key, sample_shape=(n,))`; or a
        function `x_data(key, n)` that draws samples.
      x_noise: samples (m, ...) with m >= n, which go with an array of data only; or a distribution
        or a function, as for `x_data`.
      model: `(params, log_ratio_fn)`, where `log_ratio_fn(params, x)` is the log ratio of one stage
        up to a constant; or a `SharedBody`. None takes the quadratic model x' W x + b' x on samples
        (n, dim), which contains the log ratio of any two Gaussians.
      noise_levels: a_0 = 0 < ... < a_K = 1, from data to noise; None searches for them.
      min_overlap: the overlap that every stage must have, between 0 and 1.
      max_stages: the number of stages at which the search gives up.
      magnification: M > 0, of every stage.
      optimizer: an optax transformation; None takes Newton's method, or Adam with a rate of 3e-3
        for more than 32 parameters.
      num_steps: largest number of training steps (batches), with those of pilot fits and of the
        evaluation; for Newton's method on an array, largest number of steps of the last fit.
      batch_size: pairs in a step.
      groups_data: labels of an array of data, (n,), where samples depend on one another. In a
        gradient descent, samples of one label are held out together; the errors are those of
        independent pairs all the same. Newton's method holds nothing out and refuses labels. An
        array without labels whose samples look dependent is warned of.
      groups_noise: labels of an array of noise, (m,). A label that occurs in both sets is one
        group.
      space: a pair of functions (to, back) of samples, inverse to each other; bridges are straight
        in the image of `to`, for example the latent space of a flow.
      standardize: whether the model of a stage sees samples standardized by the mean and the
        standard deviation of that stage's two sets, as estimated from one batch. Nothing else about
        the data enters the model.
      progress: whether to show a progress bar.

    Returns:
      A `Telescope`, which is a `RatioEstimate`.

    Raises:
      TypeError: a key that is not typed, samples or a model of another form, or counts that are not
        integers.
      ScheduleError: `max_stages` stages do not bridge data and noise.
      ValueError: samples or initial log ratios that are not finite, shapes that do not match,
        numbers out of their range, fewer noise samples than data, or too few steps.

    Examples:
      >>> import jax
      >>> from nce_jax import telescoping
      >>> x_data, x_noise = (jax.random.normal(jax.random.key(seed), (4000, 1)) for seed in (0, 1))
      >>> model = (jax.numpy.zeros(1), lambda theta, x: x @ theta)
      >>> result = telescoping.fit_telescope(
      ...     jax.random.key(2), 8 + x_data, x_noise, model=model, progress=False
      ... )  # KL = 32 nats
      >>> print(result.stages.overlap.size, f"{result.kl:.0f} +- {result.kl_standard_error:.0f}")
      4 32 +- 1

    References:
      Rhodes, Xu and Gutmann, Telescoping density-ratio estimation, 2020.
      Yu et al., "Noisier" Noise Contrastive Estimation is (Almost) Maximum Likelihood, 2026 (M and
        multi-stage estimation).
    """
    counts = {"num_steps": num_steps, "batch_size": batch_size, "max_stages": max_stages}
    for name, value in counts.items():
        check_positive_int(name, value)
    check_number(
        "magnification", magnification, "a finite positive number", lambda x: 0 < x < np.inf
    )
    check_fraction("min_overlap", min_overlap)
    check_flag("standardize", standardize)
    check_flag("progress", progress)
    if noise_levels is not None:
        check_noise_levels(noise_levels)
    check_key(key, cure_of_samples="the key comes before the samples")
    if model is None:
        model = default_model(sample_shape(x_data, x_noise))
    template, stage_model = make_stage_model(model, space)
    optimizer = _chosen_optimizer(optimizer, template, stage_model)
    key_sampler, key_pilot, key_train, key_evaluate = jax.random.split(key, 4)
    labels = groups_data, groups_noise
    sampler = make_pair_sampler(
        key_sampler, x_data, x_noise, is_holding_out=optimizer is not None, labels=labels
    )
    signs = _signs((x_data, x_noise), labels)
    warn_of_dependence(signs, caller="fit_telescope", cure=_CURES[optimizer is None])
    is_full_batch = optimizer is None and sampler.num_data is not None
    with progress_bar(None if is_full_batch else num_steps, is_shown=progress) as report:
        config = FitConfig(
            model=stage_model,
            template=template,
            sampler=sampler,
            optimizer=optimizer,
            magnification=magnification,
            num_steps=num_steps,
            batch_size=batch_size,
            is_standardized=standardize,
            min_overlap=min_overlap,
            max_stages=max_stages,
            report=report,
        )
        levels = None
        if noise_levels is not None:
            levels = Levels(np.asarray(noise_levels, np.float64), is_searched=False)
        config = begin(jax.random.fold_in(key_pilot, 0), config, levels)
        levels = levels or search_noise_levels(key_pilot, config)
        training = _method(config)(key_train, config, levels)
        assessment = training.assess(key_evaluate, config, levels)
        report("evaluation", assessment.num_steps)
    return make_telescope(config, levels, training, assessment)


def _signs(sources: tuple[Any, Any], labels: tuple[Any, Any]) -> list[str]:
    """Signs of dependent samples in the arrays without groups."""
    sets = dict(zip(("x_data", "x_noise"), sources, strict=True))
    arrays = {name: source for name, source in sets.items() if as_draw_fn(name, source) is None}
    is_grouped = {name: side is not None for name, side in zip(sets, labels, strict=True)}
    return signs_without_groups(arrays, is_grouped)


def _method(config: FitConfig) -> Callable[[PRNGKeyArray, FitConfig, Levels], Training]:
    """The function that trains all stages."""
    if config.is_full_batch:
        return train_full_batch
    return train_stream if config.optimizer is None else train_descent


def _chosen_optimizer(
    optimizer: optax.GradientTransformation | None, template: Params, model: StageModel
) -> optax.GradientTransformation | None:
    """The optimizer, or None for Newton's method; raises if that cannot take the parameters."""
    if optimizer is not None:
        check_optimizer(optimizer)
        return optimizer
    if model.body_fn is not None or num_params(template) > _MAX_PARAMS_FOR_NEWTON:
        return _default_optimizer()
    check_dtypes(template)
    return None


@functools.cache
def _default_optimizer() -> optax.GradientTransformation:
    """One object for all calls, so that the compiled descent is found in the cache."""
    return optax.adam(3e-3)
