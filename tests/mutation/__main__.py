"""Tries every deliberate fault, and says which survive; status 1 where more than 5 % do."""

import concurrent.futures
import dataclasses
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import tqdm
import tyro

from tests.mutation.faults import FAULTS, Fault

ROOT = pathlib.Path(__file__).parents[2]
COPIED = ("nce_jax", "experiments", "benchmarks", "tests", "docs", "pyproject.toml", "README.md")
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


def survives(fault: Fault, *, slow: bool = False) -> bool:
    """Whether the tests pass on a copy of the repository that has the fault."""
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for name in COPIED:
            _copy(ROOT / name, root / name)
        target = root / fault.path
        target.write_text(target.read_text().replace(fault.before, fault.after))
        return _tests_pass(root, fault.tests, "not slow") and (
            not slow or _tests_pass(root, fault.tests, "slow")
        )


def _copy(source: pathlib.Path, target: pathlib.Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    elif source.exists():
        shutil.copy(source, target)


def _tests_pass(root: pathlib.Path, tests: tuple[str, ...], marked: str) -> bool:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", marked]
    # The copy comes first on the path, before the installed checkout.
    environment = os.environ | {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([*command, *tests], cwd=root, env=environment, capture_output=True)
    if done.returncode not in (0, 1, 5):
        raise RuntimeError(f"{tests}: pytest ended with {done.returncode}\n{done.stdout.decode()}")
    return done.returncode != 1


def main(arguments: Arguments) -> int:
    """The exit status: 1 where more than 5 % of the faults survive."""
    faults = [fault for fault in FAULTS if arguments.only in fault.path]
    survivors = []
    with concurrent.futures.ThreadPoolExecutor(arguments.workers) as pool:
        tries = {pool.submit(survives, fault, slow=arguments.slow): fault for fault in faults}
        finished = concurrent.futures.as_completed(tries)
        for attempt in tqdm.tqdm(finished, total=len(tries), desc="faults"):
            if attempt.result():
                survivors.append(tries[attempt])
                tqdm.tqdm.write(f"SURVIVES: {tries[attempt].path}: {tries[attempt].before!r}")
    print(f"{len(faults)} faults, {len(survivors)} survive")
    return int(len(survivors) > MAX_SURVIVORS * len(faults))


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Arguments, prog="python -m tests.mutation", description=__doc__)))
