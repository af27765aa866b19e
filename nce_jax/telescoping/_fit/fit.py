"""One call from data and noise to a chain of log ratios: pilot fits, a schedule, training, and what
the result is worth.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from nce_jax._checks import check_positive, check_positive_int
from nce_jax._types import Array, ArrayLike, Float, LogDensityFn, Params, PRNGKeyArray
from nce_jax.telescoping._bridges import Numbers, Space, check_schedule
from nce_jax.telescoping._fit.draws import make_source
from nce_jax.telescoping._fit.evaluate import Worth, evaluate, full_worth
from nce_jax.telescoping._fit.misfit import descent_misfit
from nce_jax.telescoping._fit.model import SharedBody, make_spec
from nce_jax.telescoping._fit.newton import check_dtypes, num_params
from nce_jax.telescoping._fit.result import Telescope, make_telescope
from nce_jax.telescoping._fit.search import search_schedule
from nce_jax.telescoping._fit.settings import Settings, padded
from nce_jax.telescoping._fit.train import Trained, train
from nce_jax.telescoping._schedule import MIN_OVERLAP

_MOST_FOR_NEWTON = 32
_EVALUATION_SHARE = 10
_DRIFT = 0.01
"""Relative change of the mean log ratio, from one quarter of a descent to the next, that counts as
none."""


def fit_telescope(
    key: PRNGKeyArray,
    x_data: Float[ArrayLike, "n *shape"] | Callable[[PRNGKeyArray, int], Float[Array, "n *shape"]],
    noise: Any,
    model: tuple[Params, LogDensityFn] | SharedBody,
    *,
    schedule: Numbers | None = None,
    min_overlap: float = MIN_OVERLAP,
    max_stages: int = 128,
    magnification: float = 1.0,
    optimizer: optax.GradientTransformation | None = None,
    num_steps: int = 1000,
    batch_size: int = 512,
    space: Space | None = None,
    standardize: bool = True,
) -> Telescope:
    """Estimates log p / q across a gap by a chain of K log ratios between bridges that overlap.

    log p / q = sum_k log p_k / p_k+1, with p_k the distribution of sqrt(1 - a_k^2) x + a_k y: every
    stage is an NCE problem of its own, all are trained as one vmapped program on the same pairs (x,
    y), and every F_k is solved for. The schedule a is found by pilot fits from [0, 1] on: stages
    whose overlap is below `min_overlap` are cut, then all are spaced evenly; the number of stages
    is an outcome (`refine_schedule`, `even_schedule`).

    Models with up to 32 parameters are trained by Newton's method: on an array of data all at once,
    on a sampler one step per fresh batch, every batch with the same weight in the end. Others by
    gradient descent with the normalizers solved on every batch; the average of the second half of
    the iterates counts. F and its errors come from a last tenth of fresh batches, from a fifth of
    an array that is kept from training, or, for Newton's method on an array, from all of it.

    The sum is evaluated at the data, where the stages near the noise have seen nothing: a model
    must extrapolate as the truth does, as an exponential family that contains it will. Misspecified
    families do not, and the sum is no bound then: every stage's model is tested, and where one
    fails `is_converged` is false and the errors are infinite. The test sees what shows where a
    stage's sets overlap: a network may pass it and extrapolate badly all the same. The errors
    presume many more pairs than parameters: with ten pairs per parameter of a stage the mean log
    ratio is high by about one of them.

    Args:
      key: typed key: draws, pairs, splits.
      x_data: samples (n, ...), or `x_data(key, n)` that draws them.
      noise: a distribution with `sample(seed=key, sample_shape=(n,))`, `noise(key, n)`, or, beside
        an array of data, samples (m, ...), m >= n.
      model: `(params, log_density_fn)` of one stage's log ratio, up to a constant; or a
        `SharedBody`.
      schedule: a_0 = 0 < ... < a_K = 1; None finds one.
      min_overlap: what a stage must have, between 0 and 1.
      max_stages: where the search gives up.
      magnification: M > 0, of every stage.
      optimizer: an optax transformation; None takes Newton's method, or Adam at 3e-3 for more than
        32 parameters.
      num_steps: most training steps (batches), those of pilots and evaluation among them; for
        Newton's method on an array, most steps of the last fit.
      batch_size: pairs in a step.
      space: (to, back), an invertible map of samples; bridges are straight in its image, a flow's
        latent space say.
      standardize: whether a stage's model sees samples standardized by the mean and spread of that
        stage's sets, as one batch has them. No knowledge of the data enters otherwise.

    Returns:
      A `Telescope`.

    Raises:
      TypeError: samples, noise or a model of no known kind, or counts that are not integers.
      ValueError: samples that are not finite, shapes that do not fit, numbers out of their range,
        fewer noise samples than data, no schedule of `max_stages` stages, or too few steps.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from nce_jax import telescoping
      >>> x_data, x_noise = (jax.random.normal(jax.random.key(seed), (4000, 1)) for seed in (0, 1))
      >>> model = (jnp.zeros(1), lambda theta, x: x @ theta)
      >>> result = telescoping.fit_telescope(
      ...     jax.random.key(2), 8 + x_data, x_noise, model
      ... )  # KL = 32 nats
      >>> print(
      ...     len(result.schedule) - 1,
      ...     f"{result.mean_log_ratio:.0f} +- {result.mean_full_standard_error:.0f}",
      ... )
      4 32 +- 1

    References:
      Rhodes, Xu and Gutmann, Telescoping density-ratio estimation, 2020.
      Yu et al., "Noisier" Noise Contrastive Estimation is (Almost) Maximum Likelihood, 2026 (M and
        multi-stage estimation).
    """
    _check(num_steps=num_steps, batch_size=batch_size, max_stages=max_stages)
    check_positive("magnification", magnification)
    template, spec = make_spec(model, space)
    if optimizer is None and (spec.body_fn is not None or num_params(template) > _MOST_FOR_NEWTON):
        optimizer = _default_optimizer()
    if optimizer is None:
        check_dtypes(template)
    key_source, key_pilot, key_train, key_evaluate = jax.random.split(key, 4)
    source = make_source(key_source, x_data, noise, hold_out=optimizer is not None)
    settings = Settings(
        spec,
        template,
        source,
        optimizer,
        magnification,
        num_steps,
        batch_size,
        standardize,
        min_overlap,
        max_stages,
    )
    pilot_steps, is_given = 0, schedule is not None
    if schedule is None:
        schedule, pilot_steps = search_schedule(key_pilot, settings)
    schedule = np.asarray(schedule, np.float64)
    check_schedule(schedule)
    levels = jnp.asarray(schedule if is_given else padded(schedule), jnp.result_type(float))
    num_evaluated = max(num_steps // _EVALUATION_SHARE, 4)
    trained = train(
        key_train, settings, levels, settings.training_steps(pilot_steps, num_evaluated)
    )
    return _assess(
        key_evaluate,
        settings,
        trained,
        schedule,
        levels,
        pilot_steps,
        num_evaluated,
        is_searched=not is_given,
    )


def _assess(
    key: PRNGKeyArray,
    settings: Settings,
    trained: Trained,
    schedule: np.ndarray,
    levels: jax.Array,
    pilot_steps: int,
    num_evaluated: int,
    *,
    is_searched: bool,
) -> Telescope:
    """F, its errors and the stages' diagnostics, on pairs apart from the training where there are
    such.
    """
    source, kappa = settings.source, settings.kappas(len(levels) - 1)
    count = min(
        num_evaluated * settings.batch_size,
        source.num_held_out or num_evaluated * settings.batch_size,
    )
    pairs = trained.pairs or source.draw_held_out(key, count)
    worth, full = evaluate(settings.spec, trained.params, pairs, levels, kappa), None
    if trained.theta is None:
        misfit = descent_misfit(
            settings.spec, trained.params, worth.stages.log_partition, pairs, levels, kappa
        )
    else:
        moments = {name: trained.params[name] for name in ("location", "scale")}
        fixed = settings.spec, settings.template, trained.theta, moments, worth.stages.log_partition
        full = full_worth(*fixed, pairs, levels, kappa, trained.num_pairs)
        misfit = full.misfit
    num_steps = trained.num_steps + pilot_steps + (0 if trained.pairs else num_evaluated)
    # Where the model was fitted too little to see a gap, the search has missed it: the trained
    # stages show it.
    overlap = np.asarray(worth.stages.overlap)[: len(schedule) - 1]
    is_settled = not (is_searched and bool(np.any(overlap < settings.min_overlap / 2)))
    if trained.is_converged is None:
        is_settled = is_settled and _is_settled(settings, trained, worth, pairs, levels, kappa)
    return make_telescope(
        settings, trained, worth, full, misfit, is_settled, schedule, num_steps, pilot_steps
    )


def _is_settled(
    settings: Settings, trained: Trained, worth: Worth, pairs, levels: jax.Array, kappa: jax.Array
) -> bool:
    """Whether a descent has stopped moving: the mean log ratio of the third quarter's average and
    of the fourth's agree.
    """
    steps, models, _ = trained.path
    earlier = jax.tree.map(lambda leaf: leaf[max(3 * len(steps) // 4 - 1, 0)], models)
    before = evaluate(
        settings.spec, {**trained.params, "model": earlier}, pairs, levels, kappa
    ).mean.value
    # Half of the final average is the third quarter itself.
    drift = 2 * abs(float(worth.mean.value) - float(before))
    return drift <= max(
        3 * float(worth.mean.standard_error), _DRIFT * max(1, abs(float(worth.mean.value)))
    )


@functools.cache
def _default_optimizer() -> optax.GradientTransformation:
    """One object for all calls: the compiled descent is found again by it."""
    return optax.adam(3e-3)


def _check(**counts: Any) -> None:
    for name, value in counts.items():
        check_positive_int(name, value)
