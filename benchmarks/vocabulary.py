"""A step of an output layer: NCE on sampled rows, against the full softmax on all rows."""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import nce_jax
from benchmarks.harness import Contender, measure
from benchmarks.rows import Check, Report, compare
from nce_jax import noise, training

TOKENS, NEGATIVES, DIM, STEPS = 512, 64, 256, 10
DRAWS = 200
"""Different ones, before they come again: a million words' rows are then long out of the cache."""
SIZES = (10_000, 100_000, 1_000_000)
LARGEST_FULL = 100_000
"""A million words ask for 2 GB of logits: the full softmax is not run there."""
CHECK = Check(
    "NCE loss by rows and by the whole table", lambda ours, theirs: abs(ours / theirs - 1), 1e-5
)


class Problem(NamedTuple):
    """Hidden states, targets, and the output layer."""

    hidden: jax.Array
    targets: jax.Array
    table: dict[str, jax.Array]
    words: Any


def run(quick: bool) -> Report:
    """512 tokens, 64 shared negatives, 256 dimensions, Adam on the layer; float32.

    The gradient includes the hidden states.
    """
    with jax.enable_x64(False):
        rows = [_row(size, quick) for size in SIZES if size <= LARGEST_FULL]
        sizes = SIZES[:2] if quick else SIZES
        contenders = {
            f"{size:,} words": Contender(_by_rows(_problem(size)), STEPS) for size in sizes
        }
        timed = measure(contenders, repetitions=3 if quick else 15, label="step by vocabulary")
        names = list(contenders)
        growth = compare(
            f"NCE step, {names[-1]} over {names[0]}", timed, ours=names[-1], against=[names[0]],
            check=CHECK._replace(error=lambda ours, _: abs(ours - 1)), is_cost=True, unit="step",
        )  # fmt: skip
    return Report([*rows, growth])


def _row(size: int, quick: bool) -> Any:
    problem = _problem(size)
    contenders = {
        "nce_jax, rows": Contender(_by_rows(problem), STEPS),
        "full softmax": Contender(_full(problem)),
    }
    timed = measure(
        contenders, repetitions=2 if quick else 7, label=f"output layer, {size:,} words"
    )
    return compare(
        f"Output layer, {size:,} words",
        timed,
        ours="nce_jax, rows",
        against=["full softmax"],
        check=CHECK,
        at_least=20 if size == LARGEST_FULL else None,
        unit="step",
    )


def _problem(size: int) -> Problem:
    keys = jax.random.split(jax.random.key(0), 3)
    words = noise.log_uniform(size)
    table = {
        "embedding": 0.05 * jax.random.normal(keys[1], (size, DIM)),
        "bias": jnp.full(size, -np.log(size), jnp.float32),
    }
    targets = words.sample(seed=keys[2], sample_shape=TOKENS)
    return Problem(jax.random.normal(keys[0], (TOKENS, DIM)), targets, table, words)


def _draws(problem: Problem, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Targets and noise of a step, drawn anew so that their rows are not cached."""
    key_targets, key_noise = jax.random.split(key)
    targets = problem.words.sample(seed=key_targets, sample_shape=TOKENS)
    return targets, problem.words.sample(seed=key_noise, sample_shape=NEGATIVES)


def _nce(problem: Problem, table: Any, hidden: jax.Array, drawn: Any, positions: Any) -> jax.Array:
    names = ("log_noise_targets", "log_noise_ids")
    log_noise = {name: problem.words.log_prob(ids) for name, ids in zip(names, drawn, strict=True)}
    return nce_jax.losses.vocabulary_nce_loss(hidden, *positions, **table, **log_noise)


def _by_rows(problem: Problem) -> Callable[[], float]:
    """Returns the first step's loss over that of the whole table."""
    optimizer, size = optax.adam(1e-4), len(problem.table["bias"])

    @jax.jit
    def whole_table_loss(key):
        drawn = _draws(problem, key)
        return _nce(problem, problem.table, problem.hidden, drawn, drawn)

    def step(table, state, key):
        drawn = _draws(problem, key)
        rows = training.touched_rows(*drawn, num_rows=size)

        def loss(small, hidden):
            return _nce(problem, small, hidden, drawn, rows.positions)

        value, (of_rows, of_hidden) = jax.value_and_grad(loss, (0, 1))(
            training.gather_rows(table, rows), problem.hidden
        )
        return *training.update_rows(optimizer, of_rows, state, table, rows), value, of_hidden

    step = jax.jit(step, donate_argnums=(0, 1))
    table = jax.tree.map(jnp.copy, problem.table)
    keys = list(jax.random.split(jax.random.key(1), DRAWS))
    table, state, value, _ = step(table, optimizer.init(table), keys[0])
    first, coming = float(value) / float(whole_table_loss(keys[0])), itertools.cycle(keys)

    def block() -> float:
        nonlocal table, state
        for key in itertools.islice(coming, STEPS):
            table, state, _, of_hidden = step(table, state, key)
        jax.block_until_ready((table, of_hidden))
        return first

    return block


def _full(problem: Problem) -> Callable[[], float]:
    """Returns 1, the expected ratio of the two NCE losses of the other side."""
    optimizer = optax.adam(1e-4)

    def step(table, state):
        def loss(table, hidden):
            return nce_jax.losses.full_softmax_loss(hidden, problem.targets, **table)

        of_table, of_hidden = jax.grad(loss, (0, 1))(table, problem.hidden)
        updates, state = optimizer.update(of_table, state)
        return optax.apply_updates(table, updates), state, of_hidden

    step = jax.jit(step, donate_argnums=(0, 1))
    table = jax.tree.map(jnp.copy, problem.table)
    state = optimizer.init(table)

    def block() -> float:
        nonlocal table, state
        table, state, of_hidden = step(table, state)
        jax.block_until_ready((table, of_hidden))
        return 1.0

    return block
