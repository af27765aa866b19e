r"""Latent energies: an energy-based prior, trained beside a generator.

The model is :math:`p(x, z) = p(x | z)\, N(z; 0, I)\, e^{s(z) - F}`. Any train step of a log ratio
learns s, so that the prior has every criterion, magnification, number of stages and treatment of F
of this library. This room needs the extra `samplers`.
"""

from nce_jax.latent._inference import Inference, Inferred, amortized, short_run
from nce_jax.latent._prior import ChainStep, make_chain_step, prior_log_ratio
from nce_jax.latent._step import LatentState, LatentStep, gaussian_likelihood, make_latent_step

__all__ = [
    "ChainStep",
    "Inference",
    "Inferred",
    "LatentState",
    "LatentStep",
    "amortized",
    "gaussian_likelihood",
    "make_chain_step",
    "make_latent_step",
    "prior_log_ratio",
    "short_run",
]
