"""What an optimizer's update needs beside gradient, state and parameters."""

import re
from typing import Any

import jax

from nce_jax._promotion import standard_promotion

_MISSING = re.compile(r"missing \d+ required keyword-only arguments?: (.*)")


def _missing_arguments(error: TypeError) -> list[str]:
    """The keywords that a call lacked, by its error; empty for errors of other kinds."""
    found = _MISSING.search(str(error))
    return re.findall(r"'(\w+)'", found.group(1)) if found else []


def refuse_arguments(optimizer: Any, params: Any, reason: str) -> None:
    """Raises where an optimizer needs the value of the loss, or the loss as a function.

    Args:
      optimizer: its update is traced once, with the parameters in the place of a gradient.
      params: the parameters.
      reason: why there is none, after "got one that needs ...".
    """
    try:
        with standard_promotion():
            state = jax.eval_shape(optimizer.init, params)
            jax.eval_shape(optimizer.update, params, state, params)
    except TypeError as error:
        names = _missing_arguments(error)
        if names:  # other errors are those of the update itself, and come where it is called
            raise ValueError(
                "optimizer: expected one that needs gradient, state and parameters alone, such as"
                f" optax.adam(1e-3), got one that needs {', '.join(names)}: {reason}"
            ) from None
