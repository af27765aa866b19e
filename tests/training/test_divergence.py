"""After a divergence: the checkpoint that is called good is one, and a new run starts from any."""

import shutil
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nce_jax import losses, noise, training
from tests.slow import slow_but

X_DATA = -3 + jax.random.normal(jax.random.key(0), (256, 1))


def train_step(optimizer):
    """The parameter moves below zero, where the model has no logarithm."""

    def log_density_fn(params, x):
        return jnp.log(params["a"]) * x[:, 0]

    return training.make_train_step(log_density_fn, noise.standard_normal(1), optimizer)


def run(folder, optimizer=None, key=2, num_steps=200, every=2, **options):
    step = train_step(optimizer or optax.sgd(0.5))
    return training.fit(
        step,
        step.init({"a": jnp.array(1.0)}),
        X_DATA,
        jax.random.key(key),
        num_steps=num_steps,
        batch_size=64,
        folder=folder,
        resume=True,
        checkpoint_every=every,
        log_every=every,
        progress=False,
        **options,
    )


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    """A run with a checkpoint after every step, so that the last is one where it diverges."""
    folder = tmp_path_factory.mktemp("runs") / "diverged"
    with jax.numpy_rank_promotion("allow"), pytest.raises(training.NonFiniteError) as caught:
        run(folder, every=1)
    return folder, caught.value


@pytest.fixture
def diverged(origin, tmp_path):
    folder = tmp_path / "diverged"
    shutil.copytree(origin[0], folder)
    return folder, origin[1].step, int(origin[1].checkpoint.name)


def steps_of(folder):
    return sorted(int(path.stem) for path in (folder / "checkpoints").glob("*.json"))


@pytest.mark.slow
def test_the_loss_after_the_good_checkpoint_was_finite(origin):
    """The one at whose parameters the loss was NaN is whole, and no good."""
    folder, error = origin
    assert steps_of(folder)[-1] == error.step - 1
    assert int(error.checkpoint.name) == error.step - 2
    assert "training.load_checkpoint" in str(error)
    assert "allow_changes=('optimizer',)" in str(error)


@pytest.mark.parametrize(
    ("every", "keep"),
    [*(pytest.param(every, 1, marks=pytest.mark.slow) for every in (1, 2)), (5, 3)],
)
def test_there_is_a_good_checkpoint_whatever_is_kept(tmp_path, every, keep):
    with pytest.raises(training.NonFiniteError) as caught:
        run(tmp_path, every=every, keep=keep)
    initial = train_step(optax.sgd(0.5)).init({"a": jnp.ones(())})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", training.CheckpointWarning)  # if one is passed over
        good = training.load_checkpoint(tmp_path, initial)
    assert int(good.step) == int(caught.value.checkpoint.name) <= caught.value.step - 2
    assert good.params["a"] > 0


CHANGES = {
    "a lower rate": ({"optimizer": optax.sgd(1e-3)}, ("optimizer",)),
    "clipping": (
        {"optimizer": optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(1e-3))},
        ("optimizer",),
    ),
    "another optimizer": ({"optimizer": optax.adam(1e-3)}, ("optimizer",)),
    "a lower rate and another key": (
        {"optimizer": optax.sgd(1e-3), "key": 3},
        ("optimizer", "key"),
    ),
}


@pytest.mark.parametrize("name", slow_but(["a lower rate"], CHANGES))
@pytest.mark.costly
def test_the_run_goes_on_with_a_change_that_is_insisted_on(diverged, name):
    folder, step, good = diverged
    options, allowed = CHANGES[name]
    with pytest.warns(
        training.CheckpointWarning,
        match=f"checkpoints/{step - 1}: loss was nan at step {step}; using .*/{good} instead",
    ):
        result = run(folder, num_steps=step + 6, allow_changes=allowed, **options)
    assert np.isfinite(result.history["loss"]).all()
    assert result.state.step == step + 6


@pytest.mark.costly
def test_without_a_change_it_diverges_at_the_same_step_again(diverged):
    folder, step, good = diverged
    with pytest.warns(training.CheckpointWarning), pytest.raises(training.NonFiniteError) as again:
        run(folder)
    assert (again.value.step, int(again.value.checkpoint.name)) == (step, good)


