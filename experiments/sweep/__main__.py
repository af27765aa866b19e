"""Computes a grid of trainings: `python -m experiments.sweep <experiment>`; `... plot` draws it."""

import shlex
import sys
from collections.abc import Sequence

import tyro

from experiments.common.results import ResultError
from experiments.sweep.arguments import Command, Plot, UsageError, check

PROGRAM = "python -m experiments.sweep"


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command; an invalid argument prints one line on stderr and exits with status 2."""
    argv = sys.argv[1:] if argv is None else list(argv)
    arguments = tyro.cli(
        Command,
        args=argv,
        prog=PROGRAM,
        description="Sweep trainings over a grid of settings and seeds, or plot a sweep.",
    )
    try:
        if isinstance(arguments, Plot):
            from experiments.sweep import plot  # not at the top: a sweep needs no matplotlib

            plot.main(arguments)
        else:
            check(arguments)
            # Not at the top, so that invalid arguments are reported without loading everything.
            from experiments.sweep import compute

            compute.run(arguments, shlex.join([*PROGRAM.split(), *argv]))
    except (UsageError, ResultError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
