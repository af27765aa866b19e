"""Trains one energy by one method with `training.fit`, which resumes after an interruption."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import nce_jax
from experiments.common import pieces
from experiments.common.settings import check_includes, check_methods
from experiments.mnist.config import Config
from experiments.mnist.preprocessing import SIDE, Data, batch_fn, in_blocks
from nce_jax import models, training

COMPUTING = [Path(__file__).with_name(f"{name}.py") for name in ("preprocessing", "train")]
"""Code that a checkpoint depends on: a run resumes only those of the same code and settings."""


class Method(NamedTuple):
    """A treatment of F and a magnification."""

    treatment: training.Treatment
    magnification: float = 1.0


class Trained(NamedTuple):
    """Parameters, F, and losses by step.

    `history` has the losses of batches, averaged over records, and `evaluations` the held-out
    losses with F solved there.
    """

    params: Any
    log_partition: float
    history: dict[str, np.ndarray]
    evaluations: dict[str, np.ndarray]


def methods(config: Config) -> dict[str, Method]:
    """The paper's four methods, Newton, and a solved F at other magnifications, by plot name."""
    all_methods = {
        "NCE": Method(training.joint_gradient()),
        "NCE, raised rate": Method(training.joint_gradient(optax.adam(config.raised_rate))),
        "BAR": Method(training.bar_step()),
        "binary search": Method(training.solved(nce_jax.bisection())),
        "Newton": Method(training.solved()),
        **{f"Newton, M = {m:g}": Method(training.solved(), m) for m in config.magnifications},
    }
    if config.methods is not None:
        check_methods(config.methods, all_methods)
        check_includes(config, "methods", "NCE")
    return {
        name: method
        for name, method in all_methods.items()
        if config.methods is None or name in config.methods
    }


class Model(NamedTuple):
    """`params` of a seed, and the log ratio f'Wf + b'f (c is -F) of vectors (n, 784) in [0, 1)."""

    params: Any
    log_ratio_fn: Callable[[Any, jax.Array], jax.Array]


def make_model(config: Config, key: jax.Array) -> Model:
    """The paper's network, at the width of the preset."""
    compute_dtype = jnp.bfloat16 if config.half_precision else None
    params, log_ratio_fn = models.resnet18_energy(
        key, (SIDE, SIDE, 1), width=config.width, compute_dtype=compute_dtype
    )
    return Model(params, lambda params, x: log_ratio_fn(params, 2 * x - 1))


def train(
    config: Config, data: Data, model: Model, label: str, method: Method, key: jax.Array
) -> Trained:
    """Trains one model, or reads what an interrupted run has trained.

    With the same model and key, all methods start from the same weights and use the same images and
    noise.
    """
    folder = pieces.folder("mnist", config, COMPUTING) / label.replace(" ", "-")
    arrays = pieces.load_or_compute(
        folder.with_name(f"{folder.name}.npz"),
        lambda: _as_arrays(_fit(config, data, model, method, key, folder)),
    )
    shutil.rmtree(folder, ignore_errors=True)  # the piece holds what is needed of the checkpoints
    return _from_arrays(arrays, model.params)


def _fit(
    config: Config, data: Data, model: Model, method: Method, key: jax.Array, folder: Path
) -> Trained:
    key_batches, key_steps, key_held_out = jax.random.split(key, 3)
    params, log_ratio_fn = model
    optimizer = optax.adam(config.learning_rate)
    step = training.make_train_step(
        noise=data.noise,
        optimizer=optimizer,
        log_ratio_fn=log_ratio_fn,
        criterion=nce_jax.criteria.nce(magnification=method.magnification),
        treatment=method.treatment,
    )
    result = training.fit(
        step,
        step.init(params),
        batch_fn(data.train, config.batch_size, key_batches),
        key_steps,
        num_steps=config.num_steps,
        log_every=config.log_every,
        checkpoint_every=config.evaluate_every,
        evaluate=_held_out_loss(config, data, log_ratio_fn, key_held_out),
        evaluate_every=config.evaluate_every,
        folder=folder,
        resume=True,
        low_overlap=0.0,  # no warning: data and noise hardly overlap in this experiment
    )
    return Trained(
        result.state.params, float(result.state.log_partition), result.history, result.evaluations
    )


def _as_arrays(trained: Trained) -> dict[str, np.ndarray]:
    """All parts of a trained model by name, for a piece."""
    leaves = jax.tree.leaves(trained.params)
    return {
        "log_partition": np.array(trained.log_partition),
        **{f"params {i}": np.asarray(leaf) for i, leaf in enumerate(leaves)},
        **{f"history {name}": np.asarray(value) for name, value in trained.history.items()},
        **{f"evaluations {name}": np.asarray(value) for name, value in trained.evaluations.items()},
    }


def _from_arrays(arrays: dict[str, np.ndarray], params: Any) -> Trained:
    """The inverse of `_as_arrays`; `params` gives the structure."""

    def part(prefix: str) -> dict[str, np.ndarray]:
        return {
            name.removeprefix(prefix): value
            for name, value in arrays.items()
            if name.startswith(prefix)
        }

    leaves = part("params ")
    return Trained(
        jax.tree.unflatten(
            jax.tree.structure(params), [jnp.asarray(leaves[str(i)]) for i in range(len(leaves))]
        ),
        float(arrays["log_partition"]),
        part("history "),
        part("evaluations "),
    )


def _held_out_loss(
    config: Config, data: Data, log_ratio_fn, key: jax.Array
) -> Callable[[Any], dict[str, Any]]:
    """Loss of test images and fresh noise at M = 1, at the method's F and at the best F."""
    x_data = data.test[: config.num_held_out]
    x_noise = data.noise.sample(seed=key, sample_shape=(config.num_held_out,))
    log_ratios = jax.jit(lambda params, x: in_blocks(lambda block: log_ratio_fn(params, block), x))

    def evaluate(state: training.TrainState) -> dict[str, Any]:
        ratios = log_ratios(state.params, x_data), log_ratios(state.params, x_noise)
        solved = nce_jax.solve_log_partition(*ratios).log_partition
        return {
            "held_out_loss": nce_jax.nce_loss(*ratios, log_partition=state.log_partition),
            "held_out_loss_solved": nce_jax.nce_loss(*ratios, log_partition=solved),
            "log_partition": state.log_partition,
        }

    return evaluate
