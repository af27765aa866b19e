"""What a run is made of: its key, its initial state, and the program of every part of its step."""

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from nce_jax._disk import plain
from nce_jax._promotion import standard_promotion
from nce_jax._updates import update_fn
from nce_jax.training._digests import summary
from nce_jax.training._program import fingerprint
from nce_jax.training._state import Batch
from nce_jax.training._step import TrainStep


class Part(NamedTuple):
    """A part of a step whose program depends on the shapes of its batch.

    Attributes:
      batch: what it sees of the batch, arrays or their shapes. (The penalty sees data in the place
        of noise samples that the step draws.)
      trace: `trace(batch)`, its program as a JSON value.
    """

    batch: Any
    trace: Callable[[Any], dict[str, Any]]

    def program(self) -> dict[str, Any]:
        """The program for the batch of this run, with its shapes."""
        return {"batch": _shapes(self.batch), **self.trace(self.batch)}


class Description(NamedTuple):
    """A run as JSON values, and what of it can be described anew for batches of other shapes.

    Attributes:
      values: the key, the initial state and the programs by part.
      parts: those of its parts whose programs depend on the batch.
    """

    values: dict[str, Any]
    parts: dict[str, Part]


def describe_run(step: Any, state: Any, batch: Any, key: jax.Array) -> Description:
    """Describes the key, the initial state and the programs of a run, by part.

    `batch` is None where no batch is at hand; what cannot be traced without one is left out.
    """
    train = inspect.unwrap(step) if callable(step) else step
    if isinstance(train, TrainStep):
        programs, parts = _fixed_programs(train, state, key), _parts(train, state, batch, key)
    else:
        programs, parts = {}, {} if batch is None else _own_step(step, state, batch, key)
    programs |= {name: part.program() for name, part in parts.items()}
    values = {
        "key": np.asarray(jax.random.key_data(key)).tolist(),
        "state": summary(state),
        "programs": programs,
        "jax": jax.__version__,
    }
    return Description(values, parts)


class Unlike(NamedTuple):
    """Why a part has no program for batches of other shapes.

    Attributes:
      error: what it raises for them; None where batches of this run have other arrays, so that it
        cannot be asked.
    """

    error: str | None


def program_like(run: Description, name: str, saved: Mapping[str, Any]) -> dict[str, Any] | Unlike:
    """The program of a part, traced for the batches that a stored one was traced for.

    A change of the batches is thus told from one of the part.
    """
    part, own = run.parts.get(name), run.values["programs"][name]
    if part is None or own["batch"] == saved["batch"] or not _has_devices_of(own, saved):
        return own
    batch = _with_shapes(part.batch, saved["batch"])
    if batch is None:
        return Unlike(None)
    try:
        return part._replace(batch=batch).program()
    except Exception as error:  # of the caller's functions, of any kind
        return Unlike(f"{type(error).__name__} ({str(error).splitlines()[0]})")


def _has_devices_of(own: Mapping[str, Any], saved: Mapping[str, Any]) -> bool:
    return own.get("devices") == saved.get("devices")


_KIND = re.compile(r"(.*?)\[([\d, ]*)\]")


def _with_shapes(batch: Any, texts: list[str]) -> Any:
    """The batch with the shapes of another, as `_shapes` has them; None for one of other leaves."""
    leaves, structure = jax.tree.flatten(batch)
    kinds = [_KIND.fullmatch(text) for text in texts]
    if len(leaves) != len(kinds) or None in kinds:
        return None
    return jax.tree.unflatten(
        structure,
        [
            jax.ShapeDtypeStruct(
                tuple(map(int, filter(None, kind[2].split(", ")))), _dtype(kind[1], leaf)
            )
            for leaf, kind in zip(leaves, kinds, strict=True)
            if kind is not None
        ],
    )


def _dtype(name: str, leaf: Any) -> Any:
    own = jnp.result_type(leaf)  # that of keys has no name to look up
    return own if str(own) == name else jnp.dtype(name)


def _own_step(step: Any, state: Any, batch: Any, key: jax.Array) -> dict[str, Part]:
    """The program of a step that is no `TrainStep`: it depends on the number of devices."""
    num_devices = len(_devices(state))

    def trace(batch: Any) -> dict[str, Any]:
        if num_devices <= 1:
            return fingerprint(step, state, batch, key)
        try:
            program = fingerprint(step, state, batch, key)
        except Exception:  # without its shardings, which it may need
            return {"devices": f"{num_devices}, untraced"}
        return {"devices": str(num_devices), **program}

    return {"step": Part(batch, trace)}


