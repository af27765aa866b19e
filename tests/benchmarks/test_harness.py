"""The arithmetic of the harness, with a clock that only callables move; nothing here depends on how
fast anything is.
"""

import json
import math

import numpy as np
import pytest

from benchmarks.harness import Contender, Timed, measure, once
from benchmarks.rows import AccuracyError, Amount, Check, compare, spread

EXACT = Check("difference", lambda ours, theirs: abs(ours - theirs), 1e-9)


class FakeWork:
    """Contenders that cost what they say, and a clock that knows; `calls` is the order in which
    they ran.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def clock(self) -> float:
        return self.now

    def contender(self, name, seconds, value=1.0):
        def call():
            self.now += seconds
            self.calls.append(name)
            return value

        return call


def timed(value=1.0, **seconds):
    return {
        name: Timed(np.array(times), 2 * np.array(times), value) for name, times in seconds.items()
    }


def test_seconds_are_per_call_and_per_unit():
    work = FakeWork()
    contenders = {
        "one": work.contender("one", 0.5, "a"),
        "many": Contender(work.contender("many", 2.0, "b"), units=4),
    }
    result = measure(
        contenders, repetitions=3, block=0.0, clock=work.clock, processor_clock=lambda: 3 * work.now
    )
    np.testing.assert_allclose(result["one"].seconds, [0.5] * 3)
    np.testing.assert_allclose(result["many"].seconds, [0.5] * 3)
    np.testing.assert_allclose(result["many"].processor_seconds, [1.5] * 3)
    assert (result["one"].value, result["many"].value) == ("a", "b")


def test_short_calls_are_repeated_until_the_block_is_long_enough():
    work = FakeWork()
    measure(
        {"short": work.contender("short", 0.003), "long": work.contender("long", 1.0)},
        repetitions=1,
        block=0.02,
        clock=work.clock,
    )
    untimed = 2  # warm-up and calibration
    assert work.calls.count("short") == untimed + 7
    assert work.calls.count("long") == untimed + 1


def test_a_clock_that_stands_still_does_no_harm():
    assert np.all(
        measure({"free": lambda: 0}, repetitions=2, clock=lambda: 0.0)["free"].seconds == 0
    )


def test_every_repetition_runs_every_contender_once_in_changing_order():
    work = FakeWork()
    names = ["a", "b", "c"]
    measure({name: work.contender(name, 1.0) for name in names}, repetitions=8, clock=work.clock)
    rounds = [tuple(work.calls[start : start + 3]) for start in range(6, len(work.calls), 3)]
    assert len(rounds) == 8
    assert all(sorted(order) == names for order in rounds)
    assert len(set(rounds)) > 1


def test_the_ratio_is_taken_within_repetitions():
    # The machine is ten times slower in the second one: every ratio is 4, where the ratio of
    # medians would be 3.3.
    row = compare(
        "row",
        timed(ours=[1, 10, 1.5], peer=[4, 40, 6]),
        ours="ours",
        against=["peer"],
        check=EXACT,
        at_least=4,
    )
    assert row.ratio == (4, 4, 4)
    assert (row.direction, row.verdict) == ("at least", "met")


def test_the_fastest_peer_counts():
    times = timed(ours=[1.0, 1.0], slow=[9.0, 9.0], fast=[3.0, 3.0])
    row = compare("row", times, ours="ours", against=["slow", "fast"], check=EXACT, at_least=4)
    assert (row.peer, row.ratio.median, row.verdict) == ("fast", 3, "missed")
    assert row.processor_ratio == 3


def test_a_cost_is_ours_over_the_baseline():
    times = timed(ours=[1.2, 1.2], base=[1.0, 1.0])
    row = compare("row", times, ours="ours", against=["base"], check=EXACT, at_most=1.1)
    assert row.ratio.median == pytest.approx(1.2)
    assert (row.direction, row.verdict) == ("at most", "missed")
    untargeted = compare("row", times, ours="ours", against=["base"], check=EXACT, is_cost=True)
    assert (untargeted.direction, untargeted.verdict) == ("at most", "")


@pytest.mark.parametrize("value", [1.1, math.nan, math.inf])
def test_a_wrong_answer_is_an_error_and_not_a_number(value):
    times = timed(ours=[1.0], peer=[2.0]) | {"ours": Timed(np.array([1.0]), np.array([1.0]), value)}
    with pytest.raises(AccuracyError, match="BAR: difference: .* where at most 1e-09"):
        compare("BAR", times, ours="ours", against=["peer"], check=EXACT)


def test_spread_is_median_and_quartiles():
    assert spread(np.array([5.0, 1.0, 3.0, 2.0, 4.0])) == (3.0, 2.0, 4.0)


def test_a_row_goes_into_json_with_its_verdict():
    row = compare(
        "row",
        timed(ours=[1.0], peer=[2.0]),
        ours="ours",
        against=["peer"],
        check=EXACT,
        at_least=1,
        note="n",
    )
    entry = json.loads(json.dumps(row.to_json()))
    assert entry["verdict"] == "met"
    assert entry["ratio"] == {"median": 2, "lower": 2, "upper": 2}
    assert entry["note"] == "n"


def test_without_a_block_every_call_is_timed_and_the_first_one_too():
    work = FakeWork()
    result = measure({"fit": work.contender("fit", 3.0)}, repetitions=2, block=0, clock=work.clock)
    np.testing.assert_allclose(result["fit"].seconds, [3.0, 3.0])
    assert len(work.calls) == 2


def test_what_ran_once_goes_into_a_ratio_with_every_repetition():
    work = FakeWork()
    single = once(work.contender("long", 8.0), clock=work.clock, processor_clock=work.clock)
    times = timed(ours=[1.0, 2.0, 4.0]) | {"peer": single}
    assert compare("row", times, ours="ours", against=["peer"], check=EXACT).ratio.median == 4


def test_a_contest_that_is_lost_is_a_row_that_says_so():
    contest = EXACT._replace(is_contest=True)
    times = timed(ours=[1.0], peer=[2.0]) | {"ours": Timed(np.array([1.0]), np.array([1.0]), 1.1)}
    assert (
        compare("row", times, ours="ours", against=["peer"], check=contest, at_least=1).verdict
        == "less accurate"
    )
    times["ours"] = times["ours"]._replace(value=math.nan)
    with pytest.raises(AccuracyError):
        compare("row", times, ours="ours", against=["peer"], check=contest)


def test_an_amount_goes_into_json_with_its_verdict():
    amount = Amount("first call", "s", spread(np.array([1.0])), 1.5, {"processor time": 2.0})
    assert json.loads(json.dumps(amount.to_json()))["verdict"] == "met"
    assert Amount("first call", "s", spread(np.array([2.0])), 1.5).verdict == "missed"
