"""Potentials as users give them: one array or blocks by state, checked, differenced and padded."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._checks import as_floating, as_real, as_scalar_array, as_weight_array
from nce_jax._dtypes import compute_dtype
from nce_jax._eager import is_on_host
from nce_jax._offset import Effect, find_split
from nce_jax._padding import padded_size, padded_to, program_dtype
from nce_jax._ranges import check_at_least_one, known_values


class PooledSamples(NamedTuple):
    """Samples as a program takes them.

    Attributes:
      potentials: (K, N), padded where the samples are on the host.
      num_samples: of every state, (K,), int32; samples beyond their sum are padding.
      weights: (N,), or None.
      inefficiency: statistical inefficiency, a number or one per state.
    """

    potentials: Any
    num_samples: Any
    weights: Any
    inefficiency: Any


class Inputs(NamedTuple):
    """The arguments of a program.

    Attributes:
      samples: the samples.
      constants: what was subtracted from the potentials of every state, (K,), on the host.
      largest: at least the number of samples of any state; None where it is not known.
      size: the number of samples, without padding.
    """

    samples: PooledSamples
    constants: np.ndarray | None
    largest: int | None
    size: int


def as_inputs(reduced_potentials: Any, num_samples: Any, weights: Any, inefficiency: Any) -> Inputs:
    """Checks the arguments of a function of samples of several states, and pads them."""
    potentials, num_samples = _joined(reduced_potentials, num_samples)
    counts = _checked_counts(num_samples, potentials.shape)
    if weights is not None:
        weights = as_weight_array("weights", weights, potentials.shape[1:])
    name = "statistical_inefficiency"
    check_at_least_one(name, inefficiency)
    inefficiency = as_scalar_array(name, inefficiency, potentials.shape[:1])
    is_traced = any(isinstance(a, jax.core.Tracer) for a in (potentials, num_samples, weights))
    # Inside a caller's `jit` the arguments may be constants, but what is made of them is a tracer.
    is_traced |= isinstance(jax.device_put(np.float32(0)), jax.core.Tracer)
    if is_traced or counts is None or not is_on_host(potentials):
        largest = None if counts is None else int(counts.max())
        potentials = jnp.asarray(potentials)
        potentials = potentials.astype(compute_dtype(potentials))
        num_samples = jnp.asarray(num_samples, jnp.int32)
        samples = PooledSamples(potentials, num_samples, weights, inefficiency)
        return Inputs(samples, None, largest, potentials.shape[1])
    return _on_host(np.asarray(potentials), counts, weights, inefficiency)


def _joined(reduced_potentials: Any, num_samples: Any) -> tuple[Any, Any]:
    """The potentials as one array (K, N), and the numbers of samples."""
    name = "reduced_potentials"
    if isinstance(reduced_potentials, list | tuple) and not hasattr(reduced_potentials, "_fields"):
        blocks = [
            _as_table(f"{name}[{index}]", block) for index, block in enumerate(reduced_potentials)
        ]
        sizes = [block.shape[1] for block in blocks]
        if not blocks or any(block.shape[0] != len(blocks) for block in blocks):
            shapes = ", ".join(str(block.shape) for block in blocks) or "no block"
            raise ValueError(
                f"{name}: expected K blocks of shape (K, n_k), one per state, got {shapes}; an"
                " array (K, N) of all samples in all states is not a list of rows"
            )
        if num_samples is not None and list(np.asarray(num_samples)) != sizes:
            raise ValueError(
                f"num_samples: expected None or {sizes}, the sizes of the blocks, got {num_samples}"
            )
        is_array = any(isinstance(block, jax.Array) for block in blocks)
        join = jnp.concatenate if is_array else np.concatenate
        return join(blocks, axis=1), np.asarray(sizes)
    if num_samples is None:
        raise ValueError(
            "num_samples: expected the number of samples of every state, (K,), got None, which"
            " serves blocks by state only"
        )
    return _as_table(name, reduced_potentials), num_samples


def _as_table(name: str, values: Any) -> Any:
    is_host = isinstance(values, np.ndarray) and jnp.issubdtype(values.dtype, jnp.floating)
    table = values if is_host and values.dtype.itemsize <= 8 else as_floating(name, values)
    if table.ndim != 2:
        raise ValueError(f"{name}: expected shape (states, samples), got shape {table.shape}")
    return table


def _checked_counts(num_samples: Any, shape: tuple[int, int]) -> np.ndarray | None:
    """The numbers of samples where they are known, else None."""
    counts = as_real("num_samples", num_samples, "an array of integers, one per state")
    counts = counts if hasattr(counts, "dtype") else np.asarray(counts)
    if not jnp.issubdtype(counts.dtype, jnp.integer):
        raise TypeError(f"num_samples: expected integers, got dtype {counts.dtype}")
    if counts.shape != shape[:1]:
        raise ValueError(
            f"num_samples: expected one number per state, shape {shape[:1]}, got shape"
            f" {counts.shape}"
        )
    known = known_values(counts)
    if known is None:
        return None
    if (known < 0).any() or known.sum() != shape[1] or shape[1] == 0:
        raise ValueError(
            f"num_samples: expected numbers >= 0 that add up to the {shape[1]} samples of"
            f" reduced_potentials, got {known.tolist()}, which add up to {known.sum()}"
        )
    return known.astype(np.int64)


def _on_host(potentials: np.ndarray, counts: np.ndarray, weights: Any, inefficiency: Any) -> Inputs:
    dtype = program_dtype([potentials])
    constants, count = None, potentials.shape[1]
    if potentials.dtype.itemsize > dtype.itemsize:
        potentials, constants = _differenced(potentials, counts)
    size = padded_size(count)
    padded = padded_to(potentials, size, potentials[:, :1], dtype)
    if weights is not None:
        weights = padded_to(np.asarray(weights, dtype), size, 0, dtype)
    largest = min(size, padded_size(int(counts.max())))
    inefficiency = np.asarray(inefficiency, dtype)
    samples = PooledSamples(padded, counts.astype(np.int32), weights, inefficiency)
    return Inputs(jax.device_put(samples), constants, largest, count)


def _differenced(potentials: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Potentials relative to that in the sample's own state, and to a constant of every state."""
    owners = np.repeat(np.arange(len(counts)), counts)
    own = potentials[owners, np.arange(len(owners))]
    # A sample that its own state does not allow is an error, whatever is subtracted.
    with np.errstate(invalid="ignore"):
        relative = np.where(np.isfinite(own), potentials - own, np.nan)
    constants = find_split([relative], [1], None, Effect()).constant
    return relative - constants[:, None], constants
