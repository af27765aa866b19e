"""Progress bars for long loops, on stderr."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def track(items: Iterable[Item], label: str) -> Iterator[Item]:
    """Yields the items behind a progress bar, which a log file receives only every 10 seconds."""
    interval = 0.2 if sys.stderr.isatty() else 10.0
    yield from tqdm(items, desc=f"  {label}", mininterval=interval, ascii=True, leave=False)
