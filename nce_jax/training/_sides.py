"""The two sides of a batch, data and noise: where samples come from, and their log ratios."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from nce_jax._checks import describe
from nce_jax._contracts import (
    check_data,
    check_event_shape,
    check_noise_values,
    check_values,
    evaluate_model,
)
from nce_jax._numerics import fill_padding
from nce_jax._promotion import standard_promotion
from nce_jax._shared import shared
from nce_jax._types import Params, PRNGKeyArray
from nce_jax.training._sharding import gather, map_over_devices, split
from nce_jax.training._stages import Stages, worst, worst_of_stages
from nce_jax.training._state import Batch

Model = Callable[[Params, Any], jax.Array]


class Side(NamedTuple):
    """Samples of one side and their log noise density, None for a model of the log ratio."""

    x: Any
    log_noise: jax.Array | None


class Sides(NamedTuple):
    """What fixes the two sides of every batch.

    `num_noise` is None for as many noise samples as data samples; `is_ratio` says that the model
    gives the log ratio, so that the noise density is never evaluated. With `stages` both sides are
    bridges between data and noise, (K, n, ...). Where the model `is_spatial` it gives one log ratio
    for each place of a sample, (n, ...), and each of them counts as a sample.
    """

    noise: Any
    num_noise: int | None
    is_ratio: bool
    mesh: Mesh | None
    stages: Stages | None = None
    is_spatial: bool = False

    def check(self, batch: Batch) -> None:
        """Raises unless the samples and weights of a batch are arrays of shapes that fit."""
        for name in ("x_data", "x_noise") if batch.x_noise is not None else ("x_data",):
            check_data(name, getattr(batch, name))
            if self.noise is not None:
                check_event_shape(name, getattr(batch, name), self.noise)
        for name in ("weights_data", "weights_noise"):
            self._check_weights(name, getattr(batch, name), batch)

    def _check_weights(self, name: str, weights: Any, batch: Batch) -> None:
        if weights is None or (self.mesh is not None and not jnp.ndim(weights)):
            return  # `split` names a number
        check_data(name, weights)
        x = batch.x_noise if name == "weights_noise" else batch.x_data
        count = self.num_noise if name == "weights_noise" and x is None else None
        count = count or jax.tree.leaves(batch.x_data if x is None else x)[0].shape[0]
        if weights.shape != (count,):
            raise ValueError(
                f"{name}: expected one weight per sample, ({count},), got shape {weights.shape}"
            )

    def fill(self, batch: Batch) -> Batch:
        """The batch with samples of weight zero replaced: NaN in padding reaches no gradient."""
        x_noise, weights = batch.x_noise, batch.weights_noise
        return batch._replace(
            x_data=fill_padding(batch.x_data, batch.weights_data),
            x_noise=None if x_noise is None else fill_padding(x_noise, weights),
        )

    def of_batch(self, batch: Batch, key: PRNGKeyArray, step: jax.Array) -> tuple[Side, Side]:
        """Data, and the noise of the batch or fresh draws of it."""
        data, noise = self._given(batch.x_data), self._of_noise(batch, key, step)
        if self.stages is None:
            return data, noise
        of_data, of_noise = self.stages.sides(data.x, noise.x)
        return Side(of_data, None), Side(of_noise, None)

    def _of_noise(self, batch: Batch, key: PRNGKeyArray, step: jax.Array) -> Side:
        if batch.x_noise is not None:
            return self._given(batch.x_noise)
        count = self.num_noise or jax.tree.leaves(batch.x_data)[0].shape[0]
        return self._drawn(count, key, step)

    def _given(self, x: Any) -> Side:
        if self.is_ratio:
            return Side(x, None)
        with standard_promotion():
            log_noise = map_over_devices(self.noise.log_prob, self.mesh)(x)
        check_noise_values(log_noise, x)
        return Side(x, log_noise)

    def _drawn(self, count: int, key: PRNGKeyArray, step: jax.Array) -> Side:
        if self.noise is None:
            raise TypeError(
                "noise: expected a distribution, or a Batch with x_noise, got None and a batch"
                " without"
            )

        def draw(key: PRNGKeyArray) -> Side:
            with standard_promotion():
                drawn = self.noise.sample_and_log_prob(seed=key, sample_shape=(count,))
            if not isinstance(drawn, tuple) or len(drawn) != 2:
                raise TypeError(
                    "noise: expected sample_and_log_prob to return (samples, log densities), got"
                    f" {describe(drawn)}"
                )
            x, log_noise = drawn
            if self.is_ratio:
                return Side(split(x, self.mesh, "num_noise"), None)
            check_noise_values(log_noise, x)
            log_noise = split(log_noise, self.mesh, "num_noise")
            return Side(split(x, self.mesh, "num_noise"), log_noise)

        # Lanes of a sweep that differ only in M or in a rate use the same draws: this keeps XLA
        # from repeating them in each lane.
        return shared(draw, jax.random.fold_in(key, step), step=step)

    def rows(self, inputs: dict[str, Any], samples: tuple[Side, Side]) -> dict[str, Any]:
        """One log ratio per sample: of places or stages the one farthest from finite."""
        if self.stages is not None:
            return worst_of_stages(inputs)
        if not self.is_spatial:
            return inputs
        counts = [jax.tree.leaves(side.x)[0].shape[0] for side in samples]

        def of_samples(name: str, value: Any) -> Any:
            if value is None:
                return None
            places = value.reshape(counts[name.endswith("noise")], -1).T
            return places[0] if name.startswith("weights") else worst(places)

        return {name: of_samples(name, value) for name, value in inputs.items()}


def log_ratios(
    model: Model, params: Params, samples: tuple[Side, Side], sides: Sides
) -> dict[str, jax.Array]:
    """Log ratios of both sides, by the names that a criterion takes them under, on every device."""
    data, noise = (_log_ratio(model, params, side, sides) for side in samples)
    return gather({"log_ratio_data": data, "log_ratio_noise": noise}, sides.mesh)


def model_log_ratio(model: Model, params: Params, x: Any, sides: Sides) -> jax.Array:
    """The log ratio of samples by a model that gives it, of one stage."""
    if not sides.is_ratio:
        raise TypeError("train: expected the step of a log ratio, got that of a log density")
    if sides.stages is not None:
        raise ValueError(
            f"train: expected the step of one log ratio, got that of {sides.stages.num_stages}"
            " stages; nce_jax.telescoping.telescoped(stages_fn, num_stages) is their log ratio"
        )
    return _log_ratio(model, params, Side(x, None), sides)


def weights_of_places(weights: dict[str, Any], ratios: dict[str, jax.Array]) -> dict[str, Any]:
    """The weights of samples, repeated for the places that each of them has log ratios of."""

    def repeat(name: str, given: Any) -> Any:
        count = ratios[name.replace("weights", "log_ratio")].shape[-1]
        return None if given is None else jnp.repeat(given, count // given.shape[-1], axis=-1)

    return {name: repeat(name, given) for name, given in weights.items()}


def _log_ratio(model: Model, params: Params, side: Side, sides: Sides) -> jax.Array:
    if sides.stages is not None:
        return evaluate_model(model, params, side.x, "stages_fn", num_batch_axes=1)
    if sides.is_spatial:
        return evaluate_places(model, params, side.x)
    if side.log_noise is None:
        return evaluate_model(model, params, side.x, "log_ratio_fn")
    return evaluate_model(model, params, side.x) - side.log_noise


def evaluate_places(model: Model, params: Params, x: Any) -> jax.Array:
    """Log ratios of all places of all samples as one axis, those of a sample together."""
    values = model(params, x)
    count = jax.tree.leaves(x)[0].shape[0]
    expected = f"log_ratio_fn: expected one value for each place of every sample, ({count}, ...)"
    if not hasattr(values, "shape"):
        raise TypeError(f"{expected}, got {describe(values)}")
    if jnp.ndim(values) < 2 or values.shape[0] != count or values.size == 0:
        raise ValueError(f"{expected}, got shape {values.shape}")
    flat = values.reshape(-1)
    check_values("log_ratio_fn", flat, flat)
    return flat
