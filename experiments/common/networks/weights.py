"""Weights of published networks, from the npz files that `experiments/converters` writes.

Names are those of the networks' PyTorch code, and so are the shapes: (out, in, height, width). A
converter that has the original code at hand adds numbers of a forward pass, `check.` and a name;
they are compared with those of the network here.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from experiments.common.networks import (
    ddpm_unet,
    edm_blocks,
    edm_unet,
    efficientnet,
    inception,
    inception_shapes,
)
from experiments.common.networks.shapes import CHECK, Shapes
from experiments.common.published import DataError
from nce_jax._archives import read_arrays
from nce_jax._disk import DamagedFileError

LIMIT = 2**31
COUNTER = "num_batches_tracked"
"""Counters of batch normalization in training, which a file may hold and no prediction needs."""

_TOLERANCE = 1e-3
"""The largest difference of a forward pass, relative to the largest number of the output. PyTorch
and JAX differ by about 1e-6 on a CPU; matrix products of lower precision, on a GPU, by 1e-4."""


class Network(NamedTuple):
    """A published network.

    Attributes:
      shapes: the shapes of its arrays by name, as a function.
      forward: its output, of the weights and of the inputs by name.
    """

    shapes: Callable[[], Shapes]
    forward: Callable[[Mapping[str, Any], Mapping[str, Any]], Any]


def _of_edm(name: str) -> Network:
    settings = edm_blocks.SETTINGS[name]
    return Network(
        partial(edm_blocks.shapes, settings),
        lambda weights, inputs: edm_unet.denoise(settings, weights, **inputs),
    )


def _of_ddpm(name: str) -> Network:
    settings = ddpm_unet.SETTINGS[name]
    return Network(
        partial(ddpm_unet.shapes, settings),
        lambda weights, inputs: ddpm_unet.predicted_noise(settings, weights, **inputs),
    )


NETWORKS = {
    "efficientnet-lite0": Network(
        efficientnet.shapes, lambda weights, inputs: efficientnet.features(weights, **inputs)
    ),
    "inception-2015-12-05": Network(
        inception_shapes.shapes, lambda weights, inputs: inception.features(weights, **inputs)
    ),
    **{name: _of_edm(name) for name in edm_blocks.SETTINGS},
    **{name: _of_ddpm(name) for name in ddpm_unet.SETTINGS},
}
"""The networks of which weights are read, by name."""


def read_weights(path: Path, network: str) -> dict[str, np.ndarray]:
    """Returns the weights of a network by name, float32.

    Args:
        path: an npz file that a converter wrote.
        network: a name in `NETWORKS`: `"efficientnet-lite0"` (features of 1,280 numbers),
            `"inception-2015-12-05"` (of 2,048, the network of published FID values),
            `"ddpm-cifar10"`, or a denoiser of EDM, such as `"edm-cifar10"`.

    Raises:
        ValueError: there is no such network.
        DataError: the file is missing or damaged, an array is missing, of another network, of
            another shape or type, or not finite, or the network's output is not that of the
            original code.
    """
    if network not in NETWORKS:
        raise ValueError(
            f"network: expected one of {', '.join(map(repr, NETWORKS))}, got {network!r}"
        )
    shapes = NETWORKS[network].shapes()
    try:
        arrays = read_arrays(Path(path), LIMIT)
    except (DamagedFileError, OSError) as error:
        converter = f"experiments/converters writes it from the published checkpoint ({network})"
        raise DataError(f"{error}; {converter}") from error
    checks = {name: array for name, array in arrays.items() if name.startswith(CHECK)}
    arrays = {
        name: array
        for name, array in arrays.items()
        if not name.startswith(CHECK) and not name.endswith(COUNTER)
    }
    if wrong := sorted(arrays.keys() ^ shapes.keys()):
        got = "an array that it has not" if wrong[0] in arrays else "no such array"
        raise DataError(f"{path}, {wrong[0]}: expected the arrays of {network}, got {got}")
    for name, shape in shapes.items():
        array = arrays[name]
        if array.shape != shape or array.dtype != np.float32:
            raise DataError(
                f"{path}, {name}: expected float32{shape}, got {array.dtype}{array.shape}"
            )
        if not np.isfinite(array).all():
            raise DataError(f"{path}, {name}: expected finite numbers, got others")
    if checks:
        _check_output(path, network, arrays, checks)
    return arrays


def _check_output(path: Path, network: str, arrays: Mapping, checks: Mapping) -> None:
    """Compares a forward pass with the one that the original code made."""
    inputs = {name.removeprefix(CHECK): jnp.asarray(array) for name, array in checks.items()}
    try:
        expected = np.asarray(inputs.pop("output"))
        output = np.asarray(NETWORKS[network].forward(arrays, inputs))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: expected inputs and output of a forward pass of {network}, got"
            f" {', '.join(checks)}; write it again by the converter"
        ) from error
    size = np.abs(expected).max(initial=0)
    if output.shape != expected.shape or not np.abs(output - expected).max() < _TOLERANCE * size:
        raise DataError(
            f"{path}: expected the output of the original code for {network}, got another; the"
            " network has other settings"
        )
