"""Training: the train step, the treatments of the normalizer, the loop, and device meshes.

Optax is imported with this module.
"""

from nce_jax.training._average import averaged_params, with_average
from nce_jax.training._callbacks import EarlyStopping, early_stopping
from nce_jax.training._checkpoints import CheckpointWarning
from nce_jax.training._critic_step import make_critic_step
from nce_jax.training._lines import RecordWarning
from nce_jax.training._load import load_checkpoint
from nce_jax.training._loop import FitResult, fit
from nce_jax.training._mesh import jit_train_step, make_mesh, shard_state, state_shardings
from nce_jax.training._processes import start_processes
from nce_jax.training._records import FailedSolvesWarning, LowOverlapWarning, NonFiniteError
from nce_jax.training._rows import Rows, gather_rows, touched_rows, update_rows
from nce_jax.training._stage_step import make_stage_step
from nce_jax.training._state import Batch, Metrics, TrainState
from nce_jax.training._step import TrainStep, make_train_step
from nce_jax.training._treatments import (
    LogPartitionUpdate,
    Treatment,
    bar_step,
    held,
    joint_gradient,
    solved,
)

__all__ = [
    "Batch",
    "CheckpointWarning",
    "EarlyStopping",
    "FailedSolvesWarning",
    "FitResult",
    "LogPartitionUpdate",
    "LowOverlapWarning",
    "Metrics",
    "NonFiniteError",
    "RecordWarning",
    "Rows",
    "TrainState",
    "TrainStep",
    "Treatment",
    "averaged_params",
    "bar_step",
    "early_stopping",
    "fit",
    "gather_rows",
    "held",
    "jit_train_step",
    "joint_gradient",
    "load_checkpoint",
    "make_critic_step",
    "make_mesh",
    "make_stage_step",
    "make_train_step",
    "shard_state",
    "solved",
    "start_processes",
    "state_shardings",
    "touched_rows",
    "update_rows",
    "with_average",
]
