"""Vocabulary losses: formulas in NumPy, identities, limits, extremes, and what is refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nce_jax

N, V, DIM, K = 7, 11, 3, 5
WEIGHTS = np.array([1, 2, 0, 1, 0.5, 1, 3.0])
_SOFTMAX = nce_jax.losses.sampled_softmax_loss
SAMPLED = {
    "nce": nce_jax.losses.vocabulary_nce_loss,
    "sampled softmax": nce_jax.losses.sampled_softmax_loss,
}


def problem(seed=0, dtype=np.float64, per_token=False, count=K):
    """Arrays of a batch by name; one sampled word is a target, one comes twice."""
    generator = np.random.default_rng(seed)
    log_q = np.log(generator.dirichlet(np.full(V, 3.0)))
    targets = generator.integers(0, V, N)
    noise_ids = generator.integers(0, V, (N, count) if per_token else count)
    noise_ids[..., 0], noise_ids[..., -1] = targets[1], noise_ids[..., min(1, count - 1)]
    return {
        "hidden": jnp.asarray(generator.normal(size=(N, DIM)), dtype),
        "targets": jnp.asarray(targets, jnp.int32),
        "noise_ids": jnp.asarray(noise_ids, jnp.int32),
        "embedding": jnp.asarray(generator.normal(size=(V, DIM)), dtype),
        "bias": jnp.asarray(generator.normal(size=V), dtype),
        "log_noise_targets": jnp.asarray(log_q[targets], dtype),
        "log_noise_ids": jnp.asarray(log_q[noise_ids], dtype),
    }


def call(loss, arrays, **options):
    """The loss of a batch, which for the softmax has a name less."""
    arrays = {
        name: leaf
        for name, leaf in arrays.items()
        if loss is not nce_jax.losses.sampled_softmax_loss or name != "log_noise_targets"
    }
    return loss(
        arrays.pop("hidden"), arrays.pop("targets"), arrays.pop("noise_ids"), **arrays, **options
    )


def softplus(x):
    return np.logaddexp(0, x)


def oracle(
    name, arrays, *, log_partition=0.0, magnification=1.0, noise_ratio=None, hits=None, weights=None
):
    """The loss, one token and one sampled word after another."""
    a = {
        key: np.asarray(leaf, np.float64 if leaf.dtype.kind == "f" else None)
        for key, leaf in arrays.items()
    }
    excludes = hits == "exclude"
    score = a["hidden"] @ a["embedding"].T + a["bias"]
    terms = []
    for i, w in enumerate(a["targets"]):
        ids, log_q = (
            leaf if leaf.ndim == 1 else leaf[i] for leaf in (a["noise_ids"], a["log_noise_ids"])
        )
        sampled = [(j, q) for j, q in zip(ids, log_q, strict=True) if not (excludes and j == w)]
        f = np.broadcast_to(log_partition, N)[i]
        if name == "nce":
            kappa = magnification * (len(ids) if noise_ratio is None else noise_ratio)
            noise = sum(softplus(score[i, j] - q - f - np.log(kappa)) for j, q in sampled)
            terms.append(
                softplus(np.log(kappa) - score[i, w] + a["log_noise_targets"][i] + f)
                + kappa / len(ids) * noise
            )
        else:
            noise_sum = magnification * sum(np.exp(score[i, j] - q) / len(ids) for j, q in sampled)
            terms.append(np.log(np.exp(score[i, w]) + noise_sum) - score[i, w])
    return np.average(terms, weights=weights)


NCE_OPTIONS = {
    "plain": {},
    "M, nu, F": {"magnification": 7.0, "noise_ratio": 2.5, "log_partition": 0.7},
    "F per token": {"log_partition": np.linspace(-1, 2, N), "hits": "exclude"},
    "weights": {"weights": WEIGHTS, "hits": "exclude"},
}
CASES = [("nce", options) for options in NCE_OPTIONS.values()] + [
    ("sampled softmax", options)
    for options in (
        {"hits": "exclude"},
        {"hits": "keep", "magnification": 4.0},
        {"hits": "exclude", "weights": WEIGHTS},
    )
]


def ours(name, arrays, hits=None, chunk_size=None, **options):
    named = {} if hits is None else {"accidental_hits": hits}
    options = {
        key: jnp.asarray(leaf) if isinstance(leaf, np.ndarray) else leaf
        for key, leaf in options.items()
    }
    return call(SAMPLED[name], arrays, chunk_size=chunk_size, **named, **options)


@pytest.mark.parametrize("per_token", [False, True], ids=["shared", "per token"])
@pytest.mark.parametrize("case", range(len(CASES)))
def test_formulas(case, per_token, x64):
    name, options = CASES[case]
    arrays = problem(per_token=per_token)
    expected = oracle(name, arrays, **options)
    for chunk_size in (None, 2):
        np.testing.assert_allclose(
            ours(name, arrays, chunk_size=chunk_size, **options), expected, rtol=1e-12
        )


def _with_floats(name, arrays, floats, **options):
    return ours(name, {**arrays, **floats}, **options)


@pytest.mark.parametrize("case", range(len(CASES)))
def test_gradients_are_those_of_the_formula(case, x64):
    """Against central differences along one direction, in every array at once; for all ways to go
    through the words.
    """
    name, options = CASES[case]
    shared = problem()
    direction = {
        key: jnp.cos(jnp.arange(leaf.size, dtype=float).reshape(leaf.shape))
        for key, leaf in shared.items()
    }
    repeated = {
        key: jnp.tile(leaf, (N, 1)) if key in ("noise_ids", "log_noise_ids") else leaf
        for key, leaf in shared.items()
    }
    derivatives = []
    for arrays, chunk_size in ((shared, None), (shared, 2), (repeated, None), (repeated, 2)):
        floats = {key: leaf for key, leaf in arrays.items() if leaf.dtype.kind == "f"}
        whole = functools.partial(_with_floats, name, arrays, chunk_size=chunk_size, **options)
        slopes = jax.jit(jax.grad(whole))(floats)
        derivatives.append(
            sum(
                jnp.vdot(slopes[key], jnp.broadcast_to(direction[key], leaf.shape))
                for key, leaf in floats.items()
            )
        )
    step = 1e-6
    moved = [
        oracle(
            name,
            {
                k: v + s * step * direction[k] if v.dtype.kind == "f" else v
                for k, v in shared.items()
            },
            **options,
        )
        for s in (1, -1)
    ]
    np.testing.assert_allclose(derivatives[1:], derivatives[0], rtol=1e-11)
    np.testing.assert_allclose(derivatives[0], (moved[0] - moved[1]) / (2 * step), rtol=1e-7)


@pytest.mark.parametrize("hits", ["keep", "exclude"])
@pytest.mark.costly
def test_nce_is_the_binary_loss_of_the_log_ratios_and_f_can_be_solved(hits, x64):
    """One F for the batch, and one per token; the solution is where the loss has no slope."""
    arrays, weights = problem(), jnp.asarray(WEIGHTS)
    s_data, s_noise = call(
        nce_jax.losses.vocabulary_log_ratios, arrays, accidental_hits=hits, weights=weights
    )
    pooled = (s_data, s_noise.reshape(-1))
    options = {"magnification": 3.0, "noise_ratio": float(K)}
    both = {"weights_data": weights, "weights_noise": jnp.repeat(weights, K)}
    loss = functools.partial(
        call, nce_jax.losses.vocabulary_nce_loss, arrays, accidental_hits=hits, magnification=3.0
    )
    for f in (0.0, 1.3):
        expected = nce_jax.nce_loss(*pooled, log_partition=f, **options, **both)
        np.testing.assert_allclose(loss(log_partition=f, weights=weights), expected, rtol=1e-13)
    solution = nce_jax.solve_log_partition(*pooled, **options, **both)
    assert solution.status == nce_jax.Status.CONVERGED
    slope = jax.grad(lambda f: loss(log_partition=f, weights=weights))(solution.log_partition)
    assert abs(slope) < 1e-10
    roots = nce_jax.solve_log_partition(s_data[:, None], s_noise, **options).log_partition
    assert roots.shape == (N,)
    slopes = jax.grad(lambda f: loss(log_partition=f))(jnp.where(weights == 0, 0.0, roots))
    np.testing.assert_allclose(jnp.where(weights == 0, 0, slopes), 0, atol=1e-9)


def test_ranking_is_the_form_with_a_corrected_target(x64):
    """Subtracting log(K q) from the target as well is the ranking loss."""
    arrays = problem()
    s_data, s_noise = call(nce_jax.losses.vocabulary_log_ratios, arrays)
    log_count = np.log(K)
    expected = np.mean(
        np.logaddexp(s_data - log_count, jax.nn.logsumexp(s_noise - log_count, axis=-1))
        - s_data
        + log_count
    )
    np.testing.assert_allclose(
        nce_jax.losses.ranking_nce_loss(s_data, s_noise), expected, rtol=1e-12
    )


def test_words_of_all_tokens_are_shared_words_where_equal(x64):
    shared = problem()
    repeated = {
        **shared,
        "noise_ids": jnp.tile(shared["noise_ids"], (N, 1)),
        "log_noise_ids": jnp.tile(shared["log_noise_ids"], (N, 1)),
    }
    for loss in (*SAMPLED.values(), nce_jax.losses.vocabulary_log_ratios):
        for hits in ("keep", "exclude"):
            left, right = (
                call(loss, arrays, accidental_hits=hits) for arrays in (shared, repeated)
            )
            jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-13), left, right)
    f = jnp.full(N, 0.3)
    left, right = (call(SAMPLED["nce"], shared, log_partition=value) for value in (f, 0.3))
    np.testing.assert_allclose(left, right, rtol=1e-13)


@pytest.mark.costly
def test_excluded_hits_are_not_there(x64):
    """Only hits: nothing but the target's term. No hit: no difference."""
    arrays = problem()
    alone = {**arrays, "targets": jnp.full(N, 4), "noise_ids": jnp.full(K, 4)}
    assert call(nce_jax.losses.sampled_softmax_loss, alone) == 0
    s_data, _ = call(nce_jax.losses.vocabulary_log_ratios, alone)
    value = call(nce_jax.losses.vocabulary_nce_loss, alone, accidental_hits="exclude")
    np.testing.assert_allclose(value, np.mean(softplus(np.log(K) - np.asarray(s_data))), rtol=1e-12)
    for shape, chunk_size in (((K,), None), ((K,), 2), ((N, K), None), ((N, K), 2)):
        noisy = {**alone, "noise_ids": jnp.full(shape, 4), "log_noise_ids": jnp.full(shape, -1.0)}
        slope = jax.grad(
            lambda h, a=noisy, c=chunk_size: call(_SOFTMAX, {**a, "hidden": h}, chunk_size=c)
        )(arrays["hidden"])
        np.testing.assert_array_equal(slope, 0)
    apart = {**arrays, "targets": arrays["targets"] % 3, "noise_ids": 3 + arrays["noise_ids"] % 3}
    for loss in SAMPLED.values():
        np.testing.assert_allclose(
            call(loss, apart, accidental_hits="keep"), call(loss, apart, accidental_hits="exclude")
        )


