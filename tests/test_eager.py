"""Eager calls: one program per size class, the numbers of the traced function, and float64 samples
that float32 cannot hold.
"""

import functools
import resource
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nce_jax
from nce_jax import diagnostics, likelihood, losses, telescoping
from nce_jax._padding import padded_size, padded_to
from tests.compilations import compilations
from tests.slow import slow_but

KEY = jax.random.key(0)
PAIRS: dict[str, Callable] = {
    "bar": nce_jax.bar,
    "balanced_nre_loss": losses.balanced_nre_loss,
    "bootstrap_log_partition": functools.partial(
        nce_jax.bootstrap_log_partition, KEY, num_replicates=5
    ),
    "divergence": nce_jax.divergence,
    "donsker_varadhan_loss": losses.donsker_varadhan_loss,
    "exponential_log_partition": losses.exponential_log_partition,
    "exponential_nce_loss": losses.exponential_nce_loss,
    "least_squares_log_partition": losses.least_squares_log_partition,
    "least_squares_loss": losses.least_squares_loss,
    "log_partition_standard_error": nce_jax.log_partition_standard_error,
    "log_profiled_exponential_nce_loss": losses.log_profiled_exponential_nce_loss,
    "model_log_partition": likelihood.model_log_partition,
    "nce_loss": nce_jax.nce_loss,
    "nce_loss_terms": losses.nce_loss_terms,
    "nre_a_loss": losses.nre_a_loss,
    "nwj_log_partition": losses.nwj_log_partition,
    "nwj_loss": losses.nwj_loss,
    "overlap": nce_jax.overlap,
    "profiled_nce_loss": nce_jax.profiled_nce_loss,
    "solve_log_partition": nce_jax.solve_log_partition,
    "suggested_magnification": nce_jax.suggested_magnification,
}
SINGLE: dict[str, Callable] = {
    "effective_sample_size": diagnostics.effective_sample_size,
    "generator_loss": losses.generator_loss,
    "importance_log_partition": diagnostics.importance_log_partition,
    "info_nce_bound": lambda terms: diagnostics.info_nce_bound(terms, 100),
    "log_likelihood": likelihood.log_likelihood,
}
CHAINS: dict[str, Callable] = {
    "joint_standard_error": telescoping.joint_standard_error,
    "stage_diagnostics": telescoping.stage_diagnostics,
    "mean_log_ratio": lambda data, noise: telescoping.mean_log_ratio(data.sum(0), data, noise),
}


ROWS: dict[str, Callable] = {
    "conditional_nce_loss": losses.conditional_nce_loss,
    "nre_b_loss": losses.nre_b_loss,
    "nre_c_loss": lambda data, rows: losses.nre_c_loss(data, rows, log_ratio_contrast=rows[:, :1]),
    "ranking_nce_loss": losses.ranking_nce_loss,
    "ranking_nce_loss_terms": losses.ranking_nce_loss_terms,
    "ranking_nce_loss, shared": lambda data, rows: losses.ranking_nce_loss(data, rows[0]),
}


