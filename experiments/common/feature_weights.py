"""Weights of published feature networks, from the npz files that `experiments/converters` writes.

Names are those of the networks' PyTorch code, and so are the shapes: (out, in, height, width).
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from experiments.common.published import DataError
from nce_jax._archives import read_arrays
from nce_jax._disk import DamagedFileError

Shapes = dict[str, tuple[int, ...]]
LIMIT = 2**28
COUNTER = "num_batches_tracked"
"""Counters of batch normalization in training, which a file may hold and no prediction needs."""


def read_weights(path: Path, network: str) -> dict[str, np.ndarray]:
    """Returns the weights of a network by name, float32.

    Args:
        path: an npz file that a converter wrote.
        network: `"efficientnet-lite0"` (features of 1,280 numbers) or `"inception-2015-12-05"` (of
            2,048, the network of published FID values).

    Raises:
        ValueError: there is no such network.
        DataError: the file is missing or damaged, or an array is missing, of another network, of
            another shape or type, or not finite.
    """
    if network not in SHAPES:
        raise ValueError(
            f"network: expected one of {', '.join(map(repr, SHAPES))}, got {network!r}"
        )
    shapes = SHAPES[network]()
    try:
        arrays = read_arrays(Path(path), LIMIT)
    except (DamagedFileError, OSError) as error:
        converter = f"experiments/converters writes it from the published checkpoint ({network})"
        raise DataError(f"{error}; {converter}") from error
    arrays = {name: array for name, array in arrays.items() if not name.endswith(COUNTER)}
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
    return arrays


def _norm(name: str, channels: int) -> Shapes:
    return {
        f"{name}.{leaf}": (channels,) for leaf in ("weight", "bias", "running_mean", "running_var")
    }


# Repeats, side of the kernel, expansion, channels in and out.
_BLOCKS = (
    (1, 3, 1, 32, 16),
    (2, 3, 6, 16, 24),
    (2, 5, 6, 24, 40),
    (3, 3, 6, 40, 80),
    (3, 5, 6, 80, 112),
    (4, 5, 6, 112, 192),
    (1, 3, 6, 192, 320),
)


def efficientnet_lite0_shapes() -> Shapes:
    """Shapes of EfficientNet-Lite0's arrays by name."""
    shapes: Shapes = {"_conv_stem.weight": (32, 3, 3, 3), **_norm("_bn0", 32)}
    number = 0
    for repeats, side, expansion, first, channels_out in _BLOCKS:
        for repeat in range(repeats):
            channels_in = channels_out if repeat else first
            width, name = channels_in * expansion, f"_blocks.{number}"
            if expansion != 1:
                shapes[f"{name}._expand_conv.weight"] = (width, channels_in, 1, 1)
                shapes |= _norm(f"{name}._bn0", width)
            shapes[f"{name}._depthwise_conv.weight"] = (width, 1, side, side)
            shapes |= _norm(f"{name}._bn1", width)
            shapes[f"{name}._project_conv.weight"] = (channels_out, width, 1, 1)
            shapes |= _norm(f"{name}._bn2", channels_out)
            number += 1
    head: Shapes = {"_conv_head.weight": (1280, 320, 1, 1), **_norm("_bn1", 1280)}
    return shapes | head | {"_fc.weight": (1000, 1280), "_fc.bias": (1000,)}


def inception_shapes() -> Shapes:
    """Shapes of the arrays of Inception-v3 with 1,008 classes and no auxiliary head."""
    shapes: Shapes = {}
    for name, channels_in, channels_out, *kernel in _inception_convolutions():
        shapes[f"{name}.conv.weight"] = (channels_out, channels_in, *kernel)
        shapes |= _norm(f"{name}.bn", channels_out)
    return shapes | {"fc.weight": (1008, 2048), "fc.bias": (1008,)}