def test_one_sampled_word(x64):
    """K = 1: classic binary NCE, and the logistic loss of a difference."""
    arrays = problem(count=1) | {"noise_ids": jnp.array([10]), "targets": jnp.arange(N)}
    s_data, s_noise = call(nce_jax.losses.vocabulary_log_ratios, arrays)
    np.testing.assert_allclose(
        call(SAMPLED["nce"], arrays), nce_jax.nce_loss(s_data, s_noise[:, 0]), rtol=1e-13
    )
    difference = s_noise[:, 0] - (s_data + arrays["log_noise_targets"])
    np.testing.assert_allclose(
        call(SAMPLED["sampled softmax"], arrays), np.mean(softplus(difference)), rtol=1e-13
    )


def test_shifts(x64):
    """A constant on all scores is a constant on F, and nothing to a softmax; one on log q is one on
    F, too.
    """
    arrays = problem()
    up = {**arrays, "bias": arrays["bias"] + 2.0}
    loss = call(SAMPLED["nce"], up, log_partition=2.5)
    np.testing.assert_allclose(loss, call(SAMPLED["nce"], arrays, log_partition=0.5), rtol=1e-13)
    np.testing.assert_allclose(
        call(SAMPLED["sampled softmax"], up), call(SAMPLED["sampled softmax"], arrays), rtol=1e-12
    )
    full = [full_softmax(a) for a in (up, arrays)]
    np.testing.assert_allclose(*full, rtol=1e-13)


