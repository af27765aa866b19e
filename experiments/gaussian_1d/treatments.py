"""The compared treatments of F, by the names in figures."""

from collections.abc import Callable
from typing import Any

import optax

import nce_jax
from nce_jax import training

Treatments = dict[str, Callable[[Any], training.Treatment]]
"""Name -> a treatment of F, as a function of theta's learning rate (a traced number)."""


def treatments(raised_factor: float) -> Treatments:
    """The paper's treatments, and Newton's method, a faster solver than binary search."""
    return {
        "NCE": lambda rate: training.joint_gradient(),
        "NCE, raised rate": lambda rate: training.joint_gradient(optax.sgd(raised_factor * rate)),
        "BAR": lambda rate: training.bar_step(),
        "binary search": lambda rate: training.solved(nce_jax.bisection()),
        "Newton": lambda rate: training.solved(nce_jax.newton()),
    }


def compared() -> Treatments:
    """Treatments of the additional studies, where Newton replaces binary search.

    Both find the same root.
    """
    return {name: treatments(1.0)[name] for name in ("NCE", "BAR", "Newton")}


def gradient_elsewhere() -> Treatments:
    """The same updates of F, with the gradient of theta taken before or after them.

    The paper's algorithm 1 computes both gradients at the old F. It states nothing for binary
    search. Here BAR's gradient is taken after the update of F, and that of the solved F before it,
    at the root of the previous batch.
    """
    return {
        "BAR, gradient after": lambda rate: _after(training.bar_step()),
        "solved, gradient before": lambda rate: _before(training.solved(nce_jax.newton())),
    }


def _after(treatment: training.Treatment) -> training.Treatment:
    def update(criterion, log_ratios, log_partition):
        step = treatment.update(criterion, log_ratios, log_partition)
        return step._replace(log_partition=step.next_log_partition)

    return treatment._replace(update=update)


def _before(treatment: training.Treatment) -> training.Treatment:
    def update(criterion, log_ratios, log_partition):
        step = treatment.update(criterion, log_ratios, log_partition)
        return step._replace(log_partition=log_partition)

    return treatment._replace(update=update)
