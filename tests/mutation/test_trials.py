"""Trials on a repository of one module and one test: what is noticed, survives, and is kept."""

import pytest

from tests.mutation.__main__ import survivors, table
from tests.mutation.fault import Fault
from tests.mutation.trials import COPIED, FAILED, Result, Trials

TESTS = ("tests/test_sums.py",)
NOTICED = Fault("nce_jax/sums.py", "a + b", "a - b", TESTS)
SURVIVES = Fault("nce_jax/sums.py", "a + b", "b + a", TESTS)


@pytest.fixture
def trials(tmp_path):
    root = tmp_path / "snapshot"
    for name in COPIED:
        (root / name).touch() if "." in name else (root / name).mkdir(parents=True)
    (root / "nce_jax/__init__.py").touch()
    (root / "nce_jax/sums.py").write_text("def add(a, b):\n    return a + b\n")
    (root / "tests/test_sums.py").write_text(
        "from nce_jax.sums import add\n\n\ndef test_add():\n    assert add(1, 2) == 3\n"
    )
    return Trials(root, tmp_path / "kept")


@pytest.mark.costly
def test_a_fault_is_noticed_by_the_test_of_the_copy(trials):
    assert trials.result(TESTS, NOTICED).noticed_by == "tests/test_sums.py::test_add"
    assert (trials.snapshot / "nce_jax/sums.py").read_text().count("a + b") == 1


def test_a_result_is_kept(trials, monkeypatch):
    """A second run reads it; a trial that raises, or ends in a stopped run, leaves nothing."""
    answers = iter(["a test", ""])
    monkeypatch.setattr("tests.mutation.trials._first_failure", lambda *_: next(answers))
    for _ in range(2):
        assert trials.result(TESTS, NOTICED).noticed_by == "a test"
        assert trials.result(TESTS, SURVIVES).noticed_by == ""
    assert len(list(trials.kept.iterdir())) == 2
    monkeypatch.setattr("tests.mutation.trials._first_failure", _raise)
    with pytest.raises(RuntimeError, match="tests that cannot run"):
        trials.result(TESTS)
    monkeypatch.setattr("tests.mutation.trials._first_failure", lambda *_: "a test")
    trials.is_stopped.set()
    with pytest.raises(RuntimeError, match="stopped"):
        trials.result(TESTS)
    assert len(list(trials.kept.iterdir())) == 2


def _raise(*_):
    raise RuntimeError("tests that cannot run")


def test_a_result_is_not_kept_for_other_sources_tests_or_settings(trials, monkeypatch):
    digests = [trials._digest(TESTS, fault) for fault in (NOTICED, SURVIVES, None)]
    digests.append(trials._digest((f"{TESTS[0]}::test_add",), None))
    for changed in ("nce_jax/sums.py", "tests/test_sums.py", "tests/oracles.py", "pyproject.toml"):
        with (trials.snapshot / changed).open("a") as file:
            file.write("# changed\n")
        digests.append(trials._digest(TESTS, NOTICED))
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true")
    digests.append(trials._digest(TESTS, NOTICED))
    assert len(set(digests)) == len(digests)
    (trials.snapshot / "tests/test_others.py").touch()
    assert trials._digest(TESTS, NOTICED) == digests[-1]


def test_the_first_failure_is_read_from_the_summary():
    summary = "..F\nFAILED tests/test_a.py::test_b[a b - c] - assert 1 == 2\n1 failed\n"
    assert FAILED.search(summary)[1].startswith("tests/test_a.py::test_b[a b")
    assert FAILED.search("ERROR tests/test_a.py\n")[1] == "tests/test_a.py"


def test_the_table_counts_by_room():
    results = {NOTICED: Result("a test", 30.0), SURVIVES: Result("", 60.0)}
    lines = [line.split() for line in table(results).splitlines()]
    assert lines[1:] == [["nce_jax/sums.py", "2", "1", "1.5"], ["all", "2", "1", "1.5"]]
    (text,) = survivors(results)
    assert "'a + b'" in text
    assert "'b + a'" in text
