"""A batch that consists of padding: loss and gradient are zero, in every loss that takes weights.

The losses are found by iteration over the public names, so that a new one is tested too.
"""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nce_jax
from nce_jax import criteria, losses


def functions():
    found = {
        name: value
        for name in losses.__all__
        if name.endswith("_loss") and inspect.isfunction(value := getattr(losses, name))
    }
    return found | {"profiled_nce_loss": nce_jax.profiled_nce_loss}


def weight_names(function):
    return [name for name in inspect.signature(function).parameters if name.startswith("weights")]


CASES = [
    (name, weights) for name, function in functions().items() for weights in weight_names(function)
]


def arguments(function, padding):
    """The required arguments of a loss, by their names; samples are `padding` everywhere."""
    n, k, dim, num_words = 4, 3, 2, 7
    vectors = jnp.full((n, dim), padding)
    known = {
        "log_ratio": jnp.full(n, padding),
        "rewards": jnp.full(n, padding),
        "score_chosen": jnp.full(n, padding),
        "score_rejected": jnp.full(n, padding),
        "log_ratio_data": jnp.full(n, padding),
        "log_ratio_noise": jnp.full(n, padding),
        "log_density_data": jnp.full(n, padding),
        "log_density_noise": jnp.full((n, k), padding),
        "x": vectors,
        "y": vectors,
        "hidden": vectors,
        "targets": jnp.zeros(n, int),
        "noise_ids": jnp.arange(k),
        "embedding": jnp.ones((num_words, dim)),
        "log_noise_targets": jnp.full(n, -2.0),
        "log_noise_ids": jnp.full(k, -2.0),
    }
    parameters = inspect.signature(function).parameters.values()
    given = {p.name: known[p.name] for p in parameters if p.default is p.empty}
    # It has positives by labels, of which one form has to be given.
    is_supervised = function.__name__ == "supervised_contrastive_loss"
    return given | ({"labels": jnp.zeros(n, int)} if is_supervised else {})


@pytest.mark.parametrize(("name", "weights"), CASES)
def test_loss_and_gradient_are_zero(name, weights):
    function = functions()[name]
    given = arguments(function, 0.5)
    size = given.get("log_density_noise", jnp.zeros(4)).shape if "noise" in weights else (4,)

    def loss(floating):
        return function(**given | floating, **{weights: jnp.zeros(size)})

    program = jax.jit(jax.value_and_grad(loss))
    # The other side has its samples: there is nothing to compare them with.
    sampled = {"weights_noise": "data", "weights_data": "noise"}.get(weights, "no such side")
    for padding in (0.5, jnp.nan):
        floating = {
            key: jnp.full_like(x, 0.5) if sampled in key else x
            for key, x in arguments(function, padding).items()
            if jnp.issubdtype(x.dtype, jnp.floating)
        }
        value, gradient = program(floating)
        assert value == 0
        for leaf in jax.tree.leaves(gradient):
            np.testing.assert_array_equal(leaf, 0)


@pytest.mark.parametrize(
    "criterion",
    [
        criteria.nce(magnification=2.0),
        criteria.exponential_nce(),
        criteria.nwj(),
        criteria.donsker_varadhan(),
        criteria.least_squares(),
        criteria.ranking_nce(),
        criteria.ratio_regularized(criteria.nce(), 0.5),
    ],
    ids=lambda criterion: criterion.name,
)
def test_criteria_at_their_own_f(criterion):
    """F cannot be solved for, which is NaN; the loss is zero all the same, with its gradient. A
    lane beside it is as it would be alone.
    """
    data, noise = jnp.array([[1.0, 2.0], [0.5, 1.5]]), jnp.array([[0.0, -1.0], [0.3, 0.1]])
    weights = jnp.array([[0.0, 0.0], [1.0, 1.0]])

    def loss(data, noise, weights):
        f = criterion.profile(data, noise, weights_data=weights).log_partition
        return criterion.loss(data, noise, log_partition=f, weights_data=weights)

    def total(data, noise):
        values = loss(data, noise, weights)
        return values.sum(), values

    gradients, values = jax.jit(jax.grad(total, (0, 1), has_aux=True))(data, noise)
    alone = jax.jit(loss)(data[1], noise[1], weights[1])
    np.testing.assert_allclose(values, [0, alone], rtol=1e-6)
    for gradient in gradients:
        np.testing.assert_array_equal(gradient[0], 0)
        assert np.isfinite(gradient).all()
        assert gradient[1].any()


def test_a_perplexity_of_nothing_is_no_number():
    """A loss of zero would be a perfect model."""
    value = nce_jax.diagnostics.perplexity(
        jnp.ones((2, 3)), jnp.zeros(2, int), embedding=jnp.ones((5, 3)), weights=jnp.zeros(2)
    )
    assert np.isnan(value)
