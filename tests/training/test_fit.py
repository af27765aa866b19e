"""The training loop: what it records, what it refuses, and what stops it."""

import json
import pickle
import warnings
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nce_jax
from nce_jax import training
from nce_jax.log_partition import Status
from tests.training.problems import assert_trees_equal, samples, tilted_normal

KEY = jax.random.key(1)
X = np.ones((9, 1), np.float32)


def make_problem(treatment):
    params, log_density_fn, noise = tilted_normal()
    optimizer = optax.adam(0.05)
    train = training.make_train_step(log_density_fn, noise, optimizer, treatment=treatment)
    return jax.jit(train), train.init(params)


@pytest.fixture(name="problem", scope="module")
def _problem():
    """A step and the state before it; with F held, it compiles fast."""
    with jax.numpy_rank_promotion("allow"):
        return make_problem(training.held())


def fit(problem, batches=None, **options):
    step, state = problem
    batches = samples(2.0, 1000) if batches is None else batches
    options = {
        "batch_size": 100 if hasattr(batches, "shape") else None,
        "log_every": 10,
        "progress": False,
    } | options
    return training.fit(step, state, batches, KEY, **options)


@pytest.mark.costly
def test_it_is_the_bare_step_over_the_same_batches(problem):
    """Oracle: a plain Python loop over a list of batches."""
    step, state = problem
    batches = [samples(2.0, 64, seed=seed) for seed in range(5)]
    result = fit(problem, batches, num_steps=12)
    losses = []
    for number in range(12):
        state, metrics = step(state, batches[number % 5], jax.random.split(KEY)[0])
        losses.append(float(metrics.loss))
    assert_trees_equal(result.state, state)
    np.testing.assert_allclose(
        result.history["loss"], [np.mean(losses[:10]), np.mean(losses[10:])], rtol=1e-6
    )
    assert result.history["step"].tolist() == [10, 12]


def test_the_callers_state_survives(problem):
    _, state = problem
    fit(problem, num_steps=3)
    assert np.isfinite(state.params).all()


@pytest.mark.parametrize("form", ["list", "function", "array"])
def test_batches_come_in_three_forms(problem, form):
    x_data = samples(2.0, 50)
    batches = {"list": [x_data], "function": lambda step: x_data, "array": x_data}[form]
    whole = fit(problem, batches, batch_size=None, num_steps=5)
    assert_trees_equal(whole.state, fit(problem, [x_data], num_steps=5).state)


def batch_sums(problem, num_steps, batch_size, batch):
    """What a step sees, through its metrics: a step that changes nothing and reports its batch."""

    def step(state, batch, key):
        return state, {
            "data": batch.x_data.sum(),
            "noise": batch.x_noise.sum(),
            "pair": batch.weights_data.sum(),
        }

    return training.fit(
        step,
        {"nothing": jnp.zeros(1)},
        batch,
        KEY,
        num_steps=num_steps,
        batch_size=batch_size,
        log_every=1,
        progress=False,
    ).history


def test_every_pass_shows_every_sample_once_each_side_by_its_own_shuffle(problem):
    x_data, x_noise = 2.0 ** jnp.arange(8), 2.0 ** jnp.arange(6)
    columns = batch_sums(problem, 12, 2, training.Batch(x_data, x_noise, weights_data=x_data))
    passes = columns["data"].reshape(3, 4)
    assert (passes.sum(axis=1) == 255).all()  # powers of two: every bit once
    assert (columns["noise"].reshape(4, 3).sum(axis=1) == 63).all()
    assert (columns["pair"] == columns["data"]).all()  # weights stay with their samples
    assert len({tuple(row) for row in passes}) > 1  # another order in another pass


