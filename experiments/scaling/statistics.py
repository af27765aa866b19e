"""Differences between layouts, and the headline numbers."""

from collections.abc import Mapping

import numpy as np

from experiments.scaling.measures import SCALINGS
from experiments.scaling.steps import PARTS


def differences(arrays_by_layout: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Relative differences |a - b| / |b| from one device, (layout, dtype, pair, part).

    Norms are over all entries. F is an offset of log ratios: an F below one nat is compared
    absolutely.
    """
    reference, layouts = (
        arrays_by_layout["1x1"],
        [layout for layout in arrays_by_layout if layout != "1x1"],
    )
    dtypes = list(dict.fromkeys(name.split("/")[0] for name in reference))
    pairs = list(dict.fromkeys(name.split("/")[1].split(": ")[0] for name in reference))
    table = np.array(
        [
            [
                [
                    [
                        _relative(arrays_by_layout[layout], reference, f"{dtype}/{pair}: {part}")
                        for part in PARTS
                    ]
                    for pair in pairs
                ]
                for dtype in dtypes
            ]
            for layout in layouts
        ]
    )
    names = {"layouts": layouts, "dtypes": dtypes, "pairs": pairs, "parts": PARTS}
    return {"difference": table} | {name: np.array(values) for name, values in names.items()}


def _relative(
    arrays: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray], name: str
) -> float:
    """Relative difference; NaN for parts that were not trained, infinite after a divergence."""
    if name not in reference:
        return np.nan
    first, second = (np.asarray(side[name], np.float64) for side in (arrays, reference))
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        return np.inf
    smallest_norm = 1.0 if name.endswith("log_partition") else np.finfo(np.float64).tiny
    return float(np.linalg.norm(first - second) / max(np.linalg.norm(second), smallest_norm))


def headline(arrays: Mapping[str, np.ndarray]) -> dict[str, float]:
    worst = {
        f"{dtype}_{name}": np.nanmax(arrays["difference"][:, index][..., parts])
        for index, dtype in enumerate(map(str, arrays["dtypes"]))
        for name, parts in (("one_step", slice(0, 3)), ("params", slice(3, 4)))
    }
    solved = list(arrays["treatments"]).index("solved")
    most_collectives = arrays["collectives"][:, -1]
    weak, strong = (arrays["flops"][SCALINGS.index(name), :, solved] for name in SCALINGS)
    sweep_flops = arrays["sweep_flops"][:, solved]
    gather = list(arrays["exchange_ways"]).index("gather")
    return worst | {
        "collectives_in_gathered_solve": arrays["exchange_in_loops"][:, gather].max(),
        "collectives_solved": most_collectives[:, solved].max(),
        "collectives_joint": most_collectives[:, 1 - solved].max(),
        "collectives_in_loops": arrays["in_loops"].max(),
        "weak_flops_per_device": weak[-1] / weak[0],
        "strong_flops_per_device": strong[-1] / strong[0],
        "collectives_sweep": arrays["sweep_collectives"].max(),
        "sweep_flops_per_device": sweep_flops[-1] / sweep_flops[0],
    }
