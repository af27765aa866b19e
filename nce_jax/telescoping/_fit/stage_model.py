"""The model of the stages inside a fit, and the standardization of the stages' samples."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._bridges import Space, StagesFn, bridges, check_space, separate, shared_body
from nce_jax._checks import describe
from nce_jax._contracts import check_params, check_values, evaluate_model
from nce_jax._levels import Coefficients
from nce_jax._numerics import exceeds_rounding
from nce_jax._partial import compared_by_parts
from nce_jax._types import LogRatioFn, Params

Moments = dict[str, jax.Array]
"""Location and scale of every stage's samples, (K, ...) each."""


class Chain(NamedTuple):
    """The stages of a fit as arrays.

    Attributes:
      noise_levels: the coefficients of a_0 = 0, ..., a_K = 1.
      kappa: of every stage, (K,).
      offset: the point about which bridges are made, (1, ...), as `noise_offset` finds it.
    """

    noise_levels: Coefficients
    kappa: jax.Array
    offset: jax.Array | float = 0.0

    @property
    def num_stages(self) -> int:
        return self.kappa.shape[0]


class SharedBody(NamedTuple):
    """A model for `fit_telescope` with one body for all stages, and one head per stage.

    Attributes:
      body: `(params, body_fn)`, where `body_fn(params, x)` returns features of samples (n, ...).
      head: `(params, head_fn)`, where `head_fn(params, features)` returns values (n,); every stage
        starts from these parameters.
    """

    body: tuple[Params, Callable[[Params, Any], Any]]
    head: tuple[Params, Callable[[Params, Any], jax.Array]]


@compared_by_parts
class StageModel(NamedTuple):
    """The functions of the stages' model.

    It is hashable, so that a second fit with the same functions compiles nothing.

    Attributes:
      log_ratio_fn: `log_ratio_fn(params, x)` of one stage, or the head function of a shared body.
      body_fn: the body function of a `SharedBody`; None for separate models.
      space: the space in which bridges are straight; None is that of the samples.
    """

    log_ratio_fn: LogRatioFn
    body_fn: Callable[[Params, Any], Any] | None = None
    space: Space | None = None

    def stages_fn(self, params: Params, x: jax.Array) -> jax.Array:
        """Log ratios of all stages, (K, n, ...) -> (K, n).

        `params` holds the stages' parameters ("model") and their standardization ("location",
        "scale").
        """
        values = self._unstandardized_fn()(params["model"], standardize(params, x))
        check_values("log_ratio_fn", values, x, num_batch_axes=1)
        return values

    def log_ratio(self, params: Params, x: jax.Array) -> jax.Array:
        """Log ratio of one stage, (n, ...) -> (n,); an error in it says how it was called."""
        return evaluate_model(self.log_ratio_fn, params, x, "log_ratio_fn")

    def _unstandardized_fn(self) -> StagesFn:
        if self.body_fn is None:
            return separate(self.log_ratio)
        return shared_body(self.body_fn, self.log_ratio_fn)


def quadratic_log_ratio(params: Params, x: jax.Array) -> jax.Array:
    """x' W x + b' x of samples (n, dim): the log ratio of any two Gaussians, up to a constant.

    `params` holds b ("linear") and the upper triangle of W ("quadratic"), row by row.
    """
    rows, columns = np.triu_indices(x.shape[1])
    return jnp.matmul(x, params["linear"], precision="highest") + jnp.matmul(
        x[:, rows] * x[:, columns], params["quadratic"], precision="highest"
    )


