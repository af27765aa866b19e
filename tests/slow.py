"""Which of a test's cases `make test` leaves to `make test-slow`."""

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def slow_but(fast: Collection[Any], cases: Iterable[Any]) -> list[Any]:
    """The cases of a test, of which all but a few are costly: each of them compiles programs."""
    cases = list(cases)
    assert all(case in cases for case in fast)
    return [
        case if case in fast else pytest.param(case, marks=pytest.mark.costly) for case in cases
    ]
