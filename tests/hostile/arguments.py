"""Right arguments for every public function, so that one of them at a time can be made hostile."""

import functools
import tempfile
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from nce_jax import (
    criteria,
    free_energy,
    latent,
    log_partition,
    noise,
    ratio_estimation,
    samplers,
    sweep,
    telescoping,
    training,
)
from tests import test_bad_objects, test_log_ratio_functions
from tests.losses import test_wrong_objects
from tests.test_signatures import FUNCTIONS, LOG_RATIO_FUNCTIONS, PARAMETERS

Maker = Callable[[], Any]


def _log_density(params, x):
    return -0.5 * jnp.sum((x - params) ** 2, axis=-1)


def _rows(seed: int, shift: float = 0.0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return (shift + generator.normal(size=(12, 2))).astype(np.float32)


@functools.cache
def _problem() -> log_partition.Problem:
    return log_partition.make_problem(jnp.array([2.0, 1.0]), jnp.array([-1.0, 0.5]))


def _log_partition_state() -> log_partition.State:
    return log_partition.initial_state(_problem(), jnp.float32(0.0))


def _potentials() -> np.ndarray:
    """Of 24 samples in three states."""
    return np.square(_rows(0).ravel() - np.arange(3.0, dtype=np.float32)[:, None]) / 2


@functools.cache
def _train_step() -> training.TrainStep:
    return training.make_train_step(_log_density, noise.standard_normal(2), optax.sgd(0.1))


@functools.cache
def _state() -> training.TrainState:
    return _train_step().init(jnp.zeros(2))


@functools.cache
def _run_folder() -> tempfile.TemporaryDirectory:
    """A complete run with one checkpoint, removed at the end of the process."""
    folder = tempfile.TemporaryDirectory()
    options = {"num_steps": 1, "checkpoint_every": 1, "log_every": 1, "progress": False}
    training.fit(
        _train_step(), _state(), _rows(0), jax.random.key(0), folder=folder.name, **options
    )
    return folder


@functools.cache
def _bootstrap() -> free_energy.FreeEnergyBootstrap:
    work = jnp.array([0.5, 1.0, 0.2, 0.8])
    return free_energy.bootstrap_bar(jax.random.key(0), work, work - 1, num_replicates=20)


def _convergence() -> free_energy.Convergence:
    return free_energy.bar_convergence(jnp.array([0.5, 1.0]), jnp.array([0.2, 0.8]))


def _stages() -> telescoping.StageDiagnostics:
    return telescoping.stage_diagnostics(_rows(0).T + 1, _rows(1).T)


def _calibration() -> ratio_estimation.Calibration:
    return ratio_estimation.Calibration(np.array([0.5]), np.array([0.4]), np.array([10]))


@functools.cache
def _sweep() -> Any:
    axes = {"a": jnp.arange(2.0), "seed": jnp.arange(2.0)}
    return sweep(lambda a, seed: a + seed, axes, progress=False)


@functools.cache
def _sweep_folder() -> tempfile.TemporaryDirectory:
    """A complete stored sweep, removed at the end of the process."""
    folder = tempfile.TemporaryDirectory()
    sweep(lambda a: 2 * a, {"a": jnp.arange(2.0)}, folder=folder.name, progress=False)
    return folder


def _lines(params, x):
    """One log ratio per stage, linear in x."""
    return params @ x.T


def _encode(params, x):
    return x @ params, 0 * (x @ params)


@functools.cache
def _prior() -> training.TrainStep:
    return training.make_train_step(
        noise=noise.standard_normal(2), optimizer=optax.sgd(0.1), log_ratio_fn=_log_density
    )


_TABLES = {"words": jnp.ones((5, 2))}
_BY_NAME: dict[str, Maker] = {
    "axes": lambda: {"a": jnp.arange(3.0)},
    "batches": lambda: _rows(0),
    "bootstrap": _bootstrap,
    "body_fn": lambda: lambda params, x: x @ params,
    "criterion": criteria.nce,
    "dim": lambda: 2,
    "embedding": lambda: jnp.ones((5, 2)),
    "gradient": lambda: {"words": jnp.ones((2, 2))},
    "head_fn": lambda: lambda params, x: x @ params,
    "hidden": lambda: jnp.ones((4, 2)),
    "ids": lambda: jnp.array([0, 2, 2]),
    "images": lambda: jnp.zeros((2, 4, 4, 1), jnp.uint8),
    "initial": lambda: jnp.float32(0.0),
    "inference": lambda: latent.amortized(_encode),
    "kernel": lambda: samplers.langevin(0.1),
    "key": lambda: jax.random.key(0),
    "log_likelihood": lambda: jnp.array([-3.0, -2.0]),
    "log_partition": lambda: jnp.float32(0.3),
    "log_overlap": lambda: jnp.float32(-1.0),
    "mesh": training.make_mesh,
    "noise_levels": lambda: np.array([0.0, 0.5, 1.0]),
    "num_dims": lambda: 3,
    "num_rows": lambda: 5,
    "num_samples": lambda: 6,
    "num_stages": lambda: 2,
    "num_steps": lambda: 2,
    "opt_state": lambda: optax.sgd(0.1).init(_TABLES),
    "optimizer": lambda: optax.sgd(0.1),
    "overlap": lambda: np.array([0.5, 0.6]),
    "params": lambda: jnp.zeros((2, 2)),
    "problem": _problem,
    "module": lambda: nnx.Linear(2, 1, rngs=nnx.Rngs(0)),
    "residual": lambda: jnp.float32(0.1),
    "rows": lambda: training.touched_rows(jnp.array([0, 2]), num_rows=5),
    "solution": lambda: log_partition.solve_problem(_problem()),
    "stages_fn": lambda: _lines,
    "state": _state,
    "statistical_inefficiency": lambda: jnp.array([1.5, 3.0]),
    "step": _train_step,
    "tables": lambda: _TABLES,
    "targets": lambda: jnp.array([0, 1, 2, 3]),
    "counts": lambda: jnp.array([3, 1, 2]),
    "probabilities": lambda: jnp.array([0.5, 0.3, 0.2]),
    "num_words": lambda: 5,
    "low": lambda: jnp.zeros(2),
    "high": lambda: jnp.ones(2),
    "num_integration_steps": lambda: 2,
    "x": lambda: jnp.full((2, 3), 0.4),
    "x_data": lambda: _rows(0),
    "x_noise": lambda: _rows(1, 0.5),
    "y": lambda: jnp.zeros((2, 3)),
}
_BY_FUNCTION: dict[str, Maker] = {
    "amortized.encode_fn": lambda: _encode,
    **{
        f"{name}.{side}": (lambda seed=seed: _rows(seed))
        for name in ("c2st", "frechet_distance", "kernel_distance")
        for seed, side in enumerate(("x", "y"))
    },
    "bridge_log_ratios.params": lambda: jnp.ones(2),
    "bridge_log_ratios.stages_fn": lambda: telescoping.separate(lambda theta, x: theta * x),
    "bridge_log_ratios.x": lambda: jnp.ones((3, 2)),
    "expectations.observable": lambda: _rows(0).ravel(),
    "potential_of_mean_force.coordinate": lambda: _rows(0).ravel(),
    "potential_of_mean_force.edges": lambda: jnp.array([-1.0, 0.0, 1.0]),
    **{
        f"{name}.reduced_potentials": _potentials
        for name in (
            "bootstrap_mbar",
            "enthalpy_and_entropy",
            "expectations",
            "mbar",
            "neighbor_work",
            "potential_of_mean_force",
        )
    },
    "bootstrap_mbar.num_replicates": lambda: 2,
    "iterate.move": lambda: lambda state: log_partition.newton().step(_problem(), state),
    "iterate.run": lambda: log_partition.start_run(_log_partition_state(), jnp.array(True)),
    "start_run.is_valid": lambda: jnp.array(True),
    "start_run.state": _log_partition_state,
    "gaussian_likelihood.generate_fn": lambda: lambda params, z: z @ params,
    "gaussian_likelihood.scale": lambda: 0.5,
    "make_chain_step.log_ratio_fn": lambda: _log_density,
    "make_critic_step.log_ratio_fn": lambda: _log_density,
    "make_two_player_step.critic": lambda: training.make_critic_step(_log_density, optax.sgd(0.1)),
    "make_two_player_step.sample_fn": lambda: lambda params, key, x_data: params + x_data,
    "gradient_penalty.log_ratio_fn": lambda: _log_density,
    "gradient_penalty.strength": lambda: 0.5,
    "as_noise.noise": lambda: noise.standard_normal(2),
    "make_chain_step.noise": lambda: noise.standard_normal(2),
    "make_latent_step.log_likelihood_fn": lambda: lambda params, z, x: -jnp.sum((x - z) ** 2, -1),
    "prior_log_ratio.prior": _prior,
    "prior_log_ratio.state": lambda: _prior().init(jnp.zeros(2)),
    "prior_log_ratio.z": lambda: _rows(0),
    "narrow_bracket.state": lambda: log_partition.initial_state(_problem(), jnp.float32(0.0)),
    "interval_status.status": lambda: jnp.array([0, 0], jnp.int32),
    "interval_status.effective_samples": lambda: jnp.array([25.0, 3.0]),
    "averaged_params.state": lambda: training.make_train_step(
        _log_density, noise.standard_normal(2), training.with_average(optax.sgd(0.1), 0.9)
    ).init(jnp.zeros(2)),
    "early_stopping.metric": lambda: "loss",
    "early_stopping.patience": lambda: 3,
    "with_average.decay": lambda: 0.9,
    "held_out_log_likelihood.log_density_fn": lambda: _log_density,
    "held_out_log_likelihood.noise": lambda: noise.standard_normal(2),
    "held_out_log_likelihood.params": lambda: jnp.zeros(2),
    "held_out_log_likelihood.x_test": lambda: _rows(0),
    "load_sweep.folder": lambda: _sweep_folder().name,
    "load_checkpoint.folder": lambda: _run_folder().name,
    "separate.log_ratio_fn": lambda: _log_density,
    **{
        f"{name}.work_{side}": lambda: jnp.array([0.5, 1.0, 0.8])
        for name in ("check_work", "work_slope")
        for side in ("forward", "reverse")
    },
    **{
        f"{name}.values": lambda: jnp.array([0.5, 0.8, 0.1, -0.4, -0.3])
        for name in ("detect_equilibration", "statistical_inefficiency")
    },
    "bootstrap_histogram.bootstrap": _bootstrap,
    "calibration_curve.estimate": _calibration,
    "energy_map.log_density_fn": lambda: lambda x: -jnp.sum(x**2, axis=-1),
    "free_energy_convergence.convergence": _convergence,
    "free_energy_windows.result": lambda: free_energy.bar(jnp.ones((2, 3)), jnp.ones((2, 3))),
    **{
        f"log_ratio_histogram.log_ratio_{side}": (lambda seed=seed: _rows(seed).ravel())
        for seed, side in enumerate(("data", "noise"))
    },
    "overlap_matrix.result": lambda: jnp.eye(2),
    "roc_curve.estimate": lambda: ratio_estimation.RocCurve(np.arange(2), np.arange(2), 0.5),
    "nce_sweep.argv": lambda: ["show", _sweep_folder().name],
    "sweep_panels.result": _sweep,
    "sweep_panels.variable": lambda: "value",
    "sweep_lines.axis": lambda: "a",
    "sweep_lines.result": _sweep,
    "sweep_lines.variable": lambda: "value",
    "telescope_stages.telescope": _stages,
    "training_history.result": lambda: {"step": np.arange(3), "loss": np.ones(3)},
    "stage_log_ratios.x": lambda: jnp.ones((3, 2)),
    "fit_flow.x_data": lambda: np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32),
    "mutual_information.x": lambda: _rows(0),
    "mutual_information.y": lambda: _rows(1),
    "sweep.fn": lambda: lambda a: 2 * a,
    "compiled_sweep.fn": lambda: lambda a: 2 * a,
    "shared.args": lambda: jnp.ones(2),
    "shared.fn": lambda: lambda a: a,
    "shared.step": lambda: jnp.int32(0),
}
# Options without which the call would run for long, or would have nothing to work on.
_OPTIONS: dict[str, Callable[[], dict[str, Any]]] = {
    "bootstrap_mbar": lambda: {"num_samples": [12, 8, 4]},
    "enthalpy_and_entropy": lambda: {"num_samples": [12, 8, 4]},
    "expectations": lambda: {"num_samples": [12, 8, 4]},
    "potential_of_mean_force": lambda: {"num_samples": [12, 8, 4]},
    "fit": lambda: {"progress": False},
    "held_out_log_likelihood": lambda: {"num_samples": 64, "num_stages": 2, "num_steps": 2},
    "fit_flow": lambda: {"progress": False, "num_steps": 2},
    "fit_log_ratio": lambda: {"progress": False, "num_steps": 2},
    "fit_telescope": lambda: {"progress": False, "noise_levels": [0.0, 0.7, 1.0]},
    "make_stage_step": lambda: {"noise": noise.standard_normal(2), "optimizer": optax.sgd(0.1)},
    "make_train_step": lambda: {
        "log_density_fn": _log_density,
        "noise": noise.standard_normal(2),
        "optimizer": optax.sgd(0.1),
    },
    "mbar": lambda: {"num_samples": [12, 8, 4]},
    "neighbor_work": lambda: {"num_samples": [12, 8, 4]},
    "resnet18_energy": lambda: {"width": 8},
    "sweep": lambda: {"progress": False},
}
NEEDS_PROCESSES = {"nce_jax.training.start_processes"}
"""Functions that change the whole process, which no campaign calls."""