def _inception_convolutions() -> list[tuple]:
    """Name, channels in and out, and the kernel of every convolution."""
    rows: list[tuple] = [
        ("Conv2d_1a_3x3", 3, 32, 3, 3),
        ("Conv2d_2a_3x3", 32, 32, 3, 3),
        ("Conv2d_2b_3x3", 32, 64, 3, 3),
        ("Conv2d_3b_1x1", 64, 80, 1, 1),
        ("Conv2d_4a_3x3", 80, 192, 3, 3),
    ]
    blocks = [
        *((f"Mixed_5{k}", _block_a(n, pool)) for k, n, pool in _BLOCKS_A),
        ("Mixed_6a", _block_b(288)),
        *((f"Mixed_6{k}", _block_c(768, width)) for k, width in _BLOCKS_C),
        ("Mixed_7a", _block_d(768)),
        ("Mixed_7b", _block_e(1280)),
        ("Mixed_7c", _block_e(2048)),
    ]
    return rows + [(f"{name}.{branch}", *row) for name, rows in blocks for branch, *row in rows]


_BLOCKS_A = (("b", 192, 32), ("c", 256, 64), ("d", 288, 64))
_BLOCKS_C = (("b", 128), ("c", 160), ("d", 160), ("e", 192))


def _tower(n: int, last: str) -> list[tuple]:
    """The branch of two 3 x 3 convolutions of the blocks A and B."""
    return [("branch3x3dbl_1", n, 64, 1, 1), ("branch3x3dbl_2", 64, 96, 3, 3), (last, 96, 96, 3, 3)]


def _block_a(n: int, pool: int) -> list[tuple]:
    return [
        ("branch1x1", n, 64, 1, 1),
        ("branch5x5_1", n, 48, 1, 1),
        ("branch5x5_2", 48, 64, 5, 5),
        *_tower(n, "branch3x3dbl_3"),
        ("branch_pool", n, pool, 1, 1),
    ]


def _block_b(n: int) -> list[tuple]:
    return [("branch3x3", n, 384, 3, 3), *_tower(n, "branch3x3dbl_3")]


def _block_c(n: int, width: int) -> list[tuple]:
    return [
        ("branch1x1", n, 192, 1, 1),
        ("branch7x7_1", n, width, 1, 1),
        ("branch7x7_2", width, width, 1, 7),
        ("branch7x7_3", width, 192, 7, 1),
        ("branch7x7dbl_1", n, width, 1, 1),
        ("branch7x7dbl_2", width, width, 7, 1),
        ("branch7x7dbl_3", width, width, 1, 7),
        ("branch7x7dbl_4", width, width, 7, 1),
        ("branch7x7dbl_5", width, 192, 1, 7),
        ("branch_pool", n, 192, 1, 1),
    ]


def _block_d(n: int) -> list[tuple]:
    return [
        ("branch3x3_1", n, 192, 1, 1),
        ("branch3x3_2", 192, 320, 3, 3),
        ("branch7x7x3_1", n, 192, 1, 1),
        ("branch7x7x3_2", 192, 192, 1, 7),
        ("branch7x7x3_3", 192, 192, 7, 1),
        ("branch7x7x3_4", 192, 192, 3, 3),
    ]


def _block_e(n: int) -> list[tuple]:
    return [
        ("branch1x1", n, 320, 1, 1),
        ("branch3x3_1", n, 384, 1, 1),
        ("branch3x3_2a", 384, 384, 1, 3),
        ("branch3x3_2b", 384, 384, 3, 1),
        ("branch3x3dbl_1", n, 448, 1, 1),
        ("branch3x3dbl_2", 448, 384, 3, 3),
        ("branch3x3dbl_3a", 384, 384, 1, 3),
        ("branch3x3dbl_3b", 384, 384, 3, 1),
        ("branch_pool", n, 192, 1, 1),
    ]


SHAPES: dict[str, Callable[[], Shapes]] = {
    "efficientnet-lite0": efficientnet_lite0_shapes,
    "inception-2015-12-05": inception_shapes,
}
