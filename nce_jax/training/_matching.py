"""Which array of a checkpoint goes to which leaf of a state, also of one with another optimizer."""

import re
from pathlib import Path
from typing import Any

Leaves = dict[str, str]
"""Dtype and shape by the path of a leaf."""

_OPTIMIZER = re.compile(r"(\['state'\])?(\.\w+)*?\.opt_state(\[\d+\]|\['[^']*'\]|\.inner_\w+)*")
_RULE = re.compile(r"(\['state'\])?(\.\w+)*?\.magnification_state")


def same_names(wanted: Leaves) -> dict[str, str | None]:
    """Every leaf from the array of its own name."""
    return {name: name for name in wanted}


def fitting_names(saved: Leaves, wanted: Leaves) -> dict[str, str | None]:
    """Every leaf from the array that fits; None where the optimizer or rule has no such state.

    The state of one transformation, such as Adam, is taken as a whole or not at all, wherever it
    stands in a chain: a count without its moments would be wrong.
    """
    names = same_names(wanted)
    for name in wanted:
        is_free = _OPTIMIZER.match(name) or _RULE.match(name)
        if is_free:
            names[name] = name if _RULE.match(name) and saved.get(name) == wanted[name] else None
    ours, theirs = _transformations(wanted), _transformations(saved)
    for kind, places in ours.items():
        for place, source in zip(places, theirs.get(kind, []), strict=False):
            names |= {place + field: source + field for field, _ in kind[1]}
    # A learning rate in the state, as by optax.inject_hyperparams, is chosen anew.
    return {name: None if is_hyperparameter(name) else source for name, source in names.items()}


def is_hyperparameter(name: str) -> bool:
    """Whether a leaf is a number that the user has chosen, and not one that training has moved."""
    return bool(_OPTIMIZER.match(name)) and ".hyperparams[" in name


def _transformations(leaves: Leaves) -> dict[Any, list[str]]:
    """The places of an optimizer's states by their kind, which is the same anywhere in a chain."""
    states: dict[str, Leaves] = {}
    for name, text in leaves.items():
        if match := _OPTIMIZER.match(name):
            states.setdefault(match[0], {})[name[match.end() :]] = text
    places: dict[Any, list[str]] = {}
    for place, fields in states.items():
        kind = re.sub(r"\[\d+\]", "", place), frozenset(fields.items())
        places.setdefault(kind, []).append(place)
    return places


def check_leaves(
    saved: Leaves, wanted: Leaves, names: dict[str, str | None], path: Path, is_strict: bool
) -> None:
    """Raises unless every array that is taken has dtype and shape of its leaf, and none is left."""
    sources = {name: source for name, source in names.items() if source is not None}
    left = [n for n in saved if n.startswith("['state']") and n not in sources.values()]
    if not is_strict:
        left = [name for name in left if not (_OPTIMIZER.match(name) or _RULE.match(name))]
    for name, source in [*sources.items(), *((name, name) for name in left)]:
        if saved.get(source) != wanted.get(name):
            raise ValueError(
                f"state: expected {saved.get(source, 'no array')} at {name} as in {path}, got"
                f" {wanted.get(name, 'none')}; the run was begun with another model, optimizer or"
                f" treatment: give those, or another folder{_cure(name)}"
            )


def _cure(name: str) -> str:
    if not (_OPTIMIZER.match(name) or _RULE.match(name)):
        return ""
    return "; allow_changes=('optimizer',) takes the optimizer's state as far as it fits"
