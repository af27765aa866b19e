"""The examples of the documentation run, draw, and find what is true."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py"))


@pytest.fixture(name="run")
def _run():
    """Runs an example as users do, and gives its names; figures stay open until the test ends."""
    plt.switch_backend("agg")

    def run(name):
        return runpy.run_path(str(EXAMPLES / f"{name}.py"))

    with jax.numpy_rank_promotion("allow"):
        yield run
    plt.close("all")


def test_every_example_has_its_place_in_the_gallery():
    sys.path.insert(0, str(EXAMPLES.parent / "_ext"))
    try:
        import gallery
    finally:
        sys.path.pop(0)
    assert sorted(gallery.ORDER) == NAMES


@pytest.mark.costly
def test_the_energy_beats_the_gaussian(run):
    names = run("energy_in_two_dimensions")
    gap = names["result"].log_likelihood - names["baseline"].mean
    assert gap > 10 * names["result"].standard_error
    assert names["result"].is_reliable


@pytest.mark.costly
def test_three_ways_find_the_same_log_partition(run):
    names = run("log_partition_three_ways")
    for value, error in names["estimates"].values():
        assert abs(value - names["exact"]) < 4 * error


@pytest.mark.costly
def test_free_energies_are_within_four_errors(run):
    names = run("free_energy_from_work")
    exact = np.log(4) / 2
    assert abs(names["result"].delta_f - exact) < 4 * names["result"].standard_error
    assert abs(names["chain"].total - np.log(16) / 2) < 4 * names["chain"].total_standard_error
    assert names["honest"].standard_error > 1.8 * names["naive"].standard_error


@pytest.mark.costly
def test_the_barrier_is_crossed_under_umbrellas(run):
    names = run("umbrella_sampling")
    profile, exact = names["profile"], names["exact"]
    assert np.all(np.abs(profile.f - exact) <= 4 * profile.standard_error)
    assert np.max(profile.standard_error) < 0.5
    difference = profile.f[names["right"]] - profile.f[names["left"]]
    truth = exact[names["right"]] - exact[names["left"]]
    assert abs(difference - truth) < 4 * np.sqrt(names["variance"])


@pytest.mark.costly
def test_evidences_are_within_four_errors(run):
    names = run("evidence_of_a_model")
    for name, (value, error) in names["found"].items():
        assert abs(value - names["exact"](names["designs"][name])) < 4 * error
        assert error < 0.02
    assert abs(names["factor"] - names["truth"]) < 4 * names["error"]


@pytest.mark.costly
@pytest.mark.filterwarnings("ignore::UserWarning")  # that of the single ratio is its point
def test_the_chasm_is_crossed_and_one_ratio_is_not_trusted(run):
    names = run("density_chasm")
    assert not names["single"].is_reliable
    assert names["chain"].is_converged
    assert abs(names["chain"].kl - 32) < 4 * names["chain"].kl_standard_error


@pytest.mark.costly
def test_weighted_rows_have_the_means_of_the_other_table(run):
    names = run("covariate_shift")
    assert names["estimate"].is_reliable
    assert abs(names["weighted"] - names["spent_this_year"].mean()) < 4 * names["error"]


@pytest.mark.costly
def test_encoders_on_eight_devices():
    """In a process of its own, which has eight devices."""
    path = EXAMPLES / "contrastive_encoder.py"
    options = {"capture_output": True, "text": True, "check": True}
    environment = os.environ | {"MPLBACKEND": "agg"}
    printed = subprocess.run([sys.executable, path], env=environment, **options).stdout
    assert printed.startswith("8 devices\n")
    one, eight = printed.splitlines()[-1].replace(",", "").split()[2::3]
    assert float(one) == pytest.approx(float(eight), rel=1e-5)


@pytest.mark.slow
def test_sampled_words_lower_the_perplexity(run):
    names = run("vocabulary")
    for curve in names["curves"].values():
        assert curve[-1][1] < 0.65 * curve[0][1]


@pytest.mark.costly
def test_the_sweep_has_its_labels_and_no_failed_lane(run):
    data = run("sweep_over_magnification")["result"].to_xarray()
    assert dict(data.sizes) == {"magnification": 7, "noise_ratio": 2, "seed": 20}
    assert not data["failed"].any()


@pytest.mark.slow
def test_noise_that_learns_is_better_than_a_gaussian(run):
    names = run("noise_that_learns")
    kl = {}
    for name, result in names["runs"].items():
        params = getattr(result.state, "train", result.state).params
        kl[name] = names["kl_divergence"](lambda x, p=params: names["log_density_fn"](p, x))
    gaussian, flow, snapshots = kl.values()
    assert max(flow, snapshots) < 0.5 * gaussian


@pytest.mark.slow
def test_generators_come_close_to_the_data(run):
    """Two samples of the data are apart by less than four standard errors, an untrained generator
    by more than 0.01.
    """
    names = run("generator_and_critic")
    data, *generators = names["distances"].values()
    assert abs(data.value) < 4 * data.standard_error
    assert max(distance.value for distance in generators) < 0.003
    start = names["init"](jax.random.key(1), [8, 128, 128, 2])
    x = names["sample_fn"](start, jax.random.key(3), names["x_other"])
    untrained = names["diagnostics"].kernel_distance(
        x, names["x_data"][:2_000], metric="gaussian", bandwidth=0.2
    )
    assert untrained.value > 0.01


@pytest.mark.costly
def test_the_rule_is_near_the_best_magnification_at_the_end(run):
    names = run("choosing_magnification")
    at_end = {M: np.median(values[:, -1]) for M, values in names["fixed"].items()}
    assert min(at_end, key=at_end.get) == 1.0
    assert np.median(names["lost"][:, -1]) < 2 * at_end[1.0]


@pytest.mark.costly
def test_every_function_of_plots_is_in_the_pictures(run):
    import nce_jax

    source = (EXAMPLES / "pictures_of_results.py").read_text()
    assert [name for name in nce_jax.plots.__all__ if f"plots.{name}(" not in source] == []
    names = run("pictures_of_results")
    assert names["estimate"].is_reliable
    assert names["telescope"].is_converged
    assert sum(len(plt.figure(number).axes) for number in plt.get_fignums()) > 12
