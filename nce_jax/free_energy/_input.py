"""Potentials as users give them: one array or blocks by state, checked, differenced and padded."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._checks import as_real, as_sample_array, as_scalar_array, as_weight_array
from nce_jax._describe import describe
from nce_jax._dtypes import compute_dtype
from nce_jax._eager import is_on_host
from nce_jax._offset import Effect, check_rounding, find_split
from nce_jax._padding import padded_size, padded_to, program_dtype
from nce_jax._ranges import check_at_least_one, check_largest, known_values


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
      counts: the numbers of samples on the host, (K,), where they are known.
      is_on_host: whether the samples were taken on the host, and padded there.
    """

    samples: PooledSamples
    constants: np.ndarray | None
    largest: int | None
    size: int
    counts: np.ndarray | None
    is_on_host: bool


def as_inputs(reduced_potentials: Any, num_samples: Any, weights: Any, inefficiency: Any) -> Inputs:
    """Checks the arguments of a function of samples of several states, and pads them."""
    potentials, num_samples = joined(reduced_potentials, num_samples)
    counts = checked_counts(num_samples, potentials.shape)
    if weights is not None:
        weights = as_weight_array("weights", weights, potentials.shape[1:])
    name = "statistical_inefficiency"
    check_at_least_one(name, inefficiency)
    check_largest(name, inefficiency, jnp.result_type(float))
    inefficiency = as_scalar_array(name, inefficiency, potentials.shape[:1])
    arguments = potentials, num_samples, weights, inefficiency
    is_traced = any(isinstance(value, jax.core.Tracer) for value in arguments)
    # Inside a caller's `jit` the arguments may be constants, but what is made of them is a tracer.
    is_traced |= isinstance(jax.device_put(np.float32(0)), jax.core.Tracer)
    if is_traced or counts is None or not is_on_host(potentials):
        largest = None if counts is None else int(counts.max())
        dtype = program_dtype([potentials]) if isinstance(potentials, np.ndarray) else None
        if dtype is not None:
            check_rounding("reduced_potentials", potentials, dtype)
        potentials = jnp.asarray(potentials, dtype)
        potentials = potentials.astype(compute_dtype(potentials))
        num_samples = jnp.asarray(num_samples, jnp.int32)
        samples = PooledSamples(potentials, num_samples, weights, inefficiency)
        return Inputs(samples, None, largest, potentials.shape[1], counts, is_on_host=False)
    return _on_host(np.asarray(potentials), counts, weights, inefficiency)


def joined(reduced_potentials: Any, num_samples: Any) -> tuple[Any, Any]:
    """The potentials as one array (K, N), and the numbers of samples."""
    name = "reduced_potentials"
    if _is_list_of_tables(reduced_potentials):
        blocks = [
            _as_table(f"{name}[{index}]", block) for index, block in enumerate(reduced_potentials)
        ]
        sizes = [block.shape[1] for block in blocks]
        if any(block.shape[0] != len(blocks) for block in blocks):
            shapes = ", ".join(str(block.shape) for block in blocks)
            raise ValueError(
                f"{name}: expected K blocks of shape (K, n_k), one per state, got {shapes}"
            )
        given = None if num_samples is None else known_values(as_counts(num_samples))
        if num_samples is not None and (given is None or given.tolist() != sizes):
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


def _is_list_of_tables(values: Any) -> bool:
    is_list = isinstance(values, list | tuple) and not hasattr(values, "_fields")
    return is_list and len(values) > 0 and all(np.ndim(block) == 2 for block in values)


def _as_table(name: str, values: Any) -> Any:
    """An array (states, samples), which remains where it is."""
    if hasattr(values, "columns"):
        raise TypeError(
            f"{name}: expected an array (states, samples), got {describe(values)}; where the states"
            f" are its columns, as in alchemlyb, pass {name}.to_numpy().T"
        )
    # A state without samples has an empty block.
    is_empty = isinstance(values, np.ndarray | jax.Array) and np.shape(values)[-1:] == (0,)
    table = values if is_empty else as_sample_array(name, values)
    if table.ndim != 2:
        raise ValueError(f"{name}: expected shape (states, samples), got shape {table.shape}")
    return table


def as_counts(num_samples: Any) -> Any:
    """Numbers of samples as an array; raises TypeError unless they are integers."""
    counts = as_real("num_samples", num_samples, "an array of integers, one per state")
    counts = counts if hasattr(counts, "dtype") else np.asarray(counts)
    if not jnp.issubdtype(counts.dtype, jnp.integer):
        raise TypeError(f"num_samples: expected integers, got dtype {counts.dtype}")
    return counts


def checked_counts(num_samples: Any, shape: tuple[int, int]) -> np.ndarray | None:
    """The numbers of samples where they are known, else None."""
    counts = as_counts(num_samples)
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
        weights = padded_to(_relative(np.asarray(weights), counts), size, 0, dtype)
    largest = min(size, padded_size(int(counts.max())))
    inefficiency = np.asarray(inefficiency, dtype)
    samples = PooledSamples(padded, counts.astype(np.int32), weights, inefficiency)
    return Inputs(jax.device_put(samples), constants, largest, count, counts, is_on_host=True)


def _relative(weights: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Weights over the largest of their state, in the precision in which they were given."""
    weights = weights.astype(np.result_type(weights, np.float64))
    owners = np.repeat(np.arange(len(counts)), counts)
    largest = np.zeros(len(counts), weights.dtype)
    np.maximum.at(largest, owners, weights)
    usable = (largest > 0) & (largest < np.inf)
    return weights / np.where(usable, largest, 1)[owners]


def _differenced(potentials: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Potentials relative to that in the sample's own state, without a constant of every state.

    A sample's own potential loses its constant too, so that what is left is small for all samples.
    """
    owners = np.repeat(np.arange(len(counts)), counts)
    own = potentials[owners, np.arange(len(owners))]
    # A sample that its own state does not allow is an error, whatever is subtracted.
    with np.errstate(invalid="ignore"):
        relative = np.where(np.isfinite(own), potentials - own, np.nan)
    constants = find_split([relative], [1], None, Effect()).constant
    return relative - constants[:, None] + constants[owners][None], constants
