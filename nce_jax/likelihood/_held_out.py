"""From a trained energy to the log-likelihood of held-out samples, with log Z between bounds."""

import math
import warnings
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._checks import as_floating, check_key, check_positive_int, compute_dtype
from nce_jax._contracts import check_event_shape, check_log_density_fn, check_params, evaluate_model
from nce_jax._distributions import as_noise
from nce_jax._types import Array, Float, LogDensityFn, Noise, Params, PRNGKeyArray
from nce_jax.likelihood._annealing import Annealing, anneal_both_ways, compiled_for
from nce_jax.likelihood._partition import bits_per_dimension, log_likelihood
from nce_jax.log_partition import MIN_EFFECTIVE_SAMPLES, Status

_BLOCK = 1024
"""Number of test samples whose log densities are computed at once."""

_MAX_DEVIATION = 4.0
"""Standard errors by which two estimates of log Z may differ: one pair in 16,000 does by chance."""

_MAX_SLOPE = 4.5
"""The same for the test of the slope, whose tails are heavier than those of a Gaussian."""

_MAX_EXCESS = 1.5
"""Nats by which log Z from the noise alone may lie above that of both directions, or log Z from the
test samples alone below it. By Markov's inequality, a chance of exp(-1.5) at most for chains at the
model; far less in practice, since few chains then carry most of the weight."""

_MAX_GAP = 15.0
"""Nats between the bounds on log Z. Samples whose weights spread so far rarely overlap."""

_MIN_ACCEPTANCE = 0.05
"""Acceptance rate of the chains below which most of them have hardly moved."""


class UnreliableLikelihoodWarning(UserWarning):
    """A held-out log-likelihood has failed one of its checks; its `problems` say which."""


class HeldOutLikelihood(NamedTuple):
    """The log-likelihood of held-out samples under a model whose log Z was estimated.

    Attributes:
      log_likelihood: mean over the test samples, in nats per sample.
      standard_error: of that mean: the spread over the test samples and the error of log Z.
      log_partition: log Z by Bennett's method, from the annealings in both directions, in nats.
      log_partition_standard_error: its standard error.
      lower: lower bound on log Z in expectation, the mean log weight from the noise to the model;
        where the model has no density at some chains, as `samplers.AnnealedEstimate.bound` says.
      upper: upper bound, minus the mean log weight from the model to the noise. It is one if the
        chains at the model are samples of it.
      forward: log Z by annealed importance sampling from the noise alone, biased low.
      reverse: the same from the model alone, biased high; with the log of the share of chains where
        the model has a density, since the noise elsewhere is not on the way back.
      overlap: of the log weights in both directions, between 0 and 1.
      effective_samples: effective number of chains behind the error of log Z.
      acceptance_rate: mean acceptance rate of the chains at the model.
      status: a `Status` of log Z.
      problems: what speaks against the estimate, in words and numbers; empty if it is reliable.
      num_dims: number of dimensions of a sample.
    """

    log_likelihood: float
    standard_error: float
    log_partition: float
    log_partition_standard_error: float
    lower: float
    upper: float
    forward: float
    reverse: float
    overlap: float
    effective_samples: float
    acceptance_rate: float
    status: Status
    problems: tuple[str, ...]
    num_dims: int

    @property
    def is_reliable(self) -> bool:
        """Whether the estimate has passed all checks; `problems` has those that it has failed."""
        return not self.problems

    def bits_per_dimension(self, num_levels: int = 1) -> tuple[float, float]:
        """Returns bits per dimension and their standard error.

        Args:
          num_levels: levels of each dimension before dequantization; one for continuous data.

        Returns:
          The pair, as `bits_per_dimension` of this module has it.

        Raises:
          TypeError: a count that is not an integer.
          ValueError: a count below one.
        """
        bits = bits_per_dimension(
            np.float64(self.log_likelihood), num_dims=self.num_dims, num_levels=num_levels
        )
        return float(bits), self.standard_error / (self.num_dims * math.log(2))