def draw(num_data: int, num_noise: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    data, noise = rng.normal(1, 1, num_data), rng.normal(0, 1, num_noise)
    return data.astype(np.float32), noise.astype(np.float32)


def calls(num_data: int, num_noise: int) -> Iterator[tuple[str, Callable, tuple]]:
    data, noise = draw(num_data, num_noise)
    yield from ((name, function, (data, noise)) for name, function in PAIRS.items())
    yield from ((name, function, (data,)) for name, function in SINGLE.items())
    rows = np.stack([data - 1, data[::-1]], axis=-1)
    yield from ((name, function, (data, rows)) for name, function in ROWS.items())
    pair = data[None] * np.float32([[1], [2]]), data[None] * np.float32([[0.5], [1]]) - 1
    yield from ((name, function, pair) for name, function in CHAINS.items())


def vectors(size: int) -> dict[str, Callable]:
    """Calls of all functions of vectors, with as many samples."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, size, 4)).astype(np.float32)
    labels, words = np.arange(size) % 3, np.arange(3)
    table = {"embedding": rng.normal(size=(6, 4)).astype(np.float32)}
    log_noise = {"log_noise_ids": np.full(3, -1, np.float32)}
    both = {**table, **log_noise, "log_noise_targets": np.full(size, -1, np.float32)}
    pairs = ("clip_loss", "info_nce_loss", "nt_xent_loss", "siglip_loss")
    names = [name + end for name in pairs for end in ("", "_terms")]
    named = {name: functools.partial(getattr(losses, name), x, y) for name in names}
    for name in ("supervised_contrastive_loss", "supervised_contrastive_loss_terms"):
        named[name] = functools.partial(getattr(losses, name), x, labels)
    for name in ("bradley_terry_loss", "info_nca_loss", "nca_loss"):
        named[name] = functools.partial(getattr(losses, name), x, y)
    for name in ("vocabulary_nce_loss", "vocabulary_log_ratios"):
        named[name] = functools.partial(getattr(losses, name), x, labels, words, **both)
    return named | {
        "sampled_softmax_loss": functools.partial(
            losses.sampled_softmax_loss, x, labels, words, **table, **log_noise
        ),
        "full_softmax_loss": functools.partial(losses.full_softmax_loss, x, labels, **table),
        "vocabulary_log_partition": functools.partial(losses.vocabulary_log_partition, x, **table),
        "perplexity": functools.partial(diagnostics.perplexity, x, labels, **table),
        "self_normalization": functools.partial(diagnostics.self_normalization, x, **table),
    }


def of_one_class(name: str) -> tuple[Callable, tuple, tuple]:
    """A function and its arguments for two counts of samples that share a program."""
    sizes = (300, 410), (421, 305)
    (function, first), (_, second) = (
        next(call[1:] for call in calls(*size) if call[0] == name) for size in sizes
    )
    return function, first, second


# One of each way to be called: pairs with an effect of a constant and without one, keys, a result
# for each sample, a single set, chains, and rows for each sample and shared ones.
EACH_WAY = [
    "bar",
    "bootstrap_log_partition",
    "nce_loss",
    "nce_loss_terms",
    "log_likelihood",
    "mean_log_ratio",
    "nre_c_loss",
    "ranking_nce_loss, shared",
]


@pytest.mark.parametrize("name", EACH_WAY)
def test_lengths_of_one_class_share_one_program(name):
    function, first, second = of_one_class(name)
    function(*first)
    with compilations() as programs:
        function(*second)
    assert not programs


@pytest.mark.costly
@pytest.mark.parametrize("name", [name for name, *_ in calls(1, 1)])
def test_lengths_of_one_class_share_one_program_with_the_numbers_of_jit(name):
    """The fast tests compare the numbers of few samples (test_log_ratio_functions)."""
    function, first, second = of_one_class(name)
    function(*first)
    with compilations() as programs:
        eager = function(*second)
    assert not programs
    traced = jax.jit(function)(*second)
    is_close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=2e-6)
    jax.tree.map(is_close, eager, traced)


@pytest.mark.costly
def test_a_new_number_of_vectors_takes_one_program():
    too_many = {}
    for name, call in vectors(5).items():
        with compilations() as programs:
            eager = call()
        if len(programs) > 1:
            too_many[name] = len(programs)
        jax.tree.map(
            functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6),
            eager,
            jax.jit(call)(),
        )
    assert not too_many


def test_every_public_function_of_samples_is_counted():
    counted = {name.partition(",")[0] for name, *_ in calls(1, 1)} | set(vectors(1))
    functions = {
        name
        for module in (losses, diagnostics)
        for name in module.__all__
        if not isinstance(getattr(module, name), type)
    }
    drawn = {"estimate_log_partition"}  # it draws its samples itself
    on_host = {"c2st", "frechet_distance", "kernel_distance"}  # in NumPy and scikit-learn
    assert functions - counted == drawn | on_host


@pytest.mark.parametrize("name", slow_but([name for name in EACH_WAY if name in PAIRS], PAIRS))
def test_an_eager_call_on_jax_arrays_is_that_on_numpy_arrays(name):
    data, noise = draw(300, 410)
    on_host, on_device = (
        PAIRS[name](convert(data), convert(noise)) for convert in (np.asarray, jnp.asarray)
    )
    jax.tree.map(np.testing.assert_array_equal, on_host, on_device)


@pytest.mark.parametrize("shape", slow_but([(3, 300)], [(1, 1), (3, 300), (257, 2)]))
def test_few_samples_are_counted_without_their_padding(shape):
    data, noise = draw(*shape)
    for function in (nce_jax.bar, nce_jax.log_partition_standard_error):
        jax.tree.map(
            functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6),
            function(data, noise),
            jax.jit(function)(data, noise),
        )


def test_size_classes_hold_all_counts_and_waste_little():
    counts = np.unique(np.geomspace(1, 1e7, 3000).astype(int))
    sizes = np.array([padded_size(int(count)) for count in counts])
    assert (sizes >= counts).all()
    assert len(set(sizes[counts <= 1_000_000])) <= 14
    assert (sizes[counts > 1 << 16] <= 1.42 * counts[counts > 1 << 16]).all()
    assert padded_size(1 << 16) == 1 << 16


def test_weights_of_zero_in_bar_remove_work_values():
    forward, reverse = draw(40, 50)
    weights = np.arange(40) % 3 > 0
    reduced = nce_jax.bar(forward[weights], reverse)
    weighted = nce_jax.bar(forward, reverse, weights_forward=7.0 * weights)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), weighted, reduced)


def test_weights_too_small_for_float32_are_scaled():
    data, noise = draw(40, 50)
    weights = np.linspace(0.5, 2, 40)
    small, plain = (
        nce_jax.solve_log_partition(data, noise, weights_data=scale * weights).log_partition
        for scale in (1e-200, 1.0)
    )
    np.testing.assert_allclose(small, plain, rtol=1e-5)


@pytest.mark.parametrize("offset", [0.0, 1e3 + 0.1, -1e4 + 0.3, 1e5 + 0.7])
def test_float64_samples_are_differenced_before_they_are_rounded(offset):
    rng = np.random.default_rng(0)
    data, noise = rng.normal(1, 1, 400), rng.normal(0, 1, 400)
    spacing = np.spacing(np.float32(abs(offset))) / 2
    plain, moved = (
        nce_jax.solve_log_partition(data + shift, noise + shift).log_partition
        for shift in (0.0, offset)
    )
    assert abs(float(moved) - offset - float(plain)) <= spacing + 2e-6
    for function in (nce_jax.overlap, nce_jax.divergence, nce_jax.log_partition_standard_error):
        jax.tree.map(
            functools.partial(np.testing.assert_allclose, rtol=2e-5, atol=1e-6),
            function(data + offset, noise + offset),
            function(data, noise),
        )
    np.testing.assert_allclose(
        nce_jax.nce_loss(data + offset, noise + offset, log_partition=0.4 + offset),
        nce_jax.nce_loss(data, noise, log_partition=0.4),
        rtol=1e-6,
    )
    np.testing.assert_allclose(
        likelihood.log_likelihood(data - offset, log_partition=0.5 - offset).mean,
        likelihood.log_likelihood(data, log_partition=0.5).mean,
        rtol=1e-5,
    )


@pytest.mark.parametrize(
    "call",
    [
        lambda data, noise: nce_jax.bar(data, -noise),
        nce_jax.solve_log_partition,
        lambda data, noise: diagnostics.importance_log_partition(noise),
        likelihood.model_log_partition,
        lambda data, noise: likelihood.log_likelihood(data),
        losses.nwj_log_partition,
    ],
    ids=["bar", "solve", "importance", "model", "likelihood", "nwj"],
)
def test_results_that_float32_cannot_hold_are_refused(call):
    rng = np.random.default_rng(0)
    data, noise = 1e7 + rng.normal(1, 1, 400), 1e7 + rng.normal(0, 1, 400)
    with pytest.raises(ValueError, match=r"expected values that lead to a result which float32"):
        call(data, noise)


def test_traced_functions_refuse_host_samples_that_float32_cannot_hold():
    rng = np.random.default_rng(0)
    data, noise = rng.normal(1, 1, 400), rng.normal(0, 1, 400)
    loss = jax.jit(lambda shift: nce_jax.nce_loss(data + 1e7, noise + 1e7, log_partition=shift))
    with pytest.raises(ValueError, match="log_ratio_data: expected values that float32 can"):
        loss(1e7)
    assert np.isfinite(
        jax.grad(lambda shift: nce_jax.nce_loss(data, noise, log_partition=shift))(0.0)
    )


def test_the_gradient_of_an_eager_call_is_that_of_jit():
    data, noise = map(jnp.asarray, draw(30, 40))
    gradient = jax.grad(nce_jax.nce_loss)
    np.testing.assert_allclose(gradient(data, noise), jax.jit(gradient)(data, noise), rtol=1e-5)


def test_constants_inside_a_callers_jit_are_not_padded():
    data, noise = map(jnp.asarray, draw(30, 40))
    text = jax.jit(lambda: nce_jax.nce_loss(data, noise)).lower().as_text()
    assert "tensor<256x" not in text
    assert "tensor<30xf32>" in text


def test_eager_calls_transfer_explicitly():
    data, noise = draw(3000, 3000)
    with jax.transfer_guard("disallow"):
        result = nce_jax.bar(data - 1e4, np.float64(noise) + 1e4)
        again = nce_jax.bar(*map(jax.device_put, (data, noise)))
    assert result.status == again.status == 0


def test_the_standard_error_of_rounded_samples_covers_their_rounding():
    rng = np.random.default_rng(0)
    forward, reverse = rng.normal(0.5, 1, 4000), rng.normal(0.5, 1, 4000)
    exact = nce_jax.bar(forward, reverse).delta_f
    result = nce_jax.bar(jnp.float32(forward + 1e8 + 3.7), jnp.float32(reverse - 1e8 - 3.7))
    miss = np.float64(result.delta_f) - 1e8 - 3.7 - np.float64(exact)
    assert abs(miss) <= 2.5 * float(result.standard_error)


@pytest.mark.costly
@pytest.mark.parametrize("name", ["bar", "log_partition_standard_error", "nce_loss"])
def test_two_thousand_lengths_take_few_programs_and_little_memory(name):
    rng = np.random.default_rng(0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with compilations() as programs:
        for _ in range(2000):
            num_data, num_noise = np.exp(rng.uniform(np.log(10), np.log(20_000), 2)).astype(int)
            jax.block_until_ready(PAIRS[name](*draw(num_data, num_noise)))
    assert len(programs) < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB


@pytest.mark.costly
def test_host_samples_keep_their_precision_beside_arrays_of_another_device():
    """Weights on the second device do not send float64 samples unread into the program."""
    rng = np.random.default_rng(0)
    data, noise = 1e5 + rng.normal(1, 1, 400), 1e5 + rng.normal(0, 1, 400)
    elsewhere = jax.device_put(np.ones(400, np.float32), jax.devices()[1])
    for function in (nce_jax.divergence, nce_jax.overlap):
        mixed, plain = (
            function(data, noise, weights_noise=weights) for weights in (elsewhere, np.ones(400))
        )
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), mixed, plain)
    with pytest.raises(ValueError, match="expected values that lead to a result which float32"):
        nce_jax.solve_log_partition(data + 1e8, noise + 1e8, weights_noise=elsewhere)


def test_padded_arrays_are_read_where_they_are():
    padded = padded_to(np.ones((3, 1000)), 1024, 0, np.dtype(np.float32))
    array = jax.device_put(padded)
    assert array.unsafe_buffer_pointer() == padded.ctypes.data
    np.testing.assert_array_equal(array[:, 999:1001], [[1, 0]] * 3)
