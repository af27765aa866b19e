"""Runs benchmarks: `python -m benchmarks.run [--only NAME ...] [--quick]`.

It writes results.json and docs/benchmarks.md.
"""

import importlib
import json
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import tyro

from benchmarks import render
from benchmarks.peers import MissingPeerError
from benchmarks.rows import AccuracyError, Report
from experiments.common import results
from experiments.common.endings import CommandError, one_line
from nce_jax._disk import FolderLock, write_atomic

TOPICS = (
    "bar", "many_states", "many_problems", "bootstrap",
    "train_step", "torch_step", "fit_loop", "resnet_step", "contrastive", "vocabulary",
    "latent", "sweep_lanes", "solver_steps",
    "ratio_estimation", "mutual_information",
    "first_call", "memory",
)  # fmt: skip
PEERS = ("pymbar", "FastMBAR", "torch", "densratio", "info-nce-pytorch")
COMMAND = "python -m benchmarks.run"


@dataclass(frozen=True)
class Arguments:
    """Which benchmarks run, and how long."""

    only: tuple[str, ...] = ()
    """Topics that run; all where none is named."""
    quick: bool = False
    """Fewer repetitions, into build/benchmarks: a trial, no result."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the requested topics; the exit status is 1 if one fails its accuracy check."""
    arguments = tyro.cli(
        Arguments, args=argv, prog=COMMAND, description="Run the benchmarks and render their page."
    )
    check_topics(arguments.only, TOPICS)
    output = render.TRIAL if arguments.quick else render.COMMITTED
    # A second run at the same time would disturb the first one's measurements as well.
    with FolderLock(output.json.parent, "output"):
        return _measure(arguments, output)


def check_topics(requested: Sequence[str], known: Sequence[str]) -> None:
    """Raises a CommandError that names the first topic which there is not."""
    for name in requested:
        if name not in known:
            raise CommandError(f"--only: expected topics of {', '.join(known)}, got {name}")


def _measure(arguments: Arguments, output: render.Output) -> int:
    stored = results.load_json(output.json, COMMAND) if output.json.exists() else {}
    failed, is_dirty = False, results.is_dirty()  # taken before this program writes files
    for topic in arguments.only or TOPICS:
        print(f"==> {topic}", file=sys.stderr, flush=True)
        try:
            stored[topic] = run_topic(topic, arguments.quick) | {"dirty": is_dirty}
        except MissingPeerError as error:
            print(f"  left out: {error}", file=sys.stderr)
            continue
        except AccuracyError as error:
            print(f"  error: {error}", file=sys.stderr)
            failed = True
            continue
        write(output.json, {name: stored[name] for name in TOPICS if name in stored})
    if stored:
        render.render(output)
        print(render.summary(stored))
    return int(failed)


def run_topic(topic: str, quick: bool) -> dict[str, Any]:
    """Entry of a topic in the JSON file: rows, details, and the machine before and after."""
    load_before, start = _load_average(), time.perf_counter()
    report: Report = importlib.import_module(f"benchmarks.{topic}").run(quick)
    return {
        "rows": [row.to_json() for row in report.rows],
        "amounts": [amount.to_json() for amount in report.amounts],
        "details": dict(report.details),
        "seconds": round(time.perf_counter() - start, 1),
        "load_before": load_before,
        "load_after": _load_average(),
        **context(),
    }


def context() -> dict[str, Any]:
    """Describes the code, the packages and the machine behind a benchmark."""
    provenance = results.provenance()
    versions = {
        **provenance["versions"],
        **{name: version for name in PEERS if (version := _version(name)) is not None},
    }
    return {
        "finished": provenance["finished"],
        "commit": provenance["commit"],
        "versions": versions,
        "machine": {
            "cpu": cpu_model(),
            "cores": os.cpu_count(),
            "platform": provenance["device"]["platform"],
        },
    }


def cpu_model() -> str:
    """Name of the processor, if the system provides it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def write(path: Path, stored: Mapping[str, Any]) -> None:
    """Writes the JSON file atomically."""
    write_atomic(path, json.dumps(stored, indent=1) + "\n")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _load_average() -> float | None:
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


if __name__ == "__main__":
    with one_line():
        sys.exit(main())
