"""Correlation in time: the statistical inefficiency of a series, and the samples that are left."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._checks import (
    as_real,
    as_sample_array,
    as_samples,
    as_weights,
    check_positive_int,
    check_same_batch,
    compute_dtype,
)
from nce_jax._eager import SampleSet, one_program
from nce_jax._numerics import expand, ignore_unweighted, total_weight, weighted_mean
from nce_jax._offset import Effect, without_typical
from nce_jax._ranges import known_values
from nce_jax._types import Array, Bool, Float, Int, Scalars, Weights
from nce_jax.free_energy._window import check_inefficiency


def statistical_inefficiency(
    values: Float[Array, "*batch n"],
    other: Float[Array, "*batch n"] | None = None,
    *,
    weights: Weights | None = None,
    min_lag: int = 3,
) -> Float[Array, "*batch"]:
    r"""How many consecutive samples of a time series are worth one independent sample.

    With the autocorrelation :math:`C_t` at lag t it is

    .. math:: g = 1 + 2 \sum_{t=1}^{T} \Big(1 - \frac{t}{n}\Big) C_t \ge 1,

    where the sum ends before the first lag beyond `min_lag` at which :math:`C_t` is not positive:
    what follows is noise. The variance of the mean of n values is that of n / g independent ones.
    A series has to be many times as long as g for the estimate to be of use; from a shorter one
    it is too small.

    All lags are computed by one Fourier transform, which takes as long for any correlation.

    Args:
      values: the series in time order, (*batch, n). Of a simulation take what the result depends
        on, such as the energy difference to the neighboring state. Of several observables, on a
        batch axis, the largest g serves for all.
      other: a second series of the same times. The result is then that of the pair, from their
        cross-correlation in both directions.
      weights: zero for padding at the end, and for values that are missing in between, whose place
        in time remains; all other weights count as one.
      min_lag: lags up to this one are counted whatever their sign.

    Returns:
      g, (*batch). It is 1 for a series that does not vary, such as a single value: it has no
      error that could be too small. It is NaN where a value is not finite, such as the work of a
      clash; a weight of zero leaves it out.

    Raises:
      TypeError: values that are not floating.
      ValueError: empty arrays, or series of different shapes.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from nce_jax import free_energy
      >>> steps = jax.random.normal(jax.random.key(0), (20_000,))
      >>> move = lambda x, step: (0.8 * x + step, 0.8 * x + step)
      >>> series = jax.lax.scan(move, 0.0, steps)[1]  # g = 1.8 / 0.2 = 9
      >>> print(f"{free_energy.statistical_inefficiency(series):.1f}")
      8.9

    References:
      Chodera, Swope, Pitera, Seok and Dill, Use of the weighted histogram analysis method for the
        analysis of simulated and parallel tempering simulations, 2007, section 2.4.
    """
    check_positive_int("min_lag", min_lag)
    if other is None:
        return _of_series(values, weights=weights, min_lag=min_lag)
    if np.shape(other) != np.shape(values):
        raise ValueError(
            f"other: expected the shape of values, {np.shape(values)}, got shape {np.shape(other)}"
        )
    # Each series may have a constant of its own, which float32 would not hold.
    first, second = (
        without_typical(as_sample_array(name, series))
        for name, series in (("values", values), ("other", other))
    )
    return _of_pair(first, second, weights=weights, weights_other=weights, min_lag=min_lag)


@one_program(SampleSet("values", "weights"), static=("min_lag",), effect=Effect())
def _of_series(values: Any, *, weights: Any, min_lag: int) -> jax.Array:
    deviations, weights = _deviations("values", values, weights)
    return _inefficiency(deviations, deviations, weights, min_lag)


@one_program(
    SampleSet("values", "weights"), SampleSet("other", "weights_other"), static=("min_lag",)
)
def _of_pair(
    values: Any, other: Any, *, weights: Any, weights_other: Any, min_lag: int
) -> jax.Array:
    first, weights = _deviations("values", values, weights)
    second, _ = _deviations("other", other, weights_other)
    check_same_batch(("values", "other"), first, second)
    return _inefficiency(first, second, weights, min_lag)


def _deviations(name: str, values: Any, weights: Any) -> tuple[jax.Array, jax.Array]:
    """Deviations from the mean in units of the largest, and weights of zero and one.

    Both are zero where the weight is.
    """
    values = as_samples(name, values)
    values = values.astype(compute_dtype(values))
    weights = as_weights("weights", weights, values)
    values = ignore_unweighted(values, weights)
    is_counted = jnp.ones_like(values) if weights is None else (weights > 0).astype(values.dtype)
    # This keeps the digits of values with a large constant in common; of equal values, whose mean
    # may be rounded, nothing is left.
    values = values - jax.lax.stop_gradient(values[..., :1])
    deviations = is_counted * (values - expand(weighted_mean(values, is_counted)))
    largest = jnp.max(jnp.abs(deviations), axis=-1, keepdims=True)
    return deviations / jnp.where(largest == 0, 1, largest), is_counted


def _inefficiency(
    first: jax.Array, second: jax.Array, weights: jax.Array, min_lag: int
) -> jax.Array:
    """g from deviations.

    (1 - t / n) C_t is the sum of products at lag t over that at lag zero: the number of pairs
    cancels, also where values are missing. A sum over all lags is zero, so that one which reaches
    the end of the series is 1 with and without the last lag.
    """
    place = jax.lax.broadcasted_iota(jnp.int32, first.shape, first.ndim - 1)
    lags = place[..., 1:]
    sums = _lagged_products(first, second)
    variance = jnp.sum(first * second, axis=-1)
    is_constant = variance == 0
    relative = sums[..., 1:] / expand(jnp.where(is_constant, 1, variance))
    # The number of pairs of values at a lag. Where there are none, the sum is rounding alone.
    has_pairs = _lagged_products(weights, weights)[..., 1:] > 0.5
    is_end = (relative <= 0) & has_pairs & (lags > min_lag)
    is_counted = (jnp.cumsum(is_end, axis=-1) == 0) & has_pairs
    inefficiency = 1 + 2 * jnp.sum(jnp.where(is_counted, relative, 0), axis=-1)
    inefficiency = jnp.where(is_constant, 1, jnp.maximum(inefficiency, 1))
    is_finite = jnp.all(jnp.isfinite(first) & jnp.isfinite(second), axis=-1)
    return jnp.where(is_finite & (total_weight(weights, weights) > 0), inefficiency, jnp.nan)


def _lagged_products(first: jax.Array, second: jax.Array) -> jax.Array:
    """The sums of products at every lag, of both directions in the mean; (*batch, n)."""
    size = first.shape[-1]
    # As many zeros follow the series, so that its end does not meet its beginning.
    length = 1 << (2 * size - 1).bit_length()
    spectra = [jnp.fft.rfft(series, length) for series in (first, second)]
    # The real part is the mean of the two directions.
    power = jnp.real(spectra[0] * jnp.conj(spectra[1]))
    return jnp.fft.irfft(power, length)[..., :size]


class Equilibration(NamedTuple):
    """Where a series is in equilibrium, with what is left of it; every field has the batch shape.

    Attributes:
      start: the first sample to keep, int32; -1 where a value is not finite.
      statistical_inefficiency: g of what is kept, NaN where a value is not finite.
      effective_samples: the number of samples that are kept over g.
    """

    start: Int[Array, "*batch"]
    statistical_inefficiency: Float[Array, "*batch"]
    effective_samples: Float[Array, "*batch"]


def detect_equilibration(
    values: Float[Array, "*batch n"],
    *,
    weights: Weights | None = None,
    num_starts: int = 100,
    min_lag: int = 3,
) -> Equilibration:
    r"""Where to cut the beginning of a time series that started out of equilibrium.

    A beginning that is kept too long biases a mean, and one that is cut too long wastes samples.
    The cut is the one of `num_starts`, in equal steps, that leaves the most effective samples,
    :math:`(n - t) / g_t` with the statistical inefficiency of what follows: a drift that is left in
    the series looks like a long correlation.

    Args:
      values: the series in time order, (*batch, n), such as the energy of a simulation.
      weights: as in `statistical_inefficiency`.
      num_starts: cuts that are tried, t = 0 among them; all, where the series is shorter.
      min_lag: as in `statistical_inefficiency`.

    Returns:
      An `Equilibration`. `jnp.arange(n) >= start` serves as weights of what is kept. A series that
      is still drifting at its end gets a late start and few effective samples; equal values count
      as one; a process slower than the series is not seen.

    Raises:
      TypeError: values that are not floating.
      ValueError: empty arrays, numbers out of their range.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from nce_jax import free_energy
      >>> series = jax.random.normal(jax.random.key(0), (2000,))
      >>> series = series + 5 * jnp.exp(-jnp.arange(2000) / 100)  # a relaxation
      >>> result = free_energy.detect_equilibration(series)
      >>> print(result.start, f"{result.effective_samples:.0f}")
      240 1669

    References:
      Chodera, A simple method for automated equilibration detection in molecular simulations, 2016.
    """
    check_positive_int("num_starts", num_starts)
    check_positive_int("min_lag", min_lag)
    return _equilibration(values, weights=weights, num_starts=num_starts, min_lag=min_lag)


@one_program(SampleSet("values", "weights"), static=("num_starts", "min_lag"), effect=Effect())
def _equilibration(values: Any, *, weights: Any, num_starts: int, min_lag: int) -> Equilibration:
    values = as_samples("values", values)
    weights = as_weights("weights", weights, values)
    counted = jnp.ones_like(values, bool) if weights is None else weights > 0
    place = jax.lax.broadcasted_iota(jnp.int32, values.shape, values.ndim - 1)
    size = jnp.max(jnp.where(counted, place + 1, 0))
    step = jnp.maximum(-(-size // num_starts), 1)

    def after(index: jax.Array) -> tuple[jax.Array, jax.Array]:
        kept = (counted & (place >= index * step)).astype(compute_dtype(values))
        deviations, kept = _deviations("values", values, kept)
        inefficiency = _inefficiency(deviations, deviations, kept, min_lag)
        number = jnp.sum(kept, axis=-1)
        # Equal values are worth one: a simulation that is stuck is not in equilibrium.
        is_stuck = jnp.all(deviations == 0, axis=-1) & (number > 0)
        return jnp.where(is_stuck, number, inefficiency), number

    inefficiencies, numbers = jax.lax.map(after, jnp.arange(num_starts))
    # The first cut leaves all samples; where there are none the result is NaN.
    is_left = (numbers > 0) | (numbers[:1] == 0)
    effective = jnp.where(is_left, numbers / inefficiencies, -1)
    best = jnp.argmax(effective, axis=0)
    take = lambda array: jnp.take_along_axis(array, best[None], axis=0)[0]
    is_known = jnp.isfinite(take(inefficiencies))
    start = jnp.where(is_known, best * step, -1).astype(jnp.int32)
    return Equilibration(start, take(inefficiencies), take(effective))


def decorrelated_mask(
    statistical_inefficiency: Scalars, *, num_samples: int
) -> Bool[Array, "*batch num_samples"]:
    """Which samples of a series to keep, so that about one is left of every g.

    The mask serves as weights, of `bar` for instance, and its shape does not depend on g.
    `np.flatnonzero` makes indices of it: 0, g, 2 g and so on, rounded. The samples that are left
    are nearly independent: where correlations fall exponentially, neighbors have one of e^-2, and
    errors that take them for independent are too small by up to an eighth; with the mask of 2 g, by
    a fiftieth. Estimates from all samples with `statistical_inefficiency` are more precise, and
    their errors have no such fault.

    Args:
      statistical_inefficiency: g >= 1, a number or one per series, (*batch).
      num_samples: length of the series.

    Returns:
      True at the samples that are kept; none where a traced g is below one.

    Raises:
      TypeError: arguments of another type.
      ValueError: numbers out of their range.

    Examples:
      >>> import numpy as np
      >>> from nce_jax import free_energy
      >>> mask = free_energy.decorrelated_mask(2.5, num_samples=11)
      >>> print(np.flatnonzero(mask))
      [ 0  2  5  8 10]

    References:
      Chodera, Swope, Pitera, Seok and Dill, Use of the weighted histogram analysis method for the
        analysis of simulated and parallel tempering simulations, 2007, section 2.4.
    """
    check_inefficiency(statistical_inefficiency)
    check_positive_int("num_samples", num_samples)
    spacing = as_real("statistical_inefficiency", statistical_inefficiency)
    known = known_values(spacing)
    # In float64, which holds the products below, wherever the values are known.
    numpy: Any = jnp if known is None else np
    spacing = (jnp.asarray(spacing) if known is None else known.astype(float))[..., None]
    index = numpy.arange(num_samples)
    rank = numpy.ceil((index - 0.5) / spacing)
    is_kept = (numpy.rint(rank * spacing) == index) | (numpy.rint((rank + 1) * spacing) == index)
    return jnp.asarray(is_kept & (spacing >= 1))
