"""The train step of a chain of K stages between data and noise."""

from typing import Any

import optax
from jax.sharding import Mesh

from nce_jax._bridges import Space, StagesFn, check_space
from nce_jax._contracts import check_log_density_fn
from nce_jax._levels import NumbersPerStage, check_noise_levels
from nce_jax.criteria import Criterion, nce
from nce_jax.magnification import MagnificationRule
from nce_jax.training._composition import as_source, check_composition
from nce_jax.training._mesh import check_mesh
from nce_jax.training._optimizers import as_optimizer
from nce_jax.training._sides import Sides
from nce_jax.training._stages import Stages
from nce_jax.training._step import TrainStep
from nce_jax.training._treatments import Treatment, solved


def make_stage_step(
    stages_fn: StagesFn,
    noise: Any = None,
    optimizer: optax.GradientTransformation | None = None,
    *,
    noise_levels: NumbersPerStage,
    space: Space | None = None,
    criterion: Criterion = nce(),
    treatment: Treatment = solved(),
    magnification_rule: MagnificationRule | None = None,
    mesh: Mesh | None = None,
) -> TrainStep:
    r"""Composes a chain of K stages, noise, criterion and treatment of F into one train step.

    At every step each data sample is paired with a noise sample, and the bridges between them,
    :math:`x_k = \sqrt{1 - a_k^2}\, x_{\mathrm{data}} + a_k\, x_{\mathrm{noise}}`, are computed.
    Stage k learns the log ratio of :math:`x_k` to :math:`x_{k+1}`, with an :math:`F_k` of its own.
    The loss is the mean over the stages. The step takes data and noise as they come, so that it
    runs inside a joint training where the data move, such as the posterior of a generator. It is
    the same object as that of `make_train_step`, for `training.fit`, checkpoints, meshes, criteria
    and rules for M.

    Args:
      stages_fn: `stages_fn(params, x)`, log ratio k of samples x[k], (K, n, ...) -> (K, n), as
        `telescoping.separate` and `telescoping.shared_body` make it.
      noise: what as many noise samples as data samples are drawn from; its density is never
        evaluated. None if every `Batch` brings noise samples.
      optimizer: an optax transformation, as in `make_train_step`; a line search is one for all
        stages.
      noise_levels: :math:`a_0 = 0 < \dots < a_K = 1`, from data to noise; `fit_telescope` searches
        for them on fixed data.
      space: the space in which bridges are straight, as in `telescoping.bridges`. The noise should
        be centered there.
      criterion: of every stage: `nce(magnification=..., noise_ratio=...)`, `exponential_nce()`, or
        one of your own that takes (K, n). A magnification of shape (K,) is one for each stage.
      treatment: `joint_gradient()`, `bar_step()`, `solved()` or `held()`, for each
        :math:`F_k`. With a solved F, one stage that fails makes the parameters of all NaN.
      magnification_rule: `adaptive_magnification()` chooses an M for every stage at every step.
      mesh: what `make_mesh` returns: the pairs are split over its data axis.

    Returns:
      A `TrainStep`. The leaves of the parameters carry what `stages_fn` makes of K stages; F has
      shape (K,). In a `Batch` with weights a pair has the product of its two weights. Metrics are
      one number for all stages, as `Metrics` says. The log ratio of the whole chain is
      `telescoping.telescoped(stages_fn, K)`, and its F the sum of those of the stages.

    Raises:
      TypeError: an argument of the wrong kind, named together with the likely cure.
      ValueError: noise levels that do not rise from 0 to 1, or a criterion that does not support
        the treatment, or one of them not an adaptive M.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from nce_jax import noise, telescoping, training
      >>> stages_fn = telescoping.separate(lambda theta, x: x @ theta[0] + x**2 @ theta[1])
      >>> train = training.make_stage_step(
      ...     stages_fn, noise.standard_normal(1), optax.adam(0.1), noise_levels=[0.0, 0.8, 1.0]
      ... )
      >>> state, step = train.init(jnp.zeros((2, 2, 1))), jax.jit(train)
      >>> x_data = 2 + 0.3 * jax.random.normal(jax.random.key(0), (512, 1))
      >>> for _ in range(300):
      ...     state, metrics = step(state, x_data, jax.random.key(1))
      >>> log_ratio_fn = telescoping.telescoped(stages_fn, 2)
      >>> log_ratio = log_ratio_fn(state.params, x_data) - state.log_partition.sum()
      >>> print(f"mean log ratio {log_ratio.mean():.1f}")  # the truth is 2.75
      mean log ratio 2.7

    References:
      Rhodes, Xu and Gutmann, Telescoping density-ratio estimation, 2020, section 3.
      Yu et al., "Noisier" Noise Contrastive Estimation is (Almost) Maximum Likelihood, 2026
        (latent energies of K stages).
    """
    check_log_density_fn(stages_fn, "stages_fn")
    noise = as_source(noise, is_ratio=True)
    check_noise_levels(noise_levels)
    check_space(space)
    check_composition(criterion, treatment, magnification_rule)
    check_mesh(mesh)
    return TrainStep(
        model=stages_fn,
        sides=Sides(noise, None, True, mesh, Stages(noise_levels, space)),
        optimizer=treatment.pair_optimizer(as_optimizer("optimizer", optimizer)),
        criterion=criterion,
        treatment=treatment,
        magnification_rule=magnification_rule,
    )