def _shapes(batch: Any) -> list[str]:
    return [f"{jnp.result_type(leaf)}{list(jnp.shape(leaf))}" for leaf in jax.tree.leaves(batch)]


def _devices(state: Any) -> set[Any]:
    return {
        device
        for leaf in jax.tree.leaves(state)
        if isinstance(leaf, jax.Array)
        for device in leaf.sharding.device_set
    }


@standard_promotion()
def _fixed_programs(train: TrainStep, state: Any, key: jax.Array) -> dict[str, Any]:
    """The programs of the parts that see no batch, without the mesh."""
    pair = state.params, state.log_partition
    sides, criterion, treatment = train.sides, train.criterion, train.treatment
    numbers = jax.ShapeDtypeStruct((*state.log_partition.shape, 3), state.log_partition.dtype)
    ratios = {"log_ratio_data": numbers, "log_ratio_noise": numbers}
    unweighted = {"weights_data": None, "weights_noise": None}

    def loss(ratios: Any, log_partition: Any) -> Any:
        return criterion.loss(*ratios.values(), log_partition=log_partition, **unweighted)

    def update(ratios: Any, log_partition: Any) -> Any:
        return treatment.update(criterion, {**ratios, **unweighted}, log_partition)

    drawn = {} if sides.noise is None else fingerprint(_draw(sides), key)
    return {
        "noise": {"num_noise": plain(sides.num_noise), **drawn},
        "optimizer": fingerprint(_update(train.optimizer), pair, state.opt_state, pair),
        "criterion": {"name": criterion.name, **fingerprint(loss, ratios, state.log_partition)},
        "treatment": {"name": treatment.name, **fingerprint(update, ratios, state.log_partition)},
    }


def _parts(train: TrainStep, state: Any, batch: Any, key: jax.Array) -> dict[str, Part]:
    """The other parts. Each is traced without the mesh: the result holds for any devices."""
    if batch is None:
        return {}
    batch = batch if isinstance(batch, Batch) else Batch(batch)
    sides = train.sides

    def stages(x: Any) -> dict[str, Any]:
        return fingerprint(sides.stages.sides, x, x)  # type: ignore[union-attr]

    def model(x: Any) -> dict[str, Any]:
        seen = x if sides.stages is None else jax.eval_shape(sides.stages.sides, x, x)[0]
        return fingerprint(train.model, state.params, seen)

    def penalty(batch: Batch) -> dict[str, Any]:
        return fingerprint(train.penalty_fn, state.params, batch, key)  # type: ignore[arg-type]

    def rule(batch: Batch) -> dict[str, Any]:
        # A rule chooses M from the model itself: it has no program apart from the step's.
        alone = dataclasses.replace(train, sides=sides._replace(mesh=None))
        return fingerprint(alone, state, batch, key)

    both = batch if batch.x_noise is not None else batch._replace(x_noise=batch.x_data)
    parts = {
        "stages": None if sides.stages is None else Part(batch.x_data, stages),
        "model": Part(batch.x_data, model),
        "penalty": None if train.penalty_fn is None else Part(both, penalty),
        "magnification_rule": None if train.magnification_rule is None else Part(batch, rule),
    }
    return {
        name: Part(part.batch, standard_promotion()(part.trace))
        for name, part in parts.items()
        if part is not None
    }


def _update(optimizer: Any) -> Callable[..., Any]:
    """The update with a loss of no meaning, for optimizers that need one."""

    def update(gradient: Any, opt_state: Any, pair: Any) -> Any:
        value = jnp.zeros((), jax.tree.leaves(pair)[-1].dtype)
        return update_fn(optimizer)(
            gradient, opt_state, pair, value=value, grad=gradient, value_fn=optax.tree.sum
        )

    return update


def _draw(sides: Any) -> Callable[..., Any]:
    def draw(key: jax.Array) -> Any:
        drawn = sides.noise.sample_and_log_prob(seed=key, sample_shape=(2,))
        # A noise may have a density of its own beside that of its draws.
        return drawn if sides.is_ratio else (drawn, sides.noise.log_prob(drawn[0]))

    return draw
