"""`fit_log_ratio` on sets whose ratio is known."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.stats import norm
from sklearn import metrics
from sklearn.calibration import calibration_curve as scikit_curve

import nce_jax
from nce_jax import models, ratio_estimation
from nce_jax.ratio_estimation import UnreliableRatioWarning, fit_log_ratio
from nce_jax.ratio_estimation._assessment import calibration_curve, roc_curve
from tests.compilations import compilations

KEYS = jax.random.split(jax.random.key(0), 3)
NUM_DATA, NUM_NOISE = 12_000, 6_000


def linear():
    """The exact family of log N(x; mu, I) / N(x; 0, I) = mu x - |mu|^2 / 2."""
    return models.exponential_family(models.linear_statistics, jnp.zeros(2))


@pytest.fixture(name="estimate", scope="module")
def _estimate():
    """Data N(1, I), noise N(0, I) in two dimensions; twice as many data as noise samples."""
    x_data = 1 + jax.random.normal(KEYS[0], (NUM_DATA, 2))
    x_noise = jax.random.normal(KEYS[1], (NUM_NOISE, 2))
    with jax.numpy_rank_promotion("allow"):
        optimizer = optax.adam(optax.cosine_decay_schedule(0.05, 800))
        return fit_log_ratio(
            KEYS[2],
            x_data,
            x_noise,
            model=linear(),
            optimizer=optimizer,
            num_steps=800,
            progress=False,
        )


@pytest.mark.costly
def test_the_log_ratio_is_the_true_one(estimate):
    """Truth x_1 + x_2 - 1. The error of NCE in a linear model at n = 9,600: about 0.03 in slope; k
    = 4.
    """
    x = jax.random.normal(jax.random.key(5), (400, 2))
    error = estimate.log_ratio(x) - (x.sum(axis=1) - 1)
    assert abs(error).max() < 4 * 0.03 * 3.5  # |x| reaches 3.5


@pytest.mark.costly
def test_its_mean_under_the_noise_is_one(estimate):
    """E_noise[p_data / p_noise] = 1, on fresh noise; k = 4 standard errors of both F and the
    mean.
    """
    ratio = np.exp(
        np.asarray(
            estimate.log_ratio(jax.random.normal(jax.random.key(6), (100_000, 2))), np.float64
        )
    )
    spread = np.hypot(estimate.log_partition_standard_error, ratio.std() / np.sqrt(ratio.size))
    # 0.05: the slopes' own error moves the mean, exp(0.5 d|mu|^2).
    assert abs(ratio.mean() - 1) < 4 * spread + 0.05


@pytest.mark.costly
def test_the_roc_area_is_the_closed_form(estimate):
    """Phi(|mu| / sqrt 2) = 0.8413 for |mu| = sqrt 2; k = 4 of Hanley and McNeil's standard error,
    0.006 at most.
    """
    assert abs(estimate.roc.area - norm.cdf(1)) < 4 * 0.008
    assert estimate.roc.false_positive_rate[0] == 0
    assert estimate.roc.true_positive_rate[-1] == 1


@pytest.mark.costly
def test_the_classifier_is_calibrated(estimate):
    """Observed fractions within k = 4 standard errors of the predicted ones, in each of the ten
    groups.
    """
    predicted, observed, count = estimate.calibration
    spread = np.sqrt(predicted * (1 - predicted) / count)
    assert count.sum() == 0.2 * (NUM_DATA + NUM_NOISE)
    # 0.01: F and slopes are estimates too.
    assert (abs(observed - predicted) < 4 * spread + 0.01).all()
    assert (np.diff(predicted) > 0).all()


@pytest.mark.costly
def test_overlap_and_error_are_those_of_the_held_out_samples(estimate):
    """At kappa = 1 the overlap of N(1, I) and N(0, I) is 2 E_data[sigma(-u)], here by an
    independent sample.
    """
    x = 1 + np.random.default_rng(0).normal(size=(200_000, 2))
    expected = 2 * np.mean(1 / (1 + np.exp(x.sum(axis=1) - 1)))
    assert abs(estimate.overlap - expected) < 0.04
    assert 0 < estimate.log_partition_standard_error < 0.1


@pytest.mark.costly
def test_the_held_out_loss_ends_at_its_optimum(estimate):
    """The loss of the true ratio, on 200,000 samples of each set (seed 0); k = 4 of the held-out
    set's standard error.
    """
    x_data, x_noise = np.random.default_rng(0).normal([[[1.0]], [[0.0]]], 1, (2, 200_000, 2))
    terms = np.logaddexp(0, 1 - x_data.sum(axis=1)), np.logaddexp(0, x_noise.sum(axis=1) - 1)
    spread = np.hypot(
        terms[0].std() / np.sqrt(0.2 * NUM_DATA), terms[1].std() / np.sqrt(0.2 * NUM_NOISE)
    )
    assert abs(estimate.held_out_loss - sum(term.mean() for term in terms)) < 4 * spread


def test_calibration_groups_are_scikit_learns():
    """Oracle: its quantile strategy, where groups divide evenly."""
    generator = np.random.default_rng(1)
    probability = generator.permutation(np.linspace(0.001, 0.999, 1000))
    is_data = generator.uniform(size=1000) < probability**2
    observed, predicted = scikit_curve(is_data, probability, n_bins=10, strategy="quantile")
    ours = calibration_curve(probability, is_data, 10)
    # One sample may fall on either side of an edge.
    np.testing.assert_allclose(ours.observed, observed, atol=0.011)
    np.testing.assert_allclose(ours.predicted, predicted, atol=0.001)


def test_equal_predictions_are_not_parted():
    """Two sets alike, on two values: whatever the order of the samples, the observed fraction is
    that of the value.
    """
    probability = np.repeat([0.4, 0.6], [300, 500])
    is_data = np.arange(800) < 400
    calibration = calibration_curve(probability, is_data, 10)
    np.testing.assert_allclose(calibration.predicted, [0.4, 0.6])
    np.testing.assert_allclose(calibration.observed, [1.0, 0.2])
    assert calibration.num_samples.tolist() == [300, 500]


@pytest.mark.costly
@pytest.mark.filterwarnings("ignore::nce_jax.ratio_estimation.UnreliableRatioWarning")
def test_a_resumed_fit_has_the_same_settings(tmp_path):
    sets = [np.random.default_rng(seed).normal(size=(60, 2)).astype(np.float32) for seed in (0, 1)]
    options = {
        "num_steps": 5,
        "folder": tmp_path,
        "resume": True,
        "progress": False,
        "model": linear(),
    }
    first = fit_log_ratio(KEYS[2], *sets, **options)
    again = fit_log_ratio(KEYS[2], *sets, **options)
    np.testing.assert_array_equal(first.params, again.params)
    for name, value in {"num_steps": 9, "held_out": 0.4, "batch_size": 8}.items():
        with pytest.raises(ValueError, match=f"{name}: expected .* as in the run in"):
            fit_log_ratio(KEYS[2], *sets, **(options | {name: value}))
    faster = options | {"num_steps": 9, "optimizer": optax.sgd(0.5), "allow_changes": ("step",)}
    changed = fit_log_ratio(KEYS[2], *sets, **faster)
    assert not np.array_equal(first.params, changed.params)
    assert changed.result.history["step"][-1] == 9
    with pytest.raises(ValueError, match="num_steps: expected 9 as in the run in"):
        fit_log_ratio(KEYS[2], *sets, **options)


@pytest.mark.bad_input
def test_names_of_changes_are_checked():
    with pytest.raises(ValueError, match="allow_changes: expected a tuple of names among batch"):
        fit_log_ratio(KEYS[0], np.ones((9, 1)), np.ones((9, 1)), allow_changes=("rate",))


def test_the_roc_is_scikit_learns():
    """Oracle, with many ties."""
    generator = np.random.default_rng(2)
    probability = generator.integers(0, 20, 300) / 20
    is_data = generator.uniform(size=300) < probability
    ours = roc_curve(probability, is_data)
    false_positive, true_positive, _ = metrics.roc_curve(
        is_data, probability, drop_intermediate=False
    )
    np.testing.assert_allclose(ours.false_positive_rate, false_positive, atol=1e-15)
    np.testing.assert_allclose(ours.true_positive_rate, true_positive, atol=1e-15)
    np.testing.assert_allclose(ours.area, metrics.roc_auc_score(is_data, probability), rtol=1e-14)


def test_a_wrong_level_shows_in_thecalibration_curve():
    """The curve can fail: predictions whose logits are one too high."""
    generator = np.random.default_rng(3)
    logits = generator.normal(size=5000)
    is_data = generator.uniform(size=5000) < 1 / (1 + np.exp(-logits))
    predicted, observed, count = calibration_curve(1 / (1 + np.exp(-logits - 1)), is_data, 10)
    assert (predicted - observed > 4 * np.sqrt(predicted * (1 - predicted) / count)).sum() >= 8


@pytest.mark.costly
def test_disjoint_sets_are_said_to_be_disjoint():
    x_data = 60 + jax.random.normal(KEYS[0], (500, 1))
    x_noise = jax.random.normal(KEYS[1], (500, 1))
    with pytest.warns(UnreliableRatioWarning, match="is below 0.1: the sets are too far apart"):
        estimate = fit_log_ratio(KEYS[2], x_data, x_noise, progress=False)
    assert estimate.overlap < 0.05
    assert estimate.roc.area == 1


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("message", "arguments", "options"),
    [
        (
            "held_out: expected a number between 0 and 1, got 1.5",
            (jnp.ones((9, 1)), jnp.ones((9, 1))),
            {"held_out": 1.5},
        ),
        ("x_noise: expected more than 5 samples", (jnp.ones((9, 1)), jnp.ones((3, 1))), {}),
        (
            "x_noise: expected samples of the shape of x_data",
            (jnp.ones((9, 1)), jnp.ones((9, 2))),
            {},
        ),
        ("x_data: expected finite samples", (jnp.full((9, 1), jnp.nan), jnp.ones((9, 1))), {}),
        (
            "model: expected samples \\(n, dim\\) for the default model, got",
            (jnp.ones((9, 2, 2)), jnp.ones((9, 2, 2))),
            {},
        ),
        ("for numbers x", (jnp.ones(9), jnp.ones(9)), {}),
        (
            "x_data: expected samples that float32 can represent, got",
            (1e9 + np.arange(9.0)[:, None], np.ones((9, 1))),
            {},
        ),
        ("num_steps", (jnp.ones((9, 1)), jnp.ones((9, 1))), {"num_steps": 0}),
        (
            "resume: expected a folder to continue from, got folder=None",
            (jnp.ones((9, 1)), jnp.ones((9, 1))),
            {"resume": True},
        ),
    ],
)
def test_bad_arguments_are_named(message, arguments, options):
    with pytest.raises(ValueError, match=message):
        fit_log_ratio(KEYS[2], *arguments, **({"progress": False} | options))


@pytest.mark.bad_input
def test_a_key_behind_the_samples_is_named():
    x = jnp.ones((9, 1))
    with pytest.raises(TypeError, match="key: .* float32; the key comes before the samples"):
        fit_log_ratio(x, x, KEYS[2])


def test_it_is_a_public_name():
    assert nce_jax.fit_log_ratio is ratio_estimation.fit_log_ratio


def test_another_number_of_samples_compiles_nothing():
    """Of the same size class, on the host: simple models are fitted and assessed there."""
    generator = np.random.default_rng(0)

    def sets(count):
        shift = np.float32(1)
        return [generator.standard_normal((count, 2), np.float32) + shift * side for side in (1, 0)]

    nce_jax.fit_log_ratio(jax.random.key(0), *sets(300), progress=False)
    with compilations() as names:
        nce_jax.fit_log_ratio(jax.random.key(0), *sets(317), progress=False)
    assert not names
