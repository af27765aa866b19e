"""Training of networks and of given models: the best step is kept, also by a resumed run."""

import json
import pickle
import shutil

import jax
import jax.numpy as jnp
import joblib
import numpy as np
import optax
import pytest

from nce_jax import models
from nce_jax.ratio_estimation import UnreliableRatioWarning, fit_log_ratio
from nce_jax.ratio_estimation._descent import Descent, Parts, usual_num_steps
from nce_jax.ratio_estimation._features import FeatureMap
from nce_jax.ratio_estimation._models import excess_of_network, is_better, network
from nce_jax.ratio_estimation._samples import Sets
from nce_jax.ratio_estimation._settings import Settings, digest

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
X, Y = RNG.normal(0.5, 1, (60, 2)), RNG.normal(size=(60, 2))


def overfitting(**options):
    """A perceptron on 60 samples of two sets half a standard deviation apart, at a high rate."""
    with jax.numpy_rank_promotion("allow"):
        return fit_log_ratio(
            KEY, X, Y, model=models.mlp_energy(jax.random.key(1), 2), optimizer=optax.adam(0.01),
            num_steps=200, progress=False, **options,
        )  # fmt: skip


@pytest.mark.costly
@pytest.mark.filterwarnings("ignore::nce_jax.ratio_estimation.UnreliableRatioWarning")
def test_the_step_of_the_lowest_loss_is_returned():
    """The losses of the last step are far above; those that choose are not those that assess."""
    estimate = overfitting()
    evaluations = estimate.result.evaluations
    assert estimate.model == "given"
    assert estimate.best_step == evaluations["step"][np.argmin(evaluations["selection_loss"])]
    assert estimate.best_step < 100
    assert evaluations["selection_loss"][-1] > evaluations["selection_loss"].min() + 0.5
    assert estimate.held_out_loss < evaluations["held_out_loss"][-1] - 0.3
    last, best = estimate.result.state.params, estimate.params
    assert jax.tree.map(jnp.shape, last) == jax.tree.map(jnp.shape, best)
    assert not np.array_equal(last["output"]["kernel"], best["output"]["kernel"])


