"""Bias, coverage and distance from KL of the estimates of D_kappa, and the headline numbers."""

import numpy as np

from experiments.divergence_family.pairs import FARTHEST

COVERED = 0.9
"""Smallest coverage of a working 95 % interval: three standard deviations of 200 replicates
below."""
ENOUGH = 50
"""Effective sample size from which intervals are reliable. Our choice, made in hindsight."""


def coverage(value: np.ndarray, error: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Fraction of replicates (last axis) whose 95 % interval holds the truth."""
    return np.mean(np.abs(value - truth[..., None]) <= 1.96 * error, axis=-1)


def by_effective_samples(arrays) -> tuple[np.ndarray, np.ndarray]:
    """Coverage with F solved, and the median effective sample size of the poorer side.

    Both are over all pairs, sizes and kappa.
    """
    sizes = [size for size in arrays["sizes"] if size != arrays["num_samples"]]
    covered = [
        of_pairs(arrays)["coverage"][:, 1].ravel(),
        *(of_farthest(arrays, n)["coverage"][:, 1] for n in sizes),
    ]
    effective = [np.median(arrays["sampled_effective"], -1).ravel()]
    effective += [np.median(arrays[f"far_{n}_effective"], -1) for n in sizes]
    return np.concatenate(covered), np.concatenate(effective)


def root_mean_square(value: np.ndarray, truth) -> np.ndarray:
    return np.sqrt(np.mean((value - truth) ** 2, axis=-1))


def covered_window(kappas: np.ndarray, covered: np.ndarray) -> tuple[float, float]:
    """Range of kappa around 1 in which every interval is reliable; NaN if there is none."""
    good, index_of_one = covered >= COVERED, int(np.argmin(np.abs(np.log(kappas))))
    if not good[index_of_one]:
        return float("nan"), float("nan")
    above, below = np.cumprod(good[index_of_one:]).sum(), np.cumprod(good[index_of_one::-1]).sum()
    return float(kappas[index_of_one - below + 1]), float(kappas[index_of_one + above - 1])


def of_pairs(arrays, prefix: str = "sampled") -> dict[str, np.ndarray]:
    """Bias, its error, spread, coverage and r.m.s. distance from KL, (kappa, treatment, pair)."""
    value, error = arrays[f"{prefix}_value"], arrays[f"{prefix}_error"]
    truth = arrays["exact"].T[:, None]
    return _summary(value, error, np.broadcast_to(truth, value.shape[:-1]), arrays["kl"][..., None])


def of_farthest(arrays, size: int) -> dict[str, np.ndarray]:
    """The same for the farthest pair at one size, (kappa, treatment)."""
    index = farthest(arrays)
    value, error = arrays[f"far_{size}_value"], arrays[f"far_{size}_error"]
    truth = np.broadcast_to(arrays["exact"][index][:, None], value.shape[:-1])
    return _summary(value, error, truth, arrays["kl"][index])


def farthest(arrays) -> int:
    return list(arrays["pairs"]).index(FARTHEST)


def _summary(value, error, truth, kl) -> dict[str, np.ndarray]:
    spread = value.std(-1, ddof=1)
    return {
        "bias": value.mean(-1) - truth,
        "bias_error": spread / np.sqrt(value.shape[-1]),
        "spread": spread,
        "coverage": coverage(value, error, truth),
        "from_kl": root_mean_square(value, kl),
    }


def headline(arrays) -> dict[str, float]:
    return _identities(arrays) | _errors(arrays) | _sizes(arrays)


def _identities(arrays) -> dict[str, float]:
    """Largest violations of exact identities, and the divergences themselves."""
    exact, kl = arrays["exact"], arrays["kl"]
    numbers = {
        "bound_minus_definition": np.max(np.abs(arrays["scaled"][:, 0] / exact - 1)),
        "bound_minus_definition_held": np.max(np.abs(arrays["shifted"][:, 0] / exact - 1)),
        "large_kappa_minus_kl": np.max(np.abs(arrays["exact_far"][:, 1] / kl - 1)),
        "small_kappa_minus_reverse_kl": np.max(
            np.abs(arrays["exact_far"][:, 0] / arrays["reverse_kl"] - 1)
        ),
        "largest_share_at_a_wrong_ratio": np.max(arrays["scaled"][:, 1:] / exact[:, None]),
        "largest_share_at_a_wrong_normalizer": np.max(arrays["shifted"][:, 1:] / exact[:, None]),
    }
    of_kl = exact[:, -1] / kl
    for name, js, fraction in zip(arrays["pairs"], arrays["jensen_shannon"], of_kl, strict=True):
        label = str(name).replace(" ", "_")
        numbers[f"jensen_shannon_{label}"] = js
        numbers[f"share_of_kl_at_the_largest_kappa_{label}"] = fraction
    return numbers


def _errors(arrays) -> dict[str, float]:
    """Coverage at kappa = 1, at the largest kappa, and by effective sample size."""
    covered = of_pairs(arrays)["coverage"]
    index_of_one = int(np.argmin(np.abs(np.log(arrays["kappas"]))))
    numbers = {
        f"coverage_{treatment}_kappa_1": covered[index_of_one, i].mean()
        for i, treatment in enumerate(("held", "solved"))
    }
    for pair, name in enumerate(arrays["pairs"]):
        numbers[f"coverage_solved_largest_kappa_{str(name).replace(' ', '_')}"] = covered[
            -1, 1, pair
        ]
    everywhere, effective = by_effective_samples(arrays)
    numbers["least_coverage_with_enough_effective_samples"] = np.min(
        everywhere[effective >= ENOUGH], initial=1
    )
    numbers["largest_coverage_with_few_effective_samples"] = np.max(
        everywhere[effective < ENOUGH / 5], initial=0
    )
    return numbers


def _sizes(arrays) -> dict[str, float]:
    """Reliable range of kappa, kappa nearest to KL, and limits, for the farthest pair."""
    numbers, kl = {}, arrays["kl"][farthest(arrays)]
    for size in arrays["sizes"]:
        summary, limit = of_farthest(arrays, size), arrays[f"far_{size}_limit_value"]
        for index, treatment in enumerate(("held", "solved")):
            window = covered_window(arrays["kappas"], summary["coverage"][:, index])
            best = summary["from_kl"][:, index].argmin()
            for end, bound in zip(("smallest", "largest"), window, strict=True):
                # With few samples there is no such range, and the number is left out.
                if np.isfinite(bound):
                    numbers[f"log10_{end}_covered_kappa_{treatment}_{size}"] = np.log10(bound)
            numbers[f"log10_best_kappa_{treatment}_{size}"] = np.log10(arrays["kappas"][best])
            numbers[f"distance_from_kl_at_the_best_{treatment}_{size}"] = summary["from_kl"][
                best, index
            ]
        numbers |= {
            f"median_{name}_minus_kl_{size}": np.median(v) - kl
            for name, v in zip(("nwj", "dv"), limit, strict=True)
        }
    return numbers