def public_functions() -> dict[str, Callable[..., Any]]:
    """Every public function once, by its longest path."""
    by_identity = {id(function): name for name, function in sorted(FUNCTIONS.items(), key=_length)}
    return {name: FUNCTIONS[name] for name in by_identity.values() if name not in NEEDS_PROCESSES}


def _length(item: tuple[str, Any]) -> int:
    return len(item[0])


def right_arguments(path: str) -> dict[str, Any]:
    """All arguments that the function requires, and a few options that keep the call short."""
    room, short = path.split(".")[1:][0], path.rpartition(".")[2]
    if room == "losses":
        right = test_wrong_objects.right_arguments(short)
        # A sampled word that is the target would be ignored.
        return right | ({"noise_ids": jnp.array([1, 2, 3])} if "noise_ids" in right else {})
    if path in LOG_RATIO_FUNCTIONS:
        arrays, options = test_log_ratio_functions.arguments(path, jnp.float32)
        return arrays | options
    required = [
        p.name for p in PARAMETERS[path] if p.default is p.empty and p.kind is not p.VAR_KEYWORD
    ]
    return {name: _maker(room, short, name)() for name in required} | _OPTIONS.get(short, dict)()


def _maker(room: str, short: str, name: str) -> Maker:
    """The most particular entry: for the function, for its room, for every function."""
    tables = [_BY_FUNCTION]
    if room in test_bad_objects.ROOMS:
        tables.append(test_bad_objects.RIGHT)
    tables.append(_BY_NAME)
    for table in tables:
        for entry in (f"{short}.{name}", f"{room}.{name}", name):
            if entry in table:
                return table[entry]
    raise KeyError(f"{short}: no right argument for {name}; enter one in this file")


def call(path: str, arguments: dict[str, Any]) -> Any:
    """The function at these arguments; what it takes as `*name` is one array, and comes last."""
    parameters = PARAMETERS[path]
    starred = [p.name for p in parameters if p.kind is p.VAR_POSITIONAL]
    before = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD] if starred else []
    positional = [name for name in [*before, *starred] if name in arguments]
    named = {name: value for name, value in arguments.items() if name not in positional}
    return FUNCTIONS[path](*[arguments[name] for name in positional], **named)
