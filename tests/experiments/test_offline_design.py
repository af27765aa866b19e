"""The offline design experiment: tasks, candidates and scores, and (slow) the smoke preset."""

import dataclasses

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest

from experiments.common import results
from experiments.common.datasets import design_bench
from experiments.common.endings import CommandError
from experiments.offline_design import (
    candidates,
    generator,
    methods,
    plot,
    run,
    selection,
    statistics,
    table,
    tasks,
)
from experiments.offline_design.config import PRESETS
from experiments.offline_design.scores import judge
from experiments.offline_design.training_lanes import encode

SMOKE = PRESETS["smoke"]


def test_the_extremes_of_a_landscape_are_those_of_all_sequences():
    oracle = tasks.make_landscape(np.random.default_rng(0), 6)
    values = oracle(tasks.all_sequences(6))
    np.testing.assert_allclose([values.min(), values.max()], [0, 1], atol=1e-6)


def test_the_given_half_is_sorted_and_does_not_exceed_the_median():
    x, y = tasks.lower_half(np.arange(5)[:, None], np.array([3.0, 1.0, 5.0, 2.0, 4.0]))
    np.testing.assert_array_equal(x[:, 0], [1, 3, 0])
    np.testing.assert_array_equal(y, [1, 2, 3])


def test_a_target_without_known_candidates_is_not_chosen():
    assert run.best_row(np.array([[0.1, 0.2], [0.9, np.nan], [0.3, 0.2]])) == 2


def test_chains_begin_at_no_design_that_is_held_out():
    np.testing.assert_array_equal(generator._last(3, 5), [2, 1, 0, 2, 1])
    np.testing.assert_array_equal(generator._last(9, 3), [8, 7, 6])


def test_sequences_are_found_at_their_position():
    space = tasks.all_sequences(3)
    np.testing.assert_array_equal(tasks.index_of(space), np.arange(64))


def test_the_reverse_complement_is_the_other_strand_and_reverses_one_hot_vectors():
    x = np.array([[0, 1, 1, 3]])  # ACCT
    other = tasks.reverse_complement(x)
    np.testing.assert_array_equal(other, [[0, 2, 2, 3]])  # AGGT
    np.testing.assert_array_equal(
        encode(other), encode(x).reshape(1, 4, 4)[:, ::-1, ::-1].reshape(1, -1)
    )


def write_task(folder, x, y):
    folder.mkdir(parents=True)
    for axis, array in (("x", x), ("y", y)):
        np.save(folder / f"{folder.name.split('-')[0]}-{axis}-0.npy", array)


@pytest.fixture
def shards(tmp_path, monkeypatch):
    monkeypatch.setenv("NCE_JAX_DATA", str(tmp_path))
    return tmp_path / "design-bench"


@pytest.mark.parametrize("has_strands", [True, False])
def test_another_table_of_design_bench_is_a_task(shards, has_strands):
    """All pairs of letters, scores from 3 to 7, and one row twice."""
    x = tasks.all_sequences(2)[::-1].astype(np.int32)
    scores = x.astype(np.float32) @ [[0.25], [1.0]] + 3
    if has_strands:
        other = tasks.reverse_complement(x).astype(np.float32) @ [[0.25], [1.0]] + 3
        scores = np.minimum(scores, other)
    write_task(
        shards / "tiny-one", np.concatenate([x, x[:1]]), np.concatenate([scores, scores[:1]])
    )
    config = dataclasses.replace(SMOKE, task="tiny-one")
    first, second = tasks.load(config)
    assert (first.name, second.name) == ("tiny-one", "landscape")
    np.testing.assert_array_equal(first.space, tasks.all_sequences(2))
    expected = (scores[:, 0] - scores.min()) / np.ptp(scores)
    np.testing.assert_allclose(first.oracle(x), expected, rtol=1e-6)
    assert first.y.max() <= np.median(expected) + 1e-6
    np.testing.assert_array_equal(first.oracle(first.x), first.y)
    assert first.has_strands == has_strands


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (
            tasks.all_sequences(2)[1:],
            np.arange(15.0),
            "each of the 16 sequences in tiny,.*none of 1",
        ),
        (tasks.all_sequences(2) + 1, np.arange(16.0), "letters 0 to 3 in tiny, got .* from 1 to 4"),
        (tasks.all_sequences(2) / 2, np.arange(16.0), "letters 0 to 3 in tiny, got float64"),
        (np.zeros((16, 13), int), np.arange(16.0), "at most 12 letters in tiny, got 13"),
        (tasks.all_sequences(2), np.ones(16), "scores that differ in tiny, got 1.0 alone"),
    ],
)
def test_a_task_without_an_oracle_is_refused(shards, x, y, message):
    write_task(shards / "tiny", x, y[:, None])
    with pytest.raises(CommandError, match=f"task: expected .*{message}"):
        tasks.load(dataclasses.replace(SMOKE, task="tiny"))


