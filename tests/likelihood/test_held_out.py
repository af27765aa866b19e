"""From an energy to a held-out log-likelihood: closed forms, coverage, and what is unreliable."""

import math
import re
import warnings

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nce_jax import check_solution, noise, samplers
from nce_jax.likelihood import (
    HeldOutLikelihood,
    UnreliableLikelihoodWarning,
    held_out_log_likelihood,
)
from nce_jax.likelihood._annealing import Annealing, _slope, annealing_program, starts
from nce_jax.likelihood._held_out import _problems_of_log_partition
from nce_jax.log_partition import Status
from tests.compilations import compilations

KEY = jax.random.key(1)
SMALL = {"num_samples": 64, "num_stages": 5, "num_steps": 10}
DISTANCE = 8.0


@pytest.fixture(autouse=True)
def rank_promotion_as_distrax_needs_it():
    with jax.numpy_rank_promotion("allow"):
        yield


def gaussian(params, x):
    """N(1, params^2), without its constant: log Z = d log(2 pi params^2) / 2."""
    return -0.5 * jnp.sum(((x - 1) / params) ** 2, axis=-1)


def gaussian_data(num_samples, dim=2, std=0.5, seed=0):
    return 1 + std * jax.random.normal(jax.random.key(seed), (num_samples, dim))


def two_modes(share, x):
    """N(-8, I) with a share of the mass, and N(8, I): log Z = log(2 pi) in two dimensions."""
    left, right = (-0.5 * jnp.sum((x - c) ** 2, axis=-1) for c in (-DISTANCE, DISTANCE))
    return jnp.logaddexp(left + jnp.log(share), right + jnp.log1p(-share))


def two_mode_data(share, num_samples=1000):
    is_left = np.arange(num_samples)[:, None] < share * num_samples
    return jnp.where(is_left, -DISTANCE, DISTANCE) + jax.random.normal(KEY, (num_samples, 2))


def diagonal(mean, std):
    return distrax.MultivariateNormalDiag(jnp.full(2, mean), jnp.full(2, std))


@pytest.mark.costly
def test_the_numbers_are_those_of_a_gaussian():
    """Within 4 standard errors of the truth; seed 1. The fields belong together."""
    x_test = gaussian_data(500)
    found = held_out_log_likelihood(
        KEY, gaussian, jnp.float32(0.5), x_test, noise.standard_normal(2), **SMALL
    )
    assert found.is_reliable, found.problems
    truth = math.log(2 * math.pi * 0.25)
    assert abs(found.log_partition - truth) < 4 * found.log_partition_standard_error < 0.8
    assert abs(found.log_likelihood + 1 + truth) < 4 * found.standard_error
    values = np.asarray(gaussian(0.5, x_test), np.float64)
    np.testing.assert_allclose(found.log_likelihood, values.mean() - found.log_partition, rtol=1e-5)
    expected = math.hypot(values.std(ddof=1) / math.sqrt(500), found.log_partition_standard_error)
    np.testing.assert_allclose(found.standard_error, expected, rtol=1e-4)
    assert found.lower < found.log_partition < found.upper
    assert found.lower < found.forward
    assert found.reverse < found.upper
    assert (found.status, found.num_dims) == (Status.CONVERGED, 2)
    bits, error = found.bits_per_dimension()
    np.testing.assert_allclose(bits, -found.log_likelihood / (2 * math.log(2)), rtol=1e-6)
    np.testing.assert_allclose(error, found.standard_error / (2 * math.log(2)))
    assert found.bits_per_dimension(num_levels=256)[0] == pytest.approx(bits + 8)


@pytest.mark.costly
def test_a_change_of_variables_and_a_kernel_of_ones_own_enter():
    x_test, options = gaussian_data(200), SMALL | {"kernel": samplers.hmc(0.3, 3)}
    arguments = KEY, gaussian, jnp.float32(0.5), x_test, noise.standard_normal(2)
    plain = held_out_log_likelihood(*arguments, **options)
    shifted = held_out_log_likelihood(*arguments, log_det=jnp.full(200, 3.0), **options)
    assert shifted.log_likelihood == pytest.approx(plain.log_likelihood + 3, rel=1e-6)
    assert shifted.log_partition == plain.log_partition


