"""Headline numbers: perplexities and seconds, means over the seeds."""

from collections.abc import Mapping

import numpy as np

from experiments.language_model import losses

SHORT = {
    losses.FULL: "full_softmax",
    losses.SAMPLED: "sampled_softmax",
    "NCE, F = 0": "nce_zero",
    "NCE, F learned": "nce_learned",
    "NCE, F solved": "nce_solved",
}


def rows(
    arrays: Mapping[str, np.ndarray], loss: str, *, start: str = "frequencies", **values
) -> np.ndarray:
    """Indices of the methods with that loss, that start, and the `values` given."""
    matches = (arrays["loss"] == loss) & (arrays["start"] == start)
    for name, value in values.items():
        matches = matches & (arrays[name] == value)
    return np.flatnonzero(matches)


def headline(arrays: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Mean perplexity by method, and the speed of NCE at the middle K over the full softmax."""
    numbers = {"unigram_perplexity": float(arrays["unigram_perplexity"])}
    for index, loss in enumerate(map(str, arrays["loss"])):
        count, m, start = (arrays[name][index] for name in ("num_noise", "magnification", "start"))
        name = SHORT[loss] + (f"_k{count}" if count else "") + (f"_m{m:g}" if m != 1 else "")
        numbers[name + ("_equal_start" if start == "equal" else "")] = arrays["perplexity"][
            index
        ].mean()
    seconds = arrays["seconds"].min(-1)  # longer times are due to other load on the machine
    (nce,) = rows(arrays, "NCE, F = 0", num_noise=arrays["middle"], magnification=1)
    numbers["full_softmax_seconds"] = seconds[0]
    numbers["full_softmax_over_nce_seconds"] = seconds[0] / seconds[nce]
    return numbers
