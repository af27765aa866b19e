"""Bridges between data and noise, and the log-ratio arrays of the stages between them."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._checks import check_positive_int
from nce_jax._types import Array, ArrayLike, Float, LogDensityFn, Params

StagesFn = Callable[[Params, Any], jax.Array]
"""`stages_fn(params, x)`: log ratio k of samples x[k], (K, n, ...) -> (K, n)."""

Numbers = Sequence[float] | Float[ArrayLike, " _"]
"""A schedule, or a number per stage: a list, or an array of any kind."""

Space = tuple[Callable[[Any], Any], Callable[[Any], Any]]
"""An invertible map of samples as a pair of functions: to the space in which bridges are straight,
and back."""


def bridges(
    x_data: Float[Array, "n *shape"],
    x_noise: Float[Array, "n *shape"],
    schedule: Numbers,
    *,
    space: Space | None = None,
) -> Float[Array, "stages_and_one n *shape"]:
    """Coupled bridges x_k = sqrt(1 - a_k^2) x_data + a_k x_noise, k = 0..K, with the same pair of
    samples for every k.

    Stage k is then the pair of neighbors (x_k, x_k+1): its data and its noise. With `space` = (to,
    back) the line is drawn between to(x_data) and to(x_noise), in the latent space of a flow say
    (its bijector's `inverse` and `forward`), and mapped back. The noise should be centered there:
    sqrt(1 - a^2) + a exceeds 1, and a common offset c would be carried to 1.41 c.

    Args:
      x_data: samples of the data, (n, ...).
      x_noise: as many of the noise, in any order that does not depend on the data.
      schedule: a_0 = 0 < a_1 < ... < a_K = 1.
      space: a pair of functions of samples (n, ...), each other's inverse; None is the identity.

    Returns:
      The bridges, (K + 1, n, ...): the first are `x_data`, the last `x_noise`, both untouched.

    Raises:
      TypeError: samples that are not floating.
      ValueError: sets of different shapes, or a schedule that does not rise from 0 to 1 (not seen
        in a JAX array).

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import telescoping
      >>> telescoping.bridges(jnp.array([2.0]), jnp.array([1.0]), [0.0, 0.6, 1.0])[:, 0].round(
      ...     4
      ... ).tolist()
      [2.0, 2.200000047683716, 1.0]

    References:
      Rhodes, Xu and Gutmann, Telescoping density-ratio estimation, 2020, eq. 5.
    """
    for name, side in (("x_data", x_data), ("x_noise", x_noise)):
        if not jnp.issubdtype(jnp.result_type(side), jnp.floating):
            raise TypeError(f"{name}: expected a floating array, got dtype {jnp.result_type(side)}")
    if jnp.shape(x_data) != jnp.shape(x_noise):
        raise ValueError(
            f"x_noise: expected the shape of x_data, {jnp.shape(x_data)}, got shape"
            f" {jnp.shape(x_noise)}"
        )
    check_schedule(schedule)
    to, back = space or (_same, _same)
    inner = jnp.asarray(schedule, jnp.result_type(x_data))[1:-1]
    ends = to(x_data), to(x_noise)

    def bridge(a: jax.Array) -> jax.Array:
        return back(jnp.sqrt((1 - a) * (1 + a)) * ends[0] + a * ends[1])

    return jnp.concatenate([x_data[None], jax.vmap(bridge)(inner), x_noise[None]])


def _same(x: Any) -> Any:
    return x


def check_schedule(schedule: Any) -> None:
    """Raises unless the schedule is a vector that rises from 0 to 1; values of JAX arrays are not
    read.
    """
    if np.ndim(schedule) != 1 or np.shape(schedule)[0] < 2:
        raise ValueError(
            f"schedule: expected a vector of at least 2 numbers, got shape {np.shape(schedule)}"
        )
    if isinstance(schedule, jax.Array):
        return
    values = np.asarray(schedule, np.float64)
    if not (values[0] == 0 and values[-1] == 1 and (np.diff(values) > 0).all()):
        raise ValueError(f"schedule: expected numbers that rise from 0 to 1, got {values.tolist()}")


def separate(log_density_fn: LogDensityFn) -> StagesFn:
    """K copies of one model, each with parameters of its own on a leading axis of every leaf.

    Args:
      log_density_fn: `log_density_fn(params, x)` of one stage, (n, ...) -> (n,).

    Returns:
      `stages_fn(params, x)`: (K, n, ...) -> (K, n).

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import telescoping
      >>> stages_fn = telescoping.separate(lambda theta, x: theta * x)
      >>> stages_fn(jnp.array([1.0, 2.0]), jnp.ones((2, 3))).tolist()
      [[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]]
    """
    return jax.vmap(log_density_fn)


def shared_body(
    body_fn: Callable[[Params, Any], Any], head_fn: Callable[[Params, Any], jax.Array]
) -> StagesFn:
    """One body for all stages, and K heads: log ratio k = head(heads[k], body(body, x_k)).

    Args:
      body_fn: `body_fn(params, x)`, features of samples (n, ...), with samples on the first axis.
      head_fn: `head_fn(params, features)` of one stage, with values (n,).

    Returns:
      `stages_fn(params, x)` of a dictionary with the entries body and heads; every leaf of the
      heads has a leading axis K.

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import telescoping
      >>> stages_fn = telescoping.shared_body(
      ...     lambda scale, x: scale * x, lambda theta, features: theta * features
      ... )
      >>> stages_fn(
      ...     {"body": jnp.array(2.0), "heads": jnp.array([1.0, 3.0])}, jnp.ones((2, 2))
      ... ).tolist()
      [[2.0, 2.0], [6.0, 6.0]]

    References:
      Rhodes, Xu and Gutmann, Telescoping density-ratio estimation, 2020, section 3.3 (shared body).
    """

    def stages_fn(params: Params, x: Any) -> jax.Array:
        flat = body_fn(params["body"], x.reshape(-1, *x.shape[2:]))  # one pass over all stages
        features = jax.tree.map(lambda leaf: leaf.reshape(*x.shape[:2], *leaf.shape[1:]), flat)
        return jax.vmap(head_fn)(params["heads"], features)

    return stages_fn


def stage_log_ratios(
    stages_fn: StagesFn, params: Params, x: Float[Array, "stages_and_one n *shape"]
) -> tuple[Float[Array, "stages n"], Float[Array, "stages n"]]:
    """The K stages' log-ratio arrays, s_k(x_k) of data and s_k(x_k+1) of noise: the stages are a
    batch axis.

    So `nce_loss`, `solve_log_partition` and `overlap` take them as they are and answer for every
    stage.

    Args:
      stages_fn: as `separate` and `shared_body` make it.
      params: its parameters.
      x: what `bridges` returned.

    Returns:
      Log-ratios of data and of noise, (K, n) each.

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import telescoping
      >>> x = telescoping.bridges(jnp.array([2.0]), jnp.array([1.0]), [0.0, 1.0])
      >>> data, noise = telescoping.stage_log_ratios(
      ...     telescoping.separate(lambda theta, x: theta * x), jnp.ones(1), x
      ... )
      >>> data.tolist(), noise.tolist()
      ([[2.0]], [[1.0]])
    """
    return stages_fn(params, x[:-1]), stages_fn(params, x[1:])


def telescoped(
    stages_fn: StagesFn,
    num_stages: int,
    *,
    log_density_noise_fn: Callable[[Any], jax.Array] | None = None,
) -> LogDensityFn:
    """The whole model: the sum of the stages' log ratios, as an ordinary `log_density_fn(params,
    x)`.

    phi(x) = sum_k s_k(x) + log q(x); its normalizer is F = sum_k F_k.

    Args:
      stages_fn: as `separate` and `shared_body` make it.
      num_stages: K.
      log_density_noise_fn: log q of samples (n, ...); None leaves it out, and phi is the log ratio
        to the noise.

    Returns:
      `log_density_fn(params, x)`, (n, ...) -> (n,).

    Raises:
      TypeError: `num_stages` is not an integer.
      ValueError: `num_stages` is less than one.

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import telescoping
      >>> log_density_fn = telescoping.telescoped(
      ...     telescoping.separate(lambda theta, x: theta * x), 2
      ... )
      >>> log_density_fn(jnp.array([1.0, 2.0]), jnp.ones(3)).tolist()
      [3.0, 3.0, 3.0]
    """
    check_positive_int("num_stages", num_stages)

    def log_density_fn(params: Params, x: Any) -> jax.Array:
        total = jnp.sum(stages_fn(params, jnp.broadcast_to(x, (num_stages, *jnp.shape(x)))), axis=0)
        return total if log_density_noise_fn is None else total + log_density_noise_fn(x)

    return log_density_fn
