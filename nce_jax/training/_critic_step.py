"""The train step of a critic: a log ratio of data to samples that another player makes."""

import optax
from jax.sharding import Mesh

from nce_jax._contracts import check_log_density_fn
from nce_jax._options import check_flag
from nce_jax._types import LogRatioFn
from nce_jax.criteria import Criterion, nce
from nce_jax.magnification import MagnificationRule
from nce_jax.training._composition import check_composition
from nce_jax.training._mesh import check_mesh
from nce_jax.training._optimizers import as_optimizer
from nce_jax.training._penalty import PenaltyFn, check_penalty
from nce_jax.training._sides import Sides
from nce_jax.training._step import TrainStep
from nce_jax.training._treatments import Treatment, solved


def make_critic_step(
    log_ratio_fn: LogRatioFn,
    optimizer: optax.GradientTransformation,
    *,
    criterion: Criterion = nce(),
    treatment: Treatment = solved(),
    magnification_rule: MagnificationRule | None = None,
    penalty_fn: PenaltyFn | None = None,
    is_spatial: bool = False,
    mesh: Mesh | None = None,
) -> TrainStep:
    r"""Composes the train step of a critic, whose noise is what a generator or a sampler makes.

    It is the step of `make_train_step` for a log ratio whose noise samples come with every `Batch`,
    with two things that critics of images have: a penalty, and log ratios of patches. `critics.
    make_two_player_step` joins it with a generator; a training loop of your own calls it as
    `state, metrics = critic(state, Batch(x_data, x_samples), key)`, and then takes
    `losses.generator_loss` of `critic.log_ratio(state.params, x_samples)`.

    Args:
      log_ratio_fn: `log_ratio_fn(params, x)`, the log ratio s of data to samples in nats, (n, ...)
        -> (n,), and of a spatial critic for every patch, (n, h, w).
      optimizer: an optax transformation, as in `make_train_step`.
      criterion: `nce(magnification=..., noise_ratio=...)`, one of `ratio_regularized`, or another.
      treatment: `joint_gradient()`, `bar_step()`, `solved()` or `held()`, for F.
      magnification_rule: `adaptive_magnification()` chooses M at every step; it sees the criterion
        without the penalty.
      penalty_fn: `penalty_fn(params, batch, key)`, one number in nats that is added to the loss;
        `batch` is a `Batch` of both sides with their weights. `critics.gradient_penalty` makes one.
        F, overlap and status do not depend on it.
      is_spatial: whether `log_ratio_fn` returns log ratios of patches, (n, h, w) or (n, ...). Each
        of them then counts as a sample, with the weight of its image, and the loss is the mean of
        their losses, not the loss of their mean. The overlap and a rule for M take patches of one
        image for independent.
      mesh: what `make_mesh` returns, as in `make_train_step`.

    Returns:
      A `TrainStep`.

    Raises:
      TypeError: an argument of the wrong kind, named together with the likely cure.
      ValueError: the criterion does not support the treatment, or one of them not an adaptive M.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from nce_jax import criteria, training
      >>> critic = training.make_critic_step(
      ...     lambda theta, x: x @ theta, optax.sgd(0.5), criterion=criteria.nce(magnification=10.0)
      ... )
      >>> state, step = critic.init(jnp.zeros(1)), jax.jit(critic)
      >>> keys = jax.random.split(jax.random.key(0))
      >>> x_data = 1 + jax.random.normal(keys[0], (20_000, 1))
      >>> x_samples = jax.random.normal(keys[1], (20_000, 1))
      >>> for _ in range(100):
      ...     state, metrics = step(state, training.Batch(x_data, x_samples), jax.random.key(1))
      >>> print(f"theta {state.params[0]:.1f}")
      theta 1.0

    References:
      Yu et al., "Noisier" Noise Contrastive Estimation is (Almost) Maximum Likelihood, 2026 (N2CE
        as a critic of samplers and of distillation).
      Isola et al., Image-to-image translation with conditional adversarial networks, 2017, section
        3.2.2 (patches).
    """
    check_log_density_fn(log_ratio_fn, "log_ratio_fn")
    check_composition(criterion, treatment, magnification_rule)
    check_penalty(penalty_fn)
    check_flag("is_spatial", is_spatial)
    check_mesh(mesh)
    return TrainStep(
        model=log_ratio_fn,
        sides=Sides(None, None, True, mesh, is_spatial=bool(is_spatial)),
        optimizer=treatment.pair_optimizer(as_optimizer("optimizer", optimizer)),
        criterion=criterion,
        treatment=treatment,
        magnification_rule=magnification_rule,
        penalty_fn=penalty_fn,
    )
