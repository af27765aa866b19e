"""The adaptive M in the train step: what it does, what it leaves alone, what it refuses, and how it
goes on.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nce_jax
from nce_jax import noise, training
from nce_jax.criteria import profiled_nce_loss
from nce_jax.log_partition.problem import make_problem
from nce_jax.magnification._adaptive_rule import _init, _measure, _update_means
from nce_jax.magnification._candidates import Candidates, tabulate
from nce_jax.training._momentum import pending
from tests import oracles

RULE = nce_jax.adaptive_magnification()
DIM, DATA, NOISE = 5, 256, 384
KEY = jax.random.key(0)


@pytest.fixture(autouse=True)
def rank_promotion_as_distrax_needs_it():
    with jax.numpy_rank_promotion("allow"):
        yield


def log_ratio(theta, x):
    """A linear tilt, and a constant that comes with the batch."""
    return x["x"] @ theta + x["constant"]


def batch(number, mean=1.0, constant=0.0, counted=(DATA, NOISE)) -> training.Batch:
    """N(mean, 1) data and N(0, 1) noise from independent seeds; samples past `counted` are wild and
    have weight zero.
    """
    generator = np.random.default_rng([number, 8])
    sides = []
    for size, count, shift in zip((DATA, NOISE), counted, (mean, 0.0), strict=True):
        x, weights = shift + generator.standard_normal((size, DIM)), np.arange(size) < count
        sides.append(
            (
                {"x": np.where(weights[:, None], x, 50.0), "constant": np.full(size, constant)},
                weights * 1.0,
            )
        )
    return jax.tree.map(
        jnp.asarray, training.Batch(sides[0][0], sides[1][0], sides[0][1], sides[1][1])
    )


def make(optimizer, rule=RULE, criterion=None, model=log_ratio):
    options = {"magnification_rule": rule, "criterion": criterion or nce_jax.criteria.nce()}
    return training.make_train_step(optimizer=optimizer, log_ratio_fn=model, **options)


def begin(optimizer, rule=RULE):
    return make(optimizer, rule).init(jnp.zeros(DIM))


def go(step, state, batches):
    """The last state; parameters and M after every step."""
    thetas, chosen = [], []
    for one in batches:
        state, metrics = step(state, one, KEY)
        thetas.append(np.asarray(state.params))
        chosen.append(np.nan if metrics.magnification is None else float(metrics.magnification))
    return state, np.array(thetas), np.array(chosen)


def assert_finite(tree):
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tree))


SGD = optax.sgd(0.3)


TRACES = []


@pytest.fixture(scope="module")
def sgd_step():
    """One compiled step for most tests here, which notes when it is traced."""

    def model(theta, x):
        TRACES.append(None)
        return log_ratio(theta, x)

    return jax.jit(make(SGD, model=model))


@pytest.fixture(scope="module")
def usual(sgd_step):
    """Sixty steps on N(1, I)."""
    with jax.numpy_rank_promotion("allow"):
        return go(sgd_step, begin(SGD), map(batch, range(60)))


# ---- what it does --------------------------------------------------------------------------------


def train(rule, key, num_steps, optimizer=SGD):
    """5-D Gaussians, KL 2.5 nats, batches of 512: parameters and M after every step."""
    key_data, key_noise = jax.random.split(key)
    step = training.make_train_step(
        noise=noise.standard_normal(DIM),
        optimizer=optimizer,
        log_ratio_fn=lambda theta, x: x @ theta,
        magnification_rule=rule,
    )

    def body(state, number):
        x_data = 1 + jax.random.normal(jax.random.fold_in(key_data, number), (512, DIM))
        state, metrics = step(state, x_data, key_noise)
        return state, (
            state.params,
            jnp.nan if metrics.magnification is None else metrics.magnification,
        )

    return jax.lax.scan(body, begin(optimizer, rule), jnp.arange(num_steps))[1]


@pytest.mark.costly
def test_it_begins_at_maximum_likelihood_comes_down_and_beats_m_1_at_once():
    """20 paired seeds split from key 0, SGD of rate .3."""
    keys = jax.random.split(jax.random.key(0), 20)
    adaptive = jax.jit(jax.vmap(lambda key: train(RULE, key, 200)))(keys)
    plain = jax.jit(jax.vmap(lambda key: train(None, key, 20)))(keys)
    errors = [
        np.sum((np.asarray(paths[0])[:, 19] - 1) ** 2, axis=-1) / 2 for paths in (adaptive, plain)
    ]
    assert (errors[0] < errors[1]).sum() >= 18
    chosen = np.asarray(adaptive[1])
    np.testing.assert_allclose(chosen[:, 0], 1e4, rtol=1e-5)
    assert np.all(chosen[:, -1] < 3)
    # Many seeds at once are as good as one alone, to the rounding of twenty steps.
    alone = jax.jit(lambda key: train(RULE, key, 20))(keys[3])
    np.testing.assert_allclose(adaptive[1][3][:20], alone[1], rtol=1e-5)
    np.testing.assert_allclose(adaptive[0][3][:20], alone[0], rtol=1e-3, atol=1e-3)


@pytest.mark.costly
def test_m_comes_down_at_once_and_goes_up_by_a_step_of_the_grid(usual):
    _, thetas, chosen = usual
    np.testing.assert_allclose(chosen[0], 1e4, rtol=1e-5)
    assert chosen[-1] < 3
    assert np.all(chosen[1:] <= chosen[:-1] * 10 ** (5 / 15) * (1 + 1e-5))
    # At N(1, I) the tilt of N(0, I) is theta = 1; stationary noise at rate .3 keeps it within some
    # tenths.
    assert np.abs(thetas[-10:].mean(0) - 1).max() < 0.3


@pytest.mark.costly
def test_without_overlap_m_stays_at_one_or_below_and_everything_finite(sgd_step):
    """Means 16 apart in one dimension. At theta = 0 every M is supported: the first is the
    largest.
    """
    mean = np.array([16.0, 0, 0, 0, 0])
    state, thetas, chosen = go(sgd_step, begin(SGD), [batch(number, mean) for number in range(40)])
    assert np.isfinite(thetas).all()
    assert np.all(chosen[5:] <= 1 + 1e-5)
    assert_finite(state.magnification_state.measurements)


@pytest.mark.costly
def test_the_looks_become_rarer_by_a_step_for_every_256():
    """Every step up to 256, every second up to 512, every third up to 768."""
    s_data, s_noise = jnp.linspace(0.0, 2.0, 30), jnp.linspace(-1.0, 1.0, 40)
    rule = nce_jax.adaptive_magnification(smallest=1.0, largest=10.0)

    def body(state, step):
        equation_at = lambda m: make_problem(s_data, s_noise, magnification=m)
        choice = rule.choose(
            state,
            step,
            equation_at,
            lambda _: (equation_at, lambda direction: (direction * s_data, direction * s_noise)),
        )
        return rule.follow(
            choice, jnp.float32(0.01), jnp.float32(0), step
        ), choice.state.last_measurement

    start = rule.init(jnp.float32(0), jnp.float32)
    looks = np.asarray(jax.jit(lambda: jax.lax.scan(body, start, jnp.arange(700))[1])())
    for first, last, every in ((0, 256, 1), (260, 510, 2), (515, 700, 3)):
        assert set(np.diff(np.unique(looks[first:last]))) == {every}


# ---- what it measures ----------------------------------------------------------------------------


def test_the_variance_of_a_running_mean_is_that_of_its_weights():
    """Draw i overlooks 1 at candidate i and nothing elsewhere: the running means are the weights of
    the draws, and the variance of a mean of independent ones is the sum of their squares.
    """
    steps, number = [0, 100, 102, 104, 106, 108, 110], 7
    state = _init(number, jnp.zeros(DIM), jnp.float32)
    update = jax.jit(_update_means)
    for draw, step in enumerate(steps):
        table = Candidates(
            *(jnp.zeros(number),) * 3,
            overlooked=jax.nn.one_hot(draw, number),
            overlooked_variance=jnp.ones(number),
            largest_supported=jnp.int32(0),
            clearest=jnp.int32(0),
        )
        last = state.last_measurement if draw == 0 else jnp.int32(step - 2)
        state = state._replace(last_measurement=last)
        state = update(state, table, state.measurements, jnp.int32(step))
    weights = np.asarray(state.overlooked, np.float64)
    np.testing.assert_allclose(weights.sum(), 1, rtol=1e-5)
    assert (weights > 0.05).all()
    np.testing.assert_allclose(state.overlooked_variance, np.square(weights).sum(), rtol=1e-5)


@pytest.mark.costly
def test_slope_and_curvatures_are_those_of_the_profiled_loss(x64):
    """Along two displacements of a linear model, against automatic differentiation through the
    solved F.
    """
    grid = jnp.array([1.0, 10.0, 100.0])
    generator = np.random.default_rng(0)
    x_data = jnp.asarray(1 + generator.standard_normal((60, 3)))
    x_noise = jnp.asarray(generator.standard_normal((90, 3)))
    weights = jnp.asarray(generator.uniform(0.5, 1, 60)), jnp.asarray(generator.uniform(0.5, 1, 90))
    here, pending, short, long = jnp.asarray(generator.standard_normal((4, 3)) / 2)
    theta = here + pending  # where the parameters would come to rest
    start = nce_jax.adaptive_magnification(smallest=1.0, largest=100.0).init(here, here.dtype)
    drift, drift_long = jnp.asarray(1.7), jnp.asarray(2.9)
    windows = start.windows._replace(short=short, long=long, drift=drift, drift_long=drift_long)

    def linearize(offset):
        ratios = x_data @ (here + offset), x_noise @ (here + offset)
        return lambda magnification: make_problem(
            *ratios, *weights, magnification, 2.0
        ), lambda u: (x_data @ u, x_noise @ u)

    def loss(theta, magnification):
        options = {"weights_data": weights[0], "weights_noise": weights[1], "noise_ratio": 2.0}
        return profiled_nce_loss(
            x_data @ theta, x_noise @ theta, magnification=magnification, **options
        )

    @jax.jit
    @jax.vmap
    def measure(candidate):
        table = tabulate(linearize(pending)[0], grid, jnp.full(3, jnp.nan))
        state = start._replace(windows=windows, pending=pending)
        measurements = _measure(state, grid[candidate], jnp.asarray(jnp.nan), linearize)
        return (
            measurements,
            table.acceptance[candidate],
            jax.grad(loss)(theta, grid[candidate]),
            jax.hessian(loss)(theta, grid[candidate]),
        )

    measurements, acceptance, gradient, hessian = measure(jnp.arange(3))
    np.testing.assert_allclose(
        measurements.slope, -gradient @ short / (drift * acceptance), rtol=1e-7
    )
    np.testing.assert_allclose(
        measurements.curvature, hessian @ short @ short / acceptance, rtol=1e-7
    )
    np.testing.assert_allclose(measurements.cross, hessian @ short @ long / acceptance, rtol=1e-7)
    np.testing.assert_allclose(measurements.drift_square, 1.7**2)
    np.testing.assert_allclose(measurements.drift_cross, 1.7 * 2.9)


def test_the_windows_hold_moves_of_the_place_of_rest():
    """Heavy ball at rate .1: every gradient moves it by its whole effect, .1 / (1 - .9), whatever
    came before.
    """
    optimizer = optax.sgd(0.1, momentum=0.9)
    rule = nce_jax.adaptive_magnification(smallest=1.0, largest=10.0)
    log_ratios = jnp.linspace(0.0, 2.0, 30), jnp.linspace(-1.0, 1.0, 40)
    equation_at = lambda m: make_problem(*log_ratios, magnification=m)
    linearize = lambda _: (
        equation_at,
        lambda direction: (direction * log_ratios[0], direction * log_ratios[1]),
    )
    choose = jax.jit(lambda state, step: rule.choose(state, step, equation_at, linearize))
    params, memory = jnp.float32(0), optimizer.init(jnp.float32(0))
    state = rule.init(params, jnp.float32)
    for step, gradient in enumerate((1.0, -2.0, 0.5)):
        updates, memory = optimizer.update(jnp.float32(gradient), memory, params)
        params = optax.apply_updates(params, updates)
        choice = choose(state, jnp.int32(step))
        state = rule.follow(choice, updates, pending(optimizer, memory, params), jnp.int32(step))
        # A window of one step up to the eighth.
        np.testing.assert_allclose(state.windows.short, -gradient, rtol=1e-4)


# ---- what it leaves alone ------------------------------------------------------------------------


UNIT = optax.sgd(1.0)
fixed = jax.jit(make(UNIT, None, nce_jax.criteria.nce(magnification=10.0)))


@pytest.mark.costly
@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_a_range_of_next_to_nothing_is_a_fixed_m_and_adam_sees_the_gradient_over_the_acceptance(
    name, x64
):
    """M = 10 to a part in 1e6, hence parameters to some 1e-5, in float64, against fixed
    nce(magnification=10).
    """
    optimizer = {"sgd": optax.sgd(0.3), "adam": optax.adam(0.05, eps=1e-12)}[name]
    narrow = nce_jax.adaptive_magnification(smallest=10 * (1 - 1e-6), largest=10 * (1 + 1e-6))
    batches = [batch(number, counted=(200, 300)) for number in range(12)]
    state, history, chosen = go(jax.jit(make(optimizer, narrow)), begin(optimizer, narrow), batches)
    np.testing.assert_allclose(chosen, 10, rtol=2e-6)
    assert state.magnification_state.measurements.curvature.dtype == jnp.float64

    theta, memory, expected = jnp.zeros(DIM), optimizer.init(jnp.zeros(DIM)), []
    for one in batches:
        before = begin(UNIT, None)._replace(params=theta)
        after, metrics = fixed(before, one, KEY)
        s_data = np.asarray(one.x_data["x"] @ theta)
        p, _ = oracles.probabilities(s_data, s_data, float(metrics.log_partition), 10.0)
        acceptance = oracles.mean(p, one.weights_data)
        gradient = (theta - after.params) / (acceptance if name == "adam" else 1)
        updates, memory = optimizer.update(gradient, memory, theta)
        theta = optax.apply_updates(theta, updates)
        expected.append(np.asarray(theta))
    np.testing.assert_allclose(history, expected, atol=2e-5)


@pytest.mark.parametrize(
    ("optimizer", "response"),
    [
        pytest.param(optax.adam(0.01), 0, marks=pytest.mark.costly),
        pytest.param(optax.sgd(0.1, momentum=0.9), 1, marks=pytest.mark.costly),
        pytest.param(optax.contrib.muon(0.01), 0, marks=pytest.mark.costly),
    ],
)
def test_the_response_of_an_optimizer_to_scale_is_found(optimizer, response):
    params = {"matrix": jnp.zeros((DIM, 2)), "vector": jnp.zeros(DIM)}
    step = make(
        optimizer,
        model=lambda params, x: (
            jnp.sum((x["x"] @ params["matrix"]) ** 2, -1) + x["x"] @ params["vector"]
        ),
    )
    state = step.init(params)
    actual = jax.jit(step)(state, batch(0), KEY)[0].magnification_state.response
    np.testing.assert_allclose(actual, response, atol=1e-3)


def test_plain_descent_answers_in_proportion(usual):
    np.testing.assert_allclose(usual[0].magnification_state.response, 1, atol=1e-5)


def test_a_constant_in_the_energy_changes_nothing(sgd_step, usual):
    _, thetas, chosen = go(
        sgd_step, begin(SGD), [batch(number, constant=3.0) for number in range(12)]
    )
    np.testing.assert_allclose(thetas, usual[1][:12], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(chosen, usual[2][:12], rtol=1e-5)


def test_samples_of_weight_zero_change_nothing(sgd_step):
    """What they hold does not matter: 50 and another value give the same bits."""
    ones = [batch(number, counted=(200, 300)) for number in range(6)]
    changed = [jax.tree.map(lambda leaf: jnp.where(leaf == 50, -7.0, leaf), one) for one in ones]
    chex.assert_trees_all_equal(
        *(go(sgd_step, begin(SGD), batches)[0] for batches in (ones, changed))
    )


def test_one_compilation_serves_every_step(sgd_step):
    state, *_ = go(sgd_step, begin(SGD), [batch(0)])
    num_traces = len(TRACES)
    go(sgd_step, state, [batch(number) for number in range(1, 5)])
    assert len(TRACES) == num_traces > 0


# ---- bad batches, refusals, going on -------------------------------------------------------------


def test_a_bad_batch_leaves_no_trace_in_what_was_measured(sgd_step):
    state, *_ = go(sgd_step, begin(SGD), [batch(number) for number in range(3)])
    broken = batch(3)
    bad, metrics = sgd_step(
        state,
        broken._replace(x_data=jax.tree.map(lambda x: x.at[0].set(jnp.nan), broken.x_data)),
        KEY,
    )
    assert metrics.status == nce_jax.Status.NONFINITE
    assert metrics.magnification > 0
    before, after = state.magnification_state, bad.magnification_state
    for name in (
        "measurements",
        "overlooked",
        "overlooked_variance",
        "candidate",
        "acceptance",
        "variance",
        "target_acceptance",
    ):
        chex.assert_trees_all_equal(getattr(after, name), getattr(before, name))


def test_the_regularizer_keeps_its_strength_and_gets_the_m():
    criterion = nce_jax.criteria.ratio_regularized(
        nce_jax.criteria.nce(noise_ratio=2.0), strength=0.3
    ).at_magnification(7.0)
    same = nce_jax.criteria.ratio_regularized(
        nce_jax.criteria.nce(magnification=7.0, noise_ratio=2.0), strength=0.3
    )
    ratios = jnp.array([0.5, 2.0]), jnp.array([-1.0, 0.2, 0.1])
    actual, expected = jax.jit(
        lambda: [
            (c.loss(*ratios, log_partition=0.4), c.profile(*ratios)) for c in (criterion, same)
        ]
    )()
    chex.assert_trees_all_equal(actual, expected)
    assert callable(make(SGD, criterion=nce_jax.criteria.ratio_regularized(nce_jax.criteria.nce())))
    for without in (nce_jax.criteria.exponential_nce(), nce_jax.criteria.nwj()):
        assert without.at_magnification is None
        assert nce_jax.criteria.ratio_regularized(without).at_magnification is None


def test_what_cannot_adapt_is_refused_by_name():
    for criterion, treatment, message in (
        (
            nce_jax.criteria.exponential_nce(),
            training.solved(),
            "magnification_rule: expected None .* got a rule and criterion exponential_nce",
        ),
        (
            nce_jax.criteria.nce(),
            training.bar_step(),
            "magnification_rule: expected a solved F.*bar_step",
        ),
        (
            nce_jax.criteria.nce(),
            training.joint_gradient(),
            "magnification_rule: expected a solved F.*joint_gradient",
        ),
        (nce_jax.criteria.nce(), training.held(), "magnification_rule: expected a solved F.*held"),
    ):
        options = {"criterion": criterion, "treatment": treatment, "magnification_rule": RULE}
        with pytest.raises(ValueError, match=message):
            training.make_train_step(log_ratio, noise.standard_normal(DIM), SGD, **options)
    for smallest, largest in (
        (10.0, 1.0),
        (0.0, 1.0),
        (-1.0, 1.0),
        (1.0, np.inf),
        (np.nan, 1.0),
        (2.0, 2.0),
    ):
        with pytest.raises(ValueError, match="0 < smallest < largest"):
            nce_jax.adaptive_magnification(smallest=smallest, largest=largest)
    with pytest.raises(TypeError, match="positional"):
        nce_jax.adaptive_magnification(10)


@pytest.mark.bad_input
@pytest.mark.parametrize("rule", [10.0, "adaptive", nce_jax.adaptive_magnification])
def test_what_is_no_rule_is_refused(rule):
    with pytest.raises(TypeError, match="magnification_rule: expected .*adaptive_magnification"):
        training.make_train_step(
            log_ratio, noise.standard_normal(DIM), SGD, magnification_rule=rule
        )


@pytest.mark.costly
@pytest.mark.parametrize("stop", [7, 10])
def test_a_run_that_goes_on_ends_in_the_same_bits_and_records_m(tmp_path, stop):
    """Cut off between two checkpoints, or at one; without a rule there is no such column."""
    optimizer = optax.adam(0.05)
    x_data = 1 + jax.random.normal(jax.random.key(0), (1000, DIM))
    options = {"batch_size": 100, "log_every": 5, "checkpoint_every": 5, "progress": False}
    model = lambda theta, x: x @ theta

    def run(num_steps, rule=RULE, **more):
        step = training.make_train_step(
            noise=noise.standard_normal(DIM),
            optimizer=optimizer,
            log_ratio_fn=model,
            magnification_rule=rule,
        )
        state = step.init(jnp.zeros(DIM))
        return training.fit(
            step, state, x_data, jax.random.key(1), num_steps=num_steps, **options, **more
        )

    whole = run(20)
    run(stop, folder=tmp_path / "run")
    resumed = run(20, folder=tmp_path / "run", resume=True)
    chex.assert_trees_all_equal(resumed.state, whole.state)
    assert whole.history["magnification"].shape == (4,)
    assert whole.history["magnification"][0] > whole.history["magnification"][-1]
    assert "magnification" not in run(5, None).history


@pytest.mark.costly
def test_adam_whose_first_rate_is_zero_is_still_adam():
    """A warm-up begins with an update of zero, which says nothing of the gradient's scale."""
    optimizer = optax.adam(optax.linear_schedule(0.0, 0.1, 10))
    state, _, _ = go(jax.jit(make(optimizer)), begin(optimizer), [batch(0)])
    np.testing.assert_allclose(state.magnification_state.response, 0, atol=1e-3)


