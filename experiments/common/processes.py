"""Several processes of one job on this machine, each with its share of (virtual) devices.

    python -m experiments.common.processes --num-processes 2 --devices 4 --
    experiments.scaling.train --num-steps 2000

The program that is started calls `join()` first. Where a process ends before its time, the others
are stopped, and the message says which one it was.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Annotated

import tyro

from nce_jax import training

PLACE = "NCE_JAX_PROCESS"
"""Environment variable that tells a process its number and that of all, as in "0/2"."""


class ProcessFailed(Exception):
    """A process ended with an error, or was killed."""


def join() -> None:
    """Joins the job that `launch` started; does nothing in a program that was started by itself."""
    if PLACE in os.environ:
        process, count = map(int, os.environ[PLACE].split("/"))
        training.start_processes(os.environ["JAX_COORDINATOR_ADDRESS"], count, process)


def launch(command: Sequence[str], num_processes: int, num_devices: int) -> None:
    """Runs `python -m command` as `num_processes` processes of `num_devices` devices each, to their
    end.
    """
    # A single process needs nobody to join.
    address = {"JAX_COORDINATOR_ADDRESS": f"localhost:{free_port()}"} if num_processes > 1 else {}
    running = []
    for process in range(num_processes):
        place = {PLACE: f"{process}/{num_processes}"} if num_processes > 1 else {}
        environment = os.environ | address | place | {"JAX_NUM_CPU_DEVICES": str(num_devices)}
        running.append(subprocess.Popen([sys.executable, "-m", *command], env=environment))
    try:
        _watch(running)
    finally:
        for process in running:
            process.kill()
            process.wait()


def _watch(running: list[subprocess.Popen]) -> None:
    while any(process.poll() is None for process in running):
        time.sleep(0.1)
        for number, process in enumerate(running):
            if process.poll():
                raise ProcessFailed(
                    f"process {number} of {len(running)} {_ending(process.returncode)}; stopped the"
                    " others. What it said is above; the same command goes on from the newest"
                    " checkpoint, if the program keeps any"
                )


def _ending(code: int) -> str:
    return (
        f"was ended by {signal.Signals(-code).name}"
        if code < 0
        else f"ended with exit status {code}"
    )


def free_port() -> int:
    """A port of this machine that nothing listens at."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


def main(
    command: Annotated[tuple[str, ...], tyro.conf.Positional],
    num_processes: int = 2,
    devices: int = 4,
) -> None:
    """Run a module as several processes of one job.

    Args:
        command: the module and its arguments, after "--".
        num_processes: how many.
        devices: virtual CPU devices of each.
    """
    # An exception: the processes are stopped on its way.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    try:
        launch(command, num_processes, devices)
    except ProcessFailed as failure:
        sys.exit(f"error: {failure}")


if __name__ == "__main__":
    tyro.cli(main)
