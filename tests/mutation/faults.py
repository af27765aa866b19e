"""The deliberate faults, by room: wrong numbers, silent acceptance, unnoticed damage."""

from tests.mutation.fault import Fault
from tests.mutation.numbers import NUMBERS
from tests.mutation.runs import RUNS

FAULTS: tuple[Fault, ...] = (*NUMBERS, *RUNS)
"""Every fault that the tests are tried on."""
