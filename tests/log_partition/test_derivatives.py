"""The root differentiates by the implicit function theorem: first and second order, forward and
reverse, every argument.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import nce_jax
from tests.log_partition.cases import SOLVERS, gaussian_log_ratios, random_weights, solve
from tests.oracles import root, root_gradient

KAPPAS = [1e-3, 1.0, 1e3]


def small_problem():
    data, noise = gaussian_log_ratios(1.2, 5, 6)
    return data, noise, random_weights(data, 1), random_weights(noise, 2)


@functools.partial(jax.jit, static_argnames="solver")
def log_partition(
    data, noise, weights_data, weights_noise, magnification, solver=SOLVERS["newton"]
):
    return nce_jax.solve_log_partition(
        data,
        noise,
        weights_data=weights_data,
        weights_noise=weights_noise,
        magnification=magnification,
        solver=solver,
    ).log_partition


# One compiled gradient, in every array argument, serves most tests.
gradient = jax.jit(jax.grad(log_partition, argnums=tuple(range(5))), static_argnames="solver")
batched_gradient = jax.jit(
    jax.vmap(jax.grad(lambda d, y: solve(d, y).log_partition, argnums=(0, 1)))
)


@pytest.mark.parametrize("kappa", KAPPAS)
def test_gradient_is_the_normalized_weighting(kappa, x64):
    """dF*/ds_k is proportional to w_k sigma', positive, and sums to one: a shift of all s shifts F*
    by as much.
    """
    data, noise, *weights = small_problem()
    gradients = gradient(data, noise, *weights, kappa)[:2]
    value = float(log_partition(data, noise, *weights, kappa))
    for actual, expected in zip(
        gradients, root_gradient(data, noise, value, kappa, *weights), strict=True
    ):
        np.testing.assert_allclose(actual, expected, rtol=1e-9)
    np.testing.assert_allclose(gradients[0].sum() + gradients[1].sum(), 1, rtol=1e-13)


def test_all_first_derivatives_are_finite_differences_of_the_reference(x64):
    """Weights and kappa too; the reference is solved anew on either side."""
    arguments = (*small_problem(), jnp.asarray(3.0))
    gradients = gradient(*arguments)

    def reference(data, noise, weights_data, weights_noise, kappa):
        return root(
            data, noise, kappa=float(kappa), weights_data=weights_data, weights_noise=weights_noise
        )

    step = 1e-5
    for i, slopes in enumerate(gradients):
        for k in np.ndindex(slopes.shape):
            ends = [arguments[i].at[k].add(sign * step) for sign in (1, -1)]
            values = [reference(*arguments[:i], end, *arguments[i + 1 :]) for end in ends]
            np.testing.assert_allclose(
                slopes[k], (values[0] - values[1]) / (2 * step), rtol=1e-6, atol=1e-9
            )


def test_the_hessian_is_a_finite_difference_of_the_reference(x64):
    """Second order, through a gradient of the reference that is solved anew on either side."""
    data, noise, *weights = small_problem()
    hessian = jax.jit(jax.hessian(log_partition))(data, noise, *weights, 3.0)

    def reference_gradient(data):
        value = root(data, noise, kappa=3, weights_data=weights[0], weights_noise=weights[1])
        return root_gradient(data, noise, value, 3.0, *weights)[0]

    step = 1e-5 * np.eye(data.size)
    expected = [
        (reference_gradient(data + row) - reference_gradient(data - row)) / 2e-5 for row in step
    ]
    np.testing.assert_allclose(hessian, expected, rtol=1e-6, atol=1e-9)
    assert np.abs(hessian).max() > 0.01


@pytest.mark.costly
@pytest.mark.parametrize("kappa", [0.1, 30.0])
def test_first_and_second_order_forward_and_reverse(kappa, x64):
    check_grads(
        log_partition,
        (*small_problem(), kappa),
        order=2,
        modes=("fwd", "rev"),
        atol=1e-5,
        rtol=1e-5,
    )


def test_forward_mode_is_reverse_mode(x64):
    arguments = (*small_problem(), 3.0)
    forward, reverse = (
        jax.jit(jac(log_partition, argnums=(0, 2, 3, 4)))(*arguments)
        for jac in (jax.jacfwd, jax.jacrev)
    )
    for one, other in zip(forward, reverse, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-15)


def test_solvers_share_their_derivatives(x64):
    arguments = (*small_problem(), 1.0)
    expected = gradient(*arguments)
    for solver in ("bisection", "fixed_point"):
        for actual, slopes in zip(
            gradient(*arguments, solver=SOLVERS[solver]), expected, strict=True
        ):
            np.testing.assert_allclose(actual, slopes, rtol=1e-9, atol=1e-12)


def test_derivative_with_respect_to_the_noise_ratio(x64):
    """Only kappa counts: nu dF/dnu = M dF/dM."""
    data, noise, *_ = small_problem()

    def value(magnification, noise_ratio):
        solution = nce_jax.solve_log_partition(
            data, noise, magnification=magnification, noise_ratio=noise_ratio
        )
        return solution.log_partition

    by_magnification, by_ratio = jax.jit(jax.grad(value, argnums=(0, 1)))(5.0, 0.25)
    np.testing.assert_allclose(5 * by_magnification, 0.25 * by_ratio, rtol=1e-12)


def test_the_starting_point_and_the_tolerance_have_no_derivative(x64):
    data, noise, *_ = small_problem()
    slope = jax.jit(
        jax.grad(
            lambda start: nce_jax.solve_log_partition(data, noise, initial=start).log_partition
        )
    )(0.3)
    assert slope == 0


@pytest.mark.parametrize("padding", [np.nan, np.inf, -np.inf, 1e4])
def test_padding_has_no_gradient_and_changes_none(padding, x64):
    data, noise, weights_data, weights_noise = small_problem()
    hidden_data, hidden_noise = (
        jnp.concatenate([s, jnp.full((3,), padding)]) for s in (data, noise)
    )
    hidden_weights = [jnp.concatenate([w, jnp.zeros(3)]) for w in (weights_data, weights_noise)]
    actual = gradient(hidden_data, hidden_noise, *hidden_weights, 2.0)
    expected = gradient(data, noise, weights_data, weights_noise, 2.0)
    for side in (0, 1):
        np.testing.assert_array_equal(actual[side][-3:], 0)
        np.testing.assert_allclose(actual[side][:-3], expected[side], rtol=1e-10)
    np.testing.assert_allclose(actual[4], expected[4], rtol=1e-10)


def test_gradients_in_wide_gaps_are_finite_and_sum_to_one(float_dtype):
    """Every sigma' underflows to zero there; their ratios do not."""
    for data, noise in (([-60.0, 60.0], [-50.0, 50.0]), ([400.0, 450.0], [-500.0, -300.0])):
        gradients = batched_gradient(
            jnp.asarray([data], float_dtype), jnp.asarray([noise], float_dtype)
        )
        total = sum(slopes.sum() for slopes in gradients)
        np.testing.assert_allclose(total, 1, rtol=1e-3 if float_dtype == np.float32 else 1e-9)