def held_out_log_likelihood(
    key: PRNGKeyArray,
    log_density_fn: LogDensityFn,
    params: Params,
    x_test: Float[Array, "samples ..."],
    noise: Noise,
    *,
    num_samples: int = 512,
    num_stages: int = 100,
    num_steps: int = 100,
    kernel: Any = None,
    log_det: Float[Array, " samples"] | None = None,
) -> HeldOutLikelihood:
    r"""Estimates the log-likelihood of held-out samples under an unnormalized model, and its error.

    It is :math:`\operatorname{mean}_i \varphi(x_i) - \log Z`. For log Z, `num_samples` chains are
    annealed from the noise to the model, and as many from the model to the noise: these begin at
    test samples and first take `num_steps` transitions at the model. Bennett's method on the log
    weights of both gives log Z, and their means the bounds. Since one set of chains comes from the
    noise and the other from the data, they disagree where chains do not mix, as when the model has
    a mode that the noise does not reach. A mode that neither the noise nor the test samples reach
    is missed by both, and shows in no field.

    Args:
      key: a typed PRNG key.
      log_density_fn: phi, `log_density_fn(params, x)`, in nats. For a model that is given as a log
        ratio, `lambda params, x: log_ratio_fn(params, x) + noise.log_prob(x)`.
      params: parameters of the trained model.
      x_test: held-out samples, (samples, ...), that were not used for training.
      noise: a normalized distribution from which annealing begins, such as that of the training;
        the nearer to the model, the fewer stages are needed.
      num_samples: number of chains in each direction; back from the test samples at most one for
        each of them, since chains from one start are not independent.
      num_stages: number of temperatures between noise and model.
      num_steps: number of transitions at the model before the way back to the noise; the step size
        is tuned in as many.
      kernel: None tunes the step size of `samplers.mala`; otherwise a kernel with a Metropolis test
        such as `samplers.hmc(0.1, 10)`, which is used at every temperature.
      log_det: log determinants of a change of variables, (samples,), as of `logit_transform`, that
        are added to the log densities of the test samples.

    Returns:
      A `HeldOutLikelihood` of Python numbers. A `UnreliableLikelihoodWarning` names the reasons
      where it is not reliable. It needs the extra `samplers`.

    Raises:
      TypeError: an argument of the wrong kind, named together with the likely cure.
      ValueError: shapes that do not fit, or counts below one.
      ImportError: blackjax is missing.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from nce_jax import likelihood, noise
      >>> log_density_fn = lambda mean, x: -0.5 * jnp.sum((x - mean) ** 2, axis=-1)
      >>> x_test = 1 + jax.random.normal(jax.random.key(0), (1000, 2))
      >>> result = likelihood.held_out_log_likelihood(
      ...     jax.random.key(1),
      ...     log_density_fn,
      ...     jnp.array(1.0),
      ...     x_test,
      ...     noise.standard_normal(2),
      ...     num_samples=200,
      ...     num_stages=20,
      ...     num_steps=50,
      ... )  # the truth is -1 - log(2 pi) = -2.84 in the mean over all samples
      >>> result.is_reliable, result.lower < result.log_partition < result.upper
      (True, True)
      >>> abs(result.log_likelihood + 2.8379) < 4 * result.standard_error < 0.3
      True

    References:
      Bennett, Efficient estimation of free energy differences from Monte Carlo data, 1976.
      Neal, Annealed importance sampling, 2001.
      Grosse, Ghahramani and Adams, Sandwiching the marginal likelihood using bidirectional Monte
        Carlo, 2015 (both directions).
    """
    check_key(key)
    check_log_density_fn(log_density_fn)
    check_params(params)
    x = _as_test_samples(x_test)
    noise = as_noise(noise)
    check_event_shape("x_test", x, noise)
    counts = {"num_samples": num_samples, "num_stages": num_stages, "num_steps": num_steps}
    for name, count in counts.items():
        check_positive_int(name, count)
    values = _log_densities(log_density_fn, params, x, log_det)
    # A chain that begins where the model has no density may never move.
    has_density = np.isfinite(np.asarray(values))
    x_start = x[has_density] if has_density.any() else x
    annealing = anneal_both_ways(key, log_density_fn, params, x_start, noise, counts, kernel)
    found = log_likelihood(values)  # the error of log Z may be infinite
    problems = (*_problems_of_log_partition(annealing), *_problems_of_samples(values))
    result = HeldOutLikelihood(
        log_likelihood=float(found.mean) - float(annealing.log_partition),
        standard_error=math.hypot(found.standard_error, annealing.standard_error),
        log_partition=float(annealing.log_partition),
        log_partition_standard_error=float(annealing.standard_error),
        lower=float(annealing.lower),
        upper=float(annealing.upper),
        forward=float(annealing.forward),
        reverse=float(annealing.reverse),
        overlap=float(annealing.overlap),
        effective_samples=float(annealing.effective_samples),
        acceptance_rate=float(annealing.acceptance_rate),
        status=Status(int(annealing.status)),
        problems=problems,
        num_dims=math.prod(x.shape[1:]),
    )
    if problems:
        warnings.warn(
            f"held_out_log_likelihood: {'; '.join(problems)}",
            UnreliableLikelihoodWarning,
            stacklevel=2,
        )
    return result


