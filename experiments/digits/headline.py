"""Headline numbers from an experiment's arrays: means over seeds at the last checkpoint, in
nats.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.digits import summary


def numbers(arrays: Mapping[str, Any]) -> dict[str, float]:
    """What `make check` compares. Withheld numbers are left out, and so are those of kappas that a
    preset lacks.
    """
    losses, gains = (summary.by_kappa(arrays, name) for name in ("test_loss", "gain"))
    named = {
        "gaussian_log_likelihood": np.mean(arrays["test_log_noise"]),
        "diagonal_difference_of_losses": summary.diagonal_difference(arrays, "test_loss"),
        "withheld_lanes_bounded": _num_withheld(arrays["grid_gain"]),
        "withheld_lanes_unbounded": _num_withheld(arrays["unbounded_gain"]),
    }
    named |= {f"loss_kappa_{kappa:g}": lanes[:, -1].mean() for kappa, lanes in losses.items()}
    named |= {f"gain_kappa_{kappa:g}": lanes[:, -1].mean() for kappa, lanes in gains.items()}
    named |= _differences(arrays, losses, gains)
    return {name: float(value) for name, value in named.items() if np.isfinite(value)}


def _differences(arrays: Mapping[str, Any], losses: Mapping, gains: Mapping) -> dict[str, float]:
    """Paired over seeds: joint minus solved at the grid's corners, and ten noise samples per image
    minus one.
    """
    named = {}
    for index, corner in enumerate(arrays["corners"]):
        kappa = float(f"{np.prod(corner, dtype=np.float64):.6g}")
        named[f"loss_joint_minus_solved_kappa_{kappa:g}"] = _last_mean(
            arrays["joint_test_loss"][index] - losses[kappa]
        )
    for index, kappa in enumerate(arrays["study_kappas"]):
        if float(kappa) not in gains:
            continue
        more = arrays["study_gain"][index] - gains[float(kappa)]
        named[f"gain_more_noise_minus_one_kappa_{kappa:g}"] = _last_mean(more)
    return named


def _last_mean(lanes: np.ndarray) -> float:
    return lanes[:, -1].mean()


def _num_withheld(gain: np.ndarray) -> int:
    return int(np.isnan(gain[..., -1]).sum())
