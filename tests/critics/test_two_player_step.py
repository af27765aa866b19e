"""Two players whose game is known: a Gaussian generator, and a critic of an exponential family.

The data are N(MEAN, 1), the samples N(theta, 1), and the log ratio of the two is linear in x.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nce_jax import criteria, critics, training
from nce_jax.magnification import adaptive_magnification
from nce_jax.noise import standard_normal
from tests.slow import slow_but
from tests.training.problems import assert_trees_equal

KEY = jax.random.key(3)
MEAN, THETA = 1.5, 0.3


def linear(slope, x):
    return x @ slope


def shifted(theta, key, x_data):
    return theta + jax.random.normal(key, x_data.shape, x_data.dtype)


def data(count=4096, seed=0):
    return MEAN + jax.random.normal(jax.random.key(seed), (count, 1))


def make_critic(magnification=1.0, rate=0.5, regularized=False, **options):
    criterion = criteria.nce(magnification=magnification)
    if regularized:
        criterion = criteria.ratio_regularized(criterion, 0.05)
    optimizer = options.pop("optimizer", optax.sgd(rate))
    return training.make_critic_step(linear, optimizer, criterion=criterion, **options)


def make(critic=None, optimizer=None, sample_fn=shifted, **options):
    critic = critic or make_critic()
    return critics.make_two_player_step(sample_fn, critic, optimizer or optax.sgd(0.1), **options)


def run(train, state, x, num_steps, key=KEY):
    def advance(state, _):
        return train(state, x, key)

    return jax.jit(lambda state: jax.lax.scan(advance, state, None, num_steps))(state)


def optimum(theta):
    """Slope and F of the true log ratio."""
    return jnp.array([MEAN - theta]), (MEAN**2 - theta**2) / 2


def field(slope, shift, kappa):
    """Minus the gradients in theta and in the slope, by quadrature over samples and data.

    And the standard deviation of the second, of one datum and one sample.
    """
    x, width = np.linspace(-10, 12, 20001, retstep=True)
    of_data, of_samples = (
        np.exp(-((x - mean) ** 2) / 2) / np.sqrt(2 * np.pi) * width for mean in (MEAN, THETA)
    )
    u = slope * x - shift
    noise_side = kappa / (kappa + np.exp(u))  # kappa times the probability of data, over e^u
    in_theta = slope * np.sum(of_samples * noise_side)
    of_datum, of_sample = x * noise_side, x * noise_side * np.exp(u)
    in_slope = np.sum(of_datum * of_data - of_sample * of_samples)
    variance = np.sum(of_datum**2 * of_data) + np.sum(of_sample**2 * of_samples)
    return in_theta, in_slope, np.sqrt(variance)


CRITICS = {"best": tuple(float(jnp.squeeze(part)) for part in optimum(THETA)), "other": (0.7, -0.4)}
GAMES = [(1e30, "reverse_kl"), *((m, "non_saturating") for m in (10.0, 0.1, 1.0, 1e4))]


@pytest.mark.parametrize("critic", list(CRITICS))
@pytest.mark.parametrize("game", slow_but(GAMES[:2], GAMES))
def test_the_generator_moves_along_the_known_field(game, critic, x64):
    """k = 4 standard errors of the weights' mean over 65,536 samples, seed 3."""
    (magnification, form), count = game, 2**16
    slope, shift = CRITICS[critic]
    plain = make_critic(min(magnification, 10.0), rate=0.0, treatment=training.held())
    if form == "non_saturating":
        plain = make_critic(magnification, rate=0.0, treatment=training.held())
    train = make(plain, optax.sgd(1.0), form=form)
    state = train.init(jnp.array(THETA), jnp.array([slope]), log_partition=shift)
    moved, _ = jax.jit(train)(state, data(count), KEY)
    change = float(moved.params - state.params)
    expected = field(slope, shift, magnification)[0]
    assert abs(change - expected) <= 4 * abs(slope) / 2 / np.sqrt(count) + 1e-12


