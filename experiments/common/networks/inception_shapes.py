"""Names and shapes of the arrays of Inception; see `inception`."""

from experiments.common.networks import shapes as shapes_of
from experiments.common.networks.shapes import Shapes


def shapes() -> Shapes:
    """Shapes of the arrays of Inception-v3 with 1,008 classes and no auxiliary head."""
    every: Shapes = {}
    for name, channels_in, channels_out, *kernel in _convolutions():
        every[f"{name}.conv.weight"] = (channels_out, channels_in, *kernel)
        every |= shapes_of.batch_norm(f"{name}.bn", channels_out)
    return every | {"fc.weight": (1008, 2048), "fc.bias": (1008,)}


def _convolutions() -> list[tuple]:
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
