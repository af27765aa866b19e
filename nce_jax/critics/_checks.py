"""Checks of what a step of two players receives: critic, batches, samples, states."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from nce_jax._checks import check_instance, check_key, describe, is_key
from nce_jax._contracts import check_arrays, check_data
from nce_jax._options import FORMS, check_choice, check_function
from nce_jax._types import Array
from nce_jax._updates import check_opt_state
from nce_jax.training import Batch, TrainState, TrainStep


def check_critic(critic: Any) -> None:
    """Raises unless this is the train step of one log ratio whose noise comes with the batch."""
    check_instance("critic", critic, TrainStep, "training.make_critic_step(log_ratio_fn, ...)")
    if not critic.sides.is_ratio:
        raise TypeError(
            "critic: expected a train step of a log ratio, got one of a log density; make it by"
            " training.make_critic_step"
        )
    if critic.sides.noise is not None or critic.sides.stages is not None:
        got = "a noise of its own" if critic.sides.stages is None else "several stages"
        raise ValueError(
            f"critic: expected a train step whose noise are the generated samples, got one with"
            f" {got}; make it by training.make_critic_step"
        )


def check_form(form: Any, critic: TrainStep) -> None:
    """Raises unless the critic's criterion has this form of the generator's loss."""
    check_choice("form", form, FORMS)
    if critic.criterion.generator_loss is None and form != "reverse_kl":
        raise ValueError(
            f"form: expected reverse_kl for criterion {critic.criterion.name}, which has no"
            f" generator_loss of its own, got {form!r}"
        )


def check_augment(augment_fn: Any) -> None:
    """Raises unless this is a function of key and samples, or None."""
    if augment_fn is not None:
        check_function("augment_fn", augment_fn, "key and samples", num_arguments=2)


def as_batch(batch: Any, num_critic_steps: int, mesh: Mesh | None) -> Batch:
    """Data and their weights, which divide among the critic's steps and the devices."""
    batch = batch if isinstance(batch, Batch) else Batch(batch)
    for name in ("x_noise", "weights_noise"):
        if getattr(batch, name) is not None:
            raise ValueError(
                f"{name}: expected None, since the generator makes the noise samples, got"
                f" {describe(getattr(batch, name))}"
            )
    check_data("x_data", batch.x_data)
    counts = sorted({leaf.shape[0] for leaf in jax.tree.leaves(batch.x_data)})
    if len(counts) > 1 or counts[0] == 0:
        got = " and ".join(map(str, counts))
        raise ValueError(f"x_data: expected at least one sample, as many in all leaves, got {got}")
    if counts[0] % num_critic_steps:
        raise ValueError(
            f"x_data: expected a multiple of num_critic_steps, {num_critic_steps}, got"
            f" {counts[0]} samples"
        )
    num_devices = 1 if mesh is None else mesh.shape["data"]
    if (counts[0] // num_critic_steps) % num_devices:
        raise ValueError(
            f"x_data: expected a multiple of {num_critic_steps * num_devices}, of"
            f" num_critic_steps = {num_critic_steps} on {num_devices} devices each, got"
            f" {counts[0]} samples"
        )
    weights = batch.weights_data
    if weights is not None and jnp.shape(weights) != (counts[0],):
        raise ValueError(
            f"weights_data: expected one weight per sample, ({counts[0]},), got {describe(weights)}"
        )
    return batch


def check_samples(x: Any, x_data: Any) -> None:
    """Raises unless these are samples alone, each of the shape of a datum, that a gradient passes.

    Without a loss of its own the generator learns from them alone.
    """
    if _is_pair_with_loss(x, x_data):
        raise TypeError(
            "sample_fn: expected samples alone, since has_loss is False, got a pair of samples and"
            " a number; with has_loss=True the number is the generator's own loss"
        )
    _check_shapes(x, x_data)
    _check_differentiable(x)


def as_samples_and_loss(drawn: Any, x_data: Any) -> tuple[Any, Array]:
    """Samples, of which each has the shape of a datum, and the generator's own loss."""
    if not (isinstance(drawn, tuple) and len(drawn) == 2):
        raise TypeError(
            "sample_fn: expected a pair of samples and a loss, since has_loss is True, got"
            f" {describe(drawn)}"
        )
    x, loss = drawn
    _check_shapes(x, x_data)
    is_number = jnp.shape(loss) == () and hasattr(loss, "dtype")
    if not (is_number and jnp.issubdtype(loss.dtype, jnp.floating)):
        raise TypeError(
            f"sample_fn: expected a loss of one floating number, got {describe(loss)}; take its"
            " mean"
        )
    return x, loss


def _check_shapes(x: Any, x_data: Any) -> None:
    """Raises unless each sample has the structure and the shape of a datum."""
    check_data("the samples of sample_fn", x)
    of_data, of_samples = (str(jax.tree.structure(part)) for part in (x_data, x))
    if of_data != of_samples:
        raise ValueError(
            f"sample_fn: expected samples of the structure of data, {of_data}, got {of_samples}"
        )
    counts = sorted({leaf.shape[0] for leaf in jax.tree.leaves(x)})
    if len(counts) > 1:
        got = " and ".join(map(str, counts))
        raise ValueError(f"sample_fn: expected as many samples in all arrays, got {got}")
    shapes = [[leaf.shape[1:] for leaf in jax.tree.leaves(part)] for part in (x_data, x)]
    if shapes[0] != shapes[1]:
        expected, got = (" and ".join(map(str, of_part)) for of_part in shapes)
        raise ValueError(
            f"sample_fn: expected samples of the shape of a datum, {expected}, got {got}"
        )


def _is_pair_with_loss(drawn: Any, x_data: Any) -> bool:
    """Whether a pair of samples and a number came where data are no pair with numbers."""
    is_pair = isinstance(drawn, tuple) and len(drawn) == 2 and jnp.shape(drawn[1]) == ()
    return is_pair and not (isinstance(x_data, tuple) and len(x_data) == 2)


def _check_differentiable(x: Any) -> None:
    """Raises for samples that no gradient can pass, from which the generator cannot learn."""
    dtypes = [leaf.dtype for leaf in jax.tree.leaves(x)]
    if not any(jnp.issubdtype(dtype, jnp.inexact) for dtype in dtypes):
        got = " and ".join(map(str, dtypes))
        raise TypeError(
            f"sample_fn: expected floating samples, which the gradient passes, got {got}; return"
            " floating ones, and let augment_fn or the critic round them, or give the generator a"
            " loss of its own with has_loss=True"
        )


def check_arguments(state: Any, optimizer: Any, batch: Any, key: Any) -> None:
    """Raises unless the states are such as this step makes, and the key is one."""
    check_arrays("state", state)
    if not is_key(key) and is_key(batch):
        raise TypeError(
            f"key: expected a typed key, got {describe(key)}; the batch comes before the key"
        )
    check_key(key)
    check_instance("state.critic", state.critic, TrainState, "that of train.init(...)")
    check_opt_state(state, optimizer)
