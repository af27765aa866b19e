"""Factories that are called anew with equal arguments give equal values, so that JAX compiles once
for all of them. Every public function that returns functions is called, found by iteration.
"""

import functools
import inspect
import typing

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nce_jax
from nce_jax import criteria, log_partition, training
from nce_jax._partial import EqualPartial, Parts
from nce_jax.latent import Inference
from nce_jax.log_partition import Solver
from nce_jax.magnification import MagnificationRule
from nce_jax.samplers import Kernel
from nce_jax.telescoping._fit.stage_model import StageModel
from nce_jax.training import Treatment
from tests.log_partition.cases import gaussian_log_ratios
from tests.test_signatures import FUNCTIONS

OPTIMIZER = optax.sgd(10.0)
KINDS = (Solver, criteria.Criterion, Treatment, MagnificationRule, Kernel)
ARGUMENTS = {
    "adaptive_magnification": [{"smallest": 0.5, "largest": 20.0}],
    "fixed_point": [{"learning_rate": 0.5}, {"learning_rate": jnp.array([0.5, 1.0])}],
    "gradient_ascent": [{"step_size": 0.1}],
    "hmc": [{"step_size": 0.1, "num_integration_steps": 3, "inverse_mass_matrix": np.ones(2)}],
    "joint_gradient": [{"optimizer": OPTIMIZER}],
    "langevin": [{"step_size": 0.1}],
    "mala": [{"step_size": 0.1}],
    "nce": [{"magnification": 10.0, "noise_ratio": jnp.float32(2)}],
    "bar_step": [{"learning_rate": 0.5}],
    "ranking_nce": [{"magnification": 10.0}],
    "ratio_regularized": [{"criterion": criteria.nce(magnification=3.0), "strength": 0.1}],
    "sufficient_magnification": [{"largest": 20.0}, {"matching": 1.0}],
    "solved": [{"solver": nce_jax.fixed_point(0.5), "tolerance": 1e-3, "fixed_steps": 4}],
}


def factories() -> dict[str, typing.Callable]:
    """The public functions that return one of these kinds, by their own name."""
    return {
        name.rpartition(".")[2]: function
        for name, function in FUNCTIONS.items()
        if inspect.signature(function).return_annotation in KINDS
    }


def calls() -> list[tuple[str, dict]]:
    with_defaults = [
        (name, {})
        for name, function in factories().items()
        if all(
            parameter.default is not parameter.empty
            for parameter in inspect.signature(function).parameters.values()
        )
    ]
    return with_defaults + [(name, given) for name, all_ in ARGUMENTS.items() for given in all_]


def test_every_factory_is_called():
    assert {name for name, _ in calls()} == factories().keys()
    assert len(factories()) > 15


@pytest.mark.parametrize(("name", "arguments"), calls(), ids=lambda part: part)
def test_equal_arguments_give_equal_values(name, arguments):
    first, second = (factories()[name](**arguments) for _ in range(2))
    assert first == second
    assert hash(first) == hash(second)
    traced = []

    def program(value, x):
        traced.append(value)
        return x

    jitted = jax.jit(program, static_argnums=0)
    for value in (first, second):
        jitted(value, 0.0)
    assert len(traced) == 1


def test_other_arguments_give_other_values():
    assert nce_jax.fixed_point(0.5) != nce_jax.fixed_point(0.25)
    assert nce_jax.fixed_point(jnp.ones(2)) != nce_jax.fixed_point(jnp.array([1.0, 2.0]))
    assert nce_jax.fixed_point(np.ones(2)) != nce_jax.fixed_point(np.ones(3))
    assert criteria.nce(magnification=2.0) != criteria.nce(noise_ratio=2.0)
    assert training.solved() != training.solved(warm_start=False)
    one, other = (criteria.nce(magnification=m) for m in (1.0, 2.0))
    assert criteria.ratio_regularized(one) != criteria.ratio_regularized(other)
    assert EqualPartial(max, 1) != max
    assert EqualPartial(max, 1) != EqualPartial(max, True)


