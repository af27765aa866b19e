"""The labeled result of a sweep."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from nce_jax._checks import is_key
from nce_jax._extras import missing_extra
from nce_jax.sweeps._chunks import Chunking
from nce_jax.sweeps._mean import LaneMean, failed_lanes, lane_mean
from nce_jax.sweeps._program import on_host

if TYPE_CHECKING:
    import xarray


@dataclass(frozen=True)
class SweepResult:
    """The values of a function at every point of a grid.

    Attributes:
      axes: the values of each named axis, in the order of the leading axes of `values`; NumPy
        arrays in a sweep that was read from its folder.
      values: the pytree that the function returned, every leaf with one leading axis per named
        axis. The result of one chunk on one device stays on that device; one that was spread over
        devices, cut into chunks or stored is on the host, in NumPy arrays.
      chunking: the chunks that the grid was cut into, with the measured memory.
      missing: whether a lane has not been computed, a Boolean array over the grid, of a stored
        sweep that is read incomplete; None where all have.
      attrs: devices and versions, of a sweep that was read from its folder.
    """

    axes: Mapping[str, jax.Array | np.ndarray]
    values: Any
    chunking: Chunking | None = None
    missing: np.ndarray | None = None
    attrs: Mapping[str, str] = field(default_factory=dict)

    @property
    def num_chunks(self) -> int:
        """The number of chunks that the grid ran in."""
        return 1 if self.chunking is None else self.chunking.num_chunks

    @property
    def failed(self) -> np.ndarray:
        """Whether a lane has a number that is not finite, a Boolean array over the grid.

        Solvers and training give NaN where they fail, so that a failure shows here. Only floating
        and complex leaves count; integers, such as a `status`, are ignored. A function that uses
        NaN for "does not apply" marks its lanes as failed. Lanes that are missing count, too.
        """
        failed = failed_lanes(self.values, len(self.axes))
        return failed if self.missing is None else failed | self.missing

    def mean(self, axis: str) -> LaneMean:
        """Averages over one axis without the failed lanes, which a warning counts.

        A lane that failed in one leaf is left out of all leaves, so that all means are over the
        same lanes. Lanes that have not been computed are left out as well, and the warning has
        their number.

        Args:
          axis: the name of the axis to average over, such as `seed`.

        Returns:
          A `LaneMean`: means, their standard errors, and the numbers of lanes behind them.

        Raises:
          ValueError: there is no such axis.
          TypeError: a leaf holds typed keys.

        Examples:
          >>> import jax.numpy as jnp
          >>> import nce_jax
          >>> axes = {"a": jnp.arange(2.0), "seed": jnp.arange(3.0)}
          >>> result = nce_jax.sweep(lambda a, seed: a + seed, axes)
          >>> average = result.mean("seed")
          >>> average.mean.tolist(), average.num_lanes.tolist(), average.num_failed.tolist()
          ([1.0, 2.0], [3, 3], [0, 0])

        References:
          Cochran, Sampling Techniques, 3rd ed., 1977, section 2.5 (the standard error of a mean).
        """
        if axis not in self.axes:
            raise ValueError(f"axis: expected one of {', '.join(self.axes)}, got {axis!r}")
        num_missing = 0 if self.missing is None else int(self.missing.sum())
        position = list(self.axes).index(axis)
        return lane_mean(self.values, self.failed, axis, position, num_missing)

    def to_xarray(self) -> "xarray.Dataset":
        """Converts the result to an xarray Dataset, with the sweep's axes as coordinates.

        There is one variable per leaf, named by its path, and `failed`; of a sweep that is not
        complete also `missing`. Further axes are called `<leaf>_dim_<i>`. An axis of keys has its
        index as coordinate, and a leaf of keys is given as their data. The attributes are `attrs`,
        and the number of missing lanes, if there are any. Needs the extra `sweeps`.

        Returns:
          An `xarray.Dataset` of NumPy arrays.

        Raises:
          ImportError: xarray is missing; the message names the extra.
          ValueError: a leaf has the name of an axis, or is called `failed`, or, in a sweep that is
            not complete, `missing`.

        Examples:
          >>> import jax.numpy as jnp
          >>> import nce_jax
          >>> axes = {"a": jnp.arange(2.0), "b": jnp.arange(3.0)}
          >>> result = nce_jax.sweep(lambda a, b: {"total": a + b}, axes)
          >>> result.to_xarray()["total"].sel(a=1.0, b=2.0).item()
          3.0

        References:
          Hoyer and Hamman, xarray: N-D labeled arrays and datasets in Python, 2017.
        """
        try:
            import xarray
        except ImportError as error:
            raise missing_extra("SweepResult.to_xarray needs xarray", "sweeps") from error
        leaves = {
            _name(path): on_host(leaf)
            for path, leaf in jax.tree_util.tree_leaves_with_path(self.values)
        }
        masks = {"failed": self.failed}
        if self.missing is not None and self.missing.any():
            masks["missing"] = self.missing
        if taken := sorted(leaves.keys() & {*masks, *self.axes}):
            raise ValueError(
                f"values: expected leaves with other names than the axes and"
                f" {' and '.join(map(repr, masks))}, got {taken[0]!r}"
            )
        variables = {name: (self._dims(name, leaf), leaf) for name, leaf in leaves.items()}
        variables |= {name: (list(self.axes), mask) for name, mask in masks.items()}
        coords = {name: _coordinate(values) for name, values in self.axes.items()}
        return xarray.Dataset(variables, coords=coords, attrs=self._attributes())

    def _attributes(self) -> dict[str, Any]:
        is_missing = self.missing is not None and bool(self.missing.any())
        counts = {"missing_lanes": int(self.missing.sum())} if is_missing else {}  # type: ignore
        return {**self.attrs, **counts}

    def _dims(self, name: str, leaf: np.ndarray) -> list[str]:
        return [*self.axes, *(f"{name}_dim_{i}" for i in range(leaf.ndim - len(self.axes)))]


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".") or "value"


def _coordinate(values: jax.Array | np.ndarray) -> np.ndarray:
    is_plain = values.ndim == 1 and not is_key(values)
    return np.asarray(values) if is_plain else np.arange(values.shape[0])
