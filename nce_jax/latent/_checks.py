"""Checks of what a step with latent variables receives: data, states, and the noise of a prior."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._checks import check_instance, describe
from nce_jax._contracts import check_data
from nce_jax._promotion import standard_promotion
from nce_jax.training import Batch, TrainState


def as_data(batch: Any) -> Any:
    """The data of a batch; raises where it has weights or noise, which would be ignored."""
    if not isinstance(batch, Batch):
        check_same_count("x_data", batch)
        return batch
    for name in ("x_noise", "weights_data", "weights_noise"):
        if getattr(batch, name) is not None:
            raise ValueError(
                f"{name}: expected None, since this step takes data alone, got"
                f" {describe(getattr(batch, name))}"
            )
    return as_data(batch.x_data)


def check_same_count(name: str, x: Any) -> None:
    """Raises unless `x` is a pytree of arrays with as many samples each, at least one."""
    check_data(name, x)
    counts = sorted({leaf.shape[0] for leaf in jax.tree.leaves(x)})
    if len(counts) > 1 or counts[0] == 0:
        got = " and ".join(map(str, counts))
        raise ValueError(f"{name}: expected at least one sample, as many in all leaves, got {got}")


def check_prior_state(prior: Any, state: Any) -> None:
    """Raises unless this is the state of a prior, or () of none."""
    if prior is not None:
        check_instance("state.prior", state, TrainState, "that of train.init(params, prior_params)")
    elif state != ():
        raise ValueError(
            "state: expected one from the init of this train step, which has no prior, got one with"
            " the state of a prior"
        )


def check_standard_normal(noise: Any) -> None:
    """Raises unless the noise of a prior is N(0, I), as far as its density is known here."""
    if noise is None:
        raise TypeError("prior: expected a train step with the noise N(0, I), got one without")
    shape = getattr(noise, "event_shape", None)
    if not (isinstance(shape, tuple) and callable(getattr(noise, "log_prob", None))):
        return
    points = np.linspace(-1.0, 1.5, 2 * int(np.prod(shape)), dtype=np.float32)
    points = points.reshape(2, *shape)
    with jax.ensure_compile_time_eval(), standard_promotion():
        found = noise.log_prob(jnp.asarray(points))
    expected = -(points**2 + np.log(2 * np.pi)).reshape(2, -1).sum(axis=1) / 2
    if isinstance(found, jax.core.Tracer) or np.allclose(found, expected, rtol=0.01):
        return
    raise ValueError(
        f"prior: expected the noise N(0, I), with log density {expected[0]:.4g} at"
        f" {points[0].tolist()}, got a noise with {np.ravel(found)[0]:.4g}"
    )
