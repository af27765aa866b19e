"""Optimizers as users bring them."""

from typing import Any

import optax

from nce_jax._contracts import check_optimizer


def as_optimizer(name: str, optimizer: Any) -> optax.GradientTransformation:
    """An optax transformation; other objects with `init` and `update` are wrapped in one."""
    check_optimizer(optimizer, name)
    if isinstance(optimizer, optax.GradientTransformation):
        return optimizer
    plain = optax.GradientTransformation(optimizer.init, optimizer.update)
    return optax.with_extra_args_support(plain)