@pytest.mark.costly
def test_log_partition_is_right_and_its_error_covers():
    """200 seeds of 128 chains: the mean deviation is below 4 of its errors and 91 % or more of the
    intervals of 95 % hold the truth (binomial, 2.6 standard deviations below); none is flagged.
    """
    counts = {"num_samples": 128, "num_stages": 10, "num_steps": 20}
    program = annealing_program(gaussian, noise.standard_normal(2), counts, None)
    keys = jax.random.split(jax.random.key(0), 200)
    x_start = 1 + 0.5 * jax.random.normal(KEY, (200, 128, 2))
    found = jax.jit(jax.vmap(program, in_axes=(0, None, 0)))(keys, jnp.float32(0.5), x_start)
    found = jax.tree.map(np.asarray, found)
    z = (found.log_partition - math.log(2 * math.pi * 0.25)) / found.standard_error
    assert abs(z.mean()) < 4 / math.sqrt(200)
    assert np.mean(np.abs(z) < 1.96) > 0.91
    assert np.mean(found.lower) < math.log(2 * math.pi * 0.25) < np.mean(found.upper)
    problems = [
        _problems_of_log_partition(jax.tree.map(lambda leaf, i=i: leaf[i], found))
        for i in range(200)
    ]
    assert sum(map(bool, problems)) == 0


@pytest.mark.costly
@pytest.mark.parametrize(
    ("share", "of_data", "start", "message"),
    [
        # Chains from the noise reach one mode, those from the data stay in both.
        (0.5, 0.5, (-DISTANCE, 1.0), "log Z from the noise alone differs"),
        # Both reach both, but those from the data keep the data's shares, not the model's.
        (0.9, 0.5, (0.0, DISTANCE), "contradict each other"),
    ],
)
def test_modes_between_which_chains_do_not_mix_are_unreliable(share, of_data, start, message):
    model, x_test = jnp.float32(share), two_mode_data(of_data)
    with pytest.warns(UnreliableLikelihoodWarning, match=message):
        found = held_out_log_likelihood(KEY, two_modes, model, x_test, diagonal(*start))
    assert not found.is_reliable
    assert any(message in problem for problem in found.problems)


@pytest.mark.costly
def test_modes_that_noise_and_data_reach_in_their_shares_are_reliable():
    """Within 4 standard errors; the chains need not cross."""
    model, x_test = jnp.float32(0.9), two_mode_data(0.9)
    found = held_out_log_likelihood(KEY, two_modes, model, x_test, diagonal(0.0, DISTANCE))
    assert found.is_reliable, found.problems
    truth = math.log(2 * math.pi)
    assert abs(found.log_partition - truth) < 4 * found.log_partition_standard_error < 0.4


@pytest.mark.parametrize("num_model", [50, 2000])
def test_the_slope_is_a_standard_normal_number_for_any_two_counts(num_model):
    """N(1/2, 1) and N(-1/2, 1) have the log ratio u: 400 pairs of sets, seed 0, the mean within 4
    standard errors of 0, and the standard deviation within 4 of 1 (1 / sqrt(2 n) each).
    """
    draws = jax.random.normal(jax.random.key(0), (400, num_model + 2000))
    model, other = 0.5 + draws[:, :num_model], -0.5 + draws[:, num_model:]
    scores = np.asarray(jax.vmap(_slope, in_axes=(0, 0, None))(model, other, jnp.float32(0)))
    assert abs(scores.mean()) < 4 / math.sqrt(400)
    assert abs(scores.std() - 1) < 4 / math.sqrt(800)


def test_weights_of_zero_say_nothing_about_the_slope():
    """Half of the chains from the noise have none: the log ratio of the others is u + log 2."""
    draws = jax.random.normal(jax.random.key(0), (4000,))
    model, other = 0.5 + draws[:2000], -0.5 + draws[2000:]
    other = jnp.where(jnp.arange(2000) < 1000, other, -jnp.inf)
    assert 0 < abs(_slope(model, other, jnp.float32(math.log(0.5)))) < 4
    assert abs(_slope(1.5 * model, 1.5 * other, jnp.float32(math.log(0.5)))) > 4.5