@pytest.mark.parametrize("critic", list(CRITICS))
@pytest.mark.parametrize("magnification", slow_but([10.0], [0.1, 1.0, 10.0]))
def test_the_critic_moves_along_the_known_field(magnification, critic, x64):
    """k = 4 standard errors, by quadrature, of two means over 65,536 draws, seed 3."""
    count = 2**16
    slope, shift = CRITICS[critic]
    train = make(make_critic(magnification, rate=1.0, treatment=training.held()))
    state = train.init(jnp.array(THETA), jnp.array([slope]), log_partition=shift)
    moved, _ = jax.jit(train)(state, data(count), KEY)
    change = float(moved.critic.params[0]) - slope
    _, expected, deviation = field(slope, shift, magnification)
    assert abs(change - expected) <= 4 * deviation / np.sqrt(count)
    assert critic == "best" or abs(expected) > 8 * deviation / np.sqrt(count)


@pytest.mark.parametrize("form", ["non_saturating", "reverse_kl"])
@pytest.mark.parametrize("magnification", slow_but([100.0], [1.0, 100.0]))
def test_the_game_ends_at_the_data(magnification, form):
    """k = 4 standard errors of two means of 4,096 samples, on average over the last 100 steps."""
    train = make(make_critic(magnification), optax.sgd(0.1), form=form)
    state = train.init(jnp.zeros(()), jnp.zeros(1))

    def advance(state, _):
        state, metrics = train(state, data(), KEY)
        return state, (state.params, metrics["overlap"])

    state, (theta, overlap) = jax.jit(lambda s: jax.lax.scan(advance, s, None, 300))(state)
    np.testing.assert_allclose(theta[-100:].mean(), data().mean(), atol=4 / np.sqrt(4096))
    assert overlap[-1] > 0.45


def test_as_m_grows_the_forms_agree(x64):
    changes = {}
    for magnification in (1e2, 1e4, 1e6):
        for form in ("non_saturating", "reverse_kl"):
            critic = make_critic(magnification, rate=0.0, treatment=training.held())
            train = make(critic, optax.sgd(1.0), form=form)
            slope, shift = optimum(THETA)
            state = train.init(jnp.array(THETA), slope, log_partition=shift)
            changes[form] = float(train(state, data(256), KEY)[0].params) - THETA
        difference = abs(changes["non_saturating"] / changes["reverse_kl"] - 1)
        # E[r / (M + r)] is at most E[r] / M, and E[r] is 1 in the mean.
        assert difference < 1.5 / magnification


def test_the_generator_uses_the_noise_ratio_of_the_criterion(x64):
    """kappa is the product of M and nu: other parts of the same product give the same step."""
    moved = []
    for magnification, noise_ratio in ((6.0, 1.0), (2.0, 3.0)):
        criterion = criteria.nce(magnification=magnification, noise_ratio=noise_ratio)
        critic = training.make_critic_step(linear, optax.sgd(0.5), criterion=criterion)
        train = make(critic)
        moved.append(train(train.init(jnp.zeros(()), jnp.ones(1)), data(64), KEY)[0])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), *moved)


def test_an_adapted_m_reaches_the_generator(x64):
    """With M of the rule's step the loss is that of a fixed M, at the same critic."""
    critic = make_critic(rate=0.0, magnification_rule=adaptive_magnification())
    train = make(critic, optax.sgd(1.0))
    state = train.init(jnp.zeros(()), jnp.ones(1))
    moved, metrics = jax.jit(train)(state, data(256), KEY)
    fixed = make(make_critic(float(metrics["magnification"]), rate=0.0), optax.sgd(1.0))
    expected, _ = fixed(fixed.init(jnp.zeros(()), jnp.ones(1)), data(256), KEY)
    assert metrics["magnification"] != 1
    np.testing.assert_allclose(moved.params, expected.params, rtol=1e-10)


