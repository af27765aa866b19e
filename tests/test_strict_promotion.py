"""Every public function works where JAX promotes neither dtypes nor ranks by itself, as large code
bases set it.
"""

import doctest
import importlib
import inspect
from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nce_jax
from nce_jax import criteria, free_energy, models, noise, telescoping, training
from tests.free_energy.networks import oscillators
from tests.test_log_ratio_functions import (
    FUNCTIONS,
    NAMES,
    PARAMETERS,
    arguments,
    floating,
    weights_of,
)
from tests.test_public_docs import public_names

# Examples that pass samples to distrax themselves, which broadcasts between ranks.
BROADCASTING = {"make_train_step", "fit", "flow", "self_noise"}
NUMBERS = {"magnification", "noise_ratio", "log_partition", "initial", "tolerance"}


@pytest.fixture(autouse=True)
def strict() -> Iterator[None]:
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


@pytest.mark.parametrize("is_traced", [True, pytest.param(False, marks=pytest.mark.costly)])
@pytest.mark.parametrize("name", NAMES)
def test_functions_of_log_ratios(name, is_traced):
    """In bfloat16, with weights that are a mask, and with numbers in another dtype."""
    names = {parameter.name for parameter in PARAMETERS[name]}
    arrays, options = arguments(name, jnp.bfloat16)
    weights = weights_of(name, arrays, np.random.default_rng(0))
    masks = {word: jnp.asarray(values > 0.01) for word, values in (weights or {}).items()}
    # An integer in the place of a float.
    numbers = dict.fromkeys(NUMBERS & names, jnp.int32(2))

    def call(arrays, numbers):
        return FUNCTIONS[name](**arrays, **options, **masks, **numbers)

    result = (partial(jax.eval_shape, call) if is_traced else call)(arrays, numbers)
    assert {leaf.dtype for leaf in floating(result)} == {np.dtype("float32")}


@pytest.mark.parametrize("param_dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("criterion", "treatment"),
    [
        (criteria.nce(), training.solved()),
        (criteria.nce(), training.solved(nce_jax.fixed_point(), fixed_steps=2)),
        (criteria.nce(), training.bar_step()),
        (criteria.ratio_regularized(criteria.nce()), training.solved()),
        (criteria.exponential_nce(), training.solved()),
        (criteria.ranking_nce(), training.held()),
        (criteria.nwj(), training.joint_gradient(optax.sgd(1.0))),
    ],
    ids=lambda part: part.name,
)
def test_train_steps(criterion, treatment, param_dtype):
    """With Adam and distrax inside, which do not work under these rules themselves."""
    params, log_density_fn = models.mlp_energy(jax.random.key(0), 1, hidden=(4,))
    params = jax.tree.map(lambda leaf: leaf.astype(param_dtype), params)
    adapts = criterion.at_magnification is not None and treatment.is_profiled
    train = training.make_train_step(
        log_density_fn,
        noise.standard_normal(1),
        optax.adam(1e-2),
        criterion=criterion,
        treatment=treatment,
        magnification_rule=nce_jax.adaptive_magnification() if adapts else None,
    )
    x = 1 + jax.random.normal(jax.random.key(1), (16, 1))
    # What these rules refuse is refused when the step is traced.
    _, metrics = jax.eval_shape(train, train.init(params), x, jax.random.key(2))
    assert metrics.loss.dtype == jnp.float32


@pytest.mark.costly
@pytest.mark.parametrize("enabled", [False, True])
def test_many_states_with_both_widths_of_integers(enabled):
    potentials, counts = oscillators()[:2]
    with jax.enable_x64(enabled):
        key = jax.random.key(0)
        table = jnp.asarray(potentials[:3, :40].reshape(3, 4, 10))
        nce_jax.mbar(potentials, counts, weights=np.ones(150), chunk_size=40)
        jax.grad(lambda u: nce_jax.mbar(u, counts).f[1])(jnp.asarray(potentials))
        free_energy.enthalpy_and_entropy(potentials, counts)
        free_energy.bootstrap_mbar(key, potentials, counts, num_replicates=3, block_size=3)
        telescoping.joint_log_partitions(table)


def examples() -> dict[str, str]:
    """The docstrings with examples, of every public function, class and method once."""
    found = {}
    for module, name in public_names():
        value = getattr(importlib.import_module(module), name)
        members = vars(value).values() if inspect.isclass(value) else ()
        for documented in (value, *members):
            text = getattr(documented, "__doc__", None) or ""
            if callable(documented) and ">>>" in text:
                found[documented.__qualname__] = text
    return found


EXAMPLES = examples()


@pytest.mark.costly
@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_examples(name):
    test = doctest.DocTestParser().get_doctest(EXAMPLES[name], {}, name, None, 0)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    with jax.numpy_rank_promotion("allow" if name in BROADCASTING else "raise"):
        report: list[str] = []
        assert runner.run(test, out=report.append).failed == 0, "".join(report)


def test_there_are_examples():
    assert len(EXAMPLES) > 120
    assert EXAMPLES.keys() >= BROADCASTING
