"""Final values over seeds, paired differences between methods, and the headline numbers."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.common.over_seeds import interval, slug

SHOWN = {
    "table": ("reward", "kl", "distance", "shortfall", "chosen"),
    "text": ("reward", "kl", "distance", "shortfall", "chosen", "others"),
}
"""Measures in the order of the tables."""


def groups(arrays: Mapping[str, Any]) -> list[str]:
    """Names of problems with their numbers of answers: table_K2, ..., text_K4, ..."""
    return [name.removesuffix("_kl") for name in arrays if "_K" in name and name.endswith("_kl")]


def final(arrays: Mapping[str, Any], group: str, measure: str, beta: int = 0) -> np.ndarray:
    """The last checkpoint's values, (method, seed)."""
    return (trace(arrays, group, measure)[:, beta] if group.startswith("table") else
            trace(arrays, group, measure))[..., -1]  # fmt: skip


def trace(arrays: Mapping[str, Any], group: str, measure: str) -> np.ndarray:
    """The values at all checkpoints, (method, [beta,] seed, checkpoint).

    Of texts, the distance from the best policy and the shortfall from the frontier are estimated
    with log E_ref exp(r / alpha) and the frontier of the reference's answers to the same prompts.
    """
    if group.startswith("table") or measure not in ("distance", "shortfall"):
        return np.asarray(arrays[f"{group}_{measure}"])
    kl, reward = arrays[f"{group}_kl"], arrays[f"{group}_reward"]
    if measure == "distance":
        normalizer = arrays["text_frontier_log_normalizer"][:, None]
        return np.asarray(kl - reward / arrays["alpha"] + normalizer)
    best = np.stack(
        [
            np.interp(kl[:, seed], np.append(0, kls), np.append(base, rewards))
            for seed, (kls, rewards, base) in enumerate(
                zip(
                    arrays["text_frontier_kls"],
                    arrays["text_frontier_rewards"],
                    arrays["text_rewards"],
                    strict=True,
                )
            )
        ],
        axis=1,
    )
    return best - reward


def paired(
    arrays: Mapping[str, Any], group: str, measure: str, pair: tuple[str, str], beta: int = 0
) -> np.ndarray:
    """The difference of two methods, paired by seed: mean, low and high end (95 %, t).

    The pairs share problem or prompts, all answers and their order.
    """
    rows = list(map(str, arrays["methods"]))
    values = final(arrays, group, measure, beta)
    return interval(values[rows.index(pair[0])] - values[rows.index(pair[1])])


def comparisons(arrays: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Pairs of methods that differ in one thing: M, the loss, or the treatment of F."""
    rows = list(map(str, arrays["methods"]))
    names = ("DPO", "Bradley-Terry", "NCA, F = 0", "NCA, F learned", "NCA, F per prompt",
             "NCA, F per batch")  # fmt: skip
    pairs = [(f"{name}, M = {m}", f"{name}, M = 1") for name in names for m in ("0.3", "10", "100")]
    for end in names[3:]:
        pairs += [(f"{end}, M = {m}", f"NCA, F = 0, M = {m}") for m in (1, 100)]
    pairs += [("NCA, F per prompt, M = 1", "InfoNCA"), ("NCA, F = 0, M = 1", "InfoNCA")]
    pairs += [("Bradley-Terry, M = 1", "InfoNCA"), ("DPO, M = 1", "InfoNCA")]
    return [pair for pair in pairs if set(pair) <= set(rows)]


def headline(arrays: Mapping[str, Any]) -> dict[str, float]:
    """Final values of the methods at M = 1 and 100, with beta = 1, and of what is known."""
    numbers = {
        name: float(values.mean())
        for name, values in arrays.items()
        if name.startswith("table_") and "_K" not in name and name.endswith(("_reward", "_kl"))
        and name != "table_reference_kl"
    }  # fmt: skip
    for name in ("reward", "kl"):
        numbers[f"text_optimum_{name}"] = float(arrays[f"text_frontier_{name}"].mean())
    numbers["text_reference_reward"] = float(arrays["text_rewards"].mean())
    numbers["text_reference_loss"] = float(arrays["text_loss"])
    for group in groups(arrays):
        for name in ("reward", "kl", "distance"):
            for method, row in zip(arrays["methods"], final(arrays, group, name), strict=True):
                if not str(method).endswith(("M = 0.3", "M = 10")):
                    numbers[f"{group}_{name}_{slug(str(method))}"] = float(row.mean())
    return numbers
