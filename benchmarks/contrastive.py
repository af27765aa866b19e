"""Contrastive losses with gradients, compared with optax, info-nce-pytorch and matrix products."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import nce_jax
from benchmarks import floors, fresh
from benchmarks.harness import Contender, measure
from benchmarks.peers import peer
from benchmarks.rows import Amount, Check, Report, Row, compare, spread
from experiments.common.progress import track

DIM, TEMPERATURE = 128, 0.1
PAIRS, LARGE = 1024, 4096
CHUNK = 512
CHECK = Check("loss, relative", lambda ours, theirs: abs(float(ours) / float(theirs) - 1), 1e-5)


def run(quick: bool) -> Report:
    """Everything is float32, and vectors are normalized within the timed code on all sides."""
    with jax.enable_x64(False):
        rows = [*_against_optax(quick), *_against_torch(quick), *_in_blocks(quick)]
    return Report(rows, amounts=_memory(quick))


def _against_optax(quick: bool) -> list[Row]:
    """512 + 512 views: 1,024 against 1,024."""
    x, y = _pairs(PAIRS // 2)
    labels = jnp.tile(jnp.arange(PAIRS // 2), 2)

    def ours(x: jax.Array, y: jax.Array) -> jax.Array:
        return nce_jax.losses.nt_xent_loss(_unit(x), _unit(y), temperature=TEMPERATURE)

    def theirs(x: jax.Array, y: jax.Array) -> jax.Array:
        return optax.losses.ntxent(jnp.concatenate([x, y]), labels, TEMPERATURE)

    products = floors.products(jax.value_and_grad(ours, (0, 1)), x, y)
    (label,) = products.contenders
    contenders = {"nce_jax": _gradient(ours, x, y), "optax.ntxent": _gradient(theirs, x, y)}
    timed = measure(
        contenders | products.contenders, repetitions=3 if quick else 11, label="NT-Xent"
    )
    name = f"NT-Xent, {PAIRS // 2} + {PAIRS // 2} x {DIM}"
    options: dict[str, Any] = {"ours": "nce_jax", "floor": products.floor}
    # Matrix products have no loss to check.
    timed[label] = timed[label]._replace(value=timed["nce_jax"].value)
    return [
        compare(name, timed, against=["optax.ntxent"], check=CHECK, at_least=100, **options),
        compare(
            f"{name}, over its products",
            timed,
            against=[label],
            check=CHECK,
            at_most=1.5,
            **options,
        ),
    ]


def _against_torch(quick: bool) -> list[Row]:
    """1,024 pairs, each against the 1,023 other partners."""
    torch, info_nce = peer("torch"), peer("info_nce")
    x, y = _pairs(PAIRS)

    def ours(x: jax.Array, y: jax.Array) -> jax.Array:
        return nce_jax.losses.info_nce_loss(_unit(x), _unit(y), temperature=TEMPERATURE)

    sides = [torch.tensor(np.asarray(side), requires_grad=True) for side in (x, y)]

    def theirs() -> float:
        for side in sides:
            side.grad = None
        loss = info_nce.info_nce(*sides, temperature=TEMPERATURE)
        loss.backward()
        return loss.item()

    products = floors.products(jax.value_and_grad(ours, (0, 1)), x, y)
    contenders = {"nce_jax": _gradient(ours, x, y), "info-nce-pytorch": Contender(theirs)}
    timed = measure(
        contenders | products.contenders,
        repetitions=5 if quick else 60,
        label="InfoNCE against PyTorch",
    )
    name = f"InfoNCE, {PAIRS:,} x {DIM}"
    return [
        compare(
            name,
            timed,
            ours="nce_jax",
            against=["info-nce-pytorch"],
            check=CHECK,
            at_least=1,
            floor=products.floor,
        )
    ]


def _in_blocks(quick: bool) -> list[Row]:
    """The same loss in blocks, with its logits computed twice and never stored."""
    x, y = _pairs(LARGE)
    losses = {
        "info_nce_loss": nce_jax.losses.info_nce_loss,
        "clip_loss": nce_jax.losses.clip_loss,
        "siglip_loss": nce_jax.losses.siglip_loss,
    }
    rows = []
    for name, loss in losses.items():
        sides = {"in blocks": CHUNK, "all at once": None}
        contenders = {
            label: _gradient(
                lambda x, y, loss=loss, size=size: loss(_unit(x), _unit(y), chunk_size=size), x, y
            )
            for label, size in sides.items()
        }
        timed = measure(contenders, repetitions=3 if quick else 15, label=f"{name} in blocks")
        row = compare(
            f"{name}, {LARGE:,} x {DIM}, blocks of {CHUNK}",
            timed,
            ours="in blocks",
            against=["all at once"],
            check=CHECK,
            at_most=1.3,
        )
        rows.append(row)
    return rows


def _memory(quick: bool) -> list[Amount]:
    """Memory of a process of its own: imports, arguments, compilation and one call."""
    size = 4_096 if quick else 32_768
    answers = [
        fresh.ask("info_nce", str(size))
        for _ in track(range(1 if quick else 2), "memory of InfoNCE")
    ]
    peaks, seconds = (
        spread(np.array([answer[name] for answer in answers])) for name in ("peak", "seconds")
    )
    what = f"info_nce_loss and gradient, {size:,} x 512, blocks of 1,024, float32"
    return [
        Amount(f"{what}: peak of the process", "B", peaks, 4 * 2.0**30),
        Amount(f"{what}: first call", "s", seconds),
    ]


def _pairs(n: int) -> list[jax.Array]:
    x = np.random.default_rng(0).normal(size=(2, n, DIM)).astype(np.float32)
    return [jnp.asarray(x[0]), jnp.asarray(x[0] + x[1])]


def _unit(x: jax.Array) -> jax.Array:
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)


def _gradient(loss: Callable[..., jax.Array], *arguments: jax.Array) -> Contender:
    compiled = jax.jit(jax.value_and_grad(loss, (0, 1)))
    return Contender(lambda: jax.block_until_ready(compiled(*arguments))[0])
