"""The labeled result of a sweep."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from nce_jax._checks import is_key
from nce_jax.sweeps._chunks import Chunking
from nce_jax.sweeps._mean import LaneMean, failed_lanes, lane_mean
from nce_jax.sweeps._program import on_host

if TYPE_CHECKING:
    import xarray


@dataclass(frozen=True)
class SweepResult:
    """What a function returned at every point of a grid.

    Attributes:
      axes: the values of each named axis, in the order of the leading axes of `values`.
      values: the pytree that the function returned, every leaf with one leading axis per named
        axis. What ran in one piece on one device stays there; what was spread over devices, cut
        into chunks or stored is on the host, in NumPy arrays.
      chunking: how the grid was cut, with the memory that was measured.
    """

    axes: dict[str, jax.Array]
    values: Any
    chunking: Chunking | None = None

    @property
    def num_chunks(self) -> int:
        """Pieces in which the grid ran."""
        return 1 if self.chunking is None else self.chunking.num_chunks

    @property
    def failed(self) -> np.ndarray:
        """The lanes with a floating or complex number that is not finite, True over the grid.

        Solvers and training leave NaN behind where they fail, so that a failure shows here;
        integers, a `status` among them, are not looked at. A function that uses NaN for "does not
        apply" marks its lanes as failed.
        """
        return failed_lanes(self.values, len(self.axes))

    def mean(self, axis: str) -> LaneMean:
        """The mean over one axis, without failed lanes, which are counted and named in a warning.

        A lane that failed in one leaf is left out of all, so that their means are of the same
        lanes.

        Args:
          axis: the name of the axis to average over, such as `seed`.

        Returns:
          A `LaneMean`: means, their standard errors, and how many lanes they are of.

        Raises:
          ValueError: there is no such axis.
          TypeError: a leaf holds typed keys.

        Examples:
          >>> import jax.numpy as jnp
          >>> import nce_jax
          >>> result = nce_jax.sweep(
          ...     lambda a, seed: a + seed, a=jnp.arange(2.0), seed=jnp.arange(3.0)
          ... )
          >>> average = result.mean("seed")
          >>> average.mean.tolist(), average.num_lanes.tolist(), average.num_failed.tolist()
          ([1.0, 2.0], [3, 3], [0, 0])

        References:
          Cochran, Sampling Techniques, 3rd ed., 1977, section 2.5 (the standard error of a mean).
        """
        if axis not in self.axes:
            raise ValueError(f"axis: expected one of {', '.join(self.axes)}, got {axis!r}")
        return lane_mean(self.values, self.failed, axis, list(self.axes).index(axis))

    def to_xarray(self) -> "xarray.Dataset":
        """The result as an xarray Dataset: one variable per leaf, and `failed`; the sweep's axes as
        coordinates.

        Leaves are named by their path, further axes `<leaf>_dim_<i>`; axes of keys get their index
        as coordinate, and leaves of keys are given as their words. Needs the extra `sweeps`.

        Returns:
          An `xarray.Dataset` of NumPy arrays.

        Raises:
          ImportError: xarray is missing; the message names the extra.
          ValueError: a leaf has the name of an axis, or is called `failed`.

        Examples:
          >>> import jax.numpy as jnp
          >>> import nce_jax
          >>> result = nce_jax.sweep(
          ...     lambda a, b: {"total": a + b}, a=jnp.arange(2.0), b=jnp.arange(3.0)
          ... )
          >>> result.to_xarray()["total"].sel(a=1.0, b=2.0).item()
          3.0

        References:
          Hoyer and Hamman, xarray: N-D labeled arrays and datasets in Python, 2017.
        """
        try:
            import xarray
        except ImportError as error:
            raise ImportError(
                "SweepResult.to_xarray needs xarray: install nce_jax[sweeps]"
            ) from error
        leaves = {
            _name(path): on_host(leaf)
            for path, leaf in jax.tree_util.tree_leaves_with_path(self.values)
        }
        if taken := sorted(leaves.keys() & {"failed", *self.axes}):
            raise ValueError(
                f"values: expected leaves with names of their own, got {taken[0]!r}, which is taken"
            )
        variables = {name: (self._dims(name, leaf), leaf) for name, leaf in leaves.items()}
        variables["failed"] = list(self.axes), self.failed
        return xarray.Dataset(
            variables, coords={name: _coordinate(values) for name, values in self.axes.items()}
        )

    def _dims(self, name: str, leaf: np.ndarray) -> list[str]:
        return [*self.axes, *(f"{name}_dim_{i}" for i in range(leaf.ndim - len(self.axes)))]


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".") or "value"


def _coordinate(values: jax.Array) -> np.ndarray:
    is_plain = values.ndim == 1 and not is_key(values)
    return np.asarray(values) if is_plain else np.arange(values.shape[0])
