"""An experiment at its smallest, run and drawn by one process: `python -m experiments.common.smoke
gaussian_1d`.

To import everything a second time takes longer than most of these figures.
"""

import runpy
import sys

import tyro


def main(topic: tyro.conf.Positional[str]) -> None:
    """Run the smoke preset of a topic, and draw it into build/smoke.

    Args:
        topic: the experiment's folder under experiments/.
    """
    for part in ("run", "plot"):
        sys.argv = [f"{topic}.{part}", "--preset", "smoke"]
        runpy.run_module(f"experiments.{topic}.{part}", run_name="__main__")


if __name__ == "__main__":
    tyro.cli(main)
