"""Steps of the touched rows: the dense step where it should be, and nothing that grows with the
table.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nce_jax
from nce_jax import training

V, DIM = 20, 3


def table(seed=0):
    generator = np.random.default_rng(seed)
    return {
        "bias": jnp.asarray(generator.normal(size=V), jnp.float32),
        "embedding": jnp.asarray(generator.normal(size=(V, DIM)), jnp.float32),
    }


def batch(seed=0, num_words=V):
    generator = np.random.default_rng(seed)
    hidden = jnp.asarray(generator.normal(size=(6, DIM)), jnp.float32)
    return (
        hidden,
        jnp.asarray(generator.integers(0, num_words, 6)),
        jnp.asarray(generator.integers(0, num_words, 5)),
    )


def loss(small, hidden, targets, noise_ids):
    log_q = {
        "log_noise_targets": jnp.full(targets.shape, -3.0),
        "log_noise_ids": jnp.full(noise_ids.shape, -3.0),
    }
    return nce_jax.losses.vocabulary_nce_loss(hidden, targets, noise_ids, **small, **log_q)


def row_step(optimizer, tables, state, hidden, targets, noise_ids):
    rows = training.touched_rows(targets, noise_ids, num_rows=tables["bias"].shape[0])
    small = training.gather_rows(tables, rows)
    value, gradient = jax.value_and_grad(loss)(small, hidden, *rows.positions)
    return *training.update_rows(optimizer, gradient, state, tables, rows), value


def dense_step(optimizer, tables, state, hidden, targets, noise_ids):
    value, gradient = jax.value_and_grad(loss)(tables, hidden, targets, noise_ids)
    updates, state = optimizer.update(gradient, state, tables)
    return optax.apply_updates(tables, updates), state, value


@pytest.fixture(scope="module")
def steps():
    """Both steps of an optimizer, compiled."""
    return functools.cache(
        lambda optimizer: [jax.jit(functools.partial(f, optimizer)) for f in (row_step, dense_step)]
    )


def touched(num_rows):
    return jax.jit(functools.partial(training.touched_rows, num_rows=num_rows))


def test_ids_and_positions():
    rows = touched(10)(jnp.array([[4, 9], [4, 0]]), jnp.array([9, 2, -1, 10]))
    np.testing.assert_array_equal(rows.ids, [0, 2, 4, 9, 10, 10, 10, 10])
    np.testing.assert_array_equal(rows.positions[0], [[2, 3], [2, 0]])
    np.testing.assert_array_equal(rows.positions[1][:2], [3, 1])
    np.testing.assert_array_equal(rows.ids[rows.positions[1]][2:], [10, 10])
    assert np.isnan(training.gather_rows(jnp.ones(10), rows)[4:]).all()
    full = touched(5)(jnp.arange(7) - 1, jnp.arange(7))
    np.testing.assert_array_equal(full.ids, [0, 1, 2, 3, 4, 5])


def test_plain_descent_is_the_dense_step(steps):
    by_rows, dense = steps(optax.sgd(0.1))
    state = optax.sgd(0.1).init(table())
    ours = theirs = table()
    for seed in range(3):
        ours, _, value = by_rows(ours, state, *batch(seed))
        theirs, _, expected = dense(theirs, state, *batch(seed))
        np.testing.assert_allclose(value, expected, rtol=1e-6)
    untouched = np.setdiff1d(
        np.arange(V), np.concatenate([np.concatenate(batch(seed)[1:]) for seed in range(3)])
    )
    assert len(untouched)
    for name in ours:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-6, atol=1e-7)
        np.testing.assert_array_equal(ours[name][untouched], table()[name][untouched])


def test_one_step_of_descent_is_the_dense_one_to_the_bit():
    """Given one gradient, both do the same arithmetic."""
    tables, optimizer = table(), optax.sgd(0.1)
    rows = touched(V)(*batch()[1:])
    gradient = jax.tree.map(
        lambda leaf: jnp.cos(leaf).at[np.setdiff1d(np.arange(V), rows.ids)].set(0), tables
    )
    small = jax.tree.map(lambda leaf: leaf.at[rows.ids].get(mode="fill", fill_value=0), gradient)
    ours, _ = training.update_rows(optimizer, small, optimizer.init(tables), tables, rows)
    updates, _ = optimizer.update(gradient, optimizer.init(tables), tables)
    jax.tree.map(np.testing.assert_array_equal, ours, optax.apply_updates(tables, updates))


def test_adam_is_the_dense_step_for_rows_of_every_batch_and_lazy_for_others(steps):
    optimizer = optax.adam(0.1)
    by_rows, dense = steps(optimizer)
    ours = theirs = table(), optimizer.init(table())
    for seed in range(4):
        hidden, *_ = batch(seed)
        ids = jnp.arange(6), jnp.arange(5) + 1
        ours, theirs = by_rows(*ours, hidden, *ids)[:2], dense(*theirs, hidden, *ids)[:2]
    for left, right in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-6)
    before = ours
    ours = by_rows(*ours, hidden, jnp.arange(6) + 10, jnp.arange(5) + 11)[:2]
    theirs = dense(*theirs, hidden, jnp.arange(6) + 10, jnp.arange(5) + 11)[:2]
    for then, now in zip(jax.tree.leaves(before), jax.tree.leaves(ours), strict=True):
        if now.ndim:
            np.testing.assert_array_equal(now[:6], then[:6])  # rows and their moments wait
    assert np.abs(theirs[0]["bias"][:6] - before[0]["bias"][:6]).min() > 1e-3  # dense, they move on
    np.testing.assert_allclose(
        ours[0]["embedding"][10:16], theirs[0]["embedding"][10:16], rtol=1e-5
    )


def compiled(num_words, dim=64):
    """A step of 128 tokens and 64 sampled words, with Adam, its arguments donated."""
    shape = functools.partial(jax.ShapeDtypeStruct, dtype=jnp.float32)
    ints = functools.partial(jax.ShapeDtypeStruct, dtype=jnp.int32)
    tables = {"bias": shape((num_words,)), "embedding": shape((num_words, dim))}
    optimizer = optax.adam(0.1)
    step = jax.jit(functools.partial(row_step, optimizer), donate_argnums=(0, 1))
    state = jax.eval_shape(optimizer.init, tables)
    return step.lower(tables, state, shape((128, dim)), ints((128,)), ints((64,))).compile()


def test_nothing_grows_with_the_vocabulary():
    """From 10^4 to 10^6 words: operations and temporary memory, and no table that is written
    anew.
    """
    small, large = compiled(10**4), compiled(10**6)
    flops = [program.cost_analysis()["flops"] for program in (small, large)]
    assert flops[1] < 1.01 * flops[0]
    memory = [program.memory_analysis() for program in (small, large)]
    assert memory[1].temp_size_in_bytes < 1.01 * memory[0].temp_size_in_bytes < 2**21
    for m in memory:
        # All tables are updated where they are.
        assert m.output_size_in_bytes - m.alias_size_in_bytes < 1000


REFUSED = [
    (
        lambda: training.touched_rows(num_rows=3),
        TypeError,
        "ids: expected arrays of integers, got dtypes []",
    ),
    (
        lambda: training.touched_rows(jnp.ones(2), num_rows=3),
        TypeError,
        "ids: expected arrays of integers, got dtypes ['float32']",
    ),
    (
        lambda: training.touched_rows(jnp.arange(2), num_rows=0),
        ValueError,
        "num_rows: expected at least 1, got 0",
    ),
    (
        lambda: step({"a": jnp.ones(3), "b": jnp.ones(4)}),
        ValueError,
        "tables: expected arrays of one number of rows, got shapes",
    ),
    (
        lambda: step(jnp.ones((4, 3))),
        ValueError,
        "gradient: expected that of the gathered rows of tables, shapes [(2, 3)], got shapes",
    ),
    (
        lambda: training.gather_rows(jnp.ones(3), jnp.arange(2)),
        TypeError,
        "rows: expected a Rows such as touched_rows(...) returns, got an array",
    ),
    (
        lambda: training.gather_rows("words", training.touched_rows(jnp.arange(2), num_rows=4)),
        TypeError,
        "tables: expected a pytree of arrays such as",
    ),
    (
        lambda: step(jnp.ones((4, 3)), optimizer="sgd"),
        TypeError,
        "optimizer: expected an optax transformation",
    ),
    (
        lambda: step(jnp.ones((4, 3)), gradient=jnp.ones((2, 3)), opt_state=jnp.ones(2)),
        ValueError,
        "opt_state: expected that of this optimizer",
    ),
]


def step(tables, gradient=None, optimizer=None, opt_state=None):
    rows, optimizer = training.touched_rows(jnp.arange(2), num_rows=4), optimizer or optax.sgd(1.0)
    opt_state = optax.sgd(1.0).init(tables) if opt_state is None else opt_state
    gradient = tables if gradient is None else gradient
    return training.update_rows(optimizer, gradient, opt_state, tables, rows)


@pytest.mark.bad_input
@pytest.mark.parametrize("case", range(len(REFUSED)))
def test_bad_arguments_are_named(case):
    call, error, message = REFUSED[case]
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value).startswith(message)


def test_ids_that_int32_wraps_are_no_rows():
    rows = training.touched_rows(np.array([3, 2**32 + 3, -(2**32) + 3]), num_rows=10)
    assert rows.ids.tolist() == [3, 10, 10]
    assert rows.positions[0].tolist() == [0, 1, 1]


def test_bytes_are_ids_too():
    rows = training.touched_rows(jnp.array([1, 200, 7], jnp.uint8), num_rows=256)
    np.testing.assert_array_equal(rows.ids, [1, 7, 200])


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (
            optax.adafactor(0.1, min_dim_size_to_factor=2),
            "optimizer: expected one that treats every element by itself",
        ),
        (
            optax.MultiSteps(optax.sgd(0.1), 2).gradient_transformation(),
            "optimizer: expected one that moves rows when they",
        ),
        (
            training.with_average(optax.sgd(0.1), 0.9),
            "optimizer: expected one that moves rows when they come, got one of with_average",
        ),
    ],
)
def test_optimizers_that_rows_would_break_are_named(optimizer, message):
    table = {"embedding": jnp.ones((9, 4))}
    rows = training.touched_rows(jnp.array([3, 1]), num_rows=9)
    gradient = training.gather_rows(table, rows)
    with pytest.raises(ValueError, match=message):
        training.update_rows(optimizer, gradient, optimizer.init(table), table, rows)


def test_a_state_of_as_many_numbers_as_rows_is_no_table():
    """A history of eight losses, and eight rows."""

    def update(gradient, state, params=None):
        return gradient, jnp.roll(state, 1)

    optimizer = optax.GradientTransformation(lambda params: jnp.arange(8.0), update)
    table, rows = {"bias": jnp.zeros(8)}, training.touched_rows(jnp.array([3, 1]), num_rows=8)
    _, state = training.update_rows(
        optimizer, training.gather_rows(table, rows), optimizer.init(table), table, rows
    )
    np.testing.assert_array_equal(state, jnp.roll(jnp.arange(8.0), 1))
