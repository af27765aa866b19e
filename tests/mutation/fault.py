"""What a deliberate fault is."""

from typing import NamedTuple


class Fault(NamedTuple):
    """One replacement in one file, and where the tests are that should notice it.

    Attributes:
      path: the file, from the root of the repository.
      before: text that occurs exactly once in the file.
      after: what takes its place.
      tests: files and folders of tests, or a test, as pytest takes them.
    """

    path: str
    before: str
    after: str
    tests: tuple[str, ...]


def faults_in(path: str, *tests: str, faults: dict[str, str]) -> list[Fault]:
    """The faults of one file, what they replace by what takes its place."""
    return [Fault(path, before, after, tests) for before, after in faults.items()]
