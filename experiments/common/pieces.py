"""Pieces of a long run on disk: one that was interrupted goes on with those that it lacks."""

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
    """Where the pieces of a run lie: named by settings and code, so that those of others are not
    taken for them.
    """
    text = json.dumps(dataclasses.asdict(config), sort_keys=True) + "".join(
        path.read_text() for path in sources
    )
    return RUNS / topic / hashlib.sha256(text.encode()).hexdigest()[:16]


def kept(path: Path, compute: Callable[[], Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """The arrays that an interrupted run left at `path`, or new ones, which are left there."""
    if not path.exists():
        arrays = compute()
        with results.atomic(path) as temporary:
            np.savez(temporary, **arrays)
    with np.load(path) as stored:
        return dict(stored)
