"""Converts a flax module into its parameters and a pure function of them."""

from dataclasses import dataclass
from typing import Any

import jax
from flax import nnx

from nce_jax._checks import describe
from nce_jax._promotion import standard_promotion
from nce_jax._types import Array, LogDensityFn, Params
from nce_jax.models._checks import as_module_values, check_inputs


def split_module(module: nnx.Module) -> tuple[Params, LogDensityFn]:
    """Splits a flax nnx module into its parameters and a pure log density function.

    phi(x) = module(x), with `params` as the values of the module's `nnx.Param` variables.

    All other variables of the module (running averages, random streams) are fixed at their present
    values. A module in training mode is therefore refused: dropout would leave out the same units
    at every call, and batch normalization would couple the samples of a batch. `module.eval()`
    turns both to evaluation. There is no way to pass a random stream to phi: a density is a
    deterministic function, and a module that draws random numbers on purpose has none.

    Args:
      module: a module that is called as `module(x)` and maps samples (samples, dim) to (samples,)
        or (samples, 1).

    Returns:
      `(params, log_density_fn)`: nested dictionaries of arrays, named as in the module, and phi as
      a function `log_density_fn(params, x)` with values (samples,), float32 or wider.

    Raises:
      TypeError: `module` is not an `nnx.Module`.
      ValueError: a submodule is in training mode. When `log_density_fn` is called: `x` is not
        (samples, dim), the module returns another shape, or it changes one of its variables, such
        as a random stream or a running average.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from nce_jax import models
      >>> params, log_density_fn = models.split_module(
      ...     nnx.Linear(3, 1, rngs=nnx.Rngs(jax.random.key(0)))
      ... )
      >>> jax.tree.map(jnp.shape, params)
      {'bias': (1,), 'kernel': (3, 1)}
      >>> log_density_fn(params, jnp.zeros((5, 3))).shape
      (5,)
    """
    if not isinstance(module, nnx.Module):
        raise TypeError(f"module: expected a flax nnx.Module, got {describe(module)}")
    _check_evaluation_mode(module)
    graphdef, *states = nnx.split(module, nnx.Param, ...)
    # Plain dictionaries on both sides, since every later call would share and change variables.
    params, others = map(nnx.to_pure_dict, states)
    return params, _ModuleDensity(graphdef, others)


@dataclass(frozen=True, eq=False)
class _ModuleDensity:
    """The log density of a module: an object, since local functions cannot be pickled."""

    graphdef: Any
    others: Any

    def __call__(self, params: Params, x: Array) -> Array:
        check_inputs(x)
        copy = nnx.merge(self.graphdef, params, self.others)
        with standard_promotion():
            values = copy(x)
        _check_unchanged(copy, self.others)
        return as_module_values("module", values, x)


def _check_evaluation_mode(module: nnx.Module) -> None:
    """Raises ValueError if a submodule has a switch that `module.eval()` would turn."""
    # nnx.iter_modules, which does this, came after flax 0.12.0.
    submodules = (item for item in nnx.iter_graph(module) if isinstance(item[1], nnx.Module))
    for path, submodule in submodules:
        position = ".".join(["module", *map(str, path)])
        if getattr(submodule, "use_running_average", None) is False:
            is_batch_norm = isinstance(submodule, nnx.BatchNorm)
            effect = "couples the samples of a batch" if is_batch_norm else "changes at every call"
        elif getattr(submodule, "deterministic", None) is False and _drop_rate(submodule) != 0:
            effect = "would leave out the same units at every call"
        else:
            continue
        raise ValueError(
            f"module: expected evaluation mode, got training mode in {position}, a"
            f" {type(submodule).__name__} that {effect}; call module.eval() before split_module"
        )


def _drop_rate(submodule: nnx.Module) -> Any:
    """The rate at which units are left out, or None for a module that does not give one."""
    return getattr(submodule, "rate", getattr(submodule, "dropout_rate", None))


def _check_unchanged(module: nnx.Module, initial: Any) -> None:
    """Raises ValueError if a call has changed one of the `initial` variables of the module.

    Such a change would be lost, and the module would begin every call in the same state. This is
    how random streams are found that a module reads at a call. Recorded intermediate values are no
    state.
    """
    before = dict(jax.tree.leaves_with_path(initial))
    if not before:
        return
    state = nnx.state(module, nnx.Not(nnx.Any(nnx.Param, nnx.Intermediate)))
    for path, value in jax.tree.leaves_with_path(nnx.to_pure_dict(state)):
        if path in before and value is not before[path]:
            position = ".".join(["module", *(str(entry.key) for entry in path)])
            raise ValueError(
                f"module: expected a call that leaves its variables as they are, got a change of"
                f" {position}; module.eval() before split_module turns dropout and batch"
                " normalization to evaluation, and a log density may not draw random numbers"
            )
