"""What `fit_telescope` shares with `fit_log_ratio`: its first arguments, and the interface of its
result.
"""

import inspect

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import nce_jax
from nce_jax import telescoping
from nce_jax.ratio_estimation import RatioEstimate
from nce_jax.telescoping._fit.pair_sampler import make_pair_sampler, sample_shape

KEYS = jax.random.split(jax.random.key(0), 3)
MEAN = jnp.array([[2.0, -1.0]])
X_DATA = MEAN + 0.5 * jax.random.normal(KEYS[0], (600, 2))
X_NOISE = jax.random.normal(KEYS[1], (600, 2))
NORMAL = distrax.Independent(distrax.Normal(jnp.zeros(2), jnp.ones(2)), 1)
OPTIONS = {"noise_levels": [0.0, 0.5, 0.9, 1.0], "progress": False}


def draw(key, count):
    return jax.random.normal(key, (count, 2))


@pytest.fixture(name="result", scope="module")
def _result():
    """The default model, on two Gaussians."""
    return nce_jax.fit_telescope(KEYS[2], X_DATA, X_NOISE, **OPTIONS)


@pytest.mark.costly
def test_it_has_the_common_interface(result):
    """KL of N(m, s^2 I) to N(0, I), s = 0.5: (2 s^2 + |m|^2 - 2) / 2 - 2 log s; 4 standard errors,
    which include those of the parameters.
    """
    assert isinstance(result, RatioEstimate)
    assert result.is_converged
    truth = (2 * 0.25 + 5 - 2) / 2 - 2 * np.log(0.5)
    assert abs(result.kl - truth) < 4 * result.kl_standard_error < 2
    assert 0 < result.kl_sampling_error < result.kl_standard_error
    assert result.overlap == min(result.stages.overlap.tolist())
    errors = result.log_ratio_standard_error(X_DATA[:3])
    assert errors.shape == result.log_ratio(X_DATA[:3]).shape == (3,)
    assert np.isfinite(errors).all()
    np.testing.assert_allclose(result.stages.variance_fraction.sum(), 1, rtol=1e-4)


@pytest.mark.costly
@pytest.mark.bad_input
def test_tables_are_refused_since_their_columns_may_be_in_another_order(result):
    table = pd.DataFrame(np.asarray(X_DATA[:3]))
    for method in (result.log_ratio, result.log_ratio_standard_error):
        with pytest.raises(TypeError, match=r"^x: expected .* a pandas DataFrame; x.to_numpy\(\)"):
            method(table)
    with pytest.raises(TypeError, match="^x_data: expected .* a pandas DataFrame"):
        result.joint_log_partitions(table, X_NOISE[:3])


@pytest.mark.costly
def test_the_default_model_contains_the_truth(result):
    """log N(x; m, s^2 I) / N(x; 0, I), by hand, within 5 standard errors at the data."""
    x = X_DATA[:20]
    truth = 0.5 * (x**2).sum(1) - 2 * ((x - MEAN) ** 2).sum(1) - 2 * np.log(0.5)
    errors = result.log_ratio_standard_error(x)
    assert np.all(errors < 3)
    assert np.all(abs(result.log_ratio(x) - truth) < 5 * errors)


def test_the_summary_has_the_full_error_first(result):
    expected = f"KL {result.kl:.3f} +- {result.kl_standard_error:.3f} ("
    assert expected in result.summary()
    unknown = result._replace(kl_standard_error=np.nan, covariance=None)
    assert "from sampling alone; the error of the parameters is not known" in unknown.summary()
    assert np.isnan(unknown.log_ratio_standard_error(X_DATA[:2])).all()


