"""Sources of batches: shuffled arrays, an iterable, or a function of the step number.

The batch of a step depends on that step's number alone (and on the key), so that a resumed run sees
what an uninterrupted one would have seen.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._checks import check_positive_int, describe
from nce_jax._contracts import LIKELY_FROM_WRONG_ARGUMENTS, check_data
from nce_jax._disk import plain
from nce_jax._options import check_function
from nce_jax._ranges import check_integers
from nce_jax._samples import check_wide_samples
from nce_jax.training._digests import content
from nce_jax.training._state import Batch


class Source(NamedTuple):
    """Batches in two parts: arrays from the host, and what the compiled step makes of them.

    Attributes:
      arguments: `arguments(step)`, a tuple of arrays; called for consecutive steps from the first
        one of the run.
      batch: `batch(*arguments)`, pure: gathering rows inside the compiled step costs no extra call.
      num_examples: data samples in a batch, for the examples per second; None where only the batch
        knows.
      sizes: what must be the same for a run to be resumed, by name.
      data: all samples, where they are arrays.
      previous: `previous(step)`, the arguments of the step before, after those of `step` have been
        drawn; None where they are cut from arrays, or have not been drawn.
    """

    arguments: Callable[[int], tuple[Any, ...]]
    batch: Callable[..., Any]
    num_examples: int | None
    sizes: dict[str, Any]
    data: Batch | None
    previous: Callable[[int], tuple[Any, ...] | None]

    def samples(self) -> dict[str, Any]:
        """Sizes and content of arrays, to be compared when a run is resumed."""
        return self.sizes | ({} if self.data is None else content(self.data))

    def first(self, start: int, num_steps: int) -> tuple[Any, ...] | None:
        """The arguments of the first step to come; None where a complete run would draw them."""
        return self.arguments(start) if start < num_steps or self.data is not None else None

    def last(self, arguments: tuple[Any, ...] | None) -> dict[str, str] | None:
        """The content of a batch that is not cut from arrays, to be compared as `samples` is."""
        return None if self.data is not None or arguments is None else content(arguments)


def make_source(batches: Any, batch_size: int | tuple[int, int] | None, key: jax.Array) -> Source:
    """The source of what `fit` was given: arrays, a function of the step, or an iterable."""
    if isinstance(batches, Batch) or _is_array(batches):
        data = batches if isinstance(batches, Batch) else Batch(batches)
        check_data("batches", data.x_data)
        return _from_arrays(data, batch_size, key)
    if _is_parallel(batches, batch_size):
        check_data("batches", batches)
        _size(batches, "batches")
        source = _from_arrays(Batch(batches), batch_size, key)
        return source._replace(batch=lambda *arguments: source.batch(*arguments).x_data)
    if hasattr(batches, "to_numpy"):  # a table is iterable too: over its columns
        check_data("batches", batches)
    if batch_size is not None:
        raise ValueError(
            f"batch_size: expected None with batches of type {type(batches).__name__}, got"
            f" {batch_size}; only an array, a Batch, or a tuple or dict of arrays is divided into"
            " batches"
        )
    if callable(batches):
        check_function("batches", batches, "the number of a step")
        call = partial(_called, batches)
        return Source(call, _identity, None, {}, None, lambda step: call(step - 1))
    if not isinstance(batches, Iterable):
        raise TypeError(
            "batches: expected an array, a Batch, an iterable or a function of the step, got"
            f" {type(batches).__name__}"
        )
    stream = _Stream(batches)
    return Source(stream.arguments, _identity, None, {}, None, stream.previous)


def _is_parallel(batches: Any, batch_size: Any) -> bool:
    """Whether these are arrays whose rows belong together; a tuple may also be of whole batches."""
    if isinstance(batches, tuple) and batch_size is not None:
        return bool(batches) and all(map(_is_array, batches))
    return isinstance(batches, dict) and bool(batches) and all(map(_is_array, batches.values()))


def _called(batches: Callable[[int], Any], step: int) -> tuple[Any]:
    """The batch of a step; an error in the caller's function says how it was called."""
    try:
        batch = batches(step)
    except LIKELY_FROM_WRONG_ARGUMENTS as error:
        error.add_note(f"batches: called as batches({step}); is it a function of the step?")
        raise
    return _checked(batch)


def _checked(batch: Any) -> tuple[Any]:
    """The arguments of a step with a batch as it comes; raises where integers of it would wrap."""
    for leaf in jax.tree.leaves(batch):
        check_integers("batches", leaf)
    return (batch,)


def _identity(batch: Any) -> Any:
    return batch


def _nothing(step: int) -> None:
    return None


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype")


class _Stream:
    """An iterable as batches of consecutive steps; those before the first step are dropped."""

    def __init__(self, batches: Iterable[Any]) -> None:
        self._batches, self._position = _endless(batches), 0
        self._before: tuple[Any, ...] | None = None
        self._last: tuple[Any, ...] | None = None

    def arguments(self, step: int) -> tuple[Any, ...]:
        while self._position < step:
            self._next()
        return self._next()

    def _next(self) -> tuple[Any, ...]:
        batch = _checked(next(self._batches))
        self._before, self._last = self._last, batch
        self._position += 1
        return batch

    def previous(self, step: int) -> tuple[Any, ...] | None:
        return self._before


