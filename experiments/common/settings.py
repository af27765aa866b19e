"""Settings that make no sense, refused before a long run begins."""

from collections.abc import Collection, Iterable
from typing import Any

from experiments.common.endings import CommandError


def steps_between(config: Any, steps: str = "num_steps") -> int:
    """Steps from one of `num_checkpoints` measurements to the next.

    Raises:
        CommandError: there are fewer steps than measurements, or no measurement.
    """
    total, count = getattr(config, steps), config.num_checkpoints
    if not 1 <= count <= total:
        raise CommandError(f"num_checkpoints: expected 1 to {total}, the {steps}, got {count}")
    return total // count


def check_methods(methods: Iterable[str], known: Collection[str], setting: str = "methods") -> None:
    """Raises CommandError, with the setting's name, if there is no method of a name."""
    if unknown := [name for name in methods if name not in known]:
        raise CommandError(
            f"{setting}: expected some of {', '.join(map(repr, known))}, got {unknown[0]!r}"
        )


def check_includes(config: Any, name: str, *values: Any) -> None:
    """Raises CommandError unless a tuple has the values that headline numbers are named after."""
    for value in values:
        if value not in (found := getattr(config, name)):
            raise CommandError(
                f"{name}: expected {value!r} among them, for the headline numbers, got {found}"
            )


def check_lengths(config: Any, name: str, *others: str) -> None:
    """Raises CommandError unless other tuples have an entry for each one of a setting."""
    count = len(getattr(config, name))
    for other in others:
        if len(found := getattr(config, other)) != count:
            raise CommandError(
                f"{other}: expected {count} numbers, one for each of {name}, got {found}"
            )


def check_least(config: Any, least: int, *names: str) -> None:
    """Raises CommandError if a setting is smaller."""
    for name in names:
        if (value := getattr(config, name)) < least:
            raise CommandError(f"{name}: expected at least {least}, got {value}")


def check_even(config: Any, *names: str) -> None:
    """Raises CommandError unless a tuple's numbers are even and at least 2: pairs are made."""
    for name in names:
        for value in getattr(config, name):
            if value < 2 or value % 2:
                raise CommandError(f"{name}: expected even numbers from 2 on, got {value}")


def check_range(config: Any, name: str) -> None:
    """Raises CommandError unless a pair of positive numbers rises."""
    low, high = getattr(config, name)
    if not 0 < low < high:
        raise CommandError(f"{name}: expected two numbers 0 < low < high, got {low} and {high}")
