"""Callbacks: what they get, how they stop a run, and that a killed run stops where a whole one
does.
"""

import json
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nce_jax import training
from tests.training.problems import assert_trees_equal

KEY = jax.random.key(4)
LOSSES = [5.0, 4.0, 3.0, 3.5, 2.9, 3.2, 3.1, 3.3, 3.4, 1.0]
"""Of the records of five steps: with a patience of 3, that of step 40 is the last."""


def step(state, batch, key):
    """Loss by table, and a state that depends on every batch."""
    loss = jnp.asarray(LOSSES)[state["step"] // 5]
    total = 0.9 * state["total"] + batch.x_data.sum()
    return {"total": total, "step": state["step"] + 1}, {"loss": loss}


def fit(num_steps=50, folder=None, **options):
    state = {"total": jnp.float32(0), "step": jnp.int32(0)}
    options = {"checkpoint_every": 10, "log_every": 5, "batch_size": 7, "progress": False} | options
    return training.fit(
        step,
        state,
        jnp.arange(30.0),
        KEY,
        num_steps=num_steps,
        folder=folder,
        resume=folder is not None,
        **options,
    )


def stop_at(number):
    return lambda step, record, state: step == number


def test_callbacks_get_every_record_with_its_state_and_its_evaluation():
    calls = []

    def log(step, record, state):
        calls.append((step, int(state["step"]), record))

    result = fit(
        22, evaluate=lambda state: {"loss": 2 * state["step"]}, evaluate_every=10, callbacks=[log]
    )
    assert [call[:2] for call in calls] == [(n, n) for n in (5, 10, 15, 20, 22)]
    records = [call[2] for call in calls]
    np.testing.assert_array_equal([r["loss"] for r in records], result.history["loss"])
    evaluated = {r["step"]: r["evaluate/loss"] for r in records if "evaluate/loss" in r}
    assert evaluated == {10: 20.0, 20: 40.0, 22: 44.0}
    assert [records[1]["loss"], records[1]["step"]] == [4.0, 10]


def test_evaluate_may_see_the_record():
    def evaluate(state, record):
        return {"ratio": record["loss"] / 2, "at": record["step"]}

    evaluations = fit(20, evaluate=evaluate, evaluate_every=10).evaluations
    assert evaluations["at"].tolist() == evaluations["step"].tolist() == [10, 20]
    assert evaluations["ratio"].tolist() == [2.0, 1.75]
    # A second parameter with a default is one of the caller's own.
    evaluations = fit(20, evaluate=lambda state, scale=3.0: {"scale": scale}).evaluations
    assert evaluations["scale"].tolist() == [3.0]


def test_a_run_that_is_stopped_ends_there_and_goes_on_without_the_callback(tmp_path):
    options = {"evaluate": lambda state: {"total": state["total"]}, "evaluate_every": 20}
    stopped = fit(50, tmp_path, callbacks=[stop_at(15)], **options)
    assert int(stopped.state["step"]) == 15
    assert stopped.history["step"].tolist() == [5, 10, 15]
    assert stopped.evaluations["step"].tolist() == [15]  # as after a last step
    assert_trees_equal(stopped.state, fit(15).state)
    whole = fit(50, tmp_path, **options)
    assert_trees_equal(whole.state, fit(50).state)
    assert whole.history["step"].tolist() == list(range(5, 55, 5))


def test_one_callback_that_stops_is_enough_and_the_others_are_called():
    seen = []
    callbacks = [stop_at(10), lambda step, record, state: seen.append(step)]
    assert int(fit(callbacks=callbacks).state["step"]) == 10
    assert seen == [5, 10]
    assert int(fit(callbacks=[lambda *_: np.bool_(True)]).state["step"]) == 5
    assert int(fit(callbacks=[lambda *_: jnp.array(True)]).state["step"]) == 5


def test_an_error_of_a_callback_ends_the_run_and_leaves_it_in_order(tmp_path):
    """As the one that Optuna prunes a trial by."""

    def prune(step, record, state):
        if step == 25:
            raise KeyError("pruned")

    with pytest.raises(KeyError, match="pruned"):
        fit(50, tmp_path, callbacks=[prune])
    assert_trees_equal(fit(50, tmp_path).state, fit(50).state)


@pytest.mark.parametrize(
    ("options", "last", "best"),
    [
        ({"patience": 3}, 40, (2.9, 25)),
        ({"patience": 2}, 35, (2.9, 25)),
        ({"patience": 1}, 20, (3.0, 15)),
        ({"patience": 9}, 50, (1.0, 50)),
        ({"patience": 3, "min_delta": 0.5}, 30, (3.0, 15)),
        ({"patience": 2, "mode": "max"}, 15, (5.0, 5)),
    ],
)
def test_early_stopping_stops_where_the_table_says(options, last, best):
    stopping = training.early_stopping("loss", **options)
    assert int(fit(callbacks=[stopping]).state["step"]) == last
    assert (round(stopping.best, 6), stopping.best_step) == best
    assert int(fit(callbacks=[stopping]).state["step"]) == last  # a second run begins anew


@pytest.mark.parametrize(
    ("killed_at", "metric"),
    [(5, "loss"), (25, "loss"), (40, "loss"), (10, "evaluate/loss"), (35, "evaluate/loss")],
)
def test_a_killed_run_stops_where_an_uninterrupted_one_does(tmp_path, killed_at, metric):
    def evaluate(state, record):
        return {"loss": record["loss"]}

    def kill(step, record, state):
        if step == killed_at:
            raise KeyboardInterrupt

    def run(folder, *others):
        stopping = training.early_stopping(metric, patience=3)
        options = {"evaluate": evaluate, "evaluate_every": 5}
        return fit(50, folder, callbacks=[stopping, *others], **options), stopping

    whole, expected = run(None)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, kill)
    resumed, stopping = run(tmp_path)
    assert int(resumed.state["step"]) == int(whole.state["step"]) == 40
    assert_trees_equal(resumed.state, whole.state)
    assert vars(stopping) == vars(expected)
    # Complete: taken up again, it takes no further step.
    before = (tmp_path / "metrics.jsonl").read_bytes()
    again, stopping = run(tmp_path)
    assert_trees_equal(again.state, whole.state)
    assert vars(stopping) == vars(expected)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_more_patience_goes_on_with_a_stopped_run(tmp_path):
    fit(50, tmp_path, callbacks=[training.early_stopping("loss", patience=1)])
    more = training.early_stopping("loss", patience=3)
    assert int(fit(50, tmp_path, callbacks=[more]).state["step"]) == 40


