"""Pickles of networks, of which no code runs.

PyTorch's tensors and plain containers are built, by functions of this file; every other class or
function that a pickle names, those of PyTorch included, becomes an `Inert` object, which keeps what
it is given.
"""

import collections
import io
import pickle
from pathlib import Path
from typing import Any

from experiments.common.endings import CommandError

TORCH = (2, 6)
"""The oldest PyTorch whose `weights_only=True` runs nothing: CVE-2025-32434."""


class Inert:
    """What stands for an object of an unknown class."""

    def __new__(cls, *arguments: Any, **options: Any) -> "Inert":
        self = super().__new__(cls)
        self.arguments, self.state, self.items = arguments, {}, []
        return self

    def __init__(self, *arguments: Any, **options: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items.append((key, value))

    def append(self, value: Any) -> None:
        """Keeps an item of a list."""
        self.items.append(value)

    def extend(self, values: Any) -> None:
        """Keeps items of a list."""
        self.items.extend(values)


def load(path: Path) -> Any:
    """The content of a pickle.

    Raises:
        CommandError: the file is no pickle, or is damaged; PyTorch is missing or too old.
    """
    try:
        with path.open("rb") as file:
            return _Unpickler(file).load()
    except (OSError, CommandError):
        raise
    except Exception as error:  # whatever a damaged pickle makes its reader raise
        reason = str(error) or type(error).__name__
        raise CommandError(f"{path}: expected a pickle of a network, got {reason}") from error


def tensors(module: Any, prefix: str = "") -> dict[str, Any]:
    """Parameters and buffers of a pickled module by name, those of its parts included.

    Raises:
        CommandError: a module is not made of names and parts, or is a part of itself.
    """
    try:
        return _tensors(module, prefix)
    except (AttributeError, TypeError, RecursionError) as error:
        raise CommandError(
            "pickle: expected modules with tensors and parts by name, got another structure"
        ) from error


def _tensors(module: Any, prefix: str) -> dict[str, Any]:
    state = module.state if isinstance(module, Inert) else module
    if not isinstance(state, dict):
        return {}
    found = {
        prefix + name: value
        for kind in ("_parameters", "_buffers")
        for name, value in state.get(kind, {}).items()
        if value is not None
    }
    for name, part in state.get("_modules", {}).items():
        found |= _tensors(part, f"{prefix}{name}.") if part is not None else {}
    return found


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        allowed = {
            ("collections", "OrderedDict"): collections.OrderedDict,
            ("builtins", "set"): set,
            # A dictionary with attributes, and the function that rebuilds a module of this state.
            ("dnnlib.util", "EasyDict"): dict,
            ("torch_utils.persistence", "_reconstruct_persistent_obj"): _module_of,
            ("torch._utils", "_rebuild_parameter"): _parameter,
            ("torch._utils", "_rebuild_tensor_v2"): _tensor,
            ("torch.storage", "_load_from_bytes"): _storage,
        }
        if (module, name) in allowed:
            return allowed[module, name]
        return type(name, (Inert,), {})


def _module_of(meta: dict) -> Any:
    return meta["state"]


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


def _tensor(storage: Any, offset: int, shape: tuple, strides: tuple, *_: Any) -> Any:
    """A tensor of a storage that holds all of it; PyTorch would enlarge the storage."""
    torch = import_torch()
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if min(offset, *shape, *strides, 0) < 0 or last >= storage._size():
        raise ValueError(f"a tensor of shape {shape} in {storage._size()} numbers")
    return torch._utils._rebuild_tensor_v2(storage, offset, shape, strides, False, {})


def _storage(content: bytes) -> Any:
    return import_torch().load(io.BytesIO(content), map_location="cpu", weights_only=True)


def import_torch() -> Any:
    """PyTorch; CommandError if it is missing, or if a file can run code in its version."""
    least = ".".join(map(str, TORCH))
    try:
        import torch  # only where it is installed; the library does not need it
    except ModuleNotFoundError as error:
        raise CommandError(
            f"torch: expected version {least} or later, got none; run this where it is installed"
        ) from error
    if tuple(map(int, torch.__version__.split(".")[:2])) < TORCH:
        raise CommandError(
            f"torch: expected version {least} or later, got {torch.__version__}; update it"
        )
    return torch
