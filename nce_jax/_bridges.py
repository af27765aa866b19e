"""Bridges between data and noise, and the log-ratio arrays of the stages between them."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from nce_jax._checks import as_floating, check_positive_int, describe
from nce_jax._contracts import as_values, check_arrays, check_log_density_fn, evaluate_model
from nce_jax._dtypes import result_dtype
from nce_jax._levels import Coefficients, NumbersPerStage, check_noise_levels, inner_coefficients
from nce_jax._partial import EqualPartial
from nce_jax._types import Array, Float, LogDensityFn, LogRatioFn, Params

StagesFn = Callable[[Params, Any], jax.Array]
"""`stages_fn(params, x)`: log ratio k of samples x[k], (K, n, ...) -> (K, n)."""

Space = tuple[Callable[[Any], Any], Callable[[Any], Any]]
"""An invertible map of samples as a pair of functions: to the space in which bridges are straight,
and back."""


def bridges(
    x_data: Float[Array, "n *shape"],
    x_noise: Float[Array, "n *shape"],
    *,
    noise_levels: NumbersPerStage | Coefficients,
    space: Space | None = None,
) -> Float[Array, "stages_and_one n *shape"]:
    r"""Computes coupled bridges between data and noise, one for each noise level.

    .. math:: x_k = \sqrt{1 - a_k^2}\, x_{\mathrm{data}} + a_k\, x_{\mathrm{noise}}, \qquad
       k = 0, \dots, K

    The same pair of samples is used for every k. Stage k has the bridge :math:`x_k` as its data and
    the next bridge, :math:`x_{k+1}`, as its noise. With `space` = (to, back) the bridges are
    computed between to(x_data) and to(x_noise), for example in the latent space of a flow (with the
    `inverse` and the `forward` of its bijector), and mapped back. The noise should be centered in
    that space: :math:`\sqrt{1 - a^2} + a` exceeds 1, so that an offset c of both sets would be
    carried to up to 1.41 c.

    Args:
      x_data: samples of the data, (n, ...).
      x_noise: the same number of noise samples, in any order that does not depend on the data.
      noise_levels: :math:`a_0 = 0 < a_1 < \dots < a_K = 1`, from data to noise. By keyword only,
        since the annealing schedules of `nce_jax.samplers` run the other way, from noise to model.
      space: a pair of functions of samples (n, ...), inverse to each other; None is the identity.

    Returns:
      The bridges, (K + 1, n, ...): the first are `x_data`, the last `x_noise`, both unchanged.

    Raises:
      TypeError: samples that are not floating, or noise levels that are not given by keyword.
      ValueError: sets of different shapes, or noise levels that do not rise from 0 to 1; with
        traced ones the bridges between the ends are NaN.

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import telescoping
      >>> x_data, x_noise = jnp.array([2.0]), jnp.array([1.0])
      >>> x = telescoping.bridges(x_data, x_noise, noise_levels=[0.0, 0.6, 1.0])
      >>> x[:, 0].round(4).tolist()
      [2.0, 2.200000047683716, 1.0]

    References:
      Rhodes, Xu and Gutmann, Telescoping density-ratio estimation, 2020, eq. 5.
    """
    x_data, x_noise = as_floating("x_data", x_data), as_floating("x_noise", x_noise)
    if jnp.shape(x_data) != jnp.shape(x_noise):
        raise ValueError(
            f"x_noise: expected the shape of x_data, {jnp.shape(x_data)}, got shape"
            f" {jnp.shape(x_noise)}"
        )
    dtype = result_dtype(x_data, x_noise)
    x_data, x_noise = x_data.astype(dtype), x_noise.astype(dtype)
    check_noise_levels(noise_levels)
    check_space(space)
    to, back = (_identity, _identity) if space is None else space
    ends = to(x_data), to(x_noise)

    def bridge(signal: jax.Array, a: jax.Array) -> jax.Array:
        x = back(signal * ends[0] + a * ends[1])
        if jnp.shape(x) != x_data.shape:
            raise ValueError(
                f"space: expected to and back that keep the shape of samples, {x_data.shape}, got"
                f" shape {jnp.shape(x)}"
            )
        return x

    inner = jax.vmap(bridge)(*inner_coefficients(noise_levels, dtype))
    return jnp.concatenate([x_data[None], inner, x_noise[None]])


def _identity(x: Any) -> Any:
    return x


def check_space(space: Any) -> None:
    """Raises TypeError unless `space` is a pair of functions, or None."""
    is_pair = isinstance(space, tuple | list) and len(space) == 2 and all(map(callable, space))
    if space is not None and not is_pair:
        raise TypeError(f"space: expected a pair of functions (to, back), got {describe(space)}")


def separate(log_ratio_fn: LogRatioFn) -> StagesFn:
    """Makes K copies of one model, with separate parameters on a leading axis of every leaf.

    Args:
      log_ratio_fn: `log_ratio_fn(params, x)` of one stage, (n, ...) -> (n,).

    Returns:
      `stages_fn(params, x)`: (K, n, ...) -> (K, n).

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import telescoping
      >>> stages_fn = telescoping.separate(lambda theta, x: theta * x)
      >>> stages_fn(jnp.array([1.0, 2.0]), jnp.ones((2, 3))).tolist()
      [[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]]
    """
    check_log_density_fn(log_ratio_fn, "log_ratio_fn")
    return EqualPartial(_over_stages, log_ratio_fn, "params")


def _over_stages(function: Callable[[Any, Any], Any], name: str, params: Any, x: Any) -> jax.Array:
    num_stages = jnp.shape(jax.tree.leaves(x)[0])[0]
    for path, leaf in jax.tree.leaves_with_path(params):
        if jnp.shape(leaf)[:1] != (num_stages,):
            raise ValueError(
                f"{name}: expected {num_stages} stages on the first axis of every leaf, got shape"
                f" {jnp.shape(leaf)} at {name}{jax.tree_util.keystr(path)}"
            )
    return jax.vmap(function)(params, x)


def shared_body(
    body_fn: Callable[[Params, Any], Any], head_fn: Callable[[Params, Any], jax.Array]
) -> StagesFn:
    """Combines one body for all stages with K heads: log ratio k = head(heads[k], body(body, x_k)).

    Args:
      body_fn: `body_fn(params, x)`, features of samples (n, ...), with samples on the first axis.
      head_fn: `head_fn(params, features)` of one stage, with values (n,).

    Returns:
      `stages_fn(params, x)`, where `params` is a dictionary with the entries "body" and "heads";
      every leaf of the heads has a leading axis K.

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

    check_log_density_fn(body_fn, "body_fn")
    check_log_density_fn(head_fn, "head_fn", arguments="parameters and features")

    def stages_fn(params: Params, x: Any) -> jax.Array:
        if not isinstance(params, Mapping) or not {"body", "heads"} <= params.keys():
            got = f"the entries {list(params)}" if isinstance(params, Mapping) else describe(params)
            raise TypeError(
                f'params: expected a dictionary with the entries "body" and "heads", got {got}'
            )
        flat = body_fn(params["body"], x.reshape(-1, *x.shape[2:]))  # one pass over all stages
        features = jax.tree.map(lambda leaf: leaf.reshape(*x.shape[:2], *leaf.shape[1:]), flat)
        return _over_stages(head_fn, 'params["heads"]', params["heads"], features)

    return stages_fn


