"""Tries every deliberate fault, and says which survive; status 1 where more than 5 % do."""

import concurrent.futures
import dataclasses
import pathlib
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence

import tqdm
import tyro

from tests.mutation.fault import Fault
from tests.mutation.faults import FAULTS
from tests.mutation.trials import Result, Trials, copy_repository

ROOT = pathlib.Path(__file__).parents[2]
KEPT = ROOT / "build" / "mutation"
MAX_SURVIVORS = 0.05


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Which faults are tried."""

    only: str = ""
    """Text that the path of a fault contains; empty for all."""
    workers: int = 2
    """Faults tried at the same time."""
    slow: bool = False
    """Whether a fault that survives the fast tests is tried on the slow ones, too."""


def table(results: dict[Fault, Result]) -> str:
    """A line for each room, and one for all: faults, survivors, and minutes of a worker."""
    rooms = defaultdict(list)
    for fault, result in results.items():
        rooms["/".join(fault.path.split("/")[:2])].append(result)
    lines = [f"{'room':36} {'faults':>7} {'survive':>8} {'minutes':>8}"]
    for room, group in [*sorted(rooms.items()), ("all", list(results.values()))]:
        survivors = sum(not result.noticed_by for result in group)
        minutes = sum(result.seconds for result in group) / 60
        lines.append(f"{room:36} {len(group):7} {survivors:8} {minutes:8.1f}")
    return "\n".join(lines)


def survivors(results: dict[Fault, Result]) -> list[str]:
    """What each fault that survives replaces, and the tests that do not notice it."""
    return [
        f"SURVIVES: {fault.path}\n  {fault.before!r}\n  -> {fault.after!r}\n  {fault.tests}"
        for fault, result in results.items()
        if not result.noticed_by
    ]


def run(arguments: Arguments, faults: Sequence[Fault]) -> dict[Fault, Result]:
    """The result of every fault.

    Raises:
      RuntimeError: a test that noticed a fault fails on a copy without one, too.
    """
    marks = ("not slow", "slow") if arguments.slow else ("not slow",)
    with tempfile.TemporaryDirectory() as folder:
        copy_repository(ROOT, pathlib.Path(folder))
        trials = Trials(pathlib.Path(folder), KEPT, marks)
        results = _tried(trials, faults, arguments.workers)
        noticed_by = sorted({result.noticed_by for result in results.values()} - {""})
        failure = noticed_by and trials.result(tuple(noticed_by)).noticed_by
        if failure:
            raise RuntimeError(f"{failure} fails without a fault")
    return results


def _tried(trials: Trials, faults: Sequence[Fault], workers: int) -> dict[Fault, Result]:
    """Where one trial raises, those that have not begun are left out."""
    pool = concurrent.futures.ThreadPoolExecutor(workers)
    try:
        tries = {pool.submit(trials.result, fault.tests, fault): fault for fault in faults}
        finished = concurrent.futures.as_completed(tries)
        progress = tqdm.tqdm(finished, total=len(tries), desc="faults")
        results = {}
        for attempt in progress:
            results[tries[attempt]] = attempt.result()
            survived = sum(not result.noticed_by for result in results.values())
            progress.set_postfix(survive=survived)
    except BaseException:
        trials.is_stopped.set()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
    return {fault: results[fault] for fault in faults}


def main(arguments: Arguments) -> int:
    """The exit status: 1 where more than 5 % of the faults survive."""
    results = run(arguments, [fault for fault in FAULTS if arguments.only in fault.path])
    surviving = survivors(results)
    print("\n".join([table(results), *surviving]))
    return int(len(surviving) > MAX_SURVIVORS * len(results))


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Arguments, prog="python -m tests.mutation", description=__doc__)))