def default_model(sample_shape: tuple[int, ...]) -> tuple[Params, LogRatioFn]:
    """The quadratic model, at zero; raises unless samples are vectors."""
    if len(sample_shape) != 1:
        hint = ", or for numbers x[:, None]" if sample_shape == () else ""
        raise ValueError(
            "model: expected samples x_data of shape (dim,) for the default model, got samples of"
            f" shape {sample_shape}; pass a pair (params, log_ratio_fn){hint}"
        )
    (dim,) = sample_shape
    params = {"linear": jnp.zeros(dim), "quadratic": jnp.zeros(dim * (dim + 1) // 2)}
    return params, quadratic_log_ratio


def make_stage_model(model: Any, space: Space | None) -> tuple[Params, StageModel]:
    """Initial parameters of one stage, and the model's functions; raises on other objects."""
    is_shared = isinstance(model, SharedBody)
    parts = model if is_shared else (model,)
    if not all(isinstance(part, tuple) and len(part) == 2 and callable(part[1]) for part in parts):
        raise TypeError(
            f"model: expected a pair (params, log_ratio_fn) or a SharedBody, got {describe(model)}"
        )
    check_space(space)
    for name, functions in (("model", [part[1] for part in parts]), ("space", space or ())):
        _check_hashable(name, functions)
    params = [_as_params(part[0]) for part in parts]
    space = None if space is None else (space[0], space[1])
    if is_shared:
        return {"body": params[0], "heads": params[1]}, StageModel(
            model.head[1], model.body[1], space
        )
    return params[0], StageModel(model[1], None, space)


def _check_hashable(name: str, functions: Any) -> None:
    """The cache of compiled programs looks functions up by their hash."""
    for function in functions:
        try:
            hash(function)
        except TypeError:
            raise TypeError(
                f"{name}: expected hashable functions, got a {type(function).__name__}; wrap it in"
                " a def"
            ) from None


def _as_params(params: Params) -> Params:
    check_params(params, "model: params")
    return jax.tree.map(jnp.asarray, params)


def initial_params(template: Params, model: StageModel, num_stages: int) -> Params:
    """The parameters of all stages; every stage (or head) starts from the same values."""

    def repeat(leaf: Any) -> jax.Array:
        return jnp.broadcast_to(leaf, (num_stages, *jnp.shape(leaf)))

    if model.body_fn is None:
        return jax.tree.map(repeat, template)
    return {"body": template["body"], "heads": jax.tree.map(repeat, template["heads"])}


@jax.jit
def stage_moments(x: jax.Array) -> Moments:
    """Mean and standard deviation of every stage's two sets together.

    Coordinates that do not vary keep their scale.
    """
    pooled = jnp.concatenate([x[:-1], x[1:]], axis=1)
    location, scale = jnp.mean(pooled, axis=1), jnp.std(pooled, axis=1)
    # The mean of a constant is rounded, and so are its bridges.
    return {"location": location, "scale": jnp.where(exceeds_rounding(scale, location), scale, 1)}


def identity_moments(x: jax.Array) -> Moments:
    """Location 0 and scale 1 for every stage: no standardization."""
    return {"location": jnp.zeros_like(x[:-1, 0]), "scale": jnp.ones_like(x[:-1, 0])}


def standardize(moments: Moments, x: jax.Array) -> jax.Array:
    """Samples (K, n, ...) in the units of their stages."""
    return (x - moments["location"][:, None]) / moments["scale"][:, None]


@partial(jax.jit, static_argnames="model")
def centered_bridges(
    model: StageModel, pairs: tuple[jax.Array, jax.Array], chain: Chain
) -> jax.Array:
    """Bridges about the offset of the chain, (K + 1, n, ...).

    sqrt(1 - a^2) x + a y would carry an offset c that both sets share to (sqrt(1 - a^2) + a) c, up
    to 1.41 c and far beyond both sets. Jitted, so that calls outside `jit` do not compile it
    operation by operation.
    """
    space = centered_space(model, chain.offset)
    levels: Any = chain.noise_levels
    return bridges(*pairs, noise_levels=levels, space=space)


def centered_space(model: StageModel, offset: jax.Array | float) -> Space:
    """The model's space about an offset, in the units of that space."""
    to, back = model.space or (_identity, _identity)
    return lambda x: to(x) - offset, lambda z: back(z + offset)


def _identity(x: Any) -> Any:
    return x


@partial(jax.jit, static_argnames="model")
def noise_offset(model: StageModel, noise: jax.Array) -> jax.Array:
    """The noise's location in the model's space, (1, ...), about which bridges are made.

    It is the mean of the coordinates where that exceeds the standard deviation, and 0 elsewhere: a
    smaller offset does no harm. Another offset makes other bridges, so that one serves a whole fit.
    """
    to, _ = model.space or (_identity, _identity)
    noise = to(noise)
    mean = jnp.mean(noise, axis=0, keepdims=True)
    return jnp.where(jnp.abs(mean) > jnp.std(noise, axis=0, keepdims=True), mean, 0)