def test_records_are_json_lines(problem, tmp_path):
    result = fit(
        problem,
        num_steps=40,
        folder=tmp_path,
        checkpoint_every=20,
        evaluate=lambda state: {"F": state.log_partition},
    )
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [10, 20, 30, 40]
    expected = {
        "loss",
        "log_partition",
        "gradient_norm",
        "num_evaluations",
        "overlap",
        "failed_solves",
        "low_overlap",
    }
    assert expected < records[0].keys()
    np.testing.assert_array_equal(result.history["loss"], [record["loss"] for record in records])
    (evaluation,) = [
        json.loads(line) for line in (tmp_path / "evaluations.jsonl").read_text().splitlines()
    ]
    assert len(evaluation.pop("checksum")) == 8
    assert evaluation == {"step": 40, "F": float(result.state.log_partition)}


def test_evaluations_come_when_asked(problem):
    result = fit(
        problem, num_steps=45, evaluate=lambda state: {"step_seen": state.step}, evaluate_every=20
    )
    assert (
        result.evaluations["step_seen"].tolist()
        == result.evaluations["step"].tolist()
        == [20, 40, 45]
    )


@pytest.mark.costly
def test_the_overlap_is_that_of_the_diagnostics(problem):
    _, log_density_fn, noise = tilted_normal()
    batch = training.Batch(samples(2.0, 300), samples(0.0, 300, seed=1))
    state, expected = problem[1], {}
    s_data, s_noise = (
        log_density_fn(state.params, x) - noise.log_prob(x) for x in (batch.x_data, batch.x_noise)
    )
    expected["solved"] = nce_jax.overlap(s_data, s_noise)
    for name, treatment in (("solved", training.solved()), ("held", training.held())):
        optimizer = optax.sgd(0.1)
        step = training.make_train_step(log_density_fn, noise, optimizer, treatment=treatment)
        metrics = jax.jit(step)(step.init(state.params), batch, KEY)[1]
        expected[name] = metrics.overlap
    np.testing.assert_allclose(expected["solved"], nce_jax.overlap(s_data, s_noise), rtol=1e-5)
    assert expected["held"] < expected["solved"]  # F = 0 is not the root: a lower bound


@pytest.mark.costly
def test_a_log_ratio_is_the_same_model(x64):
    """phi = s + log q, given as s: the same step, whether or not anybody evaluates log q."""
    params, log_density_fn, noise = tilted_normal()
    optimizer, x_data = optax.sgd(1.0), samples(2.0)
    train = training.make_train_step(log_density_fn, noise, optimizer)
    state = train.init(params)
    absolute, of_absolute = train(state, x_data, KEY)
    step_of_ratio = training.make_train_step(
        noise=noise, optimizer=optimizer, log_ratio_fn=lambda params, x: x[:, 0] * params[0]
    )
    # A log ratio does not tell log density and log noise apart.
    relative, of_relative = step_of_ratio(state, x_data, KEY)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-10),
        (absolute, of_absolute._replace(faults=None)),
        (relative, of_relative._replace(faults=None)),
    )
    samples_only = training.make_train_step(
        optimizer=optimizer, log_ratio_fn=lambda params, x: x[:, 0] * params[0]
    )
    batch = training.Batch(x_data, samples(0.0))
    assert np.isfinite(samples_only(state, batch, KEY)[1].loss)
    with pytest.raises(TypeError, match="noise: expected a distribution, or a Batch with x_noise"):
        samples_only(state, x_data, KEY)


def test_a_non_finite_loss_stops_the_run_and_says_where(tmp_path):
    problem = make_problem(training.solved())

    def batches(step):
        return samples(2.0, 64) * (jnp.nan if step == 26 else 1.0)

    message = r"step 27: loss is nan \(solver status NONFINITE\).*checkpoints/20"
    with pytest.raises(training.NonFiniteError, match=message) as error:
        fit(problem, batches, num_steps=100, folder=tmp_path, checkpoint_every=10, log_every=10)
    assert (error.value.step, error.value.metric, error.value.checkpoint.name) == (27, "loss", "20")
    steps = [
        json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()
    ]
    assert steps == [10, 20]
    healthy = fit(
        problem,
        lambda step: samples(2.0, 64),
        num_steps=30,
        folder=tmp_path,
        resume=True,
        checkpoint_every=10,
    )
    assert np.isfinite(healthy.state.params).all()


