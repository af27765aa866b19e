"""The choice of settings, on the given half alone."""

from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.offline_design import methods, training_lanes
from experiments.offline_design.config import Config
from experiments.offline_design.tasks import Task


class Choices(NamedTuple):
    """Settings chosen on the given half, with the medians that decided.

    Attributes:
      regression: weight decay.
      ratio: by M: fraction and weight decay.
      medians: by method, (settings, seeds).
    """

    regression: float
    ratio: dict[float, tuple[float, float]]
    medians: dict[str, np.ndarray]


def choose(config: Config, task: Task, trainers: methods.Trainers, key: jax.Array) -> Choices:
    """Trains on the lower half of the given half, and compares the best 128 of all given designs.

    The target of the latent method is not chosen here.
    """
    end = len(task.x) // 2
    keys = jax.random.split(key, config.num_selection_seeds)
    vectors = training_lanes.encode(task.x)

    def median(params: Any) -> float:
        values = np.asarray(trainers.score(methods.stack([params]), vectors))
        if not np.isfinite(values).all():  # sorting would still find some best of them
            return np.nan
        return float(np.median(task.y[np.argsort(-values)[: config.num_candidates]]))

    medians = {
        "regression": np.array(
            [[median(trainers.regression(end, w, k)) for k in keys] for w in config.weight_decays]
        )
    }
    settings = [(f, w) for f in config.fractions for w in config.ratio_weight_decays]
    fit = trainers.ratio["solved"]
    for magnification in config.magnifications:
        medians[f"ratio {magnification:g}"] = np.array(
            [
                [median(fit(methods.top(task, f, end), w, magnification, k)) for k in keys]
                for f, w in settings
            ]
        )
    best = {name: _best(name, values) for name, values in medians.items()}
    ratio = {m: settings[best[f"ratio {m:g}"]] for m in config.magnifications}
    return Choices(config.weight_decays[best["regression"]], ratio, medians)


def _best(name: str, medians: np.ndarray) -> int:
    """The setting of the highest mean over seeds, (settings, seeds), among those that are finite.

    The largest of numbers with a NaN among them is NaN to NumPy: a run that has diverged.
    """
    means = medians.mean(axis=1)
    if np.isnan(means).all():
        raise FloatingPointError(f"{name}: expected a setting with finite scores, got none")
    return int(np.nanargmax(means))
