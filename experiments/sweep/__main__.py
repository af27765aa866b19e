"""Computes a grid of trainings: `python -m experiments.sweep <experiment>`; `... plot` draws it."""

import shlex
import sys
from collections.abc import Sequence

import tyro

from experiments.common.endings import one_line
from experiments.sweep.arguments import Command, Plot
from experiments.sweep.checks import check

PROGRAM = "python -m experiments.sweep"


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command.

    Whatever goes wrong ends in one line on stderr and an exit status that is not 0: 2 for an
    argument or a folder, 1 if every lane of a treatment failed.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    with one_line():
        _run(argv)


def _run(argv: list[str]) -> None:
    arguments = tyro.cli(
        Command,
        args=argv,
        prog=PROGRAM,
        description="Sweep trainings over a grid of settings and seeds, or plot a sweep.",
    )
    if isinstance(arguments, Plot):
        from experiments.sweep import plot  # not at the top: a sweep needs no matplotlib

        plot.main(arguments)
    else:
        check(arguments)
        # Not at the top, so that invalid arguments are reported without loading everything.
        from experiments.sweep import compute

        compute.run(arguments, shlex.join([*PROGRAM.split(), *argv]))


if __name__ == "__main__":
    main()
