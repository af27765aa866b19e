"""Differences between layouts, and the headline numbers."""

from collections.abc import Mapping

import numpy as np

from experiments.scaling.measures import SCALINGS
from experiments.scaling.steps import PARTS


def differences(found: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """(layout, dtype, pair, part): |a - b| / |b|, b on one device, norms over all entries; and the
    names of the axes.

    F is an offset of log-ratios: one below a nat is compared as it is, not to its own size.
    """
    alone, layouts = found["1x1"], [layout for layout in found if layout != "1x1"]
    dtypes = list(dict.fromkeys(name.split("/")[0] for name in alone))
    pairs = list(dict.fromkeys(name.split("/")[1].split(": ")[0] for name in alone))
    table = np.array(
        [
            [
                [
                    [_relative(found[layout], alone, f"{dtype}/{pair}: {part}") for part in PARTS]
                    for pair in pairs
                ]
                for dtype in dtypes
            ]
            for layout in layouts
        ]
    )
    names = {"layouts": layouts, "dtypes": dtypes, "pairs": pairs, "parts": PARTS}
    return {"difference": table} | {name: np.array(values) for name, values in names.items()}


def _relative(found: Mapping[str, np.ndarray], alone: Mapping[str, np.ndarray], name: str) -> float:
    """NaN for what was not trained on, infinite where it diverged."""
    if name not in alone:
        return np.nan
    first, second = (np.asarray(arrays[name], np.float64) for arrays in (found, alone))
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        return np.inf
    least = 1.0 if name.endswith("log_partition") else np.finfo(np.float64).tiny
    return float(np.linalg.norm(first - second) / max(np.linalg.norm(second), least))


def headline(arrays: Mapping[str, np.ndarray]) -> dict[str, float]:
    worst = {
        f"{dtype}_{name}": np.nanmax(arrays["difference"][:, index][..., parts])
        for index, dtype in enumerate(map(str, arrays["dtypes"]))
        for name, parts in (("one_step", slice(0, 3)), ("params", slice(3, 4)))
    }
    solved = list(arrays["treatments"]).index("solved")
    most = arrays["collectives"][:, -1]
    weak, strong = (arrays["flops"][SCALINGS.index(name), :, solved] for name in SCALINGS)
    swept = arrays["sweep_flops"][:, solved]
    gather = list(arrays["exchange_ways"]).index("gather")
    return worst | {
        "collectives_in_gathered_solve": arrays["exchange_in_loops"][:, gather].max(),
        "collectives_solved": most[:, solved].max(),
        "collectives_joint": most[:, 1 - solved].max(),
        "collectives_in_loops": arrays["in_loops"].max(),
        "weak_flops_per_device": weak[-1] / weak[0],
        "strong_flops_per_device": strong[-1] / strong[0],
        "collectives_sweep": arrays["sweep_collectives"].max(),
        "sweep_flops_per_device": swept[-1] / swept[0],
    }
