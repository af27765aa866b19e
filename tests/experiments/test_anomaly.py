"""anomaly: protocol, scores with known values, and the smoke preset."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from scipy import stats

from experiments.anomaly import (
    baselines,
    cells,
    contrasts,
    detectors,
    images,
    latent_model,
    scores,
    statistics,
    table,
    tables,
)
from experiments.anomaly.config import PRESETS, ImageSettings, LatentSettings, TableSettings
from experiments.anomaly.plot import draw
from experiments.anomaly.run import experiment, of_tables
from experiments.anomaly.scores import Rule
from experiments.common import pieces
from experiments.common.datasets.adbench import Table
from experiments.common.results import Stored

SMOKE = PRESETS["smoke"]
RESULTS = Path(statistics.__file__).parents[2] / "docs" / "results.md"


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


def test_ecod_is_algorithm_1_of_its_paper_with_the_tails_of_the_training_rows():
    """The largest of three sums over columns: all left, all right, each by its skewness.

    pyod takes the larger side column by column, and counts the scored rows among the known ones.
    """
    rng = np.random.default_rng(0)
    train, test = rng.gamma(2.0, size=(40, 3)) * [1, -1, 1], rng.normal(size=(7, 3))
    for row, found in zip(test, detectors.ecod(train, test), strict=True):
        left, right, skewed = 0.0, 0.0, 0.0
        for known, value in zip(train.T, row, strict=True):
            below, above = -np.log(
                [(np.sum(k <= v) + 1) / 41 for k, v in ((known, value), (-known, -value))]
            )
            left, right = left + below, right + above
            skewed += below if stats.skew(known) < 0 else above
        assert found == pytest.approx(max(left, right, skewed))


@pytest.mark.costly
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


def known_terms(reconstruction, prior, neighbor=None, log_norm=0.0):
    """Terms of one row of scores for every argument."""
    reconstruction, prior = np.atleast_1d(reconstruction), np.atleast_2d(prior)
    return {
        "reconstruction": reconstruction.astype(float),
        "neighbor": np.atleast_1d(reconstruction if neighbor is None else neighbor).astype(float),
        "log_norm": np.broadcast_to(log_norm, reconstruction.shape).astype(float),
        "prior": prior.astype(float),
        "drawn": 10.0 * prior,
        "joint": 20.0 * prior,
    }


NORMAL = known_terms([1.0, 5.0], [-1.0, 3.0], neighbor=[2.0, 6.0], log_norm=[0.0, 2.0])
"""Means 3, 1 and 4; standard deviations 2, 2 and 2. The norm's: 1 and 1."""


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Rule("reconstruction", "ELBO"), 11.0),
        (Rule("reconstruction", "ELBO of draws"), 60.0),
        (Rule("joint", "joint energy"), 120.0),
        (Rule("reconstruction", "sum"), 2.5 + 6),
        (Rule("reconstruction", "standardized sum"), 1 + 2.5),
        (Rule("reconstruction", "larger"), 2.5),
        # The norm is 4 deviations away, 8 nats; with its energy the normal ones have mean 1.5.
        (Rule("reconstruction", "larger", True), (6 + 8 - 1.5) / 2),
        (Rule("neighbor", "standardized sum"), 2.5 + 2.5),
        (Rule("neighbor", "sum", True), 4.5 + 6 + 8),
        # Shape 9 / 4 and rate 3 / 4 have mean 3 and variance 4.
        (Rule("reconstruction", "gamma"), 0.75 * 5 - 1.25 * np.log(5) + 6),
        (Rule("reconstruction", "log"), 2.25 * np.log(5) + 6),
    ],
    ids=lambda value: value.name if isinstance(value, Rule) else None,
)
def test_rules_have_known_values(rule, expected):
    test = known_terms(5.0, 6.0, neighbor=9.0, log_norm=5.0)
    np.testing.assert_allclose(scores.combined(rule, test, NORMAL), [[expected]])


def test_the_third_base_is_the_geometric_mean_of_the_others():
    terms = known_terms([2.0, 3.0], [0.0, 0.0], neighbor=[8.0, 27.0])
    np.testing.assert_allclose(scores.base_score("both", terms), [4.0, 9.0])


def test_a_gamma_score_is_minus_a_log_density():
    rng = np.random.default_rng(0)
    drawn = rng.gamma(4.0, 2.0, size=2000)
    normal = known_terms(drawn, 0 * drawn)
    levels = np.array([2.0, 8.0, 30.0])
    actual = scores.combined(
        Rule("reconstruction", "gamma"), known_terms(levels, 0 * levels), normal
    )
    shape, scale = drawn.mean() ** 2 / drawn.var(), drawn.var() / drawn.mean()
    expected = -stats.gamma.logpdf(levels, shape, scale=scale)
    np.testing.assert_allclose(np.diff(actual[0]), np.diff(expected))


