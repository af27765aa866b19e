"""Several positives per anchor, hard negatives of both sides, and terms per anchor: formulas in
float64, gradients of the dense form, blocks, meshes, padding and bad arguments.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nce_jax
from nce_jax import losses, training
from nce_jax.losses import Sharded
from tests.losses import dense
from tests.slow import slow_but

N, K = 16, 8
LABELS = np.array([0, 0, 1, 2, 2, 2, 1, 3, 0, 4, 4, 2, 5, 0, 1, 1])  # 3 and 5 occur once
IDS = np.array([0, 1, 2, 3, 3, 5, 6, 7, 8, 9, 10, 11, 12, 0, 14, 15])
WEIGHTS = np.array([1, 2, 0, 1, 0.5, 1, 1, 1, 3, 0, 1, 1, 1, 1, 0, 1.0])
GENERATOR = np.random.default_rng(7)
POSITIVES = GENERATOR.random((N, N)) < 0.3  # neither symmetric nor true on the diagonal
LOG_NOISE = GENERATOR.uniform(-3, -1, N)
SHARED, PER_ANCHOR = GENERATOR.normal(size=(K, 3)), GENERATOR.normal(size=(N, 2, 3))
OTHER_SIDE = GENERATOR.normal(size=(N, 3, 3))

supervised, clip = losses.supervised_contrastive_loss, losses.clip_loss
SUPERVISED = {
    "labels": {"labels": LABELS, "temperature": 0.4},
    "matrix": {"positives": POSITIVES},
    "all": {
        "labels": LABELS,
        "temperature": 0.7,
        "magnification": 3.0,
        "log_noise": LOG_NOISE,
        "ids": IDS,
        "weights": WEIGHTS,
    },
}
EXPLICIT = {
    "in batch, own": {"negatives": PER_ANCHOR, "in_batch": True, "temperature": 0.5},
    "in batch, all": {
        "negatives": SHARED,
        "in_batch": True,
        "magnification": 3.0,
        "log_noise": LOG_NOISE,
        "log_noise_negatives": LOG_NOISE[:K],
        "ids": IDS,
        "ids_negatives": np.arange(K),
        "weights": WEIGHTS,
    },
    "log q": {
        "negatives": PER_ANCHOR,
        "log_noise": LOG_NOISE,
        "log_noise_negatives": LOG_NOISE.reshape(8, 2).repeat(2, axis=0),
        "weights": WEIGHTS,
    },
}
HARD = {
    "one side": {"negatives_y": PER_ANCHOR, "temperature": 0.5},
    "both sides": {"negatives_x": SHARED, "negatives_y": PER_ANCHOR, "magnification": 2.0},
    "all": {
        "negatives_x": OTHER_SIDE,
        "negatives_y": SHARED,
        "ids": IDS,
        "ids_negatives_x": np.tile(IDS[:3], (N, 1)),
        "ids_negatives_y": np.arange(K),
        "weights": WEIGHTS,
    },
}
SIGLIP = {
    "labels": {"labels": LABELS, "bias": -1.5, "temperature": 0.4},
    "matrix": {"positives": POSITIVES, "weights": WEIGHTS},
    "ids": {"positives": POSITIVES, "ids": IDS, "bias": 0.5},
}
CASES = {
    **{
        f"supervised, {form}, {name}": (
            lambda x, y, **options: supervised(x, **options),
            lambda x, y, **options: dense.supervised(x, **options),
            options | {"form": form},
        )
        for form in ("out", "in", "separate")
        for name, options in SUPERVISED.items()
    },
    **{
        f"info_nce, {name}": (losses.info_nce_loss, dense.info_nce_with_negatives, options)
        for name, options in EXPLICIT.items()
    },
    **{
        f"clip, {name}": (clip, dense.clip_with_negatives, options)
        for name, options in HARD.items()
    },
    **{
        f"siglip, {name}": (losses.siglip_loss, dense.siglip_of_positives, options)
        for name, options in SIGLIP.items()
    },
}


@functools.cache
def dense_value_and_gradients(case):
    """In float64 NumPy: the value, and the gradients in x and y."""
    _, formula, options = CASES[case]
    x, y = map(np.asarray, dense.batch(n=N))
    return formula(x, y, **options), dense.gradients(formula, x, y, **options)


def assert_equal_to_dense(case, loss, rtol=1e-12, dtype=jnp.float64):
    value, gradients = dense_value_and_gradients(case)
    x, y = (side.astype(dtype) for side in dense.batch(n=N))
    ours, slopes = jax.jit(jax.value_and_grad(loss, (0, 1)))(x, y)
    np.testing.assert_allclose(ours, value, rtol=rtol)
    for slope, expected in zip(slopes, gradients, strict=True):
        np.testing.assert_allclose(slope, expected, atol=rtol * max(1, np.linalg.norm(expected)))


@pytest.mark.parametrize("chunk_size", [pytest.param(None, marks=pytest.mark.costly), 5])
@pytest.mark.parametrize("case", slow_but([c for c in CASES if c.endswith("all")], CASES))
def test_value_and_gradient_are_those_of_the_dense_form(case, chunk_size, x64):
    loss, _, options = CASES[case]
    assert_equal_to_dense(case, functools.partial(loss, **options, chunk_size=chunk_size))


ON_A_MESH = [
    "supervised, out, all",
    "supervised, in, matrix",
    "supervised, separate, all",
    "info_nce, in batch, own",
    "clip, all",
    "siglip, ids",
]


@pytest.mark.parametrize("exchange", [pytest.param("gather", marks=pytest.mark.costly), "ring"])
@pytest.mark.parametrize("case", ON_A_MESH)
def test_on_a_mesh_they_are_the_same(case, exchange, x64):
    loss, _, options = CASES[case]
    num_lanes = 2 if exchange == "ring" else 1
    mesh = training.make_mesh(num_lanes, devices=jax.devices()[:8])
    chunk_size = 3 if exchange == "ring" else None
    devices = Sharded(mesh, exchange=exchange)
    on_mesh = functools.partial(loss, **options, chunk_size=chunk_size, devices=devices)
    assert_equal_to_dense(case, on_mesh, rtol=1e-10)


@pytest.mark.parametrize("case", [case for case in CASES if case.endswith("all")])
def test_float32_and_bfloat16_are_float64_to_rounding(case, x64):
    loss, _, options = CASES[case]
    options = {
        key: value.astype(np.float32) if getattr(value, "dtype", None) == np.float64 else value
        for key, value in options.items()
    }
    value, _ = dense_value_and_gradients(case)
    x, y = (side.astype(jnp.float32) for side in dense.batch(n=N))
    single = loss(x, y, **options)
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, value, rtol=2e-6)
    half = loss(x.astype(jnp.bfloat16), y.astype(jnp.bfloat16), **options, chunk_size=4)
    assert half.dtype == jnp.float32
    np.testing.assert_allclose(half, value, rtol=2e-2)


@pytest.mark.costly
@pytest.mark.parametrize("chunk_size", [None, 5])
def test_derivatives_in_the_numbers_and_of_second_order(chunk_size, x64):
    x, y = dense.batch(n=6)
    labels, common = np.array([0, 0, 1, 1, 1, 2]), {"negatives_y": PER_ANCHOR[:6]}

    def total(numbers, supervised, clip, siglip, **options):
        temperature, magnification = jnp.exp(numbers[0]), jnp.exp(numbers[1])
        options |= {"temperature": temperature}
        value = siglip(x, y, labels=labels, bias=numbers[1], **options)
        value += clip(x, y, magnification=magnification, **common, **options)
        for form in ("out", "in", "separate"):
            options_of_form = options | {"form": form, "magnification": magnification}
            log_noise = numbers[1] * x[:, 0]
            value += supervised(x, labels, log_noise=log_noise, **options_of_form)
        return value

    ours = functools.partial(
        total, supervised=supervised, clip=clip, siglip=losses.siglip_loss, chunk_size=chunk_size
    )
    theirs = functools.partial(
        total,
        supervised=dense.supervised,
        clip=dense.clip_with_negatives,
        siglip=dense.siglip_of_positives,
        xp=jnp,
    )
    point = jnp.array([-0.7, 0.3])
    gradients = [jax.jit(jax.grad(loss))(point) for loss in (ours, theirs)]
    np.testing.assert_allclose(*gradients, rtol=1e-11)
    second = [jax.jit(jax.jacrev(jax.grad(loss)))(point) for loss in (ours, theirs)]
    np.testing.assert_allclose(*second, rtol=1e-10)


def test_a_finite_difference_of_each_form(x64):
    """Central differences along a random direction, to 1e-8."""
    x, direction = dense.batch(n=N)
    for form in ("out", "in", "separate"):
        loss = functools.partial(supervised, **SUPERVISED["all"], form=form)
        program = jax.jit(jax.value_and_grad(loss))
        ends = [program(x + step * direction)[0] for step in (1e-5, -1e-5)]
        difference = (ends[0] - ends[1]) / 2e-5
        slope = jnp.vdot(program(x)[1], direction)
        np.testing.assert_allclose(slope, difference, rtol=1e-8)


def test_one_positive_each_is_info_nce_in_every_form(x64):
    """Two views of each sample with a label of its own: NT-Xent, term by term."""
    x, y = dense.batch(n=N)
    views, labels = jnp.concatenate([x, y]), np.tile(np.arange(N), 2)
    options = {"temperature": 0.5, "magnification": 3.0}
    expected = losses.nt_xent_loss_terms(x, y, **options)
    for form in ("out", "in", "separate"):
        terms = losses.supervised_contrastive_loss_terms(views, labels, form=form, **options)
        np.testing.assert_allclose(terms.reshape(2, N).mean(axis=0), expected, rtol=1e-12)


def test_a_mean_over_pairs_by_weights(x64):
    """The loss of a package that averages over positive pairs, computed pair by pair."""
    x = np.asarray(dense.batch(n=N)[0])
    s, is_same = x @ x.T, LABELS[:, None] == LABELS[None, :]
    terms = [
        np.log1p(np.exp(s[i, ~is_same[i]] - s[i, j]).sum())
        for i in range(N)
        for j in range(N)
        if i != j and is_same[i, j]
    ]
    counts = is_same.sum(axis=1) - 1
    every = np.flatnonzero(counts)
    weights = np.where(counts == 0, 1, counts)  # an anchor without positives is still a negative
    value = supervised(jnp.asarray(x), LABELS, form="separate", weights=weights.astype(float))
    np.testing.assert_allclose(value, np.mean(terms), rtol=1e-12)
    assert every.size < N


LOSSES_WITH_TERMS = {
    "info_nce": (losses.info_nce_loss, losses.info_nce_loss_terms, EXPLICIT["in batch, all"]),
    "clip": (clip, losses.clip_loss_terms, HARD["all"]),
    "nt_xent": (losses.nt_xent_loss, losses.nt_xent_loss_terms, {"weights": WEIGHTS, "ids": IDS}),
    "siglip": (losses.siglip_loss, losses.siglip_loss_terms, {"weights": WEIGHTS, "ids": IDS}),
    "siglip, labels": (losses.siglip_loss, losses.siglip_loss_terms, SIGLIP["matrix"]),
}


@pytest.mark.parametrize("name", LOSSES_WITH_TERMS)
def test_the_loss_is_the_weighted_mean_of_its_terms(name, x64):
    loss, loss_terms, options = LOSSES_WITH_TERMS[name]
    x, y = dense.batch(n=N)
    terms = loss_terms(x, y, **options)
    assert terms.shape == (N,)
    np.testing.assert_array_equal(terms[WEIGHTS == 0], 0)
    mean = np.sum(WEIGHTS * terms) / WEIGHTS.sum()
    np.testing.assert_allclose(loss(x, y, **options), mean, rtol=1e-12)


@pytest.mark.parametrize("form", ["out", "in", "separate"])
def test_supervised_terms_are_zero_without_positives_and_left_out(form, x64):
    x, _ = dense.batch(n=N)
    options = {"labels": LABELS, "form": form}
    terms = losses.supervised_contrastive_loss_terms(x, **options)
    expected = dense.supervised_terms(np.asarray(x), **options)
    is_counted = np.array([term is not None for term in expected])
    assert (~is_counted).sum() == 2
    np.testing.assert_array_equal(terms[~is_counted], 0)
    np.testing.assert_allclose(
        terms[is_counted], [term for term in expected if term is not None], rtol=1e-12
    )
    np.testing.assert_allclose(supervised(x, **options), terms[is_counted].mean(), rtol=1e-12)


ALL_LOSSES = {
    "info_nce": losses.info_nce_loss,
    "info_nce, negatives": functools.partial(
        losses.info_nce_loss, negatives=PER_ANCHOR.astype(np.float32), in_batch=True
    ),
    "clip": functools.partial(clip, negatives_x=SHARED.astype(np.float32)),
    "nt_xent": losses.nt_xent_loss,
    "siglip": losses.siglip_loss,
    "siglip, labels": functools.partial(losses.siglip_loss, labels=LABELS),
    **{
        f"supervised, {form}": lambda x, y, form=form, **options: supervised(
            x, LABELS, form=form, **options
        )
        for form in ("out", "in", "separate")
    },
}


@pytest.mark.parametrize("name", ALL_LOSSES)
def test_a_batch_of_padding_alone_has_loss_and_gradient_zero(name):
    x, y = (jnp.full((N, 3), value) for value in (jnp.nan, jnp.inf))
    loss = functools.partial(ALL_LOSSES[name], weights=jnp.zeros(N))
    value, slopes = jax.jit(jax.value_and_grad(loss, (0, 1)))(x, y)
    assert value == 0
    for slope in slopes:
        np.testing.assert_array_equal(slope, 0)


@pytest.mark.parametrize("chunk_size", [None, pytest.param(5, marks=pytest.mark.costly)])
@pytest.mark.parametrize("name", ALL_LOSSES)
def test_extremes(name, chunk_size):
    """Logits of +-1e4, with and without padding that is NaN; NaN is not hidden."""
    x, y = dense.batch(n=N, dtype=jnp.float32)
    loss = functools.partial(ALL_LOSSES[name], chunk_size=chunk_size)
    function = jax.jit(jax.value_and_grad(loss, (0, 1)))
    padded = jax.jit(jax.value_and_grad(lambda *sides: loss(*sides, weights=WEIGHTS), (0, 1)))
    is_padding = WEIGHTS[:, None] == 0
    for sign in (1, -1):
        sides = 100 * x, sign * 100 * y
        of_padding = [jnp.where(is_padding, jnp.nan, side) for side in sides]
        for leaf in jax.tree.leaves([function(*sides), padded(*of_padding)]):
            assert np.isfinite(leaf).all()
    assert np.isnan(function(x.at[3].set(jnp.nan), y)[0])


def test_no_anchor_has_a_positive():
    x, _ = dense.batch(n=N, dtype=jnp.float32)
    for form in ("out", "in", "separate"):
        loss = functools.partial(supervised, labels=np.arange(N), form=form)
        value, slope = jax.jit(jax.value_and_grad(loss))(x)
        assert value == 0
        np.testing.assert_array_equal(slope, 0)


def test_every_vector_is_a_positive():
    """No negatives: "separate" has nothing to tell apart; the others are even over positives."""
    x, labels = jnp.ones((N, 3)), np.zeros(N, int)
    expected = {"out": np.log(N - 1), "in": np.log(N - 1), "separate": 0}
    for form, value in expected.items():
        of_x = functools.partial(supervised, labels=labels, form=form)
        loss, slope = jax.jit(jax.value_and_grad(of_x))(x)
        np.testing.assert_allclose(loss, value, rtol=1e-6, atol=1e-6)
        assert np.isfinite(slope).all()


@pytest.mark.costly
def test_blocks_take_less_memory():
    x, y = dense.batch(n=2048, dim=8, dtype=jnp.float32)
    labels = np.arange(2048) % 100
    functions = {
        "clip": functools.partial(clip, negatives_x=y, negatives_y=x),
        "siglip": functools.partial(losses.siglip_loss, labels=labels),
        **{
            form: lambda x, y, form=form, **options: supervised(x, labels, form=form, **options)
            for form in ("out", "in", "separate")
        },
    }
    for name, function in functions.items():
        loss = functools.partial(function, chunk_size=64)
        memory = jax.jit(jax.value_and_grad(loss, (0, 1))).lower(x, y).compile().memory_analysis()
        assert memory.temp_size_in_bytes < 2048 * 2048 * 4 / 4, name


def test_a_ring_gathers_nothing():
    mesh = training.make_mesh(devices=jax.devices()[:8])
    x, _ = dense.batch(n=N, dtype=jnp.float32)
    devices = Sharded(mesh, exchange="ring")
    loss = functools.partial(supervised, labels=jnp.asarray(LABELS), devices=devices)
    assert "all-gather" not in jax.jit(jax.grad(loss)).lower(x).compile().as_text()


X = jnp.ones((4, 2))
REFUSED = [
    ("supervised", {}, TypeError, "labels: expected an array of integers, got None"),
    ("supervised", {"labels": jnp.ones(4)}, TypeError, "labels: expected integers, got dtype"),
    ("supervised", {"labels": jnp.ones(3, int)}, ValueError, "labels: expected shape (4,), got"),
    (
        "supervised",
        {"labels": jnp.ones(4, int), "positives": jnp.ones((4, 4), bool)},
        ValueError,
        "positives: expected None with labels, got an array",
    ),
    (
        "supervised",
        {"labels": jnp.ones(4, int), "form": "inside"},
        ValueError,
        "form: expected one of ('out', 'in', 'separate'), got 'inside'",
    ),
    (
        "siglip",
        {"positives": jnp.ones((4, 4), int)},
        TypeError,
        "positives: expected Booleans of shape (4, 4), got an array of shape (4, 4) and dtype int",
    ),
    (
        "siglip",
        {"positives": jnp.ones((4, 3), bool)},
        ValueError,
        "positives: expected Booleans of shape (4, 4), got shape (4, 3)",
    ),
    (
        "clip",
        {"negatives_x": jnp.ones((3, 4, 2))},
        ValueError,
        "negatives_x: expected shape (K, 2) or (4, K, 2), got shape (3, 4, 2)",
    ),
    (
        "clip",
        {"ids_negatives_y": jnp.ones(4, int)},
        ValueError,
        "ids_negatives_y: expected None without negatives_y, got an array",
    ),
    (
        "clip",
        {"negatives_y": X, "ids": jnp.ones(4, int)},
        ValueError,
        "ids_negatives_y: expected integers with negatives_y and ids, got None",
    ),
]


@pytest.mark.bad_input
@pytest.mark.parametrize(("name", "options", "error", "message"), REFUSED)
def test_bad_arguments_are_named(name, options, error, message):
    functions = {
        "supervised": supervised,
        "clip": functools.partial(clip, X),
        "siglip": functools.partial(losses.siglip_loss, X),
    }
    with pytest.raises(error) as caught:
        functions[name](X, **options)
    assert str(caught.value).startswith(message)


def test_hard_negatives_of_a_batch_are_those_of_its_concatenation(x64):
    """In-batch and hard negatives together, as one pool in which ids leave the partner out."""
    x, y = dense.batch(n=N)
    pool, own = jnp.concatenate([y, jnp.asarray(SHARED)]), np.arange(N)
    ids = np.concatenate([own, np.full(K, -1)])
    expected = nce_jax.losses.info_nce_loss(x, y, negatives=pool, ids=own, ids_negatives=ids)
    value = nce_jax.losses.info_nce_loss(x, y, negatives=SHARED, in_batch=True)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
