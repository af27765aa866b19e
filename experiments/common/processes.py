"""Runs one job as several processes on this machine, each with its own (virtual) devices.

    python -m experiments.common.processes --num-processes 2 --devices 4 --
    experiments.scaling.train --num-steps 2000

The program that is started calls `join()` first. If a process ends early, the others are stopped,
and the error names it.
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

from experiments.common.endings import CommandError, one_line
from nce_jax import training

PROCESS_VARIABLE = "NCE_JAX_PROCESS"
"""Environment variable with a process's index and the number of processes, as in "0/2"."""


class ProcessFailed(CommandError):
    """A process ended with an error, or was killed."""


def join() -> None:
    """Joins the job that `launch` started; does nothing in a program that runs by itself."""
    if PROCESS_VARIABLE in os.environ:
        process, count = map(int, os.environ[PROCESS_VARIABLE].split("/"))
        training.start_processes(os.environ["JAX_COORDINATOR_ADDRESS"], count, process)


def launch(command: Sequence[str], num_processes: int, num_devices: int) -> None:
    """Runs `python -m command` in several processes of `num_devices` devices and waits for all."""
    # A single process has no job to join.
    address = {"JAX_COORDINATOR_ADDRESS": f"localhost:{free_port()}"} if num_processes > 1 else {}
    running = []
    for process in range(num_processes):
        index = {PROCESS_VARIABLE: f"{process}/{num_processes}"} if num_processes > 1 else {}
        environment = os.environ | address | index | {"JAX_NUM_CPU_DEVICES": str(num_devices)}
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
                    f"process {number} of {len(running)} {_ending(process.returncode)}; the others"
                    " were stopped. Its output is above; the same command resumes from the newest"
                    " checkpoint, if the program writes any"
                )


def _ending(code: int) -> str:
    return (
        f"was ended by {signal.Signals(-code).name}"
        if code < 0
        else f"ended with exit status {code}"
    )


def free_port() -> int:
    """Returns a port of this machine that no process listens on."""
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
        num_processes: number of processes.
        devices: number of virtual CPU devices per process.
    """
    # Exiting raises an exception, whose handlers stop the processes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    launch(command, num_processes, devices)


if __name__ == "__main__":
    with one_line():
        tyro.cli(main)
