"""anomaly: protocol, scores with known values, and the smoke preset."""

import dataclasses

import jax
import numpy as np
import pytest

from experiments.anomaly import baselines, cells, detectors, images, scores, statistics, tables
from experiments.anomaly.config import PRESETS, ImageSettings, TableSettings
from experiments.anomaly.plot import draw
from experiments.anomaly.run import experiment
from experiments.common import pieces
from experiments.common.datasets.adbench import Table
from experiments.common.results import Stored

SMOKE = PRESETS["smoke"]


def small_table(rng, count=200, dim=3):
    """Normal rows from N(0, I), a tenth of anomalies 6 away, and a column without information."""
    labels = (np.arange(count) < count // 10).astype(np.int32)
    x = rng.normal(size=(count, dim)) + 6 * labels[:, None]
    return Table(np.concatenate([x, np.full((count, 1), 7.0)], axis=1), labels, False)


def test_a_table_is_split_as_stated():
    table = small_table(np.random.default_rng(0))
    part = tables.split(TableSettings(), table, seed=0)
    assert part.train.shape == (90, 3)
    assert part.test.shape == (110, 3)
    assert part.labels.sum() == 20
    np.testing.assert_allclose(part.train.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(part.train.std(axis=0), 1, atol=1e-6)
    assert part.test[part.labels == 1].mean() > 4
    other = tables.split(TableSettings(), table, seed=1)
    assert not np.array_equal(part.train, other.train)
    few = tables.split(dataclasses.replace(TableSettings(), max_train=10, max_test=20), table, 0)
    assert len(few.train) == 10
    assert len(few.test) == len(few.labels) == 20


def test_the_noise_is_as_wide_as_stated():
    x = np.random.default_rng(0).normal(size=(2000, 2)).astype(np.float32)
    fitted = tables.widened(TableSettings(), x)
    np.testing.assert_allclose(
        np.sqrt(fitted.variance()), 1.25 * np.sqrt(1.01) * x.std(axis=0), rtol=1e-4
    )


def test_every_detector_finds_anomalies_that_are_far():
    part = tables.split(TableSettings(), small_table(np.random.default_rng(0)), seed=0)
    for name, detect in detectors.DETECTORS.items():
        assert detectors.area(detect(part.train, part.test, 0), part.labels) > 0.99, name


def test_ecod_is_the_larger_tail():
    train, test = np.array([[0.0], [1.0], [2.0], [10.0]]), np.array([[-1.0], [11.0]])
    # No training row lies beyond either: (0 + 1) / (4 + 1).
    np.testing.assert_allclose(detectors.ecod(train, test), np.log(5))
    # The lowest row counts itself: (1 + 1) / (4 + 1).
    np.testing.assert_allclose(detectors.ecod(train, train[:1]), np.log(5 / 2))


@pytest.mark.slow
def test_learned_ratios_find_anomalies_that_are_far():
    settings = cells.part(SMOKE, TableSettings)
    with jax.numpy_rank_promotion("allow"):
        areas = tables.table_areas(settings, small_table(np.random.default_rng(0)))
    assert areas.shape == (1, len(tables.METHODS))
    # The ratio alone is flat beyond the training rows, which is why the noise's density is added.
    others = [index for index, name in enumerate(tables.METHODS) if name != "ratio alone"]
    assert areas[:, others].min() > 0.99


def test_a_class_is_held_out_whole():
    rng = np.random.default_rng(0)
    data = images.Images(rng.random((100, 4), dtype=np.float32), np.arange(100) % 10)
    part = images.split(ImageSettings(), data, digit=3, seed=0)
    assert len(part.train) == 72
    assert len(part.test) == 28
    assert part.labels.sum() == 10
    held_out = data.x[data.classes == 3]
    assert {row.tobytes() for row in part.test[part.labels == 1]} == {
        row.tobytes() for row in held_out
    }
    assert {row.tobytes() for row in part.train}.isdisjoint(row.tobytes() for row in part.test)


def test_the_nearest_neighbor_is_that_of_all_pairs():
    rng = np.random.default_rng(0)
    train, test = rng.normal(size=(50, 3)), rng.normal(size=(1100, 3))
    expected = np.min(np.sum((test[:, None] - train) ** 2, axis=2), axis=1)
    np.testing.assert_allclose(baselines.nearest(train, test), expected, atol=1e-10)


def test_the_residual_is_what_the_axes_leave():
    x = np.random.default_rng(0).normal(size=(200, 5))
    axes = images.principal_axes(x)
    np.testing.assert_allclose(baselines.residual(axes, x, 5), 0, atol=1e-10)
    kept = axes.coordinates(x, 2) @ axes.directions[:, :2].T + axes.center
    np.testing.assert_allclose(baselines.residual(axes, x, 2), np.sum((x - kept) ** 2, axis=1))


def test_terms_of_the_score_are_in_nats():
    x, x_hat = np.zeros((1, 2)), np.array([[3.0, 4.0]])
    np.testing.assert_allclose(scores.reconstruction_score(x, x_hat, 0.5), 50.0)
    np.testing.assert_allclose(scores.prior_score(np.array([1.5]), np.array([[1.0, 2.0]])), 1.0)


@pytest.mark.parametrize(
    ("rule", "expected"), [("ELBO", 9.0), ("sum", 7.5), ("standardized sum", 4.0), ("larger", 2.5)]
)
def test_rules_have_known_values(rule, expected):
    normal = np.array([-2.0, 2.0]), np.array([[-1.0, 3.0]])  # means 0 and 1, s.d. 2 and 2
    actual = scores.combined(rule, np.array([3.0]), np.array([[6.0]]), normal)
    np.testing.assert_allclose(actual, [[expected]])


def test_a_tail_rises_also_beyond_the_normal_scores():
    normal = np.random.default_rng(0).exponential(size=5000)
    levels = np.array([0.5, 1.0, 3.0, 5.0, 10.0, 20.0])
    tail = scores._tail(levels, normal)
    np.testing.assert_allclose(tail, levels, rtol=0.15)
    two = scores.combined("smaller tail", levels, levels[None] * 0, (normal, normal[None]))
    np.testing.assert_allclose(two, tail[None])


def test_an_unknown_rule_is_refused():
    one = np.zeros(1)
    with pytest.raises(ValueError, match="rule: expected one of 'ELBO', .*, got 'best'"):
        scores.combined("best", one, one, (one, one))


def test_ranks_share_ties_and_a_rule_is_chosen_by_its_mean():
    areas = np.array([[[0.9, 0.8, 0.9, 0.1]]])
    np.testing.assert_allclose(statistics.ranks(areas), [[1.5, 3.0, 1.5, 4.0]])
    by_rule = np.zeros((2, len(scores.RULES), 3))
    by_rule[:, 3] = 1
    assert statistics.best_rule(by_rule) == scores.RULES[3]


@pytest.mark.slow
def test_the_smoke_preset_runs_and_is_drawn(smoke_result, monkeypatch, tmp_path):
    monkeypatch.setattr(pieces, "RUNS", tmp_path)
    with jax.numpy_rank_promotion("allow"):
        result = smoke_result("anomaly", SMOKE, experiment)
    assert all(0 < value < 1 for value in result.headline.values())
    assert result.arrays["both"].shape == (1, 1, 7)
    stored = Stored({k: np.asarray(v) for k, v in result.arrays.items()}, result.headline, {})
    assert set(draw(stored)) == {"anomaly_digits"}


def test_an_interrupted_run_goes_on_from_its_cells(monkeypatch, tmp_path):
    monkeypatch.setattr(pieces, "RUNS", tmp_path)
    counted = []

    def run(cell):
        counted.append(cell)
        return {"value": np.ones(1)}

    for names in (["a"], ["a", "b"]):
        todo = {name: lambda name=name: run(name) for name in names}
        done, folder = cells.compute("tables", TableSettings(), ("tables",), todo)
    assert counted == ["a", "b"]
    assert set(done) == {"a", "b"}
    pieces.remove([folder])
