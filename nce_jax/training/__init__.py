"""Training: the train step and the treatments of the normaliser. Needs optax, which is imported with this room."""

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
    "LogPartitionUpdate",
    "Metrics",
    "TrainState",
    "Treatment",
    "bar_step",
    "held",
    "init_train_state",
    "joint_gradient",
    "make_train_step",
    "solved",
]