def test_the_critic_is_not_moved_by_the_generators_loss():
    """Its step is the one that it would take alone, on the same samples."""
    critic, x = make_critic(10.0), data(128)
    train = make(critic)
    state = train.init(jnp.zeros(()), jnp.ones(1))
    moved, metrics = train(state, x, KEY)
    keys = jax.random.split(jax.random.fold_in(jax.random.split(KEY)[0], 0), 4)
    samples = shifted(state.params, keys[0], x)
    alone, of_critic = critic(state.critic, training.Batch(x, samples), keys[3])
    assert_trees_equal(moved.critic, alone)
    np.testing.assert_array_equal(metrics["critic_loss"], of_critic.loss)
    np.testing.assert_array_equal(metrics["overlap"], of_critic.overlap)


def test_several_critic_steps_divide_the_batch(x64):
    """Three steps on a third of the data each, one after another."""
    critic, x = make_critic(), data(96)
    train = make(critic, num_critic_steps=3)
    state = train.init(jnp.zeros(()), jnp.ones(1))
    moved, _ = train(state, training.Batch(x, weights_data=1 + jnp.arange(96.0) % 2), KEY)
    expected = state.critic
    for i in range(3):
        keys = jax.random.split(jax.random.fold_in(jax.random.split(KEY)[0], i), 4)
        samples = shifted(state.params, keys[0], x[i::3])
        weights = 1 + jnp.arange(96.0)[i::3] % 2
        part = training.Batch(x[i::3], samples, weights, weights)
        expected, _ = critic(expected, part, keys[3])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), moved.critic, expected)


def test_samples_have_the_weights_of_their_conditions(x64):
    """Labels of weights 1 and 9, means that depend on them, and a critic that sees x alone.

    At the true means data and samples agree, with weights on both sides, so that neither player
    moves but by its draws: k = 4 standard errors of the weighted mean of 4,000 samples.
    """
    label = jnp.arange(4000) % 2
    weights = jnp.where(label == 0, 1.0, 9.0)
    x = 3.0 * label + jax.random.normal(jax.random.key(5), (4000,))

    def sample_fn(means, key, x_data):
        return means[x_data[1]] + jax.random.normal(key, (4000,)), x_data[1]

    critic = training.make_critic_step(
        lambda slope, x: slope[0] * x[0], optax.sgd(1.0), treatment=training.held()
    )
    train = critics.make_two_player_step(sample_fn, critic, optax.sgd(0.0))
    state = train.init(jnp.array([0.0, 3.0]), jnp.zeros(1))
    batch = training.Batch((x, label), weights_data=weights)
    moved, _ = train(state, batch, KEY)
    variance = 1 + 9 * 0.09  # within a label, and of the means
    error = np.sqrt(2 * variance * float(jnp.sum(weights**2))) / float(jnp.sum(weights)) / 2
    assert abs(moved.critic.params[0]) < 4 * error
    # The generator's gradient: slope / 2 times minus the weight of each label.
    slope = jnp.array([0.01])
    state = state._replace(critic=state.critic._replace(params=slope))
    gradient = train(state, batch, KEY)[1]["gradient_norm"]
    kept = train(state, batch, KEY)[0].critic.params[0]
    np.testing.assert_allclose(gradient, abs(kept) / 2 * np.hypot(0.1, 0.9), rtol=0.05)


def test_a_loss_of_the_generators_own_is_added(x64):
    """With a weight of the critic near zero the generator minimizes its own loss alone."""

    def sample_fn(theta, key, x_data):
        return shifted(theta, key, x_data), (theta - 7.0) ** 2

    train = make(sample_fn=sample_fn, has_loss=True, critic_weight=1e-9)
    state, metrics = train(train.init(jnp.zeros(()), jnp.ones(1)), data(64), KEY)
    np.testing.assert_allclose(metrics["own_loss"], 49.0)
    np.testing.assert_allclose(state.params, 0.1 * 14.0, rtol=1e-7)