def test_without_the_energy_the_rule_s_other_terms_are_left():
    test = known_terms([5.0, 7.0], [6.0, 2.0], neighbor=[9.0, 4.0], log_norm=[5.0, 1.0])
    plain = scores.without_energy(Rule("neighbor", "larger"), test, NORMAL)
    np.testing.assert_allclose(plain, [9.0, 4.0])
    whole = scores.without_energy(Rule("neighbor", "sum", True), test, NORMAL)
    np.testing.assert_allclose(whole, [4.5 + 8, 2.0])


def test_a_tail_rises_also_beyond_the_normal_scores():
    normal = np.random.default_rng(0).exponential(size=5000)
    levels = np.array([0.5, 1.0, 3.0, 5.0, 10.0, 20.0])
    tail = scores._tail(levels, normal)
    np.testing.assert_allclose(tail, levels, rtol=0.15)
    two = scores.combined(
        Rule("reconstruction", "smaller tail"),
        known_terms(levels, levels * 0),
        known_terms(normal, normal),
    )
    np.testing.assert_allclose(two, tail[None])


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="rule: expected one of RULES, got Rule.*'best'"):
        scores.combined(Rule("neighbor", "best"), NORMAL, NORMAL)


def test_ranks_share_ties_and_a_rule_is_chosen_by_its_mean():
    areas = np.array([[[0.9, 0.8, 0.9, 0.1]]])
    np.testing.assert_allclose(statistics.ranks(areas), [[1.5, 3.0, 1.5, 4.0]])
    by_rule = np.zeros((2, len(scores.RULES), 3))
    by_rule[:, 3] = 1
    # The last prior is not learned, and has no say.
    by_rule[:, 4, -1] = 9
    assert statistics.best_rule(by_rule) == 3
    assert statistics.best_setting(np.stack([by_rule * 0.5, by_rule, by_rule * 0])) == 1
    neighbor = statistics.best_rule(by_rule, ("neighbor",))
    assert scores.RULES[neighbor] == Rule("neighbor", "sum")


def test_a_cell_has_an_area_for_every_rule_and_prior():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 20)
    cell = {"labels": labels}
    for name, count in (("test", 40), ("calibration", 30)):
        for term in ("reconstruction", "neighbor", "log_norm"):
            cell[f"{term}_{name}"] = rng.random(count)
        for term, rows in (("prior", 3), ("drawn", 2), ("joint", 1)):
            cell[f"{term}_{name}"] = rng.random((rows, count))
    cell["reconstruction_test"] += labels
    areas = statistics.rule_areas([cell])
    assert areas.shape == (1, len(scores.RULES), 3)
    undefined = [rule.combination in ("ELBO of draws", "joint energy") for rule in scores.RULES]
    np.testing.assert_array_equal(np.isnan(areas[0, :, -1]), undefined)
    assert np.isfinite(areas[..., :-1]).all()
    place = scores.RULES.index(Rule("reconstruction", "larger"))
    found = statistics.latent_areas([cell], {"one": place})
    np.testing.assert_allclose(found["one_without"], 1)
    np.testing.assert_array_equal(found["one"], areas[:, place])
    assert found["energy"].shape == (1, 3)


def test_contrasts_are_paired_differences():
    areas = np.zeros((2, 3, 8))
    areas[..., 1] = areas[..., 4] = 0.1  # NCE
    areas[..., 2] = areas[..., 5] = 0.3  # N2CE
    areas[..., 3] = areas[..., 6] = 0.7  # K = 3
    areas[..., 4:7] += 0.01  # F solved
    areas[:, 1] += 5  # A seed's own level is common to all priors.
    found = list(contrasts.differences(areas).values())
    for values, expected in zip(found, (0.2, 0.4, 0.6, 0.01, 0.105, 0.3716667), strict=True):
        np.testing.assert_allclose(values, np.full((2, 3), expected), rtol=1e-6)