def test_no_checkpoint_of_non_finite_parameters(tmp_path):
    """The last update may break the parameters after the loss was still fine."""

    def step(state, batch, key):
        return jax.tree.map(lambda leaf: leaf * jnp.inf, state), {"loss": jnp.float32(0)}

    message = r"step 3: parameter \['w'\] is inf; there is no good checkpoint"
    for folder in (tmp_path, None):
        with pytest.raises(training.NonFiniteError, match=message):
            training.fit(
                step,
                {"w": jnp.ones(2)},
                [jnp.ones(1)],
                KEY,
                num_steps=3,
                folder=folder,
                progress=False,
            )


def test_an_infinite_normalizer_is_no_good_checkpoint(tmp_path):
    class State(NamedTuple):
        params: jax.Array
        log_partition: jax.Array

    def step(state, batch, key):
        return state._replace(log_partition=state.log_partition * jnp.inf), {"loss": jnp.float32(0)}

    options = {
        "num_steps": 3,
        "folder": tmp_path,
        "checkpoint_every": 1,
        "log_every": 1,
        "progress": False,
    }
    with pytest.raises(
        training.NonFiniteError, match="log_partition.* is inf; there is no good checkpoint"
    ):
        training.fit(step, State(jnp.ones(1), jnp.ones(())), [jnp.ones(1)], KEY, **options)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("message", "metrics"),
    [
        ("scalar metrics, got shapes {'loss': \\(3,\\)}", {"loss": jnp.zeros(3)}),
        ("without the name 'step', got \\['step'\\]", {"step": jnp.zeros(())}),
        (
            "metrics as a NamedTuple or a dictionary without the name 'step', got an array",
            jnp.zeros(()),
        ),
    ],
)
def test_metrics_that_cannot_be_recorded_are_refused(message, metrics):
    def step(state, batch, key):
        return state, metrics

    with pytest.raises(ValueError, match=message):
        training.fit(step, {"w": jnp.ones(2)}, [jnp.ones(1)], KEY, num_steps=1, progress=False)


def test_sides_may_have_batches_of_their_own_size():
    columns = batch_sums(
        None,
        4,
        (2, 3),
        training.Batch(2.0 ** jnp.arange(8), 2.0 ** jnp.arange(12), weights_data=jnp.ones(8)),
    )
    assert (columns["pair"] == 2).all()
    assert columns["noise"].sum() == 2**12 - 1


def test_a_density_chasm_is_reported_while_it_happens(problem):
    with pytest.warns(
        training.LowOverlapWarning, match=r"step 10: the overlap was below .* density chasm"
    ):
        result = fit(problem, samples(40.0, 1000), num_steps=30)
    assert (result.history["low_overlap"] > 0.5).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (fit(problem, num_steps=30).history["low_overlap"] == 0).all()


def test_solves_that_fail_are_reported_while_they_do(problem):
    """By a step that says of every second solve that it ran out of steps."""

    def step(state, batch, key):
        new = {"w": state["w"] + 1}
        return new, {
            "loss": jnp.float32(1),
            "status": jnp.where(new["w"] % 2 == 0, Status.MAX_STEPS, Status.CONVERGED),
        }

    options = {"num_steps": 30, "log_every": 10, "progress": False}
    with pytest.warns(
        training.FailedSolvesWarning, match="step 20: F was not solved at 5 of 10 steps"
    ):
        result = training.fit(step, {"w": jnp.zeros((), jnp.int32)}, [jnp.ones(1)], KEY, **options)
    np.testing.assert_array_equal(result.history["failed_solves"], 5)
    # Also in a run, or at its end, of fewer steps than a record has.
    for every, before in ((100, 0), (8, 8)):

        def failing(state, batch, key, before=before):
            status = jnp.where(state < before, Status.CONVERGED, Status.MAX_STEPS)
            return state + 1, {"loss": jnp.float32(1), "status": status}

        short = {"num_steps": before + 4, "log_every": every, "progress": False}
        with pytest.warns(training.FailedSolvesWarning, match="F was not solved at 4 of 4 steps"):
            training.fit(failing, jnp.int32(0), [jnp.ones(1)], KEY, **short)