@pytest.mark.costly
def test_initial_parameters_are_returned_where_training_makes_them_worse():
    """The model starts at the truth, and takes steps that are far too long."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(2, 1, (400, 1)), rng.normal(0, 1, (400, 1))
    estimate = fit_log_ratio(
        KEY, x, y, model=models.exponential_family(models.linear_statistics, jnp.full(1, 2.0)),
        optimizer=optax.sgd(-0.5), num_steps=20, progress=False,
    )  # fmt: skip
    assert estimate.best_step == 0
    assert estimate.params[0] == 2
    assert estimate.is_reliable


@pytest.mark.costly
@pytest.mark.filterwarnings("ignore::nce_jax.ratio_estimation.UnreliableRatioWarning")
def test_a_resumed_run_chooses_as_one_that_was_not_interrupted(tmp_path):
    whole = overfitting()
    overfitting(folder=tmp_path)
    for path in (tmp_path / "checkpoints").iterdir():
        if path.name.partition(".")[0] != "100":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    again = overfitting(folder=tmp_path, resume=True)
    assert again.best_step == whole.best_step
    assert jax.tree.all(jax.tree.map(np.array_equal, again.params, whole.params))


def test_steps_follow_the_number_of_samples():
    assert usual_num_steps(50, 512) == 200
    assert usual_num_steps(3000, 512) == 1465
    assert usual_num_steps(1_000_000, 512) == 2000


EQUAL = {name: {} for name in ("train", "select", "held_out")}


@pytest.mark.parametrize(
    ("on_its_own", "on_the_other", "expected"), [(2, -2, False), (-2, 2, True)]
)
def test_a_half_does_not_judge_the_parameters_that_it_has_chosen(
    on_its_own, on_the_other, expected
):
    """The log ratio is +-2 on data and noise of each half; the model to beat is constant."""
    half = np.arange(8) % 2
    sides = [jnp.stack([jnp.full(8, sign), half], axis=1).astype(jnp.float32) for sign in (1, -1)]
    weights = jnp.stack([jnp.ones(8), half == 0, half == 1]).astype(jnp.float32)
    parts = Parts(Sets(*sides), Sets(*sides), Sets(*sides), (weights, weights), EQUAL)
    # Of both halves, of the first, of the second.
    params = jnp.array([[0, 0], [on_its_own, on_the_other], [on_the_other, on_its_own]])
    nothing = FeatureMap(np.zeros(2), np.ones(2), np.zeros((2, 0), int))
    assert expected == is_better(
        Descent(params, np.zeros(3, int), None),
        lambda of_halves, x: x[:, 0] * of_halves[x[:, 1].astype(int)],
        nothing.log_ratio_params(np.zeros(2), 0.0, np.float32),
        parts,
        np.arange(16),
    )


@pytest.mark.costly
def test_a_network_is_used_where_it_lowers_the_loss(monkeypatch):
    """Four modes in the plane over a wide Gaussian, which no quadratic form shows, without the
    kernels that do.
    """
    monkeypatch.setattr("nce_jax.ratio_estimation._features._NUM_CENTERS", 0)
    rng = np.random.default_rng(0)
    centers = 1.2 * np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])
    x = centers[rng.integers(0, 4, 6000)] + 0.5 * rng.normal(size=(6000, 2))
    y = 1.5 * rng.normal(size=(6000, 2))
    with jax.numpy_rank_promotion("allow"):
        estimate = fit_log_ratio(KEY, x, y, progress=False)
    assert estimate.model == "network"
    assert estimate.is_reliable
    assert estimate.held_out_loss < estimate.selection_losses["quadratic"] - 0.05
    squares = ((x[:, None] - centers) ** 2).sum(-1)
    truth = np.log(np.exp(-2 * squares).sum(1) * 2.25) + (x**2).sum(1) / 4.5
    error = np.asarray(estimate.log_ratio(jnp.asarray(x, jnp.float32))) - truth
    assert np.sqrt(np.mean(error**2)) < 0.35  # 0.63 without the network


def test_a_network_has_the_excess_that_it_has_not_gained():
    """Shrinking the true log ratio of Gaussians by half costs a loss that both models share."""
    x = np.random.default_rng(0).normal(size=(2, 2000)) + np.array([[0.5], [-0.5]])
    assert excess_of_network(0.01, tuple(0.5 * x), tuple(0.5 * x)) == 0.01
    assert 0 < excess_of_network(0.1, tuple(0.5 * x), tuple(0.7 * x)) < 0.1
    assert np.isnan(excess_of_network(0.01, tuple(0.5 * x), tuple(x)))


@pytest.mark.costly
def test_a_network_that_does_not_help_is_not_used():
    """The truth is linear; the chance that noise alone makes the network pass is about a sixth."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(0.5, 1, (3000, 2)), rng.normal(0, 1, (3000, 2))
    with jax.numpy_rank_promotion("allow"):
        estimate = fit_log_ratio(KEY, x, y, progress=False)
    assert estimate.model == "linear"
    assert len(estimate.result.evaluations["step"]) > 10  # those of the network
    assert estimate.best_step == 0


def test_settings_that_may_change_are_stored_once_the_run_has_taken_them(tmp_path):
    Settings(tmp_path, num_steps=5, held_out=0.2).check(())
    changed = Settings(tmp_path, num_steps=9, held_out=0.2)
    with pytest.raises(ValueError, match=r"num_steps: expected 5 .*allow_changes=\('step',\)"):
        changed.check(("batches",))
    changed.check(("step",))
    path = tmp_path / "fit_log_ratio.json"
    assert json.loads(path.read_text())["num_steps"] == 5
    changed.keep()
    assert json.loads(path.read_text()) == {"num_steps": 9, "held_out": 0.2}
    both = Settings(tmp_path, num_steps=5, held_out=0.3)
    with pytest.raises(ValueError, match=r"held_out: .*allow_changes=\('batches', 'step'\)"):
        both.check(("step",))


