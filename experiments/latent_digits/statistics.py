"""Stacked cells, bits per dimension with their bounds, and the headline numbers."""

from collections.abc import Mapping, Sequence

import numpy as np

from experiments.latent_digits.space import LEVELS, PIXELS

Arrays = dict[str, np.ndarray]
WAYS = ("annealed", "resampled", "chains")
"""Ways to sample an energy."""
PER_STAGE = ("log_partition", "loss", "overlap")
"""Arrays with one entry per stage: shorter chains are padded with NaN."""


def stacked(
    cells: Mapping[tuple[str, int], Arrays], methods: Sequence[str], num_seeds: int
) -> Arrays:
    """Arrays of the cells with axes (method, seed, ...)."""
    longest = max(len(cell["overlap"]) for cell in cells.values())

    def entry(name: str, method: str, seed: int) -> np.ndarray:
        value = cells[method, seed][name]
        if name in PER_STAGE:
            return np.pad(value, (0, longest - len(value)), constant_values=np.nan)
        return value

    names = next(iter(cells.values()))
    return {
        name: np.array([[entry(name, m, seed) for seed in range(num_seeds)] for m in methods])
        for name in names
    }


def gains(arrays: Arrays) -> dict[str, np.ndarray]:
    """Mean log density of test images above the Gaussian's, in nats, (method, seed).

    The log ratio is relative to the noise, which is wider than the Gaussian. "F" takes the sum of
    the F of the stages for log Z, which nothing bounds; "annealed" the estimate from the noise, at
    best too high; "reverse" is too low.
    """
    width, dim = float(arrays["width"]), int(arrays["dim"])
    wider = 0.5 * arrays["test_squares"] * (1 - width**-2) - dim * np.log(width)
    mean = (arrays["test_log_ratio"] + wider).mean(axis=-1)
    return {
        "F": mean - np.nansum(arrays["log_partition"], axis=-1),
        "annealed": mean - arrays["forward"][..., 0],
        "reverse": mean - arrays["reverse_bound"][..., 0],
    }


def bits(arrays: Arrays) -> dict[str, np.ndarray]:
    """Bits per dimension: the Gaussian's, the mixture's, and by kind of `gains`."""
    base = arrays["log_base"].mean()

    def per_dimension(log_likelihood):
        return np.log2(LEVELS) - log_likelihood / (PIXELS * np.log(2))

    found = {kind: per_dimension(base + gain) for kind, gain in gains(arrays).items()}
    mixture = per_dimension(base + arrays["mixture_gain"].mean())
    return found | {"Gaussian": per_dimension(base), "mixture": mixture}


def headline(arrays: Arrays) -> dict[str, float]:
    """Frechet distances of whole draws, their ratio, overlaps, gains and bits.

    The ratio is that of the first chain to K = 1, where both were run. "gain" is by F and "bits" by
    annealing, a lower bound; "reverse" and "annealed" are the bounds of `gains`.
    """
    names, known, gain = list(map(str, arrays["methods"])), bits(arrays), gains(arrays)
    chains = [row for row, name in enumerate(names) if "K = 1" not in name]
    frechet = arrays["annealed: frechet_drawn"][..., 0].mean(axis=1)
    numbers = {f"frechet_{name}": arrays[f"{name}: frechet_drawn"][0] for name in BASELINES}
    if "K = 1" in names and chains:
        numbers["frechet_ratio"] = frechet[chains[0]] / frechet[names.index("K = 1")]
    numbers |= {f"bits_{name}": known[name] for name in ("Gaussian", "mixture")}
    numbers["gain_mixture"] = arrays["mixture_gain"].mean()
    for row, name in enumerate(names):
        numbers[f"frechet_{name}"] = frechet[row]
        numbers[f"overlap_{name}"] = np.nanmin(arrays["overlap"][row], axis=-1).mean()
        numbers[f"gain_{name}"] = gain["F"][row].mean()
        numbers[f"bits_{name}"] = known["annealed"][row].mean()
        numbers[f"bits_reverse_{name}"] = known["reverse"][row].mean()
        for kind in ("annealed", "reverse"):
            numbers[f"gain_{kind}_{name}"] = gain[kind][row].mean()
    return {
        key.replace(", ", "_").replace(" = ", "").replace(" ", "_"): float(value)
        for key, value in numbers.items()
    }


BASELINES = ("Gaussian", "mixture", "real")
