"""The rows of latent energies have the sizes that they say."""

import math

import jax
import pytest

from benchmarks import latent, render
from experiments.common import latent_model, latent_priors
from experiments.latent_energy.config import PRESETS


def _sizes(kernels):
    shapes = [kernel.shape for kernel in kernels]
    return "-".join(str(size) for size in [shapes[0][0], *(shape[1] for shape in shapes)])


def _networks():
    """Sizes of encoder, generator and prior, as texts, from the arrays that are trained."""
    keys = jax.random.split(jax.random.key(0), 3)
    params = jax.eval_shape(
        lambda a, b: latent_model.initial_params(latent.GENERATOR, a, b, latent.FEATURES), *keys[:2]
    )
    prior = jax.eval_shape(
        lambda key: latent_priors.initial_params(latent.PRIOR, latent.ONE, key, latent.DIM), keys[2]
    )
    of_prior = [prior[name]["kernel"] for name in sorted(prior)]  # hidden layers, then the output
    return {
        "encoder": _sizes([layer["kernel"] for layer in params["encoder"]]),
        "generator": _sizes([layer["kernel"] for layer in params["decoder"]]),
        "prior": _sizes([jax.ShapeDtypeStruct(k.shape[1:], k.dtype) for k in of_prior]),
    }


def test_the_networks_are_those_of_the_preset_cpu_and_the_page_names_them():
    preset, networks = PRESETS["cpu"], _networks()
    nz, hidden = preset.nz, "-".join(map(str, preset.hidden))
    assert networks["encoder"] == f"784-{hidden}-{2 * nz}"
    assert networks["generator"] == f"{nz}-{hidden}-784"
    assert networks["prior"] == f"{nz}-{'-'.join(map(str, preset.prior_hidden))}-1"
    text = render.SECTIONS["latent"][1]
    assert all(size in text for size in networks.values())
    assert f"batches of {preset.latent_batch}" in text
    assert latent.PRIOR.prior_batch == preset.prior_batch == preset.latent_batch


def _multiplications(jaxpr):
    """Multiplications of all matrix products of a traced program."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (summed, _), _ = equation.params["dimension_numbers"]
            left, out = equation.invars[0].aval, equation.outvars[0].aval
            total += out.size * math.prod(left.shape[axis] for axis in summed)
        for value in jax.tree.leaves(equation.params, is_leaf=lambda x: hasattr(x, "eqns")):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                total += _multiplications(inner)
    return total


@pytest.mark.costly
@pytest.mark.parametrize("prior", [None, latent.THREE])
def test_the_multiplications_are_those_of_the_traced_step(prior):
    train, state = latent.make_training(prior)
    batch = jax.ShapeDtypeStruct((latent.BATCH, latent.FEATURES), "float32")
    with jax.numpy_rank_promotion("allow"):  # networks of the experiments, distrax
        traced = jax.make_jaxpr(train)(state, batch, jax.random.key(0))
    found = _multiplications(traced.jaxpr) / latent.BATCH
    assert found == pytest.approx(latent.multiplications(prior), rel=0.01)