def test_the_critic_sees_augmented_data_and_samples(x64):
    """Twice every sample: the same game as that of a critic of twice the slope."""
    plain, doubled = make(), make(augment_fn=lambda key, x: 2 * x)
    first, _ = plain(plain.init(jnp.zeros(()), jnp.array([2.0])), data(64), KEY)
    second, _ = doubled(doubled.init(jnp.zeros(()), jnp.array([1.0])), data(64), KEY)
    change = first.critic.params - 2.0, second.critic.params - 1.0
    np.testing.assert_allclose(2 * change[0], change[1], rtol=1e-10)


def test_a_critic_that_tells_all_apart_is_seen_in_the_overlap():
    """Samples 60 standard deviations away: no overlap, and `fit` warns of it."""
    train = make(make_critic(rate=1.0), optax.set_to_zero())
    state = train.init(jnp.array(-60.0), jnp.ones(1))
    with pytest.warns(training.LowOverlapWarning):
        result = training.fit(
            train, state, data(64), KEY, batch_size=64, num_steps=4, progress=False
        )
    assert result.history["overlap"][-1] < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("magnification", [1.0, 100.0])
@pytest.mark.parametrize("treatment", ["joint_gradient", "solved"])
def test_a_critic_that_runs_away_from_few_data_is_alarmed(magnification, treatment):
    """256 hidden units learn 16 data and 16 samples by heart, while the generator waits."""
    keys = jax.random.split(jax.random.key(7), 4)
    x, samples = jax.random.normal(keys[0], (2, 16, 2))
    params = {
        "in": 3 * jax.random.normal(keys[1], (2, 256)),
        "bias": jax.random.normal(keys[2], (1, 256)),
        "out": jnp.zeros(256),
    }
    critic = training.make_critic_step(
        lambda params, x: jnp.tanh(x @ params["in"] + params["bias"]) @ params["out"],
        optax.adam(0.05),
        criterion=criteria.nce(magnification=magnification),
        treatment=getattr(training, treatment)(),
    )
    train = make(critic, optax.set_to_zero(), lambda theta, key, x_data: theta + samples)
    state = train.init(jnp.zeros((1, 2)), params)
    with pytest.warns(training.LowOverlapWarning, match="the critic tells data and generated"):
        history = training.fit(
            train, state, x, KEY, batch_size=16, num_steps=1500, log_every=50, progress=False
        ).history
    assert history["low_overlap"][0] == 0
    assert history["overlap"][-1] < 0.01


def test_a_critic_of_patches_counts_every_place_with_its_images_weight(x64):
    """Log ratios (n, 3, 2): as a critic of 6 n numbers, each with the weight of its image."""
    x = jnp.arange(24.0).reshape(4, 3, 2) / 10
    weights = jnp.array([1.0, 2.0, 0.0, 3.0])

    def play(x, weights, is_spatial, augment_fn=None):
        critic = training.make_critic_step(
            lambda slope, x: slope * x, optax.sgd(0.5), is_spatial=is_spatial
        )
        train = critics.make_two_player_step(
            lambda theta, key, x_data: theta * (1 + x_data), critic, optax.sgd(0.1),
            augment_fn=augment_fn,
        )  # fmt: skip
        state = train.init(jnp.array(0.4), jnp.array(0.7))
        return train(state, training.Batch(x, weights_data=weights), KEY)

    state, metrics = play(x, weights, True)
    flat, of_flat = play(x.reshape(24), jnp.repeat(weights, 6), False)
    np.testing.assert_allclose(state.params, flat.params, rtol=1e-12)
    np.testing.assert_allclose(state.critic.params, flat.critic.params, rtol=1e-12)
    np.testing.assert_allclose(metrics["loss"], of_flat["loss"], rtol=1e-12)
    # A map of samples before the critic: that of a critic which maps them itself.
    doubled, _ = play(x, weights, True, lambda key, x: 2 * x)
    assert not np.isclose(doubled.params, state.params)


