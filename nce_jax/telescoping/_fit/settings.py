"""What the parts of a fit have to know of each other."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from nce_jax._types import Params
from nce_jax.telescoping._fit.draws import Source
from nce_jax.telescoping._fit.model import Spec, moments, no_moments

CHUNK = 20
"""Batches that one compiled program takes."""
_NEWTON_STEPS = 10
_DESCENT_SHARE = 20


class Settings(NamedTuple):
    """Host-side settings of a fit; `optimizer` None is Newton's method."""

    spec: Spec
    template: Params
    source: Source
    optimizer: optax.GradientTransformation | None
    kappa: float
    num_steps: int
    batch_size: int
    is_standardized: bool
    min_overlap: float
    max_stages: int

    @property
    def is_full_batch(self) -> bool:
        """Newton's method on a finite set of data takes all of it at once."""
        return self.optimizer is None and self.source.num_data is not None

    @property
    def pilot_steps(self) -> int:
        """Steps of one pilot fit."""
        return (
            _NEWTON_STEPS if self.optimizer is None else max(self.num_steps // _DESCENT_SHARE, 10)
        )

    def training_steps(self, pilot_steps: int, num_evaluated: int) -> int:
        """Steps left for training; raises where they are less than it takes, or than a quarter of
        all.
        """
        if self.is_full_batch:
            return self.num_steps
        fewest = max(self.num_steps // 4, self.pilot_steps if self.optimizer is None else 2 * CHUNK)
        if pilot_steps + num_evaluated + fewest > self.num_steps:
            raise ValueError(
                f"num_steps: expected at least {pilot_steps + num_evaluated + fewest}, got"
                f" {self.num_steps}: {pilot_steps} for the search of a schedule, {fewest} to train"
                f" and {num_evaluated} to evaluate"
            )
        return self.num_steps - pilot_steps - num_evaluated

    def moments(self, x: jax.Array) -> dict[str, jax.Array]:
        return jax.lax.stop_gradient((moments if self.is_standardized else no_moments)(x))

    def kappas(self, num_stages: int) -> jax.Array:
        return jnp.full(num_stages, self.kappa, jnp.result_type(float))


def padded(schedule: np.ndarray) -> np.ndarray:
    """At least 16 stages, and a power of two: fewer shapes to compile. The stages added lie between
    noise and itself.
    """
    num_stages = len(schedule) - 1
    wanted = max(16, 1 << (num_stages - 1).bit_length())
    return np.concatenate([schedule, np.ones(wanted - num_stages)])