def full_softmax(arrays, **options):
    return nce_jax.losses.full_softmax_loss(
        arrays["hidden"],
        arrays["targets"],
        embedding=arrays["embedding"],
        bias=arrays["bias"],
        **options,
    )


@pytest.mark.parametrize("chunk_size", [None, 4, 100])
def test_full_softmax_and_log_partition(chunk_size, x64):
    arrays, weights = problem(), jnp.asarray(WEIGHTS)
    score = arrays["hidden"] @ arrays["embedding"].T + arrays["bias"][None, :]
    log_z = jax.nn.logsumexp(score, axis=-1)
    terms = log_z - score[np.arange(N), arrays["targets"]]
    np.testing.assert_allclose(
        full_softmax(arrays, chunk_size=chunk_size), terms.mean(), rtol=1e-13
    )
    loss = full_softmax(arrays, chunk_size=chunk_size, weights=weights)
    np.testing.assert_allclose(loss, np.average(terms, weights=WEIGHTS), rtol=1e-13)
    table = {"embedding": arrays["embedding"], "bias": arrays["bias"]}
    log_partition = nce_jax.losses.vocabulary_log_partition(
        arrays["hidden"], **table, weights=weights, chunk_size=chunk_size
    )
    np.testing.assert_allclose(log_partition, np.where(WEIGHTS == 0, 0, log_z), rtol=1e-13)
    slope = jax.grad(lambda e: full_softmax({**arrays, "embedding": e}, chunk_size=chunk_size))(
        arrays["embedding"]
    )
    p = jax.nn.softmax(score, axis=-1) - np.eye(V)[arrays["targets"]]
    np.testing.assert_allclose(slope, p.T @ arrays["hidden"] / N, atol=1e-14)


