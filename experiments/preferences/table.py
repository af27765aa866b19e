"""Prints the stored results as tables: `python -m experiments.preferences.table`."""

from collections.abc import Mapping
from typing import Any

import tyro

from experiments.common import results
from experiments.common.endings import one_line
from experiments.common.over_seeds import mean_and_error
from experiments.preferences.statistics import SHOWN, comparisons, final, groups, paired


def table(arrays: Mapping[str, Any], group: str, beta: int = 0) -> str:
    """All methods in Markdown: mean ± standard error over seeds."""
    shown = SHOWN[group.split("_")[0]]
    columns = {name: mean_and_error(final(arrays, group, name, beta)) for name in shown}
    lines = [f"| loss | {' | '.join(shown)} |", "|---|" + "---|" * len(shown)]
    lines += _known(arrays, group)
    for row, method in enumerate(arrays["methods"]):
        cells = [_cell(mean[row], error[row]) for mean, error in columns.values()]
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _known(arrays: Mapping[str, Any], group: str) -> list[str]:
    """Rows of what needs no training."""
    if group.startswith("text"):
        frontier = {name: arrays[f"text_frontier_{name}"] for name in ("reward", "kl")}
        best = arrays["text_frontier_best_rewards"]
        rows = {"reference": (arrays["text_rewards"],), "optimum": tuple(frontier.values())}
        rows |= {f"best of {2 ** (1 + i)}": (best[:, i],) for i in range(best.shape[1])}
        return [_known_row(name, values, 6) for name, values in rows.items()]
    count = group.rsplit("K", 1)[1]
    names = ("reference", "optimum", f"best_of_{count}", f"nca_minimum_{count}")
    return [
        _known_row(
            name.replace("_", " "), [arrays[f"table_{name}_{key}"] for key in SHOWN["table"]], 5
        )
        for name in names
    ]


def _known_row(name: str, values: Any, width: int) -> str:
    cells = [_cell(*mean_and_error(value)) for value in values]
    return f"| {name} | {' | '.join(cells + [''] * (width - len(cells)))} |"


def _cell(mean: Any, error: Any) -> str:
    return f"{float(mean):.3f} ± {float(error):.3f}"


def differences(arrays: Mapping[str, Any], measure: str, beta: int = 0) -> str:
    """Paired differences of two methods in Markdown, with intervals of 95 %."""
    names = groups(arrays)
    lines = [f"| {measure} of | less that of | {' | '.join(names)} |", "|---" * 2 + "|"]
    lines[1] += "---|" * len(names)
    for pair in comparisons(arrays):
        texts = [
            f"{mean:+.3f} ({low:+.3f} to {high:+.3f})"
            for mean, low, high in (paired(arrays, name, measure, pair, beta) for name in names)
        ]
        lines.append(f"| {pair[0]} | {pair[1]} | {' | '.join(texts)} |")
    return "\n".join(lines)


def main(preset: str = "paper") -> None:
    """Print the tables of all methods, and of their differences.

    Args:
        preset: whose results.
    """
    folder = results.default_folder("preferences", preset)
    arrays = results.load(folder, f"python -m experiments.preferences.run --preset {preset}").arrays
    for group in groups(arrays):
        for beta, value in enumerate(arrays["betas"]):
            if group.startswith("table") or beta == 0:
                print(f"\n{group}, beta = {value:g}\n\n{table(arrays, group, beta)}")
    for measure in ("distance", "shortfall", "chosen"):
        print(f"\n{differences(arrays, measure)}")


if __name__ == "__main__":
    with one_line():
        tyro.cli(main)
