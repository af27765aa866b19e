"""Unnormalized models, each as a pair `(params, log_density_fn)`.

`params` is a plain pytree of arrays, for optax, `jax.grad` and `jax.vmap` (over seeds, for
example). `log_density_fn(params, x)` takes samples of shape (samples, dim), or images, and returns
phi(x), minus the energy, of shape (samples,). The normalizer F is never part of `params`: it is
solved for, or learned as a separate parameter.

`VocabularyHead` is a model of another kind: the output layer of a language model, whose arrays are
arguments of the vocabulary losses.
"""

from nce_jax.models._convolutional import conv_energy
from nce_jax.models._exponential_family import (
    exponential_family,
    linear_statistics,
    quadratic_statistics,
)
from nce_jax.models._mlp import mlp_energy
from nce_jax.models._module import split_module
from nce_jax.models._quadratic_head import QuadraticHead, quadratic_energy
from nce_jax.models._resnet import resnet18_energy
from nce_jax.models._vocabulary_head import VocabularyHead

__all__ = [
    "QuadraticHead",
    "VocabularyHead",
    "conv_energy",
    "exponential_family",
    "linear_statistics",
    "mlp_energy",
    "quadratic_energy",
    "quadratic_statistics",
    "resnet18_energy",
    "split_module",
]
