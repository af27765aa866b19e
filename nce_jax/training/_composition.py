"""Which criterion, treatment of F and rule for M go together: refused by name when a step is built,
or first called.
"""

from typing import Any

import jax

from nce_jax.criteria import Criterion
from nce_jax.magnification import MagnificationRule
from nce_jax.training._treatments import Treatment


def check_rule(rule: Any) -> None:
    """Raises unless this is a rule for M, or none."""
    if rule is not None and not isinstance(rule, MagnificationRule):
        raise TypeError(
            "magnification_rule: expected adaptive_magnification() (a fixed M goes to nce()), got"
            f" {rule!r}"
        )


def check_same_rule(rule: MagnificationRule | None, state: Any) -> None:
    """Raises where a state remembers nothing for a rule, or something without one."""
    if (rule is None) != (not jax.tree.leaves(state)):
        raise ValueError(
            "magnification_rule: expected the same in make_train_step and init_train_state, got one"
            " in only one"
        )


def check_composition(
    criterion: Criterion, treatment: Treatment, rule: MagnificationRule | None
) -> None:
    """Raises where the three do not go together."""
    reason = treatment.refuses(criterion)
    if reason is not None:
        raise ValueError(
            f"treatment {treatment.name} does not support criterion {criterion.name}: {reason}"
        )
    check_rule(rule)
    if rule is None:
        return
    if criterion.at_magnification is None:
        raise ValueError(
            f"magnification_rule: criterion {criterion.name} has no magnification that a rule could"
            " adapt"
        )
    if not treatment.is_profiled:
        raise ValueError(
            "magnification_rule: expected a solved F, as by solved(), got treatment"
            f" {treatment.name}"
        )
