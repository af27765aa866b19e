"""Binary NCE, minimized over F."""

from typing import Any

from nce_jax._eager import PAIR, one_program
from nce_jax._offset import Effect
from nce_jax._types import Array, Float, LogRatio, Scalars, Weights
from nce_jax.criteria._loss_criteria import nce
from nce_jax.log_partition import Solver, newton


@one_program(*PAIR, static=("solver", "max_steps"), effect=Effect())
def profiled_nce_loss(
    log_ratio_data: LogRatio,
    log_ratio_noise: LogRatio,
    *,
    magnification: Scalars = 1.0,
    noise_ratio: Scalars = 1.0,
    weights_data: Weights | None = None,
    weights_noise: Weights | None = None,
    solver: Solver = newton(),
    initial: Scalars | None = None,
    tolerance: Scalars | None = None,
    max_steps: int = 200,
) -> Float[Array, "*batch"]:
    r"""The NCE loss minimized over F, :math:`\min_F L(s, F)`, with the derivatives of the minimum.

    F* carries its implicit derivative, to any order. A Hessian therefore includes the dependence of
    F* on the log ratios; with a stopped gradient at F* the Hessian would be wrong, while the
    gradient would not. The loss does not change when a constant is added to all log ratios. As
    :math:`\kappa \to \infty` it tends to the Donsker-Varadhan objective plus
    :math:`\log \kappa + 1`.

    Args:
      log_ratio_data: s of the data samples, (*batch, n), in nats.
      log_ratio_noise: s of the noise samples, (*batch, m).
      magnification: M > 0, a number or one per batch entry, traced.
      noise_ratio: nu > 0, as for `magnification`.
      weights_data: weights >= 0 of the data samples; those of weight zero are ignored.
      weights_noise: the same for the noise samples.
      solver: as in `solve_log_partition`.
      initial: as in `solve_log_partition`.
      tolerance: as in `solve_log_partition`.
      max_steps: as in `solve_log_partition`.

    Returns:
      The profiled loss, (*batch); NaN where the solve failed.

    Raises:
      TypeError: log ratios or weights that are not floating, or a `solver` that is no `Solver`.
      ValueError: empty arrays, mismatched batches, or plain numbers out of their range.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> s_data, s_noise = jnp.array([2.0, 1.0]), jnp.array([-1.0, 0.5, -2.0])
      >>> print(f"{nce_jax.profiled_nce_loss(s_data, s_noise, magnification=10.0):.4f}")
      1.8720
      >>> print(jax.grad(nce_jax.profiled_nce_loss)(s_data, s_noise, magnification=10.0).round(4))
      [-0.2803 -0.3881]

    References:
      Sevekari et al., Accelerating NCE Convergence with Adaptive Normalizing Constant Computation,
        2024, appendix A.2.
    """
    criterion = nce(magnification=magnification, noise_ratio=noise_ratio)
    weights: dict[str, Any] = {"weights_data": weights_data, "weights_noise": weights_noise}
    options: dict[str, Any] = {
        "solver": solver,
        "initial": initial,
        "tolerance": tolerance,
        "max_steps": max_steps,
    }
    solution = criterion.profile(log_ratio_data, log_ratio_noise, **weights, **options)
    return criterion.loss(
        log_ratio_data, log_ratio_noise, log_partition=solution.log_partition, **weights
    )
