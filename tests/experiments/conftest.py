"""Results of the smoke presets, from `make smoke` if this code has made them, else computed here.

Results of `make smoke` come from programs without XLA's optimizations, and are equal to rounding.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

from experiments.common import pieces, results


@pytest.fixture(scope="session")
def smoke_result(tmp_path_factory) -> Callable[..., results.Result]:
    """`smoke_result(topic, config, experiment)` returns the result of `experiment(config, key)`.

    Pieces are in a folder of this process: another one may compute the same result.
    """
    runs = tmp_path_factory.mktemp("runs")

    def result(
        topic: str, config: Any, experiment: Callable[..., results.Result]
    ) -> results.Result:
        if (stored := _stored(topic, config)) is not None:
            return stored
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pieces, "RUNS", runs)
            computed = experiment(config, jax.random.key(config.seed))
        pieces.remove(computed.pieces)
        assert not computed.is_all_failed()
        return computed

    return result


def _stored(topic: str, config: Any) -> results.Result | None:
    """The stored result of this commit and these settings; None if there is none."""
    folder = results.ROOT / results.default_folder(topic, "smoke")
    try:
        stored = results.load(folder, "make smoke")
    except results.ResultError:
        return None
    made, now = stored.manifest, results.provenance()
    is_current = (
        now["commit"] is not None
        and made["commit"] == now["commit"]
        and not made["dirty"]
        and not now["dirty"]
    )
    if not is_current or made["config"] != results._plain(config):
        return None
    failed = {name: np.asarray(lanes) for name, lanes in made["failed_lanes"].items()}
    return results.Result(stored.arrays, stored.headline, failed)
