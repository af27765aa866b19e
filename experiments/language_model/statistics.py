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
    """Places of the methods of that loss and start, and of those `num_noise` and `magnification`
    where given.
    """
    found = (arrays["loss"] == loss) & (arrays["start"] == start)
    for name, value in values.items():
        found = found & (arrays[name] == value)
    return np.flatnonzero(found)


def headline(arrays: Mapping[str, np.ndarray]) -> dict[str, float]:
    """By method: perplexity, mean over seeds; how much faster NCE at the middle K is than the full
    softmax.
    """
    found = {"unigram_perplexity": float(arrays["unigram_perplexity"])}
    for place, loss in enumerate(map(str, arrays["loss"])):
        count, m, start = (arrays[name][place] for name in ("num_noise", "magnification", "start"))
        name = SHORT[loss] + (f"_k{count}" if count else "") + (f"_m{m:g}" if m != 1 else "")
        found[name + ("_equal_start" if start == "equal" else "")] = arrays["perplexity"][
            place
        ].mean()
    seconds = arrays["seconds"].min(-1)  # the rest is what else the machine did
    (same,) = rows(arrays, "NCE, F = 0", num_noise=arrays["middle"], magnification=1)
    found["full_softmax_seconds"] = seconds[0]
    found["full_softmax_over_nce_seconds"] = seconds[0] / seconds[same]
    return found