def test_every_difference_that_the_verdict_quotes_is_a_committed_number():
    """At most 0.004 of M, K and F by the rule, and what an energy adds, with its interval."""
    priors = np.array([prior.name for prior in latent_model.priors(LatentSettings())])
    empty = np.zeros((0, 0, 0))
    arrays = {"tables": [], "simple_digits": [], "simple_areas": empty, "digits": [1, 9]}
    arrays |= {"priors": [*priors, "neighbor"], "energy": np.zeros((2, 3, 8))}
    seeds = np.array([[0.1, 0.2, 0.3], [0.1, 0.2, 0.3]])
    for block in statistics.BLOCKS:
        arrays[block], arrays[f"{block}_without"] = np.zeros((2, 3, 8)), -seeds
    numbers = statistics.headline(arrays)
    path = Path(statistics.__file__).with_name("headline-cpu.json")
    committed = json.loads(path.read_text())
    quoted = {name for name in numbers if name.startswith("energy")}
    assert quoted == {name for name in committed if name.startswith("energy")}
    assert len(quoted) == 3 * len(contrasts.CONTRASTS) + 2 * len(statistics.BLOCKS)
    assert numbers["energy_adds_any"] == pytest.approx(0.2)
    half = stats.t.ppf(0.975, 2) * 0.1 / 3**0.5
    assert numbers["energy_adds_any_half_width"] == pytest.approx(half)
    largest = max(
        abs(committed[f"energy_any_{name}"]["value"])
        for name in ("m_n2ce_minus_nce_k_1", "k_n2ce_with_k_3_minus_k_1", "f_solved_minus_joint")
    )
    assert f"move the rule's area by at most {largest:.3f}" in RESULTS.read_text()
    lowers = -committed["energy_adds_any"]["value"]
    width = committed["energy_adds_any_half_width"]["value"]
    assert f"lowers it by {lowers:.3f} ± {width:.3f}" in RESULTS.read_text()


def test_intervals_hold_the_mean_in_95_of_100_sets():
    draws = np.random.default_rng(0).normal(size=(4000, 5))
    mean, half = contrasts.interval(draws)
    # k = 4 standard errors of a share of 0.95 in 4000.
    assert abs(np.mean(np.abs(mean) < half) - 0.95) < 4 * (0.95 * 0.05 / 4000) ** 0.5
    assert contrasts.interval(draws[:, :1])[1].min() == np.inf


def test_rows_keep_their_places_in_the_order_of_a_split():
    x = np.arange(40.0)[:, None]
    part = images.Split(x[:20], x[20:], np.zeros(20))
    assert part.num_calibration == 2
    ordered = part.in_order(part.train, part.test)[:, 0]
    np.testing.assert_array_equal(ordered, [*range(2, 20), 0, 1, *range(20, 40)])


def test_simple_terms_leave_the_calibration_rows_out():
    rng = np.random.default_rng(0)
    x = rng.random((200, 6)).astype(np.float32)
    part = images.Split(x[:150], x[150:], np.repeat([0, 1], 25))
    settings = ImageSettings(num_neighbor_axes=6, num_residual_axes=2, num_components=2)
    cell = baselines.simple_cell(settings, part, seed=0)
    held, kept = part.train[:15], part.train[15:]
    for name, rows in (("calibration", held), ("test", part.test)):
        one, other = images.unit_norm(rows), images.unit_norm(kept)
        expected = np.min(np.sum((one[:, None] - other) ** 2, axis=2), axis=1)
        np.testing.assert_allclose(cell[f"neighbor_{name}"], expected, atol=1e-5)
        norms = np.log(np.linalg.norm(rows, axis=1))
        np.testing.assert_allclose(cell[f"log_norm_{name}"], norms, rtol=1e-5)
    assert cell["areas"].shape == (len(baselines.SCORES),)


@pytest.mark.costly
def test_the_smoke_preset_runs_and_is_drawn(smoke_result, monkeypatch, tmp_path):
    monkeypatch.setattr(pieces, "RUNS", tmp_path)
    with jax.numpy_rank_promotion("allow"):
        result = smoke_result("anomaly", SMOKE, experiment)
    for name, value in result.headline.items():
        # Those of energies are differences of areas.
        assert (-1 if name.startswith("energy") else 0) < value < 1, name
    assert result.arrays["any"].shape == (1, 2, 8)
    assert result.arrays["grid_areas"].shape == (1, 1, len(scores.RULES), 8)
    stored = Stored({k: np.asarray(v) for k, v in result.arrays.items()}, result.headline, {})
    assert set(draw(stored)) == {"anomaly_digits", "anomaly_contrasts"}
    for view in (table.of_grid, table.of_rules, table.of_digits, table.of_contrasts):
        assert "nan" not in view(result.arrays)


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


def test_a_table_of_other_content_is_computed_again(monkeypatch, tmp_path):
    """Under the name, settings and code of the one before."""
    monkeypatch.setattr(pieces, "RUNS", tmp_path / "runs")
    monkeypatch.setenv("NCE_JAX_DATA", str(tmp_path))
    zeros = np.zeros((1, len(tables.METHODS)))
    monkeypatch.setattr(tables, "table_areas", lambda settings, table: zeros + table.x.sum())
    (tmp_path / "adbench").mkdir()
    config = dataclasses.replace(PRESETS["smoke"], tables=("99_tiny",))
    for value in (1.0, 2.0):
        path = tmp_path / "adbench" / "99_tiny.npz"
        np.savez(path, X=np.full((2, 1), value), y=np.array([0, 1]))
        arrays, folder = of_tables(config)
        np.testing.assert_array_equal(arrays["table_areas"], 2 * value)
    pieces.remove([folder])
