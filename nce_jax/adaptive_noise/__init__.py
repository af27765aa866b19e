"""Noise that learns: a normalizing flow, or the model itself as it was some steps ago (which needs
the extra `samplers`).

The nearer the noise is to the data, the harder the game, and the better the estimate. Both kinds
are objects that go where the fixed noises of `nce_jax.noise` go: `log_prob(x)`, `sample(seed=key,
sample_shape=m)`, `sample_and_log_prob(...)`. Both are pytrees as well, so that one compiled train
step, with the noise as an argument, serves all of its states.
"""

import importlib
from typing import Any

from nce_jax.adaptive_noise._fit_flow import FlowFit, fit_flow
from nce_jax.adaptive_noise._flow import FlowNoise, flow

# On first use: flows do without blackjax.
_LAZY = {
    "SelfNoise": "_self_noise",
    "SelfNoiseState": "_self_noise_step",
    "SelfNoiseStep": "_self_noise_step",
    "make_self_noise_step": "_self_noise_step",
    "refresh_self_noise": "_self_noise",
    "self_noise": "_self_noise",
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
