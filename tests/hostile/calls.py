"""Every public function, with one argument at a time replaced by a hostile one.

A hostile argument is either refused, by an error that names it, or passed through as what it is: a
NaN, an infinity or a negative number must not come out as a plausible number. Anything else is a
finding.
"""

import functools
import re
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax import Status
from tests.hostile.arguments import call, public_functions, right_arguments
from tests.test_signatures import PARAMETERS

OBJECTS: dict[str, Any] = {
    "a text": "many",
    "a class": dict,
    "a complex number": 1j,
    "a function": len,
    "an object": object(),
    "an array of texts": np.array(["a", "b"]),
    "an empty array": np.zeros((0,), np.float32),
    "an array of five axes": np.zeros((1, 2, 1, 2, 1), np.float32),
}
"""Values that are wrong wherever no entry of `ALLOWED` says otherwise."""

NUMBERS: dict[str, Any] = {
    "NaN": float("nan"),
    "an infinity": float("inf"),
    "a negative number": -1.0,
    "a NaN as a JAX array": jnp.float32(jnp.nan),
}
"""Values of options that are numbers."""


_SENTENCE = re.compile(r"[\w ,.()\[\]']+: (expected|called) ")
"""The beginning of an error of this library, or of a note that it added to an error."""


class Finding(NamedTuple):
    """A hostile argument that was answered wrongly."""

    function: str
    argument: str
    value: str
    fault: str


class _Case(NamedTuple):
    function: str
    argument: str
    value: str
    hostile: Any
    must_be_refused: bool


def run(room: str = "") -> Iterator[Finding]:
    """Makes every hostile call of the functions whose path contains `room`, and yields faults."""
    with warnings.catch_warnings(), jax.numpy_rank_promotion("allow"):
        warnings.simplefilter("ignore")
        for case in (case for case in _cases() if room in case.function):
            fault = _fault(case)
            if fault is not None:
                yield Finding(case.function, case.argument, case.value, fault)


def num_calls() -> int:
    """How many calls `run` makes."""
    return len(_cases())


@functools.cache
def _cases() -> list[_Case]:
    # Some right arguments are the results of a run.
    with jax.numpy_rank_promotion("allow"):
        return [case for path in public_functions() for case in _cases_of(path)]


def _cases_of(path: str) -> Iterator[_Case]:
    right = right_arguments(path)
    for parameter in PARAMETERS[path]:
        name = parameter.name
        if parameter.kind is parameter.VAR_KEYWORD:
            continue  # there is no argument of this name
        is_array = isinstance(right.get(name), np.ndarray | jax.Array)
        for value, hostile in OBJECTS.items():
            if not _is_allowed(path, name, value):
                yield _Case(path, name, value, hostile, must_be_refused=True)
        if is_array and jnp.issubdtype(right[name].dtype, jnp.floating):
            spoiled = np.array(right[name], np.float32)
            spoiled.flat[0] = np.nan
            if not _is_allowed(path, name, "a NaN among the values"):
                yield _Case(path, name, "a NaN among the values", spoiled, must_be_refused=False)
        elif _is_number(right.get(name, parameter.default)):
            for value, hostile in NUMBERS.items():
                if not _is_allowed(path, name, value):
                    yield _Case(path, name, value, hostile, must_be_refused=False)


def _is_number(value: Any) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool)


def _is_allowed(path: str, name: str, value: str) -> bool:
    """Whether the argument may be of this kind, by its name."""
    return value in ALLOWED.get(f"{path.rpartition('.')[2]}.{name}", ALLOWED.get(name, ()))


