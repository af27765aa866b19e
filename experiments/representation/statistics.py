"""Headline numbers: the probe's accuracy at the setting that was named beforehand."""

from collections.abc import Mapping

import numpy as np

from experiments.representation.config import Config


def headline(config: Config, arrays: Mapping[str, np.ndarray]) -> dict[str, float]:
    place = config.batch_sizes.index(config.shown[0]), config.temperatures.index(config.shown[1])
    found = {}
    for name in map(str, arrays["images"]):
        short = name.replace("-", "_")
        for index, loss in enumerate(map(str, arrays["losses"])):
            label = loss.lower().replace("-", "_").replace(", ", "_")
            found[f"{short}_{label}"] = arrays[f"{name}_accuracy"][index, *place].mean()
        found[f"{short}_untrained"] = arrays[f"{name}_untrained"].mean()
        found[f"{short}_pixels"] = float(arrays[f"{name}_pixels"])
    return found
