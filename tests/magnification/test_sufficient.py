"""The smallest sufficient M: against a NumPy oracle, its limits, and what the train step does."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nce_jax
from nce_jax import telescoping, training
from nce_jax.log_partition import make_problem
from tests.magnification.test_candidates import oracle

GRID = np.geomspace(1, 1e4, 13)
KEY = jax.random.key(0)


@pytest.fixture(autouse=True)
def rank_promotion_as_distrax_needs_it():
    with jax.numpy_rank_promotion("allow"):
        yield


def draws(number: int, num: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """N(1, I) data and N(0, I) noise in three dimensions."""
    generator = np.random.default_rng([number, 3])
    return 1 + generator.standard_normal((num, 3)), generator.standard_normal((num, 3))


def log_ratio(theta, x):
    return x @ theta


def unused(offset):
    """Derivatives of the model, which the rule does not ask for."""
    raise AssertionError


def make(optimizer=None, **options):
    rule = nce_jax.sufficient_magnification(**options)
    optimizer = optax.sgd(0.0) if optimizer is None else optimizer
    return training.make_train_step(
        optimizer=optimizer, log_ratio_fn=log_ratio, magnification_rule=rule
    )


def go(train, theta, numbers):
    """The last state and M after every step, with draws of these numbers."""
    step, state, chosen = jax.jit(train), train.init(jnp.asarray(theta)), []
    for number in numbers:
        state, metrics = step(state, training.Batch(*map(jnp.asarray, draws(number))), KEY)
        chosen.append(float(metrics.magnification))
    return state, np.array(chosen)


@pytest.mark.parametrize("scale", [0.3, 1.0, 2.0, 4.0])
def test_it_is_the_smallest_m_that_the_oracle_does_not_exclude(x64, scale):
    theta, mean, variance = np.full(3, scale), 0.0, 0.0
    expected = []
    for number in range(6):
        table = oracle(*(x @ theta for x in draws(number)), grid=GRID)
        gain = 2 / (number + 2)
        mean = (1 - gain) * mean + gain * table["overlooked"]
        variance = (1 - gain) ** 2 * variance + gain**2 * table["overlooked_variance"]
        excluded = np.flatnonzero(mean > 3 * np.sqrt(variance))
        smallest = excluded[-1] + 1 if excluded.size else 0
        expected.append(GRID[min(smallest, table["largest_supported"])])
    np.testing.assert_allclose(go(make(), theta, range(6))[1], expected, rtol=1e-12)
    assert (max(expected) > 1) == (scale > 1)


def test_of_a_model_that_is_the_noise_m_is_1_and_the_step_is_that_of_a_fixed_m(x64):
    plain = training.make_train_step(optimizer=optax.sgd(0.3), log_ratio_fn=log_ratio)
    state, chosen = go(make(optax.sgd(0.3)), np.zeros(3), range(1))
    np.testing.assert_array_equal(chosen, 1)
    batch = training.Batch(*map(jnp.asarray, draws(0)))
    alone = jax.jit(plain)(plain.init(jnp.zeros(3)), batch, KEY)[0]
    np.testing.assert_allclose(state.params, alone.params, rtol=1e-12)


@pytest.mark.parametrize("matching", [0.0, 0.5, 1.0])
def test_the_gradient_is_matched_to_the_size_at_m_1(x64, matching):
    theta = np.full(3, 3.0)
    state, (chosen,) = go(make(optax.sgd(1.0), matching=matching), theta, [0])
    assert chosen > 1
    sides = tuple(x @ theta for x in draws(0))

    def acceptance(m):
        root = float(nce_jax.solve_log_partition(*sides, magnification=m).log_partition)
        return np.mean(1 / (1 + np.exp(sides[0] - root - np.log(m))))

    def loss(theta):
        data, noise = (x @ theta for x in draws(0))
        return nce_jax.profiled_nce_loss(data, noise, magnification=chosen)

    scale = (acceptance(1.0) / acceptance(chosen)) ** matching
    moved = state.params - theta
    np.testing.assert_allclose(moved, -scale * jax.grad(loss)(jnp.asarray(theta)), rtol=1e-6)


def test_it_comes_down_from_an_overshoot_and_ends_at_the_truth():
    state, chosen = go(make(optax.sgd(0.5)), np.full(3, 3.0), range(100))
    assert chosen[0] > 3
    assert chosen[-1] == 1
    # K = 4 standard errors of the mean of 20 batches of 400; seed of the draws 3.
    np.testing.assert_allclose(state.params, 1, atol=4 * (3 / 8000) ** 0.5)


def test_a_batch_that_is_not_finite_changes_nothing_but_the_time_of_the_measurement():
    rule = nce_jax.sufficient_magnification()
    state = rule.init(jnp.zeros(3), jnp.float32)
    data, noise = (jnp.asarray(x @ np.full(3, 3.0), jnp.float32) for x in draws(0))
    before = rule.choose(
        state, jnp.int32(0), lambda m: make_problem(data, noise, None, None, m), unused
    )
    broken = data.at[0].set(jnp.nan)
    after = rule.choose(
        before.state, jnp.int32(1), lambda m: make_problem(broken, noise, None, None, m), unused
    )
    assert before.magnification > 1
    assert after.magnification == before.magnification
    assert after.state.last_measurement == 1
    for old, new in zip(before.state, after.state._replace(last_measurement=0), strict=True):
        np.testing.assert_array_equal(old, new)


def test_it_is_measured_at_every_step_at_first_and_ever_more_rarely():
    rule = nce_jax.sufficient_magnification()
    state = rule.init(jnp.zeros(3), jnp.float32)
    sides = [jnp.asarray(x @ np.full(3, 0.5), jnp.float32) for x in draws(0)]
    equation_at = lambda m: make_problem(*sides, None, None, m)

    @jax.jit
    def follow(state, steps):
        def one(state, step):
            choice = rule.choose(state, step, equation_at, unused)
            return choice.state, choice.state.last_measurement == step

        return jax.lax.scan(one, state, steps)[1]

    first = follow(state, jnp.arange(300))
    assert first[:256].all()
    assert 20 < first[256:].sum() < 24
    late = follow(state._replace(last_measurement=jnp.int32(9_999)), 10_000 + jnp.arange(200))
    assert late.sum() == 5


@pytest.mark.costly
def test_every_stage_has_its_own(x64):
    levels = np.array([0.0, 0.5, 1.0])
    train = training.make_stage_step(
        telescoping.separate(log_ratio),
        noise_levels=levels,
        optimizer=optax.sgd(0.0),
        magnification_rule=nce_jax.sufficient_magnification(),
    )
    theta = np.stack([np.full(3, 0.1), np.full(3, 5.0)])
    state = train.init(jnp.asarray(theta))
    batch = training.Batch(*map(jnp.asarray, draws(0)))
    state, metrics = jax.jit(train)(state, batch, KEY)
    chosen = GRID[state.magnification_state.candidate]
    assert chosen[0] == 1 < chosen[1]
    np.testing.assert_allclose(metrics.magnification, chosen[1] ** 0.5, rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"largest": 1.0}, "largest"),
        ({"matching": 1.5}, "matching"),
        ({"matching": -1}, "matching"),
    ],
)
def test_options_out_of_their_range_are_named(options, name):
    with pytest.raises(ValueError, match=f"^{name}: expected"):
        nce_jax.sufficient_magnification(**options)