def test_a_task_that_is_not_there_is_named(shards):
    with pytest.raises(design_bench.DataError, match="no such folder"):
        tasks.load(dataclasses.replace(SMOKE, task="nowhere"))


def test_ranges_of_the_top_and_of_the_stages():
    assert methods.top(task(100), 0.1) == (90, 0, 100)
    assert methods.top(task(100), 0.1, end=50) == (45, 0, 50)
    stages = methods.stages(SMOKE, task(100))
    assert [(stage.numerator, stage.denominator) for stage in stages] == [
        (60, 0),
        (85, 60),
        (97, 85),
    ]


def task(count):
    return tasks.Task("none", np.zeros((count, 2), int), np.zeros(count), len, None, False)


def test_the_best_candidates_are_distinct():
    x = np.array([[0, 1], [0, 1], [2, 2], [3, 0]])
    chosen = candidates.best_distinct(x, np.array([5.0, 5.0, 1.0, 7.0]), 3)
    np.testing.assert_array_equal(chosen, [[3, 0], [0, 1], [2, 2]])


def test_scores_of_candidates():
    score = judge(np.array([[0], [0], [1], [2]]), np.array([0.94, 0.96, 0.92, 0.2]))
    assert score == pytest.approx((0.93, 0.75, 0.96, 3))


@pytest.mark.parametrize("way", ["chains", "ascent"])
def test_candidates_of_an_additive_score_are_its_maximum(way):
    """Each site has a best letter, two units above the next: chains at temperature 0 find all."""
    best = np.array([2, 0, 3, 1])
    weights = 2 * encode(best[None])[0]

    def score_fn(vectors):
        return vectors @ weights

    start = jnp.asarray(np.random.default_rng(0).integers(0, 4, (5, 4)))
    if way == "chains":
        end = candidates.gibbs_chains(
            score_fn, start, jax.random.key(0), num_sweeps=20, spread=0.01
        )
    else:
        end = candidates.soft_ascent(score_fn, start, num_steps=100)
    np.testing.assert_array_equal(end, np.tile(best, (5, 1)))


@pytest.fixture(scope="module")
def result(smoke_result):
    with jax.numpy_rank_promotion("allow"):
        return smoke_result("offline_design", SMOKE, run.experiment)


@pytest.mark.costly
class TestSmokePreset:
    def test_shapes_and_ranges(self, result):
        for name in ("table", "landscape"):
            for measure in statistics.MEASURES:
                values = result.arrays[f"{name}_{measure}"]
                assert values.shape == (len(result.arrays["methods"]), SMOKE.num_seeds)
                bound = SMOKE.num_candidates if measure == "distinct" else 1 + 1e-6
                assert (values >= 0).all()
                assert (values <= bound).all()

    def test_the_given_designs_are_the_best_of_the_lower_half(self, result):
        given = list(result.arrays["methods"]).index("given")
        assert (result.arrays["table_best"][given] <= 0.5).all()
        assert result.arrays["table_distinct"][given].tolist() == [SMOKE.num_candidates] * 2

    def test_plots_and_tables_from_stored_results(self, result, tmp_path):
        results.save(tmp_path, result)
        stored = results.load(tmp_path, "nothing")
        assert statistics.headline(stored.arrays) == pytest.approx(stored.headline)
        assert set(plot.draw(stored)) == {"offline_design"}
        plt.close("all")
        lines = table.table(stored.arrays, "table").count("\n")
        assert lines == len(stored.arrays["methods"]) + 1


def test_a_setting_that_has_diverged_is_not_chosen():
    medians = np.array([[np.nan, 0.9], [0.2, 0.3], [0.4, 0.1], [np.nan, np.nan]])
    assert selection._best("regression", medians) == 1
    with pytest.raises(FloatingPointError, match="regression: expected a setting with finite"):
        selection._best("regression", medians[[0, 3]])
    # Sorted, scores of NaN have a best, too.
    trainers = methods.Trainers(*[lambda *_: jnp.full(100, jnp.nan)] * 5)
    trainers = trainers._replace(ratio={"solved": trainers.regression})
    with pytest.raises(FloatingPointError, match="regression"):
        selection.choose(SMOKE, task(100), trainers, jax.random.key(0))
