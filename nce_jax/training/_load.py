"""`load_checkpoint`: the state of a run at one of its checkpoints, for a new run to start from."""

import warnings
from os import PathLike
from typing import Any

from nce_jax._checks import check_positive_int
from nce_jax._contracts import check_arrays
from nce_jax._options import as_folder
from nce_jax.training._checkpoints import Checkpoints, CheckpointWarning
from nce_jax.training._files import strongly_typed
from nce_jax.training._matching import is_hyperparameter


def load_checkpoint(folder: str | PathLike[str], state: Any, *, step: int | None = None) -> Any:
    """Returns the state of a run of `fit` at a checkpoint, as a start for another run.

    After a divergence, a new run can start from an earlier step, with another key, a lower learning
    rate, or clipping: parameters and F are those of the checkpoint, and the optimizer's state is
    taken as far as it fits. The state of one transformation, such as that of Adam, is taken as a
    whole or begins anew, wherever it stands in a chain; a `CheckpointWarning` names what begins
    anew. Hyperparameters in the state, as by `optax.inject_hyperparams`, are those of `state`. The
    folder is only read.

    Args:
      folder: the folder of the run, as given to `fit`.
      state: a state like the one to be returned, `train.init(params)` of the new run: its shapes,
        dtypes and placement on devices count, and its values where the optimizer begins anew.
      step: number of the step after which the checkpoint was written. None takes the newest good
        one, which is complete and has not led to a divergence.

    Returns:
      A state like `state`.

    Raises:
      TypeError: `folder` is no path, `state` holds something else than arrays, or `step` is not an
        integer.
      FileNotFoundError: the folder holds no good checkpoint, or not that of `step`.
      ValueError: the checkpoint of `step` is damaged, or its parameters have other names, shapes or
        dtypes than those of `state`.

    Examples:
      >>> import tempfile
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from nce_jax import noise, training
      >>> def train_step(optimizer):
      ...     return training.make_train_step(
      ...         lambda theta, x: theta * x[:, 0] - x[:, 0] ** 2 / 2,
      ...         noise.standard_normal(1),
      ...         optimizer,
      ...     )
      >>> train = train_step(optax.adam(0.5))
      >>> x_data = 2 + jax.random.normal(jax.random.key(0), (256, 1))
      >>> folder = tempfile.mkdtemp()
      >>> result = training.fit(
      ...     train,
      ...     train.init(jnp.array(0.0)),
      ...     x_data,
      ...     jax.random.key(1),
      ...     num_steps=4,
      ...     folder=folder,
      ...     checkpoint_every=2,
      ...     log_every=2,
      ...     progress=False,
      ... )
      >>> clipped = train_step(optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.1)))
      >>> state = training.load_checkpoint(folder, clipped.init(jnp.array(0.0)), step=2)
      >>> print(f"step {state.step}, theta {state.params:.1f}")
      step 2, theta 1.0

    References:
      Orbax: https://orbax.readthedocs.io (the format of the arrays).
    """
    path = as_folder(folder)
    if path is None:
        raise TypeError("folder: expected the folder of a run, got None")
    check_arrays("state", state)
    if step is not None:
        check_positive_int("step", step)
    checkpoints = Checkpoints(path / "checkpoints", keep=2)
    try:
        loaded, fresh = checkpoints.read(
            _chosen(checkpoints, step), {"state": strongly_typed(state)}, is_strict=False
        )
    finally:
        checkpoints.close()
    fresh = [name for name in fresh if not is_hyperparameter(name)]
    if fresh:
        warnings.warn(
            f"checkpoint {checkpoints.folder / str(loaded.step)}: nothing fits {', '.join(fresh)},"
            " which begin anew",
            CheckpointWarning,
            stacklevel=2,
        )
    return loaded.tree["state"]


def _chosen(checkpoints: Checkpoints, step: int | None) -> int:
    """The step that was asked for, or that of the newest good checkpoint."""
    if step is None:
        newest = checkpoints.choose("none is loaded")
        if newest:
            return newest
    elif step in checkpoints.steps():
        # One where the loss diverged can be looked at; a damaged one cannot be trusted.
        fault = checkpoints.stored(step).fault(is_divergence=False)
        if fault is not None:
            raise ValueError(
                f"step: expected a complete checkpoint, got {checkpoints.folder / str(step)}:"
                f" {fault}"
            )
        return step
    wanted = "a good checkpoint" if step is None else f"the checkpoint of step {step}"
    raise FileNotFoundError(
        f"folder: expected a run with {wanted}, got {checkpoints.folder.parent} with those of"
        f" steps {checkpoints.steps()}"
    )
