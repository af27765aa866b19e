"""The progress bar of a fit."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

Report = Callable[[str, int], None]
"""`report(phase, num_steps)`: the fit is in `phase`, and has taken `num_steps` more steps."""


@contextmanager
def progress_bar(total: int | None, *, is_shown: bool) -> Iterator[Report]:
    """A bar on stderr for `total` training steps; None for a number that is not known."""
    with tqdm(total=total, disable=not is_shown, unit="step", dynamic_ncols=True) as bar:

        def report(phase: str, num_steps: int) -> None:
            bar.set_description(phase)
            bar.update(num_steps)

        yield report
