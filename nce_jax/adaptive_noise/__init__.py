"""Noise that is fitted or adapted: a normalizing flow, or a past snapshot of the model.

The closer the noise is to the data, the more accurate the estimate. Both kinds can replace the
fixed distributions of `nce_jax.noise`: they have the methods `log_prob(x)`, `sample(seed=key,
sample_shape=m)` and `sample_and_log_prob(...)`. Both are pytrees, so that a compiled train step
with the noise as an argument need not be compiled again when the noise changes. Noise from the
model itself needs the extra `samplers`.
"""

import importlib
from typing import Any

from nce_jax.adaptive_noise._fit_flow import FlowFit, fit_flow
from nce_jax.adaptive_noise._flow import FlowNoise, flow

# Imported on first use, since flows do not need blackjax.
_LAZY = {
    "SelfNoise": "_self_noise",
    "SelfNoiseState": "_self_noise_step",
    "SelfNoiseStep": "_self_noise_step",
    "make_self_noise_step": "_self_noise_step",
    "refresh_self_noise": "_snapshot",
    "self_noise": "_snapshot",
}

__all__ = [
    "FlowFit",
    "FlowNoise",
    "SelfNoise",
    "SelfNoiseState",
    "SelfNoiseStep",
    "fit_flow",
    "flow",
    "make_self_noise_step",
    "refresh_self_noise",
    "self_noise",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'nce_jax.adaptive_noise' has no attribute {name!r}")
    return getattr(importlib.import_module(f"nce_jax.adaptive_noise.{_LAZY[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
