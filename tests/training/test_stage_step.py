"""The train step of K stages: as K train steps on their bridges, and as one step for one stage."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nce_jax
from nce_jax import criteria, noise, telescoping, training
from nce_jax._levels import as_coefficients
from nce_jax._partial import Parts
from nce_jax.telescoping._fit.config import Chain
from nce_jax.telescoping._fit.descent import DescentState, descend, start_descent
from nce_jax.telescoping._fit.stage_model import (
    StageModel,
    centered_bridges,
    noise_offset,
    stage_moments,
)
from tests.slow import slow_but
from tests.training.problems import assert_trees_equal

KEY = jax.random.key(7)
LEVELS = [0.0, 0.4, 0.8, 1.0]
TREATMENTS = {
    "joint": training.joint_gradient(optax.sgd(0.3)),
    "bar": training.bar_step(),
    "solved": training.solved(),
    "fixed_steps": training.solved(fixed_steps=4),
    "held": training.held(),
}
CRITERIA = {
    "nce": criteria.nce(magnification=30.0, noise_ratio=2.0),
    "regularized": criteria.ratio_regularized(criteria.nce(), 0.1),
    "exponential": criteria.exponential_nce(),
    "donsker_varadhan": criteria.donsker_varadhan(),
}


def quadratic(theta, x):
    return x @ theta[0] + x**2 @ theta[1]


def pairs(count=64):
    x = jax.random.normal(jax.random.key(1), (2, count, 2))
    return training.Batch(1 + 0.7 * x[0], x[1])


def start(num_stages=3):
    return 0.1 * jax.random.normal(jax.random.key(2), (num_stages, 2, 2))


def stage_step(levels=LEVELS, rate=0.3, **options):
    # The loss is the mean over the stages.
    optimizer = optax.sgd(rate * (len(levels) - 1), momentum=0.5)
    return training.make_stage_step(
        telescoping.separate(quadratic), None, optimizer, noise_levels=levels, **options
    )


def one_step(rate=0.3, **options):
    optimizer = optax.sgd(rate, momentum=0.5)
    return training.make_train_step(None, None, optimizer, log_ratio_fn=quadratic, **options)


def run(train, state, batches):
    step, metrics = jax.jit(train), None
    for batch in batches:
        state, metrics = step(state, batch, KEY)
    return state, metrics


def supported(names):
    for criterion in names:
        for treatment, value in TREATMENTS.items():
            if value.refuses(CRITERIA[criterion]) is None:
                yield criterion, treatment


FAST = [("nce", "solved"), ("nce", "joint"), ("regularized", "fixed_steps")]


@pytest.mark.parametrize("pair", slow_but(FAST, supported(CRITERIA)))
def test_stages_are_separate_train_steps_on_their_bridges(pair, x64):
    criterion, treatment = pair
    options = {"criterion": CRITERIA[criterion], "treatment": TREATMENTS[treatment]}
    if treatment == "joint":  # its own rate is not that of the stages
        options["treatment"] = training.joint_gradient()
    batch = pairs()
    x = telescoping.bridges(batch.x_data, batch.x_noise, noise_levels=LEVELS)
    train = stage_step(**options)
    whole, metrics = run(train, train.init(start()), 3 * [batch])
    alone = []
    single = jax.jit(one_step(**options))
    for k in range(3):
        state = one_step(**options).init(start()[k])
        for _ in range(3):
            state, of_stage = single(state, training.Batch(x[k], x[k + 1]), KEY)
        alone.append((state, of_stage))
    for k, (state, _) in enumerate(alone):
        np.testing.assert_allclose(whole.params[k], state.params, rtol=1e-9)
        np.testing.assert_allclose(whole.log_partition[k], state.log_partition, rtol=1e-9)
    of_stages = [metrics for _, metrics in alone]
    np.testing.assert_allclose(metrics.loss, np.mean([m.loss for m in of_stages]), rtol=1e-9)
    total = sum(m.log_partition for m in of_stages)
    np.testing.assert_allclose(metrics.log_partition, total, rtol=1e-9)
    np.testing.assert_allclose(metrics.overlap, min(m.overlap for m in of_stages), rtol=1e-9)
    assert metrics.status == 0


@pytest.mark.costly
def test_every_stage_has_the_magnification_that_the_rule_chooses_for_it(x64):
    options = {"magnification_rule": nce_jax.adaptive_magnification()}
    batches = [
        training.Batch(batch.x_data[i::8], batch.x_noise[i::8])
        for batch in [pairs(512)]
        for i in range(8)
    ]
    x = [telescoping.bridges(b.x_data, b.x_noise, noise_levels=LEVELS) for b in batches]
    train = stage_step(**options)
    whole, metrics = run(train, train.init(start()), batches)
    alone = []
    single = jax.jit(one_step(**options))
    for k in range(3):
        state = one_step(**options).init(start()[k])
        for bridge in x:
            state, of_stage = single(state, training.Batch(bridge[k], bridge[k + 1]), KEY)
        alone.append((state, of_stage))
    for k, (state, _) in enumerate(alone):
        np.testing.assert_allclose(whole.params[k], state.params, rtol=1e-8)
        chosen = whole.magnification_state.candidate[k], state.magnification_state.candidate
        assert chosen[0] == chosen[1]
    logs = [np.log(m.magnification) for _, m in alone]
    assert np.ptp(logs) > 0  # the stages differ
    np.testing.assert_allclose(np.log(metrics.magnification), np.mean(logs), rtol=1e-12)


@pytest.mark.costly
def test_one_stage_is_one_log_ratio(x64):
    """Draws of the noise included: the step folds its number into the key alike."""
    options = {"criterion": criteria.nce(magnification=30.0)}
    make = {"noise": noise.standard_normal(2), "optimizer": optax.adam(0.1), **options}
    stages = training.make_stage_step(
        telescoping.separate(quadratic), noise_levels=[0.0, 1.0], **make
    )
    one = training.make_train_step(log_ratio_fn=quadratic, **make)
    batches = 3 * [pairs().x_data]
    whole, _ = run(stages, stages.init(start(1)), batches)
    alone, _ = run(one, one.init(start(1)[0]), batches)
    np.testing.assert_allclose(whole.params[0], alone.params, rtol=1e-9)
    np.testing.assert_allclose(whole.log_partition[0], alone.log_partition, rtol=1e-9)


@pytest.mark.costly
@pytest.mark.parametrize("last", [False, True])
def test_two_stages_are_one_where_their_common_bridge_is_an_end(last, x64):
    """As the bridge reaches the noise (or the data) one stage is the whole, and the other nothing.

    With a = 1 - 1e-12 the bridge is 1.4e-6 of the data away from the noise; with a = 1e-6 from the
    data as much. Both stages learn from their pairs, and the sum is the one log ratio.
    """
    levels = [0.0, 1e-6 if last else 1 - 1e-12, 1.0]
    criterion = criteria.nce(magnification=30.0)
    whole, _ = run(
        one_step(criterion=criterion), one_step(criterion=criterion).init(start()[0]), 3 * [pairs()]
    )
    train = stage_step(levels, criterion=criterion)
    first = jnp.zeros((2, 2, 2)).at[int(last)].set(start()[0])
    two, _ = run(train, train.init(first), 3 * [pairs()])
    np.testing.assert_allclose(two.params[int(last)], whole.params, atol=1e-4)
    np.testing.assert_allclose(two.params[1 - int(last)], 0, atol=1e-4)
    np.testing.assert_allclose(jnp.sum(two.log_partition), whole.log_partition, atol=1e-4)
    assert np.abs(whole.params - start()[0]).max() > 0.1  # it has moved


@pytest.mark.costly
def test_a_shared_body_receives_the_gradients_of_all_stages(x64):
    stages_fn = telescoping.shared_body(
        lambda body, x: jnp.tanh(x @ body), lambda head, features: features @ head
    )
    params = {
        "body": jax.random.normal(jax.random.key(3), (2, 4)),
        "heads": jax.random.normal(jax.random.key(4), (3, 4)),
    }
    batch = pairs()
    train = training.make_stage_step(
        stages_fn, None, optax.sgd(1.0), noise_levels=LEVELS, treatment=training.held()
    )
    state, _ = run(train, train.init(params), [batch])
    x = telescoping.bridges(batch.x_data, batch.x_noise, noise_levels=LEVELS)

    def loss(params):
        return jnp.mean(nce_jax.nce_loss(*telescoping.stage_log_ratios(stages_fn, params, x)))

    gradient = jax.grad(loss)(params)
    moved = jax.tree.map(lambda old, new: old - new, params, state.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9), gradient, moved)


@pytest.mark.costly
def test_pairs_of_weight_zero_are_padding(x64):
    batch, train = pairs(64), stage_step()
    weights = jnp.ones(64).at[48:].set(0)
    spoiled = batch._replace(x_data=batch.x_data.at[48:].set(1e6), weights_data=weights)
    both = batch._replace(
        x_noise=batch.x_noise.at[50:].set(-1e6),
        weights_data=jnp.ones(64).at[48:50].set(0),
        weights_noise=jnp.ones(64).at[50:].set(0),
    )
    shorter = training.Batch(batch.x_data[:48], batch.x_noise[:48])
    expected, _ = run(train, train.init(start()), [shorter])
    step = jax.jit(train)
    for padded in (spoiled._replace(weights_noise=jnp.ones(64)), both):
        state, _ = step(train.init(start()), padded, KEY)
        np.testing.assert_allclose(state.params, expected.params, rtol=1e-9)
        np.testing.assert_allclose(state.log_partition, expected.log_partition, rtol=1e-9)


@pytest.mark.costly
def test_the_weights_of_a_pair_have_any_scale():
    train = stage_step()
    weights, state, step = jnp.linspace(0.5, 2.0, 64), train.init(start()), jax.jit(train)
    expected, tiny, huge = (
        step(state, pairs()._replace(weights_data=w, weights_noise=w), KEY)[0]
        for w in (weights, 1e-30 * weights, 1e30 * weights)
    )
    assert jnp.abs(expected.params - state.params).max() > 0.01
    for new in (tiny, huge):
        np.testing.assert_allclose(new.params, expected.params, rtol=1e-5)
        np.testing.assert_allclose(new.log_partition, expected.log_partition, atol=1e-5)


def test_two_negative_weights_are_no_positive_one():
    negative = jnp.ones(64).at[0].set(-1.0)
    batch = pairs()._replace(weights_data=negative, weights_noise=negative)
    _, metrics = jax.jit(stage_step())(stage_step().init(start()), batch, KEY)
    assert metrics.status == nce_jax.Status.NONFINITE


@pytest.mark.parametrize("shape", [(3, 64), (5,), ()])
def test_weights_of_another_shape_are_named(shape):
    for name in ("weights_data", "weights_noise"):
        batch = pairs()._replace(**{name: jnp.ones(shape)})
        for train, params in ((stage_step(), start()), (one_step(), start()[0])):
            with pytest.raises(ValueError, match=f"{name}: expected"):
                train(train.init(params), batch, KEY)


def test_an_empty_batch_moves_nothing():
    train = stage_step()
    state = train.init(start())
    new, metrics = run(train, state, [pairs()._replace(weights_data=jnp.zeros(64))])
    assert_trees_equal(new._replace(step=state.step), state)
    assert metrics.is_empty == 1
    assert metrics.loss == 0


def test_a_stage_that_fails_is_named_and_makes_the_parameters_nan():
    train = stage_step()
    params = start().at[1].set(jnp.nan)
    state, metrics = run(train, train.init(params), [pairs()])
    assert metrics.status == nce_jax.Status.NONFINITE
    assert metrics.faults.data[0] == metrics.faults.noise[0] == 64
    assert np.isnan(state.params).all()


def test_infinite_log_ratios_of_one_stage_are_counted_once():
    def stages_fn(params, x):
        values = params[:, None] * x[..., 0]
        below = jnp.where(x[..., 0] < 0, -jnp.inf, values)
        return jnp.stack([values[0], values[1], below[2]])

    train = training.make_stage_step(
        stages_fn, None, optax.sgd(0.1), noise_levels=LEVELS, treatment=training.held()
    )
    batch = pairs()
    _, metrics = run(train, train.init(jnp.ones(3)), [batch])
    bridge = telescoping.bridges(batch.x_data, batch.x_noise, noise_levels=LEVELS)[2]
    assert metrics.faults.data[1] == (bridge[:, 0] < 0).sum()
    assert metrics.faults.noise[1] == 0  # no mass there: exactly nothing


def test_fixed_steps_wait_for_the_slowest_stage():
    train = stage_step(treatment=training.solved(fixed_steps=1))
    state = train.init(start(), log_partition=30.0)
    new, metrics = run(train, state, [pairs()])
    assert metrics.status == nce_jax.Status.MAX_STEPS
    assert_trees_equal(new.params, state.params)
    assert (new.log_partition != state.log_partition).all()


def test_a_stage_that_fails_is_not_hidden_by_one_that_waits():
    train = stage_step(treatment=training.solved(fixed_steps=1))
    state = train.init(start().at[1].set(jnp.nan), log_partition=30.0)
    new, metrics = run(train, state, [pairs()])
    assert metrics.status == nce_jax.Status.NONFINITE
    assert np.isnan(new.params).all()


@pytest.mark.costly
def test_devices_share_the_pairs(x64):
    mesh = training.make_mesh()
    batch = pairs()._replace(weights_data=jnp.ones(64).at[::5].set(0.0))
    states = []
    for over in (None, mesh):
        train = stage_step(mesh=over)
        state = train.init(start())
        state = state if over is None else training.shard_state(state, over)
        step = training.jit_train_step(train, state)
        for _ in range(2):
            state, _ = step(state, batch, KEY)
        states.append(state)
    np.testing.assert_allclose(states[1].params, states[0].params, rtol=1e-10)
    np.testing.assert_allclose(states[1].log_partition, states[0].log_partition, rtol=1e-10)


@pytest.mark.costly
def test_fit_telescope_descends_by_this_step(x64):
    """Its private descent against the gradient of the mean of the profiled losses."""
    model = StageModel(quadratic)
    chain = Chain(as_coefficients(LEVELS, float), jnp.array([1.0, 3.0, 10.0]))
    batch = pairs(32)
    x = centered_bridges(model, (batch.x_data, batch.x_noise), chain)
    moments = stage_moments(x)
    optimizer, params = optax.sgd(0.5), start()
    train = stage_step(treatment=training.solved()).init(params)
    state = DescentState(train._replace(opt_state=_opt_state(optimizer, train)), params, 0)
    state = descend(
        model, Parts(optimizer), moments, state, (batch.x_data, batch.x_noise), chain,
        batch_size=32, is_averaging=False,
    )  # fmt: skip

    def loss(params):
        ratios = telescoping.stage_log_ratios(model.stages_fn, {"model": params, **moments}, x)
        root = nce_jax.solve_log_partition(*ratios, magnification=chain.kappa).log_partition
        return jnp.mean(nce_jax.nce_loss(*ratios, log_partition=root, magnification=chain.kappa))

    expected = params - 0.5 * jax.grad(loss)(params)
    np.testing.assert_allclose(state.train.params, expected, rtol=1e-8)
    np.testing.assert_array_equal(state.average, state.train.params)


@pytest.mark.costly
def test_fit_telescope_descends_through_padded_stages():
    """Stages between the noise and itself, whose levels do not rise."""
    chain = Chain(as_coefficients([0.0, 0.6, 1.0, 1.0, 1.0], jnp.float32), jnp.ones(4))
    batch, model = pairs(32), StageModel(quadratic)
    x = centered_bridges(model, (batch.x_data, batch.x_noise), chain)
    optimizer = optax.sgd(0.5)
    config = SimpleNamespace(model=model, optimizer=optimizer, template=jnp.zeros((2, 2)))
    state = descend(
        model, Parts(optimizer), stage_moments(x), start_descent(config, chain),
        (batch.x_data, batch.x_noise), chain, batch_size=32, is_averaging=False,
    )  # fmt: skip
    assert np.isfinite(state.average).all()
    assert (state.average[:2] != 0).all()
    np.testing.assert_allclose(state.average[2:], 0, atol=1e-6)


def _opt_state(optimizer, train):
    return training.solved().pair_optimizer(optimizer).init((train.params, train.log_partition))


def fitted(folder, num_steps, levels=LEVELS, **options):
    train = training.make_stage_step(
        telescoping.separate(quadratic),
        noise.standard_normal(2),
        optax.adam(0.05),
        noise_levels=levels,
    )
    x_data = pairs(256).x_data
    return training.fit(
        train, train.init(start()), x_data, KEY, num_steps=num_steps, batch_size=32,
        folder=folder, progress=False, **options,
    )  # fmt: skip


@pytest.mark.costly
def test_a_run_resumes_to_the_same_bits_and_refuses_other_levels(tmp_path):
    whole = fitted(tmp_path / "whole", 12)
    fitted(tmp_path / "cut", 8)
    resumed = fitted(tmp_path / "cut", 12, resume=True)
    assert_trees_equal(resumed.state, whole.state)
    with pytest.raises(ValueError, match="stages: expected"):
        fitted(tmp_path / "cut", 16, levels=[0.0, 0.5, 0.8, 1.0], resume=True)


@pytest.mark.costly
def test_the_chain_learns_the_log_ratio_of_gaussians_that_hardly_overlap(x64):
    """KL(N(4, 0.2^2) | N(0, 1)) = 9.1294; within 4 standard errors of its sample mean, by seed."""
    levels = [0.0, 0.3, 0.6, 0.9, 1.0]
    train = training.make_stage_step(
        telescoping.separate(lambda theta, x: x @ theta[0] + x**2 @ theta[1]),
        noise.standard_normal(1),
        optax.adam(optax.cosine_decay_schedule(0.3, 600)),
        noise_levels=levels,
    )
    x_data = 4 + 0.2 * jax.random.normal(jax.random.key(0), (1024, 1))

    @jax.jit
    def train_all(state):
        return jax.lax.scan(lambda state, _: train(state, x_data, KEY), state, None, 600)[0]

    state = train_all(train.init(jnp.zeros((4, 2, 1))))
    log_ratio_fn = telescoping.telescoped(telescoping.separate(quadratic), 4)
    values = log_ratio_fn(state.params, x_data) - state.log_partition.sum()
    error = np.std(values) / np.sqrt(len(values))
    assert abs(values.mean() - 9.1294) < 4 * (error + 0.02)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"noise_levels": [0.0, 0.5]}, "noise_levels: expected numbers that rise from 0"),
        ({"noise_levels": [1.0]}, "noise_levels: expected a vector"),
        ({"stages_fn": None}, "stages_fn: expected a function"),
        ({"optimizer": None}, "optimizer: expected"),
        ({"space": abs}, "space: expected a pair"),
        ({"noise": 3.0}, "noise: expected"),
        ({"treatment": training.solved}, "treatment: expected"),
    ],
)
def test_wrong_arguments_are_named(change, text):
    options = {
        "stages_fn": telescoping.separate(quadratic),
        "noise": noise.standard_normal(2),
        "optimizer": optax.sgd(0.1),
        "noise_levels": LEVELS,
    }
    with pytest.raises((TypeError, ValueError), match=text):
        training.make_stage_step(**{**options, **change})


def test_wrong_batches_and_values_are_named():
    train, state = stage_step(), stage_step().init(start())
    with pytest.raises(ValueError, match="x_noise: expected the shape of x_data"):
        train(state, training.Batch(jnp.ones((8, 2)), jnp.ones((4, 2))), KEY)
    with pytest.raises(TypeError, match="noise: expected a distribution"):
        train(state, jnp.ones((8, 2)), KEY)
    with pytest.raises(TypeError, match="x_data"):
        train(state, training.Batch(jnp.ones((8, 2), int), jnp.ones((8, 2), int)), KEY)
    unstacked = training.make_stage_step(
        lambda theta, x: x[0] @ theta[0], None, optax.sgd(0.1), noise_levels=LEVELS
    )
    with pytest.raises(ValueError, match=r"stages_fn: expected .*\(3, 8\)"):
        unstacked(unstacked.init(jnp.ones((2, 2))), training.Batch(*(jnp.ones((8, 2)),) * 2), KEY)


def test_a_constant_coordinate_keeps_its_scale():
    """Whose mean and bridges are rounded."""
    rng = np.random.default_rng(0)
    sides = [
        jnp.asarray(np.stack([np.full(5000, 0.7), rng.normal(shift, 1, 5000)], 1), jnp.float32)
        for shift in (1, 0)
    ]
    model = StageModel(quadratic)
    chain = Chain(
        as_coefficients([0.0, 0.3, 1.0], jnp.float32), jnp.ones(2), noise_offset(model, sides[1])
    )
    x = centered_bridges(model, tuple(sides), chain)
    scale = stage_moments(x)["scale"]
    np.testing.assert_array_equal(scale[:, 0], 1)
    np.testing.assert_allclose(scale[:, 1], 1, rtol=0.2)
