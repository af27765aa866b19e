"""Results of the smoke presets: those of `make smoke`, where this very code has made them, or
computed here.

Those of `make smoke` are of programs compiled without XLA's optimizations: equal to rounding, not
to the bit.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

from experiments.common import results


@pytest.fixture(scope="session")
def smoke_result() -> Callable[..., results.Result]:
    """`smoke_result(topic, config, experiment)`: what `experiment(config, key)` returns."""

    def result(
        topic: str, config: Any, experiment: Callable[..., results.Result]
    ) -> results.Result:
        return _stored(topic, config) or experiment(config, jax.random.key(config.seed))

    return result


def _stored(topic: str, config: Any) -> results.Result | None:
    """What lies in build/results, of this commit, with nothing changed since, and of these
    settings; else None.
    """
    folder = results.ROOT / results.default_folder(topic, "smoke")
    try:
        stored = results.load(folder, "make smoke")
    except results.ResultError:
        return None
    made, now = stored.manifest, results.provenance()
    same = (
        now["commit"] is not None
        and made["commit"] == now["commit"]
        and not made["dirty"]
        and not now["dirty"]
    )
    if not same or made["config"] != results._plain(config):
        return None
    failed = {name: np.asarray(lanes) for name, lanes in made["failed_lanes"].items()}
    return results.Result(stored.arrays, stored.headline, failed)
