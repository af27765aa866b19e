"""Contrastive losses with gradients, against their matrix products and the roofline."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

import nce_jax
from benchmarks.contrastive import _gradient, _unit
from benchmarks.device_check import ceilings
from benchmarks.device_check.parts import Size
from benchmarks.device_check.timing import measure_warm
from benchmarks.harness import Contender
from benchmarks.rows import Check, Report, Row, compare

SHAPES = {"full": (32_768, 512), "small": (128, 16)}
BLOCKS = {"full": (1_024, 8_192), "small": (32,)}
PRODUCTS = "products alone"
LOSSES: dict[str, Callable[..., jax.Array]] = {
    "info_nce_loss": functools.partial(nce_jax.losses.info_nce_loss, temperature=0.1),
    "siglip_loss": functools.partial(nce_jax.losses.siglip_loss, temperature=0.1, bias=-10.0),
}
# With operands of ten bits (TF32), logits of at most ten are off by a few thousandths, most of
# which average out.
CHECK = Check(
    "loss from that at the highest precision, relative",
    lambda ours, exact: abs(float(ours) / float(exact) - 1),
    1e-3,
    is_contest=True,
)


def run(size: Size) -> Report:
    """Both losses, in blocks of every size; float32 at the default precision."""
    with jax.enable_x64(False):
        return Report([row for name in LOSSES for row in _race(name, size)])


def _race(name: str, size: Size) -> list[Row]:
    (n, dim), loss = SHAPES[size], LOSSES[name]
    x, y = _embeddings(n, dim)

    def in_blocks(block: int) -> Callable[..., jax.Array]:
        return lambda x, y: loss(_unit(x), _unit(y), chunk_size=block)

    labels = {block: f"in blocks of {block:,}" for block in BLOCKS[size]}
    contenders = {label: _gradient(in_blocks(block), x, y) for block, label in labels.items()}
    contenders[PRODUCTS] = Contender(
        functools.partial(jax.jit(_products, static_argnums=2), x, y, max(BLOCKS[size]))
    )
    timed = measure_warm(contenders, size, repetitions=5, label=name)
    with jax.default_matmul_precision("highest"):
        exact = jax.jit(in_blocks(min(BLOCKS[size])))(x, y)
    timed[PRODUCTS] = timed[PRODUCTS]._replace(value=exact)
    # The logits, and two products for the gradients; inputs are read and gradients written.
    floor = ceilings.peaks(size).floor(flops=6.0 * n * n * dim, num_bytes=4 * 4.0 * n * dim)
    return [
        compare(
            f"{name}, {n:,} x {dim}, {label}",
            timed,
            ours=label,
            against=[PRODUCTS],
            check=CHECK,
            is_cost=True,
            floor=floor,
        )
        for label in labels.values()
    ]


def _embeddings(n: int, dim: int) -> tuple[jax.Array, jax.Array]:
    """Pairs that resemble one another."""
    x = jax.random.normal(jax.random.key(0), (2, n, dim))
    return x[0], x[0] + x[1]


def _products(x: jax.Array, y: jax.Array, block: int) -> tuple[jax.Array, jax.Array]:
    """The three products of a loss with its gradients, in blocks and without anything between."""

    def one(of_x: jax.Array, y_block: jax.Array) -> tuple[jax.Array, jax.Array]:
        logits = x @ y_block.T
        return of_x + logits @ y_block, logits.T @ x

    of_x, of_y = jax.lax.scan(one, jnp.zeros_like(x), y.reshape(-1, block, y.shape[1]))
    return of_x, of_y.reshape(y.shape)
