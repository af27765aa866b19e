"""The treatments of F that are compared, by the name that plots give them."""

from collections.abc import Callable
from typing import Any

import optax

import nce_jax
from nce_jax import training

Treatments = dict[str, Callable[[Any], training.Treatment]]
"""Name -> a treatment of F, as a function of theta's learning rate (a traced number)."""


def treatments(raised_factor: float) -> Treatments:
    """The paper's treatments, and Newton's method, which solves the equation of binary search in
    fewer evaluations.
    """
    return {
        "NCE": lambda rate: training.joint_gradient(),
        "NCE, raised rate": lambda rate: training.joint_gradient(optax.sgd(raised_factor * rate)),
        "BAR": lambda rate: training.bar_step(),
        "binary search": lambda rate: training.solved(nce_jax.bisection()),
        "Newton": lambda rate: training.solved(nce_jax.newton()),
    }


def compared() -> Treatments:
    """Those of the studies around the figures, where Newton stands for binary search: it finds the
    same root.
    """
    return {name: treatments(1.0)[name] for name in ("NCE", "BAR", "Newton")}


def gradient_elsewhere() -> Treatments:
    """The same updates of F, with the gradient of theta taken on the other side of them.

    The paper's algorithm 1 computes both gradients at the old F. For binary search the paper says
    nothing. Here BAR's gradient moves behind the update of F, and that of the solved F before it:
    to the root of the batch before.
    """
    return {
        "BAR, gradient after": lambda rate: _after(training.bar_step()),
        "solved, gradient before": lambda rate: _before(training.solved(nce_jax.newton())),
    }


def _after(treatment: training.Treatment) -> training.Treatment:
    def update(criterion, log_ratios, log_partition):
        found = treatment.update(criterion, log_ratios, log_partition)
        return found._replace(used=found.kept)

    return treatment._replace(update=update)


def _before(treatment: training.Treatment) -> training.Treatment:
    def update(criterion, log_ratios, log_partition):
        return treatment.update(criterion, log_ratios, log_partition)._replace(used=log_partition)

    return treatment._replace(update=update)
