"""The stages' model inside a fit: what is static, what is trained, and the samples'
standardization.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._types import LogDensityFn, Params
from nce_jax.telescoping._bridges import Space, StagesFn, bridges, separate, shared_body


class SharedBody(NamedTuple):
    """A model for `fit_telescope`: one body for all stages, and a head for each.

    Attributes:
      body: `(params, body_fn)`, `body_fn(params, x)` the features of samples (n, ...).
      head: `(params, head_fn)`, `head_fn(params, features)` with values (n,); every stage starts
        from these parameters.
    """

    body: tuple[Params, Callable[[Params, Any], Any]]
    head: tuple[Params, Callable[[Params, Any], jax.Array]]


class Spec(NamedTuple):
    """The functions of a fit: hashable, so that a second fit with the same functions compiles
    nothing.
    """

    log_density_fn: LogDensityFn
    body_fn: Callable[[Params, Any], Any] | None = None
    space: Space | None = None

    def stages_fn(self, params: Params, x: jax.Array) -> jax.Array:
        """Log ratios of all stages, (K, n, ...) -> (K, n), of `params` with the standardization
        among them.
        """
        return as_values(self._plain()(params["model"], standardize(params, x)), x)

    def _plain(self) -> StagesFn:
        return (
            separate(self.log_density_fn)
            if self.body_fn is None
            else shared_body(self.body_fn, self.log_density_fn)
        )


def make_spec(model: Any, space: Space | None) -> tuple[Params, Spec]:
    """Initial parameters of one stage, and the functions; raises on what is no model, or no
    space.
    """
    is_shared = isinstance(model, SharedBody)
    parts = model if is_shared else (model,)
    if not all(isinstance(part, tuple) and len(part) == 2 and callable(part[1]) for part in parts):
        raise TypeError(
            f"model: expected (params, log_density_fn) or a SharedBody, got {type(model).__name__}"
        )
    if space is not None and not (
        isinstance(space, tuple | list) and len(space) == 2 and all(map(callable, space))
    ):
        raise TypeError(f"space: expected a pair of functions (to, back), got {space!r}")
    for name, functions in (("model", [part[1] for part in parts]), ("space", space or ())):
        _check_hashable(name, functions)
    params = [_as_params(part[0]) for part in parts]
    space = None if space is None else (space[0], space[1])
    if is_shared:
        return {"body": params[0], "heads": params[1]}, Spec(model.head[1], model.body[1], space)
    return params[0], Spec(model[1], None, space)


def _check_hashable(name: str, functions: Any) -> None:
    """Compiled programs are found again by the functions in them."""
    for function in functions:
        try:
            hash(function)
        except TypeError:
            raise TypeError(
                f"{name}: expected hashable functions, got a {type(function).__name__}; wrap it in"
                " a def"
            ) from None


def _as_params(params: Params) -> Params:
    params = jax.tree.map(jnp.asarray, params)
    for path, leaf in jax.tree.leaves_with_path(params):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            where = jax.tree_util.keystr(path) or "params"
            raise TypeError(
                f"model: expected floating parameters, got dtype {leaf.dtype} at {where}"
            )
    return params


def as_values(values: jax.Array, x: jax.Array) -> jax.Array:
    """Raises unless a model has given one number per sample of x (K, n, ...); seen while it is
    traced.
    """
    if jnp.shape(values) != x.shape[:2]:
        raise ValueError(
            f"model: expected one value per sample, shape {x.shape[1:2]}, got shape"
            f" {jnp.shape(values)[1:]} for samples of shape {x.shape[1:]}"
        )
    if not jnp.issubdtype(values.dtype, jnp.floating):
        raise TypeError(f"model: expected floating values, got dtype {values.dtype}")
    return values


def initial_params(template: Params, spec: Spec, num_stages: int) -> Params:
    """Every stage (or head) starts from the same parameters."""

    def repeat(leaf: Any) -> jax.Array:
        return jnp.broadcast_to(leaf, (num_stages, *jnp.shape(leaf)))

    if spec.body_fn is None:
        return jax.tree.map(repeat, template)
    return {"body": template["body"], "heads": jax.tree.map(repeat, template["heads"])}


@jax.jit
def moments(x: jax.Array) -> dict[str, jax.Array]:
    """Location and scale of every stage, (K, ...), from both of its sets; coordinates that do not
    vary keep their scale.
    """
    pooled = jnp.concatenate([x[:-1], x[1:]], axis=1)
    scale = jnp.std(pooled, axis=1)
    return {"location": jnp.mean(pooled, axis=1), "scale": jnp.where(scale > 0, scale, 1)}


def no_moments(x: jax.Array) -> dict[str, jax.Array]:
    """The identity in the place of `moments`."""
    return {"location": jnp.zeros_like(x[:-1, 0]), "scale": jnp.ones_like(x[:-1, 0])}


def standardize(params: Params, x: jax.Array) -> jax.Array:
    """Samples (K, n, ...) in the units of their stages."""
    return (x - params["location"][:, None]) / params["scale"][:, None]


@partial(jax.jit, static_argnames="spec")
def bridges_of(spec: Spec, pairs: tuple[jax.Array, jax.Array], schedule: jax.Array) -> jax.Array:
    """Bridges about the noise's own location: sqrt(1 - a^2) x + a y would carry a common offset far
    beyond both sets.

    Jitted, so that calls outside `jit` do not compile it operation by operation.
    """
    to, back = spec.space or (_same, _same)
    offset = _offset(to(pairs[1]))
    return bridges(*pairs, schedule, space=(lambda x: to(x) - offset, lambda z: back(z + offset)))


def _same(x: Any) -> Any:
    return x


def _offset(noise: jax.Array) -> jax.Array:
    """The mean where it is further from 0 than the spread; nearer ones do no harm."""
    mean = jnp.mean(noise, axis=0, keepdims=True)
    return jax.lax.stop_gradient(
        jnp.where(jnp.abs(mean) > jnp.std(noise, axis=0, keepdims=True), mean, 0)
    )