_ANY_SHAPE = ("an empty array", "an array of five axes")
ALLOWED: dict[str, tuple[str, ...]] = {
    "folder": ("a text",),
    "early_stopping.metric": ("a text",),
    # Any array is the state of some step.
    "jit_train_step.state": _ANY_SHAPE,
    "shard_state.state": _ANY_SHAPE,
    "state_shardings.state": _ANY_SHAPE,
    # Functions of samples: their values are checked where there are samples, at the first call.
    "exponential_family.log_base_measure": ("a function",),
    "exponential_family.sufficient_statistics": ("a function",),
    "quadratic_energy.features": ("a function",),
    "telescoped.log_density_noise_fn": ("a function",),
    # Logarithms, and numbers that are added to them, have either sign.
    "bias": ("a negative number",),
    "log_backward": ("a negative number",),
    "log_forward": ("a negative number",),
    "log_partition": ("a negative number",),
    # A leaky rectifier may turn its inputs around.
    "mlp_energy.negative_slope": ("a negative number",),
    # Rare words before frequent ones, as the documentation says.
    "unigram.power": ("a negative number",),
    # A table of one row: rows do not say how many rows the tables have.
    "gather_rows.tables": ("an array of five axes",),
    # Arguments of the caller's function, which takes any array.
    "shared.args": ("a complex number", *_ANY_SHAPE),
    # NaN counts as no overlap, as the documentation says.
    "refine_noise_levels.overlap": ("a NaN among the values",),
    # The noise that the returned function makes is NaN; the parameters are random numbers.
    "flow.x_data": ("a NaN among the values",),
    # A built-in function or class may be what the caller wants to map, and Python cannot tell its
    # parameters.
    "fn": ("a class", "a function"),
    # Leading axes are batch axes: five of them are a batch of lanes, or of samples with any axes.
    "effective_sample_size.log_weights": ("an array of five axes",),
    "importance_log_partition.log_ratio_noise": ("an array of five axes",),
    "generator_loss.log_ratio": ("an array of five axes",),
    "info_nce_bound.loss_terms": ("an array of five axes",),
    "statistical_inefficiency.values": ("an array of five axes",),
    "detect_equilibration.values": ("an array of five axes",),
    "log_likelihood.log_density": ("an array of five axes",),
    "logit_transform.x": ("an array of five axes",),
    "inverse_logit_transform.y": ("an array of five axes",),
    # Functions of every number by itself, in any shape.
    "bits_per_dimension.log_likelihood": _ANY_SHAPE,
    "error_bound.residual": _ANY_SHAPE,
    "newton_error_bound.residual": _ANY_SHAPE,
    # It does not depend on the values of the data, as its documentation says.
    "nwj_log_partition.log_ratio_data": ("a NaN among the values",),
    # An evaluation that says nothing leaves the bracket as it is, and that holds the root.
    "narrow_bracket.residual": ("a NaN among the values",),
}
"""Values that may be right for an argument of this name, of one function or of all: no call is made
with them."""


ALIASES: dict[str, tuple[str, ...]] = {
    # A step has samples, and knows nothing of where its batch came from.
    "batches": ("x_data",)
}
"""What errors call an argument by right, beside its name."""


def _fault(case: _Case) -> str | None:
    arguments = right_arguments(case.function) | {case.argument: case.hostile}
    try:
        result = jax.block_until_ready(call(case.function, arguments))
    except FloatingPointError as error:  # what a NaN leads to, and no refusal
        return _foreign(error) if case.must_be_refused else None
    except (TypeError, ValueError) as error:
        return None if is_named(case.argument, error) else _foreign(error)
    except Exception as error:  # any other error is what is looked for
        return _foreign(error)
    if case.must_be_refused:
        return "taken without a word"
    return "a plausible number" if _is_plausible(result) else None


def is_named(argument: str, error: Exception) -> bool:
    """Whether the error is a sentence of this library, "name: expected X, got Y", on the argument.

    An error from inside a function of the caller passes, with a note that says how the function was
    called.
    """
    texts = [str(error), *getattr(error, "__notes__", ())]
    names = "|".join((argument, *ALIASES.get(argument, ())))
    return any(_SENTENCE.match(text) and re.search(rf"\b({names})\b", text) for text in texts)


def _foreign(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"


def _is_plausible(result: Any) -> bool:
    """Whether every number is finite and no status says otherwise."""
    status = getattr(result, "status", None)
    if status is not None and np.any(np.asarray(status) == Status.NONFINITE):
        return False
    leaves = [leaf for leaf in jax.tree.leaves(result) if _is_floating(leaf)]
    return bool(leaves) and all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in leaves)


def _is_floating(leaf: Any) -> bool:
    return isinstance(leaf, np.ndarray | jax.Array) and jnp.issubdtype(leaf.dtype, jnp.floating)
