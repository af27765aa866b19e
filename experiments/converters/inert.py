"""Pickles of networks, of which no code runs.

PyTorch's tensors and plain containers are built; every other class or function that a pickle names
becomes an `Inert` object, which keeps what it is given.
"""

import collections
import io
import pickle
from pathlib import Path
from typing import Any

from experiments.common.endings import CommandError


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
        CommandError: the file is no pickle, or is damaged.
    """
    try:
        with path.open("rb") as file:
            return _Unpickler(file).load()
    except OSError:
        raise
    except Exception as error:  # whatever a damaged pickle makes its reader raise
        reason = str(error) or type(error).__name__
        raise CommandError(f"{path}: expected a pickle of a network, got {reason}") from error


def tensors(module: Any, prefix: str = "") -> dict[str, Any]:
    """Parameters and buffers of a pickled module by name, those of its parts included."""
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
        found |= tensors(part, f"{prefix}{name}.") if part is not None else {}
    return found


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        allowed = {
            ("collections", "OrderedDict"): collections.OrderedDict,
            ("builtins", "set"): set,
            # A dictionary with attributes, and the function that rebuilds a module of this state.
            ("dnnlib.util", "EasyDict"): dict,
            ("torch_utils.persistence", "_reconstruct_persistent_obj"): _module_of,
            ("torch.storage", "_load_from_bytes"): _storage,
        }
        if (module, name) in allowed:
            return allowed[module, name]
        rebuilt = ("_rebuild_parameter", "_rebuild_tensor_v2")
        is_rebuilt = module == "torch._utils" and name in rebuilt
        if is_rebuilt or (module == "torch" and name.endswith("Storage")):
            return super().find_class(module, name)
        return type(name, (Inert,), {})


def _module_of(meta: dict) -> Any:
    return meta["state"]


def _storage(content: bytes) -> Any:
    import torch

    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