PLAYERS = {
    "an average": lambda: make(make_critic(100.0), training.with_average(optax.adam(0.05), 0.9)),
    "F joint": lambda: make(make_critic(10.0, treatment=training.joint_gradient())),
    "a rule for M": lambda: make(make_critic(magnification_rule=adaptive_magnification())),
    "two critic steps": lambda: make(make_critic(10.0, regularized=True), num_critic_steps=2),
    "a map of samples": lambda: make(
        augment_fn=lambda key, x: x + jax.random.normal(key, x.shape, x.dtype)
    ),
}


@pytest.mark.parametrize("players", slow_but(["an average"], PLAYERS))
def test_a_killed_run_of_two_players_resumes_to_the_same_bits(players, tmp_path):
    train = PLAYERS[players]()

    def fit(num_steps, folder):
        state = train.init(jnp.zeros(()), jnp.zeros(1))
        return training.fit(
            train, state, data(128), KEY, num_steps=num_steps, batch_size=32, progress=False,
            folder=folder, resume=folder is not None,
        ).state  # fmt: skip

    fit(4, tmp_path / "run")
    assert_trees_equal(fit(9, tmp_path / "run"), fit(9, None))


@pytest.mark.costly
@pytest.mark.parametrize("num_critic_steps", [1, 2])
def test_a_step_over_eight_devices_is_that_of_one(num_critic_steps, x64):
    states = []
    for mesh in (None, training.make_mesh()):
        train = make(make_critic(10.0, mesh=mesh), num_critic_steps=num_critic_steps)
        state = train.init(jnp.zeros(()), jnp.ones(1))
        if mesh is not None:
            state = training.shard_state(state, mesh)
        for _ in range(3):
            state, _ = jax.jit(train)(state, data(64), KEY)
        states.append(state)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9), *states)


@pytest.mark.costly
def test_a_critic_of_patches_over_eight_devices_is_that_of_one(x64):
    x = jax.random.normal(KEY, (16, 3, 2))
    batch = training.Batch(x, weights_data=jnp.arange(16.0) % 3)
    states = []
    for mesh in (None, training.make_mesh()):
        critic = training.make_critic_step(
            lambda slope, x: slope * x, optax.sgd(0.5), is_spatial=True, mesh=mesh
        )
        train = make(critic, sample_fn=lambda theta, key, x_data: theta * (1 + x_data))
        state = train.init(jnp.array(0.4), jnp.array(0.7))
        if mesh is not None:
            state = training.shard_state(state, mesh)
        for _ in range(3):
            state, _ = jax.jit(train)(state, batch, KEY)
        states.append(state)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9), *states)


@pytest.mark.bad_input
def test_a_batch_has_samples_for_every_critic_step_on_every_device():
    mesh = training.make_mesh()
    train = make(make_critic(mesh=mesh), num_critic_steps=8)
    state = training.shard_state(train.init(jnp.zeros(()), jnp.ones(1)), mesh)
    with pytest.raises(ValueError, match="multiple of 64, of num_critic_steps = 8 on 8 devices"):
        train(state, data(16), KEY)


@pytest.mark.parametrize(
    ("name", "regularized"),
    [
        *[(name, False) for name in ("joint_gradient", "bar_step", "solved", "held")],
        *[(name, True) for name in ("joint_gradient", "solved", "held")],
    ],
)
def test_every_treatment_of_f_plays(name, regularized):
    critic = make_critic(10.0, regularized=regularized, treatment=getattr(training, name)())
    train = make(critic)
    state, metrics = run(train, train.init(jnp.zeros(()), jnp.zeros(1)), data(512), 100)
    assert abs(float(state.params) - MEAN) < 0.3
    assert np.isfinite(metrics["loss"]).all()