def test_a_folder_in_use_is_not_written_over(problem, tmp_path):
    fit(problem, num_steps=10, folder=tmp_path, checkpoint_every=10)
    with pytest.raises(
        FileExistsError, match="folder: expected one without a run, got .*; resume=True"
    ):
        fit(problem, num_steps=10, folder=tmp_path, checkpoint_every=10)


def test_what_differs_from_the_resumed_run_is_named(problem, tmp_path):
    step, state = problem
    options = {
        "folder": tmp_path,
        "checkpoint_every": 10,
        "log_every": 10,
        "progress": False,
        "num_steps": 20,
    }
    fit(problem, num_steps=10, folder=tmp_path, checkpoint_every=10)
    with pytest.raises(ValueError, match="batch_size: expected 100 as in the run in .*, got 50;"):
        fit(problem, num_steps=20, folder=tmp_path, checkpoint_every=10, batch_size=50, resume=True)
    with pytest.raises(
        ValueError, match="key: expected the key as in the run in .*, got another key"
    ):
        training.fit(
            step,
            state,
            samples(2.0, 1000),
            jax.random.key(5),
            batch_size=100,
            resume=True,
            **options,
        )
    other = state._replace(params=jnp.zeros(7))
    with pytest.raises(
        ValueError,
        match=r"state: expected float32\[1\] at \['state'\].params as in .*, got float32\[7\]",
    ):
        training.fit(step, other, samples(2.0, 1000), KEY, batch_size=100, resume=True, **options)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("message", "options"),
    [
        ("num_steps", {"num_steps": 0}),
        ("log_every", {"num_steps": 1, "log_every": 0}),
        (
            "evaluate_every: expected a multiple of log_every = 10, got 15",
            {"num_steps": 1, "evaluate_every": 15},
        ),
        (
            "checkpoint_every: expected a multiple",
            {"num_steps": 1, "checkpoint_every": 15, "folder": "never-made"},
        ),
        (
            "batch_size: expected at most the 1000 samples of x_data, got 1001",
            {"num_steps": 1, "batch_size": 1001},
        ),
        (
            "batch_size: expected None with batches of type list, got 3",
            {"num_steps": 1, "batches": [jnp.ones((3, 1))], "batch_size": 3},
        ),
        ("batches: expected an array", {"num_steps": 1, "batches": 3}),
        (
            "batches: expected an iterable .*, got one that ended after 2; pass a list",
            {"num_steps": 5, "batches": iter([jnp.ones((3, 1))] * 2)},
        ),
        (
            "weights_data: expected shape",
            {"num_steps": 1, "batches": training.Batch(X, weights_data=jnp.ones(5))},
        ),
        ("batches: expected batches of arrays", {"num_steps": 1, "batches": lambda step: ()}),
        ("evaluate: expected a dictionary", {"num_steps": 1, "evaluate": lambda state: None}),
        ("x_data: expected arrays", {"num_steps": 1, "batches": training.Batch(jnp.ones((0, 1)))}),
    ],
)
def test_bad_arguments_are_named(problem, message, options):
    with pytest.raises((ValueError, TypeError), match=message):
        fit(problem, **options)


def test_batches_with_and_without_weights_are_one_run(problem):
    """What only batches with weights have counts as zero elsewhere, whatever comes first."""
    x, weights = samples(2.0, 96), np.r_[np.ones(20), np.zeros(12)].astype(np.float32)
    plain = [training.Batch(x[start : start + 32]) for start in (0, 32)]
    batches = [*plain, training.Batch(x[64:], weights_data=weights)]
    step, state = problem
    for log_every in (1, 4):
        history = training.fit(
            step, state, batches, KEY, num_steps=6, log_every=log_every, progress=False
        ).history
        assert np.isfinite(history["loss"]).all()
        assert np.nansum(history["empty_batches"]) == 0


def test_an_error_of_a_diverged_run_comes_out_of_a_pool():
    error = training.NonFiniteError(3, "loss", float("nan"), None, None)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.step, again.metric) == (str(error), 3, "loss")