def test_all_words_once_at_their_own_rate_are_the_full_softmax(x64):
    """Noise over all words, uniform q: the sampled sum is the exact one, hits left out, and so is
    its gradient.
    """
    arrays = problem()
    whole = {**arrays, "noise_ids": jnp.arange(V), "log_noise_ids": jnp.full(V, -np.log(V))}
    np.testing.assert_allclose(
        call(nce_jax.losses.sampled_softmax_loss, whole), full_softmax(arrays), rtol=1e-13
    )
    slopes = [
        jax.grad(lambda h, f=f: f({**whole, "hidden": h}))(whole["hidden"])
        for f in (_sampled, full_softmax)
    ]
    np.testing.assert_allclose(*slopes, atol=1e-14)


def _sampled(arrays):
    return call(nce_jax.losses.sampled_softmax_loss, arrays)


def gradients(loss, count, draws, seed):
    """Gradients in the embedding for independent draws of noise, (draws, V, DIM), and the full
    softmax's.
    """
    arrays = problem()
    log_q = jnp.log(jnp.asarray(np.random.default_rng(9).dirichlet(np.full(V, 3.0))))

    def gradient(key):
        ids = jax.random.categorical(key, log_q, shape=(count,))
        noisy = {
            **arrays,
            "noise_ids": ids,
            "log_noise_ids": log_q[ids],
            "log_noise_targets": log_q[arrays["targets"]],
        }
        return jax.grad(lambda e: loss({**noisy, "embedding": e}))(arrays["embedding"])

    sampled = jax.jit(jax.vmap(gradient))(jax.random.split(jax.random.key(seed), draws))
    return sampled, jax.grad(lambda e: full_softmax({**arrays, "embedding": e}))(
        arrays["embedding"]
    )


