"""Pieces of a long run on disk, so that an interrupted run computes only what is missing."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments.common import results

RUNS = Path("build/runs")


def folder(topic: str, config: Any, sources: Iterable[Path]) -> Path:
    """Folder of a run's pieces, named by a digest of the settings and of the source code.

    A run with other settings or other code therefore never reads these pieces.
    """
    text = json.dumps(dataclasses.asdict(config), sort_keys=True) + "".join(
        path.read_text() for path in sources
    )
    return RUNS / topic / hashlib.sha256(text.encode()).hexdigest()[:16]


def load_or_compute(path: Path, compute: Callable[[], Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Returns the arrays stored at `path`; computes and stores them if there are none."""
    if not path.exists():
        arrays = compute()
        with results.atomic(path) as temporary:
            np.savez(temporary, **arrays)
    with np.load(path) as stored:
        return dict(stored)
