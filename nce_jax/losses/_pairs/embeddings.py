"""Batches of embeddings: what is checked of them, and the sums over their pairs."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh

from nce_jax._checks import as_weights, check_positive, check_positive_int, compute_dtype
from nce_jax.losses._pairs.sharded import EXCHANGES, Exchange, Spread, reduce_everywhere
from nce_jax.losses._pairs.sums import LEFT_OUT, Pairs, Plan, Reduction, Sums


class Embeddings(NamedTuple):
    """A checked batch: vectors of weight zero are zero, and their ids `LEFT_OUT`.

    Attributes:
      x: the anchors, (n, dim).
      y: their partners, (n, dim), in the same dtype.
      scale: the inverse temperature, in the dtype to compute in.
      ids: integers, (n,): equal ones are no negatives of each other.
      weights: (n,) or None.
    """

    x: jax.Array
    y: jax.Array
    scale: jax.Array
    ids: jax.Array
    weights: jax.Array | None

    @property
    def products(self) -> jax.Array:
        """The logits of the partners, (n,)."""
        return self.scale * jnp.sum(
            self.x.astype(self.scale.dtype) * self.y.astype(self.scale.dtype), axis=-1
        )

    def keep(self, terms: jax.Array) -> jax.Array:
        """The terms, zero where the weight is."""
        return terms if self.weights is None else jnp.where(self.weights == 0, 0, terms)


class Work(NamedTuple):
    """How the pairs are gone through: columns per block, and the devices."""

    chunk_size: int | None
    spread: Spread | None


def as_embeddings(x: Any, y: Any, temperature: Any, ids: Any, weights: Any) -> Embeddings:
    """Checks anchors and partners of the same shape, with their options."""
    x, y = as_matrix("x", x), as_matrix("y", y)
    if x.shape != y.shape:
        raise ValueError(
            f"y: expected a partner for every row of x, shape {x.shape}, got shape {y.shape}"
        )
    dtype = jnp.result_type(x, y)
    x, y = x.astype(dtype), y.astype(dtype)
    weights = as_weights("weights", weights, x[:, 0])
    ids = as_ids("ids", ids, x.shape[:1])
    if weights is not None:
        counts = weights != 0
        x, y = (jnp.where(counts[:, None], side, 0) for side in (x, y))
        ids = jnp.where(counts, ids, LEFT_OUT)
    return Embeddings(x, y, inverse_temperature(temperature, x), ids, weights)


def as_matrix(name: str, values: Any) -> jax.Array:
    """Returns `values` as a floating array of at least one vector; raises TypeError or ValueError
    otherwise.
    """
    values = values if hasattr(values, "dtype") else np.asarray(values)
    if not jnp.issubdtype(values.dtype, jnp.floating):
        raise TypeError(f"{name}: expected floating embeddings, got dtype {values.dtype}")
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(f"{name}: expected embeddings of shape (n, dim), got shape {values.shape}")
    return jnp.asarray(values)


def as_negatives(negatives: Any, x: jax.Array) -> jax.Array:
    """Returns vectors that all anchors share, (K, dim), or (n, K, dim), in the dtype of the
    anchors.
    """
    negatives = negatives if hasattr(negatives, "dtype") else np.asarray(negatives)
    if not jnp.issubdtype(negatives.dtype, jnp.floating):
        raise TypeError(f"negatives: expected floating embeddings, got dtype {negatives.dtype}")
    n, dim = x.shape
    fits = (
        negatives.ndim in (2, 3)
        and negatives.shape[-1] == dim
        and (negatives.ndim == 2 or negatives.shape[0] == n)
    )
    if not fits or 0 in negatives.shape:
        raise ValueError(
            f"negatives: expected shape (K, {dim}) or ({n}, K, {dim}), got shape {negatives.shape}"
        )
    return jnp.asarray(negatives, x.dtype)


def as_ids(name: str, ids: Any, shape: tuple[int, ...]) -> jax.Array:
    """Returns ids as integers of that shape, every vector its own where none are given."""
    if ids is None:
        return jnp.arange(shape[0])
    if isinstance(ids, np.ndarray) and ids.dtype.kind in "iu" and ids.size:
        smallest, largest = int(ids.min()), int(ids.max())
        # JAX would cut them off without a word.
        if not LEFT_OUT < smallest <= largest <= np.iinfo(np.int32).max:
            raise ValueError(
                f"{name}: expected integers that fit an int32, got {smallest} to {largest}"
            )
    ids = jnp.asarray(ids)
    if not jnp.issubdtype(ids.dtype, jnp.integer):
        raise TypeError(f"{name}: expected integers, got dtype {ids.dtype}")
    if ids.shape != shape:
        raise ValueError(f"{name}: expected shape {shape}, got shape {ids.shape}")
    return ids.astype(jnp.promote_types(ids.dtype, jnp.int32))  # LEFT_OUT has to fit


def inverse_temperature(temperature: Any, x: jax.Array) -> jax.Array:
    """1 / temperature, in the dtype to compute in."""
    check_positive("temperature", temperature)
    return 1 / as_number("temperature", temperature, compute_dtype(x))


def as_number(name: str, value: Any, dtype: Any) -> jax.Array:
    """Returns `value` as one number of that dtype."""
    value = jnp.asarray(value, dtype)
    if value.ndim:
        raise ValueError(f"{name}: expected a number, got shape {value.shape}")
    return value


def make_work(
    x: jax.Array, chunk_size: Any, mesh: Mesh | None, axis_name: str, exchange: Exchange
) -> Work:
    """Checks the block size and, where there is a mesh, that the samples can be split over it."""
    if chunk_size is not None:
        check_positive_int("chunk_size", chunk_size)
    if exchange not in EXCHANGES:
        raise ValueError(f"exchange: expected one of {EXCHANGES}, got {exchange!r}")
    if mesh is None:
        return Work(chunk_size, None)
    if axis_name not in mesh.axis_names:
        raise ValueError(
            f"axis_name: expected an axis of the mesh, {list(mesh.axis_names)}, got {axis_name!r}"
        )
    if any(kind != AxisType.Auto for kind in mesh.axis_types):
        raise ValueError(
            "mesh: expected axes of type Auto, as training.make_mesh makes them, got"
            f" {mesh.axis_types}"
        )
    check_divisible("x", x, mesh, axis_name)
    return Work(chunk_size, Spread(mesh, axis_name, exchange))


def check_divisible(name: str, samples: jax.Array, mesh: Mesh, axis_name: str) -> None:
    """Raises unless the first axis can be split over the devices along the axis of the mesh."""
    if samples.shape[0] % mesh.shape[axis_name]:
        expected = f"a multiple of the {mesh.shape[axis_name]} devices along {axis_name!r}"
        raise ValueError(f"{name}: expected {expected}, got {samples.shape[0]} rows")


def sum_pairs(
    reduction: Reduction,
    batch: Embeddings,
    offset: jax.Array | None,
    work: Work,
    both: bool = False,
) -> Sums:
    """Over the other pairs of the batch, for every anchor and, where `both`, for every partner."""
    offset = jnp.zeros(batch.x.shape[0], batch.scale.dtype) if offset is None else offset
    pairs = Pairs(batch.x, batch.y, batch.scale, offset, batch.ids, batch.ids)
    return reduce_everywhere(Plan(reduction, both, work.chunk_size), work.spread, pairs)
