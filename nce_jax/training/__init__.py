"""Training: the train step, the treatments of the normaliser, and the loop. Needs optax, imported
with this room."""

from nce_jax.training._checkpoints import CheckpointWarning as CheckpointWarning
from nce_jax.training._collectives import Collective as Collective
from nce_jax.training._collectives import collectives as collectives
from nce_jax.training._loop import FitResult as FitResult
from nce_jax.training._loop import fit as fit
from nce_jax.training._mesh import jit_train_step as jit_train_step
from nce_jax.training._mesh import make_mesh as make_mesh
from nce_jax.training._mesh import shard_state as shard_state
from nce_jax.training._mesh import state_shardings as state_shardings
from nce_jax.training._processes import start_processes as start_processes
from nce_jax.training._records import FailedSolvesWarning as FailedSolvesWarning
from nce_jax.training._records import LowOverlapWarning as LowOverlapWarning
from nce_jax.training._records import NonFiniteError as NonFiniteError
from nce_jax.training._rows import Rows as Rows
from nce_jax.training._rows import gather_rows as gather_rows
from nce_jax.training._rows import touched_rows as touched_rows
from nce_jax.training._rows import update_rows as update_rows
from nce_jax.training._step import Batch as Batch
from nce_jax.training._step import Metrics as Metrics
from nce_jax.training._step import TrainState as TrainState
from nce_jax.training._step import init_train_state as init_train_state
from nce_jax.training._step import make_train_step as make_train_step
from nce_jax.training._treatments import LogPartitionUpdate as LogPartitionUpdate
from nce_jax.training._treatments import Treatment as Treatment
from nce_jax.training._treatments import bar_step as bar_step
from nce_jax.training._treatments import held as held
from nce_jax.training._treatments import joint_gradient as joint_gradient
from nce_jax.training._treatments import solved as solved

__all__ = [
    "Batch",
    "CheckpointWarning",
    "Collective",
    "FailedSolvesWarning",
    "FitResult",
    "LogPartitionUpdate",
    "LowOverlapWarning",
    "Metrics",
    "NonFiniteError",
    "Rows",
    "TrainState",
    "Treatment",
    "bar_step",
    "collectives",
    "fit",
    "gather_rows",
    "held",
    "init_train_state",
    "jit_train_step",
    "joint_gradient",
    "make_mesh",
    "make_train_step",
    "shard_state",
    "solved",
    "start_processes",
    "state_shardings",
    "touched_rows",
    "update_rows",
]