@pytest.mark.costly
def test_many_sampled_words_have_the_gradient_of_the_full_softmax(x64):
    """K = 20,000, 64 draws, seed 5: all 33 components within 4.5 standard errors plus the bias,
    which is O(1/K).
    """
    sampled, full = gradients(_sampled, 20_000, 64, 5)
    error = sampled.std(axis=0, ddof=1) / np.sqrt(len(sampled))
    assert (np.abs(sampled.mean(axis=0) - full) < 4.5 * error + 1e-4).all()
    assert error.max() < 2e-3
    few = gradients(_sampled, 3, 4000, 6)[0].mean(axis=0)
    assert np.abs(few - full).max() > 0.02  # few words: biased


@pytest.mark.costly
def test_nce_at_the_exact_log_partition_has_the_gradient_of_the_full_softmax(x64):
    """K = 20,000 and M = 1,000, F = log Z of each token, 64 draws, seed 7: within 4.5 standard
    errors plus O(1/kappa).
    """
    arrays = problem()
    log_z = nce_jax.losses.vocabulary_log_partition(
        arrays["hidden"], embedding=arrays["embedding"], bias=arrays["bias"]
    )
    loss = functools.partial(
        call, nce_jax.losses.vocabulary_nce_loss, log_partition=log_z, magnification=1000.0
    )
    sampled, full = gradients(loss, 20_000, 64, 7)
    error = sampled.std(axis=0, ddof=1) / np.sqrt(len(sampled))
    assert (np.abs(sampled.mean(axis=0) - full) < 4.5 * error + 1e-5).all()


@pytest.mark.parametrize("name", SAMPLED)
@pytest.mark.parametrize("per_token", [False, True], ids=["shared", "per token"])
def test_extremes(name, per_token):
    """Scores of +-1e4; padding that holds anything; NaN is not hidden, and neither is what is no
    word.
    """
    arrays = problem(dtype=np.float32, per_token=per_token)
    loss = jax.jit(
        jax.value_and_grad(lambda h, a, **o: call(SAMPLED[name], {**a, "hidden": h}, **o))
    )
    for sign in (1, -1):
        value, slope = loss(sign * 1e4 * arrays["hidden"], arrays)
        assert np.isfinite(value)
        assert np.isfinite(slope).all()
    hidden, weights = arrays["hidden"].at[2].set(jnp.nan), jnp.asarray(WEIGHTS, jnp.float32)
    padded = {**arrays, "targets": arrays["targets"].at[2].set(-1)}
    padded["log_noise_targets"] = padded["log_noise_targets"].at[2].set(jnp.nan)
    if per_token:
        padded["noise_ids"] = padded["noise_ids"].at[2].set(-1)
        padded["log_noise_ids"] = padded["log_noise_ids"].at[2].set(-jnp.inf)
    value, slope = loss(hidden, padded, weights=weights)
    np.testing.assert_allclose(
        value, oracle(name, arrays, weights=WEIGHTS, **DEFAULT_HITS[name]), rtol=1e-5
    )
    assert np.isfinite(slope).all()
    np.testing.assert_array_equal(slope[2], 0)
    assert np.isnan(loss(hidden, arrays)[0])
    assert np.isnan(
        loss(arrays["hidden"], {**arrays, "targets": arrays["targets"].at[0].set(V)})[0]
    )
    assert np.isnan(loss(arrays["hidden"], {**arrays, "noise_ids": arrays["noise_ids"] - V})[0])