def test_any_checkpoint_starts_a_new_run(diverged, tmp_path):
    folder, *_ = diverged
    steps = steps_of(folder)
    step = train_step(optax.sgd(1e-3))
    initial = step.init({"a": jnp.array(1.0)})
    for number in steps:  # also the one where it diverged, to be looked at
        assert training.load_checkpoint(folder, initial, step=number).step == number
    earlier = training.load_checkpoint(folder, initial, step=steps[0])
    options = {"batch_size": 64, "num_steps": 5, "progress": False}
    new = training.fit(step, earlier, X_DATA, jax.random.key(9), folder=tmp_path / "new", **options)
    assert new.state.step == steps[0] + 5
    with pytest.raises(FileNotFoundError, match=f"of step 3, got .* of steps .{steps[0]}"):
        training.load_checkpoint(folder, initial, step=3)
    with pytest.raises(FileNotFoundError, match="expected a run with a good checkpoint, got"):
        training.load_checkpoint(tmp_path / "nothing", initial)
    assert not (tmp_path / "nothing").exists()


def test_a_damaged_checkpoint_is_not_loaded(diverged):
    folder, _, good = diverged
    record = folder / "checkpoints" / f"{good}.json"
    record.write_text(record.read_text().replace("params", "parameters"))
    initial = train_step(optax.sgd(1e-3)).init({"a": jnp.ones(())})
    with pytest.raises(ValueError, match="step: expected a complete checkpoint, got .*: damaged"):
        training.load_checkpoint(folder, initial, step=good)
    with pytest.warns(
        training.CheckpointWarning, match=f"loss was nan .*/{good}: damaged .*/{good - 1} instead"
    ):
        assert training.load_checkpoint(folder, initial).step == good - 1


def of_optimizer(state):
    return {
        jax.tree_util.keystr(path[-2:]): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(state.opt_state)
    }


@pytest.mark.parametrize(
    ("before", "after", "fresh"),
    [
        (optax.adam(1e-3), optax.adam(1e-4), ()),
        (optax.adam(1e-3), optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3)), ()),
        (optax.adam(1e-3), optax.adam(optax.linear_schedule(1e-3, 0.0, 9)), ("count",)),
        (optax.adam(1e-3), optax.sgd(1e-3, momentum=0.9), ("trace",)),
        (optax.sgd(1e-3), optax.adam(1e-3), ("count", "mu", "nu")),
        (optax.adam(1e-3), optax.sgd(1e-3), ()),
    ],
)
def test_the_optimizers_state_is_taken_as_far_as_it_fits(tmp_path, before, after, fresh):
    saved = run(tmp_path, before, num_steps=4).state
    initial = train_step(after).init({"a": jnp.array(7.0)})
    if fresh:
        with pytest.warns(
            training.CheckpointWarning, match="nothing fits .*, which begin anew"
        ) as w:
            loaded = training.load_checkpoint(tmp_path, initial)
        assert all(name in str(w[0].message) for name in fresh)
    else:
        loaded = training.load_checkpoint(tmp_path, initial)
    assert jax.tree.structure(loaded) == jax.tree.structure(initial)
    assert loaded.params["a"] == saved.params["a"] != 7
    old, new, start = (of_optimizer(state) for state in (saved, loaded, initial))
    moments = [name for name in new if "mu" in name or "nu" in name]
    for name in moments:
        assert new[name] == (start if fresh == ("count", "mu", "nu") else old)[name]


def test_other_parameters_are_refused(tmp_path):
    run(tmp_path, optax.sgd(1e-3), num_steps=2)
    other = train_step(optax.sgd(1e-3)).init({"b": jnp.ones(())})
    with pytest.raises(ValueError, match=r"state: expected no array at .*\['b'\] as in .*/2, got"):
        training.load_checkpoint(tmp_path, other)


@pytest.mark.costly
@pytest.mark.parametrize("is_safe", [False, True])
def test_nan_from_padding_is_explained_and_the_documented_form_has_none(is_safe):
    """A row of zeros has weight zero, and yet 0/0 in the derivative of its norm."""
    x = jax.random.normal(jax.random.key(0), (2, 8, 3)).at[:, 6:].set(0.0)
    weights = (jnp.arange(8) < 6).astype(float)

    def unit(z):
        square = jnp.sum(z**2, axis=-1, keepdims=True)
        if is_safe:
            return z * jax.lax.rsqrt(jnp.maximum(square, 1e-12))
        return z / jnp.linalg.norm(z, axis=-1, keepdims=True)

    def step(params, batch, key):
        def loss_fn(params):
            return losses.clip_loss(unit(batch[0] @ params), unit(batch[1]), weights=weights)

        loss, gradient = jax.value_and_grad(loss_fn)(params)
        return params - 0.1 * gradient, {"loss": loss}

    def fit():
        key = jax.random.key(1)
        return training.fit(step, jnp.eye(3), lambda _: tuple(x), key, num_steps=3, progress=False)

    if is_safe:
        assert np.isfinite(fit().state).all()
    else:
        with pytest.raises(training.NonFiniteError, match=r"neither helps against 0/0, .* weight"):
            fit()
