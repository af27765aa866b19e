"""Prints the tables of the README: `python -m experiments.anomaly.table [folder]`."""

import sys
from pathlib import Path

import numpy as np

from experiments.anomaly import contrasts, statistics
from experiments.common import results
from experiments.common.endings import one_line

MISSING = "–"
"""What stands for a cell that was not computed."""


def of_tables(arrays) -> str:
    """Mean area by table and method, with the means and ranks below."""
    methods = [str(method) for method in arrays["table_methods"]]
    areas = arrays["table_areas"]
    lines = [_line(["table", "rows, columns, anomalies", *methods])]
    lines.append(_line(["---"] * 2 + ["--:"] * len(methods)))
    for name, shape, row in zip(arrays["tables"], arrays["table_shapes"], areas, strict=True):
        lines.append(_line([str(name), ", ".join(f"{n:,}" for n in shape), *_numbers(row.mean(0))]))
    lines.append(_line(["**mean**", "", *_numbers(areas.mean(axis=(0, 1)))]))
    spread = areas.std(axis=1, ddof=1).mean(axis=0) if areas.shape[1] > 1 else np.nan * areas[0, 0]
    lines.append(_line(["s.d. of a seed, mean", "", *_numbers(spread)]))
    ranks = statistics.ranks(areas).mean(axis=0)
    lines.append(_line(["mean rank", "", *(f"{rank:.1f}" for rank in ranks)]))
    return "\n".join(lines)


def of_digits(arrays) -> str:
    """Areas by digit: every energy, both rules without and with it, and the published rows."""
    lines = _head("score", arrays["digits"])
    for index, prior in enumerate(map(str, arrays["priors"])):
        lines.append(_of_seeds(f"energy alone: {prior}", arrays["energy"][..., index]))
    for block, rule in zip(statistics.BLOCKS, arrays["chosen"], strict=True):
        without, name = arrays[f"{block}_without"], str(arrays["rules"][rule])
        lines.append(_of_seeds(f"**{name}**, no energy", without))
        for index, prior in enumerate(map(str, arrays["priors"])):
            values = arrays[block][..., index]
            added = (values - without).mean(axis=1)
            cells = zip(_spreads(values), added, strict=True)
            cells = [f"{cell} ({add:+.3f})" if cell != MISSING else cell for cell, add in cells]
            lines.append(_line([f"{name}: {prior} (energy adds)", *cells]))
    for name, values in contrasts.PUBLISHED.items():
        row = np.array([values.get(int(digit), np.nan) for digit in arrays["digits"]])
        lines.append(_line([f"published {name}, picked by area on test images", *_numbers(row)]))
    return "\n".join(lines)


def of_contrasts(arrays) -> str:
    """What M, K, F and the energy contribute, with intervals over seeds."""
    columns = [f"digit {digit}" for digit in arrays["digits"]]
    lines = _head("difference", ["mean of digits", *columns])
    named = zip(statistics.BLOCKS, arrays["chosen"], strict=True)
    titles = {block: str(arrays["rules"][rule]) for block, rule in named}
    for block, title in {"energy": "energy alone", **titles}.items():
        for contrast, values in contrasts.differences(arrays[block]).items():
            lines.append(_of_difference(f"{title}: {contrast}", values))
        if block in titles:
            added = contrasts.of_energy(arrays, block)
            lines.append(_of_difference(f"{title}: with an energy minus without", added))
    return "\n".join(lines)


def _of_difference(name: str, values: np.ndarray) -> str:
    means, halves = contrasts.interval(np.concatenate([values.mean(axis=0)[None], values]))
    cells = [
        f"{mean:+.3f} ± {half:.3f}" if np.isfinite(mean) else MISSING
        for mean, half in zip(means, halves, strict=True)
    ]
    return _line([name, *cells])


def of_simple_scores(arrays) -> str:
    """Areas of the simple scores by digit."""
    lines = _head("score", arrays["simple_digits"])
    for index, name in enumerate(arrays["simple_scores"]):
        lines.append(_of_seeds(str(name), arrays["simple_areas"][..., index]))
    return "\n".join(lines)


def of_grid(arrays) -> str:
    """The best rule of every setting by its mean area over validation digits and priors."""
    lines = _head("sigma, nz: best rule", [*arrays["validation"], "mean"])
    for (sigma, nz), areas in zip(arrays["grid"], arrays["grid_areas"], strict=True):
        rule = statistics.best_rule(areas)
        row = areas[:, rule, :-1].mean(axis=1)
        name = f"{sigma:g}, {nz:g}: {arrays['rules'][rule]}"
        lines.append(_line([name, *_numbers(np.append(row, row.mean()))]))
    return "\n".join(lines)


def of_rules(arrays) -> str:
    """The best rules on the validation digits, at the best setting, and those that were chosen."""
    areas = arrays["rule_areas"][..., :-1].mean(axis=2)
    return _best_rules(arrays, "rule", arrays["validation"], areas)


def of_scored_rules(arrays) -> str:
    """The rules that are best on the digits reported, in hindsight, and those that were chosen."""
    areas = arrays["scored_rule_areas"][..., :-1].mean(axis=(1, 3))
    return _best_rules(arrays, "rule, in hindsight", arrays["digits"], areas)


def _best_rules(arrays, title: str, digits, areas: np.ndarray, count: int = 8) -> str:
    """Areas (digit, rule) of the rules with the largest means, and of those that were chosen."""
    lines = _head(title, [*digits, "mean"])
    best = areas.mean(axis=0).argsort()[::-1][:count].tolist()
    for rule in dict.fromkeys([*best, *arrays["chosen"].tolist()]):
        row = areas[:, rule]
        lines.append(_line([str(arrays["rules"][rule]), *_numbers(np.append(row, row.mean()))]))
    return "\n".join(lines)


def _head(first: str, columns) -> list[str]:
    columns = [str(column) for column in columns]
    return [_line([first, *columns]), _line(["---", *["--:"] * len(columns)])]


def _of_seeds(name: str, values: np.ndarray) -> str:
    """A row of areas (digit, seed)."""
    return _line([name, *_spreads(values)])


def _spreads(values: np.ndarray) -> list[str]:
    """Mean and standard deviation over seeds, (digit, seed)."""
    if values.shape[1] == 1:
        return _numbers(values[:, 0])
    spreads = values.std(axis=1, ddof=1)
    return [
        f"{mean:.3f} ± {spread:.3f}" if np.isfinite(mean) else MISSING
        for mean, spread in zip(values.mean(axis=1), spreads, strict=True)
    ]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _numbers(values: np.ndarray) -> list[str]:
    return [f"{value:.3f}" if np.isfinite(value) else MISSING for value in values]


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else results.default_folder("anomaly", "cpu")
    arrays = results.load(folder, "python -m experiments.anomaly.run --preset cpu").arrays
    if len(arrays["tables"]):
        print(of_tables(arrays), "\n")
    views = (of_simple_scores, of_grid, of_rules, of_digits, of_contrasts, of_scored_rules)
    print("\n\n".join(view(arrays) for view in views))


if __name__ == "__main__":
    with one_line():
        main()