def _endless(batches: Iterable[Any]) -> Iterator[Any]:
    """Repeats `batches` without end."""
    position = 0
    while True:
        before = position
        for batch in batches:
            position += 1
            yield batch
        if position == before:
            raise ValueError(
                "batches: expected an iterable with a batch for every step, got one that ended"
                f" after {position}; pass a list, a function of the step, or fewer steps"
            )


def _from_arrays(data: Batch, batch_size: int | tuple[int, int] | None, key: jax.Array) -> Source:
    _check_batch_size(batch_size)
    if isinstance(batch_size, tuple) and data.x_noise is None:
        raise ValueError(
            "batch_size: expected one number for samples without fixed noise samples, got"
            f" {batch_size}; training.Batch(x_data, x_noise) holds both, and num_noise of the step"
            " is the number of noise samples that it draws"
        )
    for name in ("x_data", "x_noise"):
        for leaf in jax.tree.leaves(getattr(data, name)):
            check_wide_samples(name, leaf)
    data = Batch(*(None if field is None else jax.tree.map(jnp.asarray, field) for field in data))
    sizes = {"data": _size(data.x_data, "x_data"), "noise": _size(data.x_noise, "x_noise")}
    _check_weights(data, sizes)
    counts = {f"num_{name}": size for name, size in sizes.items()} | {
        "batch_size": _plain(batch_size)
    }
    if batch_size is None:
        return Source(lambda step: (data,), _identity, sizes["data"], counts, data, _nothing)
    shares = dict(
        zip(
            sizes,
            batch_size if isinstance(batch_size, tuple) else (batch_size, batch_size),
            strict=True,
        )
    )
    shuffles = {
        name: _Shuffle(name, size, shares[name], jax.random.fold_in(key, index))
        for index, (name, size) in enumerate(sizes.items())
        if size is not None
    }

    def arguments(step: int) -> tuple[Any, ...]:
        return data, {name: shuffle.rows(step) for name, shuffle in shuffles.items()}

    gather = partial(_gather, shares=shares)
    return Source(arguments, gather, shares["data"], counts, data, _nothing)


def _check_batch_size(batch_size: Any) -> None:
    if isinstance(batch_size, tuple | list) and not (
        isinstance(batch_size, tuple) and len(batch_size) == 2
    ):
        raise TypeError(
            "batch_size: expected an integer, or a tuple of two (data, noise), got"
            f" {describe(batch_size)}"
        )


def _plain(batch_size: Any) -> Any:
    """The value as JSON returns it."""
    if isinstance(batch_size, tuple):
        return [plain(size) for size in batch_size]
    return plain(batch_size)


def _check_weights(data: Batch, sizes: dict[str, int | None]) -> None:
    for side, weights in (("data", data.weights_data), ("noise", data.weights_noise)):
        if weights is not None and sizes[side] is not None and jnp.shape(weights) != (sizes[side],):
            raise ValueError(
                f"weights_{side}: expected shape ({sizes[side]},), as x_{side} has, got"
                f" {jnp.shape(weights)}"
            )


def _size(samples: Any, name: str) -> int | None:
    sizes = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(samples)}
    if samples is None:
        return None
    if len(sizes) != 1 or () in sizes or (0,) in sizes:
        raise ValueError(
            f"{name}: expected arrays with one number of samples on the first axis, got"
            f" {sorted(sizes)}"
        )
    return sizes.pop()[0]


class _Shuffle:
    """Rows of one side: a permutation per pass, whose last, incomplete batch is left out."""

    def __init__(self, name: str, size: int, batch_size: int, key: jax.Array) -> None:
        check_positive_int("batch_size", batch_size)
        if size < batch_size:
            raise ValueError(
                f"batch_size: expected at most the {size} samples of x_{name}, got {batch_size}"
            )
        self._size, self._batch_size, self._per_pass = size, batch_size, size // batch_size
        self._seed, self._pass = np.asarray(jax.random.key_data(key)).tolist(), -1
        self._starts: dict[int, jax.Array] = {}

    def rows(self, step: int) -> tuple[jax.Array, jax.Array]:
        """The permutation of the pass that contains `step`, and the start of the batch in it."""
        number, position = divmod(step, self._per_pass)
        if number != self._pass:
            # By NumPy: XLA sorts random keys for it, which on CPU took a quarter of a small model's
            # training time.
            order = np.arange(self._size, dtype=np.int32)
            np.random.default_rng([*self._seed, number]).shuffle(order)
            self._pass, self._order = number, jnp.asarray(order)
        # Kept: a transfer to the device takes longer than the rest of this.
        if position not in self._starts:
            self._starts[position] = jnp.int32(position * self._batch_size)
        return self._order, self._starts[position]


def _gather(
    data: Batch, rows: dict[str, tuple[jax.Array, Any]], *, shares: dict[str, int]
) -> Batch:
    def take(samples: Any, side: str) -> Any:
        if samples is None:
            return None
        order, start = rows[side]
        index = jax.lax.dynamic_slice_in_dim(order, start, shares[side])
        return jax.tree.map(
            lambda leaf: leaf.at[index].get(mode="promise_in_bounds", unique_indices=True), samples
        )

    weights_noise = (
        data.weights_noise if data.x_noise is None else take(data.weights_noise, "noise")
    )
    return Batch(
        take(data.x_data, "data"),
        take(data.x_noise, "noise"),
        take(data.weights_data, "data"),
        weights_noise,
    )
