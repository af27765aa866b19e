"""One call from two sets of samples to the log ratio of their densities, with what it is worth."""

import json
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from nce_jax._checks import check_positive_int
from nce_jax._types import Array, ArrayLike, Float, LogDensityFn, Params, PRNGKeyArray, Real
from nce_jax.criteria import Criterion, nce
from nce_jax.diagnostics import log_partition_standard_error, overlap
from nce_jax.log_partition import Solution, check_solution, solve_log_partition
from nce_jax.losses import nce_loss
from nce_jax.models import mlp_energy
from nce_jax.training import Batch, FitResult, fit, make_train_step

__all__ = ["Calibration", "LogRatioEstimate", "RocCurve", "fit_log_ratio"]

_NCE = nce()


class Calibration(NamedTuple):
    """Of held-out samples grouped by their predicted probability of being data: what was predicted,
    and what was so.

    Attributes:
      predicted: mean predicted probability of each group, (groups,), ascending.
      observed: fraction of data among its samples, (groups,).
      num_samples: its size, (groups,); the standard error of `observed` is about sqrt(p (1 - p) /
        num_samples).
    """

    predicted: np.ndarray
    observed: np.ndarray
    num_samples: np.ndarray


class RocCurve(NamedTuple):
    """The classifier's receiver operating characteristic on held-out samples: (points,) each, and
    the area under it.
    """

    false_positive_rate: np.ndarray
    true_positive_rate: np.ndarray
    area: float


class LogRatioEstimate(NamedTuple):
    """What `fit_log_ratio` returns.

    Attributes:
      log_ratio_fn: estimates log p_data(x) - log p_noise(x) of samples (n, ...), with values (n,);
        pure, goes through `jit` and `grad`.
      params: of the model behind it.
      log_partition: F, solved at kappa = 1 on the held-out samples; already subtracted in
        `log_ratio_fn`.
      standard_error: of F, in nats: how uncertain the level of the whole log ratio is, for the
        model as it stands.
      overlap: of the two sets, on held-out samples, at kappa = 1. Near 0 the ratio is an
        extrapolation between far sets.
      calibration: of the classifier that the ratio implies, on held-out samples.
      roc: its ROC curve, likewise.
      result: the `FitResult` of the training, with the held-out loss among its evaluations.
    """

    log_ratio_fn: Callable[[Any], Float[Array, " samples"]]
    params: Params
    log_partition: float
    standard_error: float
    overlap: float
    calibration: Calibration
    roc: RocCurve
    result: FitResult