@pytest.mark.parametrize("magnification", [1e-30, 1.0, 1e12, 1e30, 1e37])
@pytest.mark.parametrize("chunk_size", [None, 2])
@pytest.mark.parametrize("per_token", [False, True], ids=["shared", "per token"])
def test_any_magnification_keeps_the_sum_over_words(per_token, chunk_size, magnification, x64):
    """float32, where softplus(u - log kappa) underflows from a magnification of 1e35 on; in float64
    it does not.
    """
    arrays, options = problem(per_token=per_token), {"chunk_size": chunk_size}
    # Far from what is learned, so that every word counts.
    options |= {"magnification": magnification, "log_partition": 8.0, "noise_ratio": 1.0}

    def loss(hidden, given):
        return call(SAMPLED["nce"], {**given, "hidden": hidden}, **options)

    low = {k: v.astype(jnp.float32) if v.dtype == np.float64 else v for k, v in arrays.items()}
    results = [jax.jit(jax.value_and_grad(loss))(a["hidden"], a) for a in (low, arrays)]
    for single, double in zip(*results, strict=True):
        np.testing.assert_allclose(single, double, rtol=1e-3, atol=1e-6)


DEFAULT_HITS = {"nce": {"hits": "keep"}, "sampled softmax": {"hits": "exclude"}}


@pytest.mark.parametrize("name", SAMPLED)
def test_low_precision_is_computed_in_float32(name):
    arrays = problem(dtype=np.float32)
    low = {
        k: v.astype(jnp.bfloat16) if k in ("hidden", "embedding", "bias") else v
        for k, v in arrays.items()
    }
    value, slope = jax.jit(
        jax.value_and_grad(lambda e: call(SAMPLED[name], {**low, "embedding": e}))
    )(low["embedding"])
    assert (value.dtype, slope.dtype) == (jnp.float32, jnp.bfloat16)
    exact = {k: v.astype(jnp.float32) if v.dtype == jnp.bfloat16 else v for k, v in low.items()}
    np.testing.assert_allclose(value, oracle(name, exact, **DEFAULT_HITS[name]), rtol=1e-5)
    mixed = call(SAMPLED[name], {**arrays, "hidden": low["hidden"]})
    np.testing.assert_allclose(
        mixed, oracle(name, {**arrays, "hidden": exact["hidden"]}, **DEFAULT_HITS[name]), rtol=1e-5
    )


def test_a_grid_of_numbers_is_compiled_once():
    arrays, traces = problem(dtype=np.float32), 0

    @jax.jit
    def loss(magnification, noise_ratio, log_partition):
        nonlocal traces
        traces += 1
        options = {
            "magnification": magnification,
            "noise_ratio": noise_ratio,
            "log_partition": log_partition,
        }
        return call(SAMPLED["nce"], arrays, **options)

    values = {float(loss(m, nu, f)) for m in (1.0, 10.0) for nu in (1.0, 5.0) for f in (0.0, 2.0)}
    assert (traces, len(values)) == (1, 8)


def test_blocks_of_the_vocabulary_take_less_memory():
    shape = functools.partial(jax.ShapeDtypeStruct, dtype=jnp.float32)
    loss = functools.partial(nce_jax.losses.full_softmax_loss, chunk_size=256)
    program = jax.jit(jax.value_and_grad(lambda h, t, e: loss(h, t, embedding=e), (0, 2)))
    memory = program.lower(
        shape((512, 8)), jax.ShapeDtypeStruct((512,), jnp.int32), shape((16_384, 8))
    ).compile()
    assert memory.memory_analysis().temp_size_in_bytes < 512 * 16_384 * 4 / 4


