"""What a resumed run must have in common with the run that it continues, and how it is compared."""

import dataclasses
import inspect
import warnings
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from nce_jax._disk import plain
from nce_jax._options import CHANGES, PARTS
from nce_jax._promotion import standard_promotion
from nce_jax._updates import update_fn
from nce_jax.training._checkpoints import CheckpointWarning
from nce_jax.training._digests import different_leaves as _unlike
from nce_jax.training._digests import summary
from nce_jax.training._matching import is_hyperparameter
from nce_jax.training._program import fingerprint
from nce_jax.training._state import Batch
from nce_jax.training._step import TrainStep

FREES_OPTIMIZER = {"optimizer", "treatment", "magnification_rule", "step"}
"""Changes with which a part of the optimizer's state may not fit."""

# A difference on the left shows in the parts on the right as well, which are then not named.
_FOLLOWERS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(PARTS[:7], ("magnification_rule",)),
    "criterion": ("treatment", "magnification_rule"),
}

Differences = dict[str, tuple[str, str]]
"""What was expected and what came, by the name of what differs."""


def describe_run(step: Any, state: Any, batch: Any, key: jax.Array) -> dict[str, Any]:
    """The key, the initial state and the programs of a run, by part, as JSON values.

    `batch` is None where no batch is at hand; what cannot be traced without one is left out.
    """
    train = inspect.unwrap(step) if callable(step) else step
    if isinstance(train, TrainStep):
        programs = _parts(train, state, batch, key)
    else:
        programs = {} if batch is None else {"step": _own_step(step, state, batch, key)}
    return {
        "key": np.asarray(jax.random.key_data(key)).tolist(),
        "state": summary(state),
        "programs": programs,
        "jax": jax.__version__,
    }


def _own_step(step: Any, state: Any, batch: Any, key: jax.Array) -> dict[str, Any]:
    """The program of a step that is no `TrainStep`: it depends on the number of devices."""
    shapes, num_devices = {"batch": _shapes(batch)}, len(_devices(state))
    if num_devices <= 1:
        return {**shapes, **fingerprint(step, state, batch, key)}
    try:
        program = fingerprint(step, state, batch, key)
    except Exception:  # without its shardings, which it may need; what is wrong else, the run says
        return {**shapes, "devices": f"{num_devices}, untraced"}
    return {**shapes, "devices": str(num_devices), **program}


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
def _parts(train: TrainStep, state: Any, batch: Any, key: jax.Array) -> dict[str, Any]:
    """Each part is traced on its own, without the mesh: the result holds for any devices."""
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
    programs = {
        "noise": {"num_noise": plain(sides.num_noise), **drawn},
        "optimizer": fingerprint(_update(train.optimizer), pair, state.opt_state, pair),
        "criterion": {"name": criterion.name, **fingerprint(loss, ratios, state.log_partition)},
        "treatment": {"name": treatment.name, **fingerprint(update, ratios, state.log_partition)},
    }
    if batch is None:
        return programs
    batch = batch if isinstance(batch, Batch) else Batch(batch)
    shapes, x_data = _shapes(batch.x_data), batch.x_data
    if sides.stages is not None:
        programs["stages"] = {"batch": shapes, **fingerprint(sides.stages.sides, x_data, x_data)}
        x_data = jax.eval_shape(sides.stages.sides, x_data, x_data)[0]
    programs["model"] = {"batch": shapes, **fingerprint(train.model, state.params, x_data)}
    if train.penalty_fn is not None:
        seen = batch if batch.x_noise is not None else batch._replace(x_noise=batch.x_data)
        programs["penalty"] = {
            "batch": shapes,
            **fingerprint(train.penalty_fn, state.params, seen, key),
        }
    if train.magnification_rule is not None:
        # A rule chooses M from the model itself: it has no program apart from the step's.
        alone = dataclasses.replace(train, sides=sides._replace(mesh=None))
        step = fingerprint(alone, state, batch, key)
        programs["magnification_rule"] = {"batch": _shapes(batch), **step}
    return programs


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


