"""The labelled result of a sweep."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

if TYPE_CHECKING:
    import xarray


@dataclass(frozen=True)
class SweepResult:
    """What a function returned at every point of a grid.

    Attributes:
      axes: the values of each named axis, in the order of the leading axes of `values`.
      values: the pytree that the function returned, every leaf with one leading axis per named axis.
      num_chunks: pieces in which the grid ran.
    """

    axes: dict[str, jax.Array]
    values: Any
    num_chunks: int = 1

    def to_xarray(self) -> "xarray.Dataset":
        """The result as an xarray Dataset: one variable per leaf, the sweep's axes as coordinates.

        Leaves are named by their path, further axes `<leaf>_dim_<i>`; axes of keys get their index as coordinate. Needs the
        extra `sweeps`.

        Returns:
          An `xarray.Dataset` of NumPy arrays.

        Raises:
          ImportError: xarray is missing; the message names the extra.

        Examples:
          >>> import jax.numpy as jnp
          >>> import nce_jax
          >>> result = nce_jax.sweep(lambda a, b: {"total": a + b}, a=jnp.arange(2.0), b=jnp.arange(3.0))
          >>> result.to_xarray()["total"].sel(a=1.0, b=2.0).item()
          3.0

        References:
          Hoyer and Hamman, xarray: N-D labeled arrays and datasets in Python, 2017.
        """
        try:
            import xarray
        except ImportError as error:
            raise ImportError("SweepResult.to_xarray needs xarray: install nce_jax[sweeps]") from error
        leaves = {_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(self.values)}
        variables = {name: (self._dims(name, leaf), np.asarray(leaf)) for name, leaf in leaves.items()}
        return xarray.Dataset(variables, coords={name: _coordinate(values) for name, values in self.axes.items()})

    def _dims(self, name: str, leaf: jax.Array) -> list[str]:
        return [*self.axes, *(f"{name}_dim_{i}" for i in range(leaf.ndim - len(self.axes)))]


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".") or "value"


def _coordinate(values: jax.Array) -> np.ndarray:
    is_plain = values.ndim == 1 and not jax.dtypes.issubdtype(values.dtype, jax.dtypes.prng_key)
    return np.asarray(values) if is_plain else np.arange(values.shape[0])
