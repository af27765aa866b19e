"""Command line of an experiment: choose a preset, override fields of its config, run, save.

An experiment's `run.py` is its pure function and three lines:

    def experiment(config: Config, key: jax.Array) -> Result: ...

    if __name__ == "__main__":
        cli.main("topic", PRESETS, experiment)
"""

import dataclasses
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import tyro

from experiments.common import endings, pieces, results
from nce_jax._disk import FolderLock, remove_temporary_files

Experiment = Callable[[Any, jax.Array], results.Result]
LARGEST = 2**31 - 1
"""Largest integer of a config: seeds, counts and steps are int32 in programs."""


def main(
    topic: str,
    presets: Mapping[str, Any],
    experiment: Experiment,
    argv: Sequence[str] | None = None,
) -> None:
    """Runs `experiment(config, key)` with the settings of the command line and saves its result.

    The output folder is created, tested and locked before anything is computed. Pieces are removed
    after the result is written. Whatever goes wrong ends in one line on stderr and an exit status
    that is not 0; so does a result in which nothing is finite, though it is saved.

    Args:
        topic: the experiment's folder under experiments/.
        presets: name -> config, a frozen dataclass with a field `seed`; the first is the default.
        experiment: a pure function of the config and a key made from its seed.
        argv: arguments; by default those of the process.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    with endings.one_line():
        preset, config, folder = parse(topic, presets, argv)
        check_integers(config)
        command = shlex.join(["python", "-m", f"experiments.{topic}.run", *argv])
        with FolderLock(folder, "output"):
            remove_temporary_files(folder)
            context = {"topic": topic, "preset": preset, "command": command, "config": config}
            result = _run(experiment, folder, context)
        pieces.remove(result.pieces)
        if result.is_all_failed():
            endings.end(f"{topic}: every lane failed: no headline number is finite", 1)


def _run(experiment: Experiment, folder: Path, context: Mapping[str, Any]) -> results.Result:
    topic, config = context["topic"], context["config"]
    print(f"{topic}, preset {context['preset']}: {config}", flush=True)
    start = time.perf_counter()
    result = experiment(config, jax.random.key(config.seed))
    jax.block_until_ready(result.arrays)
    seconds = round(time.perf_counter() - start, 3)
    manifest = results.save(folder, result, **context, seed=config.seed, wall_time_seconds=seconds)
    for name, value in result.headline.items():
        print(f"  {name} = {float(value):.6g}")
    for name, lanes in manifest["failed_lanes"].items():
        print(f"  failed: {name}: {lanes}")
    print(f"{topic}: {seconds:.1f} s, results in {folder}", flush=True)
    return result


def check_integers(config: Any) -> None:
    """Raises a `CommandError` that names the first integer of a config that int32 cannot hold."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        for number in value if isinstance(value, tuple | list) else (value,):
            if isinstance(number, int) and abs(number) > LARGEST:
                raise endings.CommandError(
                    f"{field.name}: expected an integer of at most {LARGEST}, got {number}"
                )


def parse(topic: str, presets: Mapping[str, Any], argv: Sequence[str]) -> tuple[str, Any, Path]:
    """Returns the preset, config and output folder of the arguments; exits if they are invalid."""
    preset = _preset_in(argv, presets)
    arguments = dataclasses.make_dataclass(
        "Arguments",
        [
            (
                "preset",
                _documented(Literal[*presets], "settings to start from: the defaults shown here"),
            ),
            ("output", _documented(Path | None, "folder [build/results/<topic>/<preset>]"), None),
            ("config", tyro.conf.OmitArgPrefixes[type(presets[preset])], presets[preset]),
        ],
    )
    parsed = tyro.cli(
        arguments,
        args=argv,
        default=arguments(preset=preset),
        prog=f"python -m experiments.{topic}.run",
        description=f"Compute the results of experiments/{topic}.",
    )
    # A run with other settings is stored elsewhere: figures and checks read the preset's own.
    name = preset if parsed.config == presets[preset] else "custom"
    return preset, parsed.config, parsed.output or results.default_folder(topic, name)


def _preset_in(argv: Sequence[str], presets: Mapping[str, Any]) -> str:
    """The preset named in the arguments, needed before parsing because it sets the defaults."""
    joined = " ".join(argv).replace("--preset=", "--preset ").split()
    name = joined[joined.index("--preset") + 1 :][:1] if "--preset" in joined else []
    # Tyro reports any other name.
    return name[0] if name and name[0] in presets else next(iter(presets))


def _documented(kind: Any, text: str) -> Any:
    return Annotated[kind, tyro.conf.arg(help=text)]