def fit_log_ratio(
    key: PRNGKeyArray,
    x_data: Real[ArrayLike, "n *shape"],
    x_noise: Real[ArrayLike, "m *shape"],
    *,
    model: tuple[Params, LogDensityFn] | None = None,
    criterion: Criterion = _NCE,
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

    A model s(x) is trained to tell the two sets apart by NCE, with its normalizer F solved at every
    step; the estimate is s(x) - F. A share of both sets is never trained on. It gives F with its
    error, the loss during the training, the overlap, the calibration curve and the ROC; for the
    curve, F comes from the other half of the held-out samples each time. Nothing is selected on
    them: the last step counts, and a held-out loss that rises again (`result.evaluations`) means
    overfitting.

    Args:
      key: typed key: for the initial model, the split and the training.
      x_data: samples in the numerator, (n, ...).
      x_noise: samples in the denominator, (m, ...), m and n as they come.
      model: `(params, log_density_fn)` with `log_density_fn(params, x)` the log ratio up to a
        constant; None takes `mlp_energy` on standardized samples (n, dim).
      criterion: the loss, `nce(magnification=...)` say.
      optimizer: None takes Adam, its rate falling from 1e-3 to zero along a cosine (our choice).
      num_steps: of training.
      batch_size: samples of each set in a step, or all where a set has fewer.
      held_out: share of each set that is kept from training, between 0 and 1.
      num_groups: of the calibration curve.
      folder: for metrics and checkpoints, as in `fit`.
      resume: as in `fit`, with the same settings.
      progress: whether to show a progress bar.

    Returns:
      A `LogRatioEstimate`.

    Raises:
      TypeError: samples that are not arrays.
      ValueError: samples of different shapes, too few of them, or such as float32 cannot tell
        apart; a share out of its range; a resumed run with other settings.
      FloatingPointError: the training broke (`training.NonFiniteError`), or F could not be solved
        for.

    Examples:
      >>> import jax
      >>> from nce_jax import ratio_estimation
      >>> key_data, key_noise, key = jax.random.split(jax.random.key(0), 3)
      >>> x_data = 1 + jax.random.normal(key_data, (5000, 1))
      >>> x_noise = jax.random.normal(key_noise, (5000, 1))
      >>> estimate = ratio_estimation.fit_log_ratio(
      ...     key, x_data, x_noise, num_steps=300, progress=False
      ... )
      >>> estimate.log_ratio_fn(x_data[:3]).shape  # the truth is x - 1/2
      (3,)
      >>> abs(estimate.roc.area - 0.76) < 0.04  # the best that anybody can do: Phi(1 / sqrt(2))
      True

    References:
      Sugiyama, Suzuki and Kanamori, Density Ratio Estimation in Machine Learning, 2012, section 4
        (probabilistic
      classification).
      Gutmann and Hyvarinen, Noise-contrastive estimation of unnormalized statistical models, 2012.
    """
    for name, value in (
        ("num_steps", num_steps),
        ("batch_size", batch_size),
        ("num_groups", num_groups),
    ):
        check_positive_int(name, value)
    x_data, x_noise = _as_sets(x_data, x_noise)
    key_data, key_noise, key_model, key_fit = jax.random.split(key, 4)
    data = _split(key_data, "x_data", x_data, held_out)
    noise = _split(key_noise, "x_noise", x_noise, held_out)
    params, log_density_fn = model or _default_model(key_model, data.train, noise.train)
    optimizer = optimizer or optax.adam(optax.cosine_decay_schedule(1e-3, num_steps))

    # Samples are arguments: XLA would fold constants of their size at compile time, for seconds.
    ratio = jax.jit(log_density_fn)

    def held_out_ratios(params: Params) -> tuple[jax.Array, jax.Array]:
        return ratio(params, data.held_out), ratio(params, noise.held_out)

    def evaluate(state: Any) -> dict[str, Any]:
        ratios = held_out_ratios(state.params)
        return {
            "held_out_loss": nce_loss(
                *ratios, log_partition=solve_log_partition(*ratios).log_partition
            )
        }

    _remember(folder, num_steps=num_steps, batch_size=batch_size, held_out=held_out)
    log_every = min(100, num_steps)
    train = make_train_step(optimizer=optimizer, log_ratio_fn=log_density_fn, criterion=criterion)
    result = fit(
        train,
        train.init(params),
        Batch(data.train, noise.train),
        key_fit,
        num_steps=num_steps,
        batch_size=(min(batch_size, len(data.train)), min(batch_size, len(noise.train))),
        folder=folder,
        resume=resume,
        log_every=log_every,
        checkpoint_every=5 * log_every,
        evaluate=evaluate,
        evaluate_every=5 * log_every,
        progress=progress,
    )
    return _assess(result, log_density_fn, held_out_ratios(result.state.params), num_groups)


def _remember(folder: str | PathLike[str] | None, **settings: Any) -> None:
    """Keeps beside the checkpoints what a resumed run has to share: rate and split follow from
    it.
    """
    if folder is None:
        return
    path = Path(folder) / "fit_log_ratio.json"
    before = json.loads(path.read_text()) if path.exists() else settings
    for name, value in settings.items():
        if before.get(name) != value:
            raise ValueError(
                f"{name}: expected {before.get(name)} as in the run in {folder}, got {value}"
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(settings))


def _assess(
    result: FitResult, log_density_fn: LogDensityFn, ratios, num_groups: int
) -> LogRatioEstimate:
    params, log_partition = result.state.params, _solve(*ratios).log_partition
    probability, is_data = _predictions(*ratios)
    return LogRatioEstimate(
        log_ratio_fn=lambda x: log_density_fn(params, x) - log_partition,
        params=params,
        log_partition=float(log_partition),
        standard_error=float(log_partition_standard_error(*ratios, log_partition=log_partition)),
        overlap=float(overlap(*ratios, log_partition=log_partition)),
        calibration=_calibration(probability, is_data, num_groups),
        roc=_roc(probability, is_data),
        result=result,
    )


def _solve(log_ratio_data: jax.Array, log_ratio_noise: jax.Array) -> Solution:
    solution = solve_log_partition(log_ratio_data, log_ratio_noise)
    # Sets without any overlap have a perfect classifier and an F that means little: that shows in
    # overlap and error.
    return solution if jnp.isfinite(solution.log_partition) else check_solution(solution)


def _predictions(
    log_ratio_data: jax.Array, log_ratio_noise: jax.Array
) -> tuple[np.ndarray, np.ndarray]:
    """Probability of being data for every held-out sample, at the prior odds at which they occur,
    and the truth.
    """
    log_odds = np.log(log_ratio_data.shape[0] / log_ratio_noise.shape[0])
    halves = [(log_ratio_data[half::2], log_ratio_noise[half::2]) for half in (0, 1)]
    shift = [log_odds - _solve(*halves[1 - half]).log_partition for half in (0, 1)]
    logits = [np.asarray(side + shift[half]) for half in (0, 1) for side in halves[half]]
    is_data = [np.full(logit.shape, position % 2 == 0) for position, logit in enumerate(logits)]
    return np.asarray(jax.nn.sigmoid(np.concatenate(logits)), np.float64), np.concatenate(is_data)


def _calibration(probability: np.ndarray, is_data: np.ndarray, num_groups: int) -> Calibration:
    """Groups of about equal size; scikit-learn's curve gives no counts, without which there are no
    error bars.
    """
    _, tie, size = np.unique(probability, return_inverse=True, return_counts=True)
    # A sample goes where the middle of those that tie with it belongs: equal predictions are never
    # parted.
    middle = np.cumsum(size) - size / 2
    group = np.minimum(middle * num_groups / probability.size, num_groups - 1).astype(int)[tie]
    members = [group == number for number in np.unique(group)]
    columns = [
        (probability[member].mean(), is_data[member].mean(), member.sum()) for member in members
    ]
    return Calibration(*(np.asarray(column) for column in zip(*columns, strict=True)))


def _roc(probability: np.ndarray, is_data: np.ndarray) -> RocCurve:
    """A point per distinct probability, from the largest down: samples that tie make one step, up
    and to the right.
    """
    order = np.argsort(-probability, kind="stable")
    last_of_ties = np.append(np.flatnonzero(np.diff(probability[order])), len(order) - 1)
    true, false = (
        np.append(0, np.cumsum(side[order])[last_of_ties]) / side.sum()
        for side in (is_data, ~is_data)
    )
    return RocCurve(false, true, float(np.trapezoid(true, false)))


class _Split(NamedTuple):
    train: jax.Array
    held_out: jax.Array


def _split(key: jax.Array, name: str, samples: jax.Array, share: float) -> _Split:
    if not 0 < share < 1:
        raise ValueError(f"held_out: expected a share between 0 and 1, got {share}")
    count = max(round(share * len(samples)), 4)
    if len(samples) <= count:
        raise ValueError(
            f"{name}: expected more than {count} samples, of which {count} are held out, got"
            f" {len(samples)}"
        )
    order = jax.random.permutation(key, len(samples))
    return _Split(samples[order[count:]], samples[order[:count]])


def _as_sets(x_data: Any, x_noise: Any) -> tuple[jax.Array, jax.Array]:
    sets = {"x_data": x_data, "x_noise": x_noise}
    for name, samples in sets.items():
        if np.ndim(samples) == 0:
            raise ValueError(f"{name}: expected samples on the first axis, got a scalar")
        sets[name] = _as_floats(name, samples)
    data, noise = sets.values()
    if data.shape[1:] != noise.shape[1:]:
        raise ValueError(
            f"x_noise: expected samples of the shape of x_data's, {data.shape[1:]}, got"
            f" {noise.shape[1:]}"
        )
    return data, noise


def _as_floats(name: str, samples: Any) -> jax.Array:
    """Samples in the default float type, unless that would lose what tells them apart."""
    given = np.asarray(samples)
    if not (
        np.issubdtype(given.dtype, np.number) or given.dtype == bool or given.dtype == jnp.bfloat16
    ):
        raise TypeError(f"{name}: expected numbers, got dtype {given.dtype}")
    if not np.isfinite(given.astype(np.float64)).all():
        raise ValueError(f"{name}: expected finite samples, got NaN or infinity in some")
    floats = jnp.asarray(samples, jnp.promote_types(jnp.result_type(samples), jnp.float32))
    rounding = np.abs(np.asarray(floats, np.float64) - given).max(axis=0)
    if (rounding > 1e-3 * given.std(axis=0, dtype=np.float64)).any():
        raise ValueError(
            f"{name}: {floats.dtype} cannot tell the samples apart; subtract their mean, or"
            " enable x64"
        )
    return floats


def _default_model(key: jax.Array, *samples: jax.Array) -> tuple[Params, LogDensityFn]:
    """An MLP on coordinates standardized by the mean and spread of the training samples of both
    sets.
    """
    if samples[0].ndim != 2:
        hint = "; for numbers, x[:, None]" if samples[0].ndim == 1 else ""
        raise ValueError(
            f"model: the default takes samples (n, dim), got {samples[0].shape}: give one of your"
            f" own{hint}"
        )
    pooled = jnp.concatenate(samples)
    mean, spread = pooled.mean(axis=0), pooled.std(axis=0)
    spread = jnp.where(spread > 0, spread, 1)
    params, energy = mlp_energy(key, pooled.shape[1])
    return params, lambda params, x: energy(params, (x - mean) / spread)
