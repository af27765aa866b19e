"""Headline numbers: the probe's accuracy at the setting chosen beforehand."""

from collections.abc import Mapping

import numpy as np

from experiments.representation.config import Config


def headline(config: Config, arrays: Mapping[str, np.ndarray]) -> dict[str, float]:
    setting = config.batch_sizes.index(config.shown[0]), config.temperatures.index(config.shown[1])
    numbers = {}
    for name in map(str, arrays["images"]):
        set_label = name.replace("-", "_")
        for index, loss in enumerate(map(str, arrays["losses"])):
            label = loss.lower().replace("-", "_").replace(", ", "_")
            numbers[f"{set_label}_{label}"] = arrays[f"{name}_accuracy"][index, *setting].mean()
        numbers[f"{set_label}_untrained"] = arrays[f"{name}_untrained"].mean()
        numbers[f"{set_label}_pixels"] = float(arrays[f"{name}_pixels"])
    return numbers