@pytest.mark.costly
def test_a_model_without_density_on_a_part_of_the_noise_is_reliable():
    """The positive quadrant: log Z = log(pi / 2); within 4 standard errors, seed 1."""

    def quadrant(params, x):
        return jnp.where((x > 0).all(axis=-1), -0.5 * jnp.sum(jnp.square(x), axis=-1), -jnp.inf)

    x_test = jnp.abs(jax.random.normal(jax.random.key(0), (500, 2)))
    options = SMALL | {"num_samples": 256}
    found = held_out_log_likelihood(
        KEY, quadrant, jnp.zeros(1), x_test, noise.standard_normal(2), **options
    )
    assert found.is_reliable, found.problems
    truth = math.log(math.pi / 2)
    assert abs(found.log_partition - truth) < 4 * found.log_partition_standard_error < 0.8
    assert -math.inf < found.lower < truth + 0.5
    assert abs(found.reverse - truth) < 0.5


@pytest.mark.parametrize(
    ("side", "value", "text"),
    [("forward", 5.0, "low, lies 3 nats above"), ("reverse", -1.0, "high, lies 3 nats below")],
)
def test_a_direction_on_the_wrong_side_of_its_bias_is_said(side, value, text):
    """As of a model with a mode that the noise hardly reaches: too few chains for an error."""
    numbers = dict.fromkeys(Annealing._fields, 0.1) | {
        "log_partition": 2.0, "effective_samples": 50.0, "status": Status.CONVERGED,
        "lower": 1.0, "upper": 3.0, "forward": 1.9, "reverse": 2.1, "acceptance_rate": 0.6,
        "forward_status": Status.LOW_OVERLAP, "reverse_status": Status.LOW_OVERLAP,
    }  # fmt: skip
    assert not _problems_of_log_partition(Annealing(**numbers))
    (problem,) = _problems_of_log_partition(Annealing(**(numbers | {side: value})))
    assert text in problem


@pytest.mark.parametrize(
    ("status", "cause"),
    [(Status.NONFINITE, "NONFINITE.*model or of the noise is NaN"), (Status.NO_OVERLAP, "nothing")],
)
def test_why_there_is_no_log_partition_is_said(status, cause):
    numbers = dict.fromkeys(Annealing._fields, math.nan) | {"status": status}
    (problem,) = _problems_of_log_partition(Annealing(**numbers))
    assert re.search(cause, problem)


@pytest.mark.costly
def test_too_few_stages_are_said():
    x_test, options = gaussian_data(100, dim=50, std=0.3), SMALL | {"num_stages": 3}
    with pytest.warns(UnreliableLikelihoodWarning, match="more stages"):
        found = held_out_log_likelihood(
            KEY, gaussian, jnp.float32(0.3), x_test, noise.standard_normal(50), **options
        )
    assert not found.is_reliable
    assert math.isnan(found.log_likelihood) or found.status == Status.LOW_OVERLAP


def test_a_likelihood_that_is_no_number_is_a_failed_solution():
    """It is a Python number, not an array."""
    numbers = dict.fromkeys(HeldOutLikelihood._fields, 1.0)
    found = HeldOutLikelihood(**(numbers | {"status": Status.NO_OVERLAP}))
    check_solution(found._replace(status=Status.LOW_OVERLAP))
    with pytest.raises(FloatingPointError, match=r"^log_likelihood: 1 of 1 .* NO_OVERLAP"):
        check_solution(found._replace(log_likelihood=math.nan))


@pytest.mark.costly
def test_test_samples_without_density_and_a_single_one_are_said():
    def model(params, x):
        return jnp.where(jnp.max(jnp.abs(x), axis=-1) < 9, gaussian(params, x), -jnp.inf)

    x_test = gaussian_data(20).at[3].set(100.0)
    arguments = KEY, model, jnp.float32(0.5)
    with pytest.warns(UnreliableLikelihoodWarning, match="of 1 of 20 test samples is not finite"):
        found = held_out_log_likelihood(*arguments, x_test, noise.standard_normal(2), **SMALL)
    assert found.log_likelihood == -math.inf
    with pytest.warns(UnreliableLikelihoodWarning, match="a single test sample"):
        found = held_out_log_likelihood(*arguments, x_test[:1], noise.standard_normal(2), **SMALL)
    assert found.standard_error == math.inf


