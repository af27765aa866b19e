"""Cells as arrays by method and seed, and the headline numbers."""

from collections.abc import Sequence

import numpy as np

from experiments.latent_energy.evaluation import Row

REAL, POSTERIOR = "real images, held out", "posterior draws, decoded"
FIELDS = (
    "frechet",
    "frechet_bias",
    "kernel",
    "log_ratio",
    "log_ratio_error",
    "overlap",
    "stage_overlap",
    "effective_sample_size",
    "distinct",
    "status",
    "last_magnification",
    "seconds",
)
CHAINS = "chains_"
COMPARED = (
    ("N2CE, M = 100", "NCE"),
    ("N2CE, M = 100, K = 3", "NCE, K = 3"),
    ("NCE, K = 3", "NCE"),
    ("N2CE, M = 100, K = 3", "N2CE, M = 100"),
    ("Gaussian mixture", "N2CE, M = 100"),
    ("NCE, F joint", "NCE"),
    ("N2CE, M = 100, F joint", "N2CE, M = 100"),
    ("N2CE, M = 100, K = 3, F joint", "N2CE, M = 100, K = 3"),
    ("M by the rule", "NCE"),
)
"""Methods that are compared within each seed; the first five are headline numbers as well."""
NUM_HEADLINE = 5
MEASURED = ("frechet", "kernel", "log_ratio")
"""Fields whose means are headline numbers, and differences."""


def collect(name: str, rows: Sequence[dict[str, Row]], real: dict[str, Row]) -> dict:
    """Arrays of one set, whose names begin with the set's: (method, seed) for every field.

    The first two methods are floors: real images, and images of posterior draws of other images.
    """
    seeds = [_methods(of_seed, real["real"]) for of_seed in rows]
    methods = list(seeds[0])
    arrays = {
        field: np.array(
            [[float(cells[method].get(field, np.nan)) for cells in seeds] for method in methods]
        )
        for field in FIELDS
    }
    arrays["methods"] = np.array(methods)
    arrays["pictures"] = np.stack([seeds[0][method]["pictures"] for method in methods])
    arrays["accuracy"] = np.asarray(real["real"].get("accuracy", np.nan))
    arrays["num_samples"] = np.asarray(real["real"]["num_samples"])
    arrays["information"] = np.array([of_seed["posterior"]["information"] for of_seed in rows])
    return {f"{slug(name)}_{key}": value for key, value in arrays.items()}


def _methods(rows: dict[str, Row], real: Row) -> dict[str, Row]:
    """Rows by the names of tables; samples by chains become a row of their own."""
    named = {REAL: real, POSTERIOR: rows["posterior"]}
    for name, row in rows.items():
        if name == "posterior":
            continue
        named[name] = row
        chains = {k.removeprefix(CHAINS): v for k, v in row.items() if k.startswith(CHAINS)}
        if chains:
            named[f"{name}, by its chains"] = chains
    return named


def names(arrays) -> list[str]:
    """Names of all sets that have results, as tables print them."""
    joint = [f"{name}, joint" for name in arrays["joint_sets"]]
    return [*map(str, arrays["sets"]), *joint]


def differences(arrays, name: str, field: str, pair: tuple[str, str]) -> np.ndarray | None:
    """A field of the first method minus the second's, by seed; None where one was not run."""
    start = slug(name)
    methods = list(map(str, arrays[f"{start}_methods"]))
    if not set(pair) <= set(methods):
        return None
    first, second = (arrays[f"{start}_{field}"][methods.index(method)] for method in pair)
    return first - second


def headline(arrays) -> dict[str, float]:
    """Means over seeds of distances and log ratios, of some differences, and accuracies."""
    numbers: dict[str, float] = {}
    for name in names(arrays):
        start = slug(name)
        numbers[f"{start}_accuracy"] = float(arrays[f"{start}_accuracy"])
        for field in MEASURED:
            means = arrays[f"{start}_{field}"].mean(axis=1)
            for method, value in zip(arrays[f"{start}_methods"], means, strict=True):
                numbers[f"{start}_{field}_{slug(str(method))}"] = float(value)
            for pair in COMPARED[:NUM_HEADLINE]:
                if (values := differences(arrays, name, field, pair)) is not None:
                    label = "_minus_".join(map(slug, pair))
                    numbers[f"{start}_{field}_{label}"] = float(values.mean())
    return {name: value for name, value in numbers.items() if np.isfinite(value)}


def slug(name: str) -> str:
    words = "".join(letter if letter.isalnum() else " " for letter in name.lower()).split()
    return "_".join(words)
