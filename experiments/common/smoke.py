"""Runs and draws an experiment at its smallest: `python -m experiments.common.smoke TOPIC`.

One process does both, since a second import of all packages would take longer than most of these
figures.
"""

import importlib.util
import runpy
import sys

import tyro

from experiments.common.endings import CommandError, one_line


def main(topic: tyro.conf.Positional[str]) -> None:
    """Run the smoke preset of a topic, and draw it into build/smoke.

    Args:
        topic: the experiment's folder under experiments/.
    """
    if importlib.util.find_spec(f"experiments.{topic}") is None:
        raise CommandError(f"topic: expected a folder under experiments/, got {topic}")
    for part in ("run", "plot"):
        sys.argv = [f"{topic}.{part}", "--preset", "smoke"]
        runpy.run_module(f"experiments.{topic}.{part}", run_name="__main__")


if __name__ == "__main__":
    with one_line():
        tyro.cli(main)
