"""latent_energy: splits, networks, judging by known distances, cells, and the smoke preset."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments.common import pieces
from experiments.common.latent_priors import Prior
from experiments.common.results import Stored
from experiments.latent_energy import (
    cells,
    direct_priors,
    evaluation,
    features,
    images,
    joint,
    statistics,
    table,
    two_stage,
)
from experiments.latent_energy import networks as nets
from experiments.latent_energy.config import PRESETS, SetSettings, part, priors
from experiments.latent_energy.plot import draw
from experiments.latent_energy.run import experiment

SMOKE = PRESETS["smoke"]
SETTINGS = part(SMOKE, SetSettings)


def standing_judge(count=2000, dim=2):
    """Judges z by itself: its images and features are z, and the reference is of N(0, I)."""
    reference = np.random.default_rng(0).normal(size=(count, dim))
    return evaluation.Judge(lambda x: x, reference, lambda z: z, SETTINGS)


def test_parts_are_disjoint_and_held_out_is_as_large_as_the_reference():
    loaded = images.load("digits")
    assert len(loaded.held_out) == loaded.num_samples == 1797 // 6
    assert sum(map(len, (loaded.train, loaded.held_out, loaded.reference))) == 1797
    rows = [part.reshape(len(part), -1) for part in loaded[:3]]
    _, counts = np.unique(np.concatenate(rows), axis=0, return_counts=True)
    assert counts.max() == 1  # no image of this set is twice in it
    assert len(loaded.labels) == len(loaded.train)


def test_images_are_rows_from_0_to_1_and_back():
    x = np.random.default_rng(0).integers(0, 256, (3, 2, 2, 3), dtype=np.uint8)
    rows = images.as_rows(x)
    assert rows.shape == (3, 12)
    assert rows.min() >= 0
    assert rows.max() <= 1
    np.testing.assert_array_equal(images.as_images(rows, (2, 2, 3)), x)
    np.testing.assert_array_equal(
        images.as_images(np.array([[-1.0, 2.0]]), (1, 2, 1)).ravel(), [0, 255]
    )


def test_an_unknown_set_is_refused():
    with pytest.raises(ValueError, match="name: expected one of 'digits', .*, got 'cats'"):
        images.load("cats")


def test_principal_coordinates_are_of_color_images_alone():
    rows = np.random.default_rng(0).random((50, 12), dtype=np.float32)
    settings = dataclasses.replace(SETTINGS, color_axes=12)
    gray = two_stage.find_space(settings, rows, (2, 6, 1))
    assert gray.coordinates(rows) is rows
    space = two_stage.find_space(settings, rows, (2, 2, 3))
    np.testing.assert_allclose(space.rows(space.coordinates(rows)), rows, atol=1e-5)
    spread = space.coordinates(rows).var(axis=0)
    assert np.all(np.diff(spread) < 1e-6)


def test_a_trained_generator_is_packed_and_unpacked():
    rng = np.random.default_rng(0)
    layers = [{"kernel": rng.random((2, 2)), "bias": rng.random(2)} for _ in range(4)]
    space = two_stage.Space(rng.random(2), rng.random((2, 1)))
    trained = two_stage.Trained(
        {"encoder": layers[:2], "decoder": layers[2:]},
        space,
        rng.random((3, 2)),
        rng.random((1, 2)),
    )
    again = two_stage.unpack(two_stage.pack(trained), 2)
    for one, other in zip(jax.tree.leaves(trained), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(again.params["encoder"][1]["bias"], layers[1]["bias"])
    np.testing.assert_array_equal(again.z_held_out, trained.z_held_out)


@pytest.mark.costly
def test_the_posterior_itself_has_no_distance_and_a_known_log_ratio():
    judge = standing_judge()
    z = np.random.default_rng(1).normal(size=(4000, 2)).astype(np.float32)
    shifted = z + np.float32([1.0, 0.0])
    with jax.numpy_rank_promotion("allow"):  # distrax
        standard = direct_priors.of_standard_normal(judge, shifted, shifted[:2000], 0)
        fitted = direct_priors.of_gaussian(judge, shifted, shifted[2000:], 0)
    assert standard["frechet"] < 0.02
    assert standard["log_ratio"] == 0
    # The reference is N(0, I): the Gaussian's samples are 1 from it, and KL is 1/2 (+- 0.02).
    np.testing.assert_allclose(fitted["frechet"], 1, atol=0.15)
    np.testing.assert_allclose(fitted["log_ratio"], 0.5, atol=0.1)
    assert fitted["overlap"] < standard["overlap"] == 1


@pytest.mark.costly
def test_a_mixture_finds_two_modes_that_a_gaussian_does_not():
    rng = np.random.default_rng(0)
    z = (0.3 * rng.normal(size=(2000, 2)) + np.where(rng.random((2000, 1)) < 0.5, -2, 2)).astype(
        np.float32
    )
    judge = standing_judge()
    with jax.numpy_rank_promotion("allow"):  # distrax
        ratios = [
            fit(judge, z[:1000], z[1000:], 0)["log_ratio"]
            for fit in (direct_priors.of_gaussian, direct_priors.of_mixture)
        ]
    # -log 2 - 1 - log(2 pi 0.09) + (8.18 / 2 + log(2 pi)), with a standard error of 0.03.
    np.testing.assert_allclose(ratios[1], 4.81, atol=0.1)
    assert ratios[0] < ratios[1] - 0.5


def test_priors_are_those_asked_for():
    listed = {prior.name: prior for prior in priors(PRESETS["cpu"])}
    assert listed["N2CE, M = 100, K = 3"].noise_levels == (0.0, 0.3, 0.6, 1.0)
    assert listed["N2CE, M = 100, K = 3, F joint"].treatment == "joint"
    assert listed["M by the rule"].magnification is None
    assert listed["NCE"] == Prior("NCE")
    rates = {
        name: cells.prior_settings(part(PRESETS["cpu"], SetSettings), prior).prior_rate
        for name, prior in listed.items()
    }
    assert rates["MLE"] < rates["NCE"]


@pytest.mark.parametrize("name", sorted(set(nets.LAYOUTS) - {"digits"}))
def test_networks_have_the_shape_of_the_images(name):
    side = {"celeba": 64, "celeba-hq": 256}.get(name, 32)

    def shapes():
        networks, params = nets.make_networks(nets.LAYOUTS[name], (side, side, 3), 5, (1, 1), 0)
        x = networks.generate(params, np.zeros((2, 5), np.float32))
        return x, *networks.encode(params, x)

    x, mean, log_scale = jax.eval_shape(shapes)
    assert x.shape == (2, side, side, 3)
    assert mean.shape == log_scale.shape == (2, 5)


def test_the_generator_of_cifar10_has_the_channels_of_the_origin():
    def params():
        return nets.make_networks(nets.LAYOUTS["cifar10"], (32, 32, 3), 128, (64, 1), 0)[1]

    kernels = [
        leaf.shape for leaf in jax.tree.leaves(jax.eval_shape(params)["generator"]) if leaf.ndim > 1
    ]
    assert sorted(kernels) == sorted(
        [(128, 8 * 8 * 1024), (4, 4, 1024, 512), (4, 4, 512, 256), (3, 3, 256, 3)]
    )


def test_images_shrink_by_averages():
    x = np.arange(16, dtype=np.uint8).reshape(1, 4, 4, 1) * 4
    np.testing.assert_array_equal(joint.shrink(x, 2).ravel(), [10, 18, 42, 50])
    assert joint.shrink(x, 4) is x


def test_floors_come_first_and_samples_of_chains_have_a_row():
    row = {"frechet": np.array(2.0), "pictures": np.zeros((1, 2, 2, 1)), "num_samples": 5}
    posterior = row | {"information": np.array(3.0)}
    chains = row | {"chains_frechet": np.array(7.0), "chains_pictures": row["pictures"]}
    rows = {"posterior": posterior, "N(0, I)": row, "MLE": chains}
    arrays = statistics.collect("a-b", [rows, rows], {"real": row | {"accuracy": np.array(0.5)}})
    assert list(arrays["a_b_methods"]) == [
        statistics.REAL,
        statistics.POSTERIOR,
        "N(0, I)",
        "MLE",
        "MLE, by its chains",
    ]
    np.testing.assert_array_equal(arrays["a_b_frechet"][-1], [7, 7])
    assert np.isnan(arrays["a_b_log_ratio"]).all()
    headline = statistics.headline({"sets": np.array(["a-b"]), "joint_sets": np.array([])} | arrays)
    assert headline["a_b_frechet_mle_by_its_chains"] == 7
    assert "a_b_log_ratio_mle" not in headline


@pytest.fixture
def stored_arrays():
    """Arrays of the preset `cpu` with invented numbers: 3 seeds of 16 methods and two sets."""
    rng = np.random.default_rng(0)
    names = ["N(0, I)", *direct_priors.DIRECT, *(prior.name for prior in priors(PRESETS["cpu"]))]
    row = dict.fromkeys(statistics.FIELDS, np.array(1.0)) | {"pictures": np.zeros((1, 2, 2, 1))}
    found = {"sets": np.array(PRESETS["cpu"].sets), "joint_sets": np.array([])}
    for name in PRESETS["cpu"].sets:
        cells = {method: dict(row) for method in dict.fromkeys(names)}
        del cells["MLE"]["frechet_bias"]
        cells["MLE"] |= {
            "chains_frechet": 1.0,
            "chains_kernel": 1.0,
            "chains_pictures": row["pictures"],
        }
        floor = {k: v for k, v in row.items() if k in ("frechet", "kernel", "pictures")}
        posterior = {"posterior": floor | {"information": 1.0}}
        real = {"real": floor | {"accuracy": 1.0, "num_samples": 10_000}}
        arrays = statistics.collect(name, [posterior | cells] * 3, real)
        for field in statistics.MEASURED:
            values = arrays[f"{statistics.slug(name)}_{field}"]
            values *= rng.normal(50, 9, values.shape)
        found |= arrays
    return found


def test_every_headline_number_of_the_preset_cpu_is_committed(stored_arrays):
    path = Path(cells.__file__).with_name("headline-cpu.json")
    assert set(statistics.headline(stored_arrays)) == set(json.loads(path.read_text()))


def test_committed_differences_are_those_of_the_committed_means():
    numbers = json.loads(Path(cells.__file__).with_name("headline-cpu.json").read_text())
    minus = [name for name in numbers if "_minus_" in name]
    assert len(minus) == 2 * len(statistics.MEASURED) * statistics.NUM_HEADLINE
    for name in minus:
        first, second = name.split("_minus_")
        start = next(
            f"{one}_{field}"
            for one in map(statistics.slug, PRESETS["cpu"].sets)
            for field in statistics.MEASURED
            if name.startswith(f"{one}_{field}")
        )
        difference = numbers[first]["value"] - numbers[f"{start}_{second}"]["value"]
        np.testing.assert_allclose(numbers[name]["value"], difference, atol=2e-4)


def test_the_tables_printed_are_those_of_the_readme(stored_arrays):
    """Titles, heads, first columns and the number of cells of all three."""

    def outline(text):
        lines = [line for line in text.splitlines() if line.startswith("|")]
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        return [(line[0], len(line)) for line in cells], cells[0]

    printed = [table.of_set(stored_arrays, name) for name in PRESETS["cpu"].sets]
    printed.append(table.of_differences(stored_arrays))
    readme = Path(cells.__file__).with_name("README.md").read_text()
    sections = [readme.partition(f"**{name}**")[2] for name in PRESETS["cpu"].sets]
    sections.append(readme.partition("Differences within each seed")[2])
    for text, section in zip(printed, sections, strict=True):
        of_readme = "|" + section.partition("|")[2].partition("\n\n")[0]
        assert outline(text) == outline(of_readme)
    assert all(
        f"**{name}**: N = 10,000" in text
        for name, text in zip(PRESETS["cpu"].sets, printed, strict=False)
    )


def test_differences_are_paired_by_seed_and_a_method_that_was_not_run_has_none(stored_arrays):
    pair = statistics.COMPARED[0]
    methods = list(stored_arrays["mnist_methods"])
    first, second = (stored_arrays["mnist_kernel"][methods.index(name)] for name in pair)
    found = statistics.differences(stored_arrays, "mnist", "kernel", pair)
    np.testing.assert_array_equal(found, first - second)
    assert statistics.differences(stored_arrays, "mnist", "kernel", ("NCE", "cats")) is None
    cell = table.of_differences(stored_arrays).splitlines()[2].split("|")[3]
    assert cell.split() == [f"{value:+.1f}" for value in first - second]


def test_an_unknown_inference_is_refused():
    config = dataclasses.replace(SMOKE, inference="exact")
    with pytest.raises(
        ValueError, match="inference: expected 'amortized' or 'chains', got 'exact'"
    ):
        joint.make_train(config, Prior("N(0, I)", "none"), None, 2)


@pytest.mark.costly
def test_a_classifier_learns():
    settings = part(dataclasses.replace(SMOKE, feature_steps=300), features.FeatureSettings)
    loaded = images.load("digits")
    before = features.initial_classifier(settings, loaded.shape, 0)
    after = features.train_classifier(settings, loaded)
    accuracies = [c.accuracy(loaded.reference, loaded.labels_reference) for c in (before, after)]
    assert accuracies[0] < 0.3 < 0.7 < accuracies[1]


@pytest.mark.costly
@pytest.mark.parametrize("inference", ["amortized", "chains"])
def test_the_joint_training_runs_for_every_kind_of_prior(inference, monkeypatch, tmp_path):
    monkeypatch.setattr(pieces, "RUNS", tmp_path)
    names = ("N(0, I)", "MLE", "M by the rule", "N2CE, M = 100, K = 3, F joint")
    config = dataclasses.replace(SMOKE, inference=inference, joint_methods=names, joint_steps=3)
    with jax.numpy_rank_promotion("allow"):
        rows, _, folder = joint.set_rows(config, "digits", range(1))
    assert set(rows[0]) == {*names, "posterior"}
    for name in names:
        assert np.isfinite(rows[0][name]["frechet"]), name
        assert np.isfinite(rows[0][name]["log_ratio"]), name
    pieces.remove([folder])


@pytest.mark.costly
def test_color_images_go_through_both_stages(monkeypatch, tmp_path):
    monkeypatch.setattr(pieces, "RUNS", tmp_path)
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (300, 8, 8, 3), dtype=np.uint8), rng.integers(0, 10, 300)
    monkeypatch.setitem(images.SETS, "color", lambda: (x, None))
    settings = dataclasses.replace(
        SETTINGS, color_channels=(2,), color_axes=6, color_nz=2, color_steps=5
    )
    with jax.numpy_rank_promotion("allow"):
        first, _, folder = cells.set_rows(settings, "color", range(1))
        monkeypatch.setattr(two_stage, "train", None)  # every cell is read again
        again, real, _ = cells.set_rows(settings, "color", range(1))
    arrays = statistics.collect("color", again, real)
    assert np.isfinite(arrays["color_frechet"]).all()
    assert arrays["color_pictures"].shape[2:] == (8, 8, 3)
    np.testing.assert_array_equal(
        arrays["color_frechet"], statistics.collect("color", first, real)["color_frechet"]
    )
    pieces.remove([folder])


@pytest.mark.costly
def test_the_smoke_preset_runs_and_is_drawn(smoke_result, monkeypatch, tmp_path):
    monkeypatch.setattr(pieces, "RUNS", tmp_path)
    with jax.numpy_rank_promotion("allow"):
        result = smoke_result("latent_energy", SMOKE, experiment)
    assert all(np.isfinite(value) for value in result.headline.values())
    methods = list(result.arrays["digits_methods"])
    assert len(methods) == 6 + len(priors(SMOKE))
    assert result.arrays["digits_frechet"].shape == (len(methods), 1)
    stored = Stored({k: np.asarray(v) for k, v in result.arrays.items()}, result.headline, {})
    assert set(draw(stored)) == {
        "latent_energy",
        "latent_energy_samples_digits",
        "latent_energy_samples_digits_joint",
    }
