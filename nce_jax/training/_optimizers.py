"""Optimizers as users bring them."""

from typing import Any

import optax

from nce_jax._checks import describe


def as_optimizer(name: str, optimizer: Any) -> optax.GradientTransformation:
    """An optax transformation; other objects with `init` and `update` are wrapped in one."""
    if isinstance(optimizer, optax.GradientTransformation):
        return optimizer
    methods = [getattr(optimizer, method, None) for method in ("init", "update")]
    if not isinstance(optimizer, type) and all(map(callable, methods)):
        return optax.with_extra_args_support(optax.GradientTransformation(*methods))
    cure = ""
    if isinstance(optimizer, int | float):
        cure = f"; for that learning rate, optax.sgd({optimizer}) or optax.adam({optimizer})"
    elif callable(optimizer):
        cure = "; a learning-rate schedule goes into one, optax.adam(schedule)"
    raise TypeError(
        f"{name}: expected an optax transformation such as optax.adam(1e-3), got"
        f" {describe(optimizer)}{cure}"
    )