def test_a_failed_lane_leaves_its_neighbors_gradients_untouched(float_dtype):
    problems = [gaussian_log_ratios(seed=seed, dtype=float_dtype) for seed in range(3)]
    data, noise = (jnp.stack(side) for side in zip(*problems, strict=True))
    clean, dirty = batched_gradient(data, noise), batched_gradient(data.at[1, 0].set(np.nan), noise)
    for side in (0, 1):
        np.testing.assert_array_equal(dirty[side][::2], clean[side][::2])


def test_a_failed_lane_of_a_batch_leaves_its_neighbors_gradients_untouched(x64):
    """The same for the batch axes of one call, where the sum over lanes is what is
    differentiated.
    """
    problems = [gaussian_log_ratios(seed=seed) for seed in range(3)]
    data, noise = (jnp.stack(side) for side in zip(*problems, strict=True))

    def total(data, noise):
        solution = solve(data, noise)
        return jnp.sum(
            jnp.where(solution.status == nce_jax.Status.CONVERGED, solution.log_partition, 0)
        )

    of_total = jax.jit(jax.grad(total, argnums=(0, 1)))
    clean, dirty = of_total(data, noise), of_total(data.at[1, 0].set(np.nan), noise)
    for side in (0, 1):
        np.testing.assert_array_equal(dirty[side][::2], clean[side][::2])