def test_a_criterion_without_a_loss_for_the_generator_has_the_reverse_kl():
    critic = training.make_critic_step(linear, optax.sgd(0.1), criterion=criteria.nwj())
    train = make(critic, form="reverse_kl")
    state, _ = run(train, train.init(jnp.zeros(()), jnp.zeros(1)), data(512), 200)
    assert abs(float(state.params) - MEAN) < 0.3
    with pytest.raises(ValueError, match="form: expected reverse_kl for criterion nwj"):
        make(critic)


def test_a_failed_critic_leaves_no_plausible_generator():
    train = make()
    state = train.init(jnp.zeros(()), jnp.ones(1))
    moved, metrics = train(state, data(16).at[3].set(jnp.nan), KEY)
    assert np.isnan(moved.params)
    assert np.isnan(metrics["loss"])


@pytest.mark.parametrize("num_critic_steps", [1, 2])
def test_neither_player_moves_at_a_batch_of_padding(num_critic_steps):
    train = make(optimizer=optax.adam(0.1), num_critic_steps=num_critic_steps)
    state = train.init(jnp.array(0.3), jnp.ones(1))
    padding = training.Batch(data(4), weights_data=jnp.zeros(4))
    moved, metrics = jax.jit(train)(state, padding, KEY)
    waiting = state._replace(step=moved.step, critic=state.critic._replace(step=moved.critic.step))
    assert_trees_equal(moved, waiting)
    assert (moved.step, moved.critic.step) == (1, num_critic_steps)
    assert (metrics["loss"], metrics["gradient_norm"], metrics["is_empty"]) == (0, 0, 1)


def test_of_a_nan_the_generators_own_loss_is_named_first_also_with_weights():
    train = make(has_loss=True, sample_fn=lambda p, key, x: (shifted(p, key, x), p * jnp.nan))
    weighted = training.Batch(data(4), weights_data=jnp.ones(4))
    with pytest.raises(training.NonFiniteError, match="step 1: own_loss is nan"):
        training.fit(
            train, train.init(jnp.zeros(()), jnp.ones(1)), weighted, KEY, num_steps=1,
            progress=False,
        )  # fmt: skip


def test_a_nan_of_the_critic_is_not_blamed_on_the_generator():
    """The square root of a square has no derivative at zero, and the critic moves first."""

    def penalty_fn(params, batch, key):
        return jnp.sqrt(jnp.sum(params**2))

    train = make(make_critic(penalty_fn=penalty_fn))
    with pytest.raises(training.NonFiniteError, match="step 1: critic_gradient_norm is nan"):
        training.fit(
            train, train.init(jnp.zeros(()), jnp.zeros(1)), data(4), KEY, num_steps=1, batch_size=4,
            progress=False,
        )  # fmt: skip


@pytest.mark.bad_input
def test_samples_that_are_not_those_of_the_data_are_named():
    def refused(error, match, sample_fn, x=None, **options):
        train = make(sample_fn=sample_fn, **options)
        with pytest.raises(error, match=match):
            train(train.init(jnp.zeros(()), jnp.ones(1)), data(4) if x is None else x, KEY)

    rounded = lambda p, key, x: jnp.round(shifted(p, key, x)).astype(jnp.int32)
    refused(TypeError, "sample_fn: expected floating samples, which the gradient passes", rounded)
    pair = data(4), jnp.arange(4)
    few = lambda p, key, x: (shifted(p, key, x[0]), x[1][:1])
    refused(ValueError, "sample_fn: expected as many samples in all arrays, got 1 and 4", few, pair)
    alone = lambda p, key, x: shifted(p, key, x[0])
    refused(ValueError, "sample_fn: expected samples of the structure of data", alone, pair)
    with_loss = lambda p, key, x: (shifted(p, key, x), p**2)
    refused(TypeError, "with has_loss=True the number is", with_loss)


