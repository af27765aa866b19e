"""Peers in processes of their own that are not there, and the problems' own truths."""

import sys

import numpy as np
import pytest

from benchmarks import fresh, mutual_information, ratio_estimation
from benchmarks.bmi_peer import INTERPRETER, Bmi
from benchmarks.peers import MissingPeerError


@pytest.mark.parametrize(
    ("python", "message"),
    [
        ("/no/such/python", "needs benchmark-mi in an environment of its own"),
        (sys.executable, "process ended with status 1"),
    ],
)
def test_without_its_environment_bmi_is_missing_by_name(monkeypatch, python, message):
    monkeypatch.setenv(INTERPRETER, python)
    with pytest.raises(MissingPeerError, match=message), Bmi():
        pass


@pytest.mark.parametrize("name", ratio_estimation.PROBLEMS)
def test_true_ratios_average_to_one_over_the_denominator(name):
    problem = ratio_estimation.PROBLEMS[name]()
    ratios = np.exp(problem.log_ratio(problem.held_out_y))
    assert abs(ratios.mean() - 1) < 4 * ratios.std() / len(ratios) ** 0.5


def test_a_perfect_estimate_has_no_error():
    problem = ratio_estimation.bump()
    assert ratio_estimation._errors(problem, problem.log_ratio) == (0, 0)
    level = ratio_estimation._errors(problem, lambda z: problem.log_ratio(z) + np.log(2))
    assert level == pytest.approx((np.log(2), 1.0))


def test_mutual_information_of_a_gaussian_pair():
    x, noise = np.random.default_rng(0).normal(size=(2, 900, 1))
    y = 0.75 * x + np.sqrt(1 - 0.75**2) * noise
    actual = mutual_information.estimate(np.exp(x), y)
    assert abs(actual.value - -0.5 * np.log(1 - 0.75**2)) < 4 * actual.standard_error < 0.2
    assert actual.model == "gaussian copula"


@pytest.mark.costly
def test_a_fresh_process_tells_times_and_bytes():
    actual = fresh.ask("solve", "64", "float32")
    assert actual["argument"] == 2 * 64 * 4
    assert 0 < actual["import_nce_jax"] < actual["import_jax"]
    assert actual["peak"] >= actual["peak_before"] > 1e6
    with pytest.raises(RuntimeError, match="KeyError: 'no_such_program'"):
        fresh.ask("no_such_program")