def test_settings_are_stored_once_and_compared(tmp_path):
    for _ in range(2):
        Settings(tmp_path, num_steps=5, x_data=digest(X)).check(())
    with pytest.raises(ValueError, match="x_data: expected .* as in the run in .*, got"):
        Settings(tmp_path, num_steps=5, x_data=digest(Y)).check(("step",))
    assert json.loads((tmp_path / "fit_log_ratio.json").read_text())["num_steps"] == 5
    assert [path.name for path in tmp_path.iterdir()] == ["fit_log_ratio.json"]


@pytest.mark.bad_input
@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[1, 2]", b"\xff\xfe{\x00}\x00", b"[" * 50_000, b" " * 200_000, b"3", b"\x00" * 9],
)
def test_damaged_settings_are_named(tmp_path, content):
    path = tmp_path / "fit_log_ratio.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="folder: expected readable settings in .*fit_log_ratio"):
        Settings(tmp_path, num_steps=5).check(())
    assert path.read_bytes() == content


@pytest.mark.bad_input
def test_a_folder_in_place_of_the_settings_is_named(tmp_path):
    (tmp_path / "fit_log_ratio.json").mkdir()
    with pytest.raises(ValueError, match="folder: expected readable settings"):
        Settings(tmp_path, num_steps=5).check(())


def test_digests_tell_shapes_dtypes_and_values_apart():
    values = [X, X.astype(np.float32), X.T, X + 1e-12, ["a", "b"], ["a", "c"], None]
    assert len({digest(value) for value in values}) == len(values)


@pytest.mark.costly
def test_a_run_with_other_samples_is_not_resumed(tmp_path):
    options = {
        "model": models.exponential_family(models.linear_statistics, jnp.zeros(2)),
        "num_steps": 5,
        "folder": tmp_path,
        "resume": True,
        "progress": False,
    }
    with pytest.warns(UnreliableRatioWarning):
        fit_log_ratio(KEY, X, Y, **options)
    with pytest.raises(ValueError, match="x_noise: expected .* as in the run in"):
        fit_log_ratio(KEY, X, Y + 1, **options)
    with pytest.raises(ValueError, match="groups_data: expected None as in the run in"):
        fit_log_ratio(KEY, X, Y, groups_data=np.arange(60), **options)


def test_settings_are_numbers_of_python(tmp_path):
    numbers = {"num_steps": np.int64(5), "held_out": np.float32(0.25), "block_size": None}
    Settings(tmp_path, **numbers).check(())
    stored = json.loads((tmp_path / "fit_log_ratio.json").read_text())
    assert stored == {"num_steps": 5, "held_out": 0.25, "block_size": None}
    Settings(tmp_path, num_steps=5, held_out=jnp.float32(0.25), block_size=None).check(())


@pytest.mark.parametrize("module", [pickle, joblib])
def test_a_network_can_be_stored(module, tmp_path):
    """What users do to an estimate, and joblib to an estimator between processes."""
    start = FeatureMap(np.zeros(2), np.ones(2), np.zeros((2, 0), int))
    start = start.log_ratio_params(np.ones(2), 0.5, np.float32)
    x = jnp.asarray(X, jnp.float32)
    params, log_ratio_fn = network(KEY, start, x, np.ones(60))
    path = tmp_path / "estimate"
    with path.open("wb") as file:
        module.dump((params, log_ratio_fn), file)
    with path.open("rb") as file:
        again = module.load(file)
    with jax.numpy_rank_promotion("allow"):
        np.testing.assert_array_equal(again[1](again[0], x), log_ratio_fn(params, x))


def test_the_network_leaves_a_constant_coordinate_its_scale():
    """The mean of 0.3 in float32 is rounded, and the samples' distance from it is no spread."""
    nothing = FeatureMap(np.zeros(2), np.ones(2), np.zeros((2, 0), int))
    nothing = nothing.log_ratio_params(np.zeros(2), 0.0, np.float32)
    constant = jnp.stack([jnp.full(5000, 0.3), jnp.arange(5000.0)], axis=1)
    assert network(KEY, nothing, constant, np.ones(5000))[1].spread[0] == 1
