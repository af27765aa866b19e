"""An exponential moving average of the parameters, as a part of the optimizer's state."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from nce_jax._checks import describe
from nce_jax._options import check_fraction
from nce_jax._promotion import standard_promotion
from nce_jax._types import Array, Float, Params
from nce_jax._updates import update_fn
from nce_jax.training._optimizers import as_optimizer


class ParamsAverage(NamedTuple):
    """An average in an optimizer's state, beside that of the optimizer itself.

    Attributes:
      average: the sum of (1 - decay) decay^(t - i) times the parameters after step i, in float32 at
        least.
      weight: the sum of these factors, by which the average is to be divided.
    """

    average: Any
    weight: Float[Array, ""]


def with_average(
    optimizer: optax.GradientTransformation, decay: float
) -> optax.GradientTransformation:
    r"""Makes an optimizer that also keeps an exponential moving average of the parameters.

    After step t it is :math:`\bar\theta_t = \sum_{i \le t} d^{t - i} \theta_i / \sum_{i \le t}
    d^{t - i}` with d = `decay`, about the mean of the last 1 / (1 - d) steps, without a bias
    towards the initial parameters. Training itself does not change. The average is part of the
    optimizer's state, so that `fit` stores it in checkpoints and resumes it to the same bits, it
    lies on a mesh as the parameters do, and every train step that takes an optimizer keeps one. It
    takes the memory of the parameters, and is summed in float32 where they are less precise.

    Args:
      optimizer: any optax transformation that a train step takes. If it is a chain, the average
        goes around the whole of it.
      decay: d, between 0 and 1, such as 0.999.

    Returns:
      The optimizer, for `make_train_step` and the like; `averaged_params` reads the average.

    Raises:
      TypeError: no optax transformation, or a decay that is no number.
      ValueError: a decay that is not between 0 and 1. When it runs: an update without parameters.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from nce_jax import noise, training
      >>> train = training.make_train_step(
      ...     lambda theta, x: theta * x[:, 0] - x[:, 0] ** 2 / 2,
      ...     noise.standard_normal(1),
      ...     training.with_average(optax.sgd(0.5), 0.99),
      ... )
      >>> state, step = train.init(jnp.array(0.0)), jax.jit(train)
      >>> x_data = 2 + jax.random.normal(jax.random.key(0), (512, 1))
      >>> for _ in range(200):
      ...     state, metrics = step(state, x_data, jax.random.key(1))
      >>> print(f"{training.averaged_params(state):.1f}")
      2.0

    References:
      Polyak and Juditsky, Acceleration of stochastic approximation by averaging, 1992.
      Kingma and Ba, Adam: a method for stochastic optimization, 2015, section 7.2 (exponential
        averages of the parameters, with the bias corrected).
    """
    inner = as_optimizer("optimizer", optimizer)
    check_fraction("decay", decay)
    move = update_fn(inner)

    def init(params: Params) -> Any:
        average = jax.tree.map(lambda leaf: jnp.zeros(jnp.shape(leaf), _wide(leaf)), params)
        dtypes = [leaf.dtype for leaf in jax.tree.leaves(average)]
        weight = jnp.zeros((), jnp.result_type(*dtypes) if dtypes else jnp.float32)
        # A plain pair, as of a chain: `load_checkpoint` finds the optimizer's own state in it.
        return inner.init(params), ParamsAverage(average, weight)

    @standard_promotion()
    def update(updates: Any, state: Any, params: Params | None = None, **extra: Any) -> Any:
        if params is None:
            raise ValueError("params: expected the parameters, of which the average is, got None")
        inner_state, before = state
        updates, inner_state = move(updates, inner_state, params, **extra)
        moved = optax.apply_updates(params, updates)

        def mix(average: jax.Array, leaf: Any) -> jax.Array:
            kept = jnp.asarray(decay, average.dtype)
            return kept * average + (1 - kept) * jnp.asarray(leaf, average.dtype)

        average = jax.tree.map(mix, before.average, moved)
        return updates, (inner_state, ParamsAverage(average, mix(before.weight, 1)))

    if isinstance(inner, optax.GradientTransformationExtraArgs):
        return optax.GradientTransformationExtraArgs(init, update)
    return optax.GradientTransformation(init, update)


def averaged_params(state: Any) -> Params:
    """Returns the average of the parameters that `with_average` keeps in a train state.

    The average belongs to no F: solve for it at these parameters, or estimate the model's log Z,
    before you use its density.

    Args:
      state: a state of a train step whose optimizer is one of `with_average`, with the fields
        `params` and `opt_state`.

    Returns:
      The average, like `state.params` (in their dtypes); the parameters themselves before the first
      step.

    Raises:
      TypeError: `state` has no parameters.
      ValueError: the optimizer's state holds no average of these parameters, or several.

    Examples:
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from nce_jax import noise, training
      >>> train = training.make_train_step(
      ...     lambda theta, x: theta * x[:, 0] - x[:, 0] ** 2 / 2,
      ...     noise.standard_normal(1),
      ...     training.with_average(optax.sgd(0.5), 0.99),
      ... )
      >>> print(training.averaged_params(train.init(jnp.array(3.0))))
      3.0

    References:
      Polyak and Juditsky, Acceleration of stochastic approximation by averaging, 1992.
    """
    if not hasattr(state, "params") or not hasattr(state, "opt_state") or isinstance(state, type):
        raise TypeError(
            "state: expected a train state with params and opt_state, such as result.state of fit,"
            f" got {describe(state)}"
        )
    found = [
        (average, node.weight) for node in _averages(state.opt_state)
        for average in _of_params(node.average, state.params)
    ]  # fmt: skip
    if len(found) != 1:
        raise ValueError(
            f"state: expected one average of the parameters in opt_state, got {len(found)};"
            " training.with_average(optimizer, 0.999) makes an optimizer that keeps one"
        )
    average, weight = found[0]

    def divide(leaf: jax.Array, params: Any) -> jax.Array:
        is_empty = weight == 0
        mean = leaf / jnp.where(is_empty, 1, weight).astype(leaf.dtype)
        dtype = jnp.result_type(params)
        return jnp.where(is_empty, jnp.asarray(params, dtype), mean.astype(dtype))

    return jax.tree.map(divide, average, state.params)


def _wide(leaf: Any) -> Any:
    return jnp.promote_types(jnp.result_type(leaf), jnp.float32)


def _averages(opt_state: Any) -> list[ParamsAverage]:
    nodes = jax.tree.leaves(opt_state, is_leaf=lambda node: isinstance(node, ParamsAverage))
    return [node for node in nodes if isinstance(node, ParamsAverage)]


def _of_params(average: Any, params: Any) -> list[Any]:
    """The part that is like the parameters: an optimizer may see the pair of them and F."""
    parts = [average, *(average if type(average) is tuple else ())]
    structure: Any = jax.tree.structure(params)
    like = [part for part in parts if structure == jax.tree.structure(part)]
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(params)]
    return [p for p in like if [leaf.shape for leaf in jax.tree.leaves(p)] == shapes][:1]
