"""`python -m experiments.sweep <experiment> ...` computes a grid of trainings, and `... plot
<file>` draws it.
"""

import shlex
import sys
from collections.abc import Sequence

import tyro

from experiments.common.results import ResultError
from experiments.sweep.arguments import Command, Plot, UsageError, check

PROGRAM = "python -m experiments.sweep"


def main(argv: Sequence[str] | None = None) -> None:
    """Does what the arguments ask for; an argument that makes no sense ends in one line on stderr
    and status 2.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    arguments = tyro.cli(
        Command,
        args=argv,
        prog=PROGRAM,
        description="Sweep trainings over a grid of settings and seeds, or plot a sweep.",
    )
    try:
        if isinstance(arguments, Plot):
            from experiments.sweep import plot  # here: matplotlib is of no use to a sweep

            plot.main(arguments)
        else:
            check(arguments)
            # Here, so that bad arguments are told without loading all of it.
            from experiments.sweep import compute

            compute.run(arguments, shlex.join([*PROGRAM.split(), *argv]))
    except (UsageError, ResultError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