def test_integer_samples_are_allowed_to_a_generator_with_a_loss_of_its_own():
    def sample_fn(p, key, x):
        return jnp.round(p + jax.random.normal(key, x.shape)).astype(jnp.int32), (p - 1) ** 2

    critic = training.make_critic_step(lambda slope, x: slope * x, optax.sgd(0.1))
    train = make(critic, sample_fn=sample_fn, has_loss=True)
    state, _ = train(train.init(jnp.zeros(()), jnp.ones(())), jnp.arange(4), KEY)
    np.testing.assert_allclose(state.params, 0.2, rtol=1e-6)


def test_metrics_are_those_of_the_last_critic_step_with_data():
    """The second half of four samples, which every second one is, is padding."""
    x, weights = data(4), jnp.array([1.0, 0.0, 1.0, 0.0])
    train = make(num_critic_steps=2)
    state = train.init(jnp.array(0.3), jnp.ones(1))
    _, metrics = jax.jit(train)(state, training.Batch(x, weights_data=weights), KEY)
    assert metrics["is_empty"] == 0
    assert metrics["overlap"] > 0
    assert metrics["loss"] != 0


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_metrics_have_the_precision_of_the_players(dtype, x64):
    train = make()
    state = train.init(jnp.zeros((), dtype), jnp.zeros(1, dtype))
    _, metrics = jax.eval_shape(train, state, jnp.zeros((4, 1), dtype), KEY)
    names = ("loss", "gradient_norm", "critic_loss", "overlap")
    assert [metrics[name].dtype for name in names] == [dtype] * 4


def test_a_weight_that_is_none_is_seen_in_the_loss():
    def loss(weight):
        train = make(critic_weight=weight)
        return train(train.init(jnp.array(0.3), jnp.ones(1)), data(4), KEY)[1]["loss"]

    found = jax.jit(jax.vmap(loss))(jnp.array([-1.0, 0.0, 1.0]))
    np.testing.assert_array_equal(np.isnan(found), [True, True, False])


@pytest.mark.costly
def test_a_step_may_be_given_the_memory_of_its_state():
    train = make(make_critic(), optax.lbfgs(memory_size=2))
    params = jnp.array([0.3]), jnp.ones(1)
    train = make(train.critic, train.optimizer, lambda p, key, x: shifted(p[0], key, x))
    step = jax.jit(train, donate_argnums=0)
    state = train.init(*params)
    for _ in range(2):
        state, _ = step(state, data(4), KEY)
    assert [float(leaf[0]) for leaf in params] == [np.float32(0.3), 1.0]


WRONG = {
    "a density as the critic": (
        {"critic": training.make_train_step(linear, standard_normal(1), optax.sgd(0.1))},
        TypeError,
        "critic: expected a train step of a log ratio, got one of a log density",
    ),
    "a critic with a noise": (
        {
            "critic": training.make_train_step(
                noise=standard_normal(1), optimizer=optax.sgd(0.1), log_ratio_fn=linear
            )
        },
        ValueError,
        "critic: expected a train step whose noise are the generated samples",
    ),
    "an optimizer as the critic": (
        {"critic": optax.sgd(0.1)},
        TypeError,
        "critic: expected .*TrainStep.*training.make_critic_step",
    ),
    "another form": ({"form": "wasserstein"}, ValueError, "form: expected one of non_saturating"),
    "no critic steps": ({"num_critic_steps": 0}, ValueError, "num_critic_steps: expected"),
    "a negative weight": ({"critic_weight": -1.0}, ValueError, "critic_weight: expected"),
    "has_loss as a word": ({"has_loss": "yes"}, TypeError, "has_loss: expected True or False"),
    "augmentation of one argument": (
        {"augment_fn": lambda x: x},
        TypeError,
        "augment_fn: expected a function of key and samples",
    ),
    "a generator of two arguments": (
        {"sample_fn": lambda params, key: key},
        TypeError,
        "sample_fn: expected a function of parameters, key and data",
    ),
}


@pytest.mark.bad_input
@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_are_named(name):
    options, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        make(**options)