@pytest.mark.costly
def test_a_model_that_is_the_noise_is_exact():
    """All log weights are zero but for rounding, which no check takes for a contradiction."""
    standard = noise.standard_normal(2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnreliableLikelihoodWarning)
        found = held_out_log_likelihood(
            KEY,
            lambda params, x: standard.log_prob(x),
            jnp.zeros(1),
            gaussian_data(50),
            standard,
            **SMALL,
        )
    assert abs(found.log_partition) < 1e-5
    assert found.overlap == pytest.approx(1, abs=1e-5)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"key": 0}, TypeError, "key: expected a typed key"),
        ({"log_density_fn": 3}, TypeError, "log_density_fn: expected a function"),
        ({"x_test": "x"}, TypeError, "x_test: expected a floating array"),
        ({"x_test": jnp.zeros((0, 2))}, ValueError, "x_test: expected shape .* at least one"),
        ({"x_test": jnp.zeros((3, 5))}, ValueError, "x_test: expected shape .* since the noise"),
        ({"noise": jnp.zeros((3, 2))}, TypeError, "noise: expected a distribution"),
        ({"num_samples": 0}, ValueError, "num_samples: expected at least 1"),
        ({"num_stages": 2.5}, TypeError, "num_stages: expected an integer"),
        ({"kernel": samplers.langevin(0.1)}, ValueError, "kernel: expected one with a Metropolis"),
        ({"kernel": 0.1}, TypeError, "kernel: expected a Kernel"),
        ({"log_det": jnp.zeros(3)}, ValueError, "log_det: expected one value per test sample"),
    ],
)
def test_wrong_arguments_are_named(change, error, message):
    arguments = {
        "key": KEY,
        "log_density_fn": gaussian,
        "params": jnp.float32(0.5),
        "x_test": gaussian_data(20),
        "noise": noise.standard_normal(2),
    }
    with pytest.raises(error, match=message):
        held_out_log_likelihood(**arguments | SMALL | change)


@pytest.mark.costly
def test_noise_of_numpyro_serves_and_each_test_sample_starts_one_chain():
    """Within 4 standard errors of the truth; seed 1."""
    dist = pytest.importorskip("numpyro.distributions")
    normal = dist.Normal(jnp.zeros(2), 1.0).to_event(1)
    found = held_out_log_likelihood(
        KEY, gaussian, jnp.float32(0.5), gaussian_data(40), normal, **SMALL
    )
    exact = math.log(2 * math.pi * 0.25)
    assert abs(found.log_partition - exact) < 4 * found.log_partition_standard_error
    assert starts(KEY, gaussian_data(40), 40).shape == (40, 2)


class Handmade:
    """A noise that is no tree of arrays, and may change."""

    def __init__(self, std):
        self.std = std

    def sample_and_log_prob(self, *, seed, sample_shape):
        return diagonal(1.0, self.std).sample_and_log_prob(seed=seed, sample_shape=sample_shape)

    def log_prob(self, x):
        return diagonal(1.0, self.std).log_prob(x)


def test_a_second_model_of_the_same_functions_compiles_nothing():
    """Other parameters and another noise of the same kind, as after every epoch of a training."""
    x_test = gaussian_data(64)

    def log_z(std, noise_std):
        made = noise.fitted_gaussian(gaussian_data(64, std=noise_std))
        found = held_out_log_likelihood(KEY, gaussian, jnp.array(std), x_test, made, **SMALL)
        return found.log_partition

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        log_z(0.5, 1.0)
        with compilations() as names:
            second = log_z(0.7, 0.8)
        assert names == []
        assert abs(second - math.log(2 * math.pi * 0.7**2)) < 0.5
        assert log_z(0.7, 1.2) != second


def test_a_noise_that_has_changed_is_taken_as_it_is():
    made, x_test = Handmade(1.0), gaussian_data(64)
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for std in (1.0, 0.6):
            made.std = std
            result = held_out_log_likelihood(KEY, gaussian, jnp.array(0.5), x_test, made, **SMALL)
            found.append(result.log_partition)
    assert found[0] != found[1]
