"""Computes a draw that many lanes share once, not once per lane."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from nce_jax._checks import as_real
from nce_jax._contracts import check_arrays
from nce_jax._options import check_function


def shared(fn: Callable[..., Any], *args: Any, step: Any) -> Any:
    """Evaluates `fn(*args)` once for all lanes that have the same `args`.

    JAX maps only what depends on an axis, but XLA may then fuse a cheap computation, such as the
    normal transform of a random draw, into the loop over the lanes that use it, and repeat it for
    every lane. On CPU a branch whose condition XLA cannot evaluate prevents this fusion.

    Args:
      fn: a function of arrays, such as a draw from a key.
      *args: its arguments; none may depend on the axes over which the result is shared.
      step: a non-negative integer array that is the same for all lanes, such as the number of a
        training step.

    Returns:
      `fn(*args)`.

    Raises:
      TypeError: `fn` is no function of these arguments, one of them holds something else than
        arrays, or `step` is no integer.
      ValueError: `step` is an array of several numbers.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from nce_jax import sweeps
      >>> draw = sweeps.shared(
      ...     lambda key: jax.random.normal(key, (2,)), jax.random.key(0), step=jnp.int32(7)
      ... )
      >>> bool((draw == jax.random.normal(jax.random.key(0), (2,))).all())
      True
    """

    check_function("fn", fn, "args", num_arguments=len(args))
    for index, arg in enumerate(args):
        check_arrays(f"args[{index}]", arg, "a typed key")
    _check_step(step)

    def zeros(*args: Any) -> Any:
        return jax.tree.map(
            lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(fn, *args)
        )

    def behind_a_branch(*args: Any) -> Any:
        return jax.lax.cond(step >= 0, fn, zeros, *args)

    # On an accelerator the branch would make the device wait for the host at every step.
    return jax.lax.platform_dependent(*args, cpu=behind_a_branch, default=fn)


def _check_step(step: Any) -> None:
    """Raises unless this is one integer; a traced one is not read."""
    number = jnp.asarray(as_real("step", step, "an integer"))
    if not jnp.issubdtype(number.dtype, jnp.integer):
        raise TypeError(f"step: expected an integer, got dtype {number.dtype}")
    if number.shape != ():
        raise ValueError(f"step: expected one integer, got shape {number.shape}")
