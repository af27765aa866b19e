"""Training on several processes: how they are connected, and which one writes files."""

import functools
import zlib
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from nce_jax._checks import check_positive_int, is_key

P = ParamSpec("P")
R = TypeVar("R")


def start_processes(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    *,
    patience: int = 20,
    **options: Any,
) -> None:
    """Connects this process with the others of a job; to be called before any other use of JAX.

    It calls `jax.distributed.initialize` with shorter time limits: where a process dies or ends
    with an error, the others are stopped after `patience` seconds (JAX's defaults are 100 and 300)
    with a message on stderr that names the process. Start the job again, and `fit(...,
    resume=True)` continues from the newest checkpoint.

    Args:
      coordinator: "host:port" of process 0. None for this and the next two arguments takes them
        from the environment of the cluster, as on Slurm or a TPU pod.
      num_processes: number of processes.
      process_id: number of this process, from 0.
      patience: seconds without a sign of life after which a process counts as dead.
      **options: further options of `jax.distributed.initialize`, such as `local_device_ids`.

    Raises:
      ValueError: `patience` is below 1; `process_id` is out of range; some of the first three are
        given without the others.
      RuntimeError: JAX has been used already, or the other processes were not found in time.

    Examples:
      >>> from nce_jax import training
      >>> training.start_processes(
      ...     "localhost:12345", num_processes=2, process_id=0
      ... )  # doctest: +SKIP

    References:
      Bradbury et al., JAX: composable transformations of Python+NumPy programs, 2018 (multi-process
        programs).
    """
    check_positive_int("patience", patience)
    given = {"coordinator": coordinator, "num_processes": num_processes, "process_id": process_id}
    missing = [name for name, value in given.items() if value is None]
    if missing and len(missing) < len(given):
        raise ValueError(
            f"{missing[0]}: expected with the others of {list(given)}, or none of them, got None"
        )
    if num_processes is not None and process_id is not None and not 0 <= process_id < num_processes:
        raise ValueError(f"process_id: expected 0 to {num_processes - 1}, got {process_id}")
    jax.distributed.initialize(
        coordinator,
        num_processes,
        process_id,
        **{"heartbeat_timeout_seconds": patience, "shutdown_timeout_seconds": patience} | options,
    )


def is_writer() -> bool:
    """Whether this process, as the first one, writes the shared files."""
    return jax.process_index() == 0


def agreed(number: int) -> int:
    """The first process's number, on all of them: they may see a shared folder differently."""
    return (
        int(multihost_utils.broadcast_one_to_all(np.int32(number)))
        if jax.process_count() > 1
        else number
    )


def by_writer(method: Callable[P, R]) -> Callable[P, R | None]:
    """Makes a method act on the first process only."""

    @functools.wraps(method)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R | None:
        return method(*args, **kwargs) if is_writer() else None

    return wrapped


def check_same(name: str, tree: Any, advice: str = "") -> None:
    """Raises where processes give different values for a tree that they have to agree on."""
    if jax.process_count() == 1:
        return
    digests = multihost_utils.process_allgather(np.uint32(_digest(tree)))
    if (digests != digests[0]).any():
        differing = np.flatnonzero(digests != digests[0]).tolist()
        raise ValueError(
            f"{name}: expected the same on every process, got other values than process 0's on"
            f" {differing}{advice}"
        )


def _digest(tree: Any) -> int:
    digest = 0
    for leaf in jax.tree.leaves(tree):
        if not getattr(leaf, "is_fully_addressable", True):
            continue
        values = np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf)
        digest = zlib.crc32(
            values.tobytes(), zlib.crc32(f"{values.dtype}{values.shape}".encode(), digest)
        )
    return digest


def check_everywhere(state: Any) -> None:
    """Raises where one of several processes holds a part of the state alone."""
    if jax.process_count() == 1:
        return
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        if getattr(leaf, "is_fully_addressable", True):
            name = jax.tree_util.keystr(path)
            raise ValueError(
                f"state: expected arrays on a mesh of all processes, got a local one at {name}"
            )
