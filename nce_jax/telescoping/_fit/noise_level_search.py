"""The search for noise levels by pilot fits: stages with a gap are cut, then all spaced evenly.

`telescoping._noise_levels` has the rules by which they are cut and spaced, and the threshold.
"""

import jax
import numpy as np

from nce_jax._partial import Parts
from nce_jax._types import Params, PRNGKeyArray
from nce_jax.telescoping._fit.config import FitConfig, Levels
from nce_jax.telescoping._fit.curvature import unravelled
from nce_jax.telescoping._fit.descent import descend, start_descent
from nce_jax.telescoping._fit.errors import Pairs, evaluate
from nce_jax.telescoping._fit.newton import newton_fit, repeated
from nce_jax.telescoping._fit.stage_model import Chain, Moments, centered_bridges
from nce_jax.telescoping._noise_levels import ScheduleError, even_noise_levels, refine_noise_levels


def search_noise_levels(key: PRNGKeyArray, config: FitConfig) -> Levels:
    """Finds noise levels whose stages overlap, starting from a single stage."""
    num_steps, values = 0, np.array([0.0, 1.0])
    while True:
        overlap = pilot_overlap(key, config, values)
        num_steps += config.pilot_steps
        finer = refine_noise_levels(values, overlap, min_overlap=config.min_overlap)
        if len(finer) == len(values):
            break
        if len(finer) - 1 > config.max_stages:
            raise ScheduleError(
                "max_stages: expected enough stages to bridge data and noise, got"
                f" {config.max_stages}; after {num_steps} pilot steps {len(finer) - len(values)} of"
                f" {len(values) - 1} stages overlap by less than {config.min_overlap}: allow more"
                " stages, or train for more steps"
            )
        values = finer
    even = even_noise_levels(values, overlap, min_overlap=config.min_overlap)
    if len(even) == len(values):
        return Levels(values, is_searched=True, num_pilot_steps=num_steps)
    overlap = pilot_overlap(key, config, even)
    num_steps += config.pilot_steps
    # The lengths of coarse stages are measured badly, so that the even levels may have a gap after
    # all; they are then no improvement.
    is_fine = bool(np.all(overlap >= config.min_overlap / 2))
    return Levels(even if is_fine else values, is_searched=True, num_pilot_steps=num_steps)


def pilot_overlap(key: PRNGKeyArray, config: FitConfig, values: np.ndarray) -> np.ndarray:
    """Overlaps of the stages after a short fit.

    They come from pairs that the fit has not used, where there are enough of them. The key is the
    same for every pilot fit, so that pilots differ by their noise levels alone.
    """
    levels = Levels(values, is_searched=True)
    config.report(f"pilot fit, stages: {levels.num_stages}", 0)
    # A gap is a property of the sets and not of the loss: the overlap at another M would hide it.
    chain = config.chain(levels, magnification=1.0)
    fitted, evaluated = _pilot_pairs(key, config)
    x = centered_bridges(config.model, fitted, chain)
    moments = config.moments(x)
    params = {"model": _pilot_fit(config, moments, fitted, x, chain), **moments}
    evaluation = evaluate(config.model, params, evaluated, chain)
    overlap = np.asarray(evaluation.stages.overlap)[: levels.num_stages]
    config.report(f"pilot fit, stages: {levels.num_stages}", config.pilot_steps)
    return overlap


def _pilot_fit(
    config: FitConfig, moments: Moments, pairs: Pairs, x: jax.Array, chain: Chain
) -> Params:
    """The model's parameters after `config.pilot_steps` steps on pairs with the bridges x."""
    if config.optimizer is None:
        start = repeated(config.template, chain.num_stages)
        fixed = config.model, config.template, moments
        fit = newton_fit(*fixed, start, x, chain.kappa, config.pilot_steps)
        return unravelled(config.template, fit.theta)
    descent = descend(
        config.model, Parts(config.optimizer), moments, start_descent(config, chain), pairs,
        chain, batch_size=config.batch_size, is_averaging=False,
    )  # fmt: skip
    return descent.average


def _pilot_pairs(key: PRNGKeyArray, config: FitConfig) -> tuple[Pairs, Pairs]:
    """Pairs to fit to, and pairs to evaluate on.

    Newton's method takes a batch of each, or all data for both where they are too few. Gradient
    descent takes a batch per step, and one more.
    """
    size, sampler = config.batch_size, config.sampler
    if config.optimizer is not None:
        key_fit, key_evaluate = jax.random.split(key)
        fitted = sampler.draw(key_fit, size * config.pilot_steps)
        return fitted, sampler.draw_held_out(key_evaluate, size)
    if sampler.num_data is not None and sampler.num_data < 2 * size:
        pairs = sampler.draw(key, sampler.num_data)
        return pairs, pairs
    x_data, x_noise = sampler.draw(key, 2 * size)
    return (x_data[:size], x_noise[:size]), (x_data[size:], x_noise[size:])
