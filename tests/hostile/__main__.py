"""The campaign from the command line; it ends with status 1 where an answer is wrong."""

import dataclasses
import sys
from collections import defaultdict

import tqdm
import tyro

from tests.hostile import calls, solves


@dataclasses.dataclass(frozen=True)
class Arguments:
    """How many problems are tried, and from which seed."""

    num_solves: int = 100_000
    """Random solves, in batches of 256, at least one batch per configuration."""
    seed: int = 0
    """Seed of the problems."""


def report_solves(arguments: Arguments) -> int:
    """Tries the solvers, prints a line per solver and criterion, and returns the wrong answers."""
    num_configurations = len(solves.configurations())
    tallies = tqdm.tqdm(
        solves.run(arguments.num_solves, seed=arguments.seed),
        total=num_configurations,
        desc="solves",
    )
    groups = defaultdict(list)
    for tally in tallies:
        criterion = "nce" if tally.configuration.strength is None else "ratio_regularized"
        groups[tally.configuration.solver, criterion].append(tally)
        if tally.num_wrong:
            tqdm.tqdm.write(f"WRONG: {tally.num_wrong} of {tally.num_lanes}: {tally.configuration}")
            tqdm.tqdm.write(f"  for example {tally.example}")
    print(f"{'solver':18} {'criterion':18} {'solves':>8} {'failed':>8} {'wrong':>8}")
    for (solver, criterion), group in groups.items():
        counts = [sum(tally[i] for tally in group) for i in (1, 2, 3)]
        print(f"{solver:18} {criterion:18} " + " ".join(f"{count:8}" for count in counts))
    return sum(tally.num_wrong for group in groups.values() for tally in group)


def report_calls() -> int:
    """Calls the public functions, prints and counts what is wrong with their answers."""
    findings = list(calls.run())
    for finding in findings:
        print(f"{finding.function}({finding.argument}={finding.value}): {finding.fault}")
    print(f"{calls.num_calls()} hostile calls, {len(findings)} answered wrongly")
    return len(findings)


def main(arguments: Arguments) -> int:
    """The exit status: 1 where anything was wrong."""
    return int(report_calls() + report_solves(arguments) > 0)


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Arguments, prog="python -m tests.hostile", description=__doc__)))