BATCHES = {
    "noise of its own": (training.Batch(data(4), data(4)), "x_noise: expected None"),
    "no samples": (jnp.zeros((0, 1)), "x_data: expected at least one sample"),
    "a number that does not divide": (data(5), "x_data: expected a multiple of num_critic_steps"),
    "weights of another length": (
        training.Batch(data(4), weights_data=jnp.ones(3)),
        "weights_data: expected one weight per sample",
    ),
}


@pytest.mark.bad_input
@pytest.mark.parametrize("name", BATCHES)
def test_wrong_batches_are_named(name):
    batch, message = BATCHES[name]
    train = make(num_critic_steps=2)
    with pytest.raises(ValueError, match=message):
        train(train.init(jnp.zeros(()), jnp.ones(1)), batch, KEY)


@pytest.mark.bad_input
def test_samples_of_another_kind_are_named():
    state = make().init(jnp.zeros(()), jnp.ones(1))
    with pytest.raises(TypeError, match="sample_fn: expected a pair of samples and a loss"):
        make(has_loss=True)(state, data(4), KEY)
    with pytest.raises(TypeError, match="the samples of sample_fn: expected an array"):
        make(sample_fn=lambda params, key, x: None)(state, data(4), KEY)
    with pytest.raises(TypeError, match="the result of augment_fn: expected an array"):
        make(augment_fn=lambda key, x: None)(state, data(4), KEY)
    for sample_fn in (
        lambda p, key, x: x[:, 0],
        lambda p, key, x: (x, x),
        lambda p, key, x: (p, x),
    ):
        with pytest.raises(ValueError, match="sample_fn: expected samples"):
            make(sample_fn=sample_fn)(state, data(4), KEY)


@pytest.mark.bad_input
def test_states_of_another_step_are_named():
    state = make().init(jnp.zeros(()), jnp.ones(1))
    with pytest.raises(TypeError, match="state: expected a TwoPlayerState"):
        make()(state.critic, data(4), KEY)
    with pytest.raises(TypeError, match="the batch comes before the key"):
        make()(state, KEY, data(4))
    adam = make(optimizer=optax.adam(0.1))
    exchanged = adam.init(jnp.zeros(2), jnp.ones(1)).opt_state
    for wrong in (state, state._replace(opt_state=exchanged)):
        with pytest.raises(ValueError, match="state: expected one from the init"):
            adam(wrong, data(4), KEY)


@pytest.mark.bad_input
def test_initial_arguments_are_named():
    with pytest.raises(ValueError, match="log_partition: expected one number, got shape"):
        make().init(jnp.zeros(()), jnp.ones(1), log_partition=jnp.zeros(1))
    with pytest.raises(TypeError, match="log_partition: expected a number"):
        make().init(jnp.zeros(()), jnp.ones(1), log_partition="zero")
    two_sets = optax.lookahead(optax.sgd(0.1), sync_period=5, slow_step_size=0.5)
    for train in (make(optimizer=two_sets), make(make_critic(optimizer=two_sets))):
        with pytest.raises(ValueError, match="optimizer: expected one that keeps one set"):
            train.init(jnp.zeros(()), jnp.ones(1))


def test_a_condition_of_weight_zero_may_be_nan():
    """The generator sees the data as conditions; its derivative at NaN would be NaN."""
    critic = training.make_critic_step(lambda slope, x: x @ slope, optax.sgd(0.1))
    train = critics.make_two_player_step(lambda scale, key, x: scale * x, critic, optax.sgd(0.1))
    state, x = train.init(jnp.array(0.5), jnp.ones(1)), jnp.arange(8.0)[:, None]
    weights = jnp.ones(8).at[5].set(0)
    first, second = (
        train(state, training.Batch(data, weights_data=weights), jax.random.key(0))[0]
        for data in (x, x.at[5].set(jnp.nan))
    )
    assert jnp.isfinite(second.params)
    jax.tree.map(np.testing.assert_array_equal, first, second)
