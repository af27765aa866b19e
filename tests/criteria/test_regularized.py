"""Direct ratio regularization: the profiled F of the sum, its certificate, and its derivatives."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nce_jax
from nce_jax import Status, training
from nce_jax.log_partition import (
    Pull,
    error_bound,
    evaluate_equation,
    make_problem,
    newton_error_bound,
    solve_problem,
)
from tests import oracles
from tests.log_partition.cases import SOLVERS, gaussian_log_ratios, random_weights, solve_tolerance

STRENGTHS = [1e-3, 0.1, 10.0]
KAPPAS = [1e-3, 1.0, 1e3]


def regularized(strength, kappa=1.0):
    return nce_jax.criteria.ratio_regularized(nce_jax.criteria.nce(magnification=kappa), strength)


@functools.partial(jax.jit, static_argnames="solver")
def profile(data, noise, strength, kappa, weights=(None, None), solver=SOLVERS["newton"]):
    named = dict(zip(("weights_data", "weights_noise"), weights, strict=True))
    return regularized(strength, kappa).profile(data, noise, **named, solver=solver)


def numbers(*values):
    """As arrays: one compilation for all."""
    return tuple(jnp.asarray(value, float) for value in values)


def golden_section(function, lower, upper):
    """The minimizer of a convex function, to the square root of rounding."""
    ratio = (np.sqrt(5) - 1) / 2
    while upper - lower > 1e-10:
        left, right = upper - ratio * (upper - lower), lower + ratio * (upper - lower)
        if function(left) < function(right):
            upper = right
        else:
            lower = left
    return (lower + upper) / 2


@pytest.mark.parametrize("kappa", KAPPAS)
def test_the_root_minimizes_the_summed_loss(kappa, x64):
    """Against the minimum of the loss (to 1e-6: values are flat there) and the root of its slope
    (to the tolerance).
    """
    data, noise = gaussian_log_ratios()
    weights = random_weights(data, 1), random_weights(noise, 2)
    named = dict(zip(("weights_data", "weights_noise"), weights, strict=True))
    for strength in STRENGTHS:
        options = {"strength": strength, "kappa": kappa, **named}
        solution = profile(data, noise, *numbers(strength, kappa), weights)
        exact = oracles.ratio_regularized_root(data, noise, **options)
        np.testing.assert_allclose(
            solution.log_partition, exact, atol=solve_tolerance(jnp.float64, exact)
        )
        assert solution.status == Status.CONVERGED
        least = golden_section(
            lambda f, o=options: oracles.ratio_regularized_loss(data, noise, log_partition=f, **o),
            -9,
            9,
        )
        np.testing.assert_allclose(solution.log_partition, least, atol=2e-6)
        loss = regularized(strength, kappa).loss(
            data, noise, log_partition=solution.log_partition, **named
        )
        expected = oracles.ratio_regularized_loss(data, noise, log_partition=exact, **options)
        np.testing.assert_allclose(loss, expected, rtol=1e-12)


def test_from_nothing_to_everything(x64):
    """No strength gives back the base's root, with an error of first order; infinite strength the
    mean of both means.
    """
    data, noise = gaussian_log_ratios()
    for kappa in KAPPAS:
        base, middle = oracles.root(data, noise, kappa=kappa), (np.mean(data) + np.mean(noise)) / 2
        ends = {1e-7: base, 1e-8: base, 1e7: middle, 1e8: middle}
        errors = [
            abs(profile(data, noise, *numbers(g, kappa)).log_partition - limit)
            for g, limit in ends.items()
        ]
        np.testing.assert_allclose([errors[0] / errors[1], errors[2] / errors[3]], 10, rtol=0.02)


@pytest.mark.parametrize("separation", [40.0, 8000.0])
@pytest.mark.parametrize("sign", [1, -1])
def test_certified_where_samples_are_far_apart(separation, sign, float_dtype):
    """Thousands of nats apart, inverted or not: Newton and bisection give the same root, and the
    status says so.

    The equation needs both means of s, and these round: to a few units in the last place of the
    samples' size.
    """
    generator = np.random.default_rng(3)
    data = jnp.asarray(sign * separation / 2 + generator.normal(size=40), float_dtype)
    noise = jnp.asarray(-sign * separation / 2 + generator.normal(size=60), float_dtype)
    for strength, kappa in ((1e-4, 1.0), (0.1, 7.3), (1.0, 100.0)):
        arguments = data, noise, jnp.asarray(strength, float_dtype), jnp.asarray(kappa, float_dtype)
        exact = oracles.ratio_regularized_root(
            data, noise, strength=float(arguments[2]), kappa=float(arguments[3])
        )
        # What rounding of kappa alone does to the root.
        conditioning = 1 + (1 + kappa) / strength / separation
        atol = (
            solve_tolerance(float_dtype, exact)
            + 8 * jnp.finfo(float_dtype).eps * separation * conditioning
        )
        for name in ("newton", "bisection"):
            solution = profile(*arguments, solver=SOLVERS[name])
            assert solution.status in (Status.CONVERGED, Status.NO_OVERLAP)
            np.testing.assert_allclose(solution.log_partition, exact, rtol=0, atol=atol)


def test_a_strength_below_rounding_still_tells_the_side():
    """In a gap of thousands of nats nothing else has a slope: the root is where the pull is,
    halfway between the means.
    """
    # The shapes of the test above.
    data = jnp.array([4000.0, 4100.0] * 20)
    noise = jnp.array([-3000.0, -3100.0] * 30)
    for name in ("newton", "bisection"):
        solution = profile(data, noise, jnp.float32(4e-33), jnp.float32(1.0), solver=SOLVERS[name])
        np.testing.assert_allclose(solution.log_partition, (4050 - 3050) / 2, rtol=1e-5)


def test_the_residual_certifies(x64):
    """40 random problems, inverted and apart, at points from 1e-8 to 100 nats off: both bounds
    hold, and the signs.
    """
    generator = np.random.default_rng(0)
    offsets = np.concatenate([-np.logspace(2, -8, 20), [0], np.logspace(-8, 2, 20)])
    problems = [
        gaussian_log_ratios(d, 12, 9, seed=seed)
        for seed, d in enumerate(generator.uniform(0, 6, 40))
    ]
    signs = generator.choice([-1.0, 1.0], (40, 1))
    data, noise = (jnp.asarray(signs * np.stack(side)) for side in zip(*problems, strict=True))
    strength, kappa = (jnp.asarray(10 ** generator.uniform(-3, high, 40)) for high in (1, 3))
    lanes = zip(data, noise, strength, kappa, strict=True)
    exact = np.array(
        [
            oracles.ratio_regularized_root(d, y, strength=float(g), kappa=float(k))
            for d, y, g, k in lanes
        ]
    )

    @jax.jit
    def certify(points):
        evaluate = functools.partial(
            evaluate_equation, regularized(strength, kappa).equation(data, noise)
        )
        evaluations = jax.vmap(evaluate, in_axes=1, out_axes=1)(points)
        residual = evaluations.residual
        return evaluations, error_bound(residual), newton_error_bound(residual)

    points = exact[:, None] + offsets
    (residual, move, _), bound, newton_bound = (
        jax.tree.map(np.asarray, part) for part in certify(jnp.asarray(points))
    )
    error, after = np.abs(offsets), np.abs(points + move - exact[:, None])
    rounding = 1e-11
    assert np.all(error[None] <= bound + rounding)
    assert np.all(np.isfinite(bound[:, error < 0.05]))
    assert np.all(after <= newton_bound + rounding)
    assert np.all(error[None] >= np.log1p(np.abs(residual)) - rounding)
    np.testing.assert_array_equal(
        np.sign(residual[:, error > 1e-6]),
        np.broadcast_to(np.sign(offsets), (40, 41))[:, error > 1e-6],
    )


def test_all_first_derivatives_are_finite_differences_of_the_reference(x64):
    """Samples, weights, kappa, and the strength."""
    data, noise = gaussian_log_ratios(1.2, 5, 6)
    arguments = data, noise, *numbers(0.2, 3.0), (random_weights(data, 1), random_weights(noise, 2))
    leaves, structure = jax.tree.flatten(arguments)
    slopes = jax.jit(
        jax.grad(lambda leaves: profile(*jax.tree.unflatten(structure, leaves)).log_partition)
    )(leaves)

    def reference(leaves):
        data, noise, strength, kappa, (weights_data, weights_noise) = jax.tree.unflatten(
            structure, leaves
        )
        weights = {"weights_data": weights_data, "weights_noise": weights_noise}
        return oracles.ratio_regularized_root(
            data, noise, strength=float(strength), kappa=float(kappa), **weights
        )

    step = 1e-5
    for i, leaf in enumerate(leaves):
        for k in np.ndindex(leaf.shape):
            ends = [np.array(leaf) for _ in range(2)]
            ends[0][k], ends[1][k] = leaf[k] + step, leaf[k] - step
            values = [reference([*leaves[:i], end, *leaves[i + 1 :]]) for end in ends]
            np.testing.assert_allclose(
                slopes[i][k], (values[0] - values[1]) / (2 * step), rtol=1e-6, atol=1e-9
            )


@pytest.mark.costly
def test_second_derivatives_are_finite_differences_of_the_first(x64):
    """Of F and of the profiled loss, along one direction in (data, noise, strength, kappa): both
    need F's derivative.
    """
    data, noise = gaussian_log_ratios(1.2, 5, 6)
    direction = np.random.default_rng(5).normal(size=13)

    def along(t):
        moved = jnp.concatenate([data, noise, jnp.array([0.2, 3.0])]) + t * direction
        sides, strength, kappa = (moved[:5], moved[5:11]), moved[11], moved[12]
        root = profile(*sides, strength, kappa).log_partition
        return jnp.stack([root, regularized(strength, kappa).loss(*sides, log_partition=root)])

    first = jax.jit(jax.jacfwd(along))
    second = jax.jit(jax.jacfwd(jax.jacfwd(along)))(0.0)
    expected = (first(1e-5) - first(-1e-5)) / 2e-5
    np.testing.assert_allclose(second, expected, rtol=1e-6)


def test_a_shift_of_all_log_ratios_shifts_the_root(x64):
    data, noise = gaussian_log_ratios()
    roots = [
        profile(data + shift, noise + shift, *numbers(0.3, 5.0)).log_partition
        for shift in (0.0, 9.5)
    ]
    np.testing.assert_allclose(roots[1] - roots[0], 9.5, rtol=1e-12)


@pytest.mark.costly
def test_lanes_are_alone_with_their_strength():
    """One strength per lane, batched and under vmap; a bad strength or a NaN fails its own lane
    only, by its status.
    """
    data, noise = (jnp.stack([side] * 4) for side in gaussian_log_ratios(dtype=np.float32))
    strength = jnp.array([0.1, 2.0, -1.0, 0.1])
    data = data.at[3, 0].set(np.nan)
    batched = profile(data, noise, strength, jnp.float32(3.0))
    mapped = jax.jit(jax.vmap(profile, in_axes=(0, 0, 0, None)))(
        data, noise, strength, jnp.float32(3.0)
    )
    np.testing.assert_array_equal(batched.status, [Status.CONVERGED] * 2 + [Status.NONFINITE] * 2)
    np.testing.assert_array_equal(mapped.status, batched.status)
    expected = [
        oracles.ratio_regularized_root(data[i], noise[i], strength=float(strength[i]), kappa=3)
        for i in (0, 1)
    ]
    for solution in (batched, mapped):
        np.testing.assert_allclose(solution.log_partition, [*expected, np.nan, np.nan], atol=1e-5)


def test_samples_of_weight_zero_are_ignored(x64):
    data, noise = gaussian_log_ratios()
    weights = random_weights(data, 1, 5), random_weights(noise, 2, 5)
    named = dict(zip(("weights_data", "weights_noise"), weights, strict=True))
    hidden = data.at[:5].set(np.nan), noise.at[:5].set(np.inf)
    expected = oracles.ratio_regularized_root(data, noise, strength=0.3, kappa=5.0, **named)
    np.testing.assert_allclose(
        profile(*hidden, *numbers(0.3, 5.0), weights).log_partition, expected, atol=1e-11
    )

    def loss(*sides):
        return regularized(0.3, 5.0).loss(*sides, log_partition=0.4, **named)

    value, slopes = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(*hidden)
    exact = oracles.ratio_regularized_loss(
        data, noise, strength=0.3, log_partition=0.4, kappa=5.0, **named
    )
    np.testing.assert_allclose(value, exact, rtol=1e-12)
    for slope in slopes:
        np.testing.assert_array_equal(slope[:5], 0)
        assert np.all(np.isfinite(slope))


def test_a_regularizer_of_a_regularizer_adds_up(x64):
    data, noise = gaussian_log_ratios()
    twice = nce_jax.criteria.ratio_regularized(regularized(0.1, 3.0), 0.2)
    expected = oracles.ratio_regularized_root(data, noise, strength=0.1 + 0.2, kappa=3.0)
    np.testing.assert_allclose(twice.profile(data, noise).log_partition, expected, atol=1e-11)
    exact = oracles.ratio_regularized_loss(
        data, noise, strength=0.1 + 0.2, kappa=3.0, log_partition=0.4
    )
    np.testing.assert_allclose(twice.loss(data, noise, log_partition=0.4), exact, rtol=1e-12)


def test_the_loss_is_computed_in_float32_and_broadcasts_weights():
    data, noise = gaussian_log_ratios(dtype=jnp.bfloat16)
    both = jnp.stack([data, data]), jnp.stack([noise, noise])
    value = regularized(0.37).loss(
        *both, log_partition=0.4, weights_data=random_weights(data.astype(jnp.float32), 1)
    )
    weights = {"weights_data": random_weights(data.astype(jnp.float32), 1)}
    expected = oracles.ratio_regularized_loss(
        data, noise, strength=0.37, log_partition=0.4, **weights
    )
    assert value.dtype == np.float32
    np.testing.assert_allclose(value, [expected] * 2, rtol=1e-6)


def test_in_a_train_step(x64):
    """Solved: F minimizes the sum and the parameters follow its slope. Bennett's step is refused,
    by both names.
    """
    batch = training.Batch(
        1 + np.random.default_rng(1).normal(size=200), np.random.default_rng(2).normal(size=300)
    )
    criterion, optimizer = regularized(0.2, 10.0), optax.sgd(1.0)
    step = training.make_train_step(
        optimizer=optimizer, log_ratio_fn=lambda theta, x: theta * x, criterion=criterion
    )
    new, metrics = jax.jit(step)(step.init(jnp.asarray(0.6)), batch, jax.random.key(0))

    def profiled(theta):
        sides = theta * batch.x_data, theta * batch.x_noise
        best = oracles.ratio_regularized_root(*sides, strength=0.2, kappa=10.0)
        return oracles.ratio_regularized_loss(
            *sides, strength=0.2, kappa=10.0, log_partition=best
        ), best

    np.testing.assert_allclose([metrics.loss, metrics.log_partition], profiled(0.6), rtol=1e-11)
    slope = (profiled(0.6 + 1e-6)[0] - profiled(0.6 - 1e-6)[0]) / 2e-6
    np.testing.assert_allclose(0.6 - new.params, slope, rtol=1e-7)
    with pytest.raises(
        ValueError, match="criterion ratio_regularized nce, got bar_step: Bennett's step does"
    ):
        training.make_train_step(
            optimizer=optimizer,
            log_ratio_fn=lambda theta, x: x,
            criterion=criterion,
            treatment=training.bar_step(),
        )


@pytest.mark.bad_input
def test_what_cannot_be_solved_is_refused_by_name():
    data, noise = gaussian_log_ratios(dtype=np.float32)
    with pytest.raises(ValueError, match="ratio_regularized nwj: expected an equation or a closed"):
        nce_jax.criteria.ratio_regularized(nce_jax.criteria.nwj()).profile(data, noise)
    with pytest.raises(ValueError, match="strength: expected a finite positive number, got 0"):
        nce_jax.criteria.ratio_regularized(nce_jax.criteria.nce(), 0.0)


@pytest.mark.parametrize("fixed_steps", [None, pytest.param(4, marks=pytest.mark.costly)])
@pytest.mark.parametrize("strength", [1e-3, 10.0, 1e5])
def test_bennetts_step_is_right_or_runs_out_of_steps(strength, fixed_steps, float_dtype):
    """From the root too: the step leaves it, since it does not include the pull."""
    generator = np.random.default_rng(0)
    data = jnp.asarray(2 + generator.normal(size=(6, 40)), float_dtype)
    noise = jnp.asarray(-1 + generator.normal(size=(6, 60)), float_dtype)
    criterion = regularized(strength, 30.0)
    exact = criterion.profile(data, noise).log_partition
    for initial in (None, exact):
        solution = criterion.profile(
            data, noise, solver=nce_jax.fixed_point(), initial=initial, fixed_steps=fixed_steps
        )
        assert set(np.asarray(solution.status)) == {Status.MAX_STEPS}
        assert np.isnan(solution.log_partition).all()


@pytest.mark.parametrize("solver", [*SOLVERS])
def test_a_pull_from_outside_the_samples(solver, x64):
    """A user's own penalty: its center may lie outside the range of the log ratios."""
    data, noise = gaussian_log_ratios(1.0, 12, 9)
    for slope, center in ((1e3, -50.0), (0.1, 300.0), (1e-5, 1e4)):
        problem = make_problem(data, noise)._replace(
            pull=Pull(jnp.asarray(slope), jnp.asarray(center))
        )
        for fixed_steps in (None, 80):
            solution = solve_problem(problem, solver=SOLVERS[solver], fixed_steps=fixed_steps)
            if solver == "fixed_point":
                assert solution.status == Status.MAX_STEPS
                continue
            f = float(solution.log_partition)
            p, q = oracles.probabilities(data, noise, f, 1.0)
            np.testing.assert_allclose(np.mean(p) - np.mean(q) + slope * (f - center), 0, atol=1e-8)
            assert solution.status in (Status.CONVERGED, Status.NO_OVERLAP)


