"""Groups of samples that depend on one another, and folds that hold every group as a whole."""

from typing import Any, NamedTuple

import jax
import numpy as np

from nce_jax._checks import check_positive_int, describe
from nce_jax._samples import HoldOut
from nce_jax._types import PRNGKeyArray

_MIN_GROUPS = 4
"""The smallest number of groups in a set: a fold to assess, one to select by, two to train on."""

_FOLDS = (3, 10)
"""The smallest and the largest number of folds."""

MIN_HELD_OUT = 4
"""The smallest number of samples held out of each set: two halves, with an error bar for each."""


class Side(NamedTuple):
    """The group, the fold and the weight of every sample of one set, (n,) each."""

    group: np.ndarray
    fold: np.ndarray
    weights: np.ndarray


def hold_out_groups(
    key: PRNGKeyArray, sets: tuple[jax.Array, jax.Array], labels: tuple[Any, Any], fraction: float
) -> tuple[HoldOut, HoldOut]:
    """Splits two sets so that all samples of a label are on one side of both splits.

    About a `fraction` of each set is held out. A fit to one set alone gives it twice.

    Args:
      key: key for the choice of the groups and for the order of the samples.
      sets: samples, (n, ...) and (m, ...).
      labels: one label per sample, or None for a set of independent samples.
      fraction: the share that is held out.
    """
    groups = as_groups(*labels, None, (len(sets[0]), len(sets[1])))
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())
    parts = []
    for samples, side in zip(sets, make_folds(rng, groups, fraction), strict=True):
        is_held_out = side.fold == 0
        order = np.argsort(~is_held_out, kind="stable")
        count = int(is_held_out.sum())
        parts.append(HoldOut(samples[order[count:]], samples[order[:count]]))
    return parts[0], parts[1]


def as_groups(
    groups_data: Any,
    groups_noise: Any,
    block_size: int | None,
    sizes: tuple[int, int],
    is_kept: tuple[Any, Any] = (slice(None), slice(None)),
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the groups of both sets, of the samples that are kept.

    A label that occurs in both sets is one group. Without labels, every sample is a group, or every
    block of consecutive samples.

    Args:
      groups_data: labels of the data, or None.
      groups_noise: labels of the noise, or None.
      block_size: consecutive samples of a group, or None.
      sizes: number of samples of both sets as they were given.
      is_kept: which of them are kept.
    """
    given = {"groups_data": groups_data, "groups_noise": groups_noise}
    if block_size is not None:
        check_positive_int("block_size", block_size)
        named = [name for name, labels in given.items() if labels is not None]
        if named:
            raise ValueError(
                f"block_size: expected None with {named[0]}, got {block_size}; a block is a group"
                " of consecutive samples"
            )
    numbers: dict[Any, int] = {}
    sides: list[np.ndarray] = []
    for index, ((name, labels), size) in enumerate(zip(given.items(), sizes, strict=True)):
        if labels is None:
            # Beyond the numbers of all labels, and apart from those of the other set.
            side = np.arange(size) // (block_size or 1) + (index + 1) * sum(sizes)
        else:
            side = np.array(
                [numbers.setdefault(label, len(numbers)) for label in _labels(name, labels, size)]
            )
        side = side[is_kept[index]]
        _check_number(name, side, labels is not None or block_size is not None)
        sides.append(side)
    return sides[0], sides[1]


def _labels(name: str, labels: Any, size: int) -> list[Any]:
    labels = np.asarray(labels)
    if labels.shape != (size,):
        raise ValueError(
            f"{name}: expected one label per sample, shape ({size},), got {describe(labels)}"
        )
    is_missing = np.array([label is None or label != label for label in labels.tolist()], bool)
    if is_missing.any():
        raise ValueError(
            f"{name}: expected a label for every sample, got {int(is_missing.sum())} that are"
            " missing"
        )
    return labels.tolist()


def _check_number(name: str, groups: np.ndarray, is_grouped: bool) -> None:
    count = len(np.unique(groups))
    if is_grouped and count < _MIN_GROUPS:
        raise ValueError(
            f"{name}: expected at least {_MIN_GROUPS} groups or blocks, of which some are held out,"
            f" got {count}"
        )


def make_folds(
    rng: np.random.Generator,
    groups: tuple[np.ndarray, np.ndarray],
    held_out: float,
    weights: tuple[np.ndarray | None, np.ndarray | None] = (None, None),
) -> tuple[Side, Side]:
    """Assigns all groups to folds at random.

    Fold 0 has the share `held_out` of each set; the others divide the rest equally. There are about
    1 / `held_out` folds, so that 0.2 makes five of equal size.
    """
    num_groups = min(len(np.unique(side)) for side in groups)
    num_folds = min(max(round(1 / held_out), _FOLDS[0]), _FOLDS[1], num_groups)
    shares = np.full(num_folds, (1 - held_out) / (num_folds - 1))
    shares[0] = held_out
    sizes = [len(side) for side in groups]
    # A label of both sets counts once: a sample of each set with one label is a group of two.
    if len(np.unique(np.concatenate(groups))) == sum(sizes):
        folds = [_divided(rng, size, shares) for size in sizes]
    else:
        folds = _divided_groups(rng, groups, shares)
        _check_folds(folds, num_folds)
    of_sides = [
        np.ones(size) if given is None else given
        for size, given in zip(sizes, weights, strict=True)
    ]
    return Side(groups[0], folds[0], of_sides[0]), Side(groups[1], folds[1], of_sides[1])


def _check_folds(folds: list[np.ndarray], num_folds: int) -> None:
    for name, fold in zip(("groups_data", "groups_noise"), folds, strict=True):
        num_empty = num_folds - len(np.unique(fold))
        if num_empty:
            raise ValueError(
                f"{name}: expected groups that can be divided into {num_folds} folds with samples"
                f" of both sets, got {num_empty} folds without; a larger held_out makes fewer folds"
            )


def _divided(rng: np.random.Generator, size: int, shares: np.ndarray) -> np.ndarray:
    """Folds of independent samples."""
    # Two samples remain in any case: one to choose by, one to train on.
    first = min(max(round(shares[0] * size), MIN_HELD_OUT), size - 2)
    rest = np.arange(size - first) % (len(shares) - 1) + 1
    return rng.permutation(np.concatenate([np.zeros(first, int), rest]))


def _divided_groups(
    rng: np.random.Generator, groups: tuple[np.ndarray, np.ndarray], shares: np.ndarray
) -> list[np.ndarray]:
    """Folds of groups: the largest first, each into the fold that lacks most of its two sets."""
    _, numbers = np.unique(np.concatenate(groups), return_inverse=True)
    sides = np.split(numbers, [len(groups[0])])
    sizes = np.stack([np.bincount(side, minlength=numbers.max() + 1) for side in sides])
    sizes = sizes / sizes.sum(axis=1, keepdims=True)
    order = rng.permutation(sizes.shape[1])
    order = order[np.argsort(-sizes[:, order].max(axis=0), kind="stable")]
    fold, missing = np.empty(len(order), int), np.stack([shares, shares])
    for group in order:
        fold[group] = np.argmax((sizes[:, group] @ missing) / shares)
        missing[:, fold[group]] -= sizes[:, group]
    return [fold[side] for side in sides]
