"""What a resumed run must have in common with the run that it continues, and how it is compared."""

import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from nce_jax._options import CHANGES, PARTS
from nce_jax.training._checkpoints import CheckpointWarning
from nce_jax.training._description import Description, Unlike, program_like
from nce_jax.training._digests import different_leaves as _unlike
from nce_jax.training._digests import summary
from nce_jax.training._matching import is_hyperparameter

FREES_OPTIMIZER = {"optimizer", "treatment", "magnification_rule", "step"}
"""Changes with which a part of the optimizer's state may not fit."""

# A difference on the left shows in the parts on the right as well, which are then not named.
_FOLLOWERS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(PARTS[:7], ("magnification_rule",)),
    "criterion": ("treatment", "magnification_rule"),
}

Differences = dict[str, tuple[str, str]]
"""What was expected and what came, by the name of what differs."""


def check_identity(
    saved: dict[str, Any],
    run: Description,
    restored: Any,
    allow_changes: Collection[str],
    folder: Path,
) -> dict[str, Any]:
    """Returns what the run is made of from now on.

    Raises unless that is what it was, up to the changes that are allowed.
    """
    current = run.values
    differences = _samples(saved, current)
    if saved["key"] != current["key"]:
        differences["key"] = "the key", "another key"
    differences |= _programs(saved, run, folder)
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


def _programs(saved: Mapping[str, Any], run: Description, folder: Path) -> Differences:
    """The parts whose programs differ; those without a program on one side are not compared."""
    current = run.values
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
    alike = {name: program_like(run, name, before[name]) for name in common}
    _warn_of_batches([n for n, program in alike.items() if program == Unlike(None)], folder)
    pairs = {name: _difference(before[name], alike[name]) for name in common}
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


def _warn_of_batches(names: list[str], folder: Path) -> None:
    """Warns where other batches are the reason why a part is not compared."""
    if names:
        warnings.warn(
            f"{', '.join(names)}: expected batches of as many arrays as in the run in {folder}, got"
            " others, for which programs cannot be compared; a change of it would go unnoticed",
            CheckpointWarning,
            stacklevel=6,
        )


def _difference(before: dict[str, Any], after: dict[str, Any] | Unlike) -> tuple[str, str] | None:
    """What two programs differ in; None where they do not, or cannot be compared."""
    if isinstance(after, Unlike):
        expected = f"one for batches of {', '.join(before['batch'])}"
        return (
            None if after.error is None else (expected, f"one that raises {after.error} for them")
        )
    if before == after or before.get("devices") != after.get("devices"):
        return None
    for name in ("name", "num_noise"):
        if before.get(name) != after.get(name):
            return f"{name} {before.get(name)}", str(after.get(name))
    numbers = before.get("numbers", []), after.get("numbers", [])
    changed = [pair for pair in zip(*numbers, strict=False) if pair[0] != pair[1]]
    if before.get("operations") == after.get("operations") and changed:
        return f"the number {changed[0][0]}", changed[0][1]
    return "the operations and constants", "others"