@pytest.mark.costly
def test_a_step_that_waits_for_f_is_no_first_step():
    """One evaluation never finds F: parameters, M and what was measured stay as at the start, as
    long as it takes.
    """
    options = {"magnification_rule": RULE, "treatment": training.solved(fixed_steps=1)}
    step = jax.jit(training.make_train_step(optimizer=SGD, log_ratio_fn=log_ratio, **options))
    state = begin(SGD)._replace(params=jnp.full(DIM, 0.3))
    waited, _, chosen = go(step, state, [batch(number) for number in range(3)])
    np.testing.assert_array_equal(waited.params, state.params)
    assert (chosen == chosen[0]).all()
    assert chosen[0] > 1
    _, thetas, chosen = go(jax.jit(make(SGD)), waited, [batch(3), batch(4)])
    assert chosen[0] > 1
    assert np.ptp(thetas, axis=0).min() > 0


@pytest.mark.costly
def test_log_ratios_wider_than_the_parameters(x64):
    step = make(optax.sgd(0.3))
    state = step.init(jnp.zeros(DIM, jnp.float32))
    _, thetas, chosen = go(jax.jit(step), state, [batch(0), batch(1)])
    assert thetas.dtype == np.float32
    assert np.isfinite(chosen).all()


@pytest.mark.parametrize(("of_step", "of_state"), [(RULE, None), (None, RULE)])
def test_a_rule_in_one_place_only_is_named(of_step, of_state):
    with pytest.raises(
        ValueError, match="state: expected one from the init of this train step, got another magn"
    ):
        make(SGD, rule=of_step)(begin(SGD, rule=of_state), batch(0), KEY)
