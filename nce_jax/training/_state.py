"""What goes into a train step and what comes out: state, batch, metrics."""

from typing import Any, NamedTuple

from nce_jax._types import Array, Float, Params, Real
from nce_jax.training._faults import SampleFaults


class TrainState(NamedTuple):
    """Everything that a step needs in order to continue: a pytree of arrays.

    Attributes:
      params: the model's parameters.
      log_partition: F, a scalar; of a chain one per stage, (K,).
      opt_state: the optimizer's state.
      step: number of steps taken, int32.
      magnification_state: state of the magnification rule; () without a rule.
    """

    params: Params
    log_partition: Float[Array, "*stages"]
    opt_state: Any
    step: Real[Array, ""]
    magnification_state: Any = ()


class Batch(NamedTuple):
    """A batch that holds more than data samples: noise samples, or sample weights.

    Attributes:
      x_data: data samples, (n, ...).
      x_noise: noise samples, (m, ...), used instead of fresh draws; None draws them.
      weights_data: weights >= 0 of the data samples, (n,), zero for padding; None for equal ones.
      weights_noise: weights >= 0 of the noise samples, (m,), or None.
    """

    x_data: Any
    x_noise: Any = None
    weights_data: Real[Array, " n"] | None = None
    weights_noise: Real[Array, " m"] | None = None


class Metrics(NamedTuple):
    """Scalars that describe one step, and the counts of its faults.

    `loss` and `log_partition` belong to the parameters *before* the update. Of a chain of stages
    every metric is one number as well: the mean of the losses, the sum of the F and of the
    evaluations, the smallest overlap, the gravest status, and the geometric mean of the M.

    Attributes:
      loss: of the batch, in nats.
      log_partition: the F at which loss and gradient were taken.
      gradient_norm: Euclidean norm of the gradient in the parameters.
      num_evaluations: evaluations of the equation spent on F.
      status: a `Status`, int32.
      overlap: of model and noise at the loss's own kappa (at kappa = 1 for criteria without one).
        It equals `nce_jax.overlap` where F is solved for, and is a lower bound at any other F.
      magnification: M of the step where a rule adapts it, else None.
      faults: the samples that have no finite log ratio, which tell why a loss is not finite; two
        arrays of counts, in no record of `fit`.
      is_empty: where the batch has weights, whether all weights of a side are zero, int32, else
        None. Such a batch consists of padding: loss, gradient and overlap are zero, and of the
        state only `step` changes.
    """

    loss: Float[Array, ""]
    log_partition: Float[Array, ""]
    gradient_norm: Float[Array, ""]
    num_evaluations: Real[Array, ""]
    status: Real[Array, ""]
    overlap: Float[Array, ""]
    magnification: Float[Array, ""] | None = None
    faults: SampleFaults | None = None
    is_empty: Real[Array, ""] | None = None