def test_both_estimators_take_the_same_first_arguments():
    """Those that both take have the same defaults, but for the numbers of steps."""
    parameters = [
        inspect.signature(function).parameters
        for function in (nce_jax.fit_log_ratio, nce_jax.fit_telescope)
    ]
    for signature in parameters:
        names = [p.name for p in signature.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
        assert names == ["key", "x_data", "x_noise"]
    shared = parameters[0].keys() & parameters[1].keys()
    assert {"model", "optimizer", "num_steps", "batch_size", "progress"} <= shared
    for name in shared - {"num_steps"}:
        assert parameters[0][name].default == parameters[1][name].default, name


@pytest.mark.parametrize("noise", [NORMAL, draw])
@pytest.mark.parametrize("data", [NORMAL, draw, X_NOISE])
def test_either_side_may_be_drawn(data, noise):
    """Pairs of independent standard normal samples; only an array has a size."""
    sampler = make_pair_sampler(KEYS[0], data, noise, is_holding_out=True)
    assert sampler.num_data == (480 if data is X_NOISE else None)
    for draw_pairs in (sampler.draw, sampler.draw_held_out):
        x, y = draw_pairs(KEYS[1], 50)
        assert x.shape == y.shape == (50, 2)
        assert abs(np.corrcoef(np.ravel(x), np.ravel(y))[0, 1]) < 0.4  # 4 / sqrt(100)


@pytest.mark.parametrize("sources", [(X_NOISE, draw), (draw, X_NOISE), (NORMAL, draw)])
def test_the_shape_of_a_sample_is_read_from_an_array_or_a_draw(sources):
    assert sample_shape(*sources) == (2,)


def test_the_progress_bar_is_on_unless_it_is_switched_off(capfd):
    options = {**OPTIONS, "noise_levels": [0.0, 0.5, 0.9, 1.0]}
    del options["progress"]
    nce_jax.fit_telescope(KEYS[2], X_DATA, X_NOISE, **options)
    assert "training 3 stages on all data" in capfd.readouterr().err
    nce_jax.fit_telescope(KEYS[2], X_DATA, X_NOISE, **OPTIONS)
    assert capfd.readouterr().err == ""


@pytest.mark.costly
def test_a_gap_that_the_pilots_missed_makes_both_errors_infinite(monkeypatch):
    """A search that returns a single stage across 4 standard deviations, of which Newton's
    method finds the optimum.
    """

    def search(key, config):
        del key
        return telescoping._fit.config.Levels(np.array([0.0, 1.0]), is_searched=True)

    monkeypatch.setattr("nce_jax.telescoping._fit.fit.search_noise_levels", search)
    x_data = 4 + jax.random.normal(KEYS[0], (2000, 1))
    x_noise = jax.random.normal(KEYS[1], (2000, 1))
    model = (jnp.zeros(1), lambda theta, x: x @ theta)
    result = nce_jax.fit_telescope(KEYS[2], x_data, x_noise, model=model, progress=False)
    assert 0 < result.overlap < 0.2
    assert np.isfinite(result.covariance).all()
    assert not result.is_converged
    assert np.isinf([result.kl_standard_error, result.kl_sampling_error]).all()
    expected = f"NOT CONVERGED: the overlap of stage 0, {result.overlap:.2g}, is less than half of"
    assert expected in result.summary()


def test_a_fit_that_has_not_converged_names_every_reason(result):
    """Newton's method allowed one step, and a stage that is flagged in addition."""
    short = nce_jax.fit_telescope(KEYS[2], X_DATA, X_NOISE, num_steps=1, **OPTIONS)
    assert not short.is_trained
    assert not short.is_converged
    optimum = "a stage has not reached an optimum (raise num_steps, or add noise levels where"
    flagged = short._replace(misfit=np.array([0.0, 10.0, 0.0])).summary()
    assert f"NOT CONVERGED: {optimum}" in short._replace(misfit=np.zeros(3)).summary()
    assert "MISFIT in stages [1]" in flagged
    assert "NOT CONVERGED: the model does not fit (pass a model that" in flagged
    assert f" and {optimum}" in flagged
    assert result.is_trained
    assert "NOT CONVERGED" not in result.summary()


@pytest.mark.costly
def test_few_pairs_for_each_parameter_are_no_estimate(result):
    """The quadratic form of the plane has five parameters, for which KL of 64 pairs has a bias."""
    few = nce_jax.fit_telescope(KEYS[2], X_DATA[:64], X_NOISE[:64], **OPTIONS)
    assert few.is_trained
    assert few.effective_samples < few.min_effective_samples == 50
    assert not few.is_converged
    assert np.isinf([few.kl_standard_error, few.kl_sampling_error]).all()
    assert f"only {few.effective_samples:.1f} effective pairs of the 50 that" in few.summary()
    assert result.effective_samples > 50


def test_an_error_as_large_as_the_divergence_is_called_imprecise(result):
    assert "IMPRECISE" not in result.summary()
    vague = result._replace(kl_standard_error=0.6 * result.kl).summary()
    assert "IMPRECISE: the standard error of KL is more than half of KL" in vague


def test_the_summary_has_a_column_for_every_heading(result):
    heading, *rows = result.summary().splitlines()[:4]
    assert [len(row) for row in rows] == [len(heading)] * 3
    for name in ("overlap", "ESS", "share of variance", "F", "misfit (s.e.)"):
        assert f" {name}" in heading


@pytest.mark.bad_input
def test_a_model_for_other_samples_is_named():
    model = nce_jax.models.mlp_energy(KEYS[0], 3, hidden=(2,))
    with pytest.raises(
        ValueError, match="; the model was made for samples of 3 dimensions"
    ) as caught:
        nce_jax.fit_telescope(KEYS[2], X_DATA, X_NOISE, model=model, **OPTIONS)
    assert (
        "log_ratio_fn: called as log_ratio_fn(params, x), with a dict" in caught.value.__notes__[0]
    )


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((KEYS[0], X_NOISE, distrax.Normal), TypeError, "x_noise: .* got the class Normal"),
        (
            (KEYS[0], jnp.ones((9, 2, 2)), X_NOISE),
            ValueError,
            "model: expected samples x_data of shape \\(dim,\\)",
        ),
        ((KEYS[0], jnp.ones(9), jnp.ones(9)), ValueError, "for numbers x"),
        ((0, X_DATA, X_NOISE), TypeError, "key: expected a typed key"),
        ((X_DATA, X_NOISE, KEYS[0]), TypeError, "key: .* the key comes before the samples"),
    ],
)
def test_wrong_objects_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        nce_jax.fit_telescope(*arguments)
