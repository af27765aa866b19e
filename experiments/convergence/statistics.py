"""Fits to the steps, the flow and the curvatures, and the headline numbers."""

import numpy as np

HEAVY = 12.0
"""Smallest KL at which exponential growth is fitted."""
FACTOR = 2.0
"""M is sufficient if gradient flow takes at most this many times as long as the likelihood's."""


def line(x: np.ndarray, y: np.ndarray) -> float:
    """Slope of the least-squares line through the finite points."""
    is_finite = np.isfinite(x) & np.isfinite(y)
    return (
        float(np.polyfit(x[is_finite], y[is_finite], 1)[0]) if is_finite.sum() > 1 else float("nan")
    )


def best_steps(arrays, name: str) -> np.ndarray:
    """Steps to each distance at the best rate, (separation, M, distance)."""
    return arrays[f"{name}_hits"].min(axis=2)


def best_end(arrays, name: str) -> np.ndarray:
    """Distance after the last step at the best rate, (separation, M)."""
    return np.nanmin(arrays[f"{name}_curves"][..., -1], axis=-1)


def distance_exponent(arrays, name: str, separation: int, magnification: int) -> float:
    """a in steps ~ distance^a, over distances reached in more than one step.

    The theorem's bound has -2.
    """
    steps = best_steps(arrays, name)[separation, magnification]
    return line(np.log(arrays["distances"]), np.log(np.where(steps > 1, steps, np.inf)))


def condition_numbers(arrays, family: str, treatment: str) -> np.ndarray:
    """Condition numbers, (M, separation, position); infinite M is last."""
    curvatures = np.abs(arrays[f"{family}_{treatment}_curvatures"])
    return curvatures.max(axis=-1) / curvatures.min(axis=-1)


def likelihood_condition(arrays, family: str, treatment: str) -> np.ndarray:
    """Condition number of the Fisher information at the truth, (separation,)."""
    return condition_numbers(arrays, family, treatment)[-1, :, -1]


def magnification_needed(arrays, name: str) -> np.ndarray:
    """log M at which gradient flow is FACTOR times as slow as the likelihood, (separation,).

    It is NaN if no M on the grid suffices.
    """
    excess = np.log(arrays[f"flow_{name}"] / arrays["flow_likelihood"][:, None] / FACTOR)
    log_m, log_needed = arrays["flow_log_magnifications"], []
    for row in excess:
        above = np.flatnonzero(row > 0)
        if above.size and above[-1] + 1 < log_m.size:
            last_above = above[-1]
            log_needed.append(
                np.interp(
                    0.0,
                    [-row[last_above], -row[last_above + 1]],
                    log_m[last_above : last_above + 2],
                )
            )
        else:
            log_needed.append(np.nan if above.size else log_m[0])
    return np.array(log_needed)


def headline(arrays) -> dict[str, float]:
    return _ends(arrays) | _steps(arrays) | _exponents(arrays) | _flow(arrays) | _conditions(arrays)


def _ends(arrays) -> dict[str, float]:
    """Final distances of (theta, F) with a joint gradient at the best rate.

    The separation of the means is the largest one.
    """
    names = {"nce_ngd": 0, "nce_gd": 0, "nwj_ngd": 0, "ence_ngd": 0}
    ends = {f"joint_{name}_end": best_end(arrays, f"mean_joint_{name}")[-1, 0] for name in names}
    return ends | {"joint_nce_ngd_largest_m_end": best_end(arrays, "mean_joint_nce_ngd")[-1, -1]}


def _steps(arrays) -> dict[str, float]:
    """Steps to distance 1 at the best rate; the precision family at its largest separation."""
    index = int(np.argmin(np.abs(arrays["distances"] - 1.0)))
    joint = best_steps(arrays, "mean_joint_nce_ngd")[-2, :, index]
    solved = best_steps(arrays, "precision_solved_nce_ngd")
    steps = {"joint_nce_ngd_steps": joint[0], "joint_nce_ngd_largest_m_steps": joint[-1]}
    steps |= {
        "solved_nce_ngd_steps": solved[-1, 0, index],
        "solved_nwj_ngd_steps": _single(arrays, "nwj", index),
    }
    descent = best_steps(arrays, "precision_solved_nce_gd")[1, :, index]
    steps |= {"solved_nce_gd_steps": descent[0], "solved_nce_gd_largest_m_steps": descent[-1]}
    newton = np.concatenate(
        [
            arrays[f"{family}_newton"].reshape(-1, arrays["mean_newton"].shape[-1])
            for family in FAMILIES
        ]
    )
    reached = newton <= 0.1
    return steps | {
        "newton_most_steps": np.where(reached.any(-1), reached.argmax(-1), np.inf).max()
    }


FAMILIES = ("mean", "precision")


def _single(arrays, loss: str, index: int) -> float:
    return best_steps(arrays, f"precision_solved_{loss}_ngd")[-1, 0, index]


def _exponents(arrays) -> dict[str, float]:
    """Exponents of the steps in the distance and, F solved, in the condition number.

    For the latter, |theta_0 - theta*|^2 is divided out.
    """
    index = int(np.argmin(np.abs(arrays["distances"] - 0.1)))
    steps = best_steps(arrays, "precision_solved_nwj_ngd")[:, 0, index]
    scaled = np.log(steps / arrays["precision_solved_nwj_ngd_start"] ** 2)
    return {
        "solved_nwj_distance_exponent": distance_exponent(arrays, "precision_solved_nwj_ngd", 1, 0),
        "joint_nce_distance_exponent": distance_exponent(arrays, "mean_joint_nce_ngd", 1, 0),
        "solved_nwj_condition_exponent": line(
            np.log(likelihood_condition(arrays, "precision", "solved")), scaled
        ),
    }


def _flow(arrays) -> dict[str, float]:
    kl = arrays["flow_separations"] ** 2 / 2
    heavy, numbers = kl >= min(HEAVY, kl[-2]), {}
    for name in ("fixed", "solved"):
        times, needed = np.log(arrays[f"flow_{name}"]), magnification_needed(arrays, name)
        numbers[f"flow_{name}_growth"] = line(kl[heavy], times[heavy, 0])
        numbers[f"flow_{name}_power_of_m"] = line(
            arrays["flow_log_magnifications"][:4], times[-1, :4]
        )
        numbers[f"flow_{name}_log_m_needed_per_kl"] = line(kl[heavy], needed[heavy])
    return numbers


def _conditions(arrays) -> dict[str, float]:
    """log10 of the largest condition number, and of the smallest largest curvature.

    Both are between start and truth, at the largest separation.
    """
    numbers = {}
    for family, treatment in (("mean", "joint"), ("precision", "solved"), ("precision", "joint")):
        worst = np.log10(condition_numbers(arrays, family, treatment)[:, -1].max(axis=-1))
        flattest = np.log10(
            arrays[f"{family}_{treatment}_curvatures"][:, -1].max(axis=-1).min(axis=-1)
        )
        for label, row in (("m_1", 0), ("limit", -1)):
            numbers[f"{family}_{treatment}_condition_{label}"] = worst[row]
            numbers[f"{family}_{treatment}_flattest_{label}"] = flattest[row]
    return numbers
