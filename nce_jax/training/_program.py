"""A fingerprint of what a function computes: the same in every process, whatever its addresses."""

import functools
import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.extend import core
from jax.sharding import Sharding

from nce_jax._checks import is_key

# Names of functions, and what depends on the devices that a program is compiled for.
_IGNORED = {
    "backend", "compiler_options_kvs", "ctx_mesh", "debug", "debug_info", "device",
    "donated_invars", "in_layouts", "in_shardings", "inline", "keep_unused", "name",
    "out_layouts", "out_sharding", "out_shardings", "sharding",
}  # fmt: skip
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_MAX_NUMBERS = 256


def fingerprint(fn: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
    """What a function computes for arguments of these shapes, as a JSON value.

    Args:
      fn: a function of arrays; it is traced once.
      *arguments: its arguments, or their shapes and dtypes.

    Returns:
      `operations`, a digest of the operations and of the arrays that the function closes over, and
      `numbers`, its constants that are single numbers, in their order: a changed learning rate is
      a changed number.
    """
    reader = _Reader()
    # Arrays on a mesh would be traced with their shardings.
    reader.closed(jax.make_jaxpr(fn)(*jax.tree.map(_shape, arguments)))
    if len(reader.numbers) > _MAX_NUMBERS:
        reader.put(reader.numbers)
        reader.numbers = []
    return {"operations": reader.digest.hexdigest()[:16], "numbers": reader.numbers}


def _shape(leaf: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(np.shape(leaf), jax.numpy.result_type(leaf))


class _Reader:
    """Reads a program in a form in which variables are numbered and functions have no address."""

    def __init__(self) -> None:
        self.digest, self.numbers = hashlib.sha256(), []  # type: ignore[var-annotated]

    def put(self, value: Any) -> None:
        self.digest.update(f"{value};".encode())

    def closed(self, program: Any) -> None:
        self.program(program.jaxpr, program.consts)

    def program(self, program: Any, constants: Any) -> None:
        variables: dict[Any, int] = {}
        self._define(variables, [*program.constvars, *program.invars])
        for constant in constants:
            self._constant(constant)
        for equation in program.eqns:
            self.put(equation.primitive)
            self._use(variables, equation.invars)
            for name in sorted(equation.params):
                value = equation.params[name]
                if name not in _IGNORED and not isinstance(value, Sharding):
                    self.put(name)
                    self._parameter(value)
            self._define(variables, equation.outvars)
        self._use(variables, program.outvars)
        self.put("end")

    def _define(self, variables: dict[Any, int], atoms: Any) -> None:
        for atom in atoms:
            variables[atom] = len(variables)
            self.put(f"{atom.aval.dtype}{atom.aval.shape}" if hasattr(atom.aval, "dtype") else "?")

    def _use(self, variables: dict[Any, int], atoms: Any) -> None:
        for atom in atoms:
            if isinstance(atom, core.Literal):
                self._constant(atom.val)
            else:
                self.put(variables[atom])

    def _constant(self, value: Any) -> None:
        value = jax.random.key_data(value) if is_key(value) else value
        if not getattr(value, "is_fully_addressable", True):
            self.put(f"{value.dtype}{value.shape}")  # its content is spread over processes
            return
        array = np.asarray(value)
        self.put(f"{array.dtype}{array.shape}")
        if array.shape == ():
            self.numbers.append(str(array))
        else:
            self.digest.update(np.ascontiguousarray(array).tobytes())

    def _parameter(self, value: Any) -> None:
        match value:
            case core.ClosedJaxpr():
                self.closed(value)
            case core.Jaxpr():
                self.program(value, ())
            case np.ndarray() | jax.Array():
                self._constant(value)
            case Mapping():
                self._parameters("mapping", [part for item in value.items() for part in item])
            case tuple() | list():
                self._parameters(f"sequence {len(value)}", value)
            case set() | frozenset():
                # Their order differs between processes.
                self._parameters("set", sorted(map(str, value)))
            case functools.partial():
                self._parameters("partial", [value.func, value.args, value.keywords])
            case _ if callable(value) and not isinstance(value, type):
                # Rules of derivatives; what they compute is in the program where it is used.
                self.put("function")
            case _:
                self.put(_ADDRESS.sub("", str(value)))

    def _parameters(self, kind: str, values: Any) -> None:
        self.put(kind)
        for value in values:
            self._parameter(value)