def test_nan_is_no_improvement_and_does_not_end_the_memory(tmp_path):
    stopping = training.early_stopping("evaluate/x", patience=3)
    values = [math.nan, 3.0, math.nan, math.inf, 2.0, math.nan, 2.5]
    records = [{"step": n, "evaluate/x": value} for n, value in enumerate(values, 1)]
    assert not any(stopping(r["step"], r, None) for r in records)
    assert (stopping.best, stopping.best_step, stopping.num_waited) == (2.0, 5, 2)
    assert stopping(8, {"step": 8, "evaluate/x": 2.0}, None)
    # A file has null in the place of NaN.
    found = []

    def evaluate(state):
        return {"x": math.nan if state["step"] <= 10 else 1.0}

    class Memory:
        def __call__(self, step, record, state):
            return None

        def resume(self, records):
            found.extend(records)

    fit(20, tmp_path, evaluate=evaluate, evaluate_every=10)
    assert json.loads((tmp_path / "evaluations.jsonl").read_text().splitlines()[0])["x"] is None
    fit(30, tmp_path, evaluate=evaluate, evaluate_every=10, callbacks=[Memory()])
    values = [record.get("evaluate/x", 0.0) for record in found]
    np.testing.assert_array_equal(values, [0.0, math.nan, 0.0, 1.0])


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("callbacks", "error", "message"),
    [
        (stop_at(1), TypeError, r"expected a list of functions, got .*\[callback\]"),
        (3, TypeError, "callbacks: expected a list of functions, got int 3"),
        ([3], TypeError, r"callbacks\[0\]: expected a function of step, record and state, got"),
        ([lambda state: None], TypeError, r"callbacks\[0\]: .* with parameters \(state\)"),
        ([lambda *_: 1.0], TypeError, r"callbacks\[0\]: expected it to return True to stop"),
        (
            [training.early_stopping("los", patience=1)],
            ValueError,
            "metric: expected one of step, loss, .*, got 'los'",
        ),
    ],
)
def test_wrong_callbacks_are_named(callbacks, error, message):
    with pytest.raises(error, match=message):
        fit(callbacks=callbacks)


def test_a_metric_of_no_evaluation_is_named_at_the_first_one():
    stopping = training.early_stopping("evaluate/los", patience=1)
    options = {"evaluate": lambda state: {"loss": 1.0}, "evaluate_every": 10}
    message = re.escape("metric: expected one of step, loss, examples_per_second, evaluate/loss,")
    with pytest.raises(ValueError, match=message):
        fit(callbacks=[stopping], **options)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"patience": 0}, ValueError, "patience: expected at least 1, got 0"),
        ({"patience": 1.5}, TypeError, "patience: expected an integer"),
        ({"patience": 1, "min_delta": -1.0}, ValueError, "min_delta: expected a number >= 0"),
        ({"patience": 1, "min_delta": math.nan}, ValueError, "min_delta: expected a number >= 0"),
        ({"patience": 1, "mode": "least"}, ValueError, "mode: expected 'min' or 'max', got"),
    ],
)
def test_wrong_options_of_early_stopping_are_named(options, error, message):
    with pytest.raises(error, match=message):
        training.early_stopping("loss", **options)
    with pytest.raises(TypeError, match="metric: expected a name such as 'loss', got float"):
        training.early_stopping(1.0, patience=1)


@pytest.mark.parametrize("missing", ["evaluate", "evaluate_every"])
def test_early_stopping_on_an_evaluation_needs_one(missing):
    options = {"evaluate": lambda state: {"x": 0.0}, "evaluate_every": 10} | {missing: None}
    stopping = training.early_stopping("evaluate/x", patience=1)
    with pytest.raises(ValueError, match=f"{missing}: expected one for early stopping"):
        fit(callbacks=[stopping], **options)


def test_an_infinite_evaluation_is_no_improvement():
    """The file of a run has no infinities, and a resumed run stops where this one does."""
    stopping = training.early_stopping("evaluate/x", patience=2)
    values = [np.inf, np.inf, 3.0]
    told = [stopping(n, {"step": n, "evaluate/x": x}, None) for n, x in enumerate(values)]
    assert told == [False, True, False]
