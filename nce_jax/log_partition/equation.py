r"""The equation for the profiled normalizer, mean P = kappa mean Q, and the overlap at its root.

P and Q are Bennett's acceptance probabilities, :math:`P_i = \sigma(\log\kappa - u(x_i))` of the
data and :math:`Q_j = \sigma(u(y_j) - \log\kappa)` of the noise, :math:`u = s - F`. The functions
here are plain and differentiable. The form of the equation that solvers iterate on, which is
accurate whatever the overlap, is in `evaluation`.
"""

import jax
import jax.numpy as jnp

from nce_jax._numerics import expand, sample_count, scaled_sigmoid, weighted_sum
from nce_jax._types import Array, Bool, Float, Scalars
from nce_jax.log_partition.problem import Problem, Samples, as_lanes


def acceptance_logits(
    problem: Problem, log_partition: Scalars
) -> tuple[Float[Array, "*batch n"], Float[Array, "*batch m"]]:
    r"""Logits of Bennett's acceptance probabilities P of the data and Q of the noise.

    With :math:`u = s - F`, they are :math:`\log\kappa - u(x_i)` for the data and
    :math:`u(y_j) - \log\kappa` for the noise, so that :math:`P_i` is the probability of the
    classifier that data sample i is noise, and :math:`Q_j` the probability that noise sample j is
    data. The equation for F is mean P = kappa mean Q.

    Args:
      problem: the equation.
      log_partition: F, a number or one per batch entry.

    Returns:
      The logits of the data samples, (*batch, n), and of the noise samples, (*batch, m).

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from nce_jax import log_partition
      >>> problem = log_partition.make_problem(jnp.array([2.0, 1.0]), jnp.array([-1.0, 0.5]))
      >>> root = log_partition.solve_problem(problem).log_partition
      >>> p, q = map(jax.nn.sigmoid, log_partition.acceptance_logits(problem, root))
      >>> print(f"{p.mean():.4f} {q.mean():.4f}")
      0.3108 0.3108

    References:
      Bennett, Efficient estimation of free energy differences from Monte Carlo data, 1976, eq. 10.
    """
    log_partition = as_lanes("log_partition", log_partition, problem)
    # F - s first: it is exact near the root, whatever common offset both carry, so that nothing
    # needs centering.
    shift, offset = expand(jnp.asarray(log_partition)), expand(problem.log_kappa)
    return (shift - problem.data.values) + offset, (problem.noise.values - shift) - offset


def log_overlap(problem: Problem, log_partition: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    r"""Log of the overlap of model and noise at the root.

    It is :math:`\log O = \log\frac{1+\kappa}{\kappa} + \log \operatorname{mean} P`.

    Args:
      problem: the equation.
      log_partition: its root, one per batch entry. At any other F use `log_overlap_bound`.

    Returns:
      log O, (*batch), differentiable in every array.

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import log_partition
      >>> problem = log_partition.make_problem(jnp.array([2.0, 1.0]), jnp.array([-1.0, 0.5]))
      >>> root = log_partition.solve_problem(problem).log_partition
      >>> print(f"{jnp.exp(log_partition.log_overlap(problem, root)):.4f}")
      0.6215

    References:
      Bennett, Efficient estimation of free energy differences from Monte Carlo data, 1976, section
        IV.
    """
    logits_data, _ = acceptance_logits(problem, log_partition)
    return log_overlap_from(_log_mean(logits_data, problem.data), problem.log_kappa)


def log_overlap_from(log_mean_p: jax.Array, log_kappa: jax.Array) -> jax.Array:
    """log O from the log of mean P at the root."""
    return log_mean_p + jnp.logaddexp(log_kappa, 0.0) - log_kappa


def log_overlap_bound(
    problem: Problem, log_partition: Float[Array, "*batch"]
) -> Float[Array, "*batch"]:
    """A lower bound on the log of the overlap from any F; it is exact at the root.

    mean P grows with F and kappa mean Q falls. They meet at F*, so that the smaller of the two is
    at most the value there.

    Args:
      problem: the equation.
      log_partition: any F, one per batch entry.

    Returns:
      The bound on log O, (*batch).

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import log_partition
      >>> problem = log_partition.make_problem(jnp.array([2.0, 1.0]), jnp.array([-1.0, 0.5]))
      >>> bound = log_partition.log_overlap_bound(problem, jnp.float32(0.0))
      >>> print(f"overlap at least {jnp.exp(bound):.4f}")
      overlap at least 0.3881

    References:
      Bennett, Efficient estimation of free energy differences from Monte Carlo data, 1976, section
        IV.
    """
    logits_data, logits_noise = acceptance_logits(problem, log_partition)
    log_mean_q = problem.log_kappa + _log_mean(logits_noise, problem.noise)
    return log_overlap_from(
        jnp.minimum(_log_mean(logits_data, problem.data), log_mean_q), problem.log_kappa
    )


def lacks_overlap(problem: Problem, log_overlap: Float[Array, "*batch"]) -> Bool[Array, "*batch"]:
    """The rule of `Status.NO_OVERLAP`: whether overlap * (n + m) is below one.

    Hardly any sample of one set is then plausible under the other.

    Args:
      problem: the equation.
      log_overlap: log of its overlap, as from `log_overlap`.

    Returns:
      A truth value per batch entry.

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import log_partition
      >>> problem = log_partition.make_problem(jnp.array([2.0, 1.0]), jnp.array([-1.0, 0.5]))
      >>> bool(log_partition.lacks_overlap(problem, jnp.log(0.2)))  # 0.2 * (2 + 2) < 1
      True

    References:
      Klimovich, Shirts and Mobley, Guidelines for the analysis of free energy calculations, 2015
        (overlap); the threshold is this library's.
    """
    log_overlap = jnp.asarray(as_lanes("log_overlap", log_overlap, problem))
    counts = (sample_count(side.values, side.weights) for side in (problem.data, problem.noise))
    return log_overlap + jnp.log(sum(counts)) < 0


def bennett_residual(
    problem: Problem, log_partition: Float[Array, "*batch"]
) -> Float[Array, "*batch"]:
    r"""Bennett's form of the residual, log mean P - log(kappa mean Q).

    One step of Bennett's iteration is :math:`F \leftarrow F - \rho(F)`, with this residual for
    :math:`\rho`. Where data and noise hardly overlap it rounds to zero far from the root, so that
    it bounds no error; the residual of `evaluate_equation` does.

    Args:
      problem: the equation; its `pull`, if any, is not part of this form.
      log_partition: F, one per batch entry.

    Returns:
      rho(F) in nats, (*batch).

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import log_partition
      >>> problem = log_partition.make_problem(jnp.array([2.0, 1.0]), jnp.array([-1.0, 0.5]))
      >>> print(f"{log_partition.bennett_residual(problem, jnp.float32(0.0)):.4f}")
      -0.8314

    References:
      Sevekari et al., Accelerating NCE Convergence with Adaptive Normalizing Constant Computation,
        2024, eqs. 9-11.
    """
    logits_data, logits_noise = acceptance_logits(problem, log_partition)
    log_mean_p = _log_mean(logits_data, problem.data)
    log_mean_q = _log_mean(logits_noise, problem.noise)
    return log_mean_p - problem.log_kappa - log_mean_q


def _log_mean(logits: jax.Array, samples: Samples) -> jax.Array:
    acceptance, log_scale = scaled_sigmoid(logits)
    return jnp.log(weighted_sum(acceptance, samples.weights) / samples.total) + log_scale
