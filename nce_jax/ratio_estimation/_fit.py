"""One call from two sets of samples to the log ratio of their densities."""

import json
from os import PathLike
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from nce_jax._checks import check_key, check_positive_int, describe
from nce_jax._contracts import check_log_density_fn
from nce_jax._disk import write_atomic
from nce_jax._samples import SampleSource
from nce_jax._types import LogRatioFn, Params, PRNGKeyArray
from nce_jax.criteria import Criterion, nce
from nce_jax.diagnostics import log_partition_standard_error, overlap
from nce_jax.log_partition import Status, solve_log_partition
from nce_jax.losses import nce_loss
from nce_jax.models import mlp_energy
from nce_jax.ratio_estimation._assessment import (
    calibration_curve,
    kl_sampling_error,
    loss_terms,
    predictions,
    roc_curve,
    solve,
)
from nce_jax.ratio_estimation._result import LogRatioEstimate
from nce_jax.ratio_estimation._samples import Sets, make_sets
from nce_jax.training import Batch, FitResult, fit, make_train_step


def fit_log_ratio(
    key: PRNGKeyArray,
    x_data: SampleSource,
    x_noise: SampleSource,
    *,
    model: tuple[Params, LogRatioFn] | None = None,
    criterion: Criterion = nce(),
    optimizer: optax.GradientTransformation | None = None,
    num_steps: int = 2000,
    batch_size: int = 512,
    held_out: float = 0.2,
    num_groups: int = 10,
    folder: str | PathLike[str] | None = None,
    resume: bool = False,
    progress: bool = True,
) -> LogRatioEstimate:
    """Estimates log p_data(x) / p_noise(x) from samples of both: neither density need be known.

    A model s(x) is trained by NCE to tell the two sets apart, with its normalizer F solved for at
    every step; the estimate is s(x) - F. A fraction of both sets is held out and never trained on.
    The held-out samples give F and KL(p_data || p_noise) with their errors, the overlap, the
    calibration curve, the ROC curve, and the loss in the course of the training. No parameters are
    selected on them: those of the last step are returned, and `is_converged` is false if the
    held-out loss has risen again (overfitting).

    Args:
      key: typed key for the split, the draws, the initial model and the training.
      x_data: samples of the numerator, (n, ...); a distribution with `sample(seed=key,
        sample_shape=(n,))`; or a function `x_data(key, n)` that draws samples. A distribution or a
        function is drawn from once: as many samples as the other set has, or, where both sets are
        drawn, `num_steps * batch_size` of them and at most 100,000.
      x_noise: samples of the denominator, (m, ...), in any of the same three forms; m and n may
        differ.
      model: `(params, log_ratio_fn)`, where `log_ratio_fn(params, x)` is the log ratio up to a
        constant; None takes `mlp_energy` on standardized samples (n, dim).
      criterion: the loss, for example `nce(magnification=10.0)`.
      optimizer: an optax transformation; None takes Adam with a rate that falls from 1e-3 to zero
        along a cosine (our choice).
      num_steps: number of training steps.
      batch_size: samples of each set in a step, or all where a set has fewer.
      held_out: fraction of each set that is kept from training, between 0 and 1.
      num_groups: number of groups of the calibration curve.
      folder: where to keep metrics and checkpoints, as in `training.fit`.
      resume: whether to continue the run in `folder`, which must have the same settings.
      progress: whether to show a progress bar.

    Returns:
      A `LogRatioEstimate`, which is a `RatioEstimate`.

    Raises:
      TypeError: a key that is not typed, samples that are no numbers, or a model of another form.
      ValueError: samples of different shapes, samples that are not finite, too few samples, samples
        that float32 cannot distinguish, `held_out` outside (0, 1), a resumed run with other
        settings, or `resume` without a folder.
      FloatingPointError: the training diverged (`training.NonFiniteError`), or F could not be
        solved for.

    Examples:
      >>> import jax
      >>> from nce_jax import ratio_estimation
      >>> key_data, key_noise, key = jax.random.split(jax.random.key(0), 3)
      >>> x_data = 1 + jax.random.normal(key_data, (5000, 1))
      >>> x_noise = jax.random.normal(key_noise, (5000, 1))
      >>> estimate = ratio_estimation.fit_log_ratio(
      ...     key, x_data, x_noise, num_steps=300, progress=False
      ... )
      >>> estimate.log_ratio(x_data[:3]).shape  # the truth is x - 1/2
      (3,)
      >>> abs(estimate.kl - 0.5) < 4 * estimate.kl_sampling_error
      True
      >>> abs(estimate.roc.area - 0.76) < 0.04  # the largest possible area: Phi(1 / sqrt(2))
      True

    References:
      Sugiyama, Suzuki and Kanamori, Density Ratio Estimation in Machine Learning, 2012, section 4
        (probabilistic classification).
      Gutmann and Hyvärinen, Noise-contrastive estimation of unnormalized statistical models, 2012.
    """
    counts = {"num_steps": num_steps, "batch_size": batch_size, "num_groups": num_groups}
    for name, value in counts.items():
        check_positive_int(name, value)
    check_key(key, cure_of_samples="the key comes before the samples")
    if resume and folder is None:
        raise ValueError("resume: expected a folder to continue from, got folder=None")
    key_data, key_noise, key_model, key_fit = jax.random.split(key, 4)
    sets = make_sets(
        key_data, key_noise, x_data, x_noise, held_out=held_out, num_visited=num_steps * batch_size
    )
    params, log_ratio_fn = _checked(model) or _default_model(key_model, sets)

    # Samples are arguments: XLA would fold constants of their size at compile time, for seconds.
    jitted = jax.jit(log_ratio_fn)

    def held_out_ratios(params: Params) -> tuple[jax.Array, jax.Array]:
        return jitted(params, sets.data.held_out), jitted(params, sets.noise.held_out)

    def evaluate(state: Any) -> dict[str, Any]:
        ratios = held_out_ratios(state.params)
        root = solve_log_partition(*ratios).log_partition
        return {"held_out_loss": nce_loss(*ratios, log_partition=root)}

    if optimizer is None:
        optimizer = optax.adam(optax.cosine_decay_schedule(1e-3, num_steps))
    log_every = min(100, num_steps)
    train = make_train_step(optimizer=optimizer, log_ratio_fn=log_ratio_fn, criterion=criterion)
    # After all that can be refused: a call that is corrected must not meet the file of its error.
    _remember(folder, num_steps=num_steps, batch_size=batch_size, held_out=held_out)
    result = fit(
        train,
        train.init(params),
        Batch(sets.data.train, sets.noise.train),
        key_fit,
        num_steps=num_steps,
        batch_size=(min(batch_size, len(sets.data.train)), min(batch_size, len(sets.noise.train))),
        folder=folder,
        resume=resume,
        log_every=log_every,
        checkpoint_every=5 * log_every,
        evaluate=evaluate,
        evaluate_every=5 * log_every,
        progress=progress,
    )
    return _assess(result, log_ratio_fn, held_out_ratios(result.state.params), num_groups)