def check_identity(
    saved: dict[str, Any],
    current: Mapping[str, Any],
    restored: Any,
    allow_changes: Collection[str],
    folder: Path,
) -> dict[str, Any]:
    """Returns what the run is made of from now on.

    Raises unless that is what it was, up to the changes that are allowed.
    """
    differences = _samples(saved, current)
    if saved["key"] != current["key"]:
        differences["key"] = "the key", "another key"
    differences |= _programs(saved, current, folder)
    # The state that a run has reached, given for its continuation, is none of another run.
    known = min(saved["state"], summary(restored), key=lambda s: len(_unlike(s, current["state"])))
    unlike = _unlike(known, current["state"])
    for name in unlike:
        kind = "optimizer" if is_hyperparameter(name) else "state"
        expected, got = _shown(known[name], current["state"][name])
        differences.setdefault(kind, (f"{expected} at {name}", got))
    refused = [name for name in differences if _kind(name) not in allow_changes]
    if refused:
        kinds = tuple(dict.fromkeys(map(_kind, differences)))
        expected, got = (
            " and ".join(texts)
            for texts in zip(*map(differences.__getitem__, refused), strict=True)
        )
        raise ValueError(
            f"{', '.join(refused)}: expected {expected} as in the run in {folder}, got {got};"
            " resume=True continues a run: give what it began with, choose another folder, or pass"
            f" allow_changes={kinds} to go on in spite of the change"
        )
    initial = current if unlike else saved
    return {**current, "state": initial["state"]}


def _shown(first: Any, second: dict[str, Any]) -> tuple[str, str]:
    """Some entries of two arrays, or their digests where these are the same."""
    pair = [first if isinstance(first, dict) else {"entries": first}, second]
    if pair[0]["entries"] == pair[1]["entries"]:
        return f"digest {pair[0].get('digest')}", str(pair[1]["digest"])
    return str(pair[0]["entries"]), str(pair[1]["entries"])


def _kind(name: str) -> str:
    return name if name in CHANGES else "batches"


def _samples(saved: Mapping[str, Any], current: Mapping[str, Any]) -> Differences:
    before, after = saved["samples"], current["samples"]
    differences = {
        name: (str(before.get(name)), str(after.get(name)))
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    }
    last, same = saved["last_batch"], current["last_batch"]
    if last is not None and same is not None and last != same:
        differences["batches"] = "the last batch before the checkpoint", "another batch"
    return differences


def _programs(saved: Mapping[str, Any], current: Mapping[str, Any], folder: Path) -> Differences:
    """The parts whose programs differ; those without a program on one side are not compared."""
    if saved["jax"] != current["jax"]:
        warnings.warn(
            f"folder: expected {folder} to be continued with jax {saved['jax']}, got"
            f" {current['jax']}; model, noise, optimizer, criterion and treatment cannot be"
            " compared with those of the run",
            CheckpointWarning,
            stacklevel=5,
        )
        return {}
    before, after = saved["programs"], current["programs"]
    _warn_of_devices(before, after, folder)
    if before and after and ("step" in before) != ("step" in after):
        return {"step": ("a step of the same kind", "a step of another kind")}
    common = [name for name in PARTS if name in before and name in after]
    pairs = {name: _difference(before[name], after[name]) for name in common}
    differences = {name: pair for name, pair in pairs.items() if pair is not None}
    followers = {follower for name in differences for follower in _FOLLOWERS.get(name, ())}
    differences = {name: pair for name, pair in differences.items() if name not in followers}
    if "model" in common:  # both had a batch, with which every part is described
        differences |= {
            name: ("none", "one") if name in after else ("one", "none")
            for name in PARTS
            if (name in before) != (name in after)
        }
    return differences


def _warn_of_devices(before: dict[str, Any], after: dict[str, Any], folder: Path) -> None:
    """Warns where the devices are the reason why a step of the user's own is not compared."""
    if "step" not in after or (before and "step" not in before):
        return
    # Earlier versions stored nothing of a step over several devices.
    first, second = before.get("step"), after["step"]
    then = "unknown" if first is None else first.get("devices", "1")
    now = second.get("devices", "1")
    if then == now and "operations" in second:
        return
    warnings.warn(
        f"step: expected one that can be compared with that of the run in {folder}, devices"
        f" {then}, got devices {now}; a change of it would go unnoticed. A step of your own is"
        " compared on an unchanged number of devices, where it can be traced without shardings",
        CheckpointWarning,
        stacklevel=6,
    )


def _difference(before: dict[str, Any], after: dict[str, Any]) -> tuple[str, str] | None:
    """What two programs differ in; None where they do not, or are for other shapes or devices."""
    conditions = [(program.get("batch"), program.get("devices")) for program in (before, after)]
    if before == after or conditions[0] != conditions[1]:
        return None
    for name in ("name", "num_noise"):
        if before.get(name) != after.get(name):
            return f"{name} {before.get(name)}", str(after.get(name))
    numbers = before.get("numbers", []), after.get("numbers", [])
    changed = [pair for pair in zip(*numbers, strict=False) if pair[0] != pair[1]]
    if before.get("operations") == after.get("operations") and changed:
        return f"the number {changed[0][0]}", changed[0][1]
    return "the operations and constants", "others"
