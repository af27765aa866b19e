"""Prints the tables of the README: `python -m experiments.anomaly.table [folder]`."""

import sys
from pathlib import Path

import numpy as np

from experiments.anomaly import statistics
from experiments.anomaly.scores import RULES
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
    """Areas by digit: reconstruction, energy and both, and what the energy adds."""
    digits = [str(digit) for digit in arrays["digits"]]
    lines = [_line(["score", *digits]), _line(["---", *["--:"] * len(digits)])]
    alone = arrays["reconstruction"].mean(axis=1)
    lines.append(_line(["reconstruction alone", *_numbers(alone)]))
    for index, prior in enumerate(map(str, arrays["priors"])):
        energy, both = (arrays[name].mean(axis=1)[:, index] for name in ("energy", "both"))
        lines.append(_line([f"{prior}: energy alone", *_numbers(energy)]))
        cells = [
            f"{value} ({b - a:+.3f})" if np.isfinite(b) else MISSING
            for value, a, b in zip(_numbers(both), alone, both, strict=True)
        ]
        lines.append(_line([f"{prior}: both (what the energy adds)", *cells]))
    return "\n".join(lines)


def of_simple_scores(arrays) -> str:
    """Areas of the simple scores by digit, all ten."""
    digits = [str(digit) for digit in range(10)]
    lines = [_line(["score", *digits]), _line(["---", *["--:"] * len(digits)])]
    for name, row in zip(
        arrays["simple_scores"], arrays["simple_areas"].mean(axis=1).T, strict=True
    ):
        lines.append(_line([str(name), *_numbers(row)]))
    return "\n".join(lines)


def of_rules(arrays) -> str:
    """Mean area of every rule over priors, by validation cell."""
    areas = arrays["rule_areas"].mean(axis=2)
    cells = [str(digit) for digit in arrays["validation"]]
    lines = [_line(["rule", *cells, "mean"]), _line(["---", *["--:"] * (len(cells) + 1)])]
    by_digit = areas.reshape(len(cells), -1, len(RULES)).mean(axis=1)
    for rule, row in zip(RULES, by_digit.T, strict=True):
        lines.append(_line([rule, *_numbers(row), f"{row.mean():.3f}"]))
    return "\n".join(lines)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _numbers(values: np.ndarray) -> list[str]:
    return [f"{value:.3f}" if np.isfinite(value) else MISSING for value in values]


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else results.default_folder("anomaly", "cpu")
    arrays = results.load(folder, "python -m experiments.anomaly.run --preset cpu").arrays
    if len(arrays["tables"]):
        print(of_tables(arrays), "\n")
    print(of_simple_scores(arrays), "\n")
    print(of_rules(arrays), "\n")
    print(of_digits(arrays))


if __name__ == "__main__":
    with one_line():
        main()