def stage_log_ratios(
    stages_fn: StagesFn, params: Params, x: Float[Array, "stages_and_one n *shape"]
) -> tuple[Float[Array, "stages n"], Float[Array, "stages n"]]:
    """Evaluates the K stages' log-ratio arrays: s_k(x_k) of data and s_k(x_k+1) of noise.

    The stages are a batch axis, so that `nce_loss`, `solve_log_partition` and `overlap` take the
    arrays as they are and return one value per stage.

    Args:
      stages_fn: the result of `separate` or of `shared_body`.
      params: the parameters of all stages.
      x: the result of `bridges`, (K + 1, n, ...).

    Returns:
      Log-ratios of data and of noise, (K, n) each.

    Raises:
      TypeError: `stages_fn` is no function of parameters and samples, or the others no arrays.
      ValueError: `x` holds no stage, or the values are not one number per stage and sample.

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import telescoping
      >>> x = telescoping.bridges(jnp.array([2.0]), jnp.array([1.0]), noise_levels=[0.0, 1.0])
      >>> data, noise = telescoping.stage_log_ratios(
      ...     telescoping.separate(lambda theta, x: theta * x), jnp.ones(1), x
      ... )
      >>> data.tolist(), noise.tolist()
      ([[2.0]], [[1.0]])
    """
    x = _checked_bridges(stages_fn, params, x)

    def of_stages(x: jax.Array) -> jax.Array:
        return evaluate_model(stages_fn, params, x, "stages_fn", num_batch_axes=1)

    return of_stages(x[:-1]), of_stages(x[1:])


