"""The list of faults is up to date: each fits the source, and points to tests that exist."""

import ast
import pathlib

import pytest

from tests.mutation.faults import FAULTS, Fault

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.path}:{fault.before[:40]}")
def test_a_fault_fits_its_file_and_leaves_it_valid(fault: Fault):
    source = (ROOT / fault.path).read_text()
    assert source.count(fault.before) == 1
    changed = source.replace(fault.before, fault.after)
    assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(source))
    for tests in fault.tests:
        path, _, name = tests.partition("::")
        assert (ROOT / path).exists()
        assert not name or f"def {name}(" in (ROOT / path).read_text()


def test_there_are_enough_faults_of_every_room():
    rooms = {fault.path.split("/")[1] for fault in FAULTS}
    assert len(FAULTS) >= 90
    assert len(rooms) >= 10
