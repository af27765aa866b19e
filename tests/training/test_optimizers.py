"""Optimizers that need the loss beside its gradient: beside optax by hand, on meshes, and refused
where there is no loss.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nce_jax
from nce_jax import adaptive_noise, critics, latent, noise, samplers, training
from tests.training.problems import samples, tilted_normal

KEY = jax.random.key(0)
BY_NAME = {
    "lbfgs": lambda: optax.lbfgs(),
    "lbfgs_backtracking": lambda: optax.lbfgs(
        linesearch=optax.scale_by_backtracking_linesearch(20, store_grad=True)
    ),
    "backtracking": lambda: optax.chain(
        optax.sgd(1.0), optax.scale_by_backtracking_linesearch(max_backtracking_steps=15)
    ),
    "polyak": lambda: optax.polyak_sgd(max_learning_rate=0.5),
    "plateau": lambda: optax.chain(optax.adam(0.1), optax.contrib.reduce_on_plateau(patience=2)),
    # It takes keywords of its own and refuses others.
    "sharpness_aware": lambda: optax.contrib.sam(optax.sgd(0.3), optax.sgd(0.02)),
    "injected": lambda: optax.inject_hyperparams(optax.lbfgs, static_args="memory_size")(
        learning_rate=1.0
    ),
}
TREATMENTS = {
    "solved": training.solved(),
    "fixed_steps": training.solved(fixed_steps=6),
    "held": training.held(),
    "bar": training.bar_step(),
    "joint": training.joint_gradient(),
}


def quadratic():
    """phi = theta_0 x + theta_1 x^2 + log N(x; 0, 1): convex in theta, with F."""
    standard = noise.standard_normal(1)
    params = {"linear": jnp.zeros(()), "square": jnp.zeros(())}

    def log_density_fn(params, x):
        x = x[:, 0]
        return params["linear"] * x + params["square"] * x**2 - x**2 / 2

    return params, log_density_fn, standard


def fixed_batch():
    """Samples, and weights of some of them."""
    weights = jnp.asarray(np.random.default_rng(2).uniform(0.5, 2.0, 512))
    return training.Batch(0.8 * samples(1.0), samples(0.0, 700, seed=1), weights_data=weights)


def make_step(optimizer, treatment=None, **options):
    _, log_density_fn, standard = quadratic()
    treatment = treatment or training.solved()
    return training.make_train_step(
        log_density_fn, standard, optimizer, treatment=treatment, **options
    )


def loss_by_hand(pair, batch, name):
    """The weighted NCE loss, by the public functions; F solved for where it is."""
    params, log_partition = pair
    _, log_density_fn, standard = quadratic()
    ratios = [
        log_density_fn(params, x) - standard.log_prob(x) for x in (batch.x_data, batch.x_noise)
    ]
    if name == "solved":
        solution = nce_jax.solve_log_partition(
            *map(jax.lax.stop_gradient, ratios), weights_data=batch.weights_data
        )
        log_partition = solution.log_partition
    return nce_jax.nce_loss(*ratios, log_partition=log_partition, weights_data=batch.weights_data)


def spy():
    """An optimizer that stays, and keeps the loss elsewhere and the gradient of the loss here."""

    def update(gradient, state, params, *, value, grad, value_fn):
        del state, value
        elsewhere = value_fn(jax.tree.map(lambda leaf: leaf + 0.3, params))
        here = jax.grad(value_fn)(params)
        error = optax.tree.norm(optax.tree.sub(here, grad))
        return optax.tree.zeros_like(gradient), {"elsewhere": elsewhere, "error": error}

    zeros = {"elsewhere": jnp.zeros(()), "error": jnp.zeros(())}
    return optax.GradientTransformationExtraArgs(lambda params: zeros, update)


@pytest.mark.costly
@pytest.mark.parametrize("name", ["solved", "held", "joint"])
def test_the_loss_as_a_function_is_that_of_the_batch_under_the_treatment(name, x64):
    train, (params, *_) = make_step(spy(), TREATMENTS[name]), quadratic()
    state, _ = jax.jit(train)(train.init(params, log_partition=0.9), fixed_batch(), KEY)
    moved = jax.tree.map(lambda leaf: leaf + 0.3, params), 1.2 if name == "joint" else 0.9
    found = {key: optax.tree.get(state.opt_state, key) for key in ("elsewhere", "error")}
    expected = loss_by_hand(moved, fixed_batch(), name)
    np.testing.assert_allclose(found["elsewhere"], expected, rtol=1e-12)
    np.testing.assert_allclose(found["error"], 0, atol=1e-12)


@pytest.mark.costly
@pytest.mark.parametrize(
    ("name", "optimizer"),
    [
        ("solved", "lbfgs"),
        ("held", "lbfgs"),
        ("joint", "lbfgs"),
        ("solved", "lbfgs_backtracking"),
        ("held", "injected"),
    ],
)
def test_a_line_search_is_that_of_optax_on_the_same_loss(name, optimizer, x64):
    """Six steps from a given start; the two differ in the order of sums alone."""
    batch, move = fixed_batch(), BY_NAME[optimizer]()
    train = make_step(move, TREATMENTS[name])
    params, *_ = quadratic()
    state, step = train.init(params, log_partition=0.9), jax.jit(train)
    rest = jnp.asarray(0.9)

    def loss_fn(moved):
        pair = moved if name == "joint" else (moved, rest)
        return loss_by_hand(pair, batch, name)

    @jax.jit
    def by_hand(moved, opt_state):
        value, gradient = jax.value_and_grad(loss_fn)(moved)
        updates, opt_state = move.update(
            gradient, opt_state, moved, value=value, grad=gradient, value_fn=loss_fn
        )
        return optax.apply_updates(moved, updates), opt_state, value

    moved = (params, rest) if name == "joint" else params
    opt_state = move.init(moved)
    for _ in range(6):
        state, metrics = step(state, batch, KEY)
        moved, opt_state, value = by_hand(moved, opt_state)
        expected = moved if name == "joint" else (moved, state.log_partition)
        for got, wanted in zip(
            jax.tree.leaves((state.params, state.log_partition)),
            jax.tree.leaves(expected),
            strict=True,
        ):
            np.testing.assert_allclose(got, wanted, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(metrics.loss, value, rtol=1e-12)


@pytest.mark.costly
def test_lbfgs_finds_the_root_of_adam_in_far_fewer_steps(x64):
    batch = fixed_batch()
    params, *_ = quadratic()

    def run(optimizer, num_steps):
        train = make_step(optimizer)

        def body(state, _):
            return train(state, batch, KEY)

        return jax.jit(lambda: jax.lax.scan(body, train.init(params), None, num_steps))()

    state, metrics = run(optax.lbfgs(), 12)
    slow, of_slow = run(optax.adam(0.05), 1500)
    assert metrics.gradient_norm[-1] < 1e-9
    assert of_slow.gradient_norm[12] > 1e-3
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), state.params, slow.params
    )
    np.testing.assert_allclose(state.log_partition, slow.log_partition, atol=1e-5)


@pytest.mark.costly
@pytest.mark.parametrize(
    ("name", "treatment"),
    [*((name, "solved") for name in BY_NAME), *(("lbfgs", name) for name in list(TREATMENTS)[1:])],
)
def test_every_optimizer_lowers_the_loss_and_lbfgs_under_every_treatment(name, treatment):
    train = make_step(BY_NAME[name](), TREATMENTS[treatment])
    params, *_ = quadratic()
    state, step = train.init(params, log_partition=0.9), jax.jit(train)
    losses = []
    for _ in range(8):
        state, metrics = step(state, fixed_batch(), KEY)
        losses.append(float(metrics.loss))
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0] - 0.05
    # Where F is its own, and the step is no search along F, it is that of the treatment.
    if treatment == "held":
        assert float(state.log_partition) == pytest.approx(0.9)


def test_reduce_on_plateau_lowers_the_rate():
    """On one batch the loss of a converged run is constant: a plateau."""
    plateau = optax.contrib.reduce_on_plateau(factor=0.5, patience=3, rtol=0, atol=1e-4)
    train = make_step(optax.chain(optax.sgd(0.3), plateau))
    params, *_ = quadratic()

    def body(state, _):
        state, _ = train(state, fixed_batch(), KEY)
        return state, optax.tree.get(state.opt_state, "scale")

    _, scale = jax.jit(lambda: jax.lax.scan(body, train.init(params), None, 120))()
    assert scale[0] == 1
    assert 0 < scale[-1] <= 0.5**5
    assert set(np.diff(np.log2(scale)).round(6)) == {0.0, -1.0}


@pytest.mark.costly
@pytest.mark.parametrize("name", ["lbfgs", "plateau"])
def test_eight_devices_are_one(name):
    params, *_ = quadratic()
    batch = training.Batch(0.8 * samples(1.0))
    results = []
    for mesh in (None, training.make_mesh()):
        train = make_step(BY_NAME[name](), mesh=mesh)
        state, step = train.init(params), jax.jit(train)
        if mesh is not None:
            state = training.shard_state(state, mesh)
            step = training.jit_train_step(train, state)
        for _ in range(4):
            state, metrics = step(state, batch, KEY)
        results.append([*jax.tree.leaves(state.params), state.log_partition, metrics.loss])
    # Sums over devices round differently, and a search amplifies it where its tests are close.
    np.testing.assert_allclose(*results, rtol=2e-4)


@pytest.mark.costly
def test_stages_are_searched_along_together():
    train = training.make_stage_step(
        lambda theta, x: x[..., 0] * theta[:, :1] + x[..., 0] ** 2 * theta[:, 1:],
        noise.standard_normal(1),
        optax.lbfgs(),
        noise_levels=[0.0, 0.8, 1.0],
    )
    state, step = train.init(jnp.zeros((2, 2))), jax.jit(train)
    batch = training.Batch(2 + 0.3 * samples(0.0), samples(0.0, seed=1))
    losses = []
    norms = []
    for _ in range(15):
        state, metrics = step(state, batch, KEY)
        losses.append(float(metrics.loss))
        norms.append(float(metrics.gradient_norm))
    assert (np.diff(losses) < 1e-6).all()
    assert norms[-1] < norms[0] / 10


@pytest.mark.costly
def test_a_run_with_lbfgs_is_resumed(tmp_path):
    train = make_step(optax.lbfgs())
    params, *_ = quadratic()
    run = functools.partial(
        training.fit, train, train.init(params), 0.8 * samples(1.0), KEY,
        batch_size=256, checkpoint_every=2, log_every=1, progress=False,
    )  # fmt: skip
    whole = run(num_steps=4, folder=tmp_path / "whole")
    run(num_steps=2, folder=tmp_path / "parts")
    resumed = run(num_steps=4, folder=tmp_path / "parts", resume=True)
    jax.tree.map(np.testing.assert_array_equal, resumed.state.params, whole.state.params)


@pytest.mark.costly
def test_a_flow_and_a_generator_take_lbfgs():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(200, 2)) ** 3, jnp.float32)
    fitted = adaptive_noise.fit_flow(
        KEY, x, num_steps=5, batch_size=200, optimizer=optax.lbfgs(), evaluate_every=1,
        num_layers=2, hidden=(4,), num_bins=3, progress=False,
    )  # fmt: skip
    losses = fitted.history["loss"]
    assert losses[-1] < losses[0] - 0.1
    train = latent.make_latent_step(
        latent.gaussian_likelihood(lambda params, z: z * params["decode"], scale=0.5),
        latent.amortized(lambda params, x: (params["encode"] * x, 0 * x)),
        optax.lbfgs(),
        prior=None,
    )
    state = train.init({"decode": jnp.ones(2), "encode": jnp.full(2, 0.1)})
    # The draws of step 0 at every step: the same loss, which then falls.
    losses = []
    step = jax.jit(train)
    for _ in range(4):
        state, metrics = step(state._replace(step=jnp.int32(0)), x, KEY)
        losses.append(float(metrics["loss"]))
    assert (np.diff(losses) < 0).all()


@pytest.mark.parametrize("name", ["lbfgs", "backtracking", "plateau", "injected"])
def test_steps_without_a_loss_refuse_it_by_name(name):
    params, _, standard = tilted_normal()
    optimizer = BY_NAME[name]()
    rule = nce_jax.adaptive_magnification()
    train = make_step(optimizer, magnification_rule=rule)
    with pytest.raises(
        ValueError, match=r"optimizer: expected .* needs .*value.*magnification_rule"
    ):
        train.init(params)
    chains = latent.make_chain_step(
        lambda theta, x: x @ theta, standard, optimizer, kernel=samplers.langevin(0.1), num_steps=2
    )
    with pytest.raises(ValueError, match=r"optimizer: .* a step of chains"):
        chains.init(params)
    table = {"bias": jnp.zeros(6)}
    rows = training.touched_rows(jnp.array([4, 1]), num_rows=6)
    gradient = training.gather_rows(table, rows)
    with pytest.raises(ValueError, match=r"optimizer: .* a step of rows"):
        training.update_rows(optimizer, gradient, optimizer.init(table), table, rows)


@pytest.mark.costly
def test_a_line_search_over_some_of_the_parameters_leaves_the_others():
    """Labels are over the parameters, without F; optax hands the search the others masked."""

    def log_density_fn(params, x):
        return x @ params["mean"] - jnp.sum(x**2, axis=-1) * jnp.exp(params["scale"]) / 2

    labels = {"mean": "search", "scale": "rest"}
    parts = {"search": optax.lbfgs(), "rest": optax.set_to_zero()}
    optimizer = optax.partition(parts, labels, mask_compatible_extra_args=True)
    train = training.make_train_step(log_density_fn, noise.standard_normal(2), optimizer)
    state = train.init({"mean": jnp.zeros(2), "scale": jnp.zeros(())})
    x_data = 1 + jax.random.normal(jax.random.key(0), (200, 2))
    losses = []
    for _ in range(4):
        state, metrics = jax.jit(train)(state, x_data, jax.random.key(1))
        losses.append(float(metrics.loss))
    assert losses[-1] < losses[0]
    assert state.params["scale"] == 0


def by_parts():
    """LBFGS for "a", which receives the other parameter masked; plain descent for "b"."""
    parts = {"search": optax.lbfgs(), "rest": optax.sgd(0.1)}
    labels = {"a": "search", "b": "rest"}
    return optax.partition(parts, labels, mask_compatible_extra_args=True)


def critic_of(optimizer, **options):
    return training.make_critic_step(
        lambda params, x: x[:, 0] * (params["a"] + params["b"]), optimizer,
        penalty_fn=lambda params, batch, key: params["a"] ** 2 + params["b"] ** 2, **options,
    )  # fmt: skip


PARTLY_SEARCHED = {
    "penalty": lambda: critic_of(by_parts()),
    "penalty_and_f": lambda: critic_of(
        optax.lbfgs(), treatment=training.joint_gradient(optax.lbfgs())
    ),
    "two_players": lambda: critics.make_two_player_step(
        lambda params, key, x: params["a"] + params["b"] * jax.random.normal(key, x.shape),
        critic_of(optax.sgd(0.1)),
        by_parts(),
    ),
    "latent": lambda: latent.make_latent_step(
        latent.gaussian_likelihood(lambda params, z: z + params["a"], scale=0.5),
        latent.amortized(lambda params, x: (params["b"] * x, 0 * x)),
        by_parts(),
        prior=None,
    ),
}


@pytest.mark.costly
@pytest.mark.parametrize("name", PARTLY_SEARCHED)
def test_every_step_takes_a_search_over_a_part_of_the_parameters(name):
    train, x = PARTLY_SEARCHED[name](), 1 + jax.random.normal(KEY, (32, 1))
    params = {"a": jnp.array(0.1), "b": jnp.array(0.5)}
    state = train.init(params, params) if name == "two_players" else train.init(params)
    batch = training.Batch(x, x - 1) if name.startswith("penalty") else x
    new, _ = jax.jit(train)(state, batch, KEY)
    for part in ("a", "b"):
        assert jnp.isfinite(new.params[part])
        assert new.params[part] != params[part]


def _trained(optimizer, num_steps=4):
    params, log_density_fn, standard = quadratic()
    train = training.make_train_step(log_density_fn, standard, optimizer)
    state = train.init(params)
    for _ in range(num_steps):
        state, _ = train(state, fixed_batch(), KEY)
    return state.params


def test_keywords_are_left_out_for_a_part_of_a_chain_too():
    """A chain takes all of them and hands them on to a part that refuses them."""
    alone = BY_NAME["sharpness_aware"]()
    chained = optax.chain(optax.identity(), BY_NAME["sharpness_aware"]())
    for optimizer in (chained, optax.named_chain(("a", optax.identity()), ("b", alone))):
        jax.tree.map(np.testing.assert_array_equal, _trained(optimizer), _trained(alone))


def test_parts_of_a_chain_that_do_not_go_together_are_named():
    search = optax.scale_by_backtracking_linesearch(max_backtracking_steps=4)
    optimizer = optax.chain(BY_NAME["sharpness_aware"](), search)
    with pytest.raises(ValueError, match="optimizer: expected parts that go together, got one tha"):
        _trained(optimizer, 1)
