"""Lists the collective operations of a compiled program."""

import re
from typing import Any, NamedTuple

import jax.numpy as jnp

_KINDS = "all-gather|all-reduce|reduce-scatter|all-to-all|collective-permute|collective-broadcast"
_OPERATION = re.compile(rf" = (?P<shape>\(.*?\)|\S+) (?P<kind>{_KINDS})(?P<start>-start)?\(")
_COMPUTATION = re.compile(r"^(?:ENTRY )?%?(?P<name>[\w.\-]+) .*\{$")
_NAME = re.compile(r"%([\w.\-]+)")
_LOOP = re.compile(r"(?:body|condition)=%?(?P<name>[\w.\-]+)")
_ARRAY = re.compile(r"(?P<dtype>[a-z]+\d*\w*)\[(?P<shape>[\d,]*)\]")


class Collective(NamedTuple):
    """A collective operation of a compiled program.

    Attributes:
      kind: "all-gather", "all-reduce", ...
      num_bytes: size of its result on one device.
      is_in_loop: whether it is inside a `while`, and thus executed at every iteration.
    """

    kind: str
    num_bytes: int
    is_in_loop: bool


def collectives(compiled: Any) -> list[Collective]:
    """Lists the collective operations of a compiled program, at which its devices synchronize.

    Args:
      compiled: what `jax.jit(fn).lower(*args).compile()` returns.

    Returns:
      A list of `Collective`, in the order of the program's text. A train step on a mesh has one
      all-gather, of the batch's log-ratios, and all-reduces of gradients, none of them in a loop.

    Raises:
      TypeError: `compiled` has no program text.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from experiments.scaling.collectives import collectives
      >>> collectives(jax.jit(jnp.sum).lower(jnp.ones(8)).compile())  # one device
      []

    References:
      Xu et al., GSPMD: general and scalable parallelization for ML computation graphs, 2021.
    """
    if not hasattr(compiled, "as_text"):
        raise TypeError(
            "compiled: expected a compiled program, as lower(...).compile() gives, got"
            f" {compiled!r}"
        )
    bodies = _bodies(compiled.as_text())
    looped = _reached(
        {name for body in bodies.values() for line in body for name in _LOOP.findall(line)}, bodies
    )
    return [
        Collective(match["kind"], _num_bytes(match["shape"], match["start"]), name in looped)
        for name, body in bodies.items()
        for match in map(_OPERATION.search, body)
        if match
    ]


def _bodies(text: str) -> dict[str, list[str]]:
    """Lines of every computation, by its name."""
    bodies: dict[str, list[str]] = {}
    current: list[str] = []
    for line in text.splitlines():
        match = _COMPUTATION.match(line)
        if match:
            current = bodies.setdefault(match["name"], [])
        else:
            current.append(line)
    return bodies


def _reached(names: set[str], bodies: dict[str, list[str]]) -> set[str]:
    """These computations and all that they call, directly or indirectly."""
    reached: set[str] = set()
    while names - reached:
        name = (names - reached).pop()
        reached.add(name)
        mentioned = {match for line in bodies[name] for match in _NAME.findall(line)}
        names = names | (mentioned & bodies.keys())
    return reached


def _num_bytes(shape: str, start: str | None) -> int:
    sizes = [_array_bytes(match["dtype"], match["shape"]) for match in _ARRAY.finditer(shape)]
    # An asynchronous start lists its inputs before its outputs.
    return sum(sizes[len(sizes) // 2 :] if start and shape.startswith("(") else sizes)


def _array_bytes(dtype: str, shape: str) -> int:
    size = 1
    for length in filter(None, shape.split(",")):
        size *= int(length)
    bits = re.search(r"\d+", dtype)
    return size * (int(bits.group()) // 8 if bits else jnp.dtype(bool).itemsize)