ARRAYS = problem(dtype=np.float32)
REFUSED = [
    (
        {"hidden": jnp.ones(3)},
        ValueError,
        "hidden: expected vectors of shape (n, dim), got shape (3,)",
    ),
    (
        {"embedding": jnp.ones((V, 2))},
        ValueError,
        "embedding: expected the 3 dimensions of hidden, shape (V, 3), got shape (11, 2)",
    ),
    ({"bias": jnp.ones(3)}, ValueError, "bias: expected one per word, shape (11,), got shape (3,)"),
    ({"targets": jnp.ones(N)}, TypeError, "targets: expected integers, got dtype float32"),
    ({"targets": jnp.arange(3)}, ValueError, "targets: expected shape (7,), got shape (3,)"),
    ({"targets": None}, TypeError, "targets: expected integers of shape (7,), got None"),
    (
        {"noise_ids": jnp.ones((3, 5), int)},
        ValueError,
        "noise_ids: expected shape (K,) or (7, K), got shape (3, 5)",
    ),
    ({"noise_ids": jnp.ones(K)}, TypeError, "noise_ids: expected integers, got dtype float32"),
    (
        {"log_noise_ids": jnp.ones(3)},
        ValueError,
        "log_noise_ids: expected shape (5,), got shape (3,)",
    ),
    (
        {"log_noise_targets": jnp.ones(3)},
        ValueError,
        "log_noise_targets: expected shape (7,), got shape (3,)",
    ),
    (
        {"log_noise_targets": None},
        TypeError,
        "log_noise_targets: expected an array of shape (7,), got None",
    ),
    (
        {"log_partition": jnp.ones(3)},
        ValueError,
        "log_partition: expected shape (7,), got shape (3,)",
    ),
    (
        {"log_partition": None},
        TypeError,
        "log_partition: expected a number or an array of numbers, got None",
    ),
    (
        {"magnification": 0.0},
        ValueError,
        "magnification: expected a finite positive number, got 0.0",
    ),
    ({"noise_ratio": -1.0}, ValueError, "noise_ratio: expected a finite positive number, got -1.0"),
    (
        {"accidental_hits": "drop"},
        ValueError,
        "accidental_hits: expected one of ('keep', 'exclude'), got str 'drop'",
    ),
    (
        {"weights": jnp.ones(3)},
        ValueError,
        "weights: expected one weight per sample, (7,), got shape (3,)",
    ),
    ({"chunk_size": 0}, ValueError, "chunk_size: expected at least 1, got 0"),
]


@pytest.mark.bad_input
@pytest.mark.parametrize("case", range(len(REFUSED)))
def test_bad_arguments_are_named(case):
    options, error, message = REFUSED[case]
    with pytest.raises(error) as caught:
        call(nce_jax.losses.vocabulary_nce_loss, {**ARRAYS, **options})
    assert str(caught.value).startswith(message)


def test_an_id_that_no_int32_holds_is_no_word(x64):
    arrays = problem()
    wrong = arrays["targets"].astype(jnp.int64).at[0].add(2**32)
    assert np.isnan(
        nce_jax.losses.full_softmax_loss(arrays["hidden"], wrong, embedding=arrays["embedding"])
    )


@pytest.mark.costly
def test_second_derivatives_where_a_block_is_empty(x64):
    """The one word of the first block is the target, and left out."""
    arrays = {**problem(count=3, per_token=True), "targets": jnp.zeros(N, jnp.int32)}
    arrays["noise_ids"] = jnp.tile(jnp.arange(3), (N, 1))

    def curvature(chunk_size):
        def loss(h):
            return call(
                nce_jax.losses.sampled_softmax_loss, {**arrays, "hidden": h}, chunk_size=chunk_size
            )

        return jax.hessian(loss)(arrays["hidden"])

    np.testing.assert_allclose(curvature(1), curvature(None), rtol=1e-10, atol=1e-13)
