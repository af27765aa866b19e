"""Runs of every kind, small: what is killed and resumed, or spread over devices, ends the same.

`python kinds.py <folder> [<name> ...]` takes the runs one after another, resumes those that have
begun, and leaves out those that are through; it prints a line at the end.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import nce_jax
from nce_jax import (
    adaptive_noise,
    criteria,
    critics,
    latent,
    noise,
    samplers,
    telescoping,
    training,
)
from nce_jax._archives import write_arrays

KEY = jax.random.key(2)
X_DATA = np.random.default_rng(0).normal(0.5, 0.7, (96, 2))
X_NOISE = np.random.default_rng(1).normal(0.0, 1.0, (96, 2))
WEIGHTS = np.linspace(0.0, 2.0, 96)
STEPS = {"num_steps": 24, "checkpoint_every": 2, "log_every": 1, "progress": False}
Kind = Callable[[Any], dict[str, Any]]


def log_ratio(theta, x):
    return x @ theta[:2] + theta[2] * jnp.sum(x**2, axis=-1)


def log_density(theta, x):
    return log_ratio(theta, x) - jnp.sum(x**2, axis=-1) / 2


def simple(*, batches=X_DATA, batch_size=32, optimizer=None, options=None, **parts) -> Kind:
    """A step of a log density against a standard normal."""

    def make(mesh):
        train = training.make_train_step(
            log_density, noise.standard_normal(2), optimizer or optax.adam(0.02), mesh=mesh, **parts
        )
        made = {"step": train, "state": train.init(jnp.zeros(3)), "batches": batches}
        return made | {"batch_size": batch_size} | ((options or dict)())

    return make


def of_ratio(criterion, treatment) -> Kind:
    """A step of a log ratio, whose noise samples are fixed."""

    def make(mesh):
        train = training.make_train_step(
            log_ratio_fn=log_ratio, optimizer=optax.sgd(0.05), mesh=mesh,
            criterion=criterion, treatment=treatment,
        )  # fmt: skip
        batches = training.Batch(X_DATA, X_NOISE, WEIGHTS, None)
        state = train.init(jnp.zeros(3))
        return {"step": train, "state": state, "batches": batches, "batch_size": (32, 16)}

    return make


def stages(mesh):
    train = training.make_stage_step(
        telescoping.separate(log_ratio), noise.standard_normal(2), optax.adam(0.02),
        noise_levels=[0.0, 0.6, 1.0], mesh=mesh,
    )  # fmt: skip
    return {"step": train, "state": train.init(jnp.zeros((2, 3))), "batches": X_DATA} | {
        "batch_size": 32
    }


def two_players(mesh):
    critic = training.make_critic_step(
        log_ratio, optax.adam(0.02), mesh=mesh, criterion=criteria.nce(magnification=3.0),
        penalty_fn=critics.gradient_penalty(log_ratio, strength=0.1),
    )  # fmt: skip

    def sample_fn(shift, key, x_data):
        return shift + jax.random.normal(key, x_data.shape)

    train = critics.make_two_player_step(sample_fn, critic, optax.sgd(0.1))
    state = train.init(jnp.zeros(2), jnp.zeros(3))
    return {"step": train, "state": state, "batches": X_DATA, "batch_size": 32}


def of_latents(mesh):
    prior = training.make_train_step(
        noise=noise.standard_normal(2), optimizer=optax.adam(0.03), log_ratio_fn=log_ratio,
        mesh=mesh,
    )  # fmt: skip
    likelihood = latent.gaussian_likelihood(lambda params, z: z, scale=0.5)
    encoder = latent.amortized(lambda a, x: (a[0] + a[1] * x, 0 * x + a[2]))
    train = latent.make_latent_step(likelihood, encoder, optax.adam(0.03), prior=prior)
    state = train.init(jnp.zeros(3), jnp.zeros(3))
    return {"step": train, "state": state, "batches": X_DATA, "batch_size": 32}


def of_own_noise(mesh):
    del mesh  # it is no argument of this step
    kernel = samplers.mala(0.3)
    train = adaptive_noise.make_self_noise_step(
        log_density, optax.sgd(0.1), kernel=kernel, refresh_every=5
    )
    made = adaptive_noise.self_noise(
        jax.random.key(3), log_density, jnp.zeros(3), noise.standard_normal(2), kernel=kernel,
        schedule=samplers.linear_schedule(4), num_samples=64, num_steps=5,
    )  # fmt: skip
    state = train.init(jnp.zeros(3), made)
    return {"step": train, "state": state, "batches": X_DATA, "batch_size": 32}


def of_rows(mesh):
    """A step of one's own, with keys, integers and an array without entries in its state."""
    del mesh
    optimizer, tables = optax.adam(0.1), {"words": jnp.zeros((10, 2))}

    def step(state, batch, key):
        rows = training.touched_rows(batch["ids"], num_rows=10)
        small = training.gather_rows(state["tables"], rows)
        key = jax.random.fold_in(key, state["count"])

        def loss(small):
            found = small["words"][rows.positions[0]] - batch["x"]
            return jnp.mean(found**2) + 0.01 * jax.random.normal(key) * found.sum()

        value, gradient = jax.value_and_grad(loss)(small)
        moved = training.update_rows(optimizer, gradient, state["opt"], state["tables"], rows)
        new = {"tables": moved[0], "opt": moved[1], "count": state["count"] + 1}
        return state | new | {"key": jax.random.split(state["key"])[0]}, {"loss": value}

    state = {"tables": tables, "opt": optimizer.init(tables), "count": jnp.int32(0)}
    state |= {"key": jax.random.key(4), "none": jnp.zeros((0, 2))}
    batches = {"ids": np.arange(96) % 10, "x": X_DATA}
    return {"step": step, "state": state, "batches": batches, "batch_size": 32}


