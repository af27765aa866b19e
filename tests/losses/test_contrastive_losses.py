"""Losses of embeddings: formulas, blocks of any size, identities, extremes and bad arguments."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nce_jax
from tests.losses import dense

IDS = np.array([0, 1, 2, 0, 4, 5, 1, 7, 8, 9, 10, 0])
WEIGHTS = jnp.array([1, 2, 0, 1, 0.5, 1, 1, 0, 3, 1, 1, 1.0])
LOG_NOISE = np.linspace(-3, -1, 12)
NEGATIVES = np.random.default_rng(3).normal(size=(12, 5, 3))
CASES = {
    "info_nce": (nce_jax.losses.info_nce_loss, dense.info_nce, {"temperature": 0.4}),
    "info_nce, M": (
        nce_jax.losses.info_nce_loss,
        dense.info_nce,
        {"temperature": 0.4, "magnification": 30.0},
    ),
    "info_nce, ids": (nce_jax.losses.info_nce_loss, dense.info_nce, {"ids": IDS}),
    "info_nce, weights": (nce_jax.losses.info_nce_loss, dense.info_nce, {"weights": WEIGHTS}),
    "info_nce, log q": (
        nce_jax.losses.info_nce_loss,
        dense.info_nce,
        {"log_noise": LOG_NOISE, "weights": WEIGHTS, "ids": IDS},
    ),
    "clip": (
        nce_jax.losses.clip_loss,
        functools.partial(dense.info_nce, two_sided=True),
        {"ids": IDS, "weights": WEIGHTS},
    ),
    "clip, M": (
        nce_jax.losses.clip_loss,
        functools.partial(dense.info_nce, two_sided=True),
        {"temperature": 0.4, "magnification": 30.0},
    ),
    "nt_xent": (nce_jax.losses.nt_xent_loss, dense.nt_xent, {"temperature": 0.4}),
    "nt_xent, all": (
        nce_jax.losses.nt_xent_loss,
        dense.nt_xent,
        {"ids": IDS, "weights": WEIGHTS, "magnification": 3.0},
    ),
    "siglip": (nce_jax.losses.siglip_loss, dense.siglip, {"temperature": 0.4, "bias": -1.5}),
    "siglip, all": (nce_jax.losses.siglip_loss, dense.siglip, {"ids": IDS, "weights": WEIGHTS}),
}
EXPLICIT = {
    "shared": {"negatives": NEGATIVES[0]},
    "shared, ids": {
        "negatives": NEGATIVES[0],
        "ids": IDS,
        "ids_negatives": np.array([0, 1, 4, 4, 99]),
    },
    "per anchor": {"negatives": NEGATIVES, "temperature": 0.5, "magnification": 10.0},
    "per anchor, ids": {
        "negatives": NEGATIVES,
        "ids": IDS,
        "ids_negatives": np.tile(IDS[:5], (12, 1)),
    },
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    "chunk_size",
    [pytest.param(None, marks=pytest.mark.costly), 5, pytest.param(100, marks=pytest.mark.costly)],
)
def test_value_and_gradient_are_those_of_the_dense_form(case, chunk_size, x64):
    loss, formula, options = CASES[case]
    x, y = dense.batch()
    expected = formula(np.asarray(x), np.asarray(y), **options)
    ours = functools.partial(loss, **options, chunk_size=chunk_size)
    value, gradients = jax.jit(jax.value_and_grad(ours, (0, 1)))(x, y)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    for ours, theirs in zip(gradients, _dense_gradient(case), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12 * np.linalg.norm(theirs))


@functools.cache
def _dense_gradient(case):
    _, formula, options = CASES[case]
    return dense.gradients(formula, *dense.batch(), **options)


@pytest.mark.parametrize(
    ("case", "chunk_size"),
    [*((case, None) for case in EXPLICIT), ("shared", 2), ("shared, ids", 2)],
)
def test_explicit_negatives(case, chunk_size, x64):
    x, y = dense.batch()
    loss = nce_jax.losses.info_nce_loss(x, y, **EXPLICIT[case], chunk_size=chunk_size)
    np.testing.assert_allclose(
        loss, dense.explicit(np.asarray(x), np.asarray(y), **EXPLICIT[case]), rtol=1e-12
    )


@pytest.mark.parametrize("case", ["info_nce", "clip", "nt_xent", "siglip"])
def test_float32_is_float64_to_rounding(case):
    loss, formula, options = CASES[case]
    x, y = dense.batch(dtype=jnp.float32)
    expected = formula(*(np.asarray(side, np.float64) for side in (x, y)), **options)
    np.testing.assert_allclose(loss(x, y, **options), expected, rtol=2e-6)
    low = loss(x.astype(jnp.bfloat16), y.astype(jnp.bfloat16), **options, chunk_size=4)
    assert low.dtype == jnp.float32
    np.testing.assert_allclose(low, expected, rtol=2e-2)


@pytest.mark.costly
@pytest.mark.parametrize("chunk_size", [None, 5])
def test_derivatives_in_the_numbers_and_of_second_order(chunk_size, x64):
    x, y = dense.batch(n=6)

    def ours(numbers):
        options = {"temperature": jnp.exp(numbers[0]), "chunk_size": chunk_size}
        scores = nce_jax.losses.siglip_loss(
            x, y, bias=numbers[1], **options
        ) + nce_jax.losses.clip_loss(x, y, **options)
        return scores + nce_jax.losses.info_nce_loss(
            x, y, log_noise=numbers[1] * x[:, 0], **options
        )

    def theirs(numbers):
        options = {"temperature": jnp.exp(numbers[0]), "xp": jnp}
        scores = dense.siglip(x, y, bias=numbers[1], **options) + dense.info_nce(
            x, y, two_sided=True, **options
        )
        return scores + dense.info_nce(x, y, log_noise=numbers[1] * x[:, 0], **options)

    point = jnp.array([-0.7, 0.3])
    np.testing.assert_allclose(
        jax.jit(jax.grad(ours))(point), jax.jit(jax.grad(theirs))(point), rtol=1e-11
    )
    second = [jax.jit(jax.jacrev(jax.grad(loss)))(point) for loss in (ours, theirs)]
    np.testing.assert_allclose(*second, rtol=1e-10)


def test_temperature_and_order_and_constant_encoders(x64):
    x, y = dense.batch()
    order = np.random.default_rng(0).permutation(12)
    for loss, constant in (
        (nce_jax.losses.info_nce_loss, np.log(12)),
        (nce_jax.losses.clip_loss, np.log(12)),
        (nce_jax.losses.nt_xent_loss, np.log(23)),
        (nce_jax.losses.siglip_loss, 12 * np.log(2)),
    ):
        np.testing.assert_allclose(loss(x[order], y[order]), loss(x, y), rtol=1e-13)
        np.testing.assert_allclose(
            loss(jnp.zeros((12, 3)), jnp.zeros((12, 3))), constant, rtol=1e-13
        )
    np.testing.assert_allclose(
        nce_jax.losses.clip_loss(x, y, temperature=0.3),
        nce_jax.losses.clip_loss(x / 0.3, y),
        rtol=1e-13,
    )


def test_they_are_the_losses_of_their_logits(x64):
    """InfoNCE ranks; SigLIP is binary NCE of the logits + log(n - 1) at noise ratio n - 1, with
    bias -F - log(n - 1).
    """
    x, y = dense.batch()
    logits, is_off_diagonal = x @ y.T, ~np.eye(12, dtype=bool)
    noise = logits[is_off_diagonal].reshape(12, 11)
    ranked = nce_jax.losses.ranking_nce_loss_terms(jnp.diagonal(logits), noise, magnification=7.0)
    np.testing.assert_allclose(
        nce_jax.losses.info_nce_loss_terms(x, y, magnification=7.0), ranked, rtol=1e-12
    )
    binary = {"noise_ratio": 11.0, "log_partition": -0.4 - np.log(11)}
    expected = nce_jax.nce_loss(jnp.diagonal(logits), noise.reshape(-1), **binary)
    np.testing.assert_allclose(nce_jax.losses.siglip_loss(x, y, bias=0.4), expected, rtol=1e-12)


@pytest.mark.parametrize("chunk_size", [None, pytest.param(5, marks=pytest.mark.costly)])
@pytest.mark.parametrize("name", ["info_nce_loss", "clip_loss", "nt_xent_loss", "siglip_loss"])
def test_extremes(name, chunk_size):
    """Logits of +-1e4; padding that is NaN; one pair alone; NaN is not hidden."""
    loss = jax.jit(
        jax.value_and_grad(functools.partial(getattr(nce_jax.losses, name), chunk_size=chunk_size))
    )
    x, y = dense.batch(dtype=jnp.float32)
    for sign in (1, -1):
        value, slope = loss(100 * x, sign * 100 * x)
        assert np.isfinite(value)
        assert np.isfinite(slope).all()
    padded = x.at[3].set(jnp.nan), y.at[3].set(jnp.inf)
    value, slope = loss(*padded, weights=jnp.ones(12).at[3].set(0))
    is_kept = np.arange(12) != 3
    np.testing.assert_allclose(value, loss(x[is_kept], y[is_kept])[0], rtol=1e-6)
    np.testing.assert_array_equal(slope[3], 0)
    assert np.isfinite(slope).all()
    value, slope = loss(x[:1], y[:1])
    assert np.isfinite(value)
    assert np.isfinite(slope).all()
    assert np.isnan(loss(padded[0], y)[0])


@pytest.mark.costly
def test_all_of_one_kind_leave_nothing_to_learn():
    """Where every other pair is a duplicate there is no negative: zero, and no gradient."""
    x, y = dense.batch(dtype=jnp.float32)
    value, slope = jax.value_and_grad(nce_jax.losses.clip_loss)(x, y, ids=jnp.zeros(12, int))
    assert value == 0
    np.testing.assert_array_equal(slope, 0)


def test_copies_marked_by_ids_act_as_a_magnification(x64):
    """The claim of docs/contrastive.md: r copies of every pair have the loss of one at M = r."""
    x, y = dense.batch()
    copies = jnp.arange(36) // 3
    for loss in (nce_jax.losses.clip_loss, nce_jax.losses.info_nce_loss):
        repeated = loss(x[copies], y[copies], ids=copies)
        np.testing.assert_allclose(repeated, loss(x, y, magnification=3.0), rtol=1e-12)


def test_blocks_take_less_memory():
    x, y = dense.batch(n=2048, dim=8, dtype=jnp.float32)
    for name in ("info_nce_loss", "clip_loss", "siglip_loss"):
        loss = functools.partial(getattr(nce_jax.losses, name), chunk_size=64)
        memory = jax.jit(jax.value_and_grad(loss, (0, 1))).lower(x, y).compile().memory_analysis()
        assert memory.temp_size_in_bytes < 2048 * 2048 * 4 / 4, name


def test_a_grid_of_temperatures_is_compiled_once():
    x, y = dense.batch(dtype=jnp.float32)
    traces = 0

    @jax.jit
    def loss(temperature, magnification):
        nonlocal traces
        traces += 1
        return nce_jax.losses.info_nce_loss(
            x, y, temperature=temperature, magnification=magnification
        )

    values = [loss(t, m) for t in (0.1, 1.0) for m in (1.0, 10.0)]
    assert traces == 1
    lanes = jax.vmap(lambda t: nce_jax.losses.clip_loss(x, y, temperature=t, chunk_size=5))(
        jnp.array([0.1, 1.0])
    )
    np.testing.assert_allclose(
        lanes, [nce_jax.losses.clip_loss(x, y, temperature=t) for t in (0.1, 1.0)], rtol=1e-6
    )
    assert len(set(map(float, values))) == 4


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "int64", "uint32"])
def test_ids_of_any_integer_type(dtype):
    x, y = dense.batch(dtype=jnp.float32)
    for loss in (nce_jax.losses.clip_loss, nce_jax.losses.nt_xent_loss, nce_jax.losses.siglip_loss):
        expected = loss(x, y, ids=jnp.asarray(IDS, jnp.int32), weights=WEIGHTS)
        np.testing.assert_array_equal(loss(x, y, ids=IDS.astype(dtype), weights=WEIGHTS), expected)


@pytest.mark.parametrize("name", ["padded", "left out"])
def test_negatives_that_do_not_count_may_hold_anything(name):
    x, y = dense.batch(dtype=jnp.float32)
    negatives = jnp.asarray(NEGATIVES, jnp.float32).at[2].set(jnp.nan)
    options = {"weights": jnp.ones(12).at[2].set(0)}
    if name == "left out":
        options = {"ids": jnp.arange(12), "ids_negatives": jnp.full((12, 5), -1).at[2].set(2)}

    def loss(x, negatives, temperature):
        return nce_jax.losses.info_nce_loss(
            x, y, negatives=negatives, temperature=temperature, **options
        )

    value_and_gradients = jax.value_and_grad(loss, (0, 1, 2))(x, negatives, 0.5)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(value_and_gradients))


def test_float16_keeps_small_slopes():
    """A slope of the order 1 / n^2 per pair is below float16's range: nearly constant encoders,
    2,048 pairs.
    """
    x, y = (1 + 0.01 * side for side in dense.batch(n=2048, dtype=jnp.float32))
    slope = jax.jit(jax.grad(functools.partial(nce_jax.losses.clip_loss, chunk_size=512)))
    exact = slope(x, y)
    half = slope(x.astype(jnp.float16), y.astype(jnp.float16)).astype(jnp.float32)
    rounded = exact.astype(jnp.float16).astype(jnp.float32)
    of_inputs = slope(*(side.astype(jnp.float16).astype(jnp.float32) for side in (x, y)))
    floor = np.linalg.norm(rounded - exact) + np.linalg.norm(of_inputs - exact)
    assert np.linalg.norm(half - exact) < 2 * floor


X = jnp.ones((4, 2))
REFUSED = [
    (
        {"y": jnp.ones((3, 2))},
        ValueError,
        "y: expected a partner for every row of x, shape (4, 2), got shape (3, 2)",
    ),
    ({"x": jnp.ones(4)}, ValueError, "x: expected vectors of shape (n, dim), got shape (4,)"),
    (
        {"x": jnp.ones((4, 2), int)},
        TypeError,
        "x: expected a floating array, got dtype int32; .astype(float) converts it",
    ),
    ({"temperature": 0.0}, ValueError, "temperature: expected a finite positive number, got 0.0"),
    ({"temperature": jnp.ones(2)}, ValueError, "temperature: expected a number, got shape (2,)"),
    (
        {"magnification": -1.0},
        ValueError,
        "magnification: expected a finite positive number, got -1.0",
    ),
    ({"chunk_size": 0}, ValueError, "chunk_size: expected at least 1, got 0"),
    ({"ids": jnp.ones(4)}, TypeError, "ids: expected integers, got dtype float32"),
    ({"ids": jnp.ones(3, int)}, ValueError, "ids: expected shape (4,), got shape (3,)"),
    (
        {"ids": np.array([0, 1, 2, 2**40])},
        ValueError,
        "ids: expected integers that fit an int32, got 0 to 1099511627776",
    ),
    ({"weights": jnp.ones(3)}, ValueError, "weights: expected one weight per sample"),
    ({"log_noise": jnp.ones(3)}, ValueError, "log_noise: expected shape (4,), got shape (3,)"),
    (
        {"log_noise": jnp.ones(4), "negatives": X},
        ValueError,
        "log_noise_negatives: expected log probabilities with negatives and log_noise, got None",
    ),
    (
        {"negatives": jnp.ones((3, 5))},
        ValueError,
        "negatives: expected shape (K, 2) or (4, K, 2), got shape (3, 5)",
    ),
    (
        {"negatives": X, "ids_negatives": jnp.ones(4, int)},
        ValueError,
        "ids: expected integers with negatives and ids_negatives, got None",
    ),
    (
        {"negatives": X, "ids": jnp.ones(4, int)},
        ValueError,
        "ids_negatives: expected integers with negatives and ids, got None",
    ),
    (
        {"log_noise_negatives": jnp.ones(4)},
        ValueError,
        "log_noise_negatives: expected None without negatives, got an array",
    ),
    (
        {"log_noise_negatives": jnp.ones(4), "negatives": X},
        ValueError,
        "log_noise: expected log probabilities with negatives and log_noise_negatives, got None",
    ),
    (
        {"log_noise_negatives": jnp.ones(3), "log_noise": jnp.ones(4), "negatives": X},
        ValueError,
        "log_noise_negatives: expected shape (4,), got shape (3,)",
    ),
    ({"in_batch": 1, "negatives": X}, TypeError, "in_batch: expected a Boolean, got int 1"),
    (
        {"ids_negatives": jnp.ones(4, int)},
        ValueError,
        "ids_negatives: expected None without negatives, got an array",
    ),
]


@pytest.mark.bad_input
@pytest.mark.parametrize(("options", "error", "message"), REFUSED)
def test_bad_arguments_are_named(options, error, message):
    arguments = {"x": X, "y": X, **options}
    with pytest.raises(error) as caught:
        nce_jax.losses.info_nce_loss(arguments.pop("x"), arguments.pop("y"), **arguments)
    assert str(caught.value).startswith(message)
