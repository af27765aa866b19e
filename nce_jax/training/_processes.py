"""Several processes that train one model: how they find each other, and who writes files."""

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
    """Joins this process to the others of a job, before anything else is done with JAX.

    `jax.distributed.initialize`, with less patience: where a process dies, or ends with an error,
    the others are stopped after `patience` seconds (JAX: 100, or 300) with a message on stderr that
    says which one it was. Start the job again, and `fit(..., resume=True)` goes on from the newest
    checkpoint.

    Args:
      coordinator: "host:port" of process 0. None, with the next two, leaves all to the cluster's
        own variables, as on Slurm or a TPU pod.
      num_processes: how many there are.
      process_id: which of them this is, from 0.
      patience: seconds without a sign of life after which a process counts as dead.
      **options: further ones of `jax.distributed.initialize`, such as `local_device_ids`.

    Raises:
      ValueError: `patience` is below 1; an id that is none of the processes; some of the first
        three without the others.
      RuntimeError: JAX has been used already, or the others were not found in time.

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
    """Whether this process writes the files that all share: the first one does."""
    return jax.process_index() == 0


def agreed(number: int) -> int:
    """What the first process says, on all of them: they may see a shared folder at different
    moments.
    """
    return (
        int(multihost_utils.broadcast_one_to_all(np.int32(number)))
        if jax.process_count() > 1
        else number
    )


def by_writer(method: Callable[P, R]) -> Callable[P, R | None]:
    """A method that does something on the first process only."""

    @functools.wraps(method)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R | None:
        return method(*args, **kwargs) if is_writer() else None

    return wrapped


def check_same(name: str, tree: Any, advice: str = "") -> None:
    """Raises where processes give different values for what is to be one tree; arrays that they
    share are one by nature.
    """
    if jax.process_count() == 1:
        return
    found = multihost_utils.process_allgather(np.uint32(_digest(tree)))
    if (found != found[0]).any():
        others = f"other values than process 0's on {np.flatnonzero(found != found[0]).tolist()}"
        raise ValueError(f"{name}: expected the same on every process, got {others}{advice}")


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
    """Raises where one of several processes keeps a part of the state to itself."""
    if jax.process_count() == 1:
        return
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        if getattr(leaf, "is_fully_addressable", True):
            name = jax.tree_util.keystr(path)
            raise ValueError(
                f"state: expected arrays on a mesh of all processes, got a local one at {name}"
            )