@pytest.mark.parametrize(("slope", "center"), [(-1.0, 0.0), (np.nan, 0.0), (1.0, np.nan)])
def test_a_pull_without_a_minimum_is_not_solved(slope, center):
    data, noise = gaussian_log_ratios(1.0, 12, 9, dtype=np.float32)
    pull = Pull(jnp.float32(slope), jnp.float32(center))
    solution = solve_problem(make_problem(data, noise)._replace(pull=pull))
    assert solution.status == Status.NONFINITE


@pytest.mark.costly
def test_the_pull_of_the_criterion_keeps_its_center(x64):
    """Regularized on top of a penalty around another F: the slope of the whole loss is zero."""
    data, noise = gaussian_log_ratios(1.0, 12, 9)

    def equation(*sides, **weights):
        problem = make_problem(*sides, **weights)
        return problem._replace(pull=Pull(jnp.asarray(3.0), jnp.asarray(-4.0)))

    def loss(*sides, log_partition=0.0, **weights):
        base = nce_jax.nce_loss(*sides, log_partition=log_partition, **weights)
        return base + 1.5 * (log_partition + 4.0) ** 2

    own = nce_jax.criteria.Criterion("own", loss, equation=equation, has_bennett_step=False)
    criterion = nce_jax.criteria.ratio_regularized(own, 0.7)
    root = criterion.profile(data, noise).log_partition
    slope = jax.grad(lambda f: criterion.loss(data, noise, log_partition=f))(root)
    np.testing.assert_allclose(slope, 0, atol=1e-10)


def test_bar_step_refuses_an_equation_with_a_pull():
    """A criterion of the user's own whose has_bennett_step says the contrary."""
    own = regularized(1.0)._replace(has_bennett_step=True)
    data, noise = gaussian_log_ratios(1.0, 12, 9, dtype=np.float32)
    ratios = {"log_ratio_data": data, "log_ratio_noise": noise}
    with pytest.raises(ValueError, match="criterion ratio_regularized nce: expected .* a pull"):
        training.bar_step().update(own, ratios, jnp.float32(0))


def test_large_means_of_opposite_signs_leave_the_center_exact():
    """With a strong pull F is the center, here a sum of means of 200 that is near zero."""
    generator = np.random.default_rng(0)
    sides = [
        (offset + 300 * generator.normal(size=(64, 200))).astype(np.float32)
        for offset in (200, -200)
    ]
    exact = sum(side.astype(np.float64).mean(-1) for side in sides) / 2
    criterion = nce_jax.criteria.ratio_regularized(nce_jax.criteria.nce(), 1e5)
    solution = jax.jit(criterion.profile)(*sides)
    tolerance = np.finfo(np.float32).eps ** 0.75
    np.testing.assert_allclose(solution.log_partition, exact, atol=tolerance, rtol=2.0**-22)