def _as_test_samples(x_test: Any) -> jax.Array:
    x = as_floating("x_test", x_test)
    if x.ndim == 0 or x.shape[0] == 0:
        raise ValueError(
            f"x_test: expected shape (samples, ...) with at least one sample, got shape {x.shape}"
        )
    return x


def _log_densities(log_density_fn: Any, params: Any, x: jax.Array, log_det: Any) -> jax.Array:
    """Log densities of the test samples, of some at a time, in float32 at least."""
    evaluate = compiled_for(_evaluated, log_density_fn)
    parts = [evaluate(params, x[start : start + _BLOCK]) for start in range(0, len(x), _BLOCK)]
    values = jnp.concatenate(parts)
    values = values.astype(compute_dtype(values))
    if log_det is None:
        return values
    log_det = as_floating("log_det", log_det)
    if log_det.shape != values.shape:
        raise ValueError(
            f"log_det: expected one value per test sample, shape {values.shape}, got shape"
            f" {log_det.shape}"
        )
    return values + log_det.astype(values.dtype)


def _evaluated(log_density_fn: Any, noise: None, params: Any, x: jax.Array) -> jax.Array:
    return evaluate_model(log_density_fn, params, x)


def _problems_of_log_partition(found: Annealing) -> list[str]:
    """What speaks against log Z, with the cure."""
    status = Status(int(found.status))
    if status not in (Status.CONVERGED, Status.LOW_OVERLAP):
        return [f"log Z could not be estimated (status {status.name}): {_why_none(status)}"]
    problems = []
    if status == Status.LOW_OVERLAP:
        problems.append(
            f"only {float(found.effective_samples):.2g} of the chains carry log Z, less than"
            f" {MIN_EFFECTIVE_SAMPLES:g}; more stages (num_stages), more chains (num_samples) or"
            " noise nearer to the model would help"
        )
    gap = float(found.upper - found.lower)
    if not gap <= _MAX_GAP:
        problems.append(
            f"the bounds on log Z are {gap:.2g} nats apart; more stages (num_stages) or a better"
            " kernel would bring them together, unless the chains miss a mode of the model"
        )
    if not abs(found.slope) <= _MAX_SLOPE:
        problems.append(
            "the log weights of both directions contradict each other, by"
            f" {abs(float(found.slope)):.1f} standard errors: the chains at the model are not"
            " samples of it; more transitions (num_steps) would help, unless they stay in one mode"
        )
    problems += [
        f"log Z from the {start} alone differs from that of both by {difference:.2g} nats, or"
        f" {deviation:.1f} standard errors: the chains at the model are not samples of it; more"
        " transitions (num_steps) or noise that covers all modes would help"
        for start, difference, deviation in found.deviations()
        if not abs(deviation) <= _MAX_DEVIATION
    ]
    problems += [
        f"log Z from the {start} alone, which is biased {bias}, lies {excess:.2g} nats"
        f" {place} that of both: the chains at the model are not samples of it, as where it has"
        " modes that neither the noise nor the test samples reach; noise that covers the model"
        " would help, or a model relative to the noise"
        for start, bias, place, excess in found.excesses()
        if not excess <= _MAX_EXCESS
    ]
    if not found.acceptance_rate >= _MIN_ACCEPTANCE:
        problems.append(
            f"the chains accept {float(found.acceptance_rate):.2g} of their proposals; a kernel"
            " with a smaller step size would help"
        )
    return problems


def _why_none(status: Status) -> str:
    """Why there is no log Z, with the cure."""
    if status == Status.NONFINITE:
        return (
            "the log density of the model or of the noise is NaN, or infinite on the wrong side, at"
            " samples of the chains; a model and test samples without NaN would help"
        )
    return (
        "the chains from the noise and those from the test samples have nothing in common; more"
        " stages (num_stages) or noise that covers the model would help"
    )


def _problems_of_samples(values: jax.Array) -> list[str]:
    """What speaks against the mean over the test samples."""
    problems = []
    num_bad = int(jnp.sum(~jnp.isfinite(values)))
    if num_bad:
        problems.append(
            f"the log density of {num_bad} of {values.size} test samples is not finite, and so is"
            " the log-likelihood"
        )
    if values.size == 1:
        problems.append("a single test sample has no standard error")
    return problems
