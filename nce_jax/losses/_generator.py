"""The other player's loss: what a generator or a sampler minimizes against a critic of NCE."""

from typing import Any, Literal

import jax
import jax.numpy as jnp

from nce_jax._checks import as_samples, as_scalar, as_weights
from nce_jax._dtypes import compute_dtype
from nce_jax._eager import SampleSet, one_program
from nce_jax._numerics import (
    expand,
    has_no_weight,
    ignore_unweighted,
    log_noise_weight,
    softplus,
    stop_where,
    weighted_mean,
)
from nce_jax._options import FORMS, check_choice
from nce_jax._types import Array, Float, LogRatio, Scalars, Weights


def generator_loss(
    log_ratio: LogRatio,
    *,
    log_partition: Scalars = 0.0,
    magnification: Scalars = 1.0,
    noise_ratio: Scalars = 1.0,
    weights: Weights | None = None,
    form: Literal["non_saturating", "reverse_kl"] = "non_saturating",
) -> Float[Array, "*batch"]:
    r"""The loss of samples that a critic should take for data: of a generator, sampler or student.

    With u = s - F of the generated samples, which are the critic's noise, it is

    .. math::

       L_{\text{non-saturating}} = E[\operatorname{softplus}(u - \log\kappa) - u], \qquad
       L_{\text{reverse KL}} = -E[u].

    The first is the logistic loss of calling the samples data, less the constant log kappa: at
    kappa = 1 the non-saturating loss of a generative adversarial network. A sample passes the
    gradient -kappa / (kappa + e^u) to its log ratio, so that samples which the critic takes for
    data count less, the more so the smaller kappa is. As kappa grows all samples count alike, and
    the limit is the second: at the true log ratio of data and generator, KL(generator || data), in
    nats. Its gradient does not depend on F, nor on M.

    The critic is trained by `nce_loss`, with data against these samples and the same F, M and
    noise ratio. Its parameters must not be moved by this loss: differentiate with respect to the
    samples, or to the parameters that made them.

    Args:
      log_ratio: s of the generated samples, (*batch, n), in nats.
      log_partition: F, a number or one per batch entry.
      magnification: M > 0, a number or one per batch entry, traced.
      noise_ratio: nu > 0, a number or one per batch entry, traced; kappa = nu M.
      weights: weights >= 0 of the samples, for a weighted mean. A sample of weight zero is ignored,
        even if it is NaN.
      form: "non_saturating" or "reverse_kl".

    Returns:
      The loss, (*batch), in nats; float32 for inputs of lower precision. It is zero, and so is its
      gradient, where all weights are zero. Where F is NaN it is NaN and passes no gradient. A
      sample with s = -inf, which the critic excludes from the data, makes it infinite.

    Raises:
      TypeError: log ratios or weights that are not floating.
      ValueError: an empty array, plain numbers out of their range, or another `form`.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> s = jnp.array([-1.0, 0.5, -2.0])
      >>> for magnification in (1.0, 1e6):
      ...     print(f"{nce_jax.losses.generator_loss(s, magnification=magnification):.4f}")
      1.3048
      0.8333
      >>> print(f"{nce_jax.losses.generator_loss(s, form='reverse_kl'):.4f}")
      0.8333

    References:
      Goodfellow et al., Generative adversarial nets, 2014, section 3.
      Yu et al., "Noisier" Noise Contrastive Estimation is (Almost) Maximum Likelihood, 2026 (the
        critic's objective L_M; that of the generator is our choice).
    """
    check_choice("form", form, FORMS)
    return _generator_loss(
        log_ratio,
        log_partition=log_partition,
        magnification=magnification,
        noise_ratio=noise_ratio,
        weights=weights,
        form=form,
    )


@one_program(SampleSet("log_ratio", "weights"), static=("form",))
def _generator_loss(
    log_ratio: Any,
    *,
    log_partition: Scalars,
    magnification: Scalars,
    noise_ratio: Scalars,
    weights: Any,
    form: str,
) -> jax.Array:
    samples = as_samples("log_ratio", log_ratio)
    samples = samples.astype(compute_dtype(samples))
    weights = as_weights("weights", weights, samples)
    samples = ignore_unweighted(samples, weights)
    shift = as_scalar("log_partition", log_partition, samples)
    log_kappa = log_noise_weight(magnification, noise_ratio, samples)
    is_empty = has_no_weight(samples, weights)
    samples, shift, log_kappa = stop_where(is_empty | jnp.isnan(shift), (samples, shift, log_kappa))
    u = samples - expand(shift)
    terms = -u if form == "reverse_kl" else _non_saturating(u, expand(log_kappa))
    return jnp.where(is_empty, 0, weighted_mean(terms, weights))


def _non_saturating(u: jax.Array, log_kappa: jax.Array) -> jax.Array:
    """softplus(u - log kappa) - u, also where u is infinite, and with a derivative there."""
    is_large = u > log_kappa
    small = jnp.where(is_large, log_kappa, u)
    excess = jnp.where(is_large, u - log_kappa, 0)
    return softplus(jnp.where(is_large, -excess, small - log_kappa)) - jnp.where(
        is_large, log_kappa, small
    )