def bridge_log_ratios(
    stages_fn: StagesFn, params: Params, x: Float[Array, "stages_and_one n *shape"]
) -> Float[Array, "stages stages_and_one n"]:
    """Evaluates all K stages at the samples of all K + 1 bridges, for `joint_log_partitions`.

    `stage_log_ratios` are the entries [k, k] and [k, k + 1].

    Args:
      stages_fn: the result of `separate` or of `shared_body`. It is called once, with all samples
        repeated for every stage, (K, (K + 1) n, ...).
      params: the parameters of all stages.
      x: the result of `bridges`, (K + 1, n, ...).

    Returns:
      s_j(x_k) at [j, k], (K, K + 1, n).

    Raises:
      TypeError: `stages_fn` is no function of parameters and samples, or the others no arrays.
      ValueError: `x` holds no stage, or the values are not one number per stage and sample.

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import telescoping
      >>> x = telescoping.bridges(jnp.array([2.0]), jnp.array([1.0]), noise_levels=[0.0, 0.6, 1.0])
      >>> stages_fn = telescoping.separate(lambda theta, x: theta * x)
      >>> telescoping.bridge_log_ratios(stages_fn, jnp.array([1.0, 10.0]), x)[..., 0].round(1)
      Array([[ 2. ,  2.2,  1. ],
             [20. , 22. , 10. ]], dtype=float32)
    """
    x = _checked_bridges(stages_fn, params, x)
    num_bridges, num_rows, *shape = x.shape
    flat = x.reshape(1, num_bridges * num_rows, *shape)
    samples = jnp.broadcast_to(flat, (num_bridges - 1, *flat.shape[1:]))
    values = evaluate_model(stages_fn, params, samples, "stages_fn", num_batch_axes=1)
    return values.reshape(num_bridges - 1, num_bridges, num_rows)


def _checked_bridges(stages_fn: StagesFn, params: Params, x: Any) -> jax.Array:
    check_log_density_fn(stages_fn, "stages_fn")
    check_arrays("params", params, "the parameters of all stages")
    x = as_floating("x", x)
    if x.ndim < 2 or x.shape[0] < 2:
        raise ValueError(f"x: expected bridges, shape (K + 1, n, ...), got shape {x.shape}")
    return x


def telescoped(
    stages_fn: StagesFn,
    num_stages: int,
    *,
    log_density_noise_fn: Callable[[Any], jax.Array] | None = None,
) -> LogRatioFn | LogDensityFn:
    """Sums the stages' log ratios to the log ratio of the whole chain, or to its log density.

    The log ratio is s(x) = sum_k s_k(x), with all stages evaluated at the same x; its normalizer is
    F = sum_k F_k. The log density is phi(x) = s(x) + log q(x), with the same normalizer.

    Args:
      stages_fn: the result of `separate` or of `shared_body`.
      num_stages: K.
      log_density_noise_fn: log q of samples (n, ...); None leaves it out.

    Returns:
      `log_ratio_fn(params, x)`, (n, ...) -> (n,); with `log_density_noise_fn`, a
      `log_density_fn(params, x)` of the same shape.

    Raises:
      TypeError: `num_stages` is not an integer.
      ValueError: `num_stages` is less than one.

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import telescoping
      >>> log_ratio_fn = telescoping.telescoped(telescoping.separate(lambda theta, x: theta * x), 2)
      >>> log_ratio_fn(jnp.array([1.0, 2.0]), jnp.ones(3)).tolist()
      [3.0, 3.0, 3.0]
    """
    check_positive_int("num_stages", num_stages)
    check_log_density_fn(stages_fn, "stages_fn")
    if log_density_noise_fn is not None:
        check_log_density_fn(
            log_density_noise_fn, "log_density_noise_fn", arguments="samples", num_arguments=1
        )

    def sum_fn(params: Params, x: Any) -> jax.Array:
        of_stages = jnp.broadcast_to(x, (num_stages, *jnp.shape(x)))
        values = evaluate_model(stages_fn, params, of_stages, "stages_fn", num_batch_axes=1)
        total = jnp.sum(values, axis=0)
        if log_density_noise_fn is None:
            return total
        return total + as_values("log_density_noise_fn", log_density_noise_fn(x), x)

    return sum_fn