class Loader:
    """An iterable whose iterators have a position of their own, as those of grain have."""

    def __iter__(self):
        return map(self.batch, range(7))

    def batch(self, number):
        return training.Batch(np.random.default_rng(number).normal(0.5, 0.7, (32, 2)))


def stopping():
    return {"callbacks": (training.early_stopping("loss", patience=4),)}


def evaluated():
    def evaluate(state, record):
        return {"f": state.log_partition, "loss": record["loss"]}

    stop = training.early_stopping("evaluate/f", patience=3)
    return {"evaluate": evaluate, "evaluate_every": 3, "callbacks": (stop,)}


regularized = criteria.ratio_regularized(criteria.nce(magnification=3.0), 0.1)
KINDS: dict[str, Kind] = {
    "solved": simple(),
    "joint": simple(treatment=training.joint_gradient()),
    "joint_apart": simple(treatment=training.joint_gradient(optax.sgd(1.0))),
    "bar_step": simple(treatment=training.bar_step(), criterion=criteria.nce(noise_ratio=2.0)),
    "fixed_steps": simple(treatment=training.solved(fixed_steps=6)),
    "held": simple(treatment=training.held()),
    "exponential": simple(criterion=criteria.exponential_nce()),
    "exponential_held": of_ratio(criteria.exponential_nce(), training.held()),
    "regularized": of_ratio(regularized, training.solved()),
    "ranking": of_ratio(criteria.ranking_nce(), training.solved()),
    "donsker_varadhan": of_ratio(criteria.donsker_varadhan(), training.held()),
    "nwj": of_ratio(criteria.nwj(), training.solved()),
    "least_squares": of_ratio(criteria.least_squares(), training.joint_gradient()),
    "adaptive": simple(magnification_rule=nce_jax.adaptive_magnification()),
    "sufficient": simple(magnification_rule=nce_jax.magnification.sufficient_magnification()),
    "line_search": simple(optimizer=optax.lbfgs(), batches=training.Batch(X_DATA, X_NOISE)),
    "sharpness": simple(
        optimizer=optax.chain(optax.clip(1.0), optax.contrib.sam(optax.adam(0.02), optax.sgd(0.01)))
    ),
    "several_steps": simple(optimizer=optax.MultiSteps(optax.adam(0.02), 3)),
    "average": simple(optimizer=training.with_average(optax.adam(0.02), 0.9)),
    "num_noise": simple(num_noise=16, batch_size=None),
    "weights": simple(batches=training.Batch(X_DATA, weights_data=WEIGHTS)),
    "loader": simple(batches=Loader(), batch_size=None),
    "function": simple(batches=Loader().batch, batch_size=None),
    "early_stopping": simple(options=stopping),
    "evaluated": simple(options=evaluated),
    "stages": stages,
    "two_players": two_players,
    "latents": of_latents,
    "own_noise": of_own_noise,
    "rows": of_rows,
}


def run(name: str, folder: Path | None, mesh: Any = None) -> training.FitResult:
    made = KINDS[name](mesh)
    if mesh is not None:
        made["state"] = training.shard_state(made["state"], mesh)
    options = STEPS | {key: made.pop(key) for key in list(made) if key not in FIRST}
    options |= {"folder": folder, "resume": folder is not None}
    return training.fit(*(made[key] for key in FIRST), KEY, **options)


FIRST = ("step", "state", "batches")


def numbers(result: training.FitResult) -> dict[str, np.ndarray]:
    """All that a run ends with but its speed, by name."""
    history = {name: v for name, v in result.history.items() if name != "examples_per_second"}
    tree = result._replace(history=history)
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    is_key = [jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) for _, leaf in leaves]
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(
            jax.random.key_data(leaf) if key else leaf
        )
        for (path, leaf), key in zip(leaves, is_key, strict=True)
    }


def main(folder: Path, names: list[str]) -> None:
    jax.config.update("jax_numpy_rank_promotion", "allow")
    folder.mkdir(exist_ok=True)
    for name in names or KINDS:
        output = folder / f"{name}.npz"
        if not output.exists():
            write_arrays(output, numbers(run(name, folder / name)))
    print("through", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