class First(typing.NamedTuple):
    number: float


class Second(typing.NamedTuple):
    number: float


def test_tuples_that_are_equal_are_no_equal_arguments():
    """Functions may be tuples that can be called, of any class."""
    assert First(1.0) == Second(1.0)
    assert EqualPartial(max, First(1.0)) == EqualPartial(max, First(1.0))
    assert EqualPartial(max, First(1.0)) != EqualPartial(max, Second(1.0))


class Halved(typing.NamedTuple):
    """A function that is a tuple, of an integer or a truth value."""

    number: float

    def __call__(self, *args, **kwargs):
        return 0.5 * criteria.nce().loss(*args, **kwargs) + self.number


class Doubled(Halved):
    def __call__(self, *args, **kwargs):
        return 2.0 * criteria.nce().loss(*args, **kwargs)


@pytest.mark.parametrize("kind", [*KINDS, StageModel, Inference, Parts])
def test_objects_of_functions_that_are_equal_tuples_are_not_equal(kind):
    """They would run each other's program: both functions below are the tuple of one."""
    rest = [None] * (len(kind._fields) - 1)
    first, second, third = (kind(f, *rest) for f in (Halved(1.0), Doubled(1.0), Halved(True)))
    assert first.__class__ is kind
    assert first != second
    assert not first == second  # noqa: SIM201 (both operators of tuples)
    assert first != third
    assert first == kind(*first)
    assert hash(first) == hash(kind(*first))
    assert EqualPartial(max, first) != EqualPartial(max, second)
    assert EqualPartial(first[0]) != EqualPartial(second[0])


def test_a_criterion_does_not_run_the_program_of_another():
    """Eager calls keep their programs by the criterion."""
    data, noise = gaussian_log_ratios(dtype=np.float32)

    @functools.partial(jax.jit, static_argnums=0)
    def loss(criterion, data, noise):
        return criterion.loss(data, noise, log_partition=0.0)

    first, second = (criteria.Criterion("mine", f) for f in (Halved(0.0), Doubled(0.0)))
    assert 3.9 * loss(first, data, noise) < loss(second, data, noise)


def test_a_method_is_the_same_at_every_access():
    class Model:
        def log_ratio(self, params, x):
            return x

    model, other = Model(), Model()
    assert StageModel(model.log_ratio) == StageModel(model.log_ratio)
    assert hash(StageModel(model.log_ratio)) == hash(StageModel(model.log_ratio))
    assert StageModel(model.log_ratio) != StageModel(other.log_ratio)


def test_an_equal_criterion_at_another_magnification():
    first, second = (criteria.ratio_regularized(criteria.nce(), 0.5) for _ in range(2))
    assert first.at_magnification(3.0) == second.at_magnification(3.0)


def test_traced_arguments_are_equal_to_themselves_only():
    def program(rate):
        assert nce_jax.fixed_point(rate) == nce_jax.fixed_point(rate)
        assert nce_jax.fixed_point(rate) != nce_jax.fixed_point(rate + 0)
        assert nce_jax.fixed_point(rate) != nce_jax.fixed_point(jnp.ones(()))
        return rate

    jax.jit(program)(jnp.ones(()))


def test_a_solver_made_anew_is_not_compiled_anew():
    """Eager solves: the program of the first call serves all."""
    pair = gaussian_log_ratios(1.0, 17, 19, dtype=np.float32)
    problem = log_partition.make_problem(*pair)
    compiled = []
    for _ in range(3):
        with jax.log_compiles(False), jax.check_tracer_leaks(False):
            before = log_partition.solve._solve._cache_size()
            log_partition.solve_problem(problem, solver=nce_jax.fixed_point(0.77))
            compiled.append(log_partition.solve._solve._cache_size() - before)
    assert compiled == [1, 0, 0]
