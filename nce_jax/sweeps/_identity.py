"""What the bytes of a sweep's result depend on, and what differs between two sweeps."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jaxlib
import numpy as np

from nce_jax._checks import is_key
from nce_jax.sweeps._program import Layout, digest, on_host, shapes


class StoreError(ValueError):
    """The folder of a sweep holds another sweep, or one that another version has stored."""


def identity(
    fn: Callable[..., Any], axes: Mapping[str, jax.Array], layout: Layout, sizes: Mapping[str, int]
) -> dict[str, Any]:
    """Returns everything that the bytes of a result depend on, as far as it can be compared."""
    # An axis without a size is not among those of the stored sweep, which is then refused by the
    # name of this axis, whatever the program.
    sizes = {name: sizes.get(name, values.shape[0]) for name, values in axes.items()}
    device = layout.devices[0]
    return {
        **{f"axis {name}": describe_axis(values) for name, values in axes.items()},
        "order of the axes": ", ".join(axes),
        "devices": f"{layout.num_devices} x {device.platform} ({device.device_kind})",
        "jax": f"{jax.__version__}, jaxlib {jaxlib.__version__}",
        "jax_enable_x64": bool(jax.config.read("jax_enable_x64")),
        "fn": f"program {digest(fn, shapes(axes, sizes), layout)}",
    }


def check_identity(saved: Mapping[str, Any], current: Mapping[str, Any], folder: Path) -> None:
    """Raises a StoreError that names everything in which two sweeps differ."""
    names = [name for name in {**saved, **current} if saved.get(name) != current.get(name)]
    # Where an axis or the devices differ, the program differs too, and need not be named.
    names = [name for name in names if name != "fn"] or names
    cure = "the function, or a constant in it, has changed; " if names == ["fn"] else ""
    if names:
        differences = "; ".join(
            f"{name}: expected {saved.get(name)}, got {current.get(name)}" for name in names
        )
        raise StoreError(
            f"folder: expected one with this sweep, got {folder}, which holds another sweep"
            f" ({differences}); {cure}choose another folder, or remove this one"
        )


def describe_axis(values: jax.Array | np.ndarray) -> str:
    """The dtype and shape of an axis, with its values or their digest."""
    text = hashlib.sha256(np.ascontiguousarray(on_host(values)).tobytes()).hexdigest()
    kind = f"{values.dtype}{list(values.shape)}"
    return (
        f"{kind} {text}"
        if is_key(values) or values.size > 8
        else f"{kind} {on_host(values).tolist()}"
    )