def _checked(model: Any) -> tuple[Params, LogRatioFn] | None:
    """Raises unless `model` is None or a pair of parameters and a function."""
    if model is None:
        return None
    if not (isinstance(model, tuple) and len(model) == 2):
        raise TypeError(f"model: expected a pair (params, log_ratio_fn), got {describe(model)}")
    check_log_density_fn(model[1], "log_ratio_fn")
    return model


def _remember(folder: str | PathLike[str] | None, **settings: Any) -> None:
    """Stores next to the checkpoints the settings that a resumed run must repeat.

    The learning rate and the split depend on them.
    """
    if folder is None:
        return
    path = Path(folder) / "fit_log_ratio.json"
    stored = json.loads(path.read_text()) if path.exists() else settings
    for name, value in settings.items():
        if stored.get(name) != value:
            raise ValueError(
                f"{name}: expected {stored.get(name)} as in the run in {folder}, got {value}"
            )
    write_atomic(path, json.dumps(settings))


def _assess(
    result: FitResult,
    log_ratio_fn: LogRatioFn,
    held_out_ratios: tuple[jax.Array, jax.Array],
    num_groups: int,
) -> LogRatioEstimate:
    solution = solve(*held_out_ratios)
    root, has_overlap = solution.log_partition, solution.status != Status.NO_OVERLAP
    probability, is_data = predictions(*held_out_ratios)
    terms = [np.asarray(side, np.float64) for side in loss_terms(*held_out_ratios, root)]
    variance = sum(side.var(ddof=1) / len(side) for side in terms)
    return LogRatioEstimate(
        log_ratio_fn=log_ratio_fn,
        params=result.state.params,
        log_partition=float(root),
        log_partition_standard_error=float(
            log_partition_standard_error(*held_out_ratios, log_partition=root)
        ),
        kl=float(jnp.mean(held_out_ratios[0]) - root),
        kl_sampling_error=float(kl_sampling_error(*held_out_ratios)) if has_overlap else np.inf,
        overlap=float(overlap(*held_out_ratios, log_partition=root)),
        is_solved=bool(solution.status == Status.CONVERGED),
        held_out_loss=float(sum(side.mean() for side in terms)),
        held_out_loss_standard_error=float(np.sqrt(variance)),
        calibration=calibration_curve(probability, is_data, num_groups),
        roc=roc_curve(probability, is_data),
        result=result,
    )


def _default_model(key: PRNGKeyArray, sets: Sets) -> tuple[Params, LogRatioFn]:
    """An MLP on coordinates standardized by mean and spread of both training sets."""
    shape = sets.data.train.shape
    if len(shape) != 2:
        hint = ", or for numbers x[:, None]" if len(shape) == 1 else ""
        raise ValueError(
            f"model: expected samples (n, dim) for the default model, got shape {shape}; pass a"
            f" pair (params, log_ratio_fn){hint}"
        )
    pooled = jnp.concatenate([sets.data.train, sets.noise.train])
    mean, spread = pooled.mean(axis=0, keepdims=True), pooled.std(axis=0, keepdims=True)
    spread = jnp.where(spread > 0, spread, 1)
    params, energy = mlp_energy(key, pooled.shape[1])
    return params, lambda params, x: energy(params, (x - mean) / spread)
